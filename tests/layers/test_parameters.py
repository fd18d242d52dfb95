"""Parameters on their own, and children in tuples and dicts."""

import chex
import jax
import jax.numpy as jnp
import pytest

import jaxnn as nn

KEY = jax.random.key(0)


class Affine(nn.Composite):
    w: nn.Layer = nn.Parameter((3,), w_init=nn.initializers.ones())
    b: nn.Layer = nn.Parameter(())

    def forward(self, run, x):
        return x * run("w", x)[None] + run("b")


def test_a_parameter_is_trained_like_any_other():
    x = jnp.array([[1.0, 2.0, 3.0]])
    params, state = Affine().init(KEY, x)
    assert params["b"]["w"].shape == ()
    grads = jax.grad(lambda p: Affine().apply(p, state, x)[0].sum())(params)
    assert grads["w"]["w"].tolist() == [1.0, 2.0, 3.0]
    assert float(grads["b"]["w"]) == 3.0


def test_a_parameter_follows_the_dtype_of_its_input():
    params, _ = Affine().init(KEY, jnp.ones((1, 3)))
    layer = nn.Parameter((3,))
    half, _ = layer.apply(params["w"], {}, jnp.ones((1, 3), jnp.bfloat16))
    alone, _ = layer.apply(params["w"], {}, None)
    assert (half.dtype, alone.dtype) == (jnp.bfloat16, jnp.float32)
    with jax.enable_x64(True):
        wide, _ = layer.init(KEY, jnp.ones((1, 3), jnp.float64))
        assert wide["w"].dtype == jnp.float64


@pytest.mark.parametrize("shape", [3, (0,), (2, -1), "3"])
def test_a_parameter_refuses_a_shape_that_is_none(shape):
    with pytest.raises(ValueError, match="shape must be a tuple of positive"):
        nn.Parameter(shape)


def test_a_parameter_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"w must be \[3\], as shape says"):
        nn.Parameter((3,)).apply({"w": jnp.ones(4)}, {}, None)


class Towers(nn.Composite):
    blocks: tuple
    heads: dict

    def forward(self, run, x):
        for i in range(len(self.blocks)):
            x = run(f"blocks/{i}", x)
        return {name: run(f"heads/{name}", x) for name in self.heads}


NET = Towers(
    (nn.Dense(4), nn.BatchNorm(), (nn.Dropout(0.5),)),
    {"age": nn.Dense(1), "name": nn.Sequential(nn.Dense(3), jax.nn.relu)},
)


class Deep(nn.Composite):
    blocks: tuple

    def forward(self, run, x):
        return run("blocks/1/0", run("blocks/0", x))


def test_children_in_tuples_and_dicts_have_paths():
    net = Deep((nn.Dense(2), (nn.Dense(3),)))
    params, state = net.init(KEY, jnp.ones((2, 5)))
    chex.assert_trees_all_equal_shapes(
        params,
        {
            "blocks": {
                "0": {"w": jnp.ones((5, 2)), "b": jnp.ones(2)},
                "1": {"0": {"w": jnp.ones((2, 3)), "b": jnp.ones(3)}},
            }
        },
    )
    assert list(nn.layer_paths(net)) == ["blocks", "blocks/0", "blocks/1", "blocks/1/0"]
    y, _ = net.apply(params, state, jnp.ones((2, 5)))
    expected = jnp.ones((2, 5)) @ params["blocks"]["0"]["w"]
    expected = expected @ params["blocks"]["1"]["0"]["w"]
    chex.assert_trees_all_close(y, expected, rtol=1e-6)


def test_children_in_a_list_are_the_same():
    assert Deep([nn.Dense(2), [nn.Dense(3)]]) == Deep((nn.Dense(2), (nn.Dense(3),)))


def test_state_of_grouped_children_is_kept_and_not_modified():
    class Norms(nn.Composite):
        norms: tuple = (nn.BatchNorm(), nn.BatchNorm())

        def forward(self, run, x):
            return run("norms/1", run("norms/0", x))

    x = jax.random.normal(KEY, (8, 2)) + 3
    params, state = Norms().init(KEY, x)
    before = jax.tree.map(jnp.copy, state)
    _, after = Norms().apply(params, state, x, train=True)
    chex.assert_trees_all_equal(state, before)
    assert (after["norms"]["0"]["mean"] != before["norms"]["0"]["mean"]).all()
    chex.assert_trees_all_equal_structs(after, before)


def test_grouped_children_can_be_edited_and_print_as_code():
    net = nn.edit(NET, "heads/name/dense_1", nn.Dense(7))
    assert net.heads["name"] == nn.Sequential(dense_1=nn.Dense(7), relu_1=jax.nn.relu)
    assert isinstance(net.blocks, tuple) and net.blocks == NET.blocks
    places = {"Towers": Towers, **vars(nn), "jax": jax}
    assert eval(repr(net), places) == net
    swapped = nn.edit(NET, "blocks/1", lambda layer: jax.nn.relu)
    assert swapped.blocks[1] is jax.nn.relu


def test_an_unknown_member_is_named():
    class Wrong(nn.Composite):
        blocks: tuple = (nn.Dense(2),)

        def forward(self, run, x):
            return run("blocks/1", x)

    with pytest.raises(KeyError, match="Wrong has no child 'blocks/1'"):
        Wrong().init(KEY, jnp.ones((1, 2)))


def test_a_group_is_not_called_whole():
    class Whole(nn.Composite):
        blocks: tuple = (nn.Dense(2), nn.Dense(3))

        def forward(self, run, x):
            return run("blocks", x)

    with pytest.raises(TypeError, match="called one by one"):
        Whole().init(KEY, jnp.ones((1, 2)))


def test_a_tuple_that_holds_no_layers_is_a_hyperparameter():
    class Sizes(nn.Composite):
        sizes: tuple = (1, 2)
        named: tuple = ("a", nn.Dense(2))

        def forward(self, run, x):
            return x

    assert Sizes().children() == {}


def test_sequential_has_a_length_items_and_parts():
    net = nn.Sequential(nn.Dense(8), jax.nn.relu, head=nn.Dense(2))
    assert len(net) == 3 and [type(layer).__name__ for layer in net] == [
        "Dense",
        "Function",
        "Dense",
    ]
    assert net[0] == nn.Dense(8) and net[-1] == net["head"] == nn.Dense(2)
    assert net[:-1] == nn.Sequential(nn.Dense(8), jax.nn.relu)
    assert net[2:] == nn.Sequential(head=nn.Dense(2))
    assert nn.Sequential() and len(nn.Sequential()) == 0
    with pytest.raises(IndexError, match="index must be from 0 to 2"):
        net[3]
    with pytest.raises(KeyError, match="no child 'tail'"):
        net["tail"]


def test_a_part_of_a_network_takes_the_parameters_of_the_whole():
    net, x = nn.Sequential(nn.Dense(8), jax.nn.relu, nn.Dense(2)), jnp.ones((3, 4))
    params, state = net.init(KEY, x)
    features, _ = net[:-1].apply(params, state, x)
    rest, _ = net[2:].apply(params, state, features)
    chex.assert_trees_all_equal(rest, net.apply(params, state, x)[0])
    assert nn.Concat(nn.Dense(2), nn.Dense(3), axis=1)[:1].axis == 1
