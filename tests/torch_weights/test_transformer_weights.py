# SPDX-License-Identifier: Apache-2.0
"""Attention and transformers, alone and in order: PyTorch's outputs and state_dict."""

import jax
import numpy as np
import pytest

import jaxnn as nn

torch = pytest.importorskip("torch")
from oracles.weights import first, numbers, randomized, refused, same  # noqa: E402 - needs torch

T = torch.nn
from_torch, to_torch = nn.io.from_torch, nn.io.to_torch
IDS = np.array([[0, 3, 3], [2, 0, 1]])

# Attention

N, STEPS, C = 2, 4, 8
X, MEMORY = numbers(N, STEPS, C), numbers(N, 5, C, seed=1)
CAUSAL = torch.ones(STEPS, STEPS, dtype=torch.bool).triu(1)


@pytest.mark.parametrize("bias", [True, False])
def test_attention_to_itself(bias):
    theirs = randomized(T.MultiheadAttention(C, 2, bias=bias, batch_first=True))
    net, x = nn.MultiHeadAttention(2, bias=bias, causal=True), torch.tensor(X)
    same(net, theirs, X, lambda m: m(x, x, x, attn_mask=CAUSAL)[0])


@pytest.mark.parametrize("width", [C, 6])
@pytest.mark.parametrize("bias", [True, False])
def test_attention_to_a_memory(width, bias):
    """Of another width, with a weight each for queries, keys and values."""
    memory = numbers(N, 5, width, seed=1)
    widths = {"kdim": width, "vdim": width}
    theirs = T.MultiheadAttention(C, 4, bias=bias, batch_first=True, **widths)
    x, seen = torch.tensor(X), torch.tensor(memory)
    net, given = nn.MultiHeadAttention(4, bias=bias), nn.Attend(X, memory)
    same(net, randomized(theirs), given, lambda m: m(x, seen, seen)[0])


def test_attention_without_its_options_here_is_refused():
    x, own = numbers(1, 3, 4), nn.MultiHeadAttention
    for layer, words in (
        (own(2, rotary=True), "no counterpart in PyTorch: its attention has no rotary"),
        (own(2, kv_heads=1), "its attention has no kv_heads"),
        (own(2, features=6), "gives as many features as x, 4"),
    ):
        net = nn.Sequential(attention=layer)
        words = [words, "at 'attention'", "skip='attention'"]
        refused(words, from_torch, net, x, {}, error=TypeError)
        variables = net.init(jax.random.key(0), x)
        refused(words, to_torch, net, variables, x=x, error=TypeError)
    theirs = T.MultiheadAttention(4, 2, add_bias_kv=True)
    words = ["unexpected: bias_k, of add_bias_kv=True, which no layer here has"]
    refused(words, from_torch, own(2), x, theirs.state_dict())


# Transformers

RELU = {"activation": jax.nn.relu}


def exact_gelu(x):
    return jax.nn.gelu(x, approximate=False)


@pytest.mark.parametrize("pre_norm", [True, False])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_an_encoder_layer(pre_norm, activation):
    function = {"relu": jax.nn.relu, "gelu": exact_gelu}[activation]
    net = nn.EncoderBlock(
        nn.MultiHeadAttention(2),
        nn.FeedForward(6, activation=function),
        pre_norm=pre_norm,
    )
    theirs = T.TransformerEncoderLayer(
        C, 2, 6, activation=activation, batch_first=True, norm_first=pre_norm
    )
    same(net, randomized(theirs), X, lambda m: m(torch.tensor(X)))


def encoder(layers=2, *, pre_norm):
    layer = T.TransformerEncoderLayer(C, 2, 6, batch_first=True, norm_first=pre_norm)
    last = T.LayerNorm(C) if pre_norm else None
    return T.TransformerEncoder(layer, layers, last, enable_nested_tensor=False)


def decoder(layers=2, *, pre_norm):
    layer = T.TransformerDecoderLayer(C, 2, 6, batch_first=True, norm_first=pre_norm)
    return T.TransformerDecoder(layer, layers, T.LayerNorm(C) if pre_norm else None)


@pytest.mark.parametrize(("pre_norm", "repeat"), [(True, True), (False, False)])
def test_an_encoder(pre_norm, repeat):
    net = nn.TransformerEncoder(
        2, 2, hidden=6, pre_norm=pre_norm, repeat=repeat, **RELU
    )
    theirs = randomized(encoder(pre_norm=pre_norm))
    same(net, theirs, X, lambda m: m(torch.tensor(X)))


@pytest.mark.parametrize(("pre_norm", "repeat"), [(True, True), (False, False)])
def test_a_decoder(pre_norm, repeat):
    net = nn.TransformerDecoder(
        2, 2, hidden=6, pre_norm=pre_norm, repeat=repeat, **RELU
    )
    theirs, tensors = (
        randomized(decoder(pre_norm=pre_norm)),
        map(torch.tensor, (X, MEMORY)),
    )
    x, memory = tensors
    given = nn.Attend(X, MEMORY)
    same(net, theirs, given, lambda m: m(x, memory, tgt_mask=CAUSAL))


def test_a_decoder_layer():
    attention = nn.MultiHeadAttention(2, causal=True), nn.MultiHeadAttention(2)
    net = nn.DecoderBlock(*attention, nn.FeedForward(6, **RELU), pre_norm=False)
    layer = randomized(T.TransformerDecoderLayer(C, 2, 6, batch_first=True))
    x, memory, given = torch.tensor(X), torch.tensor(MEMORY), nn.Attend(X, MEMORY)
    params, state = from_torch(net, given, layer.state_dict())
    expected = layer(x, memory, tgt_mask=CAUSAL).detach().numpy()
    y, _ = net.apply(params, state, given)
    np.testing.assert_allclose(y.x, expected, atol=1e-5)


def test_an_encoder_can_do_without_an_example():
    net = nn.TransformerEncoder(1, 2, hidden=6)
    variables = net.init(jax.random.key(0), X)
    layer = encoder(1, pre_norm=True)
    arrays = to_torch(net, variables)
    layer.load_state_dict({k: torch.from_numpy(v) for k, v in arrays.items()})


class Language(T.Module):
    """A language model with names of its own, its parts defined out of order inside."""

    def __init__(self, blocks=2):
        super().__init__()
        self.wte, self.wpe = T.Embedding(5, C), T.Embedding(6, C)
        self.trunk = encoder(blocks, pre_norm=True)
        self.out = T.Linear(C, 5)

    def forward(self, ids):
        x = self.wte(ids) + self.wpe(torch.arange(ids.shape[1]))
        mask = torch.ones(ids.shape[1], ids.shape[1], dtype=torch.bool).triu(1)
        return self.out(self.trunk(x, mask=mask))


def language(**options):
    return nn.Sequential(
        embed=nn.Embed(5, C),
        positions=nn.LearnedPositions(6),
        body=nn.TransformerEncoder(2, 2, hidden=6, causal=True, **RELU, **options),
        head=nn.Dense(5),
    )


@pytest.mark.parametrize("repeat", [True, False])
def test_a_language_model_in_order(repeat):
    """A transformer is one module of the order, whatever the order inside it is."""
    back = {"embed": "wte", "positions": "wpe", "body": "trunk", "head": "out"}
    model, net = randomized(Language()), language(repeat=repeat)
    same(net, model, IDS, lambda m: m(torch.tensor(IDS)), back=back)


def test_a_transformer_is_named_as_a_whole_or_layer_by_layer():
    model, net = randomized(Language()), language()
    given, plain = model.state_dict(), from_torch(net, IDS, model.state_dict())
    turned = dict(reversed(given.items()))
    names = {"embed": "wte", "positions": "wpe", "body": "trunk", "head": "out"}
    alone = {"body/block1/norm1": "trunk.layers.0.norm1", **names}
    for one in (names, alone):
        named = from_torch(net, IDS, turned, names=one)
        jax.tree.map(np.testing.assert_array_equal, named, plain)
    words = ["names must be paths of layers with arrays", "'boddy' (nearest: 'body')"]
    refused(words, from_torch, net, IDS, given, names={"boddy": "trunk"})


class Pair(T.Module):
    """Two encoders of one shape, called in another order than they are defined."""

    def __init__(self):
        super().__init__()
        self.late, self.early = (encoder(1, pre_norm=False) for _ in range(2))

    def forward(self, x):
        return self.late(self.early(x))


def test_two_transformers_of_one_shape_are_told_apart_by_name_alone():
    block = {"hidden": 6, "pre_norm": False, **RELU}
    net = nn.Sequential(
        one=nn.TransformerEncoder(1, 2, **block),
        two=nn.TransformerEncoder(1, 2, **block),
    )
    model = randomized(Pair())
    words = ["one, two may be any of late, early", "names={'one': 'late'"]
    refused(words, from_torch, net, X, model.state_dict())
    names = {"one": "early", "two": "late"}
    same(net, model, X, lambda m: m(torch.tensor(X)), names=names)


class Block(T.Module):
    """A block of one's own, as torchvision's vision transformer has it."""

    def __init__(self):
        super().__init__()
        self.ln_1, self.self_attention = (
            T.LayerNorm(C),
            T.MultiheadAttention(C, 2, batch_first=True),
        )
        self.ln_2 = T.LayerNorm(C)
        self.mlp = T.Sequential(T.Linear(C, 6), T.ReLU(), T.Linear(6, C))

    def forward(self, x):
        y = self.ln_1(x)
        x = x + self.self_attention(y, y, y, need_weights=False)[0]
        return x + self.mlp(self.ln_2(x))


class Vision(T.Module):
    def __init__(self):
        super().__init__()
        self.conv_proj = T.Conv2d(3, C, 2, 2)
        self.blocks, self.ln_9 = T.Sequential(Block(), Block()), T.LayerNorm(C)
        self.head = T.Linear(4 * C, 3)

    def forward(self, x):
        x = self.conv_proj(x).flatten(2).transpose(1, 2)
        return self.head(self.ln_9(self.blocks(x)).flatten(1))


@pytest.mark.parametrize("repeat", [True, False])
def test_blocks_of_ones_own_match_layer_by_layer(repeat):
    """And their sequence flattens step by step, unlike a picture."""
    net = nn.Sequential(
        patches=nn.Conv(C, 2, stride=2, padding=0),
        steps=nn.Reshape((-1, C)),
        body=nn.TransformerEncoder(2, 2, hidden=6, repeat=repeat, **RELU),
        flat=nn.Flatten(),
        head=nn.Dense(3),
    )
    model, x = randomized(Vision()), numbers(2, 4, 4, 3)
    params, state = from_torch(net, x, model.state_dict(), names={"body/norm": "ln_9"})
    expected = model(first(x)).detach().numpy()
    np.testing.assert_allclose(net.apply(params, state, x)[0], expected, atol=1e-5)


class Translator(nn.Composite):
    """An encoder and a decoder, as in PyTorch's `Transformer`."""

    encoder: nn.Layer
    decoder: nn.Layer

    def forward(self, run, x):
        source, target = x
        return run("decoder", nn.Attend(target, run("encoder", source)))


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
def test_pytorchs_whole_transformer():
    options = {"hidden": 6, **RELU}
    net = Translator(
        nn.TransformerEncoder(2, 2, **options), nn.TransformerDecoder(1, 2, **options)
    )
    theirs = T.Transformer(
        C, 2, 2, 1, 6, batch_first=True, norm_first=True, dropout=0.0
    )
    source, target = torch.tensor(MEMORY), torch.tensor(X)

    def call(model):
        return model(source, target, tgt_mask=CAUSAL)

    same(net, randomized(theirs), (MEMORY, X), call)
