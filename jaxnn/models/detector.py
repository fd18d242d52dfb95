# SPDX-License-Identifier: Apache-2.0
"""A one-stage detector without anchors (Tian et al., 2019)."""

import math
from typing import Any

import jax
import jax.numpy as jnp

from jaxnn import checks, initializers
from jaxnn.core import Composite, Layer
from jaxnn.layers import BatchNorm, Conv, GroupNorm, Upsample
from jaxnn.layers.combine import Sequential
from jaxnn.messages.arguments import answered
from jaxnn.models.resnet import block, projection
from jaxnn.models.stages import stage
from jaxnn.ops.boxes import non_maximum_suppression

#: The strides of the grids on which boxes are predicted.
STRIDES = (8, 16, 32)
#: What a class's score is at first, so that the many empty points cost little.
PRIOR = 0.01


class Detector(Composite):
    """A backbone, a feature pyramid and a head that all its levels share.

    `nn.models.detector` builds it.
    """

    stem: Layer
    stage1: Layer
    stage2: Layer
    stage3: Layer
    stage4: Layer
    side2: Layer
    side3: Layer
    side4: Layer
    up: Layer
    smooth2: Layer
    smooth3: Layer
    classes_tower: Layer
    boxes_tower: Layer
    logits: Layer
    distances: Layer

    def forward(self, run, x):
        y = run("stage1", run("stem", x))
        levels = []
        for i in (2, 3, 4):
            y = run(f"stage{i}", y)
            levels.append(run(f"side{i}", y))
        for i in (1, 0):
            _, height, width, _ = levels[i].shape
            above = run("up", levels[i + 1])[:, :height, :width]  # sides are rounded up
            levels[i] = run(f"smooth{i + 2}", levels[i] + above)
        parts = [
            self._predict(run, y, stride)
            for y, stride in zip(levels, STRIDES, strict=True)
        ]
        joined = (jnp.concatenate(part, 1) for part in zip(*parts, strict=True))
        logits, boxes, points = joined
        _, height, width, _ = x.shape
        limits = jnp.array([[[width, height] * 2]], boxes.dtype)
        return {"logits": logits, "boxes": jnp.clip(boxes, 0, limits), "points": points}

    def _predict(self, run, y, stride):
        """Logits, boxes and points of one level."""
        n, height, width, _ = y.shape
        logits = run("logits", run("classes_tower", y))
        reach = jax.nn.softplus(run("distances", run("boxes_tower", y))) * stride
        rows, columns = jnp.indices((height, width), y.dtype)
        at = jnp.stack([columns + 0.5, rows + 0.5], -1) * stride
        at = jnp.broadcast_to(at, (n, *at.shape))
        boxes = jnp.concatenate([at - reach[..., :2], at + reach[..., 2:]], -1)
        points = jnp.concatenate([at, jnp.full_like(at[..., :1], stride)], -1)
        return [a.reshape(n, height * width, -1) for a in (logits, boxes, points)]


@answered
def detector(
    classes: int, *, width: int = 32, blocks: int = 2, tower: int = 2
) -> Detector:
    """A one-stage detector without anchors: every point of three grids says a box.

    A residual backbone, a feature pyramid with strides of 8, 16 and 32 pixels, and a
    head of two towers that the three levels share. Each point gives the distances to
    the four sides of a box, and for each class how good a box of that class it is (as
    in Li et al., in place of a branch for that). `nn.losses.detection` trains it, and
    `nn.models.detections` makes its outputs into a list of boxes.

    Args:
        classes: C, the number of classes.
        width: the features of the first stage; the others have two, four and eight
            times as many, and pyramid and head twice as many. A multiple of 4.
        blocks: the residual blocks of each stage.
        tower: the convolutions of each tower.

    Returns:
        A network from images `[N, H, W, C]` of any size to a dict of `logits`
        `[N, L, C]`, `boxes` `[N, L, 4]` (corners x0, y0, x1, y1 in pixels, within the
        image) and `points` `[N, L, 3]` (x, y and the stride of the grid).

    Raises:
        ValueError: a size is not a positive int, or width not a multiple of 4.

    Reference: Tian et al., FCOS: Fully Convolutional One-Stage Object Detection, 2019;
    Lin et al., Feature Pyramid Networks, 2017; Li et al., Generalized Focal Loss, 2020.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> net, x = nn.models.detector(3, width=8), jnp.zeros((1, 64, 96, 3))
    >>> outputs, _ = net.apply(*net.init(jax.random.key(0), x), x)
    >>> {name: outputs[name].shape for name in ("logits", "boxes")}
    {'logits': (1, 126, 3), 'boxes': (1, 126, 4)}
    """
    sizes = {"classes": classes, "width": width, "blocks": blocks, "tower": tower}
    for name, value in sizes.items():
        checks.positive_int("detector", name, value)
    if width % 4:
        raise ValueError(f"detector: width must be a multiple of 4, got {width}")
    features, layers = 2 * width, {}
    layers["stem"] = Sequential(
        conv=Conv(width, 3, stride=2, padding=1, bias=False),
        norm=BatchNorm(),
        relu=jax.nn.relu,
    )
    for i in range(1, 5):
        wide = width * 2 ** (i - 1)
        first = block(wide, 2, projection(wide, 2))
        layers[f"stage{i}"] = stage(first, block(wide), blocks, repeat=False)
    for i in (2, 3, 4):
        layers[f"side{i}"] = Conv(features, 1)
    for i in (2, 3):
        layers[f"smooth{i}"] = Conv(features, 3)
    small = initializers.normal(0.01)
    prior = initializers.constant(math.log(PRIOR / (1 - PRIOR)))
    return Detector(
        **layers,
        up=Upsample(2),
        classes_tower=_tower(features, tower),
        boxes_tower=_tower(features, tower),
        logits=Conv(classes, 3, w_init=small, b_init=prior),
        distances=Conv(4, 3, w_init=small, b_init=initializers.constant(2.0)),
    )


def detections(
    outputs: Any, *, most: int = 100, score: float = 0.05, threshold: float = 0.6
) -> dict[str, jax.Array]:
    """The boxes that a detector found, best first, as arrays of a fixed size.

    Of all points and classes those with the best scores (three times `most`) are
    taken, and what overlaps a better one of its class is removed.

    Args:
        outputs: of a `detector`.
        most: K, the number of boxes of a picture at most.
        score: the score below which a box is left out, from 0 to 1.
        threshold: the IoU above which the box with the lower score is removed.

    Returns:
        A dict of `boxes` `[N, K, 4]`, `scores` `[N, K]` and `classes` int32 `[N, K]`;
        where there is no box, the score is 0 and the class -1.

    >>> import jax.numpy as jnp, jaxnn as nn
    >>> outputs = {"logits": jnp.array([[[2.0], [1.0]]]), "boxes": jnp.ones((1, 2, 4))}
    >>> found = nn.models.detections(outputs, most=2)
    >>> found["boxes"].shape, found["classes"].tolist()
    ((1, 2, 4), [[0, 0]])
    """
    checks.positive_int("detections", "most", most)

    def one(logits, boxes):
        scores = jax.nn.sigmoid(logits.astype(jnp.float32))
        kinds = logits.shape[-1]
        best, place = jax.lax.top_k(scores.ravel(), min(3 * most, scores.size))
        best = jnp.where(best >= score, best, 0)
        own, kind = boxes[place // kinds].astype(jnp.float32), place % kinds
        kept = non_maximum_suppression(own, best, kind, threshold=threshold)
        best, order = jax.lax.top_k(jnp.where(kept, best, 0), min(most, len(best)))
        own = jnp.where((best > 0)[:, None], own[order], 0)
        kind = jnp.where(best > 0, kind[order], -1)
        return {"boxes": own, "scores": best, "classes": kind.astype(jnp.int32)}

    return jax.vmap(one)(outputs["logits"], outputs["boxes"])


def _tower(features: int, depth: int) -> Sequential:
    layers: dict[str, Any] = {}
    for i in range(1, depth + 1):
        layers[f"conv{i}"] = Conv(features, 3, bias=False)
        layers[f"norm{i}"] = GroupNorm(8)
        layers[f"relu{i}"] = jax.nn.relu
    return Sequential(**layers)
