# SPDX-License-Identifier: Apache-2.0
"""Images of another size: by repetition, by interpolation, and from channels."""

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


def resize_nearest(x: jax.Array, sizes: Ints) -> jax.Array:
    """Take the nearest value on the left, `y[i] = x[floor(i · size / new size)]`.

    >>> import jax.numpy as jnp
    >>> resize_nearest(jnp.arange(3.0).reshape(1, 3, 1), (5,)).ravel()
    Array([0., 0., 1., 1., 2.], dtype=float32)
    """
    for axis, count in enumerate(sizes, 1):
        place = np.arange(count) * x.shape[axis] // count
        x = jnp.take(x, place, axis, mode="clip")
    return x


def resize_linear(x: jax.Array, sizes: Ints, align_corners: bool) -> jax.Array:
    """Interpolate between two values along each spatial axis.

    >>> import jax.numpy as jnp
    >>> resize_linear(jnp.array([0.0, 4.0]).reshape(1, 2, 1), (5,), True).ravel()
    Array([0., 1., 2., 3., 4.], dtype=float32)
    """
    return _interpolate(x, sizes, align_corners, {0: lambda t: 1 - t, 1: lambda t: t})


def resize_cubic(x: jax.Array, sizes: Ints, align_corners: bool) -> jax.Array:
    """Interpolate between four values along each spatial axis, as PyTorch does.

    Keys's kernel with a = -3/4, and the outermost values repeated beyond the edges.
    (`jax.image.resize` has a = -1/2 and leaves out what lies beyond the edges.)

    Reference: Keys, Cubic Convolution Interpolation for Digital Image Processing, 1981.
    """
    a = -0.75

    def near(t):  # within a position of the output
        return ((a + 2) * t - (a + 3)) * t * t + 1

    def far(t):
        return ((a * t - 5 * a) * t + 8 * a) * t - 4 * a

    taps = {
        -1: lambda t: far(t + 1),
        0: near,
        1: lambda t: near(1 - t),
        2: lambda t: far(2 - t),
    }
    return _interpolate(x, sizes, align_corners, taps)


def _interpolate(x, sizes: Ints, align_corners: bool, taps) -> jax.Array:
    """A product with a matrix for each axis, which is fast both ways.

    Args:
        x: `[N, ..., C]`.
        sizes: of the result, one for each spatial axis.
        align_corners: whether the first and the last value stay where they are.
        taps: for each neighbor, by its distance to the position on the left of an
            output, its share as a function of how far that output lies to the right.
    """
    y = wide(x)
    for axis, count in enumerate(sizes, 1):
        size = x.shape[axis]
        if count != size:
            shares = jnp.asarray(_shares(size, count, align_corners, taps), y.dtype)
            y = jnp.tensordot(y, shares, (axis, 0), precision="highest")
            y = jnp.moveaxis(y, -1, axis)
    return y.astype(x.dtype)


def _shares(size: int, count: int, align_corners: bool, taps) -> np.ndarray:
    """How much of each value each output gets, `[size, count]`."""
    outputs = np.arange(count)
    if align_corners:
        places = outputs * ((size - 1) / max(count - 1, 1))
    else:
        places = (outputs + 0.5) * (size / count) - 0.5
    left = np.floor(places).astype(int)
    shares = np.zeros((size, count))
    for step, share in taps.items():
        source = np.clip(left + step, 0, size - 1)
        np.add.at(shares, (source, outputs), share(places - left))
    return shares


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
