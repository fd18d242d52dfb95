# SPDX-License-Identifier: Apache-2.0
"""Train a network in one call; a run is one compiled program called a few times."""

import copy as copying
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, cast

import jax
import jax.numpy as jnp
import optax

from jaxnn import trees
from jaxnn.checks import positive_int
from jaxnn.core import Layer, as_layer, check_key
from jaxnn.inputs.arrays import checked
from jaxnn.layout import Layout, check_layout
from jaxnn.messages.arguments import answered
from jaxnn.messages.phrases import describe, shown
from jaxnn.spec import fields
from jaxnn.train import checks
from jaxnn.train.batch import length, rows_of
from jaxnn.train.called import checked_callbacks
from jaxnn.train.early_stopping import (
    EarlyStopping,
    Plateau,
    Watch,
    check_number,
    checked_watch,
)
from jaxnn.train.endless import Cut, NoData, check_steps
from jaxnn.train.ensemble import member
from jaxnn.train.epoch import AnyStep, Stats, as_step, stats_shapes
from jaxnn.train.evaluate import Evaluator
from jaxnn.train.example_weights import ClassWeight, with_weights
from jaxnn.train.history import Callback, History
from jaxnn.train.loop import Fit
from jaxnn.train.objective import Objective, body_of, unpack
from jaxnn.train.processes import are_shared, check_alike, times_own_rows
from jaxnn.train.rooms import Room
from jaxnn.train.source import (
    ArraySource,
    HostSource,
    StreamSource,
    check_stream,
    fits_device,
    is_stream,
)
from jaxnn.train.start import train_state
from jaxnn.train.state import (
    TrainState,
    check_parts,
    check_state,
    copy,
    steps_taken,
    with_own_buffers,
)
from jaxnn.train.step import EnsembleStep, Loss, TrainStep, as_trained, make_step
from jaxnn.train.traced_once import traced_once


@answered
def fit(
    net_or_step: Layer | Callable[..., Any],
    data: Any,
    *,
    loss: Loss | None = None,
    optimizer: optax.GradientTransformation | None = None,
    epochs: int,
    batch_size: int | None = None,
    key: jax.Array | None = None,
    objective: Objective | None = None,
    steps_per_epoch: int | None = None,
    validation: Any = None,
    metrics: Mapping[str, Any] | None = None,
    state: Any = None,
    sample_weight: Any = None,
    class_weight: ClassWeight | None = None,
    shuffle: bool = True,
    augment: Callable[..., Any] | None = None,
    early_stopping: EarlyStopping | None = None,
    plateau: Plateau | None = None,
    callbacks: Iterable[Callback] = (),
    progress: bool | None = None,
    history: History | None = None,
    on_device: bool | None = None,
    chunk_seconds: float = 0.5,
    replay: bool = True,
    donate: bool = False,
    layout: Layout | None = None,
) -> tuple[Any, History]:
    """Train a network: whole epochs run as one compiled program.

    The result depends only on `key` and the data, not on the progress bar, validation,
    callbacks, `chunk_seconds` or an interruption. The data and the network are checked
    before anything is compiled.

    Ctrl-C and SIGTERM end the run after the current chunk: checkpoints are written,
    `fit` returns what was learned so far, `history.stopped` says why, and your program
    continues. A second signal ends the run immediately. An ignored signal stays
    ignored, and your own handlers are called instead. Any exception that ends the run,
    including the `SystemExit` of such a handler, carries the last `state` and `history`
    as attributes.

    Args:
        net_or_step: a network; or any `step(state, batch) -> (state, logs)`, which then
            requires `state` and takes neither `loss` nor `optimizer`.
        data: `(inputs, targets)` or `(inputs, targets, weights)`, arrays `[N, ...]`
            (inputs may be any tree of them), which are copied; or an iterable of such
            batches, or a function that creates one for each epoch. Each batch is copied
            before the next one is requested. A run that resumes from `state` reads an
            iterable again up to where it stopped: it gets each epoch from a method
            `epoch(number)`, if there is one, and skips whole epochs if the iterable has
            a `__len__`. With a `__len__` and `epoch(number, start)` it reads nothing
            again.
        loss: `loss(outputs, targets) -> [N]`, one value per example; for a network that
            returns a dict, a dict of losses (see `nn.losses.combine`).
        optimizer: an Optax optimizer.
        epochs: the total number of epochs. With a `state` that has seen 4, `epochs=10`
            runs 6 more. Epochs are counted in steps: to continue with other data or
            another `batch_size`, reset the count: `state=state._replace(step=0 *
            state.step)`.
        batch_size: examples per step; the last batch of an epoch is smaller if
            `batch_size` does not divide N, and all of them are taken if it is larger
            than N. None for an iterable, which brings its own batches.
        key: the run's random key; a run that resumes from `state` keeps the key in it,
            whatever is given here.
        objective: in place of a loss, `objective(run, batch) -> values [N]`, or
            `(values, logs)`; see `train_step`. The data are then any tree of arrays
            with a common first axis.
        steps_per_epoch: the number of steps of an epoch, for an iterable that need not
            end, or for `data=None`, which a custom step does without. An iterable that
            does end begins again.
        validation: data in the same form, or for a custom step a function
            `validation(state) -> logs`.
        metrics: a dict from names to `metric(outputs, targets) -> [N]` or a `Metric`.
            Metrics that support it skip what the loss ignores (`ignore_label`); all
            metrics skip examples of weight 0. The mean of nothing is NaN.
        state: a `TrainState` to resume from; it is copied, unless `donate=True`.
        sample_weight: `[N]`, the weight of each example in the loss: 0, or from 1e-20
            to 1e20.
        class_weight: the weight of each class's examples, a dict or a sequence; 1 for
            classes that are not listed. `"balanced"` makes all K classes that occur
            count equally: n / (K · n_k) for a class with n_k of the n examples.
        shuffle: whether to draw a new order for each epoch.
        augment: `augment(key, inputs) -> inputs`, applied in training only and drawn
            anew at each step, such as those of `nn.data.augment`; see `train_step`.
        early_stopping: an `EarlyStopping`; the returned state then has the best
            weights, and a later run still resumes from the last ones.
        plateau: a `Plateau`, which reduces the learning rate.
        callbacks: functions `callback(epoch, state, history)`, called after each epoch;
            one that returns True ends the run. See `nn.train.Callback`.
        progress: whether to print a line per epoch (of a run of more than 100 epochs,
            about 100 lines), with a progress bar in a terminal or a notebook; None
            means unless a program, such as doctest, captures what is printed.
        history: the history of an earlier run, continued in a copy; entries for epochs
            that `state` has not seen are dropped. An interrupted epoch is finished with
            all its numbers; without its history they cover only the steps after it
            resumed. None: given `state`, the history of `nn.callbacks.checkpoint` among
            the callbacks, if its file holds this very state; otherwise a new one.
        on_device: whether to put the whole data set on the device; None decides by its
            size, and leaves arrays in files (`np.memmap`) there. Arrays that stay on
            the host are read during the run: do not modify them.
        chunk_seconds: about how long a chunk of an epoch runs between checks for
            Ctrl-C.
        replay: keep a copy of the state for each chunk, so that nothing is lost when
            the loss becomes non-finite; False saves the memory of one state. A device
            that has no room for the copy is warned of, and does without.
        donate: whether the run may use up the arrays of `state`, which saves the memory
            of one state; you then go on with the returned one.
        layout: where batches and parameters lie on several devices; see `nn.Layout`.
            None: that of the step, if it has one.

    Returns:
        `(state, history)`: the trained `TrainState` and a `History`.

    Raises:
        NonFiniteError: the loss, a parameter or a statistic of the network became NaN
            or infinite; the error names the epoch, step and layer, and holds the last
            finite state and the history.
        ValueError, TypeError: an argument is invalid; raised before compiling.

    >>> import jax, jax.numpy as jnp, jaxnn as nn, optax
    >>> x = jnp.linspace(-1, 1, 40)[:, None]
    >>> state, history = nn.fit(
    ...     nn.Dense(1), (x, 3 * x - 1), loss=nn.losses.mean_squared_error,
    ...     optimizer=optax.sgd(0.1), epochs=50, batch_size=8, key=jax.random.key(0))
    >>> round(float(state.params["w"][0, 0]), 2), round(float(state.params["b"][0]), 2)
    (3.0, -1.0)
    """
    positive_int("fit", "epochs", epochs)
    callbacks = checked_callbacks("fit", callbacks)
    _check_options(history, chunk_seconds)
    check_layout("fit", layout)
    watch = checked_watch("fit", early_stopping, plateau)
    given = dict(loss=loss, objective=objective, optimizer=optimizer, metrics=metrics)
    step = _make_step(net_or_step, **given, augment=augment)
    layout = step.layout if layout is None else layout
    if isinstance(step, TrainStep) and isinstance(state, tuple):
        check_state("fit", state)  # before it is found to have no key
    key = _run_key(key, state)
    data = _entered(step, data, epochs, steps_per_epoch)
    weights, used = (sample_weight, class_weight), getattr(step, "loss", None)
    data = with_weights("fit", data, *weights, used, pairs=step.takes_pairs)
    if data is None:
        source, example = NoData(cast(int, steps_per_epoch)), None
    elif is_stream(data, "fit: data"):
        times = times_own_rows(layout)
        source, example = _open_stream(step, data, batch_size, state, epochs, times)
    else:
        keys = _order_keys(step, key)
        examples = checks.check_arrays(data, "fit: data", pairs=step.takes_pairs)
        batch_size = checks.fitting_batch_size("fit", batch_size, examples)
        source, example = _make_source(data, batch_size, shuffle, keys, on_device)
    shapes = _start_shapes(step, state, example, key)
    stats = _check_step(step, shapes, source, data, example)
    if layout is not None:
        if are_shared(layout):
            facts = _facts(step, source, batch_size, epochs, state, callbacks)
            check_alike("fit", facts)
        source.spread_over(layout)
    validate = _make_validation(step, shapes, validation, epochs, layout)
    _check_watch(watch, step, stats, validation)
    history = _earlier(callbacks, state) if history is None else history
    history = _noted(history, step, batch_size, epochs)
    state = _start(step, state, watch, example, key, donate)
    state = state if layout is None else layout.place(state)
    given = step, stats, source, validate, watch, callbacks, history
    run = Fit(*given, chunk_seconds, replay, layout)
    return run(state, epochs, progress)


def _check_options(history: Any, chunk_seconds: Any) -> None:
    """Raise if an option is of the wrong kind."""
    if history is not None and not isinstance(history, History):
        raise TypeError(f"fit: history must be a History, got {history!r:.60}")
    if not isinstance(chunk_seconds, int | float) or not chunk_seconds >= 0:
        raise ValueError(
            f"fit: chunk_seconds must be a number of 0 or more, got {chunk_seconds!r}"
        )


def _make_step(net_or_step, loss, objective, optimizer, metrics, augment) -> AnyStep:
    is_class = isinstance(net_or_step, type)
    is_step = isinstance(net_or_step, AnyStep)
    aim = loss if objective is None else objective
    if callable(net_or_step) and not (is_class or is_step or None in (aim, optimizer)):
        net_or_step = as_layer(net_or_step, "fit")  # a bare function is a network
    if isinstance(net_or_step, Layer):
        for name, value in (("loss", aim), ("optimizer", optimizer)):
            if value is None:
                raise TypeError(f"fit: {name} is needed to train a network, got None")
        net, loss = as_trained("fit", net_or_step, loss, objective, metrics)
        return make_step("fit", net, loss, optimizer, metrics, augment)
    if is_class or not callable(net_or_step):
        raise TypeError(
            "fit: the first argument must be a layer or a step(state, batch), got "
            f"{shown(net_or_step, 100)}"
        )
    given = dict(loss=loss, objective=objective, optimizer=optimizer)
    given |= dict(metrics=metrics, augment=augment)
    for name, value in given.items():
        if value is not None:
            raise TypeError(f"fit: {name} belongs to the step; leave it out")
    return as_step(net_or_step)


def _run_key(key: Any, state: Any) -> jax.Array:
    own = getattr(state, "key", None)
    key = key if own is None else own
    if own is None or not own.ndim:  # that of an ensemble is one a member
        check_key(key, "fit")
    return key


def _order_keys(step: AnyStep, key: jax.Array) -> jax.Array:
    """The key that determines the order of the data: the run's, or one per member."""
    if step.members == 1 or key.ndim:
        return key
    return jax.random.split(key, step.members)


def _entered(step: AnyStep, data: Any, epochs: int, steps_per_epoch: Any) -> Any:
    """Arrays that JAX can represent, or an iterable of batches, or None."""
    check_steps("fit", data, steps_per_epoch)
    if data is None:
        if isinstance(step, TrainStep):
            raise TypeError("fit: data must be given to train a network, got None")
        return None
    if is_stream(data, "fit: data"):
        check_stream(data, 1 if steps_per_epoch else epochs, "fit: data")
        return Cut(data, steps_per_epoch) if steps_per_epoch else data
    if step.takes_pairs:
        checks.check_pair(data, "fit: data")
    return checks.as_arrays(data, "fit: data")


def _open_stream(
    step: AnyStep, data: Any, batch_size: Any, state: Any, epochs: int, times: int
) -> tuple[Any, Any]:
    """The source of an iterable's batches, and the shapes of one with all its rows.

    Args:
        times: how many times the rows that the iterable gives it has.
    """
    if batch_size is not None:
        raise ValueError(
            "fit: batch_size must be left out for an iterable, which brings its own "
            f"batches, got {batch_size!r}"
        )
    source = StreamSource(data, int(steps_taken(state)), epochs)
    _check_one(step, source.example, source.first)
    return source, rows_of(source.example, times * length(source.example))


def _make_source(data, batch_size, shuffle, key, on_device) -> tuple[Any, Any]:
    """The source of batches from arrays, and the shapes of one batch."""
    on_device = fits_device(data) if on_device is None else on_device
    kind = ArraySource if on_device else HostSource
    return kind(data, batch_size, shuffle, key), rows_of(data, batch_size)


def _start_shapes(step: AnyStep, state: Any, example: Any, key: jax.Array) -> Any:
    """The shapes of the state; a given state is checked against the network."""
    for path, a in trees.paths(state).items():
        if isinstance(a, jax.Array):
            checked(f"fit: state {path}", a)
    if not isinstance(step, TrainStep):
        if state is None:
            start = "step.start(x, key=key)" if hasattr(step, "start") else "the first"
            raise TypeError(f"fit: a custom step needs state=, {start}")
        return jax.eval_shape(lambda: state)
    shapes = _shapes_of(step, unpack(step.net, example)[0], key)
    if state is not None:
        check_parts(state, shapes)
    return shapes


@traced_once
def _shapes_of(step: TrainStep, x: Any, key: Any) -> TrainState:
    def start(key):
        return train_state(step.net, step.optimizer, x, key=key.ravel()[0])

    return jax.eval_shape(start, key)


def _check_step(
    step: AnyStep, shapes: Any, source: Any, data: Any, example: Any
) -> Stats:
    """Trace a step, to raise errors before compiling; return its statistics."""
    check_batch = None
    if isinstance(step, TrainStep):
        net, alone = step.net, shapes
        if isinstance(step, EnsembleStep):  # all members are alike: check one
            net, alone = step.one().net, jax.eval_shape(partial(member, i=0), shapes)
        variables = alone.params, alone.state
        about = {"loss": step.loss, "metrics": dict(step.metrics)}
        check_batch = partial(checks.check_together, "fit", net, variables, **about)
    if isinstance(source, StreamSource):
        times = length(example) // length(source.example)
        source.check = partial(_check_numbered, step, check_batch, example, times)
        if check_batch is not None:
            check_batch(source.example, what=source.first, rows=length(example))
    elif check_batch is not None:  # the arrays as given, on the host
        check_batch(data, rows=length(example))
    arrays = isinstance(source, ArraySource | HostSource)
    if arrays and length(data) % length(example) == 1:
        _check_single(step, shapes, example)
    return stats_shapes(step, shapes, example)


def _check_single(step: AnyStep, shapes: Any, example: Any) -> None:
    """Trace a step on a single example, which batch normalization may reject."""
    with checks.last_batch_of_one():
        stats_shapes(step, shapes, rows_of(example, 1))


def _check_one(step: AnyStep, batch: Any, what: str, example: Any = None) -> None:
    """Raise unless the arrays of a batch are valid; `example` is the first one."""
    if step.takes_pairs:
        checks.check_pair(batch, f"fit: {what}")
        if example is not None:
            checks.check_keys(batch[0], example[0], f"fit: {what} inputs")
    rules = {"zero_weights": True, "pairs": step.takes_pairs}
    checks.check_arrays(batch, f"fit: {what}", **rules)


def _check_numbered(
    step: AnyStep, check_batch: Any, example: Any, times: int, batch: Any, number: int
) -> None:
    """Check one batch of an iterable by the same rules as arrays."""
    what = f"batch {number}"
    _check_one(step, batch, what, example)
    if check_batch is not None:
        check_batch(batch, what=what, rows=times * length(batch))


def _facts(
    step: AnyStep, source: Any, batch_size: Any, epochs: int, state: Any, callbacks: Any
) -> dict[str, Any]:
    """What all processes of a run must have in common."""
    facts = {"step": step, "epochs": epochs, "batch_size": batch_size}
    facts["state: number of steps taken"] = int(steps_taken(state))
    saving = [c for c in callbacks if hasattr(c, "at_step") or hasattr(c, "earlier")]
    facts["callbacks that save, by every_steps"] = [
        getattr(callback, "every_steps", None) for callback in saving
    ]
    if not isinstance(source, StreamSource):  # of which each process has its own rows
        facts["number of examples"] = getattr(source, "examples", None)
    return facts | {"number of steps an epoch": source.steps}


def _make_validation(
    step: AnyStep, shapes: Any, validation: Any, epochs: int, layout: Layout | None
) -> Any:
    """A function from the state to the validation logs, or None."""
    if validation is None:
        return None
    if not isinstance(step, TrainStep):
        if not callable(validation):
            raise TypeError(
                "fit: validation must be a function validation(state) -> logs for a "
                f"custom step, got {describe(validation):.100}"
            )
        return validation
    loss, metrics = step.loss, dict(step.metrics)
    stream, whole = is_stream(validation, "fit: validation"), None
    if stream:
        check_stream(validation, epochs, "fit: validation")
    else:
        evaluator = Evaluator("fit", step.net, loss, metrics, layout=layout)
        evaluator.check(shapes.params, shapes.state, validation, "validation")
        whole = evaluator.enter(validation, "validation")

    def validate(state: TrainState) -> dict[str, Any]:
        evaluator = Evaluator("fit", step.net, loss, metrics, layout=layout)
        if stream:
            evaluator.add_stream(state.params, state.state, validation, "validation")
        else:
            evaluator.add(state.params, state.state, cast(Room, whole))
        return evaluator.result("validation")

    return validate


def _check_watch(watch: Watch, step: AnyStep, stats: Stats, validation: Any) -> None:
    """Raise unless the monitored values will be logged."""
    logs = set(stats)
    if validation is not None:
        logs |= {f"val_{name}" for name in stats}
        if not isinstance(step, TrainStep):
            # What a custom function logs is known only once it has run.
            names = {one.monitor for one in watch.watches.values()}
            logs |= {name for name in names if name.startswith("val_")}
    watch.check("fit", logs)
    streaming = dict(step.metrics)
    for name, one in watch.watches.items():
        log = one.monitor.removeprefix("val_")
        if log in streaming:
            value = jax.eval_shape(streaming[log].compute, stats[log])
            check_number(f"fit: {name} must monitor", one.monitor, value)


def _start(
    step: AnyStep, state: Any, watch: Watch, example: Any, key: jax.Array, donate: bool
) -> Any:
    """The initial state, in the run's own buffers."""
    if state is None:
        x, _, _ = unpack(step.net, example)  # type: ignore[union-attr]
        state = train_state(step.net, step.optimizer, x, key=key)  # type: ignore
    elif isinstance(step, EnsembleStep):
        state = step.net.place(state)  # type: ignore[attr-defined]
    state = watch.begin("fit", jax.tree.map(jnp.asarray, state))
    return with_own_buffers(state) if donate else copy(state)


def _earlier(callbacks: list, state: Any) -> History | None:
    """The history up to a given state, if a callback has kept it."""
    if state is None:
        return None
    asked = [c.earlier(state) for c in callbacks if hasattr(c, "earlier")]
    return next((history for history in asked if history is not None), None)


def _noted(history: History | None, step: AnyStep, batch_size: Any, epochs: int):
    """A copy of the history (or a new one) that records the run's settings."""
    history = History() if history is None else copying.deepcopy(history)
    history.settings = {}
    if isinstance(step, TrainStep):
        about = {**fields(step), "metrics": dict(step.metrics)}
        del about["part"], about["layout"]  # of players, and of this machine
        if (body := body_of(step.net)) is not None:
            about |= {"net": body.given, "loss": None, "objective": body.objective}
        history.settings = about | {"batch_size": batch_size, "epochs": epochs}
    return history
