# SPDX-License-Identifier: Apache-2.0
"""Geometry of boxes: floats `[..., 4]`, the corners x0, y0, x1, y1.

x runs to the right and y downwards, so that a box has x0 < x1 and y0 < y1. One whose
corners are the other way round is empty: its area is 0.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike


def area(boxes: ArrayLike) -> jax.Array:
    """The area of boxes: (x1 − x0) (y1 − y0), and 0 for an empty one.

    Args:
        boxes: floats `[..., 4]`.

    Returns:
        `[...]`.

    >>> import jax.numpy as jnp
    >>> print(area(jnp.array([[0.0, 0.0, 2.0, 3.0], [1.0, 1.0, 0.0, 2.0]])))
    [6. 0.]
    """
    width, height = _sides(_boxes("area", boxes))
    return width * height


def iou(a: ArrayLike, b: ArrayLike) -> jax.Array:
    """Intersection over union of boxes, from 0 (apart) to 1 (equal).

    The shapes broadcast: `iou(a[:, None], b[None])` is a table `[n, m]` of all pairs.
    Two empty boxes give 0.

    Args:
        a, b: floats `[..., 4]`.

    Returns:
        `[...]`.

    >>> import jax.numpy as jnp
    >>> a, b = jnp.array([0.0, 0.0, 2.0, 2.0]), jnp.array([1.0, 0.0, 3.0, 2.0])
    >>> print(iou(a, b).round(4))
    0.3333
    """
    shared, union, _ = _overlap("iou", a, b)
    return _ratio(shared, union)


def generalized_iou(a: ArrayLike, b: ArrayLike) -> jax.Array:
    """IoU − (share of the smallest box around both that neither covers), −1 to 1.

    Unlike the IoU it has a slope where the boxes do not meet.

    Args:
        a, b: floats `[..., 4]`, in shapes that broadcast.

    Returns:
        `[...]`.

    Reference: Rezatofighi et al., Generalized Intersection over Union, 2019.

    >>> import jax.numpy as jnp
    >>> a, b = jnp.array([0.0, 0.0, 1.0, 1.0]), jnp.array([3.0, 0.0, 4.0, 1.0])
    >>> print(generalized_iou(a, b))
    -0.5
    """
    shared, union, around = _overlap("generalized_iou", a, b)
    return _ratio(shared, union) - _ratio(around - union, around)


def non_maximum_suppression(
    boxes: ArrayLike,
    scores: ArrayLike,
    classes: ArrayLike | None = None,
    *,
    threshold: float = 0.5,
) -> jax.Array:
    """Which boxes are kept when each one removes those that overlap it and score less.

    The box with the best score is kept, all of its class that overlap it by more than
    the threshold are removed, and so on with the rest. Of equal scores the first counts
    as better. One program whatever the numbers, for use inside jit and vmap; it makes a
    table of all pairs, so choose the few hundred best boxes first.

    Args:
        boxes: floats `[n, 4]`.
        scores: floats `[n]`; a box whose score is 0 or less is not kept and removes
            none.
        classes: integers `[n]`; boxes of different classes do not remove each other.
            None: all are of one class.
        threshold: the IoU above which the lower score is removed, from 0 to 1.

    Returns:
        bool `[n]`, in the order of the boxes.

    >>> import jax.numpy as jnp
    >>> boxes = jnp.array([[0.0, 0, 4, 4], [0.0, 0, 4, 5], [9.0, 9, 12, 12]])
    >>> print(non_maximum_suppression(boxes, jnp.array([0.8, 0.9, 0.3])))
    [False  True  True]
    """
    owner = "non_maximum_suppression"
    boxes, scores = _boxes(owner, boxes), jnp.asarray(scores)
    n = len(boxes)
    if boxes.ndim != 2 or scores.shape != (n,):
        raise ValueError(
            f"{owner}: boxes must be [n, 4] and scores [n], got {list(boxes.shape)} "
            f"and {list(scores.shape)}; for a batch use jax.vmap"
        )
    if not isinstance(threshold, int | float) or not 0 <= threshold <= 1:
        raise ValueError(f"{owner}: threshold must be from 0 to 1, got {threshold!r}")
    order = jnp.argsort(-scores)
    sorted_boxes = boxes[order]
    rivals = iou(sorted_boxes[:, None], sorted_boxes[None]) > threshold
    if classes is not None:
        kind = jnp.asarray(classes)[order]
        rivals &= kind[:, None] == kind[None]
    later = jnp.arange(n)

    def remove(i, kept):
        return kept & ~(kept[i] & rivals[i] & (later > i))

    kept = scores[order] > 0
    kept = lax.fori_loop(0, n, remove, kept) if n else kept
    return jnp.zeros(n, bool).at[order].set(kept)


def _boxes(owner: str, boxes: Any) -> jax.Array:
    boxes = jnp.asarray(boxes)
    if boxes.ndim < 1 or boxes.shape[-1] != 4:
        raise ValueError(
            f"{owner}: boxes must be [..., 4] with x0, y0, x1, y1, got "
            f"{list(boxes.shape)}"
        )
    return boxes


def _sides(boxes: jax.Array) -> tuple[jax.Array, jax.Array]:
    sides = jnp.maximum(boxes[..., 2:] - boxes[..., :2], 0)
    return sides[..., 0], sides[..., 1]


def _overlap(owner: str, a: Any, b: Any) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The areas of the intersection, of the union and of the box around both."""
    a, b = _boxes(owner, a), _boxes(owner, b)
    low, high = jnp.maximum(a[..., :2], b[..., :2]), jnp.minimum(a[..., 2:], b[..., 2:])
    shared = jnp.prod(jnp.maximum(high - low, 0), -1)
    low, high = jnp.minimum(a[..., :2], b[..., :2]), jnp.maximum(a[..., 2:], b[..., 2:])
    around = jnp.prod(jnp.maximum(high - low, 0), -1)
    return shared, area(a) + area(b) - shared, around


def _ratio(part: jax.Array, whole: jax.Array) -> jax.Array:
    """part / whole, and 0 with a slope of 0 where there is no whole."""
    some = whole > 0
    return jnp.where(some, part / jnp.where(some, whole, 1), 0)
