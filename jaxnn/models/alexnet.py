# SPDX-License-Identifier: Apache-2.0
"""AlexNet (Krizhevsky et al., 2012), and its form for one processor (2014)."""

from functools import partial
from typing import Any

import jax

from jaxnn import checks
from jaxnn.layers import (
    AdaptiveAvgPool,
    Conv,
    Dense,
    Dropout,
    Flatten,
    LocalResponseNorm,
    MaxPool,
)
from jaxnn.layers.combine import Sequential
from jaxnn.messages.arguments import answered


@answered
def alexnet(
    classes: int = 1000,
    *,
    original: bool = False,
    width: int = 64,
    hidden: int = 4096,
    rate: float = 0.5,
) -> Sequential:
    """AlexNet: five convolutions and three dense layers.

    By default the form for one processor, as in torchvision: 61,100,840 parameters for
    images with three channels and 1000 classes.  The 2012 version has 60,965,224: more
    features in the first layer, convolutions in two groups (one per processor) and
    local response normalization.

    Args:
        classes: the number of logits.
        original: whether to build the 2012 version.
        width: features of the first convolution; the others scale in proportion. (The
            2012 version has half as many again there: 96.)
        hidden: features of the two hidden dense layers.
        rate: dropout probability before each of them.

    Returns:
        A network from images `[N, H, W, C]`, of 63 pixels a side or more, to logits
        `[N, classes]`. 224x224 gives 6x6 maps before the dense layers; maps of other
        sizes are pooled to 6x6.

    Raises:
        ValueError: a size is not a positive int; when called, if images are too small.

    Reference: Krizhevsky, Sutskever, Hinton, ImageNet Classification with Deep
    Convolutional Neural Networks, 2012; Krizhevsky, One Weird Trick for Parallelizing
    Convolutional Neural Networks, 2014.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> net = nn.models.alexnet(10, width=4, hidden=16)
    >>> images = jax.ShapeDtypeStruct((2, 64, 64, 3), jnp.float32)
    >>> params, state = jax.eval_shape(net.init, jax.random.key(0), images)
    >>> params["conv1"]["w"].shape, params["head"]["w"].shape
    ((11, 11, 3, 4), (16, 10))
    """
    for name, value in (("classes", classes), ("width", width), ("hidden", hidden)):
        checks.positive_int("alexnet", name, value)
    features = _features_2012(width) if original else _features(width)
    return Sequential(
        **features,
        average=AdaptiveAvgPool(6),
        flatten=Flatten(),
        dropout1=Dropout(rate),
        dense1=Dense(hidden),
        relu6=jax.nn.relu,
        dropout2=Dropout(rate),
        dense2=Dense(hidden),
        relu7=jax.nn.relu,
        head=Dense(classes),
    )


def _features(width: int) -> dict[str, Any]:
    return {
        "conv1": Conv(width, 11, stride=4, padding=2),
        "relu1": jax.nn.relu,
        "pool1": MaxPool(3, stride=2),
        "conv2": Conv(3 * width, 5, padding=2),
        "relu2": jax.nn.relu,
        "pool2": MaxPool(3, stride=2),
        "conv3": Conv(6 * width, 3, padding=1),
        "relu3": jax.nn.relu,
        "conv4": Conv(4 * width, 3, padding=1),
        "relu4": jax.nn.relu,
        "conv5": Conv(4 * width, 3, padding=1),
        "relu5": jax.nn.relu,
        "pool5": MaxPool(3, stride=2),
    }


def _features_2012(width: int) -> dict[str, Any]:
    # The paper adds α Σ x² over 5 neighbors where the layer adds their mean: α is 5e-4.
    normalize = partial(LocalResponseNorm, 5, alpha=5e-4, beta=0.75, k=2.0)
    return {
        "conv1": Conv(3 * width // 2, 11, stride=4, padding=2),
        "relu1": jax.nn.relu,
        "norm1": normalize(),
        "pool1": MaxPool(3, stride=2),
        "conv2": Conv(4 * width, 5, padding=2, groups=2),
        "relu2": jax.nn.relu,
        "norm2": normalize(),
        "pool2": MaxPool(3, stride=2),
        "conv3": Conv(6 * width, 3, padding=1),
        "relu3": jax.nn.relu,
        "conv4": Conv(6 * width, 3, padding=1, groups=2),
        "relu4": jax.nn.relu,
        "conv5": Conv(4 * width, 3, padding=1, groups=2),
        "relu5": jax.nn.relu,
        "pool5": MaxPool(3, stride=2),
    }
