# SPDX-License-Identifier: Apache-2.0
"""U-Net (Ronneberger et al., 2015)."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxnn import checks
from jaxnn.layers import BatchNorm, Conv, ConvTranspose, MaxPool
from jaxnn.layers.combine import Listed, Sequential
from jaxnn.messages.arguments import answered
from jaxnn.messages.phrases import describe


class UNet(Listed):
    """A contracting and an expanding path, with a skip connection at each level.

    Args:
        depth: the number of levels above the bottom.
        layers: `down1` ... `pool1` ..., `bottom`, `widen1` ..., `up1` ..., `head`; the
            number is the level, with 1 at the top.
    """

    depth: int

    def __init__(self, depth: int, **layers: Any):
        object.__setattr__(self, "depth", depth)
        self._list((), layers)

    def forward(self, run, x):
        _check_sides(x, self.depth)
        bridges = []
        for level in range(1, self.depth + 1):
            bridges.append(run(f"down{level}", x))
            x = run(f"pool{level}", bridges[-1])
        x = run("bottom", x)
        for level in range(self.depth, 0, -1):
            x = jnp.concatenate([bridges.pop(), run(f"widen{level}", x)], axis=-1)
            x = run(f"up{level}", x)
        return run("head", x)

    def __repr__(self) -> str:
        return f"UNet({', '.join([str(self.depth), *self._arguments()])})"


def _check_sides(x: Any, depth: int) -> None:
    sides, factor = getattr(x, "shape", ())[1:-1], 2**depth
    if any(side % factor for side in sides):
        fit = "x".join(str(-(-side // factor) * factor) for side in sides)
        raise ValueError(
            f"unet: the sides of images must be divisible by {factor} (2^depth), got "
            f"{describe(x)}; pad them to {fit}, or build it with a smaller depth"
        )


@answered
def unet(
    classes: int,
    *,
    depth: int = 4,
    width: int = 64,
    batch_norm: bool = False,
) -> UNet:
    """U-Net: from an image to a map of logits, with a skip connection at each level.

    31,030,658 parameters for images with one channel and two classes, as in the paper.
    The paper's convolutions are unpadded; here they keep the size of the image
    ("SAME"), so that every pixel gets logits and nothing has to be cropped.

    Args:
        classes: the number of logits per pixel; 1 for a mask (`sigmoid_cross_entropy`).
        depth: how many times the image is halved; its sides must be divisible by
            2^depth.
        width: features at the top; each level down has twice as many.
        batch_norm: whether each 3x3 convolution is followed by batch norm.

    Returns:
        A network from images `[N, H, W, C]` to logits `[N, H, W, classes]`.

    Raises:
        ValueError: a size is not a positive int; when called, if a side of the images
            is not divisible by 2^depth.

    Reference: Ronneberger, Fischer, Brox, U-Net: Convolutional Networks for Biomedical
    Image Segmentation, 2015.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> net = nn.models.unet(2, depth=2, width=4)
    >>> images = jax.ShapeDtypeStruct((1, 32, 48, 1), jnp.float32)
    >>> params, state = jax.eval_shape(net.init, jax.random.key(0), images)
    >>> y, _ = jax.eval_shape(net.apply, params, state, images)
    >>> y.shape, params["bottom"]["conv2"]["w"].shape
    ((1, 32, 48, 2), (3, 3, 16, 16))
    """
    for name, value in (("classes", classes), ("depth", depth), ("width", width)):
        checks.positive_int("unet", name, value)
    features = {level: width * 2 ** (level - 1) for level in range(1, depth + 2)}
    levels = range(1, depth + 1)
    layers: dict[str, Any] = {}
    for level in levels:
        layers[f"down{level}"] = _twice(features[level], batch_norm)
        layers[f"pool{level}"] = MaxPool(2)
    layers["bottom"] = _twice(features[depth + 1], batch_norm)
    for level in reversed(levels):
        layers[f"widen{level}"] = ConvTranspose(features[level], 2, stride=2)
        layers[f"up{level}"] = _twice(features[level], batch_norm)
    return UNet(depth, **layers, head=Conv(classes, 1))


def _twice(features: int, batch_norm: bool) -> Sequential:
    layers: dict[str, Any] = {}
    for i in (1, 2):
        layers[f"conv{i}"] = Conv(features, 3, bias=not batch_norm)
        if batch_norm:
            layers[f"norm{i}"] = BatchNorm()
        layers[f"relu{i}"] = jax.nn.relu
    return Sequential(**layers)
