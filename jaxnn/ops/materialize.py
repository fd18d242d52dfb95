# SPDX-License-Identifier: Apache-2.0
"""Keep XLA from computing the same sum again and again."""

import jax
import jax.numpy as jnp
from jax import lax


def materialize(x: jax.Array) -> jax.Array:
    """`x` itself, to the bit, but stored where it is used, as is its gradient.

    A residual network's stream is a long sum, `x + f(x) + g(x + f(x)) + ...`, and so is
    its gradient, the other way around. XLA's CPU compiler holds additions for so cheap
    that it repeats the whole sum wherever it is used, in transposed order too, which
    takes time that grows with the square of the depth. Divisions it does not repeat.

    The step of a transformer of 4 blocks of 256 features on 16 sequences of 128 (two
    cores) took 252 ms without this, 197 with it; an optimization barrier changed
    nothing. On other devices this does nothing.

    Args:
        x: floating-point numbers of any shape.
    """
    return lax.platform_dependent(x, cpu=_stored, default=lambda x: x)


def _stored(x: jax.Array) -> jax.Array:
    """`x` divided by a one that the compiler cannot tell from another number."""
    if not x.size:
        return x
    bits = lax.bitcast_convert_type(x.reshape(-1)[0].astype(jnp.float32), jnp.int32)
    always = (bits * bits & 3) < 2  # a square is never 2 or 3 modulo 4
    one = jnp.where(always, 1, 2).astype(x.dtype)
    return x / jnp.broadcast_to(one, x.shape)
