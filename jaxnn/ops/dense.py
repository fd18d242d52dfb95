# SPDX-License-Identifier: Apache-2.0
"""The affine map."""

import jax
import jax.numpy as jnp


def dense(x: jax.Array, w: jax.Array, b: jax.Array | None = None) -> jax.Array:
    """`y = x w + b` over the last axis, computed in the dtype of `x`.

    Args:
        x: `[..., C]`.
        w: `[C, F]`.
        b: `[F]`, or None for no bias.

    Returns:
        `[..., F]`.

    >>> import jax.numpy as jnp
    >>> dense(jnp.array([[1.0, -1.0]]), jnp.array([[1.0, -1.0], [-2.0, 1.0]])).tolist()
    [[3.0, -2.0]]
    """
    y = jnp.dot(x, w.astype(x.dtype))
    return y if b is None else y + jnp.broadcast_to(b.astype(x.dtype), y.shape)
