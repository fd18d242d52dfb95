# SPDX-License-Identifier: Apache-2.0
"""Convolutional layers."""

from dataclasses import KW_ONLY
from typing import Any

import jax.numpy as jnp

from jaxnn import checks, initializers
from jaxnn.core import Layer, fold_in
from jaxnn.layers import windows
from jaxnn.layers.pad import check_reach
from jaxnn.messages.phrases import describe, nearest
from jaxnn.ops.conv import conv, conv_transpose
from jaxnn.ops.pad import pad
from jaxnn.ops.windows import explicit_pads, extent, spread

#: What padding holds.
_MODES = ("zeros", "reflect", "replicate", "circular")


def _with_lengths(layer: Any) -> str:
    """How a convolution treats sequences with lengths: see `inputs/steps.py`.

    Zeros past the ends act like zero padding, as long as all steps are kept.
    """
    axes = windows.spatial_axes(layer.kernel)
    kernel, stride, dilation = (
        spread(a, axes) for a in (layer.kernel, layer.stride, layer.dilation)
    )
    span = extent(kernel[0], dilation[0])
    pads = explicit_pads(layer.padding, kernel, kernel, (1,) * axes, dilation)
    zeros = getattr(layer, "padding_mode", "zeros") == "zeros" or span == 1
    kept = stride[0] == 1 and sum(pads[0]) == span - 1
    return "each" if zeros and kept else "mixes"


class Conv(Layer):
    """A convolution: slide a kernel over `x`, multiply, add.

    `y[i, f] = b[f] + sum over k and c of x[i · stride + k · dilation - before, c]
    w[k, c, f]` at every position i, along one, two or three spatial axes.

    Args:
        features: the number of filters, F.
        kernel: the kernel size: an int for a square kernel over images `[N, H, W, C]`,
            or an int for each spatial axis: (3,) for sequences `[N, T, C]`,
            (3, 3, 3) for volumes `[N, D, H, W, C]`.
        stride: the step from window to window, an int or one for each spatial axis.
        padding: "SAME" for ceil(size / stride) outputs (the extra cell of an odd total
            goes at the end), "VALID" for no padding, an int for this many cells on
            every side, or for each axis an int or a pair (before, after).
        padding_mode: what the padding holds: "zeros", "reflect" (mirrored without
            repeating the edge), "replicate" (the edge repeated) or "circular".
        dilation: the step from cell to cell of the kernel, at least 1.
        groups: the number of blocks of channels; each block of filters sees one of
            them. As many groups as channels make a depthwise convolution.
        bias: whether to add a bias `b`.
        w_init: initializer of `w`, `[*kernel, C / groups, F]`.
        b_init: initializer of `b`, `[F]`.

    Raises:
        ValueError: at construction, for an invalid option; at `init` and `apply`, if
            `x` has the wrong rank or number of channels, if `groups` does not divide
            the channels, or if the kernel is larger than the padded input.

    Reference: LeCun et al., Gradient-Based Learning Applied to Document Recognition,
    1998.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> layer, x = nn.Conv(8, 3, stride=2), jnp.ones((4, 28, 28, 1))
    >>> params, state = layer.init(jax.random.key(0), x)
    >>> params["w"].shape, layer.apply(params, state, x)[0].shape
    ((3, 3, 1, 8), (4, 14, 14, 8))
    """

    with_lengths = property(_with_lengths)
    features: int
    kernel: int | tuple[int, ...]
    _: KW_ONLY
    stride: int | tuple[int, ...] = 1
    padding: str | int | tuple = "SAME"
    padding_mode: str = "zeros"
    dilation: int | tuple[int, ...] = 1
    groups: int = 1
    bias: bool = True
    w_init: initializers.InitializerFunction = initializers.he_normal()
    b_init: initializers.InitializerFunction = initializers.zeros()

    def __post_init__(self):
        _check_options(self)
        _check_groups("Conv", self.features, "features", self.groups)
        if self.padding_mode not in _MODES:
            raise ValueError(
                f"Conv: padding_mode must be one of {', '.join(_MODES)}, got "
                f"{self.padding_mode!r}{nearest(str(self.padding_mode), _MODES)}"
            )

    def init(self, key, x):
        return _init(self, key, x), {}

    def apply(self, params, state, x, *, key=None, train=False):
        _check_channels(self, x, params)
        _, stride, pads, dilation = windows.place_windows(
            "Conv", x, self.kernel, self.stride, self.padding, self.dilation
        )
        if self.padding_mode != "zeros":
            check_reach("Conv", x, pads, self.padding_mode, "padding_mode")
            x, pads = pad(x, pads, self.padding_mode), ((0, 0),) * len(pads)
        y = conv(
            x,
            params["w"],
            stride=stride,
            pads=pads,
            dilation=dilation,
            groups=self.groups,
        )
        return _add_bias(y, params), state


class ConvTranspose(Layer):
    """A transposed convolution: every element of `x` adds a scaled kernel to `y`.

    `y[i · stride + k · dilation - before, f] += sum over c of x[i, c] w[k, c, f]`, plus
    `b[f]`. It enlarges: with stride 2, an image becomes twice as high and wide.

    Args:
        features: the number of output channels, F.
        kernel: as for `Conv`.
        stride: the distance between neighboring kernels in `y`; as for `Conv`.
        padding: "SAME" for size · stride outputs, "VALID" for every cell that a kernel
            reaches, (size - 1) · stride + span, or how many of these to crop: an int,
            or for each axis an int or a pair (before, after). A negative number adds
            cells that hold only the bias. PyTorch's `padding=p, output_padding=q` is
            (p, p - q) for each axis.
        groups: the number of blocks of channels; each block of `y` comes from one of
            them.
        dilation, bias, w_init, b_init: as for `Conv`.

    Raises:
        ValueError: as for `Conv`, and if the padding crops everything.

    Reference: Zeiler et al., Deconvolutional Networks, 2010.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> layer, x = nn.ConvTranspose(8, 2, stride=2), jnp.ones((4, 14, 14, 16))
    >>> params, state = layer.init(jax.random.key(0), x)
    >>> params["w"].shape, layer.apply(params, state, x)[0].shape
    ((2, 2, 16, 8), (4, 28, 28, 8))
    """

    with_lengths = "mixes"
    features: int
    kernel: int | tuple[int, ...]
    _: KW_ONLY
    stride: int | tuple[int, ...] = 1
    padding: str | int | tuple = "SAME"
    dilation: int | tuple[int, ...] = 1
    groups: int = 1
    bias: bool = True
    w_init: initializers.InitializerFunction = initializers.he_normal()
    b_init: initializers.InitializerFunction = initializers.zeros()

    def __post_init__(self):
        _check_options(self)
        _check_groups("ConvTranspose", self.features, "features", self.groups)

    def init(self, key, x):
        return _init(self, key, x), {}

    def apply(self, params, state, x, *, key=None, train=False):
        _check_channels(self, x, params)
        sizes, stride, pads, dilation = self._window(x)
        y = conv_transpose(
            x,
            params["w"],
            sizes=sizes,
            stride=stride,
            pads=tuple((max(a, 0), max(b, 0)) for a, b in pads),
            dilation=dilation,
            groups=self.groups,
        )
        y = pad(y, tuple((max(-a, 0), max(-b, 0)) for a, b in pads))
        return _add_bias(y, params), state

    def _window(self, x):
        axes = windows.spatial_axes(self.kernel)
        kernel, stride = spread(self.kernel, axes), spread(self.stride, axes)
        dilation = spread(self.dilation, axes)
        each = zip(x.shape[1:-1], kernel, stride, dilation, strict=True)
        full = tuple((n - 1) * s + extent(k, d) for n, k, s, d in each)
        if self.padding == "SAME":
            sizes = tuple(n * s for n, s in zip(x.shape[1:-1], stride, strict=True))
            pads = explicit_pads("SAME", sizes, kernel, stride, dilation)
            return sizes, stride, pads, dilation
        pads = explicit_pads(self.padding, full, kernel, stride, dilation)
        each = zip(full, pads, strict=True)
        sizes = tuple(n - max(a, 0) - max(b, 0) for n, (a, b) in each)
        if min(sizes) < 1:
            raise ValueError(
                f"ConvTranspose: padding {self.padding!r} cuts off all of the "
                f"{'x'.join(map(str, full))} outputs: {describe(x)}; use less padding"
            )
        return sizes, stride, pads, dilation


class SeparableConv(Layer):
    """A convolution in two steps: over space per channel, then across channels.

    The first, depthwise, makes `multiplier` feature maps from each channel; the second,
    pointwise (1x1), mixes them. It needs far fewer weights and products than `Conv`.

    Args:
        features: the number of output channels, F.
        kernel, stride, padding, dilation: of the depthwise step, as for `Conv`.
        multiplier: the number of feature maps per channel, M.
        bias: whether the pointwise step adds a `b`.
        w_init: initializer of `depthwise/w`, `[*kernel, 1, C M]`, and `pointwise/w`,
            `[*ones, C M, F]`.
        b_init: initializer of `pointwise/b`, `[F]`.

    Raises:
        ValueError: as for `Conv`.

    Reference: Chollet, Xception: Deep Learning with Depthwise Separable Convolutions,
    2017.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> layer, x = nn.SeparableConv(32, 3), jnp.ones((4, 14, 14, 16))
    >>> params, state = layer.init(jax.random.key(0), x)
    >>> jax.tree.map(jnp.shape, params)["depthwise"], params["pointwise"]["w"].shape
    ({'w': (3, 3, 1, 16)}, (1, 1, 16, 32))
    >>> layer.apply(params, state, x)[0].shape
    (4, 14, 14, 32)
    """

    with_lengths = property(_with_lengths)
    features: int
    kernel: int | tuple[int, ...]
    _: KW_ONLY
    stride: int | tuple[int, ...] = 1
    padding: str | int | tuple = "SAME"
    dilation: int | tuple[int, ...] = 1
    multiplier: int = 1
    bias: bool = True
    w_init: initializers.InitializerFunction = initializers.he_normal()
    b_init: initializers.InitializerFunction = initializers.zeros()

    def __post_init__(self):
        _check_options(self)
        checks.positive_int("SeparableConv", "multiplier", self.multiplier)

    def _steps(self, channels: int) -> dict[str, Conv]:
        """The two convolutions for inputs with this many channels."""
        axes = windows.spatial_axes(self.kernel)
        depthwise = Conv(
            channels * self.multiplier,
            self.kernel,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            groups=channels,
            bias=False,
            w_init=self.w_init,
        )
        pointwise = Conv(
            self.features,
            (1,) * axes,
            bias=self.bias,
            w_init=self.w_init,
            b_init=self.b_init,
        )
        return {"depthwise": depthwise, "pointwise": pointwise}

    def init(self, key, x):
        channels = _channels("SeparableConv", x, self.kernel, 1)
        steps = self._steps(channels)
        middle = jnp.empty((1, *x.shape[1:-1], channels * self.multiplier), x.dtype)
        first, second = fold_in(key, "depthwise"), fold_in(key, "pointwise")
        return {
            "depthwise": steps["depthwise"].init(first, x)[0],
            "pointwise": steps["pointwise"].init(second, middle)[0],
        }, {}

    def apply(self, params, state, x, *, key=None, train=False):
        channels = _channels("SeparableConv", x, self.kernel, 1)
        made = params["depthwise"]["w"].shape[-1]
        checks.channels("SeparableConv", x, made // self.multiplier)
        for name, step in self._steps(channels).items():
            x, _ = step.apply(params[name], {}, x)
        return x, state


def _check_options(layer: Any) -> None:
    """Raise unless the options that all of these layers have are valid."""
    owner = type(layer).__name__
    checks.positive_int(owner, "features", layer.features)
    windows.check_kernel(owner, layer.kernel)
    axes = windows.spatial_axes(layer.kernel)
    windows.check_ints(owner, "stride", layer.stride, axes)
    windows.check_ints(owner, "dilation", layer.dilation, axes)
    crops = isinstance(layer, ConvTranspose)
    windows.check_padding(owner, layer.padding, axes, negative=crops)


def _check_groups(owner: str, size: int, name: str, groups: Any, x: Any = None) -> None:
    checks.positive_int(owner, "groups", groups)
    if size % groups:
        where = "" if x is None else f": {describe(x)}"
        raise ValueError(
            f"{owner}: groups must divide the {name}, got groups={groups} and "
            f"{size} {name}{where}"
        )


def _channels(owner: str, x: Any, kernel: Any, groups: int) -> int:
    """The number of channels of `x`, after checking it and the rank."""
    windows.check_images(owner, x, windows.spatial_axes(kernel))
    if 0 in x.shape[1:]:
        raise ValueError(f"{owner}: x must not be empty, got {describe(x)}")
    _check_groups(owner, x.shape[-1], "channels", groups, x)
    return x.shape[-1]


def _check_channels(layer: Conv | ConvTranspose, x: Any, params: Any) -> None:
    """Raise unless `x` is valid and has the channels of the weights."""
    owner = type(layer).__name__
    _channels(owner, x, layer.kernel, layer.groups)
    checks.channels(owner, x, params["w"].shape[-2] * layer.groups)


def _init(layer: Conv | ConvTranspose, key, x) -> dict:
    """The weights and, if there is one, the bias."""
    channels = _channels(type(layer).__name__, x, layer.kernel, layer.groups)
    dtype = checks.param_dtype(x)
    kernel = spread(layer.kernel, windows.spatial_axes(layer.kernel))
    shape = (*kernel, channels // layer.groups, layer.features)
    params = {"w": layer.w_init(key, shape, dtype)}
    if layer.bias:
        params["b"] = layer.b_init(key, (layer.features,), dtype)
    return params


def _add_bias(y, params):
    if "b" not in params:
        return y
    # In single precision: on the CPU, XLA would sum the gradient of b in half
    # precision, where 65536 ones in bfloat16 add up to 8192.
    wide = jnp.float32 if y.dtype.itemsize < 4 else y.dtype
    b = jnp.broadcast_to(params["b"].astype(wide), y.shape)
    return (y.astype(wide) + b).astype(y.dtype)
