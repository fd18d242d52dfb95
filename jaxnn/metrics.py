# SPDX-License-Identifier: Apache-2.0
"""Metrics, of two kinds.

Functions `metric(outputs, targets) -> [N]` give one value per example, whose mean over
a data set is exact in any batches: `accuracy`, `top_k_accuracy`, `binary_accuracy`,
`multi_label_accuracy`, `mean_absolute_error`, `mean_squared_error` and every loss.

Metrics that are no such mean are frozen dataclasses with two pure functions, `update`
(a batch to its statistics) and `compute` (statistics to the value): `ConfusionMatrix`,
`Precision`, `Recall`, `F1`, `RocAuc`, `RootMeanSquaredError`, `R2` and `Perplexity`
(`perplexity` is one that ignores no label); `Mean` makes one of a function. All of them
run inside jit, scan and vmap.
"""

import functools
import numbers
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxnn.losses import (
    _at_least_float32,
    _class_labels,
    _counted,
    _floats,
    _mean,
    _must_be_one_of,
    _pair,
    _show,
    _signed,
    example_weights,
    expects,
    softmax_cross_entropy,
)
from jaxnn.losses import mean_absolute_error as mean_absolute_error
from jaxnn.losses import mean_squared_error as mean_squared_error

Stats = dict[str, jax.Array]

# ---- one value per example ----


@expects(outputs="any", targets="classes")
def accuracy(
    outputs: ArrayLike, labels: ArrayLike, *, ignore_label: int | None = None
) -> jax.Array:
    """Share of positions whose largest output is at the label; the first one at ties.

    Args:
        outputs: logits or probabilities, [N, C] or [N, ..., C].
        labels: integers [N, ...], or one-hot rows of the outputs' shape. A label out of
            range is never right.
        ignore_label: a label that does not count: the mean is over the other positions,
            and 0 where there are none. `Mean` is then the share of all labels that
            count, whatever examples they are in.
    Returns: float32 [N]: 0 or 1, or a share if there are further axes.
    Raises: TypeError for float labels [N, ...]; ValueError if the shapes do not fit.
    Example:
        >>> outputs = jnp.array([[0.1, 0.9], [0.8, 0.2]])
        >>> print(accuracy(outputs, jnp.array([1, 1])))
        [1. 0.]
    """
    y = jnp.asarray(outputs)
    labels = _class_labels("accuracy", y, labels)
    counted = _counted("accuracy", y, labels, ignore_label)
    true = _numbers(y, labels)
    right = (y.argmax(-1).astype(true.dtype) == true).astype(jnp.float32)
    return _mean(right, right.dtype, counted)


@expects(outputs="any", targets="classes")
def top_k_accuracy(outputs: ArrayLike, labels: ArrayLike, *, k: int = 5) -> jax.Array:
    """Share of positions whose label is among the k largest outputs.

    Of equal outputs the lower class comes first, so that k = 1 is `accuracy`.

    Args:
        outputs: logits or probabilities, [N, C] or [N, ..., C].
        labels: integers [N, ...], or one-hot rows of the outputs' shape.
        k: from 1 to C.
    Returns: float32 [N]: 0 or 1, or a share if there are further axes.
    Raises: TypeError for float labels [N, ...]; ValueError if the shapes do not fit or
        k is out of range.
    Example:
        >>> outputs = jnp.array([[0.1, 0.6, 0.3], [0.1, 0.6, 0.3]])
        >>> print(top_k_accuracy(outputs, jnp.array([2, 0]), k=2))
        [1. 0.]
    """
    y = jnp.asarray(outputs)
    labels = _class_labels("top_k_accuracy", y, labels)
    if not 1 <= k <= y.shape[-1]:
        raise ValueError(
            f"top_k_accuracy: k must be from 1 to the {y.shape[-1]} classes, got {k}"
        )
    true = _numbers(y, labels)
    best = jax.lax.top_k(y, k)[1].astype(true.dtype)
    right = (best == true[..., None]).any(-1).astype(jnp.float32)
    return _mean(right, right.dtype)


@expects(outputs="any", targets="binary")
def binary_accuracy(
    outputs: ArrayLike, targets: ArrayLike, *, threshold: float = 0.0
) -> jax.Array:
    """Share of the numbers that lie on the right side of the threshold.

    Args:
        outputs: [N] or [N, ...]; above the threshold they predict the positive class.
        targets: of the same shape; above 1/2 they are of the positive class.
        threshold: 0 for logits; 0.5 for probabilities.
    Returns: float32 [N].
    Raises: ValueError if the shapes differ.
    Example:
        >>> print(binary_accuracy(jnp.array([2.0, -1.0, 0.5]), jnp.array([1, 0, 0])))
        [1. 1. 0.]
    """
    y, t, _ = _pair("binary_accuracy", outputs, targets)
    right = ((y > threshold) == (t > 0.5)).astype(jnp.float32)
    return _mean(right, right.dtype)


@expects(outputs="any", targets="binary")
def multi_label_accuracy(
    outputs: ArrayLike, targets: ArrayLike, *, threshold: float = 0.0
) -> jax.Array:
    """Share of positions with every label right (`binary_accuracy`: of right labels).

    Args:
        outputs: [N, L] or [N, ..., L]; above the threshold they predict the label.
        targets: of the same shape, 0 or 1.
        threshold: 0 for logits; 0.5 for probabilities.
    Returns: float32 [N].
    Raises: ValueError if the shapes differ or there is no axis of labels.
    Example:
        >>> outputs = jnp.array([[2.0, -1.0], [2.0, -1.0]])
        >>> print(multi_label_accuracy(outputs, jnp.array([[1, 0], [1, 1]])))
        [1. 0.]
    """
    y, t, _ = _pair("multi_label_accuracy", outputs, targets)
    if y.ndim < 2:
        raise ValueError(
            f"multi_label_accuracy: outputs must be [N, ..., L], got {_show(y)}; "
            "for one label use binary_accuracy"
        )
    right = ((y > threshold) == (t > 0.5)).all(-1).astype(jnp.float32)
    return _mean(right, right.dtype)


# ---- over a whole data set ----


@runtime_checkable
class Metric(Protocol):
    """Statistics of batches that combine, and the value that they give.

    A subclass is a frozen dataclass with these members; `metric(outputs, targets)` is
    the value on data given at once.

    Attributes:
        stack: False if the statistics of two batches combine by adding; True if they
            are arrays [N, ...], one row an example, that combine by concatenating.
    """

    stack: ClassVar[bool]

    def update(self, outputs: Any, targets: Any, weights: ArrayLike) -> Stats:
        """Statistics of one batch; weights [N], 0 where an example does not count."""
        ...

    def compute(self, stats: Stats) -> jax.Array:
        """The value that statistics give."""
        ...

    def __call__(self, outputs: Any, targets: Any) -> jax.Array:
        """The value on data given at once, where every example counts."""
        examples = jnp.shape(jax.tree.leaves(outputs)[0])[0]
        return self.compute(self.update(outputs, targets, jnp.ones(examples)))


def as_metric(metric: Callable | Metric) -> Metric:
    """The metric itself, or the `Mean` of a function of outputs and targets.

    Raises: TypeError for anything else, a class instead of its instance included.
    Example:
        >>> as_metric(accuracy) == Mean(accuracy)
        True
        >>> as_metric(RocAuc())
        RocAuc()
    """
    if isinstance(metric, type):
        name = metric.__name__
        raise TypeError(f"metric {name} is a class: build it, {name}(...)")
    if isinstance(metric, Metric):
        return metric
    if not callable(metric):
        raise TypeError(
            "a metric must be a function (outputs, targets) -> [N] or an object with "
            f"update, compute and stack, got {metric!r}"
        )
    return Mean(metric)


@dataclass(frozen=True, eq=False)
class Mean(Metric):
    """Mean over the examples of a function of one value per example: Σ w f / Σ w.

    The mean of no examples is NaN. Under a function with a contract that binds
    `ignore_label`, examples weigh as many other labels as they hold: the mean is over
    labels.

    Args:
        function: (outputs, targets) -> [N]. A `functools.partial` equals one alike.
    Example:
        >>> top_2 = Mean(functools.partial(top_k_accuracy, k=2))
        >>> outputs = jnp.array([[0.1, 0.6, 0.3], [0.1, 0.6, 0.3]])
        >>> print(top_2(outputs, jnp.array([2, 0])))
        0.5
    """

    function: Callable
    stack: ClassVar[bool] = False

    def update(self, outputs: Any, targets: Any, weights: ArrayLike) -> Stats:
        values, w = jnp.asarray(self.function(outputs, targets)), jnp.asarray(weights)
        if values.shape != w.shape or w.ndim != 1:
            raise ValueError(
                "Mean: the function must give one value per example, got "
                f"{_show(values)} for weights {_show(w)}"
            )
        values = _wide(values)
        w = w.astype(values.dtype)
        kept = example_weights(self.function, targets)
        if kept is not None:
            w = w * kept.astype(w.dtype)
        return {"total": _times(w, values).sum(), "weight": w.sum()}

    def compute(self, stats: Stats) -> jax.Array:
        return stats["total"] / stats["weight"]

    def _identity(self) -> tuple:
        """Two partials are never equal in Python, though alike in all their parts."""
        f = self.function
        if isinstance(f, functools.partial):
            return f.func, f.args, tuple(sorted(f.keywords.items()))
        return (f,)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Mean) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())


@dataclass(frozen=True)
class ConfusionMatrix(Metric):
    """How often each class (row) was predicted as each class (column).

    Counts are int32, so exact up to 2³¹ − 1. A position counts once, or not at all if
    its example has weight 0 or its label is outside 0 to C − 1.

    Args:
        classes: C ≥ 2. The largest output is the predicted class, the first one at
            ties. With C = 2, outputs [N] or [N, ..., 1] are scores of class 1.
        threshold: the score above which class 1 is predicted: 0 for logits, 0.5 for
            probabilities. A target above 1/2 is then of class 1.
    Raises: ValueError if classes is not an integer of at least 2.
    Example:
        >>> outputs = jnp.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
        >>> print(ConfusionMatrix(2)(outputs, jnp.array([0, 1, 1])))
        [[1 0]
         [1 1]]
    """

    classes: int
    threshold: float = field(default=0.0, kw_only=True)
    stack: ClassVar[bool] = False

    def __post_init__(self):
        _check_classes("ConfusionMatrix", self.classes)

    def update(self, outputs: Any, targets: Any, weights: ArrayLike) -> Stats:
        c, w = self.classes, jnp.asarray(weights)
        predicted, true = _predicted_and_true(
            "ConfusionMatrix", outputs, targets, c, self.threshold
        )
        weighs = (w != 0).reshape((-1,) + (1,) * (true.ndim - 1))
        counted = weighs & (true >= 0) & (true < c)
        cell = jnp.where(counted, true * c + predicted, c * c)  # the last: left out
        counts = jnp.bincount(cell.ravel(), length=c * c + 1)[:-1]
        return {"counts": counts.reshape(c, c).astype(jnp.int32)}

    def compute(self, stats: Stats) -> jax.Array:
        return stats["counts"]


Average = Literal["macro", "micro", "binary"] | None


@dataclass(frozen=True)
class _ClassRatio(Metric):
    """What precision, recall and F1 share: a ratio of counts for every class."""

    classes: int
    average: Average = "macro"
    threshold: float = field(default=0.0, kw_only=True)
    stack: ClassVar[bool] = False

    def __post_init__(self):
        name = type(self).__name__
        _check_classes(name, self.classes)
        choices = ("macro", "micro", "binary", None)
        if self.average not in choices:
            raise ValueError(
                f"{name}: average {_must_be_one_of(choices, self.average)}"
            )
        if self.average == "binary" and self.classes != 2:
            raise ValueError(
                f"{name}: average 'binary' needs classes=2, got {self.classes}; "
                "use 'macro', 'micro' or None"
            )

    def update(self, outputs: Any, targets: Any, weights: ArrayLike) -> Stats:
        matrix = ConfusionMatrix(self.classes, threshold=self.threshold)
        return matrix.update(outputs, targets, weights)

    def compute(self, stats: Stats) -> jax.Array:
        counts = stats["counts"].astype(jnp.float32)
        hits, predicted, actual = jnp.diagonal(counts), counts.sum(0), counts.sum(1)
        part, whole = self._ratio(hits, predicted, actual)
        if self.average == "micro":
            return _share(part.sum(), whole.sum())
        shares = _share(part, whole)
        if self.average is None:
            return shares
        return shares[1] if self.average == "binary" else shares.mean()

    @abstractmethod
    def _ratio(self, hits, predicted, actual) -> tuple[jax.Array, jax.Array]:
        """The two counts [C] whose ratio it is."""


@dataclass(frozen=True)
class Precision(_ClassRatio):
    """Of what was predicted as a class, the share that is: hits / predicted.

    Args:
        classes: C ≥ 2; outputs and targets as for `ConfusionMatrix`.
        average: "macro", the mean over all C classes; "micro", of all counts together;
            "binary", of class 1 of two; None, one value a class, [C]. A class that was
            never predicted has 0.
        threshold: for scores of class 1: 0 for logits, 0.5 for probabilities.
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
    """Of what is of a class, the share that was predicted as it: hits / actual.

    Args: as for `Precision`; a class without examples has 0.
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

    Args: as for `Precision`; a class neither predicted nor with examples has 0.
    Raises: ValueError if an argument is out of range.
    Example:
        >>> scores, targets = jnp.array([2.0, 1.0, -1.0, 3.0]), jnp.array([1, 0, 1, 0])
        >>> print(F1(2, "binary")(scores, targets))
        0.4
    """

    def _ratio(self, hits, predicted, actual) -> tuple[jax.Array, jax.Array]:
        return 2 * hits, predicted + actual


@dataclass(frozen=True)
class RocAuc(Metric):
    """Area under the receiver operating characteristic, exact, ties counting half.

    The probability that a positive example scores above a negative one,
    Σ_ij w_i w_j ([s_i > s_j] + [s_i = s_j]/2) / Σ_ij w_i w_j over such pairs (i, j).
    NaN if one of the two classes is absent or a score that counts is NaN.

    Outputs are scores [N] or [N, 1], or two columns [N, 2], whose score is the second
    minus the first: right for logits and log-probabilities, while probabilities closer
    than 1e-7 tie. Targets are 0 and 1, [N] or [N, 1], or one-hot [N, 2].

    Example:
        >>> scores, targets = jnp.array([0.1, 0.4, 0.4, 0.8]), jnp.array([0, 0, 1, 1])
        >>> print(RocAuc()(scores, targets))
        0.875

    Reference: Hanley & McNeil, The Meaning and Use of the Area under a Receiver
    Operating Characteristic (ROC) Curve, 1982.
    """

    stack: ClassVar[bool] = True

    def update(self, outputs: Any, targets: Any, weights: ArrayLike) -> Stats:
        y, t = _wide(_floats("RocAuc", outputs)), jnp.asarray(targets)
        score = y[:, 1] - y[:, 0] if y.ndim == 2 and y.shape[1] == 2 else _column(y)
        positive = t[:, 1] if t.ndim == 2 and t.shape[1] == 2 else _column(t)
        if score.ndim != 1 or score.shape != positive.shape:
            raise ValueError(
                "RocAuc: outputs must be [N], [N, 1] or [N, 2] and targets [N], [N, 1] "
                f"or one-hot [N, 2], got outputs {_show(y)} and targets {_show(t)}"
            )
        weight = jnp.asarray(weights)
        positive = _wide(positive) > 0.5
        return {"score": score, "positive": positive, "weight": weight}

    def compute(self, stats: Stats) -> jax.Array:
        order = jnp.argsort(stats["score"])
        score, positive, w = (
            stats[name][order] for name in ("score", "positive", "weight")
        )
        w = w.astype(score.dtype)
        negative = jnp.where(positive, 0, w)
        below = jnp.concatenate([jnp.zeros_like(w[:1]), jnp.cumsum(negative)])
        first = jnp.searchsorted(score, score, side="left")
        last = jnp.searchsorted(score, score, side="right")
        wins = (below[first] + below[last]) / (2 * below[-1])
        area = jnp.where(positive, w * wins, 0).sum() / jnp.where(positive, w, 0).sum()
        return jnp.where((jnp.isnan(score) & (w != 0)).any(), jnp.nan, area)


@dataclass(frozen=True)
class RootMeanSquaredError(Metric):
    """Root of the mean squared error of a data set: √(Σ w (y − t)² / Σ w).

    Outputs and targets are [N] or [N, ...], of one shape; the mean is over all numbers.

    Example:
        >>> print(RootMeanSquaredError()(jnp.array([1.0, 7.0]), jnp.array([0.0, 0.0])))
        5.0
    """

    stack: ClassVar[bool] = False

    def update(self, outputs: Any, targets: Any, weights: ArrayLike) -> Stats:
        y, t, _ = _pair("RootMeanSquaredError", outputs, targets)
        return Mean(mean_squared_error).update(y, t, weights)

    def compute(self, stats: Stats) -> jax.Array:
        return jnp.sqrt(Mean(mean_squared_error).compute(stats))


@dataclass(frozen=True)
class R2(Metric):
    """Coefficient of determination: 1 − Σ w (y − t)² / Σ w (t − mean t)².

    1 is perfect, 0 as good as the mean of the targets. Several outputs [N, ...] are
    averaged. Where the targets do not vary it is 1 without errors, else 0. Statistics
    are stacked, since sums of squares from which the mean is taken away afterwards
    lose all digits where the mean is large against the spread.

    Example:
        >>> y, t = jnp.array([1.0, 2.0, 4.0]), jnp.array([1.0, 2.0, 3.0])
        >>> print(R2()(y, t))
        0.5
    """

    stack: ClassVar[bool] = True

    def update(self, outputs: Any, targets: Any, weights: ArrayLike) -> Stats:
        y, t, _ = _pair("R2", outputs, targets)
        return {"target": t, "error": y - t, "weight": jnp.asarray(weights)}

    def compute(self, stats: Stats) -> jax.Array:
        t, error = (stats[k].reshape(len(stats[k]), -1) for k in ("target", "error"))
        w = stats["weight"].astype(t.dtype)[:, None]
        # Against a target of the data, so that equal targets differ by exactly 0.
        t = t - t[jnp.argmax(w != 0)][None]
        mean = _times(w, t).sum(0, keepdims=True) / w.sum()
        residual = _times(w, jnp.square(error)).sum(0)
        total = _times(w, jnp.square(t - mean)).sum(0)
        flat = jnp.where(residual == 0, 1.0, 0.0)
        varied = 1 - residual / jnp.where(total == 0, 1, total)
        return jnp.where(total == 0, flat, varied).mean()


@dataclass(frozen=True)
class Perplexity(Metric):
    """exp of the mean cross-entropy of a label, in nats: exp(−1/M Σ log softmax(z)_t).

    How many equally likely classes would be as hard to tell. The mean is over all M
    labels of the data set that are not ignored, however they lie in examples and
    batches. Outputs are logits [N, C] or [N, ..., C], targets integers [N, ...]; an
    example of weight 0 is left out.

    Args:
        ignore_label: a label that does not count, such as that of padding.
    Example:
        >>> logits, labels = jnp.zeros((2, 3, 65)), jnp.array([[5, 6, 0], [7, 0, 0]])
        >>> print(Perplexity(ignore_label=0)(logits, labels).round(3))
        65.0

    Reference: Jelinek et al., Perplexity: a Measure of the Difficulty of Speech
    Recognition Tasks, 1977.
    """

    ignore_label: int | None = None
    stack: ClassVar[bool] = True  # sums over millions of labels would lose digits

    def update(self, outputs: Any, targets: Any, weights: ArrayLike) -> Stats:
        loss = functools.partial(softmax_cross_entropy, ignore_label=self.ignore_label)
        nats = _wide(loss(outputs, targets))
        labels = example_weights(loss, targets)
        if labels is None:
            each = jnp.size(targets) // max(len(nats), 1)
            labels = jnp.full(nats.shape, each, jnp.float32)
        labels = jnp.where(jnp.asarray(weights) == 0, 0, labels).astype(nats.dtype)
        return {"nats": _times(labels, nats), "labels": labels}

    def compute(self, stats: Stats) -> jax.Array:
        return jnp.exp(stats["nats"].sum() / stats["labels"].sum())


#: The perplexity of data without padding; see `Perplexity` for an `ignore_label`.
perplexity = Perplexity()


# ---- shared ----


def _check_classes(name: str, classes: int) -> None:
    if not isinstance(classes, numbers.Integral) or classes < 2:
        raise ValueError(
            f"{name}: classes must be an int of at least 2, got {classes!r}"
        )


def _predicted_and_true(
    name: str, outputs: ArrayLike, targets: ArrayLike, classes: int, threshold: float
) -> tuple[jax.Array, jax.Array]:
    """Class numbers [N, ...], from scores of class 1 or from one output a class."""
    y, t = jnp.asarray(outputs), jnp.asarray(targets)
    if classes == 2 and (y.ndim == 1 or y.shape[-1:] == (1,)):
        score, true = _column(y), t if t.shape == _column(y).shape else _column(t)
        if score.shape != true.shape:
            raise ValueError(
                f"{name}: scores of class 1 and targets must be of one shape, "
                f"got outputs {_show(y)} and targets {_show(t)}"
            )
        return _signed(score > threshold), _signed(_wide(true) > 0.5)
    if y.shape[-1:] != (classes,):
        raise ValueError(f"{name}: outputs must be [N, ..., {classes}], got {_show(y)}")
    true = _numbers(y, _class_labels(name, y, t))
    return y.argmax(-1).astype(true.dtype), true


def _numbers(outputs: jax.Array, labels: jax.Array) -> jax.Array:
    """Class numbers [N, ...] of labels, which may be rows [N, ..., C]."""
    return labels.argmax(-1) if labels.ndim == outputs.ndim else labels


def _column(x: jax.Array) -> jax.Array:
    """[N, ..., 1] as [N, ...]; anything else as it is."""
    return x[..., 0] if x.ndim > 1 and x.shape[-1] == 1 else x


def _wide(x: jax.Array) -> jax.Array:
    """Floating point, in float32 at least."""
    is_float = jnp.issubdtype(x.dtype, jnp.floating)
    return x.astype(_at_least_float32(x.dtype) if is_float else jnp.float32)


def _times(weights: jax.Array, values: jax.Array) -> jax.Array:
    """weights · values, and 0 for weight 0, whatever the value of a padded example."""
    return jnp.where(weights == 0, 0, weights * values)


def _share(part: jax.Array, whole: jax.Array) -> jax.Array:
    """part / whole, and 0 for nothing of nothing."""
    return part / jnp.where(whole == 0, 1, whole)
