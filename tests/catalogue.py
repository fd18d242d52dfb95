"""Every layer and combinator once: `test_battery.py` runs over the list."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import jax.random as jr

import jaxnn as nn


class Entry(NamedTuple):
    """One layer: how to build it, what it takes, and what it needs from the battery."""

    name: str
    layer: nn.Layer
    shape: tuple[int, ...]
    paths: tuple[str, ...]  # of its parameters
    random: bool = False  # needs a key in training
    wrong: tuple[int, ...] | None = None  # a shape that must be refused
    state: tuple[str, ...] = ()  # paths of its state, which training changes
    frozen: bool = False  # its parameters have no gradient
    mixes: bool = False  # examples of a batch depend on one another
    rounds: bool = False  # computes in fewer bits than it is given


class Twice(nn.Composite):
    """A custom composite that shares a child and reads a tied weight."""

    layer: nn.Layer

    def forward(self, run, x):
        y = run("layer", run("layer", x))
        return y @ run.params["layer"]["w"].T.astype(y.dtype)


class Scaled(nn.Composite):
    """A custom composite with a parameter of its own."""

    factor: nn.Layer

    def forward(self, run, x):
        return x * (1 + run("factor", x))[None]


class Blocks(nn.Composite):
    """A custom composite with children in a tuple and in a dict."""

    blocks: tuple
    heads: dict

    def forward(self, run, x):
        for i in range(len(self.blocks)):
            x = run(f"blocks/{i}", x)
        return run("heads/out", x)


class Cells(nn.Composite):
    """One step of every recurrent cell, one after the other."""

    rnn: nn.Layer
    gru: nn.Layer
    lstm: nn.Layer
    conv: nn.Layer

    def forward(self, run, x):
        for name, cell in self.children().items():
            x = x[:, None, None] if name == "conv" else x
            carry = jax.tree.map(jnp.ones_like, cell.zero_carry(x))
            _, x = run(name, (carry, x))
        return x[:, 0, 0]


class Unpools(nn.Composite):
    """Pooling with indices, and back."""

    pool: nn.Layer
    unpool: nn.Layer

    def forward(self, run, x):
        y, indices = run("pool", x)
        return run("unpool", (y**2, indices))


class OnIds(nn.Composite):
    """A layer on ids, made of numbers."""

    layer: nn.Layer

    def forward(self, run, x):
        ids = (3 * jnp.abs(x)).astype(jnp.int32) % 5
        return run("layer", ids).astype(x.dtype)


class Asks(nn.Composite):
    """A layer that asks a memory, on numbers that are both."""

    layer: nn.Layer

    def forward(self, run, x):
        lengths = jnp.full(x.shape[0], 2)
        memory = 1 - x[:, ::-1]
        return run("layer", nn.Attend(x, memory, memory_lengths=lengths))


class Halves(nn.Composite):
    """A layer on a pair: the first and the second half of the features."""

    layer: nn.Layer

    def forward(self, run, x):
        return run("layer", tuple(jnp.split(x, 2, -1)))


class Told(nn.Composite):
    """A layer on steps and a condition, which is the first step."""

    layer: nn.Layer

    def forward(self, run, x):
        return run("layer", (x, x[:, :1].sum(1)))


DENSE = ("w", "b")
CELL = ("input/b", "input/w", "recurrent/w")
GRU = ("input/b", "input/w", "recurrent/b", "recurrent/w")
MLP = nn.Sequential(nn.Dense(8), jax.nn.relu, nn.Dense(3))
MLP_PATHS = ("dense_1/b", "dense_1/w", "dense_2/b", "dense_2/w")
MLP_OF_BLOCK = ("down/b", "down/w", "up/b", "up/w")
ATTENTION = tuple(f"{n}/{p}" for n in ("key", "out", "query", "value") for p in "bw")
LEAKY = functools.partial(jax.nn.leaky_relu, negative_slope=0.1)

CATALOGUE = [
    Entry("dense", nn.Dense(5), (4, 3), ("b", "w"), wrong=(4, 2)),
    Entry("dense_no_bias", nn.Dense(5, bias=False), (4, 3), ("w",), wrong=(4, 2)),
    Entry("dense_deep_input", nn.Dense(5), (4, 2, 3), ("b", "w"), wrong=(4, 3, 2)),
    Entry("flatten", nn.Flatten(), (4, 3, 2), ()),
    Entry("reshape", nn.Reshape((2, -1)), (4, 6), (), wrong=(4, 5)),
    Entry("identity", nn.Identity(), (4, 3), ()),
    Entry("function", nn.Function(jax.nn.gelu), (4, 3), ()),
    Entry("partial", nn.Sequential(LEAKY), (4, 3), ()),
    Entry("parameter", Scaled(nn.Parameter((3,))), (4, 3), ("factor/w",)),
    Entry("scale", nn.Scale(), (4, 3), ("scale",), wrong=(4, 2)),
    Entry("bias", nn.Bias(), (4, 5, 3), ("b",), wrong=(4, 5, 2)),
    Entry("last_step", nn.LastStep(), (4, 5, 3), (), wrong=(4, 3)),
    Entry(
        "blocks",
        Blocks((nn.Dense(3), jax.nn.relu), {"out": nn.Dense(2)}),
        (4, 3),
        ("blocks/0/b", "blocks/0/w", "heads/out/b", "heads/out/w"),
        wrong=(4, 2),
    ),
    Entry(
        "frozen", nn.Frozen(nn.Dense(3)), (4, 3), ("b", "w"), wrong=(4, 2), frozen=True
    ),
    Entry("prelu", nn.PReLU(), (4, 3), ("scale",)),
    Entry(
        "prelu_channels",
        nn.PReLU(0.1, per_channel=True),
        (4, 3),
        ("scale",),
        wrong=(4, 2),
    ),
    Entry("maxout", nn.Maxout(5, pieces=3), (4, 3), ("b", "w"), wrong=(4, 2)),
    Entry("dropout", nn.Dropout(0.4), (4, 3), (), random=True),
    Entry("alpha_dropout", nn.AlphaDropout(0.4), (4, 3), (), random=True),
    Entry("gaussian_noise", nn.GaussianNoise(0.4), (4, 3), (), random=True),
    Entry("sample", Halves(nn.Sample()), (4, 6), (), random=True, wrong=(4, 5)),
    Entry("minibatch_std", nn.MinibatchStd(2), (4, 3, 2), (), wrong=(5, 3), mixes=True),
    Entry("cosine_logits", nn.CosineLogits(5), (4, 3), ("w",), wrong=(4, 2)),
    Entry("time_embedding", nn.TimeEmbedding(5), (4,), (), wrong=(4, 1)),
    Entry(
        "film",
        Told(nn.FiLM(w_init=nn.initializers.normal(0.5))),
        (2, 3, 4),
        ("layer/b", "layer/w"),
        wrong=(2, 3, 2),
    ),
    Entry("conv", nn.Conv(3, 3), (2, 4, 3, 2), ("b", "w"), wrong=(2, 4, 3, 3)),
    Entry("conv_no_bias", nn.Conv(3, 1, bias=False), (2, 3, 2, 2), ("w",)),
    Entry(
        "conv_stride",
        nn.Conv(3, (3, 2), stride=(2, 1), padding=((0, 1), 1)),
        (2, 5, 4, 2),
        ("b", "w"),
        wrong=(2, 1, 4, 2),
    ),
    Entry(
        "conv_1d",
        nn.Conv(3, (3,), padding="VALID", dilation=2),
        (2, 6, 2),
        ("b", "w"),
        wrong=(2, 4, 2),
    ),
    Entry(
        "conv_3d",
        nn.Conv(2, (2, 3, 1)),
        (2, 3, 2, 2, 2),
        ("b", "w"),
        wrong=(2, 3, 2, 2),
    ),
    Entry(
        "conv_groups",
        nn.Conv(4, 2, groups=2),
        (2, 3, 2, 4),
        ("b", "w"),
        wrong=(2, 3, 2, 5),
    ),
    Entry(
        "conv_depthwise",
        nn.Conv(6, 3, stride=2, groups=3),
        (2, 4, 3, 3),
        ("b", "w"),
        wrong=(2, 4, 3, 6),
    ),
    Entry(
        "conv_circular",
        nn.Conv(2, 3, padding=(1, (2, 0)), padding_mode="circular"),
        (2, 3, 2, 2),
        ("b", "w"),
        wrong=(2, 3, 1, 2),
    ),
    Entry(
        "conv_transpose",
        nn.ConvTranspose(3, 3, stride=2),
        (2, 3, 2, 2),
        ("b", "w"),
        wrong=(2, 3, 2, 3),
    ),
    Entry(
        "conv_transpose_groups",
        nn.ConvTranspose(4, (3,), stride=3, padding=4, groups=2, bias=False),
        (2, 4, 2),
        ("w",),
        wrong=(2, 2, 2),
    ),
    Entry(
        "conv_transpose_output_padding",
        nn.ConvTranspose(2, (2, 3), stride=2, padding=((0, -1), (1, 0))),
        (2, 2, 3, 2),
        ("b", "w"),
        wrong=(2, 2, 3, 3),
    ),
    Entry(
        "separable_conv",
        nn.SeparableConv(4, 3, stride=2, multiplier=2),
        (2, 4, 3, 2),
        ("depthwise/w", "pointwise/b", "pointwise/w"),
        wrong=(2, 4, 3, 4),
    ),
    Entry("max_pool", nn.MaxPool(2), (2, 4, 5, 2), (), wrong=(2, 1, 4, 2)),
    Entry(
        "max_pool_overlapping",
        nn.MaxPool(3, stride=2, padding="SAME", ceil_mode=True),
        (2, 5, 4, 2),
        (),
        wrong=(2, 5, 2),
    ),
    Entry("max_pool_1d", nn.MaxPool((2,), dilation=2), (2, 6, 2), (), wrong=(2, 2, 2)),
    Entry(
        "max_unpool",
        Unpools(nn.MaxPoolIndices((2, 3)), nn.MaxUnpool((2, 3), size=(5, 6))),
        (2, 4, 6, 2),
        (),
        wrong=(2, 1, 6, 2),
    ),
    Entry("pad", nn.Pad(((1, -1), 2)), (2, 3, 2, 2), (), wrong=(2, 1, 2, 2)),
    Entry(
        "pad_reflect",
        nn.Pad(((2, 1),), mode="reflect"),
        (2, 3, 2),
        (),
        wrong=(2, 2, 2),
    ),
    Entry("avg_pool", nn.AvgPool(3, stride=1, padding=1), (2, 3, 4, 2), ()),
    Entry(
        "avg_pool_3d",
        nn.AvgPool((2, 1, 3), stride=(2, 1, 1), padding=(1, 0, 1), count_padding=True),
        (2, 3, 2, 3, 2),
        (),
        wrong=(2, 3, 2, 0, 2),
    ),
    Entry("global_max_pool", nn.GlobalMaxPool(), (2, 3, 4, 2), (), wrong=(2, 0, 4, 2)),
    Entry("global_avg_pool", nn.GlobalAvgPool(), (2, 3, 4, 2), (), wrong=(2, 4)),
    Entry("adaptive_max_pool", nn.AdaptiveMaxPool(3), (2, 5, 4, 2), (), wrong=(2, 5)),
    Entry("adaptive_avg_pool", nn.AdaptiveAvgPool(3), (2, 5, 4, 2), (), wrong=(2, 5)),
    Entry("upsample", nn.Upsample(), (2, 3, 2, 2), (), wrong=(2, 3, 2)),
    Entry("upsample_bilinear", nn.Upsample(2, method="bilinear"), (2, 3, 2, 2), ()),
    Entry(
        "upsample_bicubic",
        nn.Upsample(size=(4, 7), method="bicubic", align_corners=True),
        (2, 3, 2, 2),
        (),
        wrong=(2, 3, 2),
    ),
    Entry("pixel_shuffle", nn.PixelShuffle(2), (2, 2, 3, 8), (), wrong=(2, 2, 3, 6)),
    Entry(
        "pixel_unshuffle", nn.PixelUnshuffle(2), (2, 4, 6, 2), (), wrong=(2, 4, 5, 2)
    ),
    Entry("sequential", MLP, (4, 6), MLP_PATHS, wrong=(4, 5)),
    Entry(
        "sequential_dropout",
        nn.Sequential(fc=nn.Dense(8), drop=nn.Dropout(0.5)),
        (4, 6),
        ("fc/b", "fc/w"),
        random=True,
        wrong=(4, 5),
    ),
    Entry("ensemble", nn.ensemble(nn.Dense(5), 3), (4, 3), ("b", "w"), wrong=(4, 2)),
    Entry(
        "residual", nn.Residual(nn.Dense(3)), (4, 3), ("body/b", "body/w"), wrong=(4, 2)
    ),
    Entry(
        "residual_shortcut",
        nn.Residual(nn.Dense(5), nn.Dense(5, bias=False)),
        (4, 3),
        ("body/b", "body/w", "shortcut/w"),
        wrong=(4, 2),
    ),
    Entry(
        "concat",
        nn.Concat(nn.Dense(2), jnp.tanh),
        (4, 3),
        ("dense_1/b", "dense_1/w"),
        wrong=(4, 2),
    ),
    Entry(
        "sum",
        nn.Sum(a=nn.Dense(3), b=nn.Identity()),
        (4, 3),
        ("a/b", "a/w"),
        wrong=(4, 2),
    ),
    Entry(
        "repeat",
        nn.Repeat(nn.Dense(3), 3),
        (4, 3),
        ("block/b", "block/w"),
        wrong=(4, 2),
    ),
    Entry(
        "repeat_dropout",
        nn.Repeat(nn.Sequential(nn.Dense(3), nn.Dropout(0.5)), 2),
        (4, 3),
        ("block/dense_1/b", "block/dense_1/w"),
        random=True,
        wrong=(4, 2),
    ),
    Entry("remat", nn.Remat(MLP), (4, 6), MLP_PATHS, wrong=(4, 5)),
    Entry("mixed", nn.Mixed(MLP), (4, 6), MLP_PATHS, wrong=(4, 5), rounds=True),
    Entry(
        "composite", Twice(nn.Dense(3)), (4, 3), ("layer/b", "layer/w"), wrong=(4, 2)
    ),
    Entry(
        "batch_norm",
        nn.BatchNorm(),
        (4, 3, 2, 3),
        ("offset", "scale"),
        wrong=(4, 3, 2, 2),
        state=("mean", "var"),
    ),
    Entry(
        "batch_norm_plain",
        nn.BatchNorm(eps=1e-3, momentum=0.5, scale=False, offset=False),
        (5, 3),
        (),
        wrong=(5, 2),
        state=("mean", "var"),
    ),
    Entry(
        "batch_norm_net",
        nn.Sequential(nn.Conv(3, 2, bias=False), nn.BatchNorm(), jax.nn.silu),
        (2, 3, 3, 2),
        ("batch_norm_1/offset", "batch_norm_1/scale", "conv_1/w"),
        wrong=(2, 3, 3, 4),
        state=("batch_norm_1/mean", "batch_norm_1/var"),
    ),
    Entry(
        "batch_norm_repeat",
        nn.Repeat(nn.Sequential(nn.BatchNorm(), jnp.tanh), 2),
        (4, 3),
        ("block/batch_norm_1/offset", "block/batch_norm_1/scale"),
        wrong=(4, 2),
        state=("block/batch_norm_1/mean", "block/batch_norm_1/var"),
    ),
    Entry(
        "batch_norm_remat",
        nn.Remat(nn.BatchNorm()),
        (4, 3),
        ("offset", "scale"),
        wrong=(4, 2),
        state=("mean", "var"),
    ),
    Entry("layer_norm", nn.LayerNorm(), (4, 2, 3), ("offset", "scale"), wrong=(4, 2)),
    Entry("layer_norm_plain", nn.LayerNorm(scale=False, offset=False), (4, 3), ()),
    Entry(
        "group_norm",
        nn.GroupNorm(2),
        (2, 3, 2, 4),
        ("offset", "scale"),
        wrong=(2, 3, 2, 5),
    ),
    Entry(
        "instance_norm",
        nn.InstanceNorm(),
        (2, 3, 2, 3),
        ("offset", "scale"),
        wrong=(2, 1, 1, 3),
    ),
    Entry("rms_norm", nn.RMSNorm(), (4, 3), ("scale",), wrong=(4, 2)),
    Entry(
        "local_response_norm",
        nn.LocalResponseNorm(3, alpha=0.5, k=2.0),
        (2, 2, 2, 5),
        (),
    ),
    Entry(
        "weight_norm",
        nn.WeightNorm(nn.Dense(5)),
        (4, 3),
        ("b", "scale", "w"),
        wrong=(4, 2),
    ),
    Entry(
        "weight_norm_conv",
        nn.WeightNorm(nn.Conv(2, 3, bias=False)),
        (2, 3, 3, 2),
        ("scale", "w"),
        wrong=(2, 3, 3, 4),
    ),
    Entry(
        "spectral_norm",
        nn.SpectralNorm(nn.Dense(5), 2),
        (4, 3),
        ("b", "w"),
        wrong=(4, 2),
        state=("u", "v"),
    ),
    Entry("spatial_dropout", nn.SpatialDropout(0.4), (4, 2, 2, 3), (), random=True),
    Entry(
        "squeeze_excite",
        nn.SqueezeExcite(2),
        (2, 2, 2, 6),
        ("excite/b", "excite/w", "squeeze/b", "squeeze/w"),
        wrong=(2, 2, 2, 4),
    ),
    Entry(
        "cells",
        Cells(nn.RNNCell(3), nn.GRUCell(2), nn.LSTMCell(2), nn.ConvLSTMCell(2, 1)),
        (2, 3),
        (
            *("conv/input/b", "conv/input/w", "conv/recurrent/w"),
            *(f"gru/{path}" for path in GRU),
            *(f"{name}/{path}" for name in ("lstm", "rnn") for path in CELL),
        ),
        wrong=(2, 4),
    ),
    Entry(
        "recurrent_rnn",
        nn.Recurrent(nn.RNNCell(3, activation=jax.nn.silu), reverse=True),
        (2, 4, 3),
        CELL,
        wrong=(2, 4, 2),
    ),
    Entry("recurrent_gru", nn.Recurrent(nn.GRUCell(3)), (2, 3, 2), GRU, wrong=(2, 2)),
    Entry(
        "recurrent_lstm_peepholes",
        nn.Recurrent(nn.LSTMCell(2, peepholes=True)),
        (2, 3, 3),
        ("input/b", "input/w", "peephole/scale", "recurrent/w"),
        wrong=(2, 3, 2),
    ),
    Entry(
        "recurrent_conv_lstm",
        nn.Recurrent(nn.ConvLSTMCell(2, 3)),
        (2, 2, 3, 2, 2),
        CELL,
        wrong=(2, 2, 3, 2, 1),
    ),
    Entry(
        "bidirectional",
        nn.Bidirectional(nn.GRUCell(2), nn.RNNCell(3)),
        (2, 3, 2),
        (*(f"backward/{p}" for p in CELL), *(f"forward/{p}" for p in GRU)),
        wrong=(2, 3, 4),
    ),
    Entry(
        "lstm",
        nn.lstm(2, layers=2, dropout=0.4),
        (2, 3, 3),
        tuple(f"layer{i}/{path}" for i in (1, 2) for path in CELL),
        random=True,
        wrong=(2, 3, 2),
    ),
    Entry(
        "tied_embedding",
        OnIds(nn.TiedOutput(nn.Embed(5, 3), nn.Dense(3))),
        (2, 4),
        ("layer/body/b", "layer/body/w", "layer/embed/table"),
    ),
    Entry(
        "sinusoidal_positions", nn.SinusoidalPositions(), (2, 3, 3), (), wrong=(2, 3)
    ),
    Entry(
        "learned_positions",
        nn.LearnedPositions(3),
        (2, 3, 2),
        ("table",),
        wrong=(2, 4, 2),
    ),
    Entry(
        "attention",
        nn.MultiHeadAttention(4, kv_heads=2, causal=True, rotary=True, dropout=0.3),
        (2, 3, 8),
        ATTENTION,
        random=True,
        wrong=(2, 3, 4),
    ),
    Entry(
        "transformer_encoder",
        nn.TransformerEncoder(2, 2, hidden=3, rotary=100.0, repeat=True),
        (2, 3, 4),
        (
            *(f"blocks/block/attention/{path}" for path in ATTENTION),
            *(f"blocks/block/mlp/{path}" for path in MLP_OF_BLOCK),
            *(f"blocks/block/norm{i}/{p}" for i in (1, 2) for p in ("offset", "scale")),
            *("norm/offset", "norm/scale"),
        ),
        wrong=(2, 3, 6),
    ),
    Entry(
        "transformer_decoder",
        Asks(nn.TransformerDecoder(1, 2, hidden=3, pre_norm=False)),
        (2, 3, 4),
        (
            *(f"layer/block1/attention/{path}" for path in ATTENTION),
            *(f"layer/block1/cross/{path}" for path in ATTENTION),
            *(f"layer/block1/mlp/{path}" for path in MLP_OF_BLOCK),
            *(
                f"layer/block1/norm{i}/{p}"
                for i in (1, 2, 3)
                for p in ("offset", "scale")
            ),
        ),
        wrong=(2, 3, 6),
    ),
    Entry(
        "attentive_recurrent",
        Asks(nn.AttentiveRecurrent(nn.GRUCell(3), nn.AdditiveAttention(4))),
        (2, 3, 2),
        (
            *("layer/attention/memory/b", "layer/attention/memory/w"),
            *("layer/attention/query/w", "layer/attention/score/w"),
            *(f"layer/cell/{path}" for path in GRU),
        ),
        wrong=(2, 3, 4),
    ),
]


def example(entry: Entry, dtype=jnp.float32) -> jax.Array:
    """An input for an entry."""
    return jr.normal(jr.key(7), entry.shape).astype(dtype)
