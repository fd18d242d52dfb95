# SPDX-License-Identifier: Apache-2.0
"""Convolution on the CPU: by shape, XLA's own or matrix products that stay in cache.

Three ways to compute each of the three, all exact:

- *canonical*: XLA's convolution.  It is fast, also inside loops, only when channels are
  last everywhere, so the gradients are written as transposes around such convolutions.
- *patches*: the inputs under every window side by side, times the kernel.
- *strips*: the same along all spatial axes but the first; along that one, the kernel's
  rows are placed side by side instead, and shifted rows are added.  One product of
  `[·, k C]` and `[C k, k F]`, whose operands are k times the images instead of k².

Patches and strips are made for a few images at a time, so that they stay in the cache;
on several devices for all, since a piece of the batch would be gathered on each.
Milliseconds inside a scan on two cores with AVX-512, jax 0.10.2, float32, 3x3 kernels:

    images           channels   forward: canonical strips   filter: canonical strips
    64 of 32x32      16 -> 16              2.1      2.5                 3.2      2.2
    64 of 16x16      32 -> 32              1.7      1.3                 3.5      1.9
    128 of 14x14     32 -> 64              5.0      4.0                 9.0      5.2
    32 of 32x32      64 -> 64             12.2      9.0                17.5     11.1
    32 of 16x16     128 -> 128             6.3      7.0                10.7      8.8
    32 of 8x8       256 -> 256             7.0      8.8                 7.8      8.2

Patches win for few channels (128 of 28x28, 1 -> 32: forward 1.7 -> 1.4, filter
3.2 -> 1.8), where strides leave few windows (8 of 56x56, 64 -> 128, stride 2: 5.0 ->
3.6, 6.4 -> 4.8) and for 1x1 kernels (64 of 16x16, 64 -> 256: 4.3 -> 2.5, 13.7 -> 4.4).
The filter gradient that autodiff derives from XLA's convolution takes 50 times as long
inside a loop as outside.

Groups are computed one by one (32 of 28x28, 64 channels in 2 groups: forward 42 -> 7,
filter 744 -> 8), and a depthwise convolution is shifted multiply-adds (32 of 28x28x32:
forward 17 -> 0.5, filter 213 -> 1.8).
"""

import functools
import itertools
import math

import jax.numpy as jnp
from jax import lax

from jaxnn.ops.windows import extent, output_sizes

#: Elements in the larger operand of one product: 4 MiB in float32.
_PRODUCT = 2**20


def conv(x, w, *, window):
    """The convolution; see `jaxnn.ops.conv`."""
    if _is_depthwise(w.shape[-2], window):
        return _depthwise_conv(x, w, window)
    if window.groups > 1:
        return _by_group(conv, x, w, window)
    c, f = w.shape[-2:]
    if _use_patches(c, window):
        return _pieces(_patches_conv, x, w, window, _patch_numbers(c, window))
    wide = 32 <= max(c, f) < 128 or x.dtype == jnp.float64  # (Eigen has no double)
    if wide and window.stride[0] == 1:
        return _pieces(_strips_conv, x, w, window, _strip_numbers(c, f, window))
    return _canonical(x, w, window)


def input_gradient(g, w, *, window):
    """The transpose by `x`: a convolution of `g`, spread by the strides, w flipped."""
    if _is_depthwise(w.shape[-2], window):
        return _depthwise_input(g, w, window)
    if window.groups > 1:
        return _by_group(input_gradient, g, w, window)
    if math.prod(window.kernel) == 1:
        return _pointwise_input(g, w, window)
    w = jnp.flip(w, range(len(window.kernel))).swapaxes(-1, -2)
    backwards = window._replace(
        sizes=g.shape[1:-1], stride=(1,) * len(w.shape[:-2]), pads=_input_pads(window)
    )
    if math.prod(window.stride) == 1:
        return conv(g, w, window=backwards)
    if _has_more(window.kernel, g.shape[1:-1]):
        g = lax.optimization_barrier(_spread(g, window.stride))
        return conv(g, w, window=backwards._replace(sizes=g.shape[1:-1]))
    return _canonical(g, w, backwards, spread=window.stride)


def filter_gradient(x, g, *, window):
    """The transpose by `w`: every window of `x` times the `g` it led to, added up."""
    if _is_depthwise(x.shape[-1] // window.groups, window):
        return _depthwise_filter(x, g, window)
    if window.groups > 1:
        return _by_group(filter_gradient, x, g, window)
    c, f = x.shape[-1], g.shape[-1]
    strips, patches = _strip_numbers(c, f, window), _patch_numbers(c, window)
    if _use_patches(c, window):
        return _added_pieces(_patches_filter, x, g, window, patches)
    if window.stride[0] == 1:
        return _added_pieces(_strips_filter, x, g, window, strips)
    if _has_more(g.shape[1:-1], window.sizes):
        return _added_pieces(_patches_filter, x, g, window, patches)
    return _canonical_filter(x, g, window)


def _use_patches(c: int, window) -> bool:
    """Whether there are few values under a window, or few windows."""
    kernel = math.prod(window.kernel)
    strides = math.prod(window.stride)
    few = kernel == 1 or kernel * c <= 32 or (strides > 1 and kernel <= 3 * strides)
    return few or _has_more(window.kernel, window.sizes)


def _has_more(kernel, sizes) -> bool:
    """Whether a kernel has more positions than the image: XLA then swaps the two."""
    return math.prod(kernel) > math.prod(sizes)


# Canonical.


def _canonical(x, w, window, spread=None):
    axes = "DHW"[-len(window.kernel) :]
    return lax.conv_general_dilated(
        x,
        w,
        window.stride,
        window.pads,
        lhs_dilation=spread,
        rhs_dilation=window.dilation,
        dimension_numbers=(f"N{axes}C", f"{axes}IO", f"N{axes}C"),
    )


def _input_pads(window):
    """The zeros around `g` (spread) that yield the input's sizes."""
    pads = []
    for size, outputs, k, s, before, d in _by_axis(window):
        low = extent(k, d) - 1 - before
        pads.append((low, size + extent(k, d) - 1 - extent(outputs, s) - low))
    return tuple(pads)


def _canonical_filter(x, g, window):
    """Channels take the place of the batch, and the batch that of the channels."""
    pads = [
        (before, extent(k, d) - 1 + extent(outputs, s) - size - before)
        for size, outputs, k, s, before, d in _by_axis(window)
    ]
    x = jnp.moveaxis(jnp.moveaxis(x, -1, 0), 1, -1)
    g = jnp.moveaxis(g, 0, -2)
    swapped = window._replace(
        stride=window.dilation, pads=tuple(pads), dilation=window.stride
    )
    return jnp.moveaxis(_canonical(x, g, swapped), 0, -2)


# Patches.


def _patches(x, window):
    """`[N, *outputs, k C]`: for each output, the values under its window."""
    x = _pad(x, window.pads)
    return _beside(x, _outputs(window), window.stride, window.kernel, window.dilation)


def _patch_numbers(c: int, window) -> int:
    return math.prod(_outputs(window)) * math.prod(window.kernel) * c


def _patches_conv(x, w, window):
    y = _product(_patches(x, window), w.reshape(-1, w.shape[-1]))
    return y.astype(x.dtype)


def _patches_filter(x, g, window):
    y = _product_over_examples(_patches(x, window), g)
    return y.reshape(*window.kernel, x.shape[-1], g.shape[-1])


def _pointwise_input(g, w, window):
    """One position under each window: a product, put back at the strides."""
    y = _product(g, w.reshape(w.shape[-2:]).T).astype(g.dtype)
    return _put_back(y, (0,) * len(window.kernel), window)


# Strips.


def _strips(x, window):
    """`[N, rows, *outputs, k C]`: patches along all spatial axes but the first."""
    x = _pad(x, window.pads)
    sizes = (x.shape[1], *_outputs(window)[1:])
    kernel = (1, *window.kernel[1:])
    return _beside(x, sizes, window.stride, kernel, window.dilation)


def _strip_numbers(c: int, f: int, window) -> int:
    first, *rest = window.kernel
    rows = window.sizes[0] + sum(window.pads[0])
    each = rows * math.prod(_outputs(window)[1:])
    return each * max(math.prod(rest) * c, first * f)


def _strips_conv(x, w, window):
    f, outputs = w.shape[-1], _outputs(window)[0]
    rows = jnp.moveaxis(w, 0, -2).reshape(-1, window.kernel[0] * f)
    y = _product(_strips(x, window), rows)
    shifts = (i * window.dilation[0] for i in range(window.kernel[0]))
    parts = (
        y[:, shift : shift + outputs, ..., i * f : (i + 1) * f]
        for i, shift in enumerate(shifts)
    )
    return functools.reduce(jnp.add, parts).astype(x.dtype)


def _strips_filter(x, g, window):
    first, *rest = window.kernel
    strips, span = _strips(x, window), extent(first, window.dilation[0]) - 1
    rows = strips.shape[1]
    behind = rows - g.shape[1]
    g = _pad(g, ((span, behind), *((0, 0) for _ in rest)))
    shifts = (span - i * window.dilation[0] for i in range(first))
    beside = jnp.concatenate([g[:, s : s + rows] for s in shifts], -1)
    y = _product_over_examples(strips, beside)
    y = y.reshape(*rest, x.shape[-1], first, -1)
    return jnp.moveaxis(y, -2, 0)


# Depthwise: as many groups as channels.


def _is_depthwise(channels: int, window) -> bool:
    return channels == 1 and window.groups > 1


def _depthwise_conv(x, w, window):
    dtype, x, w = x.dtype, _summable(x), _summable(w)
    x = jnp.repeat(_pad(x, window.pads), w.shape[-1] // x.shape[-1], axis=-1)
    slices = _slices(x, _outputs(window), window.stride, window.kernel, window.dilation)
    scales = w.reshape(-1, *(1,) * (x.ndim - 1), w.shape[-1])
    return functools.reduce(jnp.add, map(_times, slices, scales)).astype(dtype)


def _depthwise_input(g, w, window):
    dtype, g, w = g.dtype, _summable(g), _summable(w)
    scales = w.reshape(-1, *(1,) * (g.ndim - 1), w.shape[-1])
    each = zip(scales, _entries(window.kernel), strict=True)
    parts = (_put_back(_times(g, scale), entry, window) for scale, entry in each)
    y = functools.reduce(jnp.add, parts)
    each = y.shape[-1] // window.groups
    return y.reshape(*y.shape[:-1], window.groups, each).sum(-1).astype(dtype)


def _depthwise_filter(x, g, window):
    x = jnp.repeat(_pad(x, window.pads), g.shape[-1] // x.shape[-1], axis=-1)
    slices = _slices(x, _outputs(window), window.stride, window.kernel, window.dilation)
    over = tuple(range(x.ndim - 1))
    sums = [(s * g).sum(over, dtype=_sum_type(x)).astype(x.dtype) for s in slices]
    return jnp.stack(sums).reshape(*window.kernel, 1, g.shape[-1])


def _times(a, scale):
    return a * jnp.broadcast_to(scale, a.shape)


# Building blocks.


def _outputs(window):
    _, kernel, stride, pads, dilation, *_ = window
    return output_sizes(window.sizes, kernel, stride, pads, dilation)


def _by_axis(window):
    """Size, outputs, kernel, stride, padding before and dilation of every axis."""
    sizes, kernel, stride, pads, dilation, *_ = window
    before = (low for low, _ in pads)
    each = (sizes, _outputs(window), kernel, stride, before, dilation)
    return zip(*each, strict=True)


def _pad(x, pads):
    """Pad the spatial axes with zeros; a negative padding crops."""
    edges = ((0, 0, 0), *((*p, 0) for p in pads), (0, 0, 0))
    return lax.pad(x, jnp.zeros((), x.dtype), edges)


def _put_back(g, entry, window):
    """`g` surrounded by zeros, at the inputs that one entry of the kernel met."""
    pads = []
    axes = zip(_by_axis(window), entry, strict=True)
    for (size, outputs, _, s, before, d), i in axes:
        low = i * d - before
        pads.append((low, size - low - extent(outputs, s), s - 1))
    return lax.pad(g, jnp.zeros((), g.dtype), ((0, 0, 0), *pads, (0, 0, 0)))


def _spread(g, stride):
    """`g` with zeros between its elements."""
    edges = ((0, 0, 0), *((0, 0, s - 1) for s in stride), (0, 0, 0))
    return lax.pad(g, jnp.zeros((), g.dtype), edges)


def _entries(kernel):
    return itertools.product(*map(range, kernel))


def _slices(x, sizes, stride, kernel, dilation) -> list:
    """What each entry of the kernel sees of a padded `x`."""
    slices, (batch, *_, channels) = [], x.shape
    for entry in _entries(kernel):
        start = [i * d for i, d in zip(entry, dilation, strict=True)]
        stop = [i + extent(n, s) for i, n, s in zip(start, sizes, stride, strict=True)]
        ends = (0, *start, 0), (batch, *stop, channels), (1, *stride, 1)
        slices.append(lax.slice(x, *ends))
    return slices


def _beside(x, sizes, stride, kernel, dilation):
    """The slices side by side along the channels."""
    slices = _slices(x, sizes, stride, kernel, dilation)
    return jnp.concatenate(slices, -1) if len(slices) > 1 else slices[0]


def _product(a, b):
    """`a b` over the last axis of `a`, which is materialized first."""
    # Without the barrier, XLA fuses the gather into the product: 18 ms instead of 8.
    a = lax.optimization_barrier(a)
    y = jnp.matmul(a.reshape(-1, a.shape[-1]), b, preferred_element_type=_sum_type(a))
    return y.reshape(*a.shape[:-1], b.shape[-1])


def _product_over_examples(a, b):
    """`a.T b` summed over all axes but the last."""
    a, b = lax.optimization_barrier((a, b))
    a, b = a.reshape(-1, a.shape[-1]), b.reshape(-1, b.shape[-1])
    over = (((0,), (0,)), ((), ()))
    return lax.dot_general(a, b, over, preferred_element_type=_sum_type(a))


def _sum_type(x):
    """Half precision is summed in single."""
    return jnp.float32 if x.dtype.itemsize < 4 else x.dtype


def _summable(x):
    return x.astype(_sum_type(x))


def _pieces(way, x, w, window, numbers: int):
    """Apply one way to as many images at a time as `numbers` per image allow."""
    n, piece = x.shape[0], _piece(x.shape[0], _PRODUCT // numbers)
    if window.spread or piece >= n:
        return way(x, w, window)
    full = n - n % piece
    y = lax.map(lambda x: way(x, w, window), _cut(x[:full], piece))
    y = y.reshape(full, *y.shape[2:])
    return jnp.concatenate([y, way(x[full:], w, window)]) if full < n else y


def _added_pieces(way, x, g, window, numbers: int):
    """The same for filter gradients, which add up."""
    n, piece = x.shape[0], _piece(x.shape[0], _PRODUCT // numbers)
    if window.spread or piece >= n:
        return way(x, g, window).astype(x.dtype)
    full = n - n % piece
    total = jnp.zeros((*window.kernel, x.shape[-1], g.shape[-1]), _sum_type(x))
    if full < n:
        total = way(x[full:], g[full:], window)

    def add(total, xg):
        return total + way(*xg, window), None

    total, _ = lax.scan(add, total, (_cut(x[:full], piece), _cut(g[:full], piece)))
    return total.astype(x.dtype)


def _piece(n: int, most: int) -> int:
    """How many of n images to take at a time: up to `most`, preferably dividing n."""
    if not isinstance(n, int):  # a symbol: exported for batches of any size
        return n
    most = max(1, min(n, most))
    return next((p for p in range(most, most // 2, -1) if n % p == 0), most)


def _cut(x, piece: int):
    return x.reshape(-1, piece, *x.shape[1:])


def _by_group(way, a, b, window):
    """One group after the other, as if each were alone."""
    groups = window.groups
    alone = window._replace(groups=1)
    a, b = _split(a, groups), _split(b, groups)
    y = lax.map(lambda ab: way(*ab, window=alone), (a, b))
    y = jnp.moveaxis(y, 0, -2)
    return y.reshape(*y.shape[:-2], y.shape[-2] * y.shape[-1])


def _split(x, groups: int):
    """`[..., G · C]` to `[G, ..., C]`."""
    x = x.reshape(*x.shape[:-1], groups, x.shape[-1] // groups)
    return jnp.moveaxis(x, -2, 0)
