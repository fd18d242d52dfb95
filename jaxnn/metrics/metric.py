# SPDX-License-Identifier: Apache-2.0
"""Metrics over a whole data set, from batch statistics that combine."""

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxnn.checks import parameters
from jaxnn.losses.contracts import contract_of, example_weights, ignored_label
from jaxnn.messages.answers import instead_of_text
from jaxnn.messages.phrases import describe, shown
from jaxnn.metrics.shared import times, wide

Stats = dict[str, jax.Array]


@runtime_checkable
class Metric(Protocol):
    """A metric over a data set: batch statistics that combine, and their value.

    A subclass is a frozen dataclass with these members; `metric(outputs, targets)` is
    the value on data given all at once.

    Attributes:
        stack: False if the statistics of two batches combine by addition; True if they
            are arrays [N, ...], one row per example, that combine by concatenation.
        zeros_count_nothing: True if rows of zeros in such arrays do not change the
            value; `evaluate` then pads them to a few lengths.
    """

    stack: ClassVar[bool]

    def update(self, outputs: Any, targets: Any, weights: ArrayLike) -> Stats:
        """Statistics of one batch; weights [N], 0 where an example does not count."""
        ...

    def compute(self, stats: Stats) -> jax.Array:
        """The metric's value from its statistics."""
        ...

    def __call__(self, outputs: Any, targets: Any) -> jax.Array:
        """The value on data given all at once, with every example counted."""
        examples = jnp.shape(jax.tree.leaves(outputs)[0])[0]
        return self.compute(self.update(outputs, targets, jnp.ones(examples)))


def as_metric(metric: Callable | Metric, *, owner: str = "as_metric") -> Metric:
    """The metric itself, or the `Mean` of a function of outputs and targets.

    Args:
        metric: a metric, or a function (outputs, targets) -> [N].
        owner: the function that messages name.
    Raises: TypeError for anything else, including a class instead of an instance.
    Example:
        >>> import jaxnn as nn
        >>> as_metric(nn.metrics.accuracy) == Mean(nn.metrics.accuracy)
        True
        >>> as_metric(nn.metrics.RocAuc())
        RocAuc()
    """
    if isinstance(metric, type):
        name = metric.__name__
        raise TypeError(
            f"{owner}: a metric must not be a class, got {name}; build it, {name}(...)"
        )
    if isinstance(metric, Metric):
        return metric
    if not callable(metric):
        raise TypeError(
            f"{owner}: a metric must be a function (outputs, targets) -> [N] or an "
            f"object with update, compute and stack, got {shown(metric)}"
            f"{instead_of_text('jaxnn.metrics', metric)}"
        )
    return Mean(metric)


def beside(loss: Callable | None, metric: Metric) -> Metric:
    """The metric adapted to a loss: it ignores the label that the loss ignores.

    A metric that already has an `ignore_label` keeps it. One that cannot ignore a label
    is returned unchanged; examples that do not count in the loss are then left out
    entirely.

    Example:
        >>> import jaxnn as nn
        >>> loss = nn.losses.softmax_cross_entropy
        >>> beside(functools.partial(loss, ignore_label=0), nn.metrics.F1(3))
        F1(classes=3, average='macro', threshold=0.0, ignore_label=0)
    """
    label = ignored_label(loss)
    if label is None or contract_of(loss) is None:
        return metric
    function = metric.function if isinstance(metric, Mean) else metric
    if ignored_label(function) is not None:
        return metric
    if isinstance(metric, Mean) and "ignore_label" in parameters(function):
        return Mean(functools.partial(function, ignore_label=label))
    if dataclasses.is_dataclass(metric) and hasattr(metric, "ignore_label"):
        return dataclasses.replace(metric, ignore_label=label)
    return metric


@dataclass(frozen=True, eq=False)
class Mean(Metric):
    """Mean over the examples of a function with one value per example: Σ w f / Σ w.

    The mean of no examples is NaN. If the function has a contract and binds
    `ignore_label`, each example is weighted by its number of other labels, so that the
    mean is over labels.

    Args:
        function: (outputs, targets) -> [N]. Two instances of `functools.partial` with
            the same function and arguments compare equal.
    Example:
        >>> import jaxnn as nn
        >>> top_2 = Mean(functools.partial(nn.metrics.top_k_accuracy, k=2))
        >>> outputs = jnp.array([[0.1, 0.6, 0.3], [0.1, 0.6, 0.3]])
        >>> print(top_2(outputs, jnp.array([2, 0])))
        0.5
    """

    function: Callable
    stack: ClassVar[bool] = False

    def update(self, outputs: Any, targets: Any, weights: ArrayLike) -> Stats:
        values, w = self.function(outputs, targets), jnp.asarray(weights)
        if getattr(values, "shape", None) != w.shape or w.ndim != 1:
            name = getattr(self.function, "__name__", repr(self.function))
            raise ValueError(
                f"metric: {name} must give one value per example, [{w.size}], got "
                f"{describe(values)}; leave the mean over examples to the trainer"
            )
        values = wide(jnp.asarray(values))
        w = w.astype(values.dtype)
        kept = example_weights(self.function, targets)
        if kept is not None:
            w = w * kept.astype(w.dtype)
        return {"total": times(w, values).sum(), "weight": w.sum()}

    def compute(self, stats: Stats) -> jax.Array:
        return stats["total"] / stats["weight"]

    def _identity(self) -> tuple:
        """What to compare: in Python, two partials with equal parts are not equal."""
        f = self.function
        if isinstance(f, functools.partial):
            return f.func, f.args, tuple(sorted(f.keywords.items()))
        return (f,)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Mean) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())
