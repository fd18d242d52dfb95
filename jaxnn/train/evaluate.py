# SPDX-License-Identifier: Apache-2.0
"""Exact metrics and outputs for any number of examples, in batches."""

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxnn import trees
from jaxnn.core import Layer, as_layer
from jaxnn.metrics import Mean, Metric
from jaxnn.spec import Spec
from jaxnn.train import checks
from jaxnn.train.batch import length, rows_of, unpack
from jaxnn.train.facts import Facts, facts
from jaxnn.train.programs import Program, program
from jaxnn.train.rooms import Room, enter, first_rows, power_of_two
from jaxnn.train.source import (
    as_batch,
    check_stream,
    count_of,
    is_stream,
    iterate,
    watched,
)
from jaxnn.train.state import variables
from jaxnn.train.step import in_metric, loss_weights, named_metrics
from jaxnn.trees import describe

BATCH = 256
#: The mean over no examples.
NOTHING = float("nan")


def evaluate(
    net: Layer,
    state: Any,
    data: Any,
    *,
    loss: Callable[..., jax.Array] | None = None,
    metrics: Mapping[str, Any] | None = None,
    batch_size: int = BATCH,
) -> dict[str, Any]:
    """The exact loss and metrics over a data set: every example counts once.

    Args:
        net: a network.
        state: a `TrainState`, or a pair `(params, state)`.
        data: `(inputs, targets)` or `(inputs, targets, weights)`, arrays `[N, ...]`; or
            an iterable of such batches.
        loss: `loss(outputs, targets) -> [N]`.
        metrics: a dict from names to `metric(outputs, targets) -> [N]` or a `Metric`.
        batch_size: examples at a time; affects memory use, not the result.

    Returns:
        A dict from each name (including `loss`) to its value; NaN if no example counts.

    >>> import jax.numpy as jnp, jaxnn as nn
    >>> data = jnp.array([[1.0], [2.0], [6.0]]), jnp.zeros((3, 1))
    >>> nn.evaluate(nn.Identity(), ({}, {}), data, loss=nn.losses.mean_absolute_error)
    {'loss': 3.0}
    """
    evaluator = Evaluator(net, loss, metrics, batch_size)
    params, net_state = variables(state)
    if is_stream(data):
        check_stream(data, 1, "data")
        evaluator.add_stream(params, net_state, data, "data")
    else:
        evaluator.check(params, net_state, data)
        evaluator.add(params, net_state, evaluator.enter(data, "data"))
    return evaluator.result()


def as_measures(loss: Any, metrics: Any) -> dict[str, Metric]:
    """The loss and the metrics as streaming metrics by name."""
    named = named_metrics(loss, metrics)
    return named if loss is None else {"loss": Mean(loss)} | named


class Measurement(Spec):
    """What to measure of a network; hashable, so that equal ones compile only once."""

    net: Layer
    loss: Callable[..., jax.Array] | None
    measures: tuple[tuple[str, Metric], ...]


class Evaluator:
    """Accumulates the statistics of metrics over batches; in float64 on the host."""

    def __init__(self, net: Layer, loss: Any, metrics: Any, batch_size: int = BATCH):
        self.net, self.loss = as_layer(net, "evaluate"), loss
        self.batch_size = batch_size
        self.measures = as_measures(loss, metrics)
        if not self.measures:
            raise ValueError("evaluate: give a loss, metrics, or both")
        checks.check_batch_size(batch_size, 2**62)
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
        batch = checks.checked_pair(batch, what, zero_weights=zero_weights)
        x, targets, _ = unpack(batch)
        if checks.has_memory(state):
            with checks.inputs_of(what), _without_memory(state):
                _trace(self.net, params, state, x)
        about = {"loss": self.loss, "metrics": self.measures, "what": what}
        checks.check_together(self.net, (params, state), batch, **about)
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
            with in_metric(name):
                if isinstance(metric, Mean):
                    values = jax.eval_shape(metric.function, outputs, targets)
                    checks.check_each(name, values, examples)
                else:
                    given = outputs, targets, jnp.ones(examples)
                    jax.eval_shape(metric.update, *given)

    def add_stream(self, params: Any, state: Any, data: Any, what: str) -> None:
        """Check and measure each batch of an iterable."""
        batches = watched(iterate(data, what), count_of(data), what)
        for number, batch in enumerate(batches):
            name = f"{what} batch {number}"
            batch = as_batch(batch, name)
            self.check(params, state, batch, name, zero_weights=True)
            self.add(params, state, self.enter(batch, name))

    def enter(self, data: Any, what: str) -> Room:
        """A copy of checked data on the device, for `add`."""
        return enter(data, self.batch_size, what)

    def add(self, params: Any, state: Any, batch: Room) -> None:
        """Measure the examples of a batch that `enter` returned."""
        what = Measurement(self.net, self.loss, tuple(self.measures.items()))
        options = {"what": what, "batch_size": batch.batch_size}
        examples = np.int32(batch.examples)
        self.parts.append(measure(params, state, batch.data, examples, **options))
        self.examples.append(batch.examples)

    def result(self, what: str = "evaluate") -> dict[str, Any]:
        """The value of each metric over all batches."""
        if not self.parts:
            raise ValueError(f"{what}: the data are empty; there is no batch")
        parts = jax.device_get(self.parts)
        values = {
            name: self._value(m, [p[name] for p in parts])
            for name, m in self.measures.items()
        }
        empty = [name for name, value in values.items() if value is NOTHING]
        if empty:
            warnings.warn(
                f"{what}: no example counts, each having weight 0 or no label but "
                f"ignored ones; NaN: {', '.join(empty)}",
                stacklevel=3,
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
    params, state, data, examples=None, *, what: Measurement, batch_size: int
):
    """Statistics of data in batches, as one program.

    Means give (values [N], weights [N]); stacked metrics their arrays [N, ...]; others
    the sum over all batches, [1, ...]. Only the first `examples` rows count (by default
    all of them); the results for the other rows are arbitrary.
    """
    room = length(data)
    examples = room if examples is None else examples
    batches = -(-examples // batch_size)
    measures = what.measures

    def one(i):
        start, fresh = _place(i, examples, batch_size)
        batch = jax.tree.map(partial(_slice, start=start, size=batch_size), data)
        x, targets, weights = unpack(batch)
        outputs, _ = what.net.apply(params, state, x)
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
        return start, stats

    per_example = {name for name, m in measures if isinstance(m, Mean) or m.stack}
    shapes = jax.eval_shape(one, 0)[1]
    carry = {
        name: jax.tree.map(partial(_buffer, name in per_example, room), shapes[name])
        for name, _ in measures
    }

    def body(i, carry):
        start, stats = one(i)
        new = {}
        for name, _ in measures:
            put = partial(_write, start=start) if name in per_example else jnp.add
            new[name] = jax.tree.map(put, carry[name], stats[name])
        return new

    carry = jax.lax.fori_loop(0, batches, body, carry)
    return {
        name: s if name in per_example else jax.tree.map(lambda a: a[None], s)
        for name, s in carry.items()
    }


measure = Program(statistics)


def _place(i: Any, examples: int, size: int) -> tuple[Any, jax.Array]:
    """Where batch `i` starts, and which of its rows are new.

    The last batch starts early enough to be full: it repeats rows of the previous one
    and overwrites their results with the same numbers. If there are fewer examples than
    the batch size, the remaining rows do not count.
    """
    start = jnp.maximum(jnp.minimum(i * size, examples - size), 0)
    rows = jnp.arange(size) + start
    return start, (rows >= i * size) & (rows < examples)


def _slice(a: jax.Array, *, start: Any, size: int) -> jax.Array:
    return jax.lax.dynamic_slice_in_dim(a, start, size)


def _write(buffer: jax.Array, rows: jax.Array, *, start: Any) -> jax.Array:
    return jax.lax.dynamic_update_slice_in_dim(buffer, rows, start, 0)


def _buffer(per_example: bool, room: int, s: jax.ShapeDtypeStruct) -> jax.Array:
    return jnp.zeros((room, *s.shape[1:]) if per_example else s.shape, s.dtype)


def _cut(stats: Any, examples: int) -> Any:
    """Per-example statistics without the padding rows after the examples."""
    return jax.tree.map(lambda a: a[:examples], stats)


def _fill_up(a: np.ndarray) -> np.ndarray:
    """Pad the rows with zeros, so that `compute` is compiled for few lengths."""
    rest = power_of_two(len(a)) - len(a)
    return np.pad(a, [(0, rest)] + [(0, 0)] * (a.ndim - 1))


def predict(net: Layer, state: Any, inputs: Any, *, batch_size: int = BATCH) -> Any:
    """The outputs of a network for any number of inputs, in batches.

    Args:
        net: a network.
        state: a `TrainState`, or a pair `(params, state)`.
        inputs: arrays `[N, ...]`; N may be 0.
        batch_size: examples at a time; affects memory use, not the result.

    Returns:
        Outputs `[N, ...]`.

    >>> import jax.numpy as jnp, jaxnn as nn
    >>> nn.predict(nn.Flatten(), ({}, {}), jnp.ones((515, 8, 8))).shape
    (515, 64)
    """
    net, (params, net_state) = as_layer(net, "predict"), variables(state)
    (inputs,) = checks.as_arrays((inputs,), "")
    for path, a in trees.paths((inputs,)).items():
        if not a.shape:
            raise TypeError(
                f"{checks.leaf_name('', path)}: must be an array [N, ...], got "
                f"{describe(a):.100}"
            )
    lengths = {len(a) for a in jax.tree.leaves(inputs)}
    if len(lengths) != 1:
        raise ValueError(
            "inputs: must hold arrays with the same number of examples, got "
            f"{describe(inputs):.100}"
        )
    checks.check_batch_size(batch_size, 2**62)
    with _without_memory(net_state):
        found = _trace(net, params, net_state, inputs)
    checks.check_values(found, inputs, "predict")
    examples = length(inputs)
    if examples == 0:
        shapes = found.outputs
        return jax.tree.map(lambda y: jnp.zeros((0, *y.shape[1:]), y.dtype), shapes)
    checks.check_features("inputs", inputs)
    batch = enter(inputs, batch_size, "inputs")
    given = params, net_state, batch.data, np.int32(examples)
    outputs = predict_batches(*given, net=net, batch_size=batch.batch_size)
    return jax.tree.map(partial(first_rows, n=examples), outputs)


@program()
def predict_batches(params, state, inputs, examples, *, net, batch_size):
    """The outputs for padded inputs, in batches; one program for each padded length."""

    def one(i):
        start, _ = _place(i, examples, batch_size)
        x = jax.tree.map(partial(_slice, start=start, size=batch_size), inputs)
        return start, net.apply(params, state, x)[0]

    def body(i, buffers):
        start, y = one(i)
        return jax.tree.map(partial(_write, start=start), buffers, y)

    shapes = jax.eval_shape(one, 0)[1]
    buffers = jax.tree.map(partial(_buffer, True, length(inputs)), shapes)
    return jax.lax.fori_loop(0, -(-examples // batch_size), body, buffers)


def _trace(net: Layer, params: Any, state: Any, x: Any) -> Facts:
    """Trace the network on one example, and first on two if it remembers a batch."""
    if checks.has_memory(state) and length(x) > 1:
        checks.check_network(net, params, state, rows_of(x, 2))
    return checks.check_network(net, params, state, rows_of(x, 1))


@contextmanager
def _without_memory(state: Any) -> Iterator[None]:
    """Make errors raised inside explain what to do with a stateful network."""
    try:
        yield
    except ValueError as error:
        if checks.has_memory(state):
            error.add_note(
                "a stateful network's memory is that of its training batch: give the "
                "network that stateful was given, which has none"
            )
        raise
