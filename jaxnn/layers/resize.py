# SPDX-License-Identifier: Apache-2.0
"""Layers that resize images, and that turn pixels into channels and back."""

from dataclasses import KW_ONLY
from typing import Any

from jaxnn import checks
from jaxnn.core import Layer
from jaxnn.layers import windows
from jaxnn.messages.phrases import describe, nearest
from jaxnn.ops import resize
from jaxnn.ops.windows import spread

METHODS = ("nearest", "bilinear", "bicubic")


class Upsample(Layer):
    """Enlarge an image `factor` times along each spatial axis, or to a size.

    "nearest" repeats every value; "bilinear" interpolates linearly along each axis
    (also with one or three axes), and "bicubic" by a cubic polynomial (a = -3/4, with
    the outermost values repeated beyond the edges, as in PyTorch). Output i is at (i +
    1/2) / factor - 1/2 of the input: half-pixel centers. A smaller size is read off the
    same way, without smoothing.

    Args:
        factor: the scale factor, 2 by default; an int is for two axes, (2,) for one,
            (2, 2, 2) for three.
        size: the new size instead of a factor; an int is a square over two axes, (9,)
            is for one, (9, 9, 9) for three.
        method: "nearest", "bilinear" or "bicubic".
        align_corners: whether the first and the last value stay at the ends: output i
            is then at i (size - 1) / (new size - 1). Not for "nearest".

    >>> import jax.numpy as jnp, jaxnn as nn
    >>> x = jnp.array([[0.0, 4.0]]).reshape(1, 1, 2, 1)
    >>> nn.Upsample((1, 2), method="bilinear").apply({}, {}, x)[0].ravel().tolist()
    [0.0, 1.0, 3.0, 4.0]
    >>> layer = nn.Upsample(size=(1, 5), method="bilinear", align_corners=True)
    >>> layer.apply({}, {}, x)[0].ravel().tolist()
    [0.0, 1.0, 2.0, 3.0, 4.0]
    """

    with_lengths = "mixes"
    factor: int | tuple[int, ...] | None = None
    _: KW_ONLY
    size: int | tuple[int, ...] | None = None
    method: str = "nearest"
    align_corners: bool = False

    def __post_init__(self):
        if self.factor is None and self.size is None:
            object.__setattr__(self, "factor", 2)
        if self.factor is not None and self.size is not None:
            raise ValueError(
                f"Upsample: give a factor or a size, got factor={self.factor} and "
                f"size={self.size}"
            )
        name = "factor" if self.size is None else "size"
        _check_numbers(name, getattr(self, name))
        if self.method not in METHODS:
            raise ValueError(
                f"Upsample: method must be one of {', '.join(METHODS)}, "
                f"got {self.method!r}{nearest(str(self.method), METHODS)}"
            )
        checks.switches("Upsample", align_corners=self.align_corners)
        if self.align_corners and self.method == "nearest":
            raise ValueError(
                'Upsample: align_corners is for method="bilinear" or "bicubic"; '
                '"nearest" repeats whole values'
            )

    def apply(self, params, state, x, *, key=None, train=False):
        given: Any = self.factor if self.size is None else self.size
        axes = windows.spatial_axes(given)
        windows.check_images("Upsample", x, axes)
        old, given = x.shape[1:-1], spread(given, axes)
        if 0 in old:
            raise ValueError(f"Upsample: x must not be empty, got {describe(x)}")
        if self.size is None:
            factor, new = given, tuple(n * f for n, f in zip(old, given, strict=True))
        else:
            factor, new = _whole(old, given), given
        return self._resized(x, factor, new), state

    def _resized(self, x, factor, new):
        if self.method == "bicubic":
            return resize.resize_cubic(x, new, self.align_corners)
        if self.method == "nearest":
            repeat = resize.upsample_nearest
            return repeat(x, factor) if factor else resize.resize_nearest(x, new)
        if factor and not self.align_corners:
            return resize.upsample_linear(x, factor)
        return resize.resize_linear(x, new, self.align_corners)


def _whole(old: tuple[int, ...], new: tuple[int, ...]) -> tuple[int, ...] | None:
    """How many times larger the new size is, if that is a whole number."""
    each = list(zip(old, new, strict=True))
    return None if any(b % a for a, b in each) else tuple(b // a for a, b in each)


class PixelShuffle(Layer):
    """Turn channels into pixels: `[N, H, W, C r r]` to `[N, H r, W r, C]`.

    `y[n, h r + i, w r + j, c] = x[n, h, w, (c r + i) r + j]`, where r is `factor`: the
    channels that form one output channel are adjacent, as in PyTorch. (In TensorFlow's
    `depth_to_space`, the channels of one pixel are adjacent.)

    Args:
        factor: r, how many times larger the image becomes along each axis.

    Raises:
        ValueError: if the number of channels is not a multiple of r r.

    >>> import jax.numpy as jnp, jaxnn as nn
    >>> nn.PixelShuffle(2).apply({}, {}, jnp.ones((1, 8, 8, 12)))[0].shape
    (1, 16, 16, 3)

    Reference:
        Shi et al., Real-time single image and video super-resolution using an efficient
        sub-pixel convolutional neural network, 2016, arXiv:1609.05158.
    """

    with_lengths = "mixes"
    factor: int

    def __post_init__(self):
        checks.positive_int("PixelShuffle", "factor", self.factor)

    def apply(self, params, state, x, *, key=None, train=False):
        windows.check_images("PixelShuffle", x, 2)
        if x.shape[-1] % self.factor**2:
            raise ValueError(
                f"PixelShuffle: the channels must be a multiple of factor x factor = "
                f"{self.factor**2}, got {x.shape[-1]}: {describe(x)}"
            )
        return resize.pixel_shuffle(x, self.factor), state


class PixelUnshuffle(Layer):
    """Turn pixels into channels: `[N, H r, W r, C]` to `[N, H, W, C r r]`.

    The inverse of `PixelShuffle`, with the same order of channels.

    Args:
        factor: r, how many times smaller the image becomes along each axis.

    Raises:
        ValueError: if the height or the width is not a multiple of r.

    >>> import jax.numpy as jnp, jaxnn as nn
    >>> nn.PixelUnshuffle(2).apply({}, {}, jnp.ones((1, 16, 16, 3)))[0].shape
    (1, 8, 8, 12)
    """

    with_lengths = "mixes"
    factor: int

    def __post_init__(self):
        checks.positive_int("PixelUnshuffle", "factor", self.factor)

    def apply(self, params, state, x, *, key=None, train=False):
        windows.check_images("PixelUnshuffle", x, 2)
        if x.shape[1] % self.factor or x.shape[2] % self.factor:
            raise ValueError(
                f"PixelUnshuffle: height and width must be multiples of factor = "
                f"{self.factor}, got {x.shape[1]}x{x.shape[2]}: {describe(x)}"
            )
        return resize.pixel_unshuffle(x, self.factor), state


def _check_numbers(name: str, value: Any) -> None:
    each = value if isinstance(value, tuple | list) else (value,)
    if not 1 <= len(each) <= 3 or not all(map(checks.is_positive_int, each)):
        raise ValueError(
            f"Upsample: {name} must be a positive int or pair, got {value!r}; "
            "(2,) is for one axis, (2, 2, 2) for three"
        )
