# SPDX-License-Identifier: Apache-2.0
"""Losses of boxes, and of a detector's outputs: `loss(outputs, targets) -> [N]`."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike

from jaxnn import checks
from jaxnn.losses.contracts import expects
from jaxnn.losses.pairs import mean_each, number_pair
from jaxnn.messages.phrases import describe, place_of
from jaxnn.ops import boxes as geometry
from jaxnn.ops.sigmoid import sigmoid_surprise

#: A box belongs to the finest grid of which it spans at most this many strides.
REACH = 8
#: A point learns a box whose center is at most this many strides away.
NEAR = 1.5
#: The weight of the boxes' loss beside that of the classes.
OF_BOXES = 2.0


@expects(outputs="any", targets="numbers")
def iou(outputs: ArrayLike, targets: ArrayLike) -> jax.Array:
    """Mean of 1 − IoU of predicted and true boxes.

    Its gradient is 0 where the boxes do not meet; that of `generalized_iou` is not.

    Args: outputs and targets, both [N, 4] or [N, ..., 4]: corners x0, y0, x1, y1.
    Returns: [N]. Raises: ValueError if the shapes differ or the last axis is not 4.
    Example:
        >>> y, t = jnp.array([[0.0, 0.0, 2.0, 2.0]]), jnp.array([[0.0, 0.0, 2.0, 1.0]])
        >>> print(iou(y, t))
        [0.5]
    """
    return _of_overlap("iou", geometry.iou, outputs, targets)


@expects(outputs="any", targets="numbers")
def generalized_iou(outputs: ArrayLike, targets: ArrayLike) -> jax.Array:
    """Mean of 1 − GIoU of predicted and true boxes, from 0 to 2.

    Args: outputs and targets, both [N, 4] or [N, ..., 4]: corners x0, y0, x1, y1.
    Returns: [N]. Raises: ValueError if the shapes differ or the last axis is not 4.
    Example:
        >>> y, t = jnp.array([[0.0, 0.0, 1.0, 1.0]]), jnp.array([[3.0, 0.0, 4.0, 1.0]])
        >>> print(generalized_iou(y, t))
        [1.5]

    Reference: Rezatofighi et al., Generalized Intersection over Union, 2019.
    """
    return _of_overlap("generalized_iou", geometry.generalized_iou, outputs, targets)


def _of_overlap(name: str, measure: Any, outputs: Any, targets: Any) -> jax.Array:
    y, t, dtype = number_pair(name, outputs, targets)
    if y.ndim < 2 or y.shape[-1] != 4:
        raise ValueError(f"{name}: boxes must be [N, ..., 4], got {describe(y)}")
    return mean_each(1 - measure(y, t), dtype)


@expects(outputs="any", targets="none")
def detection(outputs: Any, targets: Any) -> jax.Array:
    """Loss of `nn.models.detector`: focal for the classes, GIoU for the boxes.

    A point learns a true box if the point is in it and at most 1.5 strides from its
    center, and if its grid is the finest of which the box spans at most 8 strides; of
    several such boxes it learns the smallest. It is to predict the box, and for the
    box's class the IoU of that prediction with it; all other classes are to be 0. With
    P points that learn a box, the value is (Σ focal + 2 Σ (1 − GIoU)) / max(P, 1): a
    picture without boxes counts too.

    Args:
        outputs: of `nn.models.detector`: a dict of logits [N, L, C], boxes [N, L, 4]
            and points [N, L, 3].
        targets: `{"boxes": [N, M, 4], "classes": [N, M]}`, the class -1 where there is
            no box; see `nn.data.boxes`.
    Returns: [N].
    Raises: ValueError if a class is C or more. Inside `jax.jit`, where the values are
        not known, its picture gives NaN.
    Example:
        >>> import jaxnn as nn
        >>> net, x = nn.models.detector(3, width=8), jnp.zeros((1, 64, 64, 3))
        >>> outputs, _ = net.apply(*net.init(jax.random.key(0), x), x)
        >>> targets = nn.data.boxes.pad([[[8, 8, 40, 32]]], [[1]])
        >>> detection(outputs, targets).shape
        (1,)

    Reference: Tian et al., FCOS: Fully Convolutional One-Stage Object Detection, 2019,
    for the points; Li et al., Generalized Focal Loss, 2020, for the IoU as the target.
    """
    logits, boxes, points = (outputs[name] for name in ("logits", "boxes", "points"))
    wide = jnp.promote_types(logits.dtype, jnp.float32)
    z, y = logits.astype(wide), boxes.astype(wide)
    kinds = z.shape[-1]
    checks.values(functools.partial(_check_kinds, kinds), targets["classes"])
    true, classes = jnp.asarray(targets["boxes"]), jnp.asarray(targets["classes"])
    chosen, learns = jax.vmap(assign)(points, true, classes)
    box = jnp.take_along_axis(true, chosen[..., None], 1).astype(wide)
    kind = jnp.take_along_axis(classes, chosen, 1)
    quality = jnp.where(learns, lax.stop_gradient(geometry.iou(y, box)), 0)
    wanted = jax.nn.one_hot(kind, kinds, dtype=wide) * quality[..., None]
    of_classes = _quality_focal(z, wanted).sum((1, 2))
    # (a point that learns no box keeps a box of its own, so that its slope is finite)
    box = jnp.where(learns[..., None], box, lax.stop_gradient(y))
    apart = jnp.where(learns, 1 - geometry.generalized_iou(y, box), 0).sum(1)
    count = jnp.maximum(learns.sum(1), 1).astype(wide)
    # Multiply, so that the gradient is NaN too and a bad step does not go unnoticed.
    of_classes *= jnp.where((classes < kinds).all(1), 1.0, jnp.nan)
    return ((of_classes + OF_BOXES * apart) / count).astype(logits.dtype)


def _check_kinds(kinds: int, classes: Any) -> None:
    """Raise unless all classes are of the outputs; below 0 there is no box."""
    classes = np.asarray(classes)
    wrong = classes >= kinds
    if wrong.any():
        raise ValueError(
            f"detection: the outputs have {kinds} classes, so those of the boxes must "
            f"be from 0 to {kinds - 1}, or -1 where there is no box, but "
            f"{place_of(wrong)} is {classes[wrong][0]}"
        )


def _quality_focal(z: jax.Array, t: jax.Array) -> jax.Array:
    """(t − σ(z))² times the cross-entropy; for t of 0 or 1 the focal loss, γ = 2."""
    surprise = sigmoid_surprise(z, t, None)
    return jnp.square(t - jax.nn.sigmoid(z)) * surprise


def assign(
    points: jax.Array, boxes: jax.Array, classes: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Which box each point of one picture learns.

    Args:
        points: `[L, 3]`, x, y and the stride of the grid, of strides that double.
        boxes: `[M, 4]`.
        classes: `[M]`, -1 where there is no box.

    Returns:
        `(index, learns)`: int32 `[L]`, a box, and bool `[L]`, whether there is one.
    """
    x, y, stride = (points[:, i, None] for i in range(3))
    x0, y0, x1, y1 = boxes.T[:, None]  # each [1, M], beside points [L, 1]
    inside = (x0 < x) & (x < x1) & (y0 < y) & (y < y1)
    away = jnp.maximum(jnp.abs(x - (x0 + x1) / 2), jnp.abs(y - (y0 + y1) / 2))
    side = jnp.maximum(x1 - x0, y1 - y0)
    small = (side <= REACH * stride) | (stride == stride.max())
    large = (side > REACH * stride / 2) | (stride == stride.min())
    fits = (classes >= 0)[None] & inside & (away <= NEAR * stride) & small & large
    size = jnp.where(fits, geometry.area(boxes)[None], jnp.inf)
    return jnp.argmin(size, 1), fits.any(1)
