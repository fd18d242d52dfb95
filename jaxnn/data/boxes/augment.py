# SPDX-License-Identifier: Apache-2.0
"""Augmentations that change pictures together with the boxes of their objects."""

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from jaxnn.data.augment.base import Augmentation, check_key, number
from jaxnn.inputs.arrays import to_jax
from jaxnn.ops.boxes import area

Targets = dict[str, jax.Array]


@dataclass(frozen=True, repr=False)
class WithBoxes(Augmentation):
    """Base class of augmentations of pictures and their boxes."""

    mixes: ClassVar[bool] = True

    def __call__(  # type: ignore[override]
        self, key: jax.Array, images: jax.Array, targets: Targets
    ) -> tuple[jax.Array, Targets]:
        """The changed pictures and their boxes.

        Args:
            key: a random key.
            images: `[N, H, W, C]`.
            targets: `{"boxes": [N, M, 4], "classes": [N, M]}`.
        """
        check_key(self.name, key)
        images = to_jax(f"{self.name}: images", images)
        boxes, classes = _parts(self.name, targets)
        wide = self.widened(images)
        changed, boxes, classes = self.together(key, wide, boxes, classes)
        narrow = self.narrowed(changed, images.dtype)
        return narrow, {"boxes": boxes, "classes": classes}

    def together(
        self, key: jax.Array, images: jax.Array, boxes: jax.Array, classes: jax.Array
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """The changed pictures, boxes and classes."""
        raise NotImplementedError


@dataclass(frozen=True, repr=False)
class flip(WithBoxes):
    """Mirrors a picture and its boxes, each with a probability of 1/2.

    Args:
        horizontal: whether to mirror left and right.
        vertical: whether to mirror top and bottom.
        range: see `nn.data.augment`.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> images = jnp.zeros((1, 8, 8, 1)).at[0, :2, :3].set(1)
    >>> targets = nn.data.boxes.pad([[[0, 0, 3, 2]]], [[0]])
    >>> both = flip(vertical=True)
    >>> images, targets = both(jax.random.key(1), images, targets)
    >>> x0, y0, x1, y1 = targets["boxes"][0, 0].astype(int)
    >>> print(images[0, y0:y1, x0:x1].min())
    1.0
    """

    horizontal: bool = True
    vertical: bool = False

    def together(self, key, images, boxes, classes):
        _, height, width, _ = images.shape
        for chosen, axis, side in (
            (self.horizontal, 2, width),
            (self.vertical, 1, height),
        ):
            if chosen:
                key, own = jax.random.split(key)
                turned = jax.random.bernoulli(own, 0.5, (len(images), 1, 1))
                mirrored = _mirrored(boxes, 2 - axis, side)
                boxes = jnp.where(turned, mirrored, boxes)
                images = jnp.where(turned[..., None], jnp.flip(images, axis), images)
        boxes = jnp.where((classes >= 0)[..., None], boxes, 0)
        return images, boxes, classes


@dataclass(frozen=True, repr=False)
class mosaic(WithBoxes):
    """Joins quarters of four pictures of the batch that meet at a random point.

    Each picture keeps its place and loses what the others cover. A box is cut to what
    is left of it, and removed if that is less than `keep` of its area. The result has
    room for the boxes of all four, `[N, 4 M, ...]`.

    Args:
        keep: the least share of a box that has to be visible, from 0 to 1.
        probability: how often it happens to a picture, from 0 to 1.
        range: see `nn.data.augment`.

    Reference: Bochkovskiy et al., YOLOv4, 2020.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> targets = nn.data.boxes.pad([[[0, 0, 3, 2]]] * 4, [[0]] * 4)
    >>> images, targets = mosaic()(jax.random.key(1), jnp.ones((4, 8, 8, 1)), targets)
    >>> images.shape, targets["boxes"].shape
    ((4, 8, 8, 1), (4, 4, 4))
    """

    keep: float = 0.4
    probability: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        number(self.name, "keep", self.keep, high=1.0)
        number(self.name, "probability", self.probability, high=1.0)

    def together(self, key, images, boxes, classes):
        n, height, width, _ = images.shape
        at, often, *keys = jax.random.split(key, 5)
        sides = jnp.array([[width, height]], boxes.dtype)
        middle = jax.random.uniform(at, (n, 2), boxes.dtype, 0.2, 0.8) * sides
        happens = jax.random.bernoulli(often, self.probability, (n, 1))
        middle = jnp.where(happens, jnp.round(middle), sides)  # all of the first
        x, y = (jnp.arange(side, dtype=middle.dtype)[None] for side in (width, height))
        left = (x < middle[:, :1])[:, None, :, None]
        upper = (y < middle[:, 1:])[:, :, None, None]
        orders = [jnp.arange(n)] + [jax.random.permutation(k, n) for k in keys]
        a, b, c, d = (images[order] for order in orders)
        joined = jnp.where(upper, jnp.where(left, a, b), jnp.where(left, c, d))
        parts = [
            self._cut(boxes[order], classes[order], low, high)
            for order, (low, high) in zip(orders, _quarters(middle, sides), strict=True)
        ]
        boxes, classes = (jnp.concatenate(part, 1) for part in zip(*parts, strict=True))
        return joined, boxes, classes

    def _cut(self, boxes, classes, low, high):
        """What is left of boxes in a rectangle `[N, 2]` to `[N, 2]`."""
        low, high = (jnp.tile(corner, 2)[:, None] for corner in (low, high))
        cut = jnp.clip(boxes, low, high)
        seen = (classes >= 0) & (area(cut) > 0)
        seen &= area(cut) >= self.keep * area(boxes)
        return jnp.where(seen[..., None], cut, 0), jnp.where(seen, classes, -1)


def _quarters(middle: jax.Array, sides: jax.Array) -> list[tuple]:
    """The corners of the four quarters: upper left and right, lower left and right."""
    zero, full = jnp.zeros_like(middle), jnp.broadcast_to(sides, middle.shape)
    x, y = jnp.array([True, False]), jnp.array([False, True])
    return [
        (zero, middle),
        (jnp.where(x, middle, zero), jnp.where(x, full, middle)),
        (jnp.where(y, middle, zero), jnp.where(y, full, middle)),
        (middle, full),
    ]


def _mirrored(boxes: jax.Array, axis: int, side: int) -> jax.Array:
    """Boxes in a picture mirrored along x (axis 0) or y (axis 1)."""
    low, high = boxes[..., axis], boxes[..., axis + 2]
    return boxes.at[..., axis].set(side - high).at[..., axis + 2].set(side - low)


def _parts(owner: str, targets: Any) -> tuple[jax.Array, jax.Array]:
    """The boxes and classes of the targets, checked."""
    if not isinstance(targets, dict) or set(targets) != {"boxes", "classes"}:
        raise TypeError(
            f"{owner}: targets must be a dict of boxes [N, M, 4] and classes [N, M], "
            f"as nn.data.boxes.pad makes it, got {targets!r:.60}"
        )
    return jnp.asarray(targets["boxes"]), jnp.asarray(targets["classes"])
