# SPDX-License-Identifier: Apache-2.0
"""Noise."""

import jax
import jax.numpy as jnp

from jaxnn import checks
from jaxnn.core import Layer, needed_key


class GaussianNoise(Layer):
    """In training, add normally distributed noise: `y = x + std · ε`, ε ~ N(0, 1).

    ε is drawn anew for each element in each call; outside training, `y = x`.

    Args:
        std: the standard deviation of the noise, 0 or more, in the unit of `x`.

    Raises:
        TypeError: in training without a key.

    Reference: Bishop, Training with Noise is Equivalent to Tikhonov Regularization,
    1995.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> layer, x = nn.GaussianNoise(0.1), jnp.ones((100, 100))
    >>> y, _ = layer.apply({}, {}, x, key=jax.random.key(1), train=True)
    >>> print(f"{y.mean():.2f} {y.std():.2f}")
    1.00 0.10
    """

    with_lengths = "each"
    std: float

    def __post_init__(self):
        checks.not_negative("GaussianNoise", "std", self.std)

    def apply(self, params, state, x, *, key=None, train=False):
        checks.batch("GaussianNoise", x, axes=1)
        if not train or checks.is_zero(self.std):
            return x, state
        noise = jax.random.normal(needed_key("GaussianNoise", key), x.shape, x.dtype)
        return x + jnp.asarray(self.std, x.dtype) * noise, state
