# SPDX-License-Identifier: Apache-2.0
"""jaxnn: `nn.decode.greedy`, prompt and all tokens as one program with a cache."""

import numpy as np

import jaxnn as nn
from contenders import generate, jaxnn_sequences


class Generator(generate.Generator):
    """The clock runs over the whole call, with its checks."""

    title = "nn.decode.greedy"

    def __init__(self, weights, backend):
        self.net = jaxnn_sequences.network(weights)
        self.variables = jaxnn_sequences.with_weights(self.net, weights)

    def generate(self, prompt, tokens):
        return np.asarray(nn.decode.greedy(self.net, self.variables, prompt, tokens))
