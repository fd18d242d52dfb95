# SPDX-License-Identifier: Apache-2.0
"""A random draw that gradients pass through."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxnn import checks
from jaxnn.core import Layer, needed_key
from jaxnn.messages.phrases import describe


class Sample(Layer):
    """In training, a draw from normal distributions: `y = m + e^(v / 2) · ε`.

    The input is `(m, v)`, the means and the logarithms of the variances, two arrays of
    one shape `[N, ...]`; ε ~ N(0, 1) is drawn anew for each element in each call.
    Outside training, `y = m`.

    Raises:
        TypeError: in training without a key, or the input is not a pair of arrays.
        ValueError: the two shapes differ.

    Reference: Kingma and Welling, Auto-Encoding Variational Bayes, 2014.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> normals = jnp.full((100, 100), 3.0), jnp.full((100, 100), jnp.log(4.0))
    >>> y, _ = nn.Sample().apply({}, {}, normals, key=jax.random.key(0), train=True)
    >>> print(f"{y.mean():.1f} {y.std():.1f}")
    3.0 2.0
    >>> bool((nn.Sample().apply({}, {}, normals)[0] == 3).all())
    True
    """

    with_lengths = "each"

    def init(self, key, x):
        _mean_and_log_variance(x)
        return {}, {}

    def apply(self, params, state, x, *, key=None, train=False):
        mean, log_variance = _mean_and_log_variance(x)
        if not train:
            return mean, state
        key = needed_key("Sample", key)
        noise = jax.random.normal(key, mean.shape, mean.dtype)
        return mean + jnp.exp(log_variance / 2).astype(mean.dtype) * noise, state


def _mean_and_log_variance(x: Any) -> tuple[Any, Any]:
    """`(mean, log_variance)`, checked."""
    if not isinstance(x, tuple | list) or len(x) != 2:
        raise TypeError(
            "Sample: x must be (mean, log_variance), two arrays, got "
            f"{describe(x):.100}; one array becomes two by jnp.split(x, 2, -1)"
        )
    mean, log_variance = x
    checks.batch("Sample", mean, axes=1)
    checks.batch("Sample", log_variance, axes=1)
    if mean.shape != log_variance.shape:
        raise ValueError(
            "Sample: mean and log_variance must have one shape, got "
            f"{describe(mean)} and {describe(log_variance)}"
        )
    return mean, log_variance
