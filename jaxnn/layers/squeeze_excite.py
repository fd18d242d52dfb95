# SPDX-License-Identifier: Apache-2.0
"""Squeeze-and-excitation: channels weighted by the content of the whole image."""

import jax
import jax.numpy as jnp

from jaxnn import checks
from jaxnn.core import Composite, Layer
from jaxnn.layers.dense import Dense
from jaxnn.messages.phrases import describe


class _Gate(Composite):
    """The body of `SqueezeExcite` for a known number of channels."""

    squeeze: Layer
    excite: Layer

    def forward(self, run, x):
        positions = tuple(range(1, x.ndim - 1))
        z = jax.nn.relu(run("squeeze", x.mean(positions)))
        gate = jax.nn.sigmoid(run("excite", z))
        return x * jnp.expand_dims(gate, positions)


class SqueezeExcite(Layer):
    """Weight each channel by the content of the whole image, `y = x · σ(g(x))`.

    `g = relu(avg(x) w₁ + b₁) w₂ + b₂`, with the average over all positions and
    C / reduction hidden features (rounded down, at least one). Parameters:
    `squeeze/w`, `squeeze/b`, `excite/w`, `excite/b`.

    Args:
        reduction: the factor by which the channels are squeezed.

    Raises:
        ValueError: if `x` has a different number of channels than at `init`.

    Reference: Hu, Shen and Sun, Squeeze-and-Excitation Networks, 2017.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> layer, x = nn.SqueezeExcite(4), jnp.ones((2, 5, 5, 8))
    >>> params, state = layer.init(jax.random.key(0), x)
    >>> params["squeeze"]["w"].shape, params["excite"]["w"].shape
    ((8, 2), (2, 8))
    """

    with_lengths = "mixes"
    reduction: int = 16

    def __post_init__(self):
        checks.positive_int("SqueezeExcite", "reduction", self.reduction)

    def init(self, key, x):
        checks.batch("SqueezeExcite", x, axes=3)
        return self._gate(x).init(key, x)

    def apply(self, params, state, x, *, key=None, train=False):
        checks.batch("SqueezeExcite", x, axes=3)
        if 0 in x.shape[1:-1]:
            raise ValueError(f"SqueezeExcite: x must have positions, got {describe(x)}")
        checks.width("SqueezeExcite", x, params["squeeze"]["w"].shape[0])
        return self._gate(x).apply(params, state, x, key=key, train=train)

    def _gate(self, x) -> _Gate:
        channels = x.shape[-1]
        return _Gate(Dense(max(1, channels // self.reduction)), Dense(channels))
