"""Transformers: blocks by hand, padding, caches, repeated blocks, surgery."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnn as nn
from jaxnn import trees

X = jax.random.normal(jax.random.key(0), (2, 4, 6))
LENGTHS = jnp.array([4, 2])


def made(layer, x=X):
    return layer.init(jax.random.key(1), x)[0]


def child(layer, params, name, x):
    return layer.children()[name].apply(params.get(name, {}), {}, x)[0]


@pytest.mark.parametrize("pre_norm", [True, False])
def test_an_encoder_block_is_its_formula(pre_norm):
    block = nn.EncoderBlock(nn.MultiHeadAttention(2), pre_norm=pre_norm)
    params, x = made(block), X
    for norm, body in [("norm1", "attention"), ("norm2", "mlp")]:
        if pre_norm:
            x = x + child(block, params, body, child(block, params, norm, x))
        else:
            x = child(block, params, norm, x + child(block, params, body, x))
    np.testing.assert_allclose(block.apply(params, {}, X)[0], x, atol=1e-5)


def test_a_decoder_block_asks_its_memory_between():
    own, cross = nn.MultiHeadAttention(2, causal=True), nn.MultiHeadAttention(2)
    block = nn.DecoderBlock(own, cross)
    memory, lengths = 1 - X[:, :3], jnp.array([3, 1])
    given = nn.Attend(X, memory, memory_lengths=lengths)
    params = made(block, given)
    x = X + child(block, params, "attention", child(block, params, "norm1", X))
    asked = given._replace(x=child(block, params, "norm2", x))
    x = x + child(block, params, "cross", asked)
    x = x + child(block, params, "mlp", child(block, params, "norm3", x))
    y, _ = block.apply(params, {}, given)
    np.testing.assert_allclose(y.x, x, atol=1e-5)
    assert y.memory is memory
    with pytest.raises(ValueError, match="DecoderBlock: needs a memory"):
        block.init(jax.random.key(0), X)
    with pytest.raises(ValueError, match="TransformerDecoder: needs a memory"):
        nn.TransformerDecoder(1, 2).init(jax.random.key(0), X)


@pytest.mark.parametrize("pre_norm", [True, False])
def test_an_encoder_is_its_blocks_and_a_norm(pre_norm):
    net = nn.TransformerEncoder(2, 2, pre_norm=pre_norm, norm=nn.RMSNorm())
    params, x = made(net), X
    assert list(net.children()) == ["block1", "block2"] + ["norm"] * pre_norm
    for name in net.children():
        x = child(net, params, name, x)
    np.testing.assert_allclose(net.apply(params, {}, X)[0], x, atol=1e-5)


def test_repeated_blocks_are_the_same_blocks():
    plain = nn.TransformerEncoder(3, 2, causal=True)
    net = nn.TransformerEncoder(3, 2, causal=True, repeat=True)
    params = made(plain)
    blocks = [params[f"block{i}"] for i in (1, 2, 3)]
    stacked = {
        "blocks": {"block": jax.tree.map(lambda *a: jnp.stack(a), *blocks)},
        "norm": params["norm"],
    }
    chex.assert_trees_all_equal_shapes(stacked, made(net))
    for x in (X, (X, LENGTHS)):
        ours, theirs = net.apply(stacked, {}, x)[0], plain.apply(params, {}, x)[0]
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    memory = nn.Attend(X, 1 - X, memory_lengths=LENGTHS)
    decoder = nn.TransformerDecoder(2, 2, repeat=True)
    params = made(decoder, memory)
    one = jax.tree.map(lambda a: a[0], params["blocks"]["block"])
    two = jax.tree.map(lambda a: a[1], params["blocks"]["block"])
    split = {"block1": one, "block2": two, "norm": params["norm"]}
    y, _ = nn.TransformerDecoder(2, 2).apply(split, {}, memory)
    np.testing.assert_allclose(decoder.apply(params, {}, memory)[0], y, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("repeat", [False, True])
def test_padding_changes_nothing_and_outputs_past_the_end_are_zero(repeat):
    net = nn.TransformerEncoder(2, 2, repeat=repeat)
    params, dirty = made(net), X.at[1, 2:].set(jnp.nan)
    y, _ = net.apply(params, {}, (dirty, LENGTHS))
    np.testing.assert_allclose(y[0], net.apply(params, {}, X)[0][0], atol=1e-6)
    alone = net.apply(params, {}, X[1:, :2])[0][0]
    np.testing.assert_allclose(y[1, :2], alone, atol=1e-6)
    assert (y[1, 2:] == 0).all()

    def loss(params, x):
        return (net.apply(params, {}, (x, LENGTHS))[0] ** 2).sum()

    gradients = jax.grad(loss, argnums=(0, 1))(params, dirty)
    assert all(jnp.isfinite(g).all() for g in jax.tree.leaves(gradients))
    assert (gradients[1][1, 2:] == 0).all()


def test_a_mask_of_ones_own_reaches_the_attention():
    net = nn.TransformerEncoder(2, 2)
    params = made(net)
    mask = jnp.tril(jnp.ones((4, 4), bool))
    causal = nn.TransformerEncoder(2, 2, causal=True).apply(params, {}, X)[0]
    y, _ = net.apply(params, {}, nn.Attend(X, mask=mask))
    np.testing.assert_allclose(y, causal, atol=1e-6)


def test_a_causal_encoder_does_not_see_what_comes():
    net = nn.TransformerEncoder(2, 2, causal=True, rotary=False)
    params = made(net)
    y, _ = net.apply(params, {}, X)
    other, _ = net.apply(params, {}, X.at[:, 2:].multiply(-1.0))
    np.testing.assert_array_equal(y[:, :2], other[:, :2])
    assert jnp.abs(y[:, 2:] - other[:, 2:]).max() > 0.1


@pytest.mark.slow
@pytest.mark.parametrize("repeat", [False, True])
def test_a_stateful_transformer_is_the_whole_one(repeat):
    net = nn.Sequential(
        nn.Embed(7, 6),
        nn.LearnedPositions(8),
        nn.TransformerEncoder(2, 2, causal=True, repeat=repeat),
        nn.Dense(7),
    )
    ids = jnp.array([[1, 2, 3, 4, 5], [6, 5, 4, 3, 2]])
    params = made(net, ids)
    live = nn.stateful(net, 8)
    chex.assert_trees_all_equal_shapes(live.init(jax.random.key(0), ids)[0], params)
    state, outputs = nn.zero_carry(live, ids), []
    for part in (ids[:, :2], ids[:, 2:3], ids[:, 3:]):
        y, state = live.apply(params, state, part)
        outputs.append(y)
    whole, _ = net.apply(params, {}, ids)
    np.testing.assert_allclose(jnp.concatenate(outputs, 1), whole, atol=1e-5)


def test_dropout_is_drawn_for_each_layer_anew(key):
    net = nn.TransformerEncoder(2, 2, dropout=0.5)
    params = made(net)
    plain, _ = net.apply(params, {}, X)
    one, _ = net.apply(params, {}, X, key=key, train=True)
    again, _ = net.apply(params, {}, X, key=key, train=True)
    np.testing.assert_array_equal(one, again)
    assert jnp.abs(one - plain).max() > 0.1
    with pytest.raises(TypeError, match="needs a random key"):
        net.apply(params, {}, X, train=True)


def test_edited_blocks_print_as_code_and_keep_their_place():
    net = nn.TransformerEncoder(2, 2)
    silent = nn.edit(net, "block2/mlp", lambda _: jnp.zeros_like)
    namespace = {name: getattr(nn, name) for name in dir(nn)}
    assert eval(repr(silent), namespace | {"jax": jax}) == silent != net
    assert list(silent.children()) == list(net.children())
    params = made(net)
    without = {**params, "block2": {**params["block2"], "mlp": {}}}
    y, _ = silent.apply(without, {}, X)
    assert jnp.abs(y - net.apply(params, {}, X)[0]).max() > 1e-3
    with pytest.raises(KeyError, match="block1"):
        nn.edit(net, "block9", lambda layer: layer)
    with pytest.raises(KeyError, match="no child 'blok1'"):
        net.with_child("blok1", nn.Dense(2))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.TransformerEncoder(0, 2), "layers must be a positive int"),
        (lambda: nn.TransformerEncoder(2, 3, kv_heads=2), "kv_heads must divide"),
        (lambda: nn.TransformerEncoder(2, 2, hidden=0), "hidden must be"),
        (lambda: nn.TransformerDecoder(2, 2, dropout=2.0), "dropout must be"),
        (lambda: made(nn.TransformerEncoder(2, 4)), "heads must divide features"),
    ],
)
def test_options_are_checked(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_parameter_paths_of_a_decoder():
    params = made(nn.TransformerDecoder(1, 2), nn.Attend(X, X))
    found = {path.split("/", 2)[1] for path in trees.paths(params) if "block1" in path}
    assert found == {"attention", "cross", "mlp", "norm1", "norm2", "norm3"}
