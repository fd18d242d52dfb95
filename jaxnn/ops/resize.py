# SPDX-License-Identifier: Apache-2.0
"""Larger images: by repetition, by interpolation, and from channels."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxnn.ops.pool import Ints, wide


def upsample_nearest(x: jax.Array, factor: Ints) -> jax.Array:
    """Repeat every value `factor` times along each spatial axis.

    >>> import jax.numpy as jnp
    >>> upsample_nearest(jnp.array([1.0, 2.0]).reshape(1, 2, 1), (2,)).ravel()
    Array([1., 1., 2., 2.], dtype=float32)
    """
    for axis, times in enumerate(factor, 1):
        shape = (*x.shape[: axis + 1], times, *x.shape[axis + 1 :])
        x = _merge(jnp.broadcast_to(jnp.expand_dims(x, axis + 1), shape), axis)
    return x


def upsample_linear(x: jax.Array, factor: Ints) -> jax.Array:
    """Interpolate linearly along each spatial axis, with half-pixel centers.

    Output i lies at (i + 1/2) / factor - 1/2 of the input; beyond the centers of the
    outermost values, these are repeated.

    >>> import jax.numpy as jnp
    >>> upsample_linear(jnp.array([0.0, 4.0]).reshape(1, 2, 1), (2,)).ravel()
    Array([0., 1., 3., 4.], dtype=float32)
    """
    y = wide(x)
    for axis, times in enumerate(factor, 1):
        phases = [_between(y, axis, (i + 0.5) / times - 0.5) for i in range(times)]
        y = _merge(jnp.stack(phases, axis + 1), axis)
    return y.astype(x.dtype)


def _between(x: jax.Array, axis: int, shift: float) -> jax.Array:
    """The values interpolated `shift` of a position further on, from -1/2 to 1/2."""
    step, share = 1 if shift < 0 else -1, abs(shift)
    own = np.full(x.shape[axis], 1 - share)
    edge = slice(1) if shift < 0 else slice(-1, None)
    own[edge] = 1  # here the neighbor would lie outside
    own = jnp.asarray(own, x.dtype).reshape(-1, *[1] * (x.ndim - 1 - axis))
    config = [(0, 0, 0)] * x.ndim
    config[axis] = (step, -step, 0)  # one `pad`, as is its transpose: fast both ways
    neighbors = lax.pad(x, jnp.zeros((), x.dtype), config)
    return x * jnp.broadcast_to(own, x.shape) + share * neighbors


def _merge(x: jax.Array, axis: int) -> jax.Array:
    """Merge an axis with the one after it."""
    length = x.shape[axis] * x.shape[axis + 1]
    return x.reshape(*x.shape[:axis], length, *x.shape[axis + 2 :])


def pixel_shuffle(x: jax.Array, factor: int) -> jax.Array:
    """`[N, H, W, C r r]` to `[N, H r, W r, C]`, where r is `factor`.

    `y[n, h r + i, w r + j, c] = x[n, h, w, (c r + i) r + j]`: PyTorch's order of
    channels, in which those of one output channel are adjacent.

    >>> import jax.numpy as jnp
    >>> pixel_shuffle(jnp.arange(4.0).reshape(1, 1, 1, 4), 2)[0, :, :, 0].tolist()
    [[0.0, 1.0], [2.0, 3.0]]
    """
    n, h, w, c = x.shape
    c = c // factor**2
    x = x.reshape(n, h, w, c, factor, factor)
    return x.transpose(0, 1, 4, 2, 5, 3).reshape(n, h * factor, w * factor, c)


def pixel_unshuffle(x: jax.Array, factor: int) -> jax.Array:
    """`[N, H r, W r, C]` to `[N, H, W, C r r]`, the inverse of `pixel_shuffle`.

    >>> import jax.numpy as jnp
    >>> pixel_unshuffle(jnp.arange(4.0).reshape(1, 2, 2, 1), 2).ravel().tolist()
    [0.0, 1.0, 2.0, 3.0]
    """
    n, h, w, c = x.shape
    h, w = h // factor, w // factor
    x = x.reshape(n, h, factor, w, factor, c)
    return x.transpose(0, 1, 3, 5, 2, 4).reshape(n, h, w, c * factor**2)
