# SPDX-License-Identifier: Apache-2.0
"""Pooling layers: over windows, over whole images, and into a fixed number of bins."""

from dataclasses import KW_ONLY
from typing import Any

import jax.numpy as jnp

from jaxnn import checks
from jaxnn.core import Layer
from jaxnn.inputs.steps import check_integers, check_lengths, real
from jaxnn.layers import windows
from jaxnn.layers.padding import unpack
from jaxnn.messages.phrases import describe
from jaxnn.ops import pool
from jaxnn.ops.windows import explicit_pads, extent, spread

IntOrEach = int | tuple[int, ...]


class MaxPool(Layer):
    """The maximum of each window, `y[o] = max_k x[stride o + dilation k]`.

    Padding is never the maximum.  The gradient of a window goes to its first maximum in
    row-major order, or to NaN if it holds one, as in PyTorch.

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


class MaxPoolIndices(Layer):
    """`MaxPool` that also says where the maxima are: its output is `(y, indices)`.

    `indices` are int32 of the shape of `y`: the place of each maximum in the image of
    its example and channel, counted from 0 in row-major order, as in PyTorch.
    `MaxUnpool` puts them back there.

    Args:
        kernel, stride, padding, dilation, ceil_mode: as for `MaxPool`.

    Raises:
        ValueError: if no window fits, or one holds nothing but padding.

    >>> import jax.numpy as jnp, jaxnn as nn
    >>> x = jnp.arange(16.0).reshape(1, 4, 4, 1)
    >>> (y, indices), _ = nn.MaxPoolIndices(2).apply({}, {}, x)
    >>> indices[0, :, :, 0].tolist()
    [[5, 7], [13, 15]]
    """

    with_lengths = "mixes"
    kernel: IntOrEach
    _: KW_ONLY
    stride: IntOrEach | None = None
    padding: str | int | tuple = "VALID"
    dilation: IntOrEach = 1
    ceil_mode: bool = False

    def __post_init__(self):
        _check_window("MaxPoolIndices", self, self.dilation)

    def apply(self, params, state, x, *, key=None, train=False):
        owner = "MaxPoolIndices"
        kernel, stride, pads, dilation = _place(owner, x, self, self.dilation)
        window = dict(kernel=kernel, stride=stride, dilation=dilation)
        return pool.max_pool_indices(x, pads=pads, **window), state


class MaxUnpool(Layer):
    """The maxima of `MaxPoolIndices` back in their places, and zeros elsewhere.

    The input is `(y, indices)`, as `MaxPoolIndices` returns it. `y` may have changed
    since, but not its shape. Where windows that overlap share a maximum, the place
    gets the value of one of them.

    Args:
        kernel, stride, padding: those of the pooling; a stride, as there, is by default
            the kernel.
        size: the size of the image, an int for a square or one for each spatial axis;
            by default the smallest that n windows cover, (n - 1) · stride + kernel
            less the padding, or n · stride for "SAME". Maxima from beyond it are
            dropped.

    Raises:
        ValueError: if `y` and `indices` differ in shape, or the size is smaller or
            larger than that default by a stride or more.

    >>> import jax.numpy as jnp, jaxnn as nn
    >>> x = jnp.arange(9.0).reshape(1, 3, 3, 1)
    >>> maxima, _ = nn.MaxPoolIndices(2).apply({}, {}, x)
    >>> nn.MaxUnpool(2, size=3).apply({}, {}, maxima)[0][0, :, :, 0].tolist()
    [[0.0, 0.0, 0.0], [0.0, 4.0, 0.0], [0.0, 0.0, 0.0]]

    Reference:
        Zeiler, Taylor and Fergus, Adaptive deconvolutional networks for mid and high
        level feature learning, 2011.
    """

    with_lengths = "mixes"
    kernel: IntOrEach
    _: KW_ONLY
    stride: IntOrEach | None = None
    padding: str | int | tuple = "VALID"
    size: IntOrEach | None = None

    def __post_init__(self):
        _check_window("MaxUnpool", self)
        if self.size is not None:
            axes = windows.spatial_axes(self.kernel)
            windows.check_ints("MaxUnpool", "size", self.size, axes)

    def apply(self, params, state, x, *, key=None, train=False):
        if not isinstance(x, tuple | list) or len(x) != 2:
            raise TypeError(
                "MaxUnpool: x must be (y, indices), as nn.MaxPoolIndices returns it, "
                f"got {describe(x):.100}"
            )
        y, indices = x
        windows.check_images("MaxUnpool", y, windows.spatial_axes(self.kernel))
        check_integers("MaxUnpool", "indices", indices)
        if y.shape != indices.shape:
            raise ValueError(
                "MaxUnpool: y and indices must have one shape, got "
                f"{describe(y)} and {describe(indices)}"
            )
        return pool.max_unpool(y, indices, self._sizes(y)), state

    def _sizes(self, y) -> tuple[int, ...]:
        """The spatial sizes of the image."""
        kernel, stride = spread(self.kernel, len(y.shape) - 2), _stride(self)
        pads = _pads(y, self, 1)
        each = list(zip(y.shape[1:-1], kernel, stride, pads, strict=True))
        least = tuple((n - 1) * s + k - sum(p) for n, k, s, p in each)
        if self.padding == "SAME":
            least = tuple(n * s for n, _, s, _ in each)
        if self.size is None:
            return least
        sizes = spread(self.size, len(kernel))
        if any(abs(a - b) >= s for a, b, s in zip(sizes, least, stride, strict=True)):
            raise ValueError(
                f"MaxUnpool: size must be within a stride of {least}, got {self.size} "
                f"for {describe(y)}"
            )
        return sizes


class AvgPool(Layer):
    """The mean of each window, `y[o] = mean_k x[stride o + k]`.

    Args:
        kernel, stride, padding: as for `MaxPool`.
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
        x, lengths, _ = _space("GlobalMaxPool", x)
        if (where := real(x, lengths)) is not None:
            x = jnp.where(where, x, jnp.full((), -jnp.inf, x.dtype))
        return pool.global_max(x), state


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
        if lengths is None:
            return jnp.mean(x, axis=axes), state
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
    """The means of a fixed number of bins, those of `AdaptiveMaxPool`.

    Args:
        size: as for `AdaptiveMaxPool`.

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


def _check_window(owner: str, layer: Any, dilation: IntOrEach = 1):
    """Raise unless the hyperparameters of a window are consistent."""
    windows.check_kernel(owner, layer.kernel)
    axes = windows.spatial_axes(layer.kernel)
    if layer.stride is not None:
        windows.check_ints(owner, "stride", layer.stride, axes)
    windows.check_ints(owner, "dilation", dilation, axes)
    windows.check_padding(owner, layer.padding, axes)
    checks.switches(owner, ceil_mode=getattr(layer, "ceil_mode", False))
    if not isinstance(layer.padding, str):
        _check_pads(owner, layer, spread(dilation, axes))


def _check_pads(owner: str, layer: Any, dilation: tuple[int, ...]):
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


def _place(owner: str, x, layer: Any, dilation: IntOrEach = 1):
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


def _stride(layer: Any) -> tuple[int, ...]:
    stride = layer.kernel if layer.stride is None else layer.stride
    return spread(stride, windows.spatial_axes(layer.kernel))


def _pads(x, layer: Any, dilation: IntOrEach):
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
