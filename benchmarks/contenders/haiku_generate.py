# SPDX-License-Identifier: Apache-2.0
"""Haiku: a scan over the steps of `hk.LSTM` as one program.

`hk.MultiHeadAttention` has no cache, and so there is no transformer here.
"""

from functools import partial

import jax
import numpy as np

from contenders import generate, haiku_sequences, raw_generate


class Generator(generate.Generator):
    """The core's state is the carry of the scan."""

    title = "a scan over tokens"

    def __init__(self, weights, backend):
        self.params, _ = haiku_sequences.with_weights(weights)
        self.step = haiku_sequences.lstm_step_of(weights).apply

    def generate(self, prompt, tokens):
        return np.asarray(write(self.step, self.params, prompt, tokens))


@partial(jax.jit, static_argnames=("step", "tokens"))
def write(step, params, prompt, tokens):
    """The prompt too goes step by step."""
    read = partial(step, params)
    carry, logits = jax.lax.scan(read, read(None, len(prompt)), prompt.T)
    return raw_generate.write(read, carry, logits[-1], tokens)
