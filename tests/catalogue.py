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


class Twice(nn.Composite):
    """A composite of one's own that shares a child and reads a tied weight."""

    layer: nn.Layer

    def forward(self, run, x):
        y = run("layer", run("layer", x))
        return y @ run.params["layer"]["w"].T.astype(y.dtype)


DENSE = ("w", "b")
MLP = nn.Sequential(nn.Dense(8), jax.nn.relu, nn.Dense(3))
MLP_PATHS = ("dense_1/b", "dense_1/w", "dense_2/b", "dense_2/w")
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
    Entry("sequential", MLP, (4, 6), MLP_PATHS, wrong=(4, 5)),
    Entry(
        "sequential_dropout",
        nn.Sequential(fc=nn.Dense(8), drop=nn.Dropout(0.5)),
        (4, 6),
        ("fc/b", "fc/w"),
        random=True,
        wrong=(4, 5),
    ),
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
    Entry(
        "composite", Twice(nn.Dense(3)), (4, 3), ("layer/b", "layer/w"), wrong=(4, 2)
    ),
]


def example(entry: Entry, dtype=jnp.float32) -> jax.Array:
    """An input for an entry."""
    return jr.normal(jr.key(7), entry.shape).astype(dtype)
