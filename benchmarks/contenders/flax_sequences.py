# SPDX-License-Identifier: Apache-2.0
"""The language models in Flax NNX."""

import jax.numpy as jnp
from flax import nnx

from contenders import sequences
from contenders.flax_nets import dense, with_weights


def network(weights):
    """The network that belongs to some weights."""
    recurrent = isinstance(weights, sequences.LSTM)
    return (LSTM if recurrent else Transformer)(weights)


class LSTM(nnx.Module):
    """`nnx.RNN` around the cell that Flax calls optimized."""

    def __init__(self, weights):
        features, hidden = len(weights.w), len(weights.u)
        cell = nnx.OptimizedLSTMCell(features, hidden, rngs=nnx.Rngs(0))
        with_weights(cell.dense_i, weights.w)
        with_weights(cell.dense_h, weights.u, weights.b)
        self.embed = embed(weights.table)
        self.body = nnx.RNN(cell)
        self.head = dense(*weights.head)

    def __call__(self, ids):
        return self.head(self.body(self.embed(ids)))

    def step(self, carry, token):
        """Logits for the token after this one, `[N, V]`."""
        carry, y = self.body.cell(carry, self.embed(token))
        return carry, self.head(y)


class Transformer(nnx.Module):
    """Causal attention, with learned positions."""

    def __init__(self, weights):
        self.embed = embed(weights.table)
        self.positions = embed(weights.positions)
        self.blocks = nnx.List([Block(block) for block in weights.blocks])
        self.norm = norm(weights.norm)
        self.head = dense(*weights.head)

    def __call__(self, ids):
        x = self.embed(ids) + self.positions(jnp.arange(ids.shape[1]))
        mask = nnx.make_causal_mask(ids)
        for block in self.blocks:
            x = block(x, mask=mask)
        return self.head(self.norm(x))

    def start(self, rows, length):
        """An empty cache."""
        shape = rows, length, self.embed.features
        for block in self.blocks:
            block.attention.init_cache(shape)

    def step(self, position, token):
        """Logits for the token after this one, `[N, V]`, by the cache."""
        x = (self.embed(token) + self.positions(position))[:, None]
        for block in self.blocks:
            x = block(x, decode=True)
        return self.head(self.norm(x))[:, 0]


class Block(nnx.Module):
    """Attention, and two dense layers."""

    def __init__(self, part):
        self.norm1, self.norm2 = norm(part.norm1), norm(part.norm2)
        self.attention = attention(part)
        self.up, self.down = dense(*part.up), dense(*part.down)

    def __call__(self, x, mask=None, decode=False):
        x = x + self.attention(self.norm1(x), mask=mask, decode=decode)
        return x + self.down(nnx.gelu(self.up(self.norm2(x))))


def attention(part):
    """Its heads have an axis of their own."""
    width = len(part.query[0])
    layer = nnx.MultiHeadAttention(sequences.HEADS, width, rngs=nnx.Rngs(0))
    for name in ("query", "key", "value"):
        with_weights(getattr(layer, name), *sequences.by_head(getattr(part, name)))
    with_weights(layer.out, *sequences.by_head(part.out, merge=True))
    return layer


def embed(table):
    """A vector for each id."""
    layer = nnx.Embed(*table.shape, rngs=nnx.Rngs(0))
    layer.embedding[...] = jnp.array(table)
    return layer


def norm(part):
    """Layer norm."""
    layer = nnx.LayerNorm(len(part.scale), epsilon=sequences.EPS, rngs=nnx.Rngs(0))
    layer.scale[...] = jnp.array(part.scale)
    layer.bias[...] = jnp.array(part.offset)
    return layer
