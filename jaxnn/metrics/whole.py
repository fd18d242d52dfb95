# SPDX-License-Identifier: Apache-2.0
"""Metrics of scores, numbers and labels that are not a mean over examples."""

import functools
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxnn.losses import example_weights, mean_squared_error, softmax_cross_entropy
from jaxnn.losses.contracts import Contract
from jaxnn.losses.pairs import floats, number_pair, one_array
from jaxnn.messages.phrases import describe
from jaxnn.metrics.metric import Mean, Metric, Stats
from jaxnn.metrics.shared import check_ignore_label, column, times, wide


@dataclass(frozen=True)
class RocAuc(Metric):
    """Exact area under the receiver operating characteristic; ties count half.

    This is the probability that a positive example scores above a negative one,
    Σ_ij w_i w_j ([s_i > s_j] + [s_i = s_j]/2) / Σ_ij w_i w_j over such pairs (i, j).
    It is NaN if one of the two classes is absent or a score that counts is NaN.

    Outputs are scores [N] or [N, 1], or two columns [N, 2], whose score is the second
    minus the first: correct for logits and log-probabilities, while probabilities
    closer than 1e-7 tie. Targets are 0 and 1, [N] or [N, 1], or one-hot [N, 2].

    Example:
        >>> scores, targets = jnp.array([0.1, 0.4, 0.4, 0.8]), jnp.array([0, 0, 1, 1])
        >>> print(RocAuc()(scores, targets))
        0.875

    Reference: Hanley & McNeil, The Meaning and Use of the Area under a Receiver
    Operating Characteristic (ROC) Curve, 1982.
    """

    stack: ClassVar[bool] = True
    zeros_count_nothing: ClassVar[bool] = True
    contract: ClassVar[Contract] = Contract("any", "signs")

    def update(self, outputs: Any, targets: Any, weights: ArrayLike) -> Stats:
        y = wide(floats("RocAuc", outputs))
        t = one_array("RocAuc", "targets", targets)
        score = y[:, 1] - y[:, 0] if y.ndim == 2 and y.shape[1] == 2 else column(y)
        positive = t[:, 1] if t.ndim == 2 and t.shape[1] == 2 else column(t)
        if score.ndim != 1 or score.shape != positive.shape:
            raise ValueError(
                "RocAuc: outputs must be [N], [N, 1] or [N, 2] and targets [N], [N, 1] "
                f"or one-hot [N, 2], got outputs {describe(y)} and targets "
                f"{describe(t)}"
            )
        weight = jnp.asarray(weights)
        positive = wide(positive) > 0.5
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

    Outputs and targets are [N] or [N, ...], of the same shape; the mean is over all
    numbers.

    Example:
        >>> print(RootMeanSquaredError()(jnp.array([1.0, 7.0]), jnp.array([0.0, 0.0])))
        5.0
    """

    stack: ClassVar[bool] = False

    def update(self, outputs: Any, targets: Any, weights: ArrayLike) -> Stats:
        y, t, _ = number_pair("RootMeanSquaredError", outputs, targets)
        return Mean(mean_squared_error).update(y, t, weights)

    def compute(self, stats: Stats) -> jax.Array:
        return jnp.sqrt(Mean(mean_squared_error).compute(stats))


@dataclass(frozen=True)
class R2(Metric):
    """Coefficient of determination: 1 − Σ w (y − t)² / Σ w (t − mean t)².

    1 is perfect; 0 is as good as predicting the mean of the targets. Values of several
    outputs [N, ...] are averaged. If the targets do not vary, the value is 1 without
    errors, else 0. Statistics are stacked, because subtracting the mean from sums of
    squares afterwards loses all digits when the mean is large compared with the spread.

    Example:
        >>> y, t = jnp.array([1.0, 2.0, 4.0]), jnp.array([1.0, 2.0, 3.0])
        >>> print(R2()(y, t))
        0.5
    """

    stack: ClassVar[bool] = True
    zeros_count_nothing: ClassVar[bool] = True

    def update(self, outputs: Any, targets: Any, weights: ArrayLike) -> Stats:
        y, t, _ = number_pair("R2", outputs, targets)
        return {"target": t, "error": y - t, "weight": jnp.asarray(weights)}

    def compute(self, stats: Stats) -> jax.Array:
        t, error = (stats[k].reshape(len(stats[k]), -1) for k in ("target", "error"))
        w = stats["weight"].astype(t.dtype)[:, None]
        # Relative to one of the targets, so that equal targets differ by exactly 0.
        t = t - t[jnp.argmax(w != 0)][None]
        mean = times(w, t).sum(0, keepdims=True) / w.sum()
        residual = times(w, jnp.square(error)).sum(0)
        total = times(w, jnp.square(t - mean)).sum(0)
        flat = jnp.where(residual == 0, 1.0, 0.0)
        varied = 1 - residual / jnp.where(total == 0, 1, total)
        value = jnp.where(total == 0, flat, varied).mean()
        return jnp.where(jnp.isnan(residual).any() | (w.sum() == 0), jnp.nan, value)


@dataclass(frozen=True)
class Perplexity(Metric):
    """exp of the mean cross-entropy of a label, in nats: exp(−1/M Σ log softmax(z)_t).

    The number of equally likely classes that are as hard to predict. The mean is over
    all M labels of the data set that are not ignored, however they are spread over
    examples and batches. Outputs are logits [N, C] or [N, ..., C], targets are integers
    [N, ...]; examples of weight 0 are left out.

    Args:
        ignore_label: a label to ignore, such as padding.
    Example:
        >>> logits, labels = jnp.zeros((2, 3, 65)), jnp.array([[5, 6, 0], [7, 0, 0]])
        >>> print(Perplexity(ignore_label=0)(logits, labels).round(3))
        65.0

    Reference: Jelinek et al., Perplexity: a Measure of the Difficulty of Speech
    Recognition Tasks, 1977.
    """

    ignore_label: int | None = None
    contract: ClassVar[Contract] = Contract("logits", "classes")
    stack: ClassVar[bool] = True  # sums over millions of labels lose digits
    zeros_count_nothing: ClassVar[bool] = True

    def __post_init__(self):
        check_ignore_label(self)

    def update(self, outputs: Any, targets: Any, weights: ArrayLike) -> Stats:
        loss = functools.partial(softmax_cross_entropy, ignore_label=self.ignore_label)
        nats = wide(loss(outputs, targets))
        labels = example_weights(loss, targets)
        if labels is None:
            each = jnp.size(targets) // max(len(nats), 1)
            labels = jnp.full(nats.shape, each, jnp.float32)
        labels = jnp.where(jnp.asarray(weights) == 0, 0, labels).astype(nats.dtype)
        return {"nats": times(labels, nats), "labels": labels}

    def compute(self, stats: Stats) -> jax.Array:
        return jnp.exp(stats["nats"].sum() / stats["labels"].sum())


#: Perplexity for data without padding; see `Perplexity` for an `ignore_label`.
perplexity = Perplexity()
