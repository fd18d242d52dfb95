# SPDX-License-Identifier: Apache-2.0
"""Inspect a training run and report what is wrong with it."""

from typing import Any

import jax
import numpy as np

from jaxnn.checks import positive_int
from jaxnn.core import Layer, as_layer
from jaxnn.doctor import curves, features, padding, pairs, sets, signals
from jaxnn.doctor.case import Case
from jaxnn.doctor.given import check_carry, checked_data, checked_optimizer
from jaxnn.doctor.report import Report, ordered
from jaxnn.messages.arguments import answered
from jaxnn.train.batch import length
from jaxnn.train.ensemble import Ensemble
from jaxnn.train.history import History
from jaxnn.train.objective import Objective, body_of
from jaxnn.train.replay import NonFiniteError
from jaxnn.train.state import TrainState, variables
from jaxnn.train.step import Loss, as_trained

CHECKS = (
    pairs.check_pair,
    features.check_scale,
    features.check_targets,
    features.check_constant,
    features.check_leak,
    padding.check_padding,
    sets.check_overlap,
    sets.check_differ,
    sets.check_balance,
    sets.check_labels,
    sets.check_few,
    signals.check_start,
    signals.check_gradients,
    signals.check_units,
    curves.check_statistics,
    curves.check_regularization,
    curves.check_rate,
    curves.check_fit,
)


#: What can be said of an objective, whose batches may hold anything.
OF_OBJECTIVES = (
    signals.check_gradients,
    signals.check_units,
    curves.check_statistics,
    curves.check_regularization,
    curves.check_rate,
    curves.check_fit,
)


@answered
def diagnose(
    net: Layer,
    state: Any,
    history: History | None,
    train: Any,
    validation: Any = None,
    *,
    loss: Loss | None = None,
    objective: Objective | None = None,
    optimizer: Any = None,
    examples: int = 512,
) -> Report:
    """Report what is wrong with a run, why, and what to do; causes before symptoms.

    The doctor examines the learning curves, the network on a sample of the examples
    (its outputs, its gradients and units by layer, several lengths of the optimizer's
    next step), the data themselves, and how well a method without training does on
    them. Nothing is changed, and equal runs get equal reports.

    Args:
        net: the network.
        state: the `TrainState` that `fit` returned, a pair `(params, state)`, or the
            `NonFiniteError` that ended the run.
        history: the run's `History`; may be None for a `NonFiniteError`, which has one.
        train: `(inputs, targets)` that the run was trained on, arrays `[N, ...]`.
        validation: `(inputs, targets)` to validate on; without it neither overfitting
            nor copies can be detected.
        loss: the run's loss; None takes the one in `history.settings`.
        objective: the run's objective in place of a loss, likewise; `train` is then
            what it takes. Of targets, and of how good the outputs are, nothing is said.
        optimizer: the run's optimizer; None takes the one in `history.settings`.
        examples: how many examples of each set to examine. Gradients and units are
            examined in one batch, which is smaller if it would take more than half a
            gigabyte, but never smaller than a training batch.

    Returns:
        A `Report`; print it. `report.findings` are records, `report.healthy` is True
        when there are none.

    Raises:
        ValueError, TypeError: the history is empty, the data do not fit the network or
            each other, the state is that of another network or optimizer, or the
            network is an ensemble or stateful (the message says what to pass instead).

    >>> import jax, jax.numpy as jnp, jaxnn as nn, optax
    >>> x = jnp.linspace(-1, 1, 40)[:, None]
    >>> run = dict(loss=nn.losses.mean_squared_error, optimizer=optax.sgd(1e-5))
    >>> state, history = nn.fit(nn.Dense(1), (x, 3 * x), epochs=5, batch_size=8,
    ...                         key=jax.random.key(0), **run)
    >>> report = nn.diagnose(nn.Dense(1), state, history, (x, 3 * x), **run)
    >>> report.healthy, report.names
    (False, ('learning rate too small', 'underfitting'))
    """
    given = net, state, history, train, validation
    case = _case(*given, loss, optimizer, examples, objective)
    checks = CHECKS if body_of(case.net) is None else OF_OBJECTIVES
    found = [finding for check in checks for finding in check(case)]
    return Report(ordered(found), _summary(case), tuple(case.skipped))


def _case(
    net, state, history, train, validation, loss, optimizer, examples, objective=None
) -> Case:
    """Check the arguments and collect the run in a `Case`."""
    net = as_layer(net, "diagnose")
    if isinstance(net, Ensemble):
        raise ValueError(
            "diagnose: net must be a single network, got an ensemble, whose members "
            "may differ; look at one, net.net with nn.member(state, 0)"
        )
    positive_int("diagnose", "examples", examples)
    failed = None
    if isinstance(state, NonFiniteError):
        failed, history = (
            _how_it_failed(state),
            state.history if history is None else history,
        )
        state = state.state
        if state is None:
            raise ValueError(
                "diagnose: state must be an error that kept the run's state, got one "
                "without it; train with replay=True"
            )
    history = _checked_history(history, failed)
    failed = failed or _turned_nan(history)
    settings = getattr(history, "settings", None) or {}
    if loss is None and objective is None:
        loss, objective = settings.get("loss"), settings.get("objective")
    if loss is not None or objective is not None:
        net, loss = as_trained("diagnose", net, loss, objective, None)
    optimizer = settings.get("optimizer") if optimizer is None else optimizer
    params, net_state = variables(state, "diagnose")
    check_carry(net_state)
    train, validation = checked_data(net, params, net_state, train, validation, loss)
    own = isinstance(state, TrainState)
    key = state.key if own else jax.random.key(0)
    opt_state = state.opt_state if own else None
    if optimizer is not None:
        optimizer = checked_optimizer(optimizer, net, params, opt_state)
    case = Case(
        net,
        params,
        net_state,
        opt_state,
        key,
        history,
        train,
        validation,
        loss,
        optimizer,
        examples,
        failed,
    )
    if failed is None and not case.finite:
        case.failed = "parameters have become NaN or infinite"
    case.skipped += _missing(case, own)
    return case


def _how_it_failed(error: NonFiniteError) -> str:
    place = f", first in {error.path}" if error.path else ""
    when = f"epoch {error.epoch}, step {error.step}"
    return f"the run ended in {when}: NaN or infinite{place}"


def _checked_history(history: Any, failed: str | None) -> History:
    if not isinstance(history, History):
        raise TypeError(
            "diagnose: history must be the History that fit returned, got "
            f"{history!r:.60}"
        )
    if not len(history) and failed is None:
        raise ValueError(
            "diagnose: history must hold an epoch at least, got none; if the run ended "
            "with a NonFiniteError, give the error as state"
        )
    return history


def _turned_nan(history: History) -> str | None:
    """What the history says if the run ended in NaN or infinity."""
    losses = [*history.logs.get("loss", []), *history.step_losses]
    if losses and not np.isfinite(losses).all():
        return "the loss has become NaN or infinite"
    stopped = str(history.stopped or "")
    return stopped if "became nan" in stopped or "became inf" in stopped else None


def _missing(case: Case, own: bool) -> list[str]:
    """What cannot be diagnosed because an argument is missing."""
    missing = []
    if case.loss is None:
        missing.append("gradients, units, outputs against the loss (give loss=)")
    if case.optimizer is None or not own:
        needs = "optimizer=" if case.optimizer is None else "a TrainState"
        missing.append(f"the length of the optimizer's step (give {needs})")
    if case.validation is None:
        missing.append("overfitting, copies between the sets (give validation)")
    if case.task is None:
        missing.append("how good the outputs are (of such outputs and targets)")
    return missing


def _summary(case: Case) -> tuple[str, ...]:
    """What was examined, and the last numbers of the curves."""
    rows = length(case.all_x)
    looked = min(rows, case.examples)
    sample = "all" if looked == rows else f"{looked}"
    last = {n: v for n, v in case.history.last().items() if isinstance(v, float)}
    lines = [
        f"{len(case.history)} epochs on {rows:,} examples ({sample} of them looked at)"
    ]
    for side, keep in (("training", False), ("validation", True)):
        said = [
            f"{name.removeprefix('val_')} {value:.4g}"
            for name, value in last.items()
            if name.startswith("val_") is keep
        ]
        if said:
            lines.append(f"{side + ':':<12}{', '.join(said)}")
    return tuple(lines)
