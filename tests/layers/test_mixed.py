"""Mixed precision: bfloat16 inside, float32 outside."""

import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxnn as nn

NET = nn.Sequential(
    nn.Dense(16), nn.BatchNorm(), jax.nn.relu, nn.Dropout(0.1), nn.Dense(3)
)
X = jax.random.normal(jax.random.key(3), (64, 6))
Y = X[:, :3].argmax(1)
LOSS = nn.losses.softmax_cross_entropy


def test_it_computes_in_bfloat16_forward_and_backward(key):
    net = nn.Mixed(nn.Sequential(nn.Dense(8), jax.nn.relu, nn.Dense(2)))
    params, state = net.init(key, X)

    def total(params):
        return net.apply(params, state, X)[0].sum()

    program = str(jax.make_jaxpr(jax.grad(total))(params))
    products = re.findall(r":(\w+)\[[\d,]*\] = dot_general", program)
    assert len(products) > 3 and set(products) == {"bf16"}


def test_parameters_outputs_gradients_and_statistics_stay_in_float32(key):
    net = nn.Mixed(NET)
    params, state = net.init(key, X)
    chex.assert_trees_all_equal((params, state), NET.init(key, X))
    y, after = net.apply(params, state, X, key=key, train=True)
    gradients = jax.grad(lambda p: net.apply(p, state, X)[0].sum())(params)
    kept = jax.tree.leaves((y, after, gradients))
    assert {a.dtype.name for a in kept} == {"float32"}
    plain, _ = NET.apply(params, state, X)
    mixed, _ = net.apply(params, state, X)
    assert 0 < float(jnp.abs(plain - mixed).max()) < 0.05


def test_a_fit_learns_what_float32_learns_and_keeps_float32_masters(key):
    kw = dict(loss=LOSS, optimizer=optax.adam(1e-2), epochs=30, batch_size=16, key=key)
    kw |= dict(metrics={"accuracy": nn.metrics.accuracy}, progress=False)
    plain, ours = nn.fit(NET, (X, Y), **kw)
    mixed, theirs = nn.fit(nn.Mixed(NET), (X, Y), **kw)
    assert abs(ours["accuracy"][-1] - theirs["accuracy"][-1]) < 0.1
    assert theirs["accuracy"][-1] > 0.85
    chex.assert_trees_all_equal_shapes_and_dtypes(plain, mixed)


def test_files_hold_the_masters_bit_for_bit(key, tmp_path):
    optimizer = optax.adam(1e-2)
    state = nn.train_state(nn.Mixed(NET), optimizer, X, key=key)
    step = jax.jit(nn.train_step(nn.Mixed(NET), LOSS, optimizer))
    state, _ = step(state, (X, Y))
    nn.save(tmp_path / "state", state, spec=nn.Mixed(NET))
    chex.assert_trees_all_equal(nn.load(tmp_path / "state", like=state), state)
    mixed = nn.io.network(tmp_path / "state")
    assert mixed == nn.Mixed(NET)
    assert nn.predict(mixed, nn.load(tmp_path / "state"), X).dtype == np.float32


def test_integers_go_in_unchanged(key):
    net = nn.Mixed(nn.Sequential(nn.Embed(300, 4), nn.GlobalAvgPool(), nn.Dense(2)))
    ids = jnp.array([[299, 298, 257]])  # bfloat16 cannot tell these apart
    params, state = net.init(key, ids)
    y, _ = net.apply(params, state, ids)
    other, _ = net.apply(params, state, ids - 1)
    assert y.dtype == jnp.float32 and not jnp.array_equal(y, other)


def test_paths_reach_inside(key):
    net = nn.Mixed(nn.Sequential(body=nn.Dense(4), head=nn.Dense(2)))
    wider = nn.edit(net, "head", nn.Dense(5))
    assert wider == nn.Mixed(nn.Sequential(body=nn.Dense(4), head=nn.Dense(5)))
    assert list(nn.layer_paths(net)) == ["body", "head"]


def test_a_stateful_network_in_bfloat16_goes_on_where_it_ended(key):
    net = nn.Mixed(nn.Recurrent(nn.LSTMCell(3)))
    x = jax.random.normal(key, (2, 6, 4))
    params, state = net.init(key, x)
    live = nn.stateful(net)
    whole, _ = net.apply(params, state, x)
    carried = nn.zero_carry(live, x[:, :3])
    first, carried = live.apply(params, carried, x[:, :3])
    second, _ = live.apply(params, carried, x[:, 3:])
    chex.assert_trees_all_close(
        jnp.concatenate([first, second], 1), whole, rtol=0.05, atol=0.02
    )


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64, int, "third", None])
def test_other_dtypes_are_refused(dtype):
    with pytest.raises(ValueError, match=r"must be jnp.bfloat16 or jnp.float16, got"):
        nn.Mixed(nn.Dense(2), dtype)
