# SPDX-License-Identifier: Apache-2.0
"""Residual networks (He et al., 2015), and with pre-activation (He et al., 2016)."""

from functools import partial
from typing import Any

import jax

from jaxnn import checks
from jaxnn.core import Composite, Layer
from jaxnn.layers import BatchNorm, Conv, Dense, GlobalAvgPool, Identity, MaxPool
from jaxnn.layers.combine import Sequential
from jaxnn.messages.arguments import answered
from jaxnn.models.stages import check_depth, stage

#: Blocks of each stage by depth, and whether they are bottlenecks.
STAGES = {
    18: ((2, 2, 2, 2), False),
    34: ((3, 4, 6, 3), False),
    50: ((3, 4, 6, 3), True),
    101: ((3, 4, 23, 3), True),
    152: ((3, 8, 36, 3), True),
}


class BasicBlock(Composite):
    """Two convolutions and a skip connection: `y = relu(f(x) + shortcut(x))`."""

    conv1: Layer
    norm1: Layer
    conv2: Layer
    norm2: Layer
    shortcut: Layer = Identity()

    def forward(self, run, x):
        y = jax.nn.relu(run("norm1", run("conv1", x)))
        y = run("norm2", run("conv2", y))
        return jax.nn.relu(y + run("shortcut", x))


class Bottleneck(Composite):
    """Three convolutions, the middle one narrow, and a skip connection."""

    conv1: Layer
    norm1: Layer
    conv2: Layer
    norm2: Layer
    conv3: Layer
    norm3: Layer
    shortcut: Layer = Identity()

    def forward(self, run, x):
        y = jax.nn.relu(run("norm1", run("conv1", x)))
        y = jax.nn.relu(run("norm2", run("conv2", y)))
        y = run("norm3", run("conv3", y))
        return jax.nn.relu(y + run("shortcut", x))


class PreactivationBlock(Composite):
    """Norm and ReLU come before each convolution; the skip connection has neither.

    A shortcut that changes the shape starts after the first norm and ReLU.
    """

    norm1: Layer
    conv1: Layer
    norm2: Layer
    conv2: Layer
    shortcut: Layer = Identity()

    def forward(self, run, x):
        y = jax.nn.relu(run("norm1", x))
        around = x if self.shortcut == Identity() else run("shortcut", y)
        y = jax.nn.relu(run("norm2", run("conv1", y)))
        return run("conv2", y) + around


class PreactivationBottleneck(Composite):
    """Like `PreactivationBlock`, with three convolutions, the middle one narrow."""

    norm1: Layer
    conv1: Layer
    norm2: Layer
    conv2: Layer
    norm3: Layer
    conv3: Layer
    shortcut: Layer = Identity()

    def forward(self, run, x):
        y = jax.nn.relu(run("norm1", x))
        around = x if self.shortcut == Identity() else run("shortcut", y)
        y = jax.nn.relu(run("norm2", run("conv1", y)))
        y = jax.nn.relu(run("norm3", run("conv2", y)))
        return run("conv3", y) + around


@answered
def resnet(
    depth: int,
    classes: int = 1000,
    *,
    width: int = 64,
    preactivation: bool = False,
    repeat: bool = False,
) -> Sequential:
    """A residual network for large images.

    Parameters for images with three channels and 1000 classes, as in torchvision:
    11,689,512 (depth 18), 21,797,672 (34), 25,557,032 (50), 44,549,160 (101) and
    60,192,808 (152).  As there, the stride of a bottleneck is in its 3x3 convolution
    (in the paper, in the 1x1 before it).

    Args:
        depth: 18, 34, 50, 101 or 152 layers with weights; bottlenecks from 50 on.
        classes: the number of logits.
        width: features of the first stage's 3x3 convolutions; each of the three other
            stages doubles them.
        preactivation: whether norm and ReLU come before the convolutions (2016).
        repeat: whether the identical blocks of a stage, all but its first, run as one
            `Repeat`, so that compile time does not grow with depth (a training step on
            a CPU: 16 seconds for both 50 and 152 layers, instead of 10 and 29);
            `stack_blocks` and `unstack_blocks` convert parameters and state.

    Returns:
        A network from images `[N, H, W, C]` of any size to logits `[N, classes]`.

    Raises:
        ValueError: the depth is unknown, or a size is not a positive int.

    Reference: He, Zhang, Ren, Sun, Deep Residual Learning for Image Recognition, 2015;
    Identity Mappings in Deep Residual Networks, 2016.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> net = nn.models.resnet(50, classes=10, width=4)
    >>> images = jax.ShapeDtypeStruct((2, 32, 32, 3), jnp.float32)
    >>> params, state = jax.eval_shape(net.init, jax.random.key(0), images)
    >>> params["stage2"]["block3"]["conv1"]["w"].shape, params["head"]["w"].shape
    ((1, 1, 32, 8), (128, 10))
    """
    check_depth("resnet", depth, STAGES)
    for name, value in (("classes", classes), ("width", width)):
        checks.positive_int("resnet", name, value)
    counts, bottleneck = STAGES[depth]
    make = partial(block, bottleneck=bottleneck, preactivation=preactivation)
    stages = {}
    for i, blocks in enumerate(counts):
        features, stride = width * 2**i, 1 if i == 0 else 2
        wide = 4 * features if bottleneck else features
        changes = bottleneck or i > 0
        around = projection(wide, stride, preactivation) if changes else None
        first = make(features, stride, around)
        other = make(features)
        stages[f"stage{i + 1}"] = stage(first, other, blocks, repeat=repeat)
    activate: dict[str, Any] = {"norm1": BatchNorm(), "relu": jax.nn.relu}
    return Sequential(
        conv1=Conv(width, 7, stride=2, padding=3, bias=False),
        **({} if preactivation else activate),
        pool=MaxPool(3, stride=2, padding=1),
        **stages,
        **(activate if preactivation else {}),
        average=GlobalAvgPool(),
        head=Dense(classes),
    )


def block(
    features: int,
    stride: int = 1,
    shortcut: Layer | None = None,
    *,
    bottleneck: bool = False,
    preactivation: bool = False,
) -> Layer:
    """One residual block, of one of the four kinds.

    Args:
        features: those of its 3x3 convolutions; a bottleneck outputs four times as
            many.
        stride: that of its first 3x3 convolution.
        shortcut: the skip connection, which must change the shape as the convolutions
            do; None for the identity.
        bottleneck: whether to put one 3x3 convolution between two 1x1.
        preactivation: whether norm and ReLU come before the convolutions.

    >>> block(16).conv1
    Conv(16, kernel=3, padding=1, bias=False)
    """
    if bottleneck:
        kind = PreactivationBottleneck if preactivation else Bottleneck
        sizes = ((features, 1, 1), (features, 3, stride), (4 * features, 1, 1))
    else:
        kind = PreactivationBlock if preactivation else BasicBlock
        sizes = ((features, 3, stride), (features, 3, 1))
    convs = {f"conv{i}": _conv(*size) for i, size in enumerate(sizes, 1)}
    norms = {f"norm{i}": BatchNorm() for i in range(1, len(sizes) + 1)}
    return kind(**convs, **norms, shortcut=shortcut or Identity())


def projection(features: int, stride: int, preactivation: bool = False) -> Layer:
    """A shortcut that changes the shape: a 1x1 convolution followed by norm."""
    norm = {} if preactivation else {"norm": BatchNorm()}
    return Sequential(conv=_conv(features, 1, stride), **norm)


def _conv(features: int, kernel: int, stride: int) -> Conv:
    return Conv(features, kernel, stride=stride, padding=kernel // 2, bias=False)
