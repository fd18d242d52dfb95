# SPDX-License-Identifier: Apache-2.0
"""VGG (Simonyan and Zisserman, 2014)."""

from typing import Any

import jax

from jaxnn import checks
from jaxnn.layers import (
    AdaptiveAvgPool,
    BatchNorm,
    Conv,
    Dense,
    Dropout,
    Flatten,
    MaxPool,
)
from jaxnn.layers.combine import Sequential
from jaxnn.messages.arguments import answered
from jaxnn.models.stages import check_depth

#: Convolutions of each stage by depth; the depth also counts three dense layers.
STAGES = {
    11: (1, 1, 2, 2, 2),
    13: (2, 2, 2, 2, 2),
    16: (2, 2, 3, 3, 3),
    19: (2, 2, 4, 4, 4),
}


@answered
def vgg(
    depth: int,
    classes: int = 1000,
    *,
    batch_norm: bool = False,
    width: int = 64,
    hidden: int = 4096,
    rate: float = 0.5,
) -> Sequential:
    """VGG: stages of 3x3 convolutions, each halved by max pooling, and dense layers.

    Parameters for images with three channels and 1000 classes, as in torchvision:
    132,863,336 (depth 11), 133,047,848 (13), 138,357,544 (16) and 143,667,240 (19);
    with batch norm 132,868,840, 133,053,736, 138,365,992 and 143,678,248.

    Args:
        depth: 11, 13, 16 or 19 layers with weights; A, B, D and E in the paper.
        classes: the number of logits.
        batch_norm: whether each convolution is followed by batch norm.
        width: features of the first stage; the others have 2, 4, 8 and 8 times as many.
        hidden: features of the two hidden dense layers.
        rate: dropout probability after each of them.

    Returns:
        A network from images `[N, H, W, C]`, of 32 pixels a side or more, to logits
        `[N, classes]`. 224x224 gives 7x7 maps before the dense layers; maps of other
        sizes are pooled to 7x7.

    Raises:
        ValueError: the depth is unknown or a size is not a positive int; when called,
            if images are too small.

    Reference: Simonyan, Zisserman, Very Deep Convolutional Networks for Large-Scale
    Image Recognition, 2014.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> net = nn.models.vgg(16, classes=10, width=4, hidden=16)
    >>> images = jax.ShapeDtypeStruct((2, 32, 32, 3), jnp.float32)
    >>> params, state = jax.eval_shape(net.init, jax.random.key(0), images)
    >>> params["stage5"]["conv3"]["w"].shape, params["dense1"]["w"].shape
    ((3, 3, 32, 32), (1568, 16))
    """
    check_depth("vgg", depth, STAGES)
    for name, value in (("classes", classes), ("width", width), ("hidden", hidden)):
        checks.positive_int("vgg", name, value)
    stages = {
        f"stage{i}": _stage(convs, min(2 ** (i - 1), 8) * width, batch_norm)
        for i, convs in enumerate(STAGES[depth], 1)
    }
    return Sequential(
        **stages,
        average=AdaptiveAvgPool(7),
        flatten=Flatten(),
        dense1=Dense(hidden),
        relu1=jax.nn.relu,
        dropout1=Dropout(rate),
        dense2=Dense(hidden),
        relu2=jax.nn.relu,
        dropout2=Dropout(rate),
        head=Dense(classes),
    )


def _stage(convs: int, features: int, batch_norm: bool) -> Sequential:
    layers: dict[str, Any] = {}
    for i in range(1, convs + 1):
        layers[f"conv{i}"] = Conv(features, 3, padding=1)
        if batch_norm:
            layers[f"norm{i}"] = BatchNorm()
        layers[f"relu{i}"] = jax.nn.relu
    return Sequential(**layers, pool=MaxPool(2))
