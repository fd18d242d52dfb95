# SPDX-License-Identifier: Apache-2.0
"""Raw JAX: the prompt at once and a scan over the tokens, by hand, as one program."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from contenders import generate, raw_sequences, sequences
from contenders.raw_sequences import affine, finish, layer_norm, lstm_step


class Generator(generate.Generator):
    """The memory is the carry of the scan."""

    title = "a scan over tokens"

    def __init__(self, weights, backend):
        self.params = jax.tree.map(jnp.array, weights)
        recurrent = isinstance(weights, sequences.LSTM)
        self.write = write_lstm if recurrent else write_transformer

    def generate(self, prompt, tokens):
        return np.asarray(self.write(self.params, prompt, tokens))


@partial(jax.jit, static_argnames="tokens")
def write_lstm(params, prompt, tokens):
    """Goes on from `(h, c)`."""

    def read(carry, token):
        share = params.table[token] @ params.w + params.b
        carry, h = lstm_step(params.u, carry, share)
        return carry, affine(params.head, h)

    shares = (params.table[prompt] @ params.w + params.b).swapaxes(0, 1)
    zero = jnp.zeros((len(prompt), len(params.u)))
    carry, hs = jax.lax.scan(
        lambda c, s: lstm_step(params.u, c, s), (zero, zero), shares
    )
    return write(read, carry, affine(params.head, hs[-1]), tokens)


@partial(jax.jit, static_argnames="tokens")
def write_transformer(params, prompt, tokens):
    """Goes on from keys and values `[N, T, H, D]` of each block, and a position."""
    rows, start = prompt.shape
    size = params.table.shape[1] // sequences.HEADS
    zero = jnp.zeros((rows, start + tokens, sequences.HEADS, size))

    def read_all(carry, ids):
        caches, first = carry
        x = params.table[ids]
        x += jax.lax.dynamic_slice_in_dim(params.positions, first, ids.shape[1])
        mask = visible(first, ids.shape[1], zero.shape[1])
        new = []
        for block, cache in zip(params.blocks, caches, strict=True):
            x, cache = cached(block, x, cache, first, mask)
            new.append(cache)
        logits = affine(params.head, layer_norm(params.norm, x[:, -1]))
        return (new, first + ids.shape[1]), logits

    carry = [(zero, zero) for _ in params.blocks], jnp.int32(0)
    carry, logits = read_all(carry, prompt)
    return write(lambda c, t: read_all(c, t[:, None]), carry, logits, tokens)


def cached(block, x, cache, first, mask):
    """A block over what is in its cache and x."""
    q, *new = raw_sequences.queries_keys_values(block, layer_norm(block.norm1, x))
    cache = [
        jax.lax.dynamic_update_slice_in_dim(old, a, first, 1)
        for old, a in zip(cache, new, strict=True)
    ]
    y = jax.nn.dot_product_attention(q, *cache, mask=mask)
    return finish(block, x, y), tuple(cache)


def visible(first, steps, length):
    """Which places of the cache each step may see, `[1, 1, steps, length]`."""
    return (jnp.arange(length) <= first + jnp.arange(steps)[:, None])[None, None]


def write(read, carry, logits, tokens):
    """Choose the likeliest and read it, token by token; the last one is not read."""

    def body(loop, _):
        carry, token = loop
        carry, logits = read(carry, token)
        token = logits.argmax(-1)
        return (carry, token), token

    first = logits.argmax(-1)
    _, rest = jax.lax.scan(body, (carry, first), length=tokens - 1)
    return jnp.concatenate([first[None], rest]).T
