# SPDX-License-Identifier: Apache-2.0
"""The language models in Equinox: of one sequence."""

import equinox as eqx
import jax
import jax.numpy as jnp

from contenders import sequences
from contenders.equinox_nets import dense, with_weights


def network(weights):
    """`(net, None)`: the network that belongs to some weights has no state."""
    recurrent = isinstance(weights, sequences.LSTM)
    return (LSTM if recurrent else Transformer)(weights), None


class LSTM(eqx.Module):
    """A scan of the cell over time, as its documentation has it."""

    embed: eqx.nn.Embedding
    cell: eqx.nn.LSTMCell
    head: eqx.nn.Linear

    def __init__(self, weights):
        features, hidden = len(weights.w), len(weights.u)
        cell = eqx.nn.LSTMCell(features, hidden, key=jax.random.key(0))
        new = [jnp.array(a) for a in (weights.w.T, weights.u.T, weights.b)]
        self.cell = eqx.tree_at(
            lambda cell: (cell.weight_ih, cell.weight_hh, cell.bias), cell, new
        )
        self.embed, self.head = embed(weights.table), affine(weights.head)

    def __call__(self, ids):
        def step(carry, x):
            carry = self.cell(x, carry)
            return carry, carry[0]

        _, hs = jax.lax.scan(step, self.first(), jax.vmap(self.embed)(ids))
        return jax.vmap(self.head)(hs)

    def first(self):
        """The carry before the first step."""
        return jnp.zeros(self.cell.hidden_size), jnp.zeros(self.cell.hidden_size)

    def step(self, carry, token):
        """Logits for the token after this one."""
        carry = self.cell(self.embed(token), carry)
        return carry, self.head(carry[0])


class Transformer(eqx.Module):
    """Causal attention, with learned positions."""

    embed: eqx.nn.Embedding
    positions: jax.Array
    blocks: list["Block"]
    norm: eqx.nn.LayerNorm
    head: eqx.nn.Linear

    def __init__(self, weights):
        self.embed, self.head = embed(weights.table), affine(weights.head)
        self.positions = jnp.array(weights.positions)
        self.blocks = [Block(block) for block in weights.blocks]
        self.norm = norm(weights.norm)

    def __call__(self, ids):
        x = jax.vmap(self.embed)(ids) + self.positions[: len(ids)]
        mask = jnp.tril(jnp.ones((len(ids), len(ids)), bool))
        for block in self.blocks:
            x = block(x, mask)
        return jax.vmap(lambda x: self.head(self.norm(x)))(x)


class Block(eqx.Module):
    """Attention, and two dense layers."""

    norm1: eqx.nn.LayerNorm
    attention: eqx.nn.MultiheadAttention
    norm2: eqx.nn.LayerNorm
    up: eqx.nn.Linear
    down: eqx.nn.Linear

    def __init__(self, part):
        self.norm1, self.norm2 = norm(part.norm1), norm(part.norm2)
        self.attention = attention(part)
        self.up, self.down = affine(part.up), affine(part.down)

    def __call__(self, x, mask):
        y = jax.vmap(self.norm1)(x)
        x = x + self.attention(y, y, y, mask)
        return x + jax.vmap(self.each)(x)

    def each(self, x):
        """What a step by itself goes through."""
        return self.down(jax.nn.gelu(self.up(self.norm2(x))))


def attention(part):
    """All four projections with an offset."""
    layer = eqx.nn.MultiheadAttention(
        sequences.HEADS,
        len(part.query[0]),
        *[None] * 5,
        *[True] * 4,
        key=jax.random.key(0),
    )
    return eqx.tree_at(
        lambda a: (a.query_proj, a.key_proj, a.value_proj, a.output_proj),
        layer,
        [affine(p) for p in (part.query, part.key, part.value, part.out)],
    )


def affine(pair):
    """A dense layer."""
    w, b = pair
    return dense(w.T, b)


def embed(table):
    """A vector for each id."""
    return eqx.nn.Embedding(weight=jnp.array(table))


def norm(part):
    """Layer norm."""
    layer = eqx.nn.LayerNorm(len(part.scale), eps=sequences.EPS)
    return with_weights(layer, part.scale, part.offset)
