# SPDX-License-Identifier: Apache-2.0
"""Dropout, scaled so that evaluation needs no change."""

import jax
import jax.numpy as jnp


def dropout(x: jax.Array, key: jax.Array, rate: float | jax.Array) -> jax.Array:
    """Zero each element with probability `rate` and scale the rest by 1 / (1 - rate).

    Args:
        x: any shape.
        key: a random key.
        rate: the probability of dropping an element, 0 to 1.

    Returns:
        An array with the shape, dtype and expectation of `x`.
    """
    if isinstance(rate, jax.Array):  # in a sweep, its value is not known
        kept = 1 - rate
        scale = jnp.where(kept == 0, 1.0, kept).astype(x.dtype)
    elif rate == 1:
        return jnp.zeros_like(x)
    else:
        kept = scale = 1 - rate
    keep = jax.random.bernoulli(key, kept, x.shape)
    return jnp.where(keep, x / scale, jnp.zeros_like(x))


#: Where SELU tends to on the left: minus its scale λ times its α.
SELU_LEAST = -1.7580993408473766


def alpha_dropout(x: jax.Array, key: jax.Array, rate: float | jax.Array) -> jax.Array:
    """Set each element to SELU's least value with probability `rate`, then rescale.

    Args:
        x: any shape, of mean 0 and variance 1.
        key: a random key.
        rate: the probability of dropping an element, 0 to 1; at 1, zeros remain.

    Returns:
        An array with the shape, dtype, mean and variance of `x`.
    """
    kept = 1 - jnp.asarray(rate, jnp.float32 if x.dtype.itemsize < 4 else x.dtype)
    variance = kept * (1 + SELU_LEAST**2 * (1 - kept))
    scale = jnp.where(kept == 0, 0, jnp.where(kept == 0, 1, variance) ** -0.5)
    offset = -scale * SELU_LEAST * (1 - kept)
    keep = jax.random.bernoulli(key, kept, x.shape)
    y = jnp.where(keep, x, jnp.asarray(SELU_LEAST, x.dtype))
    return y * scale.astype(x.dtype) + offset.astype(x.dtype)
