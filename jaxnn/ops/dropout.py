# SPDX-License-Identifier: Apache-2.0
"""Dropping at random, scaled so that testing needs no change."""

import jax
import jax.numpy as jnp


def dropout(x: jax.Array, key: jax.Array, rate: float | jax.Array) -> jax.Array:
    """Zero each number with probability `rate` and scale the others by 1 / (1 - rate).

    Args:
        x: any shape.
        key: a random key.
        rate: probability of dropping, 0 to 1.

    Returns:
        The shape and dtype of `x`, with its expectation.
    """
    if isinstance(rate, jax.Array):  # a sweep's: its value is not known
        kept = 1 - rate
        scale = jnp.where(kept == 0, 1.0, kept).astype(x.dtype)
    elif rate == 1:
        return jnp.zeros_like(x)
    else:
        kept = scale = 1 - rate
    keep = jax.random.bernoulli(key, kept, x.shape)
    return jnp.where(keep, x / scale, jnp.zeros_like(x))
