# SPDX-License-Identifier: Apache-2.0
"""Pooling layers: over windows, over whole images, and into a fixed number of bins."""

from dataclasses import KW_ONLY
from typing import Any

import jax.numpy as jnp

from jaxnn import checks
from jaxnn.core import Layer
from jaxnn.inputs.steps import check_lengths, real
from jaxnn.layers import windows
from jaxnn.layers.padding import unpack
from jaxnn.ops import pool
from jaxnn.ops.windows import explicit_pads, extent, spread
from jaxnn.trees import describe

IntOrEach = int | tuple[int, ...]


class MaxPool(Layer):
    """The maximum of each window, `y[o] = max_k x[stride o + dilation k]`.

    Padding is never the maximum.  The gradient of a window goes to its first maximum in
    row-major order, as in PyTorch.

    Args:
        kernel: the window size; an int is a square over two axes, (3,) slides along
            one, (3, 3, 3) along three.
        stride: the step from window to window; by default the kernel, so that windows
            do not overlap.
        padding: "VALID" (none), "SAME" (ceil(size / stride) windows), an int, or for
            each axis an int or a pair (before, after); smaller than the window.
        dilation: the step from value to value within a window.
        ceil_mode: whether to keep windows that extend past the end, if they start
            inside the image.

    Raises:
        ValueError: if no window fits, or one holds nothing but padding.

    >>> import jax.numpy as jnp, jaxnn as nn
    >>> x = jnp.arange(16.0).reshape(1, 4, 4, 1)
    >>> nn.MaxPool(2).apply({}, {}, x)[0][0, :, :, 0].tolist()
    [[5.0, 7.0], [13.0, 15.0]]
    """

    with_lengths = "mixes"
    kernel: IntOrEach
    _: KW_ONLY
    stride: IntOrEach | None = None
    padding: str | int | tuple = "VALID"
    dilation: IntOrEach = 1
    ceil_mode: bool = False

    def __post_init__(self):
        _check_window("MaxPool", self, self.dilation)

    def apply(self, params, state, x, *, key=None, train=False):
        kernel, stride, pads, dilation = _place("MaxPool", x, self, self.dilation)
        y = pool.max_pool(x, kernel=kernel, stride=stride, pads=pads, dilation=dilation)
        return y, state


class AvgPool(Layer):
    """The mean of each window, `y[o] = mean_k x[stride o + k]`.

    Args:
        kernel: the window size; an int is a square over two axes, (3,) slides along
            one, (3, 3, 3) along three.
        stride: the step from window to window; by default the kernel, so that windows
            do not overlap.
        padding: "VALID" (none), "SAME" (ceil(size / stride) windows), an int, or for
            each axis an int or a pair (before, after); smaller than the window.
        count_padding: whether the mean counts padding as zeros. (PyTorch does so by
            default: `count_include_pad`.)
        ceil_mode: whether to keep windows that extend past the end, if they start
            inside the image; cells beyond the padding are never counted.

    Raises:
        ValueError: if no window fits, or one holds nothing but padding.

    >>> import jax.numpy as jnp, jaxnn as nn
    >>> x = jnp.arange(16.0).reshape(1, 4, 4, 1)
    >>> nn.AvgPool(2).apply({}, {}, x)[0][0, :, :, 0].tolist()
    [[2.5, 4.5], [10.5, 12.5]]
    """

    with_lengths = "mixes"
    kernel: IntOrEach
    _: KW_ONLY
    stride: IntOrEach | None = None
    padding: str | int | tuple = "VALID"
    count_padding: bool = False
    ceil_mode: bool = False

    def __post_init__(self):
        _check_window("AvgPool", self)
        checks.switches("AvgPool", count_padding=self.count_padding)

    def apply(self, params, state, x, *, key=None, train=False):
        kernel, stride, pads, _ = _place("AvgPool", x, self)
        counted = _pads(x, self, 1) if self.count_padding else None
        y = pool.avg_pool(x, kernel=kernel, stride=stride, pads=pads, counted=counted)
        return y, state


class GlobalMaxPool(Layer):
    """The maximum of each channel: `[N, ..., C]` to `[N, C]`.

    For `(x, lengths)`, `x` `[N, T, ..., C]`, it is taken over the real steps of each
    sequence. Equal maxima share the gradient equally.

    >>> import jax.numpy as jnp, jaxnn as nn
    >>> x = jnp.arange(18.0).reshape(1, 3, 3, 2)
    >>> nn.GlobalMaxPool().apply({}, {}, x)[0].tolist()
    [[16.0, 17.0]]
    """

    with_lengths = "uses"

    def apply(self, params, state, x, *, key=None, train=False):
        x, lengths, axes = _space("GlobalMaxPool", x)
        if (where := real(x, lengths)) is not None:
            x = jnp.where(where, x, jnp.full((), -jnp.inf, x.dtype))
        return jnp.max(x, axis=axes), state


class GlobalAvgPool(Layer):
    """The mean of each channel: `[N, ..., C]` to `[N, C]`.

    For `(x, lengths)`, `x` `[N, T, ..., C]`, it is taken over the real steps of each
    sequence.

    >>> import jax.numpy as jnp, jaxnn as nn
    >>> x = jnp.arange(18.0).reshape(1, 3, 3, 2)
    >>> nn.GlobalAvgPool().apply({}, {}, x)[0].tolist()
    [[8.0, 9.0]]

    Reference:
        Lin, Chen and Yan, Network in network, 2014, arXiv:1312.4400.
    """

    with_lengths = "uses"

    def apply(self, params, state, x, *, key=None, train=False):
        x, lengths, axes = _space("GlobalAvgPool", x)
        return jnp.mean(x, axis=axes, where=real(x, lengths)), state


class AdaptiveMaxPool(Layer):
    """The maxima of a fixed number of bins, whatever the size of the image.

    Along an axis of n values, bin i of `size` runs from floor(i n / size) to
    ceil((i + 1) n / size), end excluded.  As in PyTorch, bins overlap by one value if
    `size` does not divide n, and repeat values if it exceeds n.  The gradient of a bin
    goes to its first maximum.

    Args:
        size: the number of bins; an int is a square over two axes, (7,) is along one,
            (7, 7, 7) along three.

    >>> import jax.numpy as jnp, jaxnn as nn
    >>> nn.AdaptiveMaxPool(6).apply({}, {}, jnp.ones((2, 13, 9, 8)))[0].shape
    (2, 6, 6, 8)

    Reference:
        He, Zhang, Ren and Sun, Spatial pyramid pooling in deep convolutional networks
        for visual recognition, 2014, arXiv:1406.4729.
    """

    with_lengths = "mixes"
    size: IntOrEach

    def __post_init__(self):
        _check_size("AdaptiveMaxPool", self.size)

    def apply(self, params, state, x, *, key=None, train=False):
        size = _bins("AdaptiveMaxPool", x, self.size)
        return pool.adaptive_max_pool(x, size), state


class AdaptiveAvgPool(Layer):
    """The means of a fixed number of bins, whatever the size of the image.

    Along an axis of n values, bin i of `size` runs from floor(i n / size) to
    ceil((i + 1) n / size), end excluded.  As in PyTorch, bins overlap by one value if
    `size` does not divide n, and repeat values if it exceeds n.

    Args:
        size: the number of bins; an int is a square over two axes, (7,) is along one,
            (7, 7, 7) along three.

    >>> import jax.numpy as jnp, jaxnn as nn
    >>> nn.AdaptiveAvgPool(6).apply({}, {}, jnp.ones((2, 13, 9, 8)))[0].shape
    (2, 6, 6, 8)

    Reference:
        He, Zhang, Ren and Sun, Spatial pyramid pooling in deep convolutional networks
        for visual recognition, 2014, arXiv:1406.4729.
    """

    with_lengths = "mixes"
    size: IntOrEach

    def __post_init__(self):
        _check_size("AdaptiveAvgPool", self.size)

    def apply(self, params, state, x, *, key=None, train=False):
        size = _bins("AdaptiveAvgPool", x, self.size)
        return pool.adaptive_avg_pool(x, size), state


def _check_window(owner: str, layer: MaxPool | AvgPool, dilation: IntOrEach = 1):
    """Raise unless the hyperparameters of a window are consistent."""
    windows.check_kernel(owner, layer.kernel)
    axes = windows.spatial_axes(layer.kernel)
    if layer.stride is not None:
        windows.check_ints(owner, "stride", layer.stride, axes)
    windows.check_ints(owner, "dilation", dilation, axes)
    windows.check_padding(owner, layer.padding, axes)
    checks.switches(owner, ceil_mode=layer.ceil_mode)
    if not isinstance(layer.padding, str):
        _check_pads(owner, layer, spread(dilation, axes))


def _check_pads(owner: str, layer: MaxPool | AvgPool, dilation: tuple[int, ...]):
    """Raise unless a window at the border reaches into the image."""
    kernel = spread(layer.kernel, len(dilation))
    pads = explicit_pads(layer.padding, kernel, kernel, kernel, dilation)
    spans = tuple(map(extent, kernel, dilation))
    if any(max(pair) >= span for pair, span in zip(pads, spans, strict=True)):
        raise ValueError(
            f"{owner}: padding must be smaller than the window, or windows hold "
            f"nothing but padding; got padding={layer.padding!r} and a window of "
            f"{'x'.join(map(str, spans))}"
        )


def _check_size(owner: str, size: Any) -> None:
    each = size if isinstance(size, tuple | list) else (size,)
    if not 1 <= len(each) <= 3 or not all(map(checks.is_positive_int, each)):
        raise ValueError(
            f"{owner}: size must be a positive int or pair, got {size!r}; (7,) makes "
            "bins along one axis, (7, 7, 7) along three"
        )


def _place(owner: str, x, layer: MaxPool | AvgPool, dilation: IntOrEach = 1):
    """`(kernel, stride, pads, dilation)`, where every window holds a value."""
    axes = windows.spatial_axes(layer.kernel)
    windows.check_images(owner, x, axes)
    kernel, stride = spread(layer.kernel, axes), _stride(layer)
    pads = _pads(x, layer, dilation)
    if layer.ceil_mode:
        steps = spread(dilation, axes)
        pads = pool.ceil_pads(x.shape[1:-1], kernel, stride, pads, steps)
    placed = windows.place_windows(owner, x, kernel, stride, pads, dilation)
    if not pool.window_counts(x.shape[1:-1], *placed).all():
        raise ValueError(
            f"{owner}: a window holds nothing but padding: {describe(x)}, padded by "
            f"{pads}; use less padding, or a larger input"
        )
    return placed


def _stride(layer: MaxPool | AvgPool) -> tuple[int, ...]:
    stride = layer.kernel if layer.stride is None else layer.stride
    return spread(stride, windows.spatial_axes(layer.kernel))


def _pads(x, layer: MaxPool | AvgPool, dilation: IntOrEach):
    """The padding as pairs, before `ceil_mode` adds to it."""
    kernel = spread(layer.kernel, windows.spatial_axes(layer.kernel))
    steps = spread(dilation, len(kernel))
    sizes = x.shape[1:-1]
    return explicit_pads(layer.padding, sizes, kernel, _stride(layer), steps)


def _space(owner: str, x) -> tuple[Any, Any, tuple[int, ...]]:
    """An array, its lengths or None, and its spatial axes, which are not empty."""
    x, lengths, _ = unpack(x)
    checks.batch(owner, x, axes=3)
    check_lengths(owner, lengths, x)
    _check_not_empty(owner, x)
    return x, lengths, tuple(range(1, len(x.shape) - 1))


def _bins(owner: str, x, size: IntOrEach) -> tuple[int, ...]:
    axes = windows.spatial_axes(size)
    windows.check_images(owner, x, axes)
    _check_not_empty(owner, x)
    return spread(size, axes)


def _check_not_empty(owner: str, x) -> None:
    if 0 in x.shape[1:-1]:
        raise ValueError(f"{owner}: x has no values to pool: {describe(x)}")
