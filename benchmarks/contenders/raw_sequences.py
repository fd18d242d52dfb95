# SPDX-License-Identifier: Apache-2.0
"""The language models in raw JAX: `(params, state, ids) -> (logits, state)`."""

import jax
import jax.numpy as jnp

from contenders import sequences


def network(weights):
    """The function that belongs to some weights."""
    return lstm if isinstance(weights, sequences.LSTM) else transformer


def first_state(weights):
    """There is none."""
    del weights
    return ()


def lstm(params, state, ids):
    """The inputs' share of the gates is one product, outside of the loop."""
    x = params.table[ids]
    shares = (x @ params.w + params.b).swapaxes(0, 1)
    zero = jnp.zeros((len(ids), len(params.u)))
    _, hs = jax.lax.scan(lambda c, s: lstm_step(params.u, c, s), (zero, zero), shares)
    return affine(params.head, hs.swapaxes(0, 1)), state


def lstm_step(u, carry, share):
    """One step: `(h, c)` and the inputs' share of the gates `[N, 4 H]`."""
    h, c = carry
    i, f, g, o = jnp.split(share + h @ u, 4, axis=-1)
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    h = jax.nn.sigmoid(o) * jnp.tanh(c)
    return (h, c), h


def transformer(params, state, ids):
    """Causal attention over the whole sequence."""
    x = params.table[ids] + params.positions[: ids.shape[1]]
    for block in params.blocks:
        q, k, v = queries_keys_values(block, layer_norm(block.norm1, x))
        y = jax.nn.dot_product_attention(q, k, v, is_causal=True)
        x = finish(block, x, y)
    return affine(params.head, layer_norm(params.norm, x)), state


def queries_keys_values(block, x):
    """Each `[N, T, H, D]`."""
    shape = (*x.shape[:2], sequences.HEADS, -1)
    parts = block.query, block.key, block.value
    return [affine(part, x).reshape(shape) for part in parts]


def finish(block, x, y):
    """A block's input and what its attention found, to its output."""
    x = x + affine(block.out, y.reshape(x.shape))
    hidden = jax.nn.gelu(affine(block.up, layer_norm(block.norm2, x)))
    return x + affine(block.down, hidden)


def affine(pair, x):
    """A dense layer."""
    w, b = pair
    return x @ w + b


def layer_norm(part, x):
    """Of the last axis."""
    x = x - x.mean(-1, keepdims=True)
    scale = jax.lax.rsqrt((x * x).mean(-1, keepdims=True) + sequences.EPS)
    return x * scale * part.scale + part.offset
