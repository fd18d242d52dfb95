# SPDX-License-Identifier: Apache-2.0
"""A whole training run as one pure function."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxnn.checks import positive_int
from jaxnn.layout import Layout, check_layout
from jaxnn.messages.phrases import describe
from jaxnn.messages.tracebacks import entrance
from jaxnn.metrics import Mean
from jaxnn.train.batch import length
from jaxnn.train.checks import check_pair, fitting_batch_size, on_device
from jaxnn.train.early_stopping import (
    EarlyStopping,
    Plateau,
    checked_watch,
    rate_scale,
    show_best,
)
from jaxnn.train.epoch import AnyStep, as_step, checked_rows, gather, train_epoch
from jaxnn.train.evaluate import (
    MEAN,
    Measurement,
    as_measures,
    statistics,
)
from jaxnn.train.predict import BATCH
from jaxnn.train.state import TrainState, steps_taken
from jaxnn.train.step import TrainStep

Logs = dict[str, jax.Array]


@entrance
def run(
    step: Any,
    state: TrainState,
    data: Any,
    *,
    epochs: int,
    batch_size: int,
    validation: Any = None,
    early_stopping: EarlyStopping | None = None,
    plateau: Plateau | None = None,
    shuffle: bool = True,
    rows: jax.Array | None = None,
    validation_rows: jax.Array | None = None,
    until: jax.Array | None = None,
    layout: Layout | None = None,
) -> tuple[TrainState, Logs]:
    """Train for whole epochs, validate, stop early: one pure, traceable function.

    `fit` gives the same numbers; it adds data checks, progress, callbacks and Ctrl-C.
    Use this with `jax.jit`, and with `jax.vmap` over states (and whatever the step is
    made from) to train many networks in one program. Under `jax.vmap`, runs that have
    stopped wait for the others.

    Args:
        step: a `train_step`, or any `step(state, batch) -> (state, logs)` whose state
            is a `TrainState`.
        state: a `TrainState` at the start of an epoch, not necessarily the first.
        data: a pytree of arrays `[N, ...]`; for a `train_step`, `(inputs, targets)`.
        epochs: the total number of epochs, as in `fit`.
        batch_size: examples per step; the last batch of an epoch may be smaller, and
            all examples are taken if there are fewer.
        validation: data in the same form; for a custom step a function
            `validation(state) -> logs`.
        early_stopping: an `EarlyStopping`; the returned state then has the best
            weights.
        plateau: a `Plateau`.
        shuffle: whether to draw a new order for each epoch.
        rows: int `[M]`, the examples to train on; None for all.
        validation_rows: int `[K]`, the examples to validate on; None for all.
        until: int `[]`, stop after this many of the `epochs`; it may be traced, so that
            one program serves runs of several lengths.
        layout: where batches and parameters lie on several devices; see `nn.Layout`.
            None: that of the step, if it has one.

    Returns:
        `(state, logs)`: the `TrainState` after the run, and a dict from each name
        (`loss`, `val_loss`, ...) to one number per epoch, `[epochs]`; NaN for epochs
        that were not run.

    >>> import jax, jax.numpy as jnp, jaxnn as nn, optax
    >>> x = jnp.linspace(-1, 1, 20)[:, None]
    >>> def train(rate, key):
    ...     net, optimizer = nn.Dense(1), optax.sgd(rate)
    ...     step = nn.train_step(net, nn.losses.mean_squared_error, optimizer)
    ...     state = nn.train_state(net, optimizer, x, key=key)
    ...     return nn.train.run(step, state, (x, 2 * x), epochs=20, batch_size=5)
    >>> rates, key = jnp.array([0.001, 0.01, 0.1]), jax.random.key(0)
    >>> states, logs = jax.jit(jax.vmap(train, (0, None)))(rates, key)
    >>> logs["loss"].shape, int(logs["loss"][:, -1].argmin())
    ((3, 20), 2)
    """
    positive_int("run", "epochs", epochs)
    check_layout("run", layout)
    step, data = as_step(step), on_device(data, "run: data")
    layout = step.layout if layout is None else layout
    rows = None if rows is None else checked_rows("run", rows, length(data))
    examples = length(data) if rows is None else len(rows)
    batch_size = fitting_batch_size("run", batch_size, examples)
    steps = -(-examples // batch_size)
    validate = _validation(step, validation, validation_rows, layout)
    watch = checked_watch("run", early_stopping, plateau)
    state = watch.begin("run", jax.tree.map(jnp.asarray, state))

    def epoch(state):
        state, logs = train_epoch(
            *(step, state, data),
            **{"batch_size": batch_size, "shuffle": shuffle, "rows": rows},
            layout=layout,
        )
        logs |= {f"val_{name}": value for name, value in validate(state).items()}
        if watch.watches:
            watch.check("run", logs)
            state = watch.look(state, logs, steps_taken(state) // steps)
        scale = rate_scale(state)
        return state, logs | ({} if scale is None else {"rate_scale": scale.ravel()[0]})

    def body(carry):
        state, logs = carry
        number = steps_taken(state) // steps
        state, new = epoch(state)
        return state, {name: logs[name].at[number].set(new[name]) for name in logs}

    def more(carry):
        state, _ = carry
        return (steps_taken(state) < last * steps) & ~watch.stops(state).any()

    last = epochs if until is None else jnp.minimum(until, epochs)
    state, logs = jax.lax.while_loop(
        more, body, (state, _nothing(epoch, state, epochs))
    )
    return show_best(state), logs


def _nothing(epoch: Callable[..., Any], state: Any, epochs: int) -> Logs:
    """The logs before the first epoch."""
    shapes = jax.eval_shape(epoch, state)[1]
    return {
        name: jnp.full((epochs, *s.shape), jnp.nan, s.dtype)
        if jnp.issubdtype(s.dtype, jnp.floating)
        else jnp.zeros((epochs, *s.shape), s.dtype)
        for name, s in shapes.items()
    }


def _validation(
    step: AnyStep, data: Any, rows: Any, layout: Layout | None
) -> Callable[[Any], Any]:
    """A function from the state to the validation logs."""
    if data is None:
        return lambda state: {}
    if isinstance(step, TrainStep) and callable(data):
        raise TypeError(
            "run: validation must be arrays (inputs, targets) for a network, got a "
            "function"
        )
    if not isinstance(step, TrainStep):
        if not callable(data):
            raise TypeError(
                "run: validation must be a function validation(state) -> logs for a "
                f"custom step, got {describe(data):.100}"
            )
        return data
    if step.takes_pairs:
        check_pair(data, "run: validation")
    data = on_device(data, "run: validation")
    if rows is not None:
        data = jax.tree.map(lambda a: gather(a, rows), data)
    measures = as_measures("run", step.loss, dict(step.metrics))
    what = Measurement(step.net, step.loss, tuple(measures.items()), layout)
    size = min(BATCH, length(data))

    def validate(state):
        stats = statistics(state.params, state.state, data, what=what, batch_size=size)
        return {name: _value(measures.get(name, MEAN), s) for name, s in stats.items()}

    return validate


def _value(metric: Any, stats: Any) -> Any:
    """What `Evaluator` computes on the host in float64, but on the device."""
    if isinstance(metric, Mean):
        values, weights = stats
        values = values.astype(jnp.promote_types(values.dtype, jnp.float32))
        weights = weights.astype(values.dtype)
        total = weights.sum()
        kept = jnp.where(weights == 0, jnp.zeros_like(values), values)
        return (weights * kept).sum() / jnp.where(total == 0, jnp.nan, total)
    if not metric.stack:
        stats = jax.tree.map(lambda s: s.sum(0, dtype=s.dtype), stats)
    return metric.compute(stats)
