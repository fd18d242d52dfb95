"""Surgery: edit, tap, freeze, partition."""

import chex
import jax
import jax.numpy as jnp
import pytest

import jaxnn as nn

X = jnp.linspace(-1, 1, 12).reshape(3, 4)


def net():
    body = nn.Sequential(fc=nn.Dense(5), act=jax.nn.relu, out=nn.Dense(4))
    return nn.Sequential(body=nn.Residual(body), head=nn.Dense(2))


def test_edit_replaces_one_layer_and_leaves_the_rest():
    new = nn.edit(net(), "body/body/act", lambda layer: jnp.tanh)
    assert nn.layer_paths(new)["body/body/act"] == nn.Function(jnp.tanh)
    assert nn.edit(new, "body/body/act", lambda layer: jax.nn.relu) == net()
    assert new != net()


def test_edit_by_pattern_and_inside_wrappers():
    deep = nn.Sequential(
        a=nn.Remat(nn.Sequential(d=nn.Dense(4))), b=nn.Repeat(nn.Dense(4), 2)
    )
    wide = nn.edit(deep, "b/block", lambda layer: nn.Dense(4, bias=False))
    assert repr(wide).endswith("b=Repeat(Dense(4, bias=False), n=2))")
    both = nn.edit(deep, "*/*", lambda layer: nn.Identity())
    assert set(map(repr, nn.layer_paths(both).values())) >= {"Identity()"}
    assert "Dense" not in repr(both)


def test_edit_of_an_unknown_path_names_the_nearest():
    with pytest.raises(KeyError, match="nearest: 'body/body/fc'"):
        nn.edit(net(), "body/body/fcc", lambda layer: layer)


def test_tap_gives_inner_outputs_and_the_networks_own(key):
    params, state = net().init(key, X)
    tap = nn.Tap(net(), ("body/body/act", "body", "head"))
    chex.assert_trees_all_equal(tap.init(key, X), (params, state))
    (y, taps), after = tap.apply(params, state, X)
    chex.assert_trees_all_equal(y, net().apply(params, state, X)[0], taps["head"])
    dense, _ = nn.Dense(5).apply(params["body"]["body"]["fc"], {}, X)
    chex.assert_trees_all_equal(taps["body/body/act"], jax.nn.relu(dense))
    assert taps["body"].shape == (3, 4)
    assert after == state


def test_tap_through_repeat_remat_jit_and_grad(key):
    deep = nn.Sequential(
        a=nn.Remat(nn.Sequential(d=nn.Dense(4))), b=nn.Repeat(nn.Dense(4), 2)
    )
    params, state = deep.init(key, X)
    tap = nn.Tap(deep, ("a/d", "b/block"))

    @jax.jit
    @jax.grad
    def slope(params):
        (_, taps), _ = tap.apply(params, state, X)
        return taps["b/block"][0].sum() + taps["a/d"].sum()

    (y, taps), _ = jax.jit(tap.apply)(params, state, X)
    assert taps["b/block"].shape == (2, 3, 4)
    chex.assert_trees_all_close(taps["b/block"][1], y)
    assert jnp.abs(slope(params)["a"]["d"]["w"]).max() > 0


@pytest.mark.parametrize("repeat", [False, True])
def test_tap_reads_attention_weights_where_they_are_used(key, repeat):
    encoder = nn.TransformerEncoder(2, 2, hidden=3, repeat=repeat)
    x, lengths = jax.random.normal(key, (2, 5, 4)), jnp.array([5, 3])
    params, state = encoder.init(key, (x, lengths))
    read = nn.MultiHeadAttention.weights
    tap = nn.Tap(encoder, "*attention", read)
    assert repr(tap).endswith("'*attention', read=MultiHeadAttention.weights)")
    (y, taps), _ = jax.jit(tap.apply)(params, state, (x, lengths))
    expected, _ = encoder.apply(params, state, (x, lengths))
    chex.assert_trees_all_close(y, expected, rtol=1e-5, atol=1e-5)
    weights = jnp.stack(jax.tree.leaves(taps)).reshape(2, 2, 2, 5, 5)
    real = (jnp.arange(5)[None] < lengths[:, None]).astype(float)
    rows = jnp.broadcast_to(real[None, :, None, :, None], weights.shape)
    chex.assert_trees_all_close((weights * rows).sum(-1), rows[..., 0], atol=1e-6)
    assert not weights[:, 1, :, :, 3:].any()


def test_tap_checks_what_it_is_to_read():
    with pytest.raises(TypeError, match="Tap: read must be a function of a layer"):
        nn.Tap(net(), "head", "weights")


def test_tap_of_a_shared_layer_gives_every_call(key):
    class Shared(nn.Composite):
        layer: nn.Layer

        def forward(self, run, x):
            return run("layer", run("layer", x))

    shared = Shared(nn.Dense(4))
    params, state = shared.init(key, X)
    (y, taps), _ = nn.Tap(shared, "layer").apply(params, state, X)
    first, second = taps["layer"]
    chex.assert_trees_all_equal(second, y)
    chex.assert_trees_all_equal(first, nn.Dense(4).apply(params["layer"], {}, X)[0])


def test_patterns_of_a_tap_may_match_one_layer_twice(key):
    network, x = net(), X
    (_, taps), state = nn.Tap(network, ("head", "*ead")).apply(*network.init(key, x), x)
    assert set(taps) == {"head"} and state == {}


def test_predict_takes_a_tap(key):
    tapped = nn.Tap(nn.Sequential(body=net()), "body/head")
    _, taps = nn.predict(tapped, tapped.init(key, X), X)
    assert set(taps) == {"body/head"} and len(taps["body/head"]) == len(X)


def test_the_paths_of_a_tap_are_text():
    with pytest.raises(TypeError, match="Tap: paths must be a path or a tuple"):
        nn.Tap(net(), 3)


def test_tap_of_an_unknown_path_is_refused_when_built():
    with pytest.raises(KeyError, match="nearest: 'head'"):
        nn.Tap(net(), "haed")


def test_tap_is_a_spec():
    assert nn.Tap(net(), "head") == nn.Tap(net(), "head")
    assert "Tap(" in repr(nn.Tap(net(), "head"))
