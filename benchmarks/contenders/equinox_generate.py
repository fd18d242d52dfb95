# SPDX-License-Identifier: Apache-2.0
"""Equinox: a scan over the steps of its LSTM cell as one program.

`eqx.nn.MultiheadAttention` has no cache, and so there is no transformer here.
"""

import equinox as eqx
import jax
import numpy as np

from contenders import equinox_sequences, generate, raw_generate


class Generator(generate.Generator):
    """The cell's carry is the carry of the scan."""

    title = "a scan over tokens"

    def __init__(self, weights, backend):
        self.net, _ = equinox_sequences.network(weights)

    def generate(self, prompt, tokens):
        return np.asarray(write(self.net, prompt, tokens))


@eqx.filter_jit
def write(net, prompt, tokens):
    """The prompt too goes step by step; `tokens` is an int, and so a constant."""
    read = jax.vmap(net.step)
    first = jax.tree.map(lambda a: a[None].repeat(len(prompt), 0), net.first())
    carry, logits = jax.lax.scan(read, first, prompt.T)
    return raw_generate.write(read, carry, logits[-1], tokens)
