# SPDX-License-Identifier: Apache-2.0
"""Pooling: each window of an image becomes its maximum or its mean.

On a CPU, a window is pooled axis by axis, as a few shifted slices and an elementwise
operation: XLA's `reduce_window`, and above all its gradient (select-and-scatter), work
there on one element at a time.  Other platforms keep `reduce_window`.  Milliseconds for
forward and backward in float32, two AVX-512 cores, best of 25, a single call / one of
four in a `lax.scan`:

    input, window, stride         reduce_window       shifted slices
    max  128x28x28x32, 2x2, 2      29.1 / 20.0          1.0 / 1.3
    max   32x28x28x64, 3x3, 2      20.3 / 14.2          0.7 / 0.7
    max   32x28x28x64, 3x3, 1      53.8 / 43.6          2.1 / 1.9
    mean 128x28x28x32, 2x2, 2       1.4 / 1.2           1.0 / 0.6
    mean  32x28x28x64, 3x3, 2       4.7 / 4.1           1.1 / 0.9
    mean  32x28x28x64, 3x3, 1       5.0 / 5.5           1.2 / 1.6
"""

import functools
import itertools
import math
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxnn.ops.portable import is_portable
from jaxnn.ops.windows import Pads, extent

Ints = tuple[int, ...]

# Windows larger than this along an axis take seconds to compile as slices (14x14: 2.2 s
# versus 0.1 s), and overlap too rarely to be worth it.
MOST_SLICES = 8


def max_pool(
    x: jax.Array, *, kernel: Ints, stride: Ints, pads: Pads, dilation: Ints
) -> jax.Array:
    """The maximum of every window; padding is never the maximum.

    The gradient of a window goes to its first maximum in row-major order, or to NaN.

    Args:
        x: `[N, ..., C]`.
        kernel, stride, dilation: one int for each spatial axis.
        pads: `(before, after)` for each spatial axis; every window must hold a value.

    Returns:
        `[N, ..., C]`, in the dtype of `x`.

    >>> import jax.numpy as jnp
    >>> x = jnp.array([1.0, 5.0, 2.0, 4.0]).reshape(1, 4, 1)
    >>> max_pool(x, kernel=(2,), stride=(2,), pads=((0, 0),), dilation=(1,)).ravel()
    Array([5., 4.], dtype=float32)
    """
    return _reduce(x, _first_max, lax.max, -jnp.inf, kernel, stride, pads, dilation)


def max_pool_indices(
    x: jax.Array, *, kernel: Ints, stride: Ints, pads: Pads, dilation: Ints
) -> tuple[jax.Array, jax.Array]:
    """`max_pool`, and where in its image each maximum is, counted row by row.

    >>> import jax.numpy as jnp
    >>> x = jnp.array([1.0, 5.0, 2.0, 4.0]).reshape(1, 4, 1)
    >>> window = dict(kernel=(2,), stride=(2,), pads=((0, 0),), dilation=(1,))
    >>> max_pool_indices(x, **window)[1].ravel()
    Array([1, 3], dtype=int32)
    """
    y = max_pool(x, kernel=kernel, stride=stride, pads=pads, dilation=dilation)
    sizes = x.shape[1:-1]
    place = np.arange(math.prod(sizes), dtype=np.int32).reshape(1, *sizes, 1)
    place = _pad(jnp.broadcast_to(place, x.shape), pads, _NOWHERE)
    best = _pad(lax.stop_gradient(x), pads, -jnp.inf), place
    for axis, *window in _backwards(kernel, stride, dilation):
        taps = (_taps(a, axis, *window) for a in best)
        best = functools.reduce(_better, zip(*taps, strict=True))
    return y, best[1]


def max_unpool(y: jax.Array, indices: jax.Array, sizes: Ints) -> jax.Array:
    """Maxima back at their places in images of zeros; indices beyond them are dropped.

    >>> import jax.numpy as jnp
    >>> y, indices = (jnp.array(a).reshape(1, 2, 1) for a in ([5.0, 4.0], [1, 3]))
    >>> max_unpool(y, indices, (4,)).ravel()
    Array([0., 5., 0., 4.], dtype=float32)
    """
    n, *counts, c = y.shape
    y, indices = (a.reshape(n, math.prod(counts), c) for a in (y, indices))
    rows, channels = np.arange(n)[:, None, None], np.arange(c)[None, None]
    empty = jnp.zeros((n, math.prod(sizes), c), y.dtype)
    filled = empty.at[rows, indices, channels].set(y, mode="drop")
    return filled.reshape(n, *sizes, c)


def avg_pool(
    x: jax.Array, *, kernel: Ints, stride: Ints, pads: Pads, counted: Pads | None = None
) -> jax.Array:
    """The mean of every window, summed in float32 or wider.

    Args:
        x: `[N, ..., C]`.
        kernel, stride: one int for each spatial axis.
        pads: `(before, after)` for each spatial axis.
        counted: how much of `pads` counts as zeros; none by default.  Every window must
            hold something that counts.

    Returns:
        `[N, ..., C]`, in the dtype of `x`.

    >>> import jax.numpy as jnp
    >>> x = jnp.array([1.0, 5.0, 2.0]).reshape(1, 3, 1)
    >>> avg_pool(x, kernel=(2,), stride=(2,), pads=((0, 1),)).ravel()
    Array([3., 2.], dtype=float32)
    """
    ones = (1,) * len(kernel)
    total = _reduce(wide(x), lax.add, lax.add, 0.0, kernel, stride, pads, ones)
    counts = window_counts(x.shape[1:-1], kernel, stride, pads, ones, counted)
    return (total / _over_space(counts, total.dtype)).astype(x.dtype)


@jax.custom_jvp
def global_max(x: jax.Array) -> jax.Array:
    """The maximum of each channel, `[N, ..., C]` to `[N, C]`; ties share equally."""
    return jnp.max(x, axis=tuple(range(1, x.ndim - 1)))


@global_max.defjvp
def _global_max_jvp(primals, tangents):
    (x,), (dx,) = primals, tangents
    y, inside = global_max(x), tuple(range(1, x.ndim - 1))
    # XLA computes `x` once for the maximum and again for the comparison, and may round
    # it otherwise (a fused multiply-add in one of them): then none equals the maximum,
    # and the gradient of `jnp.max`, which divides by their number, is infinite. The
    # first maximum is always known, but it takes 2.5 times as long to find.
    equal = x == jnp.expand_dims(y, inside)
    largest = lax.cond(equal.any(inside).all(), lambda: equal, lambda: _is_first_max(x))
    change = jnp.where(largest, dx, jnp.zeros_like(dx)).sum(inside)
    return y, change / largest.sum(inside).astype(dx.dtype)


def _is_first_max(x: jax.Array) -> jax.Array:
    """Whether each value of `[N, ..., C]` is the first maximum of its channel."""
    flat = x.reshape(x.shape[0], math.prod(x.shape[1:-1]), x.shape[-1])
    places = lax.broadcasted_iota(jnp.int32, flat.shape, 1)
    first = lax.argmax(flat, 1, jnp.int32)
    return (places == jnp.expand_dims(first, 1)).reshape(x.shape)


def adaptive_max_pool(x: jax.Array, size: Ints) -> jax.Array:
    """The maxima of `size` bins that cover the image; see `bins`.

    >>> import jax.numpy as jnp
    >>> adaptive_max_pool(jnp.arange(5.0).reshape(1, 5, 1), (2,)).ravel()
    Array([2., 4.], dtype=float32)
    """
    windows = _equal_bins(x.shape[1:-1], size)
    if windows:
        pads = ((0, 0),) * len(size)
        ones = (1,) * len(size)
        return max_pool(x, kernel=windows, stride=windows, pads=pads, dilation=ones)
    for axis, count in reversed(list(enumerate(size, 1))):
        starts, ends = bins(x.shape[axis], count)
        places = (np.minimum(starts + i, ends - 1) for i in range(max(ends - starts)))
        taps = (jnp.take(x, p, axis, mode="clip") for p in places)
        x = functools.reduce(_first_max, taps)
    return x


def adaptive_avg_pool(x: jax.Array, size: Ints) -> jax.Array:
    """The means of `size` bins that cover the image; see `bins`.

    >>> import jax.numpy as jnp
    >>> adaptive_avg_pool(jnp.arange(5.0).reshape(1, 5, 1), (2,)).ravel()
    Array([1., 3.], dtype=float32)
    """
    windows = _equal_bins(x.shape[1:-1], size)
    if windows:
        pads = ((0, 0),) * len(size)
        return avg_pool(x, kernel=windows, stride=windows, pads=pads)
    y = wide(x)
    for axis, count in enumerate(size, 1):
        starts, ends = bins(x.shape[axis], count)
        place = np.arange(x.shape[axis])[:, None]
        shares = ((place >= starts) & (place < ends)) / (ends - starts)
        shares = jnp.asarray(shares, y.dtype)
        y = jnp.tensordot(y, shares, (axis, 0), precision="highest")
        y = jnp.moveaxis(y, -1, axis)
    return y.astype(x.dtype)


def bins(size: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Where the bins of adaptive pooling start and end along an axis.

    Bin i holds the positions from floor(i size / count) to ceil((i + 1) size / count),
    end excluded: bins of nearly equal length, which overlap by one position where
    `count` does not divide `size`.

    >>> [each.tolist() for each in bins(5, 2)]
    [[0, 2], [3, 5]]
    """
    edges = np.arange(count + 1) * size
    return edges[:-1] // count, -(-edges[1:] // count)


def ceil_pads(sizes: Ints, kernel: Ints, stride: Ints, pads: Pads, dilation: Ints):
    """`pads`, extended at the end so that all windows that start in the image fit.

    >>> ceil_pads((5,), (2,), (2,), ((0, 0),), (1,))
    ((0, 1),)
    """
    each = zip(sizes, kernel, stride, pads, dilation, strict=True)
    return tuple(_ceil(*numbers) for numbers in each)


def _ceil(size, kernel, stride, pads, dilation) -> tuple[int, int]:
    before, after = pads
    span = before + size + after - extent(kernel, dilation)
    last = -(-span // stride) * stride  # where the last window starts
    if last >= before + size:
        last -= stride
    return before, after + max(last - span, 0)


def window_counts(
    sizes: Ints,
    kernel: Ints,
    stride: Ints,
    pads: Pads,
    dilation: Ints,
    counted: Pads | None = None,
) -> np.ndarray:
    """How many values each window holds, leaving out padding that is not `counted`.

    >>> window_counts((5,), (3,), (2,), ((1, 1),), (1,))
    array([2, 3, 2])
    """
    counted = counted or ((0, 0),) * len(sizes)
    each = zip(sizes, kernel, stride, pads, dilation, counted, strict=True)
    return functools.reduce(np.multiply.outer, [_counts(*numbers) for numbers in each])


def _counts(size, kernel, stride, pads, dilation, counted) -> np.ndarray:
    ends = size + sum(pads) - extent(kernel, dilation) + 1
    starts = np.arange(0, ends, stride)[:, None] - pads[0]
    places = starts + np.arange(kernel) * dilation
    return np.sum((places >= -counted[0]) & (places < size + counted[1]), axis=1)


def _reduce(x, first, operation, start, kernel, stride, pads, dilation) -> jax.Array:
    """Reduce every window, in the way that is fast on the platform."""

    def slices(x, first=first):
        x = _pad(x, pads, start)
        if first is _first_max and stride == kernel and max(dilation) == 1:
            return _block_max(x, kernel)
        for axis, *window in _backwards(kernel, stride, dilation):
            x = functools.reduce(first, _taps(x, axis, *window))
        return x

    def windows(x):
        shape = (1, *kernel, 1), (1, *stride, 1), ((0, 0), *pads, (0, 0))
        if first is _first_max:
            return _window_max(x, shape)
        return lax.reduce_window(x, np.array(start, x.dtype), operation, *shape)

    if max(dilation) > 1:  # for which reduce_window has no gradient
        return slices(x)
    if is_portable():
        return slices(x, lax.max if first is _first_max else first)
    if max(kernel) > MOST_SLICES:
        return windows(x)
    return lax.platform_dependent(x, cpu=slices, default=windows)


def _backwards(*options: Ints) -> list[tuple[int, ...]]:
    """Every spatial axis with its options, the last one first.

    Columns before rows: the first maximum of rows of first maxima is the first.
    """
    return list(zip(range(1, len(options[0]) + 1), *options, strict=True))[::-1]


def _taps(x, axis: int, kernel: int, stride: int, dilation: int) -> Iterator[jax.Array]:
    """The first value of every window along an axis, the second, and so on."""
    last = (x.shape[axis] - extent(kernel, dilation)) // stride * stride
    for begin in range(0, extent(kernel, dilation), dilation):
        yield lax.slice_in_dim(x, begin, begin + last + 1, stride, axis)


def _pad(x: jax.Array, pads: Pads, value: float) -> jax.Array:
    if not any(map(any, pads)):
        return x
    return jnp.pad(x, ((0, 0), *pads, (0, 0)), constant_values=value)


@jax.custom_jvp
def _first_max(a: jax.Array, b: jax.Array) -> jax.Array:
    """The larger value; if equal, `a` alone gets the gradient, as in PyTorch."""
    return lax.max(a, b)


@_first_max.defjvp
def _first_max_jvp(primals, tangents):
    (a, b), (da, db) = primals, tangents
    return _first_max(a, b), lax.select(_wins(b, a), db, da)  # itself: for second order


def _wins(b: jax.Array, a: jax.Array) -> jax.Array:
    """Whether `b` is the maximum of both and `a`, which comes first, is not."""
    # No single comparison knows both NaN; this second one costs 1 % of the CPU time of
    # 2x2 windows forward and backward, and 15 % of that of 3x3 windows that overlap.
    return (b > a) | jnp.isnan(b)


#: The index of padding, which is no place in an image.
_NOWHERE = -1


def _better(a, b):
    """Of two values with their places, the one that is the maximum."""
    wins = _wins(b[0], a[0]) | (a[1] == _NOWHERE)
    return tuple(lax.select(wins, new, old) for old, new in zip(a, b, strict=True))


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def _window_max(x: jax.Array, window: tuple) -> jax.Array:
    return _reduce_window_max(x, window)


@_window_max.defjvp
def _window_max_jvp(window, primals, tangents):
    # XLA compares by >=, which passes over NaN, but not over infinity in its place.
    (x,) = primals
    marked = jnp.where(jnp.isnan(x), jnp.inf, x)
    _, change = jax.jvp(lambda x: _reduce_window_max(x, window), (marked,), tangents)
    return _window_max(x, window), change  # itself: for second order


def _reduce_window_max(x: jax.Array, window: tuple) -> jax.Array:
    return lax.reduce_window(x, np.array(-jnp.inf, x.dtype), lax.max, *window)


# Windows that do not overlap: the gradient is written once, in its place, whereas
# slices would add up padded ones (a step of the CNN in benchmarks/: 20.6 -> 19.5 ms).
@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def _block_max(x: jax.Array, kernel: Ints) -> jax.Array:
    """The maximum of every block; an incomplete block at the end is left out."""
    return functools.reduce(lax.max, _values(_blocks(x, kernel)))


@_block_max.defjvp
def _block_max_jvp(kernel, primals, tangents):
    (x,), (dx,) = primals, tangents
    blocks, changes = _blocks(x, kernel), _blocks(dx, kernel)
    largest, *others = _values(blocks)
    place = jnp.zeros(largest.shape, jnp.int32)
    for i, value in enumerate(others, 1):
        place = jnp.where(_wins(value, largest), i, place)
        largest = lax.max(largest, value)
    inside = tuple(range(2, blocks.ndim - 1, 2))
    split = [side for k in kernel for side in (1, k)]
    places = np.arange(math.prod(kernel), dtype=np.int32).reshape(1, *split, 1)
    chosen = jnp.equal(
        jnp.broadcast_to(jnp.expand_dims(place, inside), blocks.shape),
        jnp.broadcast_to(places, blocks.shape),
    )
    change = jnp.where(chosen, changes, jnp.zeros_like(changes)).sum(inside)
    return _block_max(x, kernel), change  # itself: for second order


def _blocks(x: jax.Array, kernel: Ints) -> jax.Array:
    """`[N, rows, row, columns, column, C]`: every block on its own axes."""
    counts = [n // k for n, k in zip(x.shape[1:-1], kernel, strict=True)]
    for axis, (n, k) in enumerate(zip(counts, kernel, strict=True), 1):
        x = lax.slice_in_dim(x, 0, n * k, axis=axis)
    split = [side for pair in zip(counts, kernel, strict=True) for side in pair]
    return x.reshape(x.shape[0], *split, x.shape[-1])


def _values(blocks: jax.Array) -> Iterator[jax.Array]:
    """The first value of every block, the second, and so on, in row-major order."""
    axes = range(2, blocks.ndim - 1, 2)
    for place in itertools.product(*(range(blocks.shape[a]) for a in axes)):
        index: list[Any] = [slice(None)] * blocks.ndim
        for axis, i in zip(axes, place, strict=True):
            index[axis] = i
        yield blocks[tuple(index)]


def wide(x: jax.Array) -> jax.Array:
    """Half precision as float32, in which sums are exact enough."""
    return x.astype(jnp.float32) if x.dtype.itemsize < 4 else x


def _over_space(values: np.ndarray, dtype) -> jax.Array:
    """An array over space as one that broadcasts against `[N, ..., C]`."""
    return jnp.asarray(values[None, ..., None], dtype)


def _equal_bins(sizes: Ints, count: Ints) -> Ints | None:
    """The windows that adaptive pooling amounts to if its bins are equal, or None."""
    if any(n % c for n, c in zip(sizes, count, strict=True)):
        return None
    return tuple(n // c for n, c in zip(sizes, count, strict=True))
