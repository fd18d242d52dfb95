# SPDX-License-Identifier: Apache-2.0
"""The affine map."""

import jax
import jax.numpy as jnp

from jaxnn.ops.devices import on_several_devices


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


def dense_over_time(x: jax.Array, w: jax.Array) -> jax.Array:
    """`y = x w` over the last axis of `[T, N, C]`, as one matrix `[T N, C]`.

    With three axes, XLA's CPU compiler copies the whole other operand for the gradient
    of the weights (14 of the LSTM's 50 ms). On several devices that share the examples,
    a single matrix would be gathered on each of them, so the axes stay there.
    """
    if on_several_devices():
        return dense(x, w)
    y = dense(x.reshape(-1, x.shape[-1]), w)
    return y.reshape(*x.shape[:-1], w.shape[-1])
