# SPDX-License-Identifier: Apache-2.0
"""Exact metrics and outputs for any number of examples, in batches."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxnn.core import Layer, as_layer, check_key
from jaxnn.layout import Layout, applied
from jaxnn.losses.combine import parts_of
from jaxnn.messages.arguments import answered
from jaxnn.messages.tracebacks import warn
from jaxnn.metrics import Mean, Metric
from jaxnn.spec import Spec
from jaxnn.train import checks
from jaxnn.train.batch import length, rows_of
from jaxnn.train.example_weights import ClassWeight, with_weights
from jaxnn.train.facts import facts
from jaxnn.train.inside import inside_metric
from jaxnn.train.objective import Objective, body_of, unpack
from jaxnn.train.predict import (
    BATCH,
    empty_rows,
    placed,
    rows_from,
    trace_few,
    window,
    without_carry,
    write_rows,
)
from jaxnn.train.programs import Program
from jaxnn.train.rooms import Room, enter, power_of_two
from jaxnn.train.source import (
    as_batch,
    check_stream,
    count_of,
    is_stream,
    iterate,
    watched,
)
from jaxnn.train.state import variables
from jaxnn.train.step import (
    Loss,
    as_trained,
    in_order,
    loss_weights,
    named_metrics,
)

#: What the loss logs beside its values: only `compute` of it is used.
MEAN = Mean(lambda outputs, targets: outputs)
#: The mean over no examples.
NOTHING = float("nan")


@answered
def evaluate(
    net: Layer,
    state: Any,
    data: Any,
    *,
    loss: Loss | None = None,
    objective: Objective | None = None,
    metrics: Mapping[str, Any] | None = None,
    class_weight: ClassWeight | None = None,
    batch_size: int = BATCH,
    key: jax.Array | None = None,
    layout: Layout | None = None,
) -> dict[str, Any]:
    """The exact loss and metrics over a data set: every example counts once.

    Args:
        net: a network.
        state: a `TrainState`, or a pair `(params, state)`.
        data: `(inputs, targets)` or `(inputs, targets, weights)`, arrays `[N, ...]`; or
            an iterable of such batches.
        loss: `loss(outputs, targets) -> [N]`, or a dict of losses by output.
        objective: in place of a loss, as in `fit`; its values are the `loss`, its logs
            are beside it, and the data are what it takes.
        metrics: a dict from names to `metric(outputs, targets) -> [N]` or a `Metric`.
        class_weight: the weight of each class's examples in the loss, as in `fit`;
            metrics count every example once.
        batch_size: examples at a time; affects memory use, not the result, unless an
            objective draws random numbers, which it does batch by batch.
        key: the random key of an objective; None draws the same numbers in every call.
        layout: where batches and parameters lie on several devices; see `nn.Layout`.

    Returns:
        A dict from each name (including `loss`) to its value; NaN if no example counts.

    >>> import jax.numpy as jnp, jaxnn as nn
    >>> data = jnp.array([[1.0], [2.0], [6.0]]), jnp.zeros((3, 1))
    >>> nn.evaluate(nn.Identity(), ({}, {}), data, loss=nn.losses.mean_absolute_error)
    {'loss': 3.0}
    """
    net, loss = as_trained("evaluate", net, loss, objective, metrics)
    evaluator = Evaluator("evaluate", net, loss, metrics, batch_size, key, layout)
    params, net_state = placed("evaluate", variables(state, "evaluate"), layout)
    stream = is_stream(data, "evaluate: data")
    pairs = body_of(net) is None
    if class_weight is not None and not stream:
        if pairs:
            checks.check_pair(data, "evaluate: data")
        data = checks.as_arrays(data, "evaluate: data")
    data = with_weights("evaluate", data, None, class_weight, loss, pairs=pairs)
    if stream:
        check_stream(data, 1, "evaluate: data")
        evaluator.add_stream(params, net_state, data, "data")
    else:
        evaluator.check(params, net_state, data)
        inputs, _, _ = unpack(evaluator.net, data)
        checks.check_params("evaluate", evaluator.net, params, inputs)
        evaluator.add(params, net_state, evaluator.enter(data, "data"))
    return evaluator.result()


def as_measures(owner: str, loss: Any, metrics: Any) -> dict[str, Metric]:
    """The loss and the metrics as streaming metrics by name."""
    named = named_metrics(owner, loss, metrics)
    return named if loss is None else {"loss": Mean(loss)} | named


class Measurement(Spec):
    """What to measure of a network; hashable, so that equal ones compile only once."""

    net: Layer
    loss: Callable[..., jax.Array] | None
    measures: tuple[tuple[str, Metric], ...]
    layout: Layout | None = None


class Evaluator:
    """Accumulates the statistics of metrics over batches; in float64 on the host.

    `owner` is the function that the user called, for messages.
    """

    def __init__(
        self,
        owner: str,
        net: Layer,
        loss: Any,
        metrics: Any,
        batch_size: int = BATCH,
        key: jax.Array | None = None,
        layout: Layout | None = None,
    ):
        self.layout = layout
        self.owner, self.net, self.loss = owner, as_layer(net, owner), loss
        self.batch_size = batch_size
        if key is not None:
            check_key(key, owner)
        self.key = jax.random.key(0) if key is None else key
        self.measures = as_measures(owner, loss, metrics)
        if not self.measures:
            raise ValueError(f"{owner}: give a loss, metrics, or both")
        checks.check_batch_size(owner, batch_size)
        self.parts: list[dict[str, Any]] = []
        self.examples: list[int] = []

    def check(
        self,
        params: Any,
        state: Any,
        batch: Any,
        what: str = "data",
        zero_weights: bool = False,
    ) -> None:
        """Raise if the batch does not fit the network, the loss or the metrics."""
        name = f"{self.owner}: {what}"
        rules = {"pairs": body_of(self.net) is None, "zero_weights": zero_weights}
        batch = checks.checked_data(batch, name, **rules)
        x, targets, _ = unpack(self.net, batch)
        if checks.has_carry(state):
            with checks.inputs_of(what), without_carry(state):
                trace_few(self.owner, self.net, params, state, x)
        about = {"loss": self.loss, "metrics": self.measures, "what": what}
        checks.check_together(self.owner, self.net, (params, state), batch, **about)
        some = min(length(x), 2)
        example = rows_of((x, targets), some)
        self._check_values(params, state, example, some)

    def _check_values(
        self, params: Any, state: Any, batch: tuple[Any, Any], examples: int
    ) -> None:
        """Raise unless the loss and all metrics accept such outputs and targets."""
        x, targets = batch
        outputs = facts(self.net, params, state, x).outputs
        for name, metric in self.measures.items():
            with inside_metric(name, metric):
                if isinstance(metric, Mean):
                    values = jax.eval_shape(metric.function, outputs, targets)
                    checks.check_each(self.owner, name, values, examples)
                else:
                    given = outputs, targets, jnp.ones(examples)
                    jax.eval_shape(metric.update, *given)

    def add_stream(self, params: Any, state: Any, data: Any, what: str) -> None:
        """Check and measure each batch of an iterable."""
        whole = f"{self.owner}: {what}"
        batches = watched(iterate(data, whole), count_of(data), whole)
        for number, batch in enumerate(batches):
            name = f"{what} batch {number}"
            batch = as_batch(batch, f"{self.owner}: {name}")
            self.check(params, state, batch, name, zero_weights=True)
            self.add(params, state, self.enter(batch, name))

    def enter(self, data: Any, what: str) -> Room:
        """A copy of checked data on the device, for `add`."""
        room = enter(data, self.batch_size, f"{self.owner}: {what}")
        return room if self.layout is None else room.over(self.layout)

    def add(self, params: Any, state: Any, batch: Room) -> None:
        """Measure the examples of a batch that `enter` returned."""
        measures = tuple(self.measures.items())
        what = Measurement(self.net, self.loss, measures, self.layout)
        options = {"what": what, "batch_size": batch.batch_size}
        given = params, state, batch.data, np.int32(batch.examples)
        if body_of(self.net) is not None:
            given += (_part_key(self.key, len(self.parts)),)
        self.parts.append(measure(*given, **options))
        self.examples.append(batch.examples)

    def result(self, what: str = "data") -> dict[str, Any]:
        """The value of each metric over all batches."""
        if not self.parts:
            raise ValueError(f"{self.owner}: {what} must hold batches, got none")
        parts = jax.device_get(self.parts)
        more = {n: MEAN for n in parts[0] if n not in self.measures}
        measures = in_order(self.measures | more, ["loss", *more])
        values = {
            name: self._value(m, [p[name] for p in parts])
            for name, m in measures.items()
        }
        empty = [name for name, value in values.items() if value is NOTHING]
        if empty:
            warn(
                f"{self.owner}: {what} has no example that counts, each having weight "
                f"0 or no label but ignored ones; NaN: {', '.join(empty)}",
            )
        return values

    def _value(self, metric: Metric, stats: list[Any]) -> Any:
        if isinstance(metric, Mean) or metric.stack:
            stats = list(map(_cut, stats, self.examples))
        merged = jax.tree.map(lambda *s: np.concatenate(s), *stats)
        if isinstance(metric, Mean):
            values, weights = (np.asarray(a, np.float64) for a in merged)
            kept = weights != 0
            total = float(weights.sum())
            return float(values[kept] @ weights[kept]) / total if total else NOTHING
        if not metric.stack:
            merged = jax.tree.map(lambda s: s.sum(0, dtype=s.dtype), merged)
        elif getattr(metric, "zeros_count_nothing", False):
            merged = jax.tree.map(_fill_up, merged)
        value = metric.compute(jax.tree.map(jnp.asarray, merged))
        return float(value) if jnp.shape(value) == () else value


def statistics(
    params, state, data, examples=None, key=None, *, what: Measurement, batch_size: int
):
    """Statistics of data in batches, as one program.

    Means give (values [N], weights [N]); stacked metrics their arrays [N, ...]; others
    the sum over all batches, [1, ...]. What the loss logs beside its values are means.
    Only the first `examples` rows count (by default
    all of them); the results for the other rows are arbitrary.
    """
    room = length(data)
    if key is None and body_of(what.net) is not None:
        key = _part_key(jax.random.key(0), 0)
    examples = room if examples is None else examples
    batches = -(-examples // batch_size)
    measures = what.measures

    def one(i):
        start, fresh = window(i, examples, batch_size)
        batch = jax.tree.map(partial(rows_from, start=start, size=batch_size), data)
        own_key = None if key is None else jax.random.fold_in(key, i)
        measured = partial(measure_batch, own_key, fresh)
        return start, applied(what.layout, measured, batch)

    def measure_batch(key, fresh, batch):
        x, targets, weights = unpack(what.net, batch)
        outputs, _ = what.net.apply(params, state, x, key=key)
        own = loss_weights(what.loss, targets, weights, batch_size)
        counted = (own > 0).astype(own.dtype)
        stats = {}
        for name, metric in measures:
            weight = own if name == "loss" else counted
            if isinstance(metric, Mean):
                if name != "loss":  # whose weights already exclude ignored labels
                    weight = loss_weights(metric.function, targets, weight, batch_size)
                stats[name] = (metric.function(outputs, targets), weight)
            else:
                weight = weight if metric.stack else weight * fresh.astype(weight.dtype)
                stats[name] = metric.update(outputs, targets, weight)
        for name, values in parts_of(what.loss, outputs, targets).items():
            stats[name] = values, own
        return stats

    added = {n for n, m in measures if not (isinstance(m, Mean) or m.stack)}
    shapes = jax.eval_shape(one, 0)[1]
    per_example = shapes.keys() - added
    carry = {
        name: jax.tree.map(partial(empty_rows, name in per_example, room), shape)
        for name, shape in shapes.items()
    }

    def body(i, carry):
        start, stats = one(i)
        new = {}
        for name in carry:
            put = partial(write_rows, start=start) if name in per_example else jnp.add
            new[name] = jax.tree.map(put, carry[name], stats[name])
        return new

    carry = jax.lax.fori_loop(0, batches, body, carry)
    stats = {
        name: s if name in per_example else jax.tree.map(lambda a: a[None], s)
        for name, s in carry.items()
    }
    return stats if what.layout is None else what.layout.whole(stats)


measure = Program(statistics)


def _part_key(key: jax.Array, number: int) -> jax.Array:
    """The key of an objective for one part of the data."""
    return jax.random.fold_in(key, number)


def _cut(stats: Any, examples: int) -> Any:
    """Per-example statistics without the padding rows after the examples."""
    return jax.tree.map(lambda a: a[:examples], stats)


def _fill_up(a: np.ndarray) -> np.ndarray:
    """Pad the rows with zeros, so that `compute` is compiled for few lengths."""
    rest = power_of_two(len(a)) - len(a)
    return np.pad(a, [(0, rest)] + [(0, 0)] * (a.ndim - 1))
