# SPDX-License-Identifier: Apache-2.0
"""GoogLeNet, or Inception v1 (Szegedy et al., 2014), with batch norm."""

from typing import Any

import jax

from jaxnn import checks
from jaxnn.core import Layer
from jaxnn.layers import (
    AdaptiveAvgPool,
    BatchNorm,
    Conv,
    Dense,
    Dropout,
    Flatten,
    GlobalAvgPool,
    MaxPool,
)
from jaxnn.layers.combine import Concat, Listed, Sequential
from jaxnn.messages.arguments import answered
from jaxnn.models.auxiliary import Outputs

#: Features: 1x1; the 1x1 before 3x3, 3x3; the 1x1 before 5x5, 5x5; pooled.
INCEPTIONS = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}


class GoogLeNet(Listed):
    """Layers in sequence; those named `auxiliary...` are side classifiers.

    They take the output of the layer before them, in training only, and the outputs are
    then `Outputs(main, auxiliary)`.

    Args:
        layers: the layers by name, in order.
    """

    def __init__(self, **layers: Any):
        self._list((), layers)

    def forward(self, run, x):
        auxiliary = []
        for name, _ in self.layers:
            if not name.startswith("auxiliary"):
                x = run(name, x)
            elif run.train:
                auxiliary.append(run(name, x))
        return Outputs(x, tuple(auxiliary)) if auxiliary else x


@answered
def googlenet(
    classes: int = 1000,
    *,
    auxiliary: bool = True,
    width: int = 64,
    rate: float = 0.2,
    auxiliary_rate: float = 0.7,
) -> GoogLeNet:
    """GoogLeNet: nine inception modules, each with four parallel branches.

    13,004,888 parameters for images with three channels and 1000 classes, 6,624,904 of
    them without the auxiliary classifiers.  As in torchvision, batch norm (eps 0.001)
    after each convolution replaces local response normalization, and 3x3 convolutions
    replace 5x5 ones.

    Args:
        classes: the number of logits.
        auxiliary: whether to add two intermediate classifiers for training. Outputs are
            then `Outputs(main, auxiliary)` in training, and the main logits alone in
            evaluation; `with_auxiliary` makes a loss and metrics for both.
        width: features of the first convolution; all others scale in proportion.
        rate: dropout probability before the head.
        auxiliary_rate: the same in the auxiliary classifiers.

    Returns:
        A network from images `[N, H, W, C]` of any size to logits `[N, classes]`.

    Raises:
        ValueError: a size is not a positive int.

    Reference: Szegedy et al., Going Deeper with Convolutions, 2014.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> net = nn.models.googlenet(10, width=8)
    >>> images = jax.ShapeDtypeStruct((2, 32, 32, 3), jnp.float32)
    >>> params, state = jax.eval_shape(net.init, jax.random.key(0), images)
    >>> params["inception4a"]["branch2"]["conv2"]["conv"]["w"].shape
    (3, 3, 12, 26)
    """
    for name, value in (("classes", classes), ("width", width)):
        checks.positive_int("googlenet", name, value)

    def part(features: int) -> int:
        return max(features * width // 64, 1)

    def inception(name: str) -> Concat:
        return _inception(*map(part, INCEPTIONS[name]))

    def aside(name: str) -> dict[str, Layer]:
        layer = _classifier(classes, part(128), part(1024), auxiliary_rate)
        return {name: layer} if auxiliary else {}

    return GoogLeNet(
        conv1=_conv(part(64), 7, stride=2),
        pool1=MaxPool(3, stride=2, ceil_mode=True),
        conv2=_conv(part(64), 1),
        conv3=_conv(part(192), 3),
        pool2=MaxPool(3, stride=2, ceil_mode=True),
        inception3a=inception("3a"),
        inception3b=inception("3b"),
        pool3=MaxPool(3, stride=2, ceil_mode=True),
        inception4a=inception("4a"),
        **aside("auxiliary1"),
        inception4b=inception("4b"),
        inception4c=inception("4c"),
        inception4d=inception("4d"),
        **aside("auxiliary2"),
        inception4e=inception("4e"),
        pool4=MaxPool(2, ceil_mode=True),
        inception5a=inception("5a"),
        inception5b=inception("5b"),
        average=GlobalAvgPool(),
        dropout=Dropout(rate),
        head=Dense(classes),
    )


def _conv(features: int, kernel: int, stride: int = 1) -> Sequential:
    return Sequential(
        conv=Conv(features, kernel, stride=stride, padding=kernel // 2, bias=False),
        norm=BatchNorm(eps=1e-3),
        relu=jax.nn.relu,
    )


def _inception(one, before_three, three, before_five, five, pooled) -> Concat:
    # torchvision has 3x3 in place of the paper's 5x5 convolution: its weights need it.
    return Concat(
        branch1=_conv(one, 1),
        branch2=Sequential(conv1=_conv(before_three, 1), conv2=_conv(three, 3)),
        branch3=Sequential(conv1=_conv(before_five, 1), conv2=_conv(five, 3)),
        branch4=Sequential(
            pool=MaxPool(3, stride=1, padding=1, ceil_mode=True), conv=_conv(pooled, 1)
        ),
    )


def _classifier(classes: int, features: int, hidden: int, rate: float) -> Sequential:
    return Sequential(
        average=AdaptiveAvgPool(4),
        conv=_conv(features, 1),
        flatten=Flatten(),
        dense1=Dense(hidden),
        relu=jax.nn.relu,
        dropout=Dropout(rate),
        head=Dense(classes),
    )
