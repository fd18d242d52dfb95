# SPDX-License-Identifier: Apache-2.0
"""Checks of a sweep's arguments, made before anything is compiled."""

from collections.abc import Iterable, Mapping
from typing import Any

import jax

from jaxnn.checks import is_positive_int
from jaxnn.messages.phrases import shown
from jaxnn.search.parts import Parts
from jaxnn.search.program import Task
from jaxnn.search.space import Settings, add_note
from jaxnn.search.splits import Split
from jaxnn.train import checks
from jaxnn.train.batch import rows_of
from jaxnn.train.early_stopping import Watch, check_logged, check_number
from jaxnn.train.ensemble import Ensemble
from jaxnn.train.evaluate import Evaluator
from jaxnn.train.objective import unpack
from jaxnn.train.source import is_stream
from jaxnn.train.start import train_state


def checked_data(
    owner: str, data: Any, validation: Any, folds: Any, *, pairs: bool = True
) -> tuple[Any, Any]:
    """Data and validation, which must be arrays; pairs unless for an objective."""
    for name, given in (("data", data), ("validation", validation)):
        if given is not None and is_stream(given, f"{owner}: {name}"):
            raise TypeError(
                f"{owner}: {name} must be arrays (inputs, targets), got a "
                f"{type(given).__name__}; all its runs read the same data on the device"
            )
    data = checks.checked_data(data, f"{owner}: data", pairs=pairs)
    if validation is not None:
        validation = checks.checked_data(
            validation, f"{owner}: validation", pairs=pairs
        )
    if folds is not None and validation is not None:
        raise ValueError(
            f"{owner}: validation must be None with folds=, which hold out a part of "
            "the data each; leave one of the two out"
        )
    return data, validation


def check_monitor(
    owner: str,
    monitor: Any,
    mode: Any,
    metrics: Any,
    validated: bool,
    watch: Watch,
    parts: Iterable[str] | None = (),
) -> str:
    """Raise unless the value that ranks trials is logged; return `min` or `max`.

    `parts` are what the loss logs beside its values; None leaves the name to
    `check_parts`, which traces what an objective logs.
    """
    if metrics is not None and not isinstance(metrics, Mapping):
        raise TypeError(
            f"{owner}: metrics must be a dict by name, got {shown(metrics)}"
        )
    names = ["loss", *(parts or ()), *(metrics or {})]
    names += [f"val_{name}" for name in names] if validated else []
    names += ["rate_scale"] if watch.plateau is not None else []
    either = "validation= or folds=, or choose by monitor='loss'"
    if parts is not None:
        check_logged(f"{owner}: monitor must be", monitor, names, either)
        watch.check(owner, names)
    if mode not in (None, "min", "max"):
        raise ValueError(f"{owner}: mode must be 'min' or 'max', got {mode!r}")
    if mode is None and not monitor.endswith("loss"):
        raise ValueError(
            f"{owner}: mode must say whether {monitor!r} is better small or large; "
            "give mode='min' or mode='max'"
        )
    return mode or "min"


def check_batch_sizes(batch_size: Any, swept: Any) -> None:
    """Raise unless batch sizes are given, either fixed or swept."""
    if swept is not None and batch_size is not None:
        raise ValueError(
            "sweep: batch_size must be left out where it is swept, got "
            f"batch_size={batch_size!r} too"
        )
    for size in [batch_size] if swept is None else swept:
        checks.check_batch_size("sweep", size)


def check_at_once(at_once: Any) -> None:
    """Raise unless `at_once` is None or an int of 1 or more."""
    if at_once is not None and not is_positive_int(at_once):
        raise ValueError(
            f"sweep: at_once must be a positive int or None, got {at_once!r}"
        )


def check_parts(
    task: Task,
    parts: Parts,
    settings: Settings,
    batch_size: int,
    monitor: str,
    folds: list[Split],
) -> None:
    """Raise if a trial's network, loss and data do not fit together."""
    try:
        logs = _check_parts(task, parts, batch_size, folds)
        watched = logs.get(monitor.removeprefix("val_"))
        if watched is None and monitor != "rate_scale":
            what = f"{task.owner}: monitor must be"
            check_logged(what, monitor.removeprefix("val_"), list(logs))
        if watched is not None:
            check_number(f"{task.owner}: monitor must be", monitor, watched)
    except Exception as error:
        add_note(error, settings)
        raise


def _check_parts(
    task: Task, parts: Parts, batch_size: int, folds: list[Split]
) -> dict[str, Any]:
    """Trace a step; return the shapes of its logs."""
    net, optimizer, loss, _ = parts
    if isinstance(net, Ensemble):
        raise TypeError(
            f"{task.owner}: net must be a single network, got an ensemble; "
            "give its network, and train the ensemble with the settings that win"
        )
    step, batch = parts.step(task.metrics, task.owner), rows_of(task.data, batch_size)
    x, _, _ = unpack(net, batch)
    shapes = jax.eval_shape(
        lambda key: train_state(net, optimizer, x, key=key), task.key
    )
    variables = shapes.params, shapes.state
    about = {"loss": loss, "metrics": dict(step.metrics), "rows": batch_size}
    checks.check_together(task.owner, step.net, variables, task.data, **about)
    if task.validation is not None:
        evaluator = Evaluator(task.owner, net, loss, task.metrics)
        evaluator.check(shapes.params, shapes.state, task.validation, "validation")
    if any(fold.examples(task.data) % batch_size == 1 for fold in folds):
        with checks.last_batch_of_one():
            jax.eval_shape(step, shapes, rows_of(task.data, 1))
    return jax.eval_shape(step, shapes, batch)[1]
