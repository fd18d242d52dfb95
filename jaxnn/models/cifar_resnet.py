# SPDX-License-Identifier: Apache-2.0
"""Residual networks for small images (He et al., 2015, section 4.2)."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from jaxnn import checks
from jaxnn.core import Layer
from jaxnn.layers import BatchNorm, Conv, Dense, GlobalAvgPool
from jaxnn.layers.combine import Sequential
from jaxnn.messages.arguments import answered
from jaxnn.models.resnet import block, projection
from jaxnn.models.stages import stage


class PadShortcut(Layer):
    """A shortcut without parameters: every second pixel, and zeros as new channels.

    Option A of He et al., 2015. Half of the new channels come before the old ones and
    half after.

    Args:
        features: the number of output channels.
        stride: keep one of this many pixels along each axis.

    >>> import jax.numpy as jnp, jaxnn as nn
    >>> layer, x = nn.models.PadShortcut(4, 2), jnp.ones((1, 2, 2, 2))
    >>> layer.apply({}, {}, x)[0].tolist()
    [[[[0.0, 1.0, 1.0, 0.0]]]]
    """

    with_lengths = "mixes"
    features: int
    stride: int = 2

    def __post_init__(self):
        checks.positive_int("PadShortcut", "features", self.features)
        checks.positive_int("PadShortcut", "stride", self.stride)

    def apply(self, params, state, x, *, key=None, train=False):
        new = self.features - x.shape[-1]
        if new < 0:
            raise ValueError(
                f"PadShortcut: features must be at least the {x.shape[-1]} channels of "
                f"its input, got {self.features}"
            )
        step = slice(None, None, self.stride)
        pads = [(0, 0)] * (x.ndim - 1) + [(new // 2, new - new // 2)]
        return jnp.pad(x[:, *[step] * (x.ndim - 2)], pads), state


@answered
def cifar_resnet(
    depth: int = 20,
    classes: int = 10,
    width: int = 16,
    *,
    shortcut: str = "pad",
    preactivation: bool = False,
    repeat: bool = False,
) -> Sequential:
    """A residual network for 32x32 images: three stages of n blocks, 6n + 2 layers.

    Parameters for images with three channels and ten classes: 269,722 (depth 20),
    464,154 (32), 658,586 (44), 853,018 (56) and 1,727,962 (110).

    Args:
        depth: 6n + 2 layers with weights: 20, 32, 44, 56, 110.
        classes: the number of logits.
        width: features of the first stage; the others have two and four times as many.
        shortcut: where the shape changes, "pad" (option A of the paper: every second
            pixel, and zeros as new channels) or "projection" (option B: a 1x1
            convolution with norm).
        preactivation: whether norm and ReLU come before the convolutions (2016).
        repeat: whether the identical blocks of a stage, all but its first, run as one
            `Repeat`, so that compile time does not grow with depth; `stack_blocks` and
            `unstack_blocks` convert parameters and state.

    Returns:
        A network from images `[N, H, W, C]` of any size to logits `[N, classes]`.

    Raises:
        ValueError: depth is not 6n + 2, the shortcut is unknown, or a size is not a
            positive int.

    Reference: He, Zhang, Ren, Sun, Deep Residual Learning for Image Recognition, 2015.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> net, images = nn.models.cifar_resnet(20), jnp.ones((2, 32, 32, 3))
    >>> params, state = jax.eval_shape(net.init, jax.random.key(0), images)
    >>> nn.trees.count(params), params["stage3"]["block1"]["conv1"]["w"].shape
    (269722, (3, 3, 32, 64))
    """
    for name, value in (("depth", depth), ("classes", classes), ("width", width)):
        checks.positive_int("cifar_resnet", name, value)
    if depth % 6 != 2 or depth < 8:
        raise ValueError(
            f"cifar_resnet: depth must be 6n + 2 (20, 32, 44, 56, 110), got {depth}"
        )
    if shortcut not in ("pad", "projection"):
        raise ValueError(
            f'cifar_resnet: shortcut must be "pad" or "projection", got {shortcut!r}'
        )
    make, stages = partial(block, preactivation=preactivation), {}
    for i in range(3):
        features, stride = width * 2**i, 1 if i == 0 else 2
        around = None
        if i > 0 and shortcut == "pad":
            around = PadShortcut(features, stride)
        elif i > 0:
            around = projection(features, stride, preactivation)
        first, other = make(features, stride, around), make(features)
        stages[f"stage{i + 1}"] = stage(first, other, (depth - 2) // 6, repeat=repeat)
    activate: dict[str, Any] = {"norm1": BatchNorm(), "relu": jax.nn.relu}
    return Sequential(
        conv1=Conv(width, 3, padding=1, bias=False),
        **({} if preactivation else activate),
        **stages,
        **(activate if preactivation else {}),
        average=GlobalAvgPool(),
        head=Dense(classes),
    )
