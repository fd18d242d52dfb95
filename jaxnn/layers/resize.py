# SPDX-License-Identifier: Apache-2.0
"""Layers that enlarge images, and that turn pixels into channels and back."""

from dataclasses import KW_ONLY
from typing import Any

from jaxnn import checks
from jaxnn.core import Layer
from jaxnn.layers import windows
from jaxnn.ops import resize
from jaxnn.ops.windows import spread
from jaxnn.trees import describe, nearest

METHODS = {
    "nearest": resize.upsample_nearest,
    "bilinear": resize.upsample_linear,
}


class Upsample(Layer):
    """Enlarge an image `factor` times along each spatial axis.

    "nearest" repeats every value; "bilinear" interpolates linearly along each axis
    (also with one or three axes), with output i at (i + 1/2) / factor - 1/2 of the
    input: half-pixel centers, PyTorch's `align_corners=False`.

    Args:
        factor: the scale factor; an int is for two axes, (2,) for one, (2, 2, 2) for
            three.
        method: "nearest" or "bilinear".

    >>> import jax.numpy as jnp, jaxnn as nn
    >>> x = jnp.array([[0.0, 4.0]]).reshape(1, 1, 2, 1)
    >>> nn.Upsample((1, 2), method="bilinear").apply({}, {}, x)[0].ravel().tolist()
    [0.0, 1.0, 3.0, 4.0]
    """

    with_lengths = "mixes"
    factor: int | tuple[int, ...] = 2
    _: KW_ONLY
    method: str = "nearest"

    def __post_init__(self):
        _check_factor(self.factor)
        if self.method not in METHODS:
            names = list(METHODS)
            raise ValueError(
                f"Upsample: method must be one of {', '.join(names)}, "
                f"got {self.method!r}{nearest(str(self.method), names)}"
            )

    def apply(self, params, state, x, *, key=None, train=False):
        axes = windows.spatial_axes(self.factor)
        windows.check_images("Upsample", x, axes)
        return METHODS[self.method](x, spread(self.factor, axes)), state


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


def _check_factor(factor: Any) -> None:
    each = factor if isinstance(factor, tuple | list) else (factor,)
    if not 1 <= len(each) <= 3 or not all(map(checks.is_positive_int, each)):
        raise ValueError(
            f"Upsample: factor must be a positive int or pair, got {factor!r}; "
            "(2,) enlarges along one axis, (2, 2, 2) along three"
        )
