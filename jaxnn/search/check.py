# SPDX-License-Identifier: Apache-2.0
"""Checks of a sweep's arguments, made before anything is compiled."""

from collections.abc import Mapping
from typing import Any

import jax

from jaxnn.checks import is_positive_int
from jaxnn.search.parts import Parts
from jaxnn.search.program import Task
from jaxnn.search.space import Settings, in_trial
from jaxnn.search.splits import Split
from jaxnn.train import checks
from jaxnn.train.batch import length, rows_of
from jaxnn.train.early_stopping import Watch
from jaxnn.train.ensemble import Ensemble
from jaxnn.train.evaluate import Evaluator
from jaxnn.train.source import is_stream
from jaxnn.train.start import train_state
from jaxnn.trees import describe, nearest


def checked_data(data: Any, validation: Any, folds: Any) -> tuple[Any, Any]:
    """Return data and validation, which must be pairs of arrays."""
    for name, given in (("data", data), ("validation", validation)):
        if given is not None and is_stream(given):
            raise TypeError(
                f"{name}: a sweep needs arrays (inputs, targets), got a "
                f"{type(given).__name__}; all trials read the same data on the device"
            )
    data = checks.checked_pair(data)
    if validation is not None:
        validation = checks.checked_pair(validation, "validation")
    if folds is not None and validation is not None:
        raise ValueError(
            "validation: must be None with folds=, which hold out a part of the data "
            "each; leave one of the two out"
        )
    return data, validation


def check_monitor(
    monitor: Any, mode: Any, metrics: Any, validated: bool, watch: Watch
) -> str:
    """Raise unless the value that ranks trials is logged; return `min` or `max`."""
    if metrics is not None and not isinstance(metrics, Mapping):
        raise TypeError(f"metrics: must be a dict by name, got {metrics!r:.60}")
    names = ["loss", *(metrics or {})]
    names += [f"val_{name}" for name in names] if validated else []
    names += ["rate_scale"] if watch.plateau is not None else []
    if monitor not in names:
        hint = nearest(str(monitor), names)
        if not validated and str(monitor).startswith("val_"):
            hint = "; give validation= or folds=, or choose by monitor='loss'"
        raise ValueError(
            f"monitor: {monitor!r} is not logged; the runs log {', '.join(names)}{hint}"
        )
    watch.check(names)
    if mode not in (None, "min", "max"):
        raise ValueError(f"mode: must be 'min' or 'max', got {mode!r}")
    if mode is None and not monitor.endswith("loss"):
        raise ValueError(
            f"mode: say whether {monitor!r} is better small or large: mode='min' or "
            "mode='max'"
        )
    return mode or "min"


def check_batch_sizes(
    batch_size: Any, swept: Any, examples: int, parts: list[Split]
) -> None:
    """Raise unless a batch size is given, only once, and the data fill it."""
    if swept is not None and batch_size is not None:
        raise ValueError(
            "batch_size: is swept, so leave the argument out; got "
            f"batch_size={batch_size!r} too"
        )
    if swept is None and batch_size is None:
        raise TypeError("batch_size: is needed to train on arrays, got None")
    folds = [part.rows.shape[1] for part in parts if part.rows is not None]
    for size in [batch_size] if swept is None else swept:
        checks.check_batch_size(size, min([examples, *folds]))


def check_at_once(at_once: Any) -> None:
    """Raise unless `at_once` is None or an int of 1 or more."""
    if at_once is not None and not is_positive_int(at_once):
        raise ValueError(f"at_once: must be a positive int or None, got {at_once!r}")


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
        if watched is not None and watched.shape:
            raise ValueError(
                f"monitor: must be one number an epoch; {monitor!r} is "
                f"{describe(watched)}"
            )
    except Exception as error:
        error.add_note(in_trial(settings))
        raise


def _check_parts(
    task: Task, parts: Parts, batch_size: int, folds: list[Split]
) -> dict[str, Any]:
    """Trace a step; return the shapes of its logs."""
    net, optimizer, loss, _ = parts
    if isinstance(net, Ensemble):
        raise TypeError(
            "sweep: net is an ensemble; sweep its network, and train the ensemble with "
            "the settings that win"
        )
    step, batch = parts.step(task.metrics), rows_of(task.data, batch_size)
    x, *_ = batch
    shapes = jax.eval_shape(
        lambda key: train_state(net, optimizer, x, key=key), task.key
    )
    variables = shapes.params, shapes.state
    about = {"loss": loss, "metrics": dict(step.metrics), "rows": batch_size}
    checks.check_together(step.net, variables, task.data, **about)
    if task.validation is not None:
        evaluator = Evaluator(net, loss, task.metrics)
        evaluator.check(shapes.params, shapes.state, task.validation, "validation")
    counts = [length(task.data) if f.rows is None else f.rows.shape[1] for f in folds]
    if any(count % batch_size == 1 for count in counts):
        with checks.last_batch_of_one():
            jax.eval_shape(step, shapes, rows_of(task.data, 1))
    return jax.eval_shape(step, shapes, batch)[1]
