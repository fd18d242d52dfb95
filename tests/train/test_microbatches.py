"""A batch in pieces: the same numbers as the batch."""

import chex
import jax
import jax.numpy as jnp
import optax
import pytest

import jaxnn as nn

NET = nn.Sequential(nn.Dense(8), jnp.tanh, nn.Dense(3))
LOSS = nn.losses.softmax_cross_entropy
X = jax.random.normal(jax.random.key(3), (24, 5))
Y = X[:, :3].argmax(1)
WEIGHTS = jax.random.uniform(jax.random.key(4), (24,)).at[3].set(0)
METRICS = {"accuracy": nn.metrics.accuracy, "matrix": nn.metrics.ConfusionMatrix(3)}
ADAMW = nn.optimizers.ema(optax.adamw(1e-2, weight_decay=0.1), 0.9)


def after(count, batch, steps=3, net=NET, optimizer=ADAMW, **more):
    """The state and the logs after a few steps on one batch."""
    about = {"loss": LOSS} | more
    step = nn.train_step(net, optimizer=optimizer, microbatches=count, **about)
    state = nn.train_state(net, optimizer, batch[0], key=jax.random.key(0))
    jitted = jax.jit(step)
    for _ in range(steps):
        state, logs = jitted(state, batch)
    return state._replace(key=None), logs


@pytest.mark.parametrize("count", [2, 4, 5, 24, 30])
def test_microbatches_equal_the_batch_with_weights_decay_and_averages(count):
    batch = X, Y, WEIGHTS
    chex.assert_trees_all_close(
        after(count, batch, metrics=METRICS),
        after(1, batch, metrics=METRICS),
        rtol=1e-5,
        atol=1e-6,
    )


def test_outputs_meet_their_own_targets():
    """A metric of each example sees the rows in order, left-over ones too."""
    near = {"error": lambda y, t: (y[:, 0] - t.astype(y.dtype)) ** 2}
    for count in (2, 5):
        chex.assert_trees_all_close(
            after(count, (X, Y), metrics=near)[1],
            after(1, (X, Y), metrics=near)[1],
            rtol=1e-5,
        )


def test_an_objective_and_its_logs_are_added_up():
    def objective(run, batch):
        x, y = batch
        values = LOSS(run(x), y)
        return values, {"double": 2 * values}

    more = {"loss": None, "objective": objective}
    whole, logs = after(1, (X, Y), **more)
    pieces, again = after(4, (X, Y), **more)
    chex.assert_trees_all_close(whole.params, pieces.params, rtol=1e-5, atol=1e-6)
    assert float(again["double"]) == pytest.approx(2 * float(again["loss"]), rel=1e-5)
    chex.assert_trees_all_close(logs, again, rtol=1e-5)


def test_an_optimizer_with_a_line_search_sees_the_whole_batch():
    search = optax.lbfgs(linesearch=optax.scale_by_backtracking_linesearch(8))
    given = {"optimizer": search, "steps": 2}
    whole, pieces = (after(count, (X, Y), **given)[0] for count in (1, 3))
    chex.assert_trees_all_close(whole.params, pieces.params, rtol=1e-3, atol=1e-4)


def test_an_ensemble_takes_them_too():
    pair = nn.ensemble(NET, 2)
    given = {"net": pair, "optimizer": optax.sgd(0.1)}
    whole, pieces = (after(count, (X, Y), **given)[0] for count in (1, 4))
    chex.assert_trees_all_close(whole.params, pieces.params, rtol=1e-5, atol=1e-6)


def test_fit_takes_the_step_and_dropout_differs_from_piece_to_piece():
    net = nn.Sequential(nn.Dropout(0.5), nn.Dense(3))
    step = nn.train_step(net, LOSS, optax.sgd(0.1), microbatches=2)
    state = nn.train_state(net, optax.sgd(0.1), X, key=jax.random.key(0))
    same = jnp.ones((24, 5)), jnp.zeros(24, int)
    one, _ = jax.jit(step)(state, same)
    plain, _ = jax.jit(nn.train_step(net, LOSS, optax.sgd(0.1)))(state, same)
    assert not jnp.array_equal(one.params["dense_1"]["w"], plain.params["dense_1"]["w"])
    trained, history = nn.fit(step, (X, Y), state=state, epochs=2, batch_size=8)
    assert int(trained.step) == 6 and len(history["loss"]) == 2


def test_less_memory_is_used():
    wide = nn.Sequential(nn.Dense(512), jnp.tanh, nn.Dense(512), jnp.tanh, nn.Dense(3))
    x, y = jnp.ones((2048, 4)), jnp.zeros(2048, int)
    state = nn.train_state(wide, optax.sgd(0.1), x, key=jax.random.key(0))

    def temporary(count):
        step = nn.train_step(wide, LOSS, optax.sgd(0.1), microbatches=count)
        compiled = jax.jit(step).lower(state, (x, y)).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    assert temporary(8) < temporary(1) / 2


@pytest.mark.parametrize("count", [0, -1, 2.0, None])
def test_the_count_is_checked(count):
    with pytest.raises((TypeError, ValueError), match="train_step: microbatches"):
        nn.train_step(NET, LOSS, ADAMW, microbatches=count)
