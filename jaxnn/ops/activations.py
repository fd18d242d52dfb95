# SPDX-License-Identifier: Apache-2.0
"""Activations that `jax.nn` lacks."""

import jax
import jax.numpy as jnp


def step(x: jax.Array) -> jax.Array:
    """The threshold of the perceptron: 1 where x > 0, else 0 (Rosenblatt, 1958).

    Its derivative is 0 everywhere, so gradient descent cannot learn through it: the
    perceptron has its own learning rule, and later networks use smooth activations.

    >>> import jax.numpy as jnp
    >>> step(jnp.array([-1.0, 0.0, 2.0])).tolist()
    [0.0, 0.0, 1.0]
    """
    return (x > 0).astype(x.dtype)


def prelu(x: jax.Array, scale: jax.Array) -> jax.Array:
    """x where it is positive, scale·x elsewhere; `scale` is one number or `[C]`."""
    scale = jnp.broadcast_to(scale.astype(x.dtype), x.shape)
    return jnp.where(x > 0, x, scale * x)
