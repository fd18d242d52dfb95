# SPDX-License-Identifier: Apache-2.0
"""The language models in jaxnn."""

import jax
import jax.numpy as jnp

import jaxnn as nn
from contenders import sequences


def network(weights):
    """The network that belongs to some weights."""
    recurrent = isinstance(weights, sequences.LSTM)
    return (lstm if recurrent else transformer)(weights)


def lstm(weights):
    """A recurrent layer."""
    vocabulary, features = weights.table.shape
    return nn.Sequential(
        embed=nn.Embed(vocabulary, features),
        body=nn.lstm(len(weights.u)),
        head=nn.Dense(vocabulary),
    )


def transformer(weights):
    """Causal attention, with learned positions."""
    vocabulary, features = weights.table.shape
    hidden, depth = len(weights.blocks[0].up[1]), len(weights.blocks)
    return nn.Sequential(
        embed=nn.Embed(vocabulary, features),
        positions=nn.LearnedPositions(len(weights.positions)),
        body=nn.TransformerEncoder(depth, sequences.HEADS, hidden=hidden, causal=True),
        head=nn.Dense(vocabulary),
    )


def with_weights(net, weights):
    """The parameters and the state of a network."""
    body = recurrent if isinstance(weights, sequences.LSTM) else attending
    params = {"embed": {"table": weights.table}, **body(weights)}
    params["head"] = affine(weights.head)
    if set(params) != set(net.children()):
        raise ValueError(f"weights of {list(params)} for layers {list(net.children())}")
    return jax.tree.map(jnp.array, params), {}


def recurrent(weights):
    """Parameters of the recurrent layer."""
    both = {"input": {"w": weights.w, "b": weights.b}, "recurrent": {"w": weights.u}}
    return {"body": {"layer1": both}}


def attending(weights):
    """Parameters of positions and blocks."""
    body = {f"block{i}": block(b) for i, b in enumerate(weights.blocks, 1)}
    body["norm"] = weights.norm._asdict()
    return {"positions": {"table": weights.positions}, "body": body}


def block(part):
    """Parameters of one block."""
    names = "query", "key", "value", "out"
    return {
        "norm1": part.norm1._asdict(),
        "attention": {name: affine(getattr(part, name)) for name in names},
        "norm2": part.norm2._asdict(),
        "mlp": {"up": affine(part.up), "down": affine(part.down)},
    }


def affine(pair):
    """A matrix and an offset by their names."""
    return dict(zip("wb", pair, strict=True))
