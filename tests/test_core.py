"""The core: specs, composites, paths, keys, errors."""

import functools
from xml.etree import ElementTree

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnn as nn
from jaxnn import trees
from jaxnn.core import trace
from jaxnn.keys import fold_in

pytestmark = pytest.mark.quick


def mlp():
    return nn.Sequential(nn.Dense(8), jax.nn.relu, nn.Dense(3))


class Pair(nn.Composite):
    a: nn.Layer
    b: nn.Layer = nn.Identity()

    def forward(self, run, x):
        return run("a", x) + run("b", x)


def test_specs_are_frozen():
    with pytest.raises(AttributeError):
        nn.Dense(3).features = 4


def test_partial_functions_compare_by_content():
    def make(slope):
        leaky = functools.partial(jax.nn.leaky_relu, negative_slope=slope)
        return nn.Sequential(leaky, nn.Dense(2, w_init=nn.initializers.normal(slope)))

    assert make(0.1) == make(0.1)
    assert hash(make(0.1)) == hash(make(0.1))
    assert make(0.1) != make(0.2)


def test_kinds_with_equal_fields_differ():
    assert nn.Sequential(nn.Dense(3)) != nn.Sum(nn.Dense(3))
    assert nn.Flatten() != nn.Identity()


def test_a_layer_that_holds_an_array_says_so():
    net = nn.Sequential(functools.partial(jnp.add, jnp.ones(3)))
    with pytest.raises(TypeError, match="arrays belong in its params"):
        hash(net)


def test_a_composite_of_ones_own(key):
    net, x = Pair(nn.Dense(3)), jnp.ones((2, 3))
    params, state = net.init(key, x)
    y, state = net.apply(params, state, x)
    chex.assert_trees_all_close(y, x @ params["a"]["w"] + params["a"]["b"][None] + x)
    assert list(params) == ["a"]


def test_names_own_parameters(key):
    """One spec under two names has two sets of weights; a name called twice shares."""
    dense, x = nn.Dense(3), jnp.ones((2, 3))
    params, _ = Pair(dense, dense).init(key, x)
    assert not np.array_equal(params["a"]["w"], params["b"]["w"])

    class Shared(nn.Composite):
        layer: nn.Layer

        def forward(self, run, x):
            return run("layer", run("layer", x))

    params, _ = Shared(dense).init(key, x)
    assert list(params) == ["layer"]
    w, b = params["layer"]["w"], params["layer"]["b"][None]
    y, _ = Shared(dense).apply(params, {}, x)
    chex.assert_trees_all_close(y, (x @ w + b) @ w + b, rtol=1e-5)


def test_adding_a_layer_moves_no_other_layers_values(key):
    x = jnp.ones((2, 4))
    short = nn.Sequential(body=nn.Dense(8), head=nn.Dense(2)).init(key, x)[0]
    long = nn.Sequential(body=nn.Dense(8), mid=nn.Dense(8), head=nn.Dense(2))
    long = long.init(key, x)[0]
    chex.assert_trees_all_equal(short["head"], long["head"])
    chex.assert_trees_all_equal(short["body"], long["body"])


def test_calls_of_one_random_layer_draw_anew(key):
    class Two(nn.Composite):
        drop: nn.Layer

        def forward(self, run, x):
            return run("drop", x), run("drop", x)

    (a, b), _ = Two(nn.Dropout(0.5)).apply(
        {}, {}, jnp.ones((4, 50)), key=key, train=True
    )
    assert not np.array_equal(a, b)


def test_the_key_of_a_child_depends_on_its_name_alone(key):
    x = jnp.ones((4, 50))
    drop = nn.Dropout(0.5)
    direct, _ = drop.apply({}, {}, x, key=fold_in(key, "drop"), train=True)
    net = nn.Sequential(jax.nn.relu, drop=drop)
    inside, _ = net.apply({}, {}, x, key=key, train=True)
    chex.assert_trees_all_equal(direct, inside)


def test_any_pytree_goes_through_a_composite(key):
    class Both(nn.Composite):
        left: nn.Layer
        right: nn.Layer

        def forward(self, run, x):
            return {"sum": run("left", x["l"]) + run("right", x["r"])}

    x = {"l": jnp.ones((2, 3)), "r": jnp.ones((2, 4))}
    net = Both(nn.Dense(5), nn.Dense(5))
    params, state = net.init(key, x)
    y, _ = net.apply(params, state, x)
    assert y["sum"].shape == (2, 5)


def test_init_traces_the_forward_pass_once(key):
    calls = []

    def count(x):
        calls.append(1)
        return x

    net = nn.Sequential(nn.Sequential(nn.Sequential(nn.Sequential(count, nn.Dense(2)))))
    net.init(key, jnp.ones((2, 3)))
    assert len(calls) == 1


def test_trace_sees_every_call(key):
    calls = trace(nn.Sequential(body=mlp(), head=nn.Dense(2)), jnp.ones((4, 6)))
    assert [c.path for c in calls] == [
        "body/dense_1",
        "body/relu_1",
        "body/dense_2",
        "head",
    ]
    assert calls[-1].y.shape == (4, 2)


def test_errors_name_the_path_once_and_both_shapes(key):
    net = nn.Sequential(body=nn.Sequential(fc1=nn.Dense(8)), head=nn.Dense(2))
    params, state = net.init(key, jnp.ones((4, 6)))
    with pytest.raises(ValueError, match="must have 6 features") as caught:
        net.apply(params, state, jnp.ones((4, 5)))
    assert caught.value.__notes__ == ["in body/fc1: Dense(8) on float32[4,5]"]


def test_errors_in_init_name_the_path(key):
    net = nn.Sequential(body=nn.Sequential(fc1=nn.Dense(8), r=nn.Reshape((3, 3))))
    with pytest.raises(ValueError, match="8 numbers") as caught:
        net.init(key, jnp.ones((4, 6)))
    assert "in body/r: Reshape((3, 3)) on float32[4,8]" in caught.value.__notes__[0]


def test_errors_under_jit_name_the_path(key):
    net = nn.Sequential(fc=nn.Dense(8))
    params, state = net.init(key, jnp.ones((4, 6)))
    with pytest.raises(ValueError, match="in fc: Dense"):
        jax.jit(net.apply)(params, state, jnp.ones((4, 5)))


def test_a_pair_given_as_params_is_explained(key):
    net, x = mlp(), jnp.ones((2, 4))
    pair = net.init(key, x)
    with pytest.raises(TypeError, match="it returns two: params, state"):
        net.apply(pair, {}, x)


def test_params_of_another_network_are_explained(key):
    net, x = mlp(), jnp.ones((2, 4))
    with pytest.raises(KeyError) as caught:
        net.apply({"other": {}}, {}, x)
    assert "from this network's init" in caught.value.__notes__[0]


def test_an_unknown_child_offers_the_nearest(key):
    class Wrong(nn.Composite):
        encoder: nn.Layer

        def forward(self, run, x):
            return run("encode", x)

    with pytest.raises(KeyError, match="nearest: 'encoder'"):
        Wrong(nn.Dense(2)).init(key, jnp.ones((2, 4)))


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (lambda: jax.random.PRNGKey(0), "wrap_key_data"),
        (lambda: jax.random.split(jax.random.key(0), 3), "one random key"),
        (lambda: 0, "jax.random.key"),
        (lambda: None, "jax.random.key"),
    ],
)
def test_keys_that_are_no_new_style_key_are_refused(bad, words):
    with pytest.raises((TypeError, ValueError), match=words):
        mlp().init(bad(), jnp.ones((2, 4)))


def test_an_old_style_key_is_refused_by_a_random_layer():
    with pytest.raises(TypeError, match="wrap_key_data"):
        nn.Dropout(0.5).apply(
            {}, {}, jnp.ones((2, 4)), key=jax.random.PRNGKey(0), train=True
        )


def test_no_key_is_used_twice(key):
    """JAX's own checker of random keys passes over init and apply."""
    net, x = (
        nn.Sequential(nn.Dense(8), nn.Dropout(0.5), nn.Dropout(0.2)),
        jnp.ones((2, 4)),
    )
    with jax.debug_key_reuse(True):
        a, b = jax.random.split(key)
        params, state = jax.jit(net.init)(a, x)
        jax.jit(lambda k: net.apply(params, state, x, key=k, train=True))(b)


def test_children_must_be_layers_or_functions():
    with pytest.raises(TypeError, match=r"build a layer with Flatten\(...\)"):
        nn.Sequential(nn.Flatten)
    with pytest.raises(TypeError, match=r"Sequential: a layer must be an nn.Layer"):
        nn.Sequential(3)


def test_integer_inputs_are_explained(key):
    with pytest.raises(TypeError, match="floating-point"):
        nn.Dense(3).init(key, jnp.ones((2, 4), jnp.uint8))


def test_vmapped_init_is_init_by_key(key):
    net, x = mlp(), jnp.ones((2, 4))
    keys = jax.random.split(key, 3)
    together = jax.vmap(lambda k: net.init(k, x)[0])(keys)
    for i, k in enumerate(keys):
        one = jax.tree.map(lambda a, i=i: a[i], together)
        chex.assert_trees_all_close(one, net.init(k, x)[0], rtol=1e-6)


def test_scopes_reach_the_compiled_program(key):
    net, x = nn.Sequential(stage=nn.Sequential(fc=nn.Dense(8))), jnp.ones((2, 4))
    params, state = net.init(key, x)
    text = jax.jit(net.apply).lower(params, state, x).as_text(debug_info=True)
    assert "stage/fc" in text


def test_hessian_of_a_network(key):
    net, x = nn.Sequential(nn.Dense(3), jnp.tanh, nn.Dense(1)), jnp.ones((2, 2))
    params, state = net.init(key, x)
    h = jax.hessian(lambda p: net.apply(p, state, x)[0].sum())(params)
    w = h["dense_1"]["w"]["dense_1"]["w"]
    assert w.shape == (2, 3, 2, 3)
    assert jnp.abs(w).max() > 0
    assert len(trees.paths(params)) == 4


def test_a_layer_that_forgets_its_state_is_named(key):
    class Forgets(nn.Layer):
        def apply(self, params, state, x, *, key=None, train=False):
            return 2 * x

    with pytest.raises(
        TypeError, match=r"^Forgets: apply must return two things, \(y, st"
    ):
        nn.Sequential(Forgets()).apply({}, {}, jnp.ones((2, 3)))


def test_numbers_may_travel_between_layers(key):
    net = nn.Sequential(lambda x: (x, 0.5), lambda pair: pair[0] * pair[1], nn.Dense(2))
    params, state = net.init(key, jnp.ones((2, 3)))
    assert net.apply(params, state, jnp.ones((2, 3)))[0].shape == (2, 2)


def test_init_may_be_extended(key):
    class Scaled(nn.Composite):
        body: nn.Layer

        def init(self, key, x):
            params, state = super().init(key, x)
            return {**params, "scale": jnp.ones(())}, state

        def forward(self, run, x):
            return run("body", x)

        def apply(self, params, state, x, *, key=None, train=False):
            y, state = super().apply(params, state, x, key=key, train=train)
            return params["scale"] * y, state

    net = nn.Sequential(inner=Scaled(nn.Dense(2)))
    params, state = net.init(key, jnp.ones((2, 3)))
    assert sorted(params["inner"]) == ["body", "scale"]
    assert Scaled(nn.Dense(2)).init(key, jnp.ones((2, 3)))[0]["body"]["w"].shape == (
        3,
        2,
    )
    assert net.apply(params, state, jnp.ones((2, 3)))[0].shape == (2, 2)


def test_two_random_inits_pass_jaxs_key_checker(key):
    with jax.debug_key_reuse(True):
        nn.Sequential(nn.Dense(3), nn.Dense(3)).init(key, jnp.ones((2, 3)))


def test_values_of_other_types_are_other_specs():
    class Scale(nn.Layer):
        by: float

        def apply(self, params, state, x, *, key=None, train=False):
            return x * self.by, state

    assert Scale(2) != Scale(2.0)
    assert nn.Dense(__import__("numpy").int64(3)) == nn.Dense(3)


def test_first_mistakes_get_a_hint(key):
    class Bare(nn.Composite):
        fc = nn.Dense(3)

        def forward(self, run, x):
            return run("fc", x)

    class Direct(nn.Composite):
        fc: nn.Layer

        def forward(self, run, x):
            return run(self.fc, x)

    with pytest.raises(KeyError, match="annotated field"):
        Bare().init(key, jnp.ones((2, 3)))
    with pytest.raises(TypeError, match="the name of a child"):
        Direct(nn.Dense(3)).init(key, jnp.ones((2, 3)))


def test_a_notebook_shows_the_layers_inside():
    net = nn.Sequential(
        nn.Conv(3, 3), nn.Residual(nn.Repeat(nn.Dense(3), 4)), last=jax.nn.relu
    )
    rows = ElementTree.fromstring(net._repr_html_()).iter("tr")
    assert [[*row.itertext()] for row in rows] == [
        ["path", "layer"],
        ["conv_1", "Conv(3, kernel=3)"],
        ["residual_1", "Residual"],
        ["residual_1/body", "Repeat(n=4)"],
        ["residual_1/body/block", "Dense(3)"],
        ["residual_1/shortcut", "Identity()"],
        ["last", "jax.nn.relu"],
    ]
    assert "nn.summary(net, x)" in net._repr_html_()
    assert nn.Dense(3)._repr_html_() is None  # its repr says it all


def test_a_notebook_shows_only_the_first_layers_of_a_large_network():
    net = nn.Sequential(*[nn.Dense(3)] * 100, nn.Sequential(lambda x: x))
    shown = net._repr_html_()
    assert shown.count("<tr>") == 62 and "42 more" in shown
    odd = nn.Sequential(**{"<b>": nn.Dense(1)}, body=nn.Sequential(lambda x: x))
    assert "&lt;b&gt;" in odd._repr_html_() and "&lt;lambda&gt;" in odd._repr_html_()
