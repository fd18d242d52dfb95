# SPDX-License-Identifier: Apache-2.0
"""Metrics from class counts: the confusion matrix, precision, recall and F1."""

import numbers
from abc import abstractmethod
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxnn.checks import is_positive_int
from jaxnn.losses.contracts import Contract, must_be_one_of
from jaxnn.losses.pairs import class_labels, one_array, signed, which_count
from jaxnn.messages.arguments import explained
from jaxnn.messages.phrases import describe
from jaxnn.metrics.metric import Metric, Stats
from jaxnn.metrics.shared import (
    check_ignore_label,
    class_numbers,
    column,
    unknown_at,
    wide,
)

#: The cells of a larger matrix cannot be numbered in int32.
MOST_CLASSES = 46_340


@dataclass(frozen=True)
class ConfusionMatrix(Metric):
    """How often each class (row) was predicted as each class (column).

    Counts are int32, so they are exact up to 2³¹ − 1. Each position counts once, or not
    at all if its example has weight 0 or its label is outside 0 to C − 1. If an output
    that counts is NaN, it predicts no class, and every entry is −1.

    Args:
        classes: C, from 2 to 46,340. The predicted class is that of the largest output,
            the first one on ties. With C = 2, outputs [N] or [N, ..., 1] are scores of
            class 1.
        threshold: the score above which class 1 is predicted: 0 for logits, 0.5 for
            probabilities. Targets above 1/2 then belong to class 1.
        ignore_label: a label to ignore, such as padding.
    Raises: ValueError if an argument is out of range.
    Example:
        >>> outputs = jnp.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
        >>> print(ConfusionMatrix(2)(outputs, jnp.array([0, 1, 1])))
        [[1 0]
         [1 1]]
    """

    classes: int
    threshold: float = field(default=0.0, kw_only=True)
    ignore_label: int | None = field(default=None, kw_only=True)
    stack: ClassVar[bool] = False
    contract: ClassVar[Contract] = Contract("any", "classes")

    def __post_init__(self):
        _check_of_classes(self)
        if self.classes > MOST_CLASSES:
            raise ValueError(
                f"ConfusionMatrix: classes must be at most {MOST_CLASSES}, got "
                f"{self.classes}, whose matrix would take "
                f"{4 * self.classes**2 / 1e9:.1f} GB; Precision, Recall and F1 count "
                "without one"
            )

    def update(self, outputs: Any, targets: Any, weights: ArrayLike) -> Stats:
        c, seen = self.classes, _seen(self, outputs, targets, weights)
        cell = seen.true * c + seen.predicted
        return {
            "counts": _tally(cell, seen.known, c * c).reshape(c, c),
            "unknown": seen.unknown.sum(dtype=jnp.int32),
        }

    def compute(self, stats: Stats) -> jax.Array:
        return jnp.where(stats["unknown"] > 0, -1, stats["counts"])


Average = Literal["macro", "micro", "binary"] | None


@dataclass(frozen=True)
class _ClassRatio(Metric):
    """The base of precision, recall and F1: a ratio of counts for every class."""

    classes: int
    average: Average = "macro"
    threshold: float = field(default=0.0, kw_only=True)
    ignore_label: int | None = field(default=None, kw_only=True)
    stack: ClassVar[bool] = False
    contract: ClassVar[Contract] = Contract("any", "classes")

    def __post_init__(self):
        name = type(self).__name__
        _check_of_classes(self)
        choices = ("macro", "micro", "binary", None)
        if self.average not in choices:
            raise ValueError(f"{name}: average {must_be_one_of(choices, self.average)}")
        if self.average == "binary" and self.classes != 2:
            raise ValueError(
                f"{name}: average 'binary' needs classes=2, got {self.classes}; "
                "use 'macro', 'micro' or None"
            )

    def update(self, outputs: Any, targets: Any, weights: ArrayLike) -> Stats:
        c, seen = self.classes, _seen(self, outputs, targets, weights)
        hit = seen.known & (seen.predicted == seen.true)
        return {
            "hits": _tally(seen.true, hit, c),
            "predicted": _tally(seen.predicted, seen.known, c),
            "actual": _tally(seen.true, seen.known, c),
            "unknown": seen.unknown.sum(dtype=jnp.int32),
        }

    def compute(self, stats: Stats) -> jax.Array:
        honest = (stats["unknown"] == 0) & (stats["actual"] > 0).any()
        return jnp.where(honest, self._average(stats), jnp.nan)

    def _average(self, stats: Stats) -> jax.Array:
        hits, predicted, actual = (
            stats[name].astype(jnp.float32) for name in ("hits", "predicted", "actual")
        )
        part, whole = self._ratio(hits, predicted, actual)
        if self.average == "micro":
            return share(part.sum(), whole.sum())
        shares = share(part, whole)
        if self.average is None:
            return shares
        return shares[1] if self.average == "binary" else shares.mean()

    @abstractmethod
    def _ratio(self, hits, predicted, actual) -> tuple[jax.Array, jax.Array]:
        """The two counts [C], numerator and denominator of the ratio."""


@dataclass(frozen=True)
class Precision(_ClassRatio):
    """The share of a class's predictions that are correct: hits / predicted.

    The value is NaN if no example counts, or if an output that counts is NaN.

    Args:
        classes: C ≥ 2; outputs and targets as for `ConfusionMatrix`.
        average: "macro", the mean over all C classes; "micro", the ratio of the counts
            summed over classes; "binary", the value of class 1 of two; None, one value
            per class, [C]. A class that is never predicted has the value 0.
        threshold: for scores of class 1: 0 for logits, 0.5 for probabilities.
        ignore_label: a label to ignore, such as padding.
    Raises: ValueError if an argument is out of range.
    Example:
        >>> scores, targets = jnp.array([2.0, 1.0, -1.0, 3.0]), jnp.array([1, 0, 1, 1])
        >>> print(Precision(2, "binary")(scores, targets).round(4))
        0.6667
    """

    def _ratio(self, hits, predicted, actual) -> tuple[jax.Array, jax.Array]:
        return hits, predicted


@dataclass(frozen=True)
class Recall(_ClassRatio):
    """The share of a class's examples that are predicted as it: hits / actual.

    Args: as for `Precision`; a class without examples has the value 0.
    Raises: ValueError if an argument is out of range.
    Example:
        >>> scores, targets = jnp.array([2.0, 1.0, -1.0, 3.0]), jnp.array([1, 0, 1, 0])
        >>> print(Recall(2, "binary")(scores, targets))
        0.5
    """

    def _ratio(self, hits, predicted, actual) -> tuple[jax.Array, jax.Array]:
        return hits, actual


@dataclass(frozen=True)
class F1(_ClassRatio):
    """Harmonic mean of precision and recall: 2 hits / (predicted + actual).

    Args: as for `Precision`; a class with neither predictions nor examples has the
        value 0.
    Raises: ValueError if an argument is out of range.
    Example:
        >>> scores, targets = jnp.array([2.0, 1.0, -1.0, 3.0]), jnp.array([1, 0, 1, 0])
        >>> print(F1(2, "binary")(scores, targets))
        0.4
    """

    def _ratio(self, hits, predicted, actual) -> tuple[jax.Array, jax.Array]:
        return 2 * hits, predicted + actual


def _check_of_classes(metric: Any) -> None:
    """Check the fields of a class metric."""
    name, classes = type(metric).__name__, metric.classes
    if not is_positive_int(classes) or classes < 2:
        raise ValueError(
            f"{name}: classes must be an int of at least 2, got {classes!r}"
        )
    if not isinstance(metric.threshold, numbers.Real):
        raise ValueError(
            f"{name}: threshold must be a number, got {metric.threshold!r:.60}"
        )
    check_ignore_label(metric)


_NAMES = "classes comes first, all else by name"
for _kind in (ConfusionMatrix, Precision, Recall, F1):  # wrong arguments are answered
    _kind.__init__ = explained(_kind.__init__, _NAMES)


class _Seen(NamedTuple):
    """Class numbers [N, ...], and which of them count."""

    predicted: jax.Array
    true: jax.Array
    known: jax.Array  # bool: counts
    unknown: jax.Array  # bool: would count, but the output is NaN


def _seen(metric: Any, outputs: Any, targets: Any, weights: ArrayLike) -> _Seen:
    """What a class metric sees of a batch."""
    name, c = type(metric).__name__, metric.classes
    y, t = one_array(name, "outputs", outputs), one_array(name, "targets", targets)
    if c == 2 and (y.ndim == 1 or y.shape[-1:] == (1,)):
        predicted, true, nan = _of_scores(name, y, t, metric.threshold)
        kept = None if metric.ignore_label is None else true != metric.ignore_label
        true = signed(wide(true) > 0.5)
    else:
        predicted, labels, nan = _of_classes(name, y, t, c)
        kept = which_count(name, y, labels, metric.ignore_label)
        true = class_numbers(y, labels)
    weighs = (jnp.asarray(weights) != 0).reshape((-1,) + (1,) * (true.ndim - 1))
    counts = weighs & (true >= 0) & (true < c)
    counts = counts if kept is None else counts & kept
    return _Seen(predicted.astype(true.dtype), true, counts & ~nan, counts & nan)


def _of_scores(name: str, y: jax.Array, t: jax.Array, threshold: float) -> tuple:
    """Predicted classes, targets, and where one is NaN, for scores of class 1."""
    score = column(y)
    true = t if t.shape == score.shape else column(t)
    if score.shape != true.shape:
        raise ValueError(
            f"{name}: scores of class 1 and targets must be of one shape, "
            f"got outputs {describe(y)} and targets {describe(t)}"
        )
    return score > threshold, true, jnp.isnan(score) | jnp.isnan(true)


def _of_classes(name: str, y: jax.Array, t: jax.Array, classes: int) -> tuple:
    """Predicted classes, labels, and where one is NaN, for one output per class."""
    if y.shape[-1:] != (classes,):
        raise ValueError(
            f"{name}: outputs must be [N, ..., {classes}], got {describe(y)}"
        )
    labels = class_labels(name, y, t)
    return y.argmax(-1), labels, unknown_at(y, labels)


def _tally(numbers: jax.Array, counts: jax.Array, length: int) -> jax.Array:
    """How often each number from 0 to `length` - 1 occurs among those that count."""
    places = jnp.where(counts, numbers, length)  # the last bin is dropped
    return jnp.bincount(places.ravel(), length=length + 1)[:-1].astype(jnp.int32)


def share(part: jax.Array, whole: jax.Array) -> jax.Array:
    """part / whole, and 0 for 0 / 0."""
    return part / jnp.where(whole == 0, 1, whole)
