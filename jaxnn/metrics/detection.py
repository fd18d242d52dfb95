# SPDX-License-Identifier: Apache-2.0
"""How well boxes are found: mean average precision."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike

from jaxnn.checks import is_positive_int
from jaxnn.messages.phrases import describe
from jaxnn.metrics.metric import Metric, Stats
from jaxnn.ops import boxes as geometry

#: The recalls, in hundredths, at which the precision is read.
RECALLS = np.arange(101, dtype=np.int32)
#: Whether a recall of exactly k hundredths reaches the k-th point: in COCO's floats
#: 0.29, for one, is less than its point.
REACHED = RECALLS / 100 >= np.linspace(0.0, 1.0, 101)


@dataclass(frozen=True)
class MeanAveragePrecision(Metric):
    """Mean average precision of detected boxes, as COCO defines it.

    In each picture the detections of a class, best score first, take the true box of
    that class that they overlap most, if by the threshold or more and if it is still
    free; such a detection is a hit. Over all pictures, best score first, precision is
    the share of hits so far and recall the share of true boxes found so far. A class's
    average precision is the mean, over recalls of 0, 0.01, ..., 1, of the best
    precision at that recall or a higher one (0 if it is never reached); the value is
    the mean over the classes that have true boxes, NaN if none has.

    Outputs are detections `{"boxes": [N, K, 4], "scores": [N, K], "classes": [N, K]}`,
    those with a class of -1 do not count; targets are `{"boxes": [N, M, 4],
    "classes": [N, M]}` as of `nn.data.boxes`. Equal scores keep their order.

    Args:
        classes: C, the number of classes.
        threshold: the IoU from which on a box is found, above 0 and at most 1; or
            several, over which the value is averaged: COCO's own are 0.5, 0.55, ...,
            0.95.
        average: "macro", the mean over classes; None, one value per class [C], NaN for
            a class without true boxes.
        detect: a function from a network's outputs to detections, such as
            `nn.models.detections`; None if the outputs are detections.
    Raises: ValueError if an argument is out of range.
    Example:
        >>> boxes = jnp.array([[[0.0, 0, 4, 4], [5.0, 5, 9, 9]]])
        >>> classes = jnp.array([[0, 0]])
        >>> found = {"boxes": boxes, "scores": jnp.array([[0.9, 0.8]])}
        >>> targets = {"boxes": boxes, "classes": jnp.array([[0, -1]])}
        >>> map50 = MeanAveragePrecision(1)
        >>> print(map50(found | {"classes": classes}, targets).round(4))
        1.0

    Reference: Lin et al., Microsoft COCO: Common Objects in Context, 2014, and its
    evaluation code.
    """

    classes: int
    threshold: float | tuple[float, ...] = field(default=0.5, kw_only=True)
    average: str | None = field(default="macro", kw_only=True)
    detect: Callable[[Any], Any] | None = field(default=None, kw_only=True)
    stack: ClassVar[bool] = True
    zeros_count_nothing: ClassVar[bool] = True

    def __post_init__(self):
        name = type(self).__name__
        if not is_positive_int(self.classes):
            raise ValueError(
                f"{name}: classes must be a positive int, got {self.classes!r}"
            )
        for value in self._thresholds():
            if not isinstance(value, int | float) or not 0 < value <= 1:
                raise ValueError(
                    f"{name}: threshold must be above 0 and at most 1, or several such "
                    f"numbers, got {self.threshold!r:.60}"
                )
        if self.average not in ("macro", None):
            raise ValueError(
                f"{name}: average must be 'macro' or None, got {self.average!r}"
            )

    def update(self, outputs: Any, targets: Any, weights: ArrayLike) -> Stats:
        found = outputs if self.detect is None else self.detect(outputs)
        _check(found, targets)
        weighs = jnp.asarray(weights) != 0
        order = jnp.argsort(-found["scores"], axis=1)
        boxes = jnp.take_along_axis(found["boxes"], order[..., None], 1)
        scores = jnp.take_along_axis(found["scores"], order, 1)
        kinds = jnp.take_along_axis(found["classes"], order, 1)
        true = jnp.where(weighs[:, None], targets["classes"], -1)
        of_thresholds = jax.vmap(_hits, (None, None, None, None, 0))
        # (as in COCO's code, so that an IoU of exactly 1 can reach a threshold of 1)
        limits = jnp.minimum(jnp.array(self._thresholds(), jnp.float32), 1 - 1e-7)
        hits = jax.vmap(of_thresholds, (0, 0, 0, 0, None))(
            boxes, kinds, targets["boxes"], true, limits
        )
        return {
            "score": scores,
            "class": jnp.where(weighs[:, None], kinds, -1) + 1,  # 0: counts nothing
            "hit": jnp.moveaxis(hits, 1, 2),
            "true": true + 1,
        }

    def compute(self, stats: Stats) -> jax.Array:
        score, kind = (stats[name].ravel() for name in ("score", "class"))
        hit = stats["hit"].reshape(score.size, -1)
        order = jnp.argsort(-score)
        kind, hit = kind[order], hit[order]
        values = [
            _average_precision(
                hit, kind == c, (stats["true"] == c).sum(dtype=jnp.int32)
            )
            for c in range(1, self.classes + 1)
        ]
        each = jnp.stack(values)
        return each if self.average is None else jnp.nanmean(each)

    def _thresholds(self) -> tuple[float, ...]:
        several = isinstance(self.threshold, tuple)
        return self.threshold if several else (self.threshold,)  # type: ignore


def _hits(boxes, kinds, true, true_kinds, threshold) -> jax.Array:
    """Which detections of a picture, best first, take a true box: bool [K]."""
    table = geometry.iou(boxes[:, None], true[None]).astype(jnp.float32)
    same = (kinds[:, None] == true_kinds[None]) & (kinds >= 0)[:, None]
    table = jnp.where(same, table, -1)

    def take(free, row):
        left = jnp.where(free, row, -1)
        # (of equal overlaps COCO's code takes the last)
        best = len(left) - 1 - jnp.argmax(left[::-1])
        hit = left[best] >= threshold
        return free & ~(hit & (jnp.arange(len(left)) == best)), hit

    return lax.scan(take, jnp.ones(len(true), bool), table)[1]


def _average_precision(hit: jax.Array, own: jax.Array, true: jax.Array) -> jax.Array:
    """The mean over thresholds of a class's average precision; NaN without boxes.

    Args:
        hit: bool [D, T], all detections, best first.
        own: bool [D], whether a detection is of the class.
        true: how many true boxes the class has.
    """
    hits = jnp.cumsum(hit & own[:, None], 0, dtype=jnp.int32)
    seen = jnp.cumsum(own, dtype=jnp.int32)[:, None]
    share = hits / jnp.maximum(seen, 1)
    precision = jnp.where(own[:, None], share, 0)
    best = lax.cummax(precision, 0, reverse=True)
    # Recalls are compared as integers: float32 has too few digits for equal ones.
    need = -(-RECALLS * true // 100)
    need += jnp.where((RECALLS * true % 100 == 0) & ~REACHED, 1, 0)
    first = jax.vmap(lambda h: jnp.searchsorted(h, need), 1, 1)(hits)
    padded = jnp.concatenate([best, jnp.zeros_like(best[:1])])
    read = jnp.take_along_axis(padded, first, 0)
    return jnp.where(true > 0, read.mean(), jnp.nan)


def _check(found: Any, targets: Any) -> None:
    """Raise unless both are dicts of the arrays that the metric takes."""
    name = "MeanAveragePrecision"
    for what, value, keys in (
        ("outputs", found, ("boxes", "scores", "classes")),
        ("targets", targets, ("boxes", "classes")),
    ):
        if not isinstance(value, dict) or not set(keys) <= set(value):
            hint = "; give detect=nn.models.detections" if what == "outputs" else ""
            raise ValueError(
                f"{name}: {what} must be a dict of {', '.join(keys)}, got "
                f"{describe(value):.100}{hint}"
            )
