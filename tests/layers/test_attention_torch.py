"""PyTorch as the oracle of embeddings, attention and transformers, with gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnn as nn
from jaxnn import trees

torch = pytest.importorskip("torch")

N, T, S, C = 2, 4, 5, 8
LENGTHS = np.array([4, 2])


def numbers(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape)


def linear(params, prefix):
    return {
        f"{prefix}.weight": np.asarray(params["w"]).T,
        f"{prefix}.bias": np.asarray(params["b"]),
    }


def norm(params, prefix):
    return {
        f"{prefix}.weight": np.asarray(params["scale"]),
        f"{prefix}.bias": np.asarray(params["offset"]),
    }


def attention(params, prefix):
    """Queries, keys and values are one matrix in PyTorch."""
    three = [params[name] for name in ("query", "key", "value")]
    return {
        f"{prefix}.in_proj_weight": np.concatenate(
            [np.asarray(p["w"]).T for p in three]
        ),
        f"{prefix}.in_proj_bias": np.concatenate([np.asarray(p["b"]) for p in three]),
        **linear(params["out"], f"{prefix}.out_proj"),
    }


def block(params, prefix):
    decoder = "cross" in params
    found = attention(params["attention"], f"{prefix}.self_attn")
    found |= attention(params["cross"], f"{prefix}.multihead_attn") if decoder else {}
    for name in ("up", "down"):
        found |= linear(params["mlp"][name], f"{prefix}.linear{1 + (name == 'down')}")
    for i in (1, 2, 3) if decoder else (1, 2):
        found |= norm(params[f"norm{i}"], f"{prefix}.norm{i}")
    return found


def network(params):
    """A transformer's parameters as PyTorch names them."""
    found = {}
    for name, part in params.items():
        if name == "norm":
            found |= norm(part, "norm")
        else:
            found |= block(part, f"layers.{int(name.removeprefix('block')) - 1}")
    return found


def tensors(arrays):
    return {name: torch.tensor(np.array(a)) for name, a in arrays.items()}


def randomized(layer, x):
    """Parameters none of which is zero or one."""
    params, _ = layer.init(jax.random.key(0), x)
    flat, tree = jax.tree.flatten(params)
    return jax.tree.unflatten(
        tree, [0.5 * jnp.asarray(numbers(i, *a.shape)) for i, a in enumerate(flat)]
    )


def compare(layer, inputs, give, theirs, convert, call):
    """Outputs and all gradients of Σ c·y, ours and theirs, in float64."""
    with jax.enable_x64(True):
        arrays = [jnp.asarray(a) for a in inputs]
        params = randomized(layer, give(*arrays))
        theirs = theirs.double().eval()
        theirs.load_state_dict(tensors(convert(params)))
        y = layer.apply(params, {}, give(*arrays))[0]
        c = numbers(9, *y.shape)

        def loss(params, arrays):
            y = layer.apply(params, {}, give(*arrays))[0]
            return (c * y).sum()

        by_params, by_inputs = jax.grad(loss, argnums=(0, 1))(params, arrays)
        inside = [torch.tensor(np.array(a), requires_grad=True) for a in arrays]
        expected = call(theirs, *inside)
        np.testing.assert_allclose(y, expected.detach().numpy(), atol=1e-9)
        (torch.tensor(c) * expected).sum().backward()
        for ours, tensor in zip(by_inputs, inside, strict=True):
            np.testing.assert_allclose(ours, tensor.grad.numpy(), atol=1e-9)
        named = dict(theirs.named_parameters())
        for name, gradient in convert(by_params).items():
            np.testing.assert_allclose(
                gradient, named[name].grad.numpy(), atol=1e-9, err_msg=name
            )


def past_the_end(steps):
    return torch.tensor(np.arange(steps)[None] >= LENGTHS[:, None])


def causal_mask():
    return torch.nn.Transformer.generate_square_subsequent_mask(T, dtype=torch.float64)


def real(y):
    """Zeros past the end, as our encoder gives."""
    return y * (~past_the_end(T))[..., None]


def test_embedding_and_its_gradient():
    ids, c = np.array([[0, 3, 3], [2, 0, 0]]), numbers(1, 2, 3, 4)
    table = numbers(0, 5, 4)
    with jax.enable_x64(True):
        layer = nn.Embed(5, 4)

        def loss(table):
            y, _ = layer.apply({"table": table}, {}, jnp.asarray(ids))
            return (c * y).sum(), y

        gradient, y = jax.grad(loss, has_aux=True)(jnp.asarray(table))
    theirs = torch.tensor(table, requires_grad=True)
    expected = torch.nn.functional.embedding(torch.tensor(ids), theirs)
    (torch.tensor(c) * expected).sum().backward()
    np.testing.assert_array_equal(y, expected.detach().numpy())
    np.testing.assert_allclose(gradient, theirs.grad.numpy(), atol=1e-12)


def to_attention(params):
    return {k.removeprefix("a."): v for k, v in attention(params, "a").items()}


def test_causal_attention():
    compare(
        nn.MultiHeadAttention(2, causal=True),
        [numbers(0, N, T, C)],
        lambda x: x,
        torch.nn.MultiheadAttention(C, 2, batch_first=True),
        to_attention,
        lambda m, x: m(x, x, x, attn_mask=causal_mask(), need_weights=False)[0],
    )


@pytest.mark.parametrize("averaged", [True, False])
def test_attention_weights_averaged_and_by_head(averaged):
    with jax.enable_x64(True):
        layer, x, memory = (
            nn.MultiHeadAttention(2),
            numbers(0, N, T, C),
            numbers(1, N, S, C),
        )
        given = nn.Attend(jnp.asarray(x), jnp.asarray(memory), None, LENGTHS)
        params = randomized(layer, given)
        weights = layer.weights(params, given)
        weights = weights.mean(1) if averaged else weights
    theirs = torch.nn.MultiheadAttention(C, 2, batch_first=True).double()
    there = {
        k.removeprefix("a."): v for k, v in tensors(attention(params, "a")).items()
    }
    theirs.load_state_dict(there)
    x, memory = torch.tensor(x), torch.tensor(memory)
    _, expected = theirs(
        x,
        memory,
        memory,
        key_padding_mask=past_the_end(S),
        average_attn_weights=averaged,
    )
    np.testing.assert_allclose(weights, expected.detach().numpy(), atol=1e-12)


def test_attention_to_a_padded_memory():
    lengths = jnp.array([5, 3])
    padding = torch.tensor(np.arange(S)[None] >= np.array([[5], [3]]))
    compare(
        nn.MultiHeadAttention(4),
        [numbers(0, N, T, C), numbers(1, N, S, C)],
        lambda x, memory: nn.Attend(x, memory, memory_lengths=lengths),
        torch.nn.MultiheadAttention(C, 4, batch_first=True),
        to_attention,
        lambda m, x, y: m(x, y, y, key_padding_mask=padding, need_weights=False)[0],
    )


def test_grouped_heads_and_masks_by_their_own_attention():
    """`scaled_dot_product_attention`, zeros where nothing is allowed included."""
    from jaxnn.ops.attention import attention as ours

    q, k, v = numbers(0, N, 4, T, 3), numbers(1, N, 2, S, 3), numbers(2, N, 2, S, 3)
    mask = (numbers(3, N, 4, T, S) > 0) & (np.arange(T) != 1)[None, None, :, None]
    expected = torch.nn.functional.scaled_dot_product_attention(
        *map(torch.tensor, (q, k, v)), attn_mask=torch.tensor(mask), enable_gqa=True
    )
    with jax.enable_x64(True):
        y = ours(*map(jnp.asarray, (q, k, v)), mask=jnp.asarray(mask))
    assert (np.asarray(y)[:, :, 1] == 0).all()
    np.testing.assert_allclose(y, np.nan_to_num(expected.numpy()), atol=1e-12)


@pytest.mark.parametrize("pre_norm", [True, False])
def test_transformer_encoder(pre_norm):
    layer = torch.nn.TransformerEncoderLayer(
        C, 2, 6, dropout=0.0, batch_first=True, norm_first=pre_norm, activation="gelu"
    )
    last = torch.nn.LayerNorm(C) if pre_norm else None
    theirs = torch.nn.TransformerEncoder(layer, 2, last, enable_nested_tensor=False)
    ours = nn.TransformerEncoder(
        2, 2, hidden=6, pre_norm=pre_norm, activation=exact_gelu
    )
    compare(
        ours,
        [numbers(0, N, T, C)],
        lambda x: (x, jnp.asarray(LENGTHS)),
        theirs.train(False),
        network,
        lambda m, x: real(m(x, src_key_padding_mask=past_the_end(T))),
    )


def exact_gelu(x):
    return jax.nn.gelu(x, approximate=False)


@pytest.mark.parametrize("pre_norm", [True, False])
def test_transformer_decoder(pre_norm):
    layer = torch.nn.TransformerDecoderLayer(
        C, 4, 6, dropout=0.0, batch_first=True, norm_first=pre_norm
    )
    last = torch.nn.LayerNorm(C) if pre_norm else None
    theirs = torch.nn.TransformerDecoder(layer, 2, last)
    ours = nn.TransformerDecoder(
        2, 4, hidden=6, pre_norm=pre_norm, activation=jax.nn.relu
    )
    lengths = jnp.array([5, 2])
    padding = torch.tensor(np.arange(S)[None] >= np.array([[5], [2]]))
    compare(
        ours,
        [numbers(0, N, T, C), numbers(1, N, S, C)],
        lambda x, memory: nn.Attend(x, memory, memory_lengths=lengths),
        theirs,
        network,
        lambda m, x, memory: m(
            x, memory, tgt_mask=causal_mask(), memory_key_padding_mask=padding
        ),
    )


def test_every_parameter_has_its_name_there():
    net = nn.TransformerDecoder(1, 2)
    x = jnp.ones((1, 2, 4))
    params, _ = net.init(jax.random.key(0), nn.Attend(x, x))
    layer = torch.nn.TransformerDecoderLayer(4, 2, 16, batch_first=True)
    theirs = torch.nn.TransformerDecoder(layer, 1, torch.nn.LayerNorm(4)).state_dict()
    ours = network(params)
    assert {k: tuple(v.shape) for k, v in theirs.items()} == {
        k: v.shape for k, v in ours.items()
    }
    assert sum(v.size for v in ours.values()) == trees.count(params)
