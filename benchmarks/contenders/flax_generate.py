# SPDX-License-Identifier: Apache-2.0
"""Flax NNX: a scan over tokens as one program, in its examples' manner.

The cache of `nnx.MultiHeadAttention` takes one token at a time, the prompt's too.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from contenders import flax_sequences, generate, raw_generate, sequences


class Generator(generate.Generator):
    """The network is split once."""

    def __init__(self, weights, backend):
        self.graph, self.state = nnx.split(flax_sequences.network(weights))
        recurrent = isinstance(weights, sequences.LSTM)
        self.write = write_lstm if recurrent else write_transformer
        self.title = "a scan over tokens"
        if not recurrent:
            self.title = "a scan over tokens, decode=True"

    def generate(self, prompt, tokens):
        return np.asarray(self.write(self.graph, self.state, prompt, tokens))


@partial(jax.jit, static_argnames=("graph", "tokens"))
def write_lstm(graph, state, prompt, tokens):
    """Goes on from the carry of `nnx.RNN`."""
    net = nnx.merge(graph, state)
    carry, y = net.body(net.embed(prompt), return_carry=True)
    return raw_generate.write(net.step, carry, net.head(y[:, -1]), tokens)


@partial(jax.jit, static_argnames=("graph", "tokens"))
def write_transformer(graph, state, prompt, tokens):
    """Goes on from the attention layers' cache and a position."""
    net = nnx.merge(graph, state)
    net.start(len(prompt), prompt.shape[1] + tokens)
    graph, cache, rest = nnx.split(net, nnx.Cache, ...)

    def read(carry, token):
        cache, position = carry
        net = nnx.merge(graph, cache, rest)
        logits = net.step(position, token)
        return (nnx.state(net, nnx.Cache), position + 1), logits

    carry, logits = jax.lax.scan(read, (cache, jnp.int32(0)), prompt.T)
    return raw_generate.write(read, carry, logits[-1], tokens)
