# SPDX-License-Identifier: Apache-2.0
"""A metric of one entry of a dict of outputs."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
from jax.typing import ArrayLike

from jaxnn.losses.combine import terms_of
from jaxnn.messages.phrases import describe, nearest
from jaxnn.metrics.metric import Mean, Metric, as_metric, beside
from jaxnn.spec import Spec


def select(name: str, metric: Callable | Metric) -> Metric:
    """A metric of the entry `name` of outputs and targets that are dicts.

    Args:
        name: a key of the outputs and the targets.
        metric: `metric(outputs, targets) -> [N]`, or a streaming `Metric`.
    Returns: a metric of the same kind.
    Raises: TypeError if `name` is no string or the metric none.
    Example:
        >>> import jax.numpy as jnp, jaxnn as nn
        >>> accuracy = nn.metrics.select("digit", nn.metrics.accuracy)
        >>> outputs = {"digit": jnp.array([[0.0, 1.0]]), "angle": jnp.array([3.0])}
        >>> float(accuracy(outputs, {"digit": jnp.array([1])}))
        1.0
    """
    if not isinstance(name, str):
        raise TypeError(
            "select: name must be a key of the outputs, which must be a dict, as in "
            f"return {{'digit': ..., 'angle': ...}}; got {name!r:.60}"
        )
    metric = as_metric(metric, owner="select")
    if isinstance(metric, Mean):
        return Mean(_Entry(name, metric.function))
    return _Selected(name, metric)


class _Entry(Spec):
    """A function of one entry; `example_weights` looks into it."""

    entry: str
    measure: Callable

    def __call__(self, outputs: Any, targets: Any) -> jax.Array:
        return self.measure(*_entries(self.entry, outputs, targets))


class _Selected(Spec, Metric):
    """A streaming metric of one entry."""

    entry: str
    metric: Metric

    @property
    def stack(self):  # type: ignore[override]
        return self.metric.stack

    @property
    def zeros_count_nothing(self):
        return getattr(self.metric, "zeros_count_nothing", False)

    def update(self, outputs: Any, targets: Any, weights: ArrayLike) -> Any:
        return self.metric.update(*_entries(self.entry, outputs, targets), weights)

    def compute(self, stats: Any) -> jax.Array:
        return self.metric.compute(stats)


def beside_each(loss: Any, metric: Metric) -> Metric:
    """`beside`, also for a combined loss: a metric of an entry stands beside its loss.

    Args:
        loss: a loss or None.
        metric: a metric.
    """
    own = metric.function if isinstance(metric, Mean) else metric
    if isinstance(own, _Entry):
        inner = beside(terms_of(loss).get(own.entry), Mean(own.measure))
        return select(own.entry, inner)
    if isinstance(own, _Selected):
        return select(own.entry, beside(terms_of(loss).get(own.entry), own.metric))
    return beside(loss, metric)


def _entries(name: str, outputs: Any, targets: Any) -> tuple[Any, Any]:
    for what, given in (("outputs", outputs), ("targets", targets)):
        if not isinstance(given, Mapping) or name not in given:
            near = nearest(name, map(str, given)) if isinstance(given, Mapping) else ""
            raise ValueError(
                f"select: {what} must be a dict with {name!r}, got "
                f"{describe(given):.100}{near}"
            )
    return outputs[name], targets[name]
