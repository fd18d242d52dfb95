# SPDX-License-Identifier: Apache-2.0
"""Normalization: shift and scale values by the mean and variance of their group.

Statistics are computed in float32 at least, whatever the dtype of the input.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

Axes = tuple[int, ...]


def _average(x: jax.Array, axes: Axes) -> jax.Array:
    return jnp.mean(x, axes, keepdims=True)


def _two_passes(x, average) -> tuple[jax.Array, jax.Array]:
    """Mean and variance, accurate even where the mean is far larger than the deviation.

    A sum of thousands of large numbers is rounded; the mean of the residuals from the
    first mean tells by how much, and both statistics are corrected by it.
    """
    mean = average(x)
    rest = x - mean
    missed = average(rest)
    var = average(jnp.square(rest)) - jnp.square(missed)
    return mean + missed, jnp.maximum(var, 0)


# This rule spares autodiff the terms that cancel: forward and backward of
# float32[64,32,32,16] in a scan on two CPU cores 1.3 ms without it, 1.0 with it.
@partial(jax.custom_jvp, nondiff_argnums=(1,))
def moments(x: jax.Array, axes: Axes) -> tuple[jax.Array, jax.Array]:
    """Mean and variance, `m = Σ x / n` and `v = Σ (x - m)² / n`.

    Args:
        x: any shape, float32 or wider.
        axes: the axes to average over.

    Returns:
        `(m, v)`: the shape of `x` with size 1 along `axes`.

    >>> import jax.numpy as jnp
    >>> m, v = moments(jnp.array([[1.0, 3.0]]), (1,))
    >>> m.tolist(), v.tolist()
    ([[2.0]], [[1.0]])
    """
    if not axes:
        return x, jnp.zeros_like(x)
    return _two_passes(x, lambda a: _average(a, axes))


@moments.defjvp
def _moments_jvp(axes, primals, tangents):
    (x,), (dx,) = primals, tangents
    mean, var = moments(x, axes)
    return (mean, var), (_average(dx, axes), 2 * _average((x - mean) * dx, axes))


def moments_where(
    x: jax.Array, axes: Axes, where: jax.Array | None
) -> tuple[jax.Array, jax.Array]:
    """`moments` of only the values that count.

    Args:
        x: any shape, float32 or wider.
        axes: the axes to average over.
        where: which values count, in a shape that broadcasts to that of `x`; None for
            all. The others must be finite, and change nothing.
    """
    if where is None:
        return moments(x, axes)
    average = partial(jnp.mean, axis=axes, keepdims=True, where=where)
    return _two_passes(x, average)


def pooled(
    mean: jax.Array, var: jax.Array, average: Callable[[jax.Array], jax.Array]
) -> tuple[jax.Array, jax.Array]:
    """The moments of a whole from those of its equal parts.

    `M = avg(m)`, `V = avg(v + (m - M)²)`, which avoids a difference of large squares.

    Args:
        mean, var: the moments of the parts.
        average: the mean over the parts, in a shape that broadcasts against them.
    """
    whole = average(mean)
    return whole, average(var + jnp.square(mean - whole))


def wide(x: jax.Array) -> jax.Array:
    """The values in float32, or in their own dtype if it is wider."""
    return x.astype(jnp.float32) if x.dtype.itemsize < 4 else x


def _channels(a: jax.Array, like: jax.Array) -> jax.Array:
    """`[C]` as `[1, ..., 1, C]`, in the dtype of `like`."""
    return a.astype(like.dtype).reshape((1,) * (like.ndim - 1) + (-1,))


def normalize(x, mean, var, scale, offset, eps: float) -> jax.Array:
    """`(x - mean) / √(var + eps) · scale + offset`.

    Args:
        x: `[..., C]`.
        mean, var: shapes that broadcast against `x`.
        scale, offset: `[C]` or None.
        eps: a small number that prevents division by zero.

    Returns:
        The shape and dtype of `x`.
    """
    # Subtracting first keeps every digit of x; one multiply-add with folded constants
    # was no faster (memory is the limit) and loses digits where |mean| >> √var.
    gain = lax.rsqrt(var + eps)
    if scale is not None:
        gain = gain * _channels(scale, gain)
    y = (wide(x) - mean) * gain
    if offset is not None:
        y = y + _channels(offset, y)
    return y.astype(x.dtype)


def batch_moments(
    x: jax.Array, axis_name: str | tuple[str, ...] | None = None
) -> tuple[jax.Array, jax.Array]:
    """Mean and variance of every channel over the batch and all positions.

    Args:
        x: `[N, ..., C]`.
        axis_name: a mapped axis (of `jax.vmap` or `jax.shard_map`) or several, over
            which the batch is split into equal parts.

    Returns:
        `(mean, var)`, each `[C]`.

    >>> import jax.numpy as jnp
    >>> mean, var = batch_moments(jnp.array([[1.0, 5.0], [3.0, 5.0]]))
    >>> mean.tolist(), var.tolist()
    ([2.0, 5.0], [1.0, 0.0])
    """
    mean, var = moments(wide(x), tuple(range(x.ndim - 1)))
    mean, var = mean.reshape(-1), var.reshape(-1)
    if axis_name is None:
        return mean, var
    return pooled(mean, var, lambda a: lax.pmean(a, axis_name))


def batch_norm(x, mean, var, scale=None, offset=None, *, eps: float = 1e-5):
    """Normalize every channel by given statistics.

    Args:
        x: `[N, ..., C]`.
        mean, var: `[C]`.
        scale, offset: `[C]` or None.
        eps: a small number that prevents division by zero.

    Returns:
        The shape and dtype of `x`.

    >>> import jax.numpy as jnp
    >>> x = jnp.array([[1.0], [3.0]])
    >>> batch_norm(x, *batch_moments(x), eps=0.0).tolist()
    [[-1.0], [1.0]]
    """
    like = wide(x)
    return normalize(x, _channels(mean, like), _channels(var, like), scale, offset, eps)


def batch_norm_in_training(
    x, scale=None, offset=None, *, eps: float = 1e-5, axis_name=None
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Normalize every channel by the statistics of the batch.

    Args:
        x: `[N, ..., C]`.
        scale, offset: `[C]` or None.
        eps: a small number that prevents division by zero.
        axis_name: as for `batch_moments`.

    Returns:
        `(y, mean, var)`: the shape and dtype of `x`, and `[C]` each.

    >>> import jax.numpy as jnp
    >>> y, mean, var = batch_norm_in_training(jnp.array([[1.0], [3.0]]), eps=0.0)
    >>> y.tolist(), mean.tolist(), var.tolist()
    ([[-1.0], [1.0]], [2.0], [1.0])
    """
    like = wide(x)
    scale = jnp.ones(x.shape[-1:]) if scale is None else scale
    offset = jnp.zeros(x.shape[-1:]) if offset is None else offset
    scale, offset = scale.astype(like.dtype), offset.astype(like.dtype)
    y, mean, var = _batch_norm(like, scale, offset, eps, axis_name)
    return y.astype(x.dtype), mean, var


def batch_norm_of_real_steps(
    x, where: jax.Array, scale=None, offset=None, *, eps: float = 1e-5, axis_name=None
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """`batch_norm_in_training` by the statistics of only the steps that count.

    Args:
        x: `[N, T, ..., C]`.
        where: which steps count, `[N, T, 1, ...]`; the others must be finite.
        scale, offset, eps: as for `batch_norm_in_training`.
        axis_name: a mapped axis or several, over which the batch is split.

    Returns:
        `(y, mean, var, count)`: also the number of values per channel that count.

    >>> import jax.numpy as jnp
    >>> x, where = jnp.array([[1.0], [3.0], [9.0]])[None], jnp.arange(3) < 2
    >>> _, mean, var, count = batch_norm_of_real_steps(x, where[None, :, None])
    >>> mean.tolist(), var.tolist(), count.tolist()
    ([2.0], [1.0], [2.0])
    """
    like, axes = wide(x), tuple(range(x.ndim - 1))
    counted = jnp.broadcast_to(where, (*x.shape[:-1], 1)).astype(like.dtype)

    def total(a):
        a = a.sum(axes)
        return a if axis_name is None else lax.psum(a, axis_name)

    count = total(counted)

    def average(a):
        return _channels(total(counted * a) / count, like)

    mean, var = (a.reshape(-1) for a in _two_passes(like, average))
    y = batch_norm(like, mean, var, scale, offset, eps=eps)
    return y.astype(x.dtype), mean, var, count


@partial(jax.custom_jvp, nondiff_argnums=(3, 4))
def _batch_norm(x, scale, offset, eps: float, axis_name):
    y, mean, var, _ = _standardized(x, scale, offset, eps, axis_name)
    return y, mean, var


def _standardized(x, scale, offset, eps: float, axis_name):
    mean, var = batch_moments(x, axis_name)
    unit = (x - _channels(mean, x)) * _channels(lax.rsqrt(var + eps), x)
    return unit * _channels(scale, x) + _channels(offset, x), mean, var, unit


# With everything that is constant over a channel kept outside the sums, the gradient
# needs two of them, for offset and for scale; autodiff of the formula takes three.
@_batch_norm.defjvp
def _batch_norm_jvp(eps, axis_name, primals, tangents):
    x, scale, offset = primals
    dx, dscale, doffset = tangents
    y, mean, var, unit = _standardized(x, scale, offset, eps, axis_name)

    def average(a):
        a = a.mean(tuple(range(a.ndim - 1)))
        return a if axis_name is None else lax.pmean(a, axis_name)

    shift, stretch, gain = average(dx), average(unit * dx), scale * lax.rsqrt(var + eps)
    dy = dx * _channels(gain, x) + _channels(doffset - gain * shift, x)
    dy = dy + unit * _channels(dscale - gain * stretch, x)
    return (y, mean, var), (dy, shift, 2 * stretch * jnp.sqrt(var + eps))


def layer_norm(x, scale=None, offset=None, *, eps: float = 1e-5) -> jax.Array:
    """Normalize over the last axis.

    Args:
        x: `[..., C]`.
        scale, offset: `[C]` or None.
        eps: a small number that prevents division by zero.

    >>> import jax.numpy as jnp
    >>> layer_norm(jnp.array([[1.0, 3.0]]), eps=0.0).tolist()
    [[-1.0, 1.0]]
    """
    mean, var = moments(wide(x), (x.ndim - 1,))
    return normalize(x, mean, var, scale, offset, eps)


def group_norm(
    x, groups: int, scale=None, offset=None, *, eps: float = 1e-5, where=None
) -> jax.Array:
    """Normalize each group of channels of each example over all positions.

    Args:
        x: `[N, ..., C]`.
        groups: the number of groups, of C / groups neighboring channels each.
        scale, offset: `[C]` or None.
        eps: a small number that prevents division by zero.
        where: which positions count, as for `moments_where`; None for all.

    >>> import jax.numpy as jnp
    >>> group_norm(jnp.array([[1.0, 3.0, 5.0, 9.0]]), 2, eps=0.0).tolist()
    [[-1.0, 1.0, -1.0, 1.0]]
    """
    # Per channel first: averaging over positions and part of the channels at once took
    # five times as long on the CPU (1.5 ms versus 0.3, float32[64,16,16,32], 8 groups).
    mean, var = moments_where(wide(x), tuple(range(1, x.ndim - 1)), where)
    shape, split = mean.shape, (*mean.shape[:-1], groups, x.shape[-1] // groups)

    def average(a):
        return jnp.broadcast_to(a.mean(-1, keepdims=True), a.shape)

    mean, var = pooled(mean.reshape(split), var.reshape(split), average)
    return normalize(x, mean.reshape(shape), var.reshape(shape), scale, offset, eps)


def instance_norm(
    x, scale=None, offset=None, *, eps: float = 1e-5, where=None
) -> jax.Array:
    """Normalize each channel of each example over all positions.

    Args:
        x: `[N, ..., C]`.
        scale, offset: `[C]` or None.
        eps: a small number that prevents division by zero.
        where: which positions count, as for `moments_where`; None for all.

    >>> import jax.numpy as jnp
    >>> instance_norm(jnp.array([[[1.0], [3.0]]]), eps=0.0).tolist()
    [[[-1.0], [1.0]]]
    """
    mean, var = moments_where(wide(x), tuple(range(1, x.ndim - 1)), where)
    return normalize(x, mean, var, scale, offset, eps)


def rms_norm(x, scale=None, *, eps: float = 1e-6) -> jax.Array:
    """`x / √(avg(x²) + eps) · scale` over the last axis.

    Args:
        x: `[..., C]`.
        scale: `[C]` or None.
        eps: a small number that prevents division by zero.

    >>> import jax.numpy as jnp
    >>> rms_norm(jnp.array([[1.0, -1.0]]), eps=0.0).tolist()
    [[1.0, -1.0]]
    """
    square = _average(jnp.square(wide(x)), (x.ndim - 1,))
    return normalize(x, jnp.zeros_like(square), square, scale, None, eps)


def unit(x: jax.Array, axis: int = -1) -> jax.Array:
    """Vectors of length 1: `x / max(‖x‖, 1e-6)`; at 0 value and gradient are finite.

    Args:
        x: any shape, float32 or wider.
        axis: that of the vectors.

    >>> import jax.numpy as jnp
    >>> (100 * unit(jnp.array([[3.0, 4.0], [0.0, 0.0]]))).round().tolist()
    [[60.0, 80.0], [0.0, 0.0]]
    """
    squares = jnp.square(x).sum(axis, keepdims=True)
    return x * lax.rsqrt(jnp.maximum(squares, 1e-12))


def local_response_norm(
    x: jax.Array, size: int = 5, *, alpha: float = 1e-4, beta: float = 0.75, k=1.0
) -> jax.Array:
    """`x / (k + alpha / size · s)^beta`, s the sum of x² over `size` nearby channels.

    Args:
        x: `[N, ..., C]`.
        size: the number of neighboring channels; if even, one more lies before.
        alpha, beta, k: the constants of the formula.

    Returns:
        The shape and dtype of `x`.

    >>> import jax.numpy as jnp
    >>> y = local_response_norm(jnp.ones((1, 4)), 2, alpha=2.0, beta=1.0)
    >>> bool(jnp.allclose(y, jnp.array([[1 / 2, 1 / 3, 1 / 3, 1 / 3]])))
    True
    """
    # A window reduction with its gradient takes 1.1 ms for float32[16,27,27,96] on two
    # CPU cores, shifted sums 12, a product with a band matrix 1.9, differences of
    # running sums 5.6. A power takes 3 ms more than the exponential of a logarithm.
    z, window = wide(x), (1,) * (x.ndim - 1) + (size,)
    pads = ((0, 0),) * (x.ndim - 1) + ((size // 2, (size - 1) // 2),)
    zero = np.zeros((), z.dtype)  # as a JAX array it would hide that this is a sum
    s = lax.reduce_window(z * z, zero, lax.add, window, (1,) * x.ndim, pads)
    return (z * jnp.exp(-beta * jnp.log(k + alpha / size * s))).astype(x.dtype)
