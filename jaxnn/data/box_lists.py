# SPDX-License-Identifier: Apache-2.0
"""Boxes of many pictures, each with a number of its own, as arrays."""

from collections.abc import Sequence
from typing import Any

import numpy as np

Targets = dict[str, np.ndarray]

#: The class where there is no box.
NONE = -1


def pad(
    boxes: Sequence[Any],
    classes: Sequence[Any],
    *,
    room: int | None = None,
    size: tuple[int, int] | None = None,
) -> Targets:
    """Lists of boxes as the targets of a detector.

    Args:
        boxes: for each picture an array `[m, 4]` of corners x0, y0, x1, y1 in pixels,
            where m is its number of boxes, 0 included.
        classes: for each picture integers `[m]`, 0 or more.
        room: M, the number of boxes that each picture has room for; by default the
            largest m, and at least 1.
        size: the (height, width) of the pictures, if boxes are to be checked against
            it.

    Returns:
        `{"boxes": float32 [N, M, 4], "classes": int32 [N, M]}`; where there is no box,
        the corners are 0 and the class is -1.

    Raises:
        ValueError: a box is upside down, empty, not finite or outside its picture, or
            there are more boxes than room; the error names the picture and the box.

    >>> targets = pad([[[0, 0, 5, 4]], []], [[2], []])
    >>> targets["boxes"].shape, targets["classes"].tolist()
    ((2, 1, 4), [[2], [-1]])
    """
    if len(boxes) != len(classes):
        raise ValueError(
            f"boxes.pad: boxes and classes must be of the same pictures, got "
            f"{len(boxes)} and {len(classes)}"
        )
    given = enumerate(zip(boxes, classes, strict=True))
    pairs = [_checked(i, *pair, size) for i, pair in given]
    most = max((len(b) for b, _ in pairs), default=0)
    room = max(most, 1) if room is None else room
    if most > room:
        i = next(i for i, (b, _) in enumerate(pairs) if len(b) > room)
        raise ValueError(
            f"boxes.pad: room must be at least {most}, the boxes of the fullest "
            f"picture, got {room}; picture {i} has {len(pairs[i][0])}"
        )
    corners = np.zeros((len(pairs), room, 4), np.float32)
    kinds = np.full((len(pairs), room), NONE, np.int32)
    for i, (b, c) in enumerate(pairs):
        corners[i, : len(b)], kinds[i, : len(b)] = b, c
    return {"boxes": corners, "classes": kinds}


def _checked(i: int, boxes: Any, classes: Any, size: tuple[int, int] | None) -> tuple:
    """The boxes and classes of picture i as arrays."""
    b = np.asarray(boxes, np.float32).reshape(-1, 4) if np.size(boxes) else _EMPTY
    c = np.asarray(classes)
    if c.shape != (len(b),) or (len(b) and c.dtype.kind not in "iu"):
        raise ValueError(
            f"boxes.pad: classes of picture {i} must be {len(b)} integers, one for "
            f"each box, got {c.dtype}{list(c.shape)}"
        )
    if len(c) and c.min() < 0:
        raise ValueError(
            f"boxes.pad: classes must be 0 or more, got {c.min()} in picture {i}"
        )
    wrong = ~np.isfinite(b).all(1) | (b[:, 0] >= b[:, 2]) | (b[:, 1] >= b[:, 3])
    rule = "x0 < x1 and y0 < y1, all finite"
    if size is not None and not wrong.any():
        height, width = size
        wrong = (b[:, :2] < 0).any(1) | (b[:, 2:] > [[width, height]]).any(1)
        rule = f"inside the picture, {width} pixels wide and {height} high"
    if wrong.any():
        at = int(np.argmax(wrong))
        raise ValueError(
            f"boxes.pad: boxes must be x0, y0, x1, y1 with {rule}, got "
            f"{b[at].tolist()}, box {at} of picture {i}"
        )
    return b, c.astype(np.int32)


_EMPTY = np.zeros((0, 4), np.float32)
