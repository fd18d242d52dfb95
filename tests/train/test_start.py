"""Training starts from weights that are given: all of them, or all but a head."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxnn as nn

KEY, X = jax.random.key(0), jnp.ones((4, 3))
Y = jnp.ones((4, 2))
NET = nn.Sequential(body=nn.Dense(8), norm=nn.BatchNorm(), head=nn.Dense(2))
LOSS = nn.losses.mean_squared_error


def run(net, optimizer, state, epochs=1):
    return nn.fit(
        net, (X, Y), loss=LOSS, optimizer=optimizer, epochs=epochs, batch_size=2,
        key=KEY, state=state, progress=False,
    )[0]  # fmt: skip


def test_another_optimizer_goes_on_from_the_weights():
    old = run(NET, optax.sgd(0.1), None)
    start = nn.train_state(
        NET, optax.adam(0.1), X, key=KEY, params=old.params, state=old.state
    )
    chex.assert_trees_all_equal((start.params, start.state), (old.params, old.state))
    assert int(start.step) == 0
    assert int(run(NET, optax.adam(0.1), start).step) == 2


def test_the_error_for_another_optimizer_is_that_line(tmp_path):
    old = run(NET, optax.sgd(0.1), None)
    adam = nn.partition({"head": optax.adam(0.1)}, default=optax.sgd(0.1))
    with pytest.raises(ValueError) as caught:
        run(NET, adam, old, epochs=2)
    assert "nn.train_state(net, optimizer, x, key=key, params=state.params" in str(
        caught.value
    )
    assert "inner_states" not in str(caught.value)
    nn.save(tmp_path / "old.safetensors", old)
    with pytest.raises(ValueError) as caught:
        nn.load(
            tmp_path / "old.safetensors", like=nn.train_state(NET, adam, X, key=KEY)
        )
    assert "was saved with another optimizer than that of `like`" in str(caught.value)
    assert "inner_states" not in str(caught.value)


def test_a_head_that_is_left_out_is_initialized():
    old = run(NET, optax.sgd(0.1), None)
    net = nn.edit(NET, "head", nn.Dense(5))
    params = {name: tree for name, tree in old.params.items() if name != "head"}
    made = nn.train_state(net, optax.sgd(0.1), X, key=KEY, params=params)
    fresh = nn.train_state(net, optax.sgd(0.1), X, key=KEY)
    chex.assert_trees_all_equal(made.params["body"], old.params["body"])
    chex.assert_trees_all_equal(made.params["head"], fresh.params["head"])


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"boby": {}, "x": {"w": jnp.ones(2)}}, "unexpected: x/w"),
        ({"body": {"w": jnp.ones((3, 8))}}, "missing: body/b"),
        (
            {"body": {"w": jnp.ones((3, 9)), "b": jnp.ones(9)}},
            r"different: body/b is float32\[9\], in the network float32\[8\]",
        ),
        (
            {"body": {"w": np.ones((3, 8), np.float16), "b": jnp.ones(8)}},
            r"different: body/w is float16\[3,8\]",
        ),
        ((1, 2), "params must be a dict as init returns it"),
    ],
)
def test_weights_of_another_network_are_refused(params, said):
    with pytest.raises((ValueError, TypeError), match=said):
        nn.train_state(NET, optax.sgd(0.1), X, key=KEY, params=params)


def test_members_of_an_ensemble_start_from_their_own_weights():
    group = nn.ensemble(nn.Dense(2), 3)
    old = nn.train_state(group, optax.sgd(0.1), X, key=jax.random.key(1))
    new = nn.train_state(group, optax.adam(0.1), X, key=KEY, params=old.params)
    chex.assert_trees_all_equal(new.params, old.params)


def test_a_file_gives_what_predict_and_evaluate_take(tmp_path):
    net = nn.Sequential(
        nn.Dense(8, w_init=nn.initializers.normal(0.5)), nn.BatchNorm(), jnp.tanh,
        nn.Residual(nn.Dense(8)), head=nn.Dense(2),
    )  # fmt: skip
    file = tmp_path / "net.safetensors"
    state, history = nn.fit(
        net, (X, Y), loss=LOSS, optimizer=optax.adam(0.1), epochs=2, batch_size=2,
        key=KEY, progress=False, callbacks=[nn.callbacks.checkpoint(file)],
    )  # fmt: skip
    rebuilt = nn.io.network(file)
    assert rebuilt == net
    loaded = nn.load(file)
    chex.assert_trees_all_equal(
        nn.predict(rebuilt, loaded, X), nn.predict(net, state, X)
    )
    assert nn.evaluate(rebuilt, loaded, (X, Y), loss=LOSS) == nn.evaluate(
        net, state, (X, Y), loss=LOSS
    )
    assert "opt_state" in loaded and len(history) == 2


@pytest.mark.parametrize(
    "call",
    [
        lambda net, state: nn.predict(net, state, X),
        lambda net, state: nn.evaluate(net, state, (X, Y), loss=LOSS),
    ],
    ids=["predict", "evaluate"],
)
def test_weights_of_another_network_are_not_computed_with(call):
    old = run(NET, optax.sgd(0.1), None)
    wide = nn.edit(NET, "head", nn.Dense(5))
    with pytest.raises(ValueError, match="state must hold the parameters of this net"):
        call(wide, old)
    assert "body" not in NET[1:].init(KEY, jnp.ones((4, 8)))[0]
    nn.predict(NET[1:], old, jnp.ones((4, 8)))  # a part of it, with all parameters


def test_a_pair_is_no_state_to_train_from():
    old = run(NET, optax.sgd(0.1), None)
    with pytest.raises(TypeError, match=r"nn\.train_state"):
        run(NET, optax.sgd(0.1), (old.params, old.state))
