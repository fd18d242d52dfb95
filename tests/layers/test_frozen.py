"""A frozen layer is not trained, whatever the optimizer does."""

import chex
import jax
import jax.numpy as jnp
import optax
import pytest

import jaxnn as nn

KEY = jax.random.key(0)
X = jax.random.normal(KEY, (8, 3)) + 2
Y = jnp.ones((8, 2))
BODY = nn.Sequential(nn.Dense(4), nn.BatchNorm(), nn.Dropout(0.5))
FROZEN = nn.Sequential(body=nn.Frozen(BODY), head=nn.Dense(2))
OPEN = nn.Sequential(body=BODY, head=nn.Dense(2))
DECAYING = optax.chain(optax.adamw(0.1, weight_decay=0.5))


def fit(net, optimizer, **options):
    return nn.fit(
        net, (X, Y), loss=nn.losses.mean_squared_error, optimizer=optimizer, epochs=2,
        batch_size=4, key=KEY, progress=False, **options,
    )[0]  # fmt: skip


@pytest.mark.parametrize(
    "optimizer",
    [DECAYING, nn.optimizers.l1(optax.sgd(0.1), 0.1), nn.optimizers.ema(DECAYING, 0.5)],
    ids=["weight decay", "l1", "moving average"],
)
def test_parameters_and_statistics_stay(optimizer):
    start = nn.train_state(FROZEN, optimizer, X, key=KEY)
    after = fit(FROZEN, optimizer)
    chex.assert_trees_all_equal(after.params["body"], start.params["body"])
    chex.assert_trees_all_equal(after.state, start.state)
    assert (after.params["head"]["w"] != start.params["head"]["w"]).all()


def test_the_optimizer_keeps_no_moments_of_it():
    def numbers(net):
        return nn.trees.count(nn.train_state(net, DECAYING, X, key=KEY).opt_state)

    head = 4 * 2 + 2
    assert numbers(OPEN) - numbers(FROZEN) == 2 * (
        nn.trees.count(nn.train_state(OPEN, DECAYING, X, key=KEY).params) - head
    )


def test_paths_are_those_of_the_layer_alone():
    chex.assert_trees_all_equal(FROZEN.init(KEY, X), OPEN.init(KEY, X))
    assert list(nn.layer_paths(FROZEN)) == list(nn.layer_paths(OPEN))


def test_it_computes_as_in_evaluation_and_passes_gradients_on():
    params, state = FROZEN.init(KEY, X)
    y, _ = FROZEN.apply(params, state, X, key=KEY, train=True)
    chex.assert_trees_all_close(y, OPEN.apply(params, state, X)[0])

    def total(params, x):
        return FROZEN.apply(params, state, x, key=KEY, train=True)[0].sum()

    grads, of_x = jax.grad(total, argnums=(0, 1))(params, X)
    assert all((g == 0).all() for g in jax.tree.leaves(grads["body"]))
    assert (of_x != 0).any()


@pytest.mark.parametrize(
    "net",
    [
        nn.Sequential(body=nn.Remat(nn.Frozen(BODY)), head=nn.Dense(2)),
        nn.Sequential(body=nn.Frozen(nn.Remat(BODY)), head=nn.Dense(2)),
        nn.edit(FROZEN, "body/dense_1", nn.Dense(4)),
        nn.Sequential(body=nn.Residual(nn.Frozen(nn.Dense(3))), head=nn.Dense(2)),
    ],
    ids=["in remat", "around remat", "edited", "inside"],
)
def test_wherever_it_stands(net):
    start = nn.train_state(net, DECAYING, X, key=KEY)
    after = fit(net, DECAYING)
    chex.assert_trees_all_equal(after.params["body"], start.params["body"])


def test_a_network_that_is_all_frozen_learns_nothing():
    net = nn.Frozen(nn.Dense(2))
    start = nn.train_state(net, DECAYING, X, key=KEY)
    chex.assert_trees_all_equal(fit(net, DECAYING).params, start.params)


def test_the_doctor_takes_its_run():
    state, history = nn.fit(
        FROZEN, (X, Y), loss=nn.losses.mean_squared_error, optimizer=DECAYING,
        epochs=2, batch_size=4, key=KEY, progress=False,
    )  # fmt: skip
    report = nn.diagnose(FROZEN, state, history, (X, Y))
    assert "2 epochs" in str(report)
