# SPDX-License-Identifier: Apache-2.0
"""Keep XLA from recomputing the same sum again and again."""

import jax
import jax.numpy as jnp
from jax import lax

from jaxnn.ops.portable import is_portable


def materialize(x: jax.Array) -> jax.Array:
    """`x` itself, bit for bit, but stored where it is used, and so is its gradient.

    The stream of a residual network is a long sum, `x + f(x) + g(x + f(x)) + ...`, and
    so is its gradient, in reverse. XLA's CPU compiler considers additions so cheap that
    it repeats the whole sum wherever it is used, even in transposed order, which takes
    time that grows with the square of the depth. It does not repeat divisions.

    A step of a transformer with 4 blocks of 256 features on 16 sequences of 128 (two
    cores) took 252 ms without this and 197 with it; an optimization barrier changed
    nothing. On other devices this does nothing.

    Args:
        x: floating-point numbers of any shape.
    """
    if is_portable():
        return x
    return lax.platform_dependent(x, cpu=_stored, default=lambda x: x)


def _stored(x: jax.Array) -> jax.Array:
    """`x` divided by a 1 that the compiler does not recognize as 1."""
    if not x.size:
        return x
    bits = lax.bitcast_convert_type(x.reshape(-1)[0].astype(jnp.float32), jnp.int32)
    always = (bits * bits & 3) < 2  # a square is never 2 or 3 modulo 4
    one = jnp.where(always, 1, 2).astype(x.dtype)
    return x / jnp.broadcast_to(one, x.shape)
