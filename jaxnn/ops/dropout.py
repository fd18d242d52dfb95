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
