"""Combinators: names, equality with what they abbreviate, errors."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnn as nn

X = jnp.linspace(-1, 1, 12).reshape(3, 4)


def test_positional_children_are_numbered_by_kind():
    net = nn.Sequential(nn.Dense(3), jax.nn.relu, nn.PReLU(), nn.Dense(2), lambda x: x)
    names = ["dense_1", "relu_1", "prelu_1", "dense_2", "function_1"]
    assert list(net.children()) == names


@pytest.mark.parametrize(
    "net",
    [
        nn.Residual(nn.Dense(4)),
        nn.Sum(nn.Dense(4), nn.Identity()),
        nn.Concat(nn.Dense(4), nn.Identity()),
        nn.Repeat(nn.Dense(4), 2),
    ],
    ids=lambda net: type(net).__name__,
)
def test_arrays_of_numpy_are_taken_as_jax_takes_them(net, key):
    x = np.linspace(-1, 1, 12).reshape(3, 4)
    assert x.dtype == np.float64
    y, _ = net.apply(*net.init(key, x), x)
    assert y.dtype == jnp.float32
    chex.assert_trees_all_equal(y, net.apply(*net.init(key, x), jnp.asarray(x))[0])


def test_reprs_show_what_was_written():
    net = nn.Sequential(nn.Dense(3), act=jnp.sin, dense_2=nn.Dense(2))
    assert repr(net) == "Sequential(Dense(3), act=jax.numpy.sin, dense_2=Dense(2))"
    assert repr(nn.Concat(nn.Dense(3), axis=1)) == "Concat(Dense(3), axis=1)"
    odd = nn.edit(
        nn.Sequential(nn.Dense(3), nn.Dense(4)), "dense_1", lambda _: nn.Flatten()
    )
    assert repr(odd) == "Sequential(dense_1=Flatten(), dense_2=Dense(4))"


@pytest.mark.parametrize("kind", [nn.Sequential, nn.Concat, nn.Sum])
def test_names_are_unique_and_plain(kind):
    with pytest.raises(ValueError, match="two children are named 'dense_1'"):
        kind(nn.Dense(3), dense_1=nn.Dense(4))
    with pytest.raises(ValueError, match="no '/'"):
        kind(**{"a/b": nn.Dense(3)})
    with pytest.raises(TypeError, match=rf"{kind.__name__}\(\*layers\)"):
        kind([nn.Dense(3)])


def test_an_empty_sequence_is_the_identity(key):
    assert nn.Sequential().init(key, X) == ({}, {})
    chex.assert_trees_all_equal(nn.Sequential().apply({}, {}, X)[0], X)


def test_concat_and_sum_are_what_they_say(key):
    branches = {"a": nn.Dense(4), "b": jnp.tanh}
    for net, join in (
        (nn.Concat(**branches), lambda a, b: jnp.concatenate([a, b], -1)),
        (nn.Concat(**branches, axis=0), lambda a, b: jnp.concatenate([a, b], 0)),
        (nn.Sum(**branches), jnp.add),
    ):
        params, state = net.init(key, X)
        a, _ = nn.Dense(4).apply(params["a"], {}, X)
        y, _ = net.apply(params, state, X)
        chex.assert_trees_all_equal(y, join(a, jnp.tanh(X)))


def test_branches_of_different_shapes_are_named(key):
    with pytest.raises(
        ValueError, match=r"dense_1 float32\[3,2\], dense_2 float32\[3,5\]"
    ):
        nn.Sum(nn.Dense(2), nn.Dense(5)).init(key, X)
    with pytest.raises(ValueError, match=r"body float32\[3,2\], shortcut"):
        nn.Residual(nn.Dense(2)).init(key, X)
    with pytest.raises(ValueError, match="Concat"):
        nn.Concat(nn.Dense(2), nn.Dense(5), axis=0).init(key, X)
    with pytest.raises(ValueError, match="at least one branch"):
        nn.Sum().init(key, X)


def test_repeat_is_its_blocks_in_a_row(key):
    block = nn.Residual(nn.Sequential(nn.Dense(4), jnp.tanh))
    net = nn.Repeat(block, 3)
    params, state = net.init(key, X)
    y = X
    for i in range(3):
        own = jax.tree.map(lambda a, i=i: a[i], params["block"])
        y, _ = block.apply(own, {}, y)
    chex.assert_trees_all_close(net.apply(params, state, X)[0], y, rtol=1e-6)
    first, second = params["block"]["body"]["dense_1"]["w"][:2]
    assert not jnp.array_equal(first, second)


def test_repeat_draws_anew_in_each_block(key):
    x = jnp.ones((1, 2000))
    y, _ = nn.Repeat(nn.Dropout(0.5), 2).apply({}, {}, x, key=key, train=True)
    assert 0.2 < float((y > 0).mean()) < 0.3  # the same mask twice would keep a half


def test_repeat_compiles_as_much_for_many_blocks_as_for_few(key):
    def lines(n):
        net = nn.Repeat(nn.Dense(4), n)
        params, _ = net.init(key, X)
        return len(jax.jit(net.apply).lower(params, {}, X).as_text().splitlines())

    assert lines(50) == lines(2)


def test_repeat_needs_a_block_that_keeps_the_shape(key):
    net = nn.Sequential(stack=nn.Repeat(nn.Dense(5), 2))
    with pytest.raises(
        ValueError, match=r"keep the shape of its input, float32\[3,4\]"
    ):
        net.init(key, X)


def test_remat_is_the_layer_and_saves_nothing(key):
    net = nn.Sequential(nn.Dense(8), jnp.tanh, nn.Dense(2))
    params, state = net.init(key, X)
    chex.assert_trees_all_equal(nn.Remat(net).init(key, X), (params, state))

    def loss(layer, params):
        return (layer.apply(params, state, X)[0] ** 2).sum()

    plain = jax.grad(loss, 1)(net, params)
    chex.assert_trees_all_close(
        jax.grad(loss, 1)(nn.Remat(net), params), plain, rtol=1e-6
    )
    assert "remat" in str(
        jax.make_jaxpr(lambda p: jax.grad(loss, 1)(nn.Remat(net), p))(params)
    )


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Dense(0),
        lambda: nn.Dense(2.0),
        lambda: nn.Dense(True),
        lambda: nn.Maxout(3, pieces=0),
        lambda: nn.Repeat(nn.Dense(2), 0),
        lambda: nn.Dropout(1.5),
        lambda: nn.Dropout(-0.1),
        lambda: nn.Dropout("0.5"),
        lambda: nn.Reshape((2, -1, -1)),
        lambda: nn.Reshape(4),
    ],
)
def test_hyperparameters_are_checked_when_built(make):
    with pytest.raises(ValueError, match="must be"):
        make()


def test_dropout_keeps_the_mean_and_drops_the_share(key):
    x = jnp.ones((1000, 100))
    y, _ = nn.Dropout(0.3).apply({}, {}, x, key=key, train=True)
    assert abs(float(y.mean()) - 1) < 0.01
    assert abs(float((y == 0).mean()) - 0.3) < 0.01
    chex.assert_trees_all_close(y[y != 0], jnp.full(int((y != 0).sum()), 1 / 0.7))
    none, _ = nn.Dropout(1.0).apply({}, {}, x, key=key, train=True)
    assert not none.any()


def test_maxout_is_the_largest_of_its_maps(key):
    net = nn.Maxout(3, pieces=2)
    params, _ = net.init(key, X)
    maps = [X @ params["w"][k] + params["b"][k][None] for k in range(2)]
    y, _ = net.apply(params, {}, X)
    chex.assert_trees_all_close(y, jnp.maximum(*maps), rtol=1e-6)


def test_step_is_a_threshold():
    assert nn.step(jnp.array([-1.0, 0.0, 0.5])).tolist() == [0, 0, 1]
    assert jax.grad(lambda x: nn.step(x))(0.5) == 0


@pytest.mark.parametrize(
    "make",
    [
        nn.initializers.zeros,
        nn.initializers.ones,
        lambda: nn.initializers.constant(2.0),
        nn.initializers.normal,
        nn.initializers.truncated_normal,
        nn.initializers.uniform,
        nn.initializers.glorot_uniform,
        nn.initializers.glorot_normal,
        nn.initializers.he_uniform,
        nn.initializers.he_normal,
        nn.initializers.lecun_uniform,
        nn.initializers.lecun_normal,
        nn.initializers.orthogonal,
    ],
)
def test_initializers_are_jaxs_own(make, key):
    ours = make()
    theirs = getattr(jax.nn.initializers, ours.name)
    theirs = theirs if ours.name in ("zeros", "ones") else theirs(*ours.args)
    chex.assert_trees_all_close(
        ours(key, (5, 4), jnp.float32), theirs(key, (5, 4), jnp.float32), rtol=1e-6
    )
    assert ours == make()
    assert eval(repr(ours), vars(nn)) == ours


def test_the_normal_initializer_has_the_deviation_of_the_course(key):
    w = nn.initializers.normal()(key, (400, 400))
    assert abs(float(w.std()) - 0.1) < 0.001
    assert abs(float(w.mean())) < 0.001
