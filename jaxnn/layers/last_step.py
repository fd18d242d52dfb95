# SPDX-License-Identifier: Apache-2.0
"""The last step of a sequence."""

import jax.numpy as jnp

from jaxnn import checks
from jaxnn.core import Layer
from jaxnn.inputs.steps import check_lengths, check_steps
from jaxnn.layers.padding import unpack


class LastStep(Layer):
    """The last step of each sequence, `[N, T, ...]` to `[N, ...]`.

    For `(x, lengths)` it is the last real step of each example. After a recurrent layer
    that is what a classifier reads; a bidirectional layer has read the whole sequence
    backward at its first step, so `nn.GlobalMaxPool()` or `nn.GlobalAvgPool()`, which
    take lengths too, fit it better.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> x = jnp.arange(6.0).reshape(2, 3, 1)
    >>> nn.LastStep().apply({}, {}, (x, jnp.array([3, 1])))[0].tolist()
    [[2.0], [3.0]]
    >>> net = nn.Sequential(nn.lstm(8), nn.LastStep(), nn.Dense(2))
    """

    with_lengths = "uses"

    def apply(self, params, state, x, *, key=None, train=False):
        x, lengths, _ = unpack(x)
        checks.batch("LastStep", x, axes=3)
        check_steps("LastStep", x)
        check_lengths("LastStep", lengths, x)
        if lengths is None:
            return x[:, -1], state
        rows = jnp.arange(x.shape[0])
        return x[rows, lengths - 1], state
