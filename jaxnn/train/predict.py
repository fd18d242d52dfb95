# SPDX-License-Identifier: Apache-2.0
"""The outputs of a network for any number of inputs."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxnn import trees
from jaxnn.checks import is_float
from jaxnn.core import Layer, as_layer
from jaxnn.layout import Layout, applied, check_layout
from jaxnn.messages.arguments import answered
from jaxnn.messages.phrases import describe
from jaxnn.train import checks
from jaxnn.train.batch import length, rows_of
from jaxnn.train.facts import Facts
from jaxnn.train.programs import program
from jaxnn.train.rooms import enter, first_rows
from jaxnn.train.state import variables

BATCH = 256


@answered
def predict(
    net: Layer,
    state: Any,
    inputs: Any,
    *,
    batch_size: int = BATCH,
    layout: Layout | None = None,
) -> Any:
    """The outputs of a network for any number of inputs, in batches.

    Args:
        net: a network.
        state: a `TrainState`, or a pair `(params, state)`.
        inputs: arrays `[N, ...]`; N may be 0.
        batch_size: examples at a time; affects memory use, not the result.
        layout: where batches and parameters lie on several devices; see `nn.Layout`.

    Returns:
        Outputs `[N, ...]`.

    >>> import jax.numpy as jnp, jaxnn as nn
    >>> nn.predict(nn.Flatten(), ({}, {}), jnp.ones((515, 8, 8))).shape
    (515, 64)
    """
    net, given = as_layer(net, "predict"), variables(state, "predict")
    params, net_state = placed("predict", given, layout)
    (inputs,) = checks.as_arrays((inputs,), "predict:")
    for path, a in trees.paths((inputs,)).items():
        if not a.shape:
            what = checks.leaf_name("predict:", path)
            raise TypeError(f"{what} must be an array [N, ...], got {describe(a):.100}")
    lengths = {len(a) for a in jax.tree.leaves(inputs)}
    if len(lengths) != 1:
        raise ValueError(
            "predict: inputs must hold the same number of examples in each array, got "
            f"{describe(inputs):.100}"
        )
    checks.check_batch_size("predict", batch_size)
    with _as_inputs(net, params, net_state, inputs), without_carry(net_state):
        found = trace_few("predict", net, params, net_state, inputs)
        checks.check_params("predict", net, params, inputs)
        checks.check_values(found, inputs, "predict")
    examples = length(inputs)
    if examples == 0:
        shapes = found.outputs
        return jax.tree.map(lambda y: jnp.zeros((0, *y.shape[1:]), y.dtype), shapes)
    checks.check_features("predict: inputs", inputs)
    batch = enter(inputs, batch_size, "predict: inputs")
    batch = batch if layout is None else batch.over(layout)
    given = params, net_state, batch.data, np.int32(examples)
    static = {"net": net, "batch_size": batch.batch_size, "layout": layout}
    outputs = predict_batches(*given, **static)
    return jax.tree.map(partial(first_rows, n=examples), outputs)


@program()
def predict_batches(params, state, inputs, examples, *, net, batch_size, layout=None):
    """The outputs for padded inputs, in batches; one program for each padded length."""

    def one(i):
        start, _ = window(i, examples, batch_size)
        x = jax.tree.map(partial(rows_from, start=start, size=batch_size), inputs)
        return start, applied(layout, lambda x: net.apply(params, state, x)[0], x)

    def body(i, buffers):
        start, y = one(i)
        return jax.tree.map(partial(write_rows, start=start), buffers, y)

    shapes = jax.eval_shape(one, 0)[1]
    buffers = jax.tree.map(partial(empty_rows, True, length(inputs)), shapes)
    outputs = jax.lax.fori_loop(0, -(-examples // batch_size), body, buffers)
    return outputs if layout is None else layout.whole(outputs)


@contextmanager
def _as_inputs(net: Layer, params: Any, state: Any, inputs: Any) -> Iterator[None]:
    """Make errors raised inside say if a part of the inputs, or one more axis, fits."""

    def fits(x):
        try:
            trace_few("predict", net, params, state, x)
            checks.check_params("predict", net, params, x)
        except Exception:
            return False
        return True

    try:
        yield
    except Exception as error:
        pair = isinstance(inputs, tuple) and len(inputs) == 2 and fits(inputs[0])
        if pair and (_has_features(inputs[0]) or not fits(inputs)):
            raise TypeError(
                "predict: inputs is a pair (x, y); labels do not belong here: "
                f"nn.predict(net, state, x), got {describe(inputs):.100}"
            ) from None
        if pair:  # the network takes lengths
            error.add_note("labels do not belong in inputs: nn.predict(net, state, x)")
        elif fits(jax.tree.map(lambda a: a[None], inputs)):
            error.add_note(
                "inputs must be [N, ...]; one example becomes a batch by x[None]: "
                f"nn.predict(net, state, x[None]), got {describe(inputs):.100}"
            )
        raise


def _has_features(x: Any) -> bool:
    """Whether an array is `[N, C]`, whose last axis are no steps with lengths."""
    return getattr(x, "ndim", 0) == 2 and is_float(x)


def trace_few(owner: str, net: Layer, params: Any, state: Any, x: Any) -> Facts:
    """Trace the network on one example, and first on two if it remembers a batch."""
    if checks.has_carry(state) and length(x) > 1:
        checks.check_network(owner, net, params, state, rows_of(x, 2))
    return checks.check_network(owner, net, params, state, rows_of(x, 1))


@contextmanager
def without_carry(state: Any) -> Iterator[None]:
    """Make errors raised inside explain what to do with a stateful network."""
    try:
        yield
    except ValueError as error:
        if checks.has_carry(state):
            error.add_note(
                "a stateful network's carry is that of its training batch: give the "
                "network that stateful was given, which has none"
            )
        raise


def placed(owner: str, variables: Any, layout: Layout | None) -> Any:
    """A network's variables where a layout has them."""
    check_layout(owner, layout)
    return variables if layout is None else layout.place(variables)


def window(i: Any, examples: int, size: int) -> tuple[Any, jax.Array]:
    """Where batch `i` starts, and which of its rows are new.

    The last batch starts early enough to be full: it repeats rows of the previous one
    and overwrites their results with the same numbers. If there are fewer examples than
    the batch size, the remaining rows do not count.
    """
    start = jnp.maximum(jnp.minimum(i * size, examples - size), 0)
    rows = jnp.arange(size) + start
    return start, (rows >= i * size) & (rows < examples)


def rows_from(a: jax.Array, *, start: Any, size: int) -> jax.Array:
    if a.shape[0] == size:  # (a slice from a start would gather what devices split)
        return a
    return jax.lax.dynamic_slice_in_dim(a, start, size)


def write_rows(buffer: jax.Array, rows: jax.Array, *, start: Any) -> jax.Array:
    return jax.lax.dynamic_update_slice_in_dim(buffer, rows, start, 0)


def empty_rows(per_example: bool, room: int, s: jax.ShapeDtypeStruct) -> jax.Array:
    return jnp.zeros((room, *s.shape[1:]) if per_example else s.shape, s.dtype)
