# SPDX-License-Identifier: Apache-2.0
"""LeNet-5 (LeCun et al., 1998)."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from jaxnn import checks
from jaxnn.layers import AvgPool, Conv, Dense, Flatten
from jaxnn.layers.combine import Sequential


def lenet5(
    classes: int = 10,
    *,
    activation: Callable[..., Any] = jnp.tanh,
    padding: str | int = "SAME",
) -> Sequential:
    """LeNet-5: two convolutions of 5x5, each with subsampling, and three dense layers.

    61,706 parameters for 28x28 images with one channel and ten classes.  The paper's
    subsampling (an average with its own gain), sparse connections and radial basis
    outputs are replaced by today's average pooling, full connections and logits.

    Args:
        classes: the number of logits.
        activation: the nonlinearity; tanh in the paper.
        padding: that of the first convolution: "SAME" for 28x28 images as in MNIST,
            "VALID" for 32x32 as in the paper. Other sizes work too, from 12 pixels a
            side.

    Returns:
        A network from images `[N, H, W, C]` to logits `[N, classes]`.

    Raises:
        ValueError: `classes` is not a positive int; when called, if images are too
            small.

    Reference: LeCun, Bottou, Bengio, Haffner, Gradient-Based Learning Applied to
    Document Recognition, 1998.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> net, images = nn.models.lenet5(), jnp.ones((2, 28, 28, 1))
    >>> params, state = net.init(jax.random.key(0), images)
    >>> nn.trees.count(params), net.apply(params, state, images)[0].shape
    (61706, (2, 10))
    """
    checks.positive_int("lenet5", "classes", classes)
    return Sequential(
        conv1=Conv(6, 5, padding=padding),
        activation1=activation,
        pool1=AvgPool(2),
        conv2=Conv(16, 5, padding="VALID"),
        activation2=activation,
        pool2=AvgPool(2),
        flatten=Flatten(),
        dense1=Dense(120),
        activation3=activation,
        dense2=Dense(84),
        activation4=activation,
        head=Dense(classes),
    )
