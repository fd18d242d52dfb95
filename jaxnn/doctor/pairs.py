# SPDX-License-Identifier: Apache-2.0
"""Outputs and losses that do not fit together, found by trying the loss."""

import functools
from collections.abc import Callable, Iterator

import jax
import numpy as np

from jaxnn.checks import is_float
from jaxnn.core import Function, trace
from jaxnn.doctor.case import Case
from jaxnn.doctor.probe import activation
from jaxnn.doctor.quality import is_one_hot
from jaxnn.doctor.report import Finding, finding
from jaxnn.doctor.tries import same, takes_binary_logits, values
from jaxnn.losses import contract_of
from jaxnn.train.batch import rows_of
from jaxnn.train.targets import check_loss, loss_name

#: The fraction of targets that the outputs cannot reach.
OUTSIDE = 0.05
#: The output range of the last activation.
RANGES = {
    "sigmoid": (0.0, 1.0),
    "softmax": (0.0, 1.0),
    "tanh": (-1.0, 1.0),
    "relu": (0.0, np.inf),
    "log_softmax": (-np.inf, 0.0),
}
#: Rows to try a loss on.
ROWS = 8


def check_pair(case: Case) -> Iterator[Finding]:
    """Whether the output layer fits the loss and the targets."""
    outputs = case.facts.outputs
    if case.loss is None or not hasattr(outputs, "shape"):
        return
    kind = case.facts.kind
    last = _last_activation(case) or kind
    said = _refused(case, kind) or _tried(case, last) or _out_of_reach(case, last)
    if said:
        name = loss_name(case.loss)
        yield finding("wrong output/loss pair", 0.95, said, output=last, loss=name)


def _last_activation(case: Case) -> str | None:
    """The activation at the network's end, if it is a known one."""
    calls = trace(case.net, rows_of(case.x, 1))
    layer = calls[-1].layer if calls else None
    return activation(layer.function) if isinstance(layer, Function) else None


def _refused(case: Case, kind: str | None) -> str | None:
    """Pairs that `fit` rejects too; a custom loop may still have them."""
    try:
        check_loss("diagnose", case.loss, kind)
    except ValueError as error:
        return str(error).removeprefix("diagnose: loss ")
    if kind == "softmax" and case.facts.outputs.shape[-1] == 1:
        return "a softmax over one output is always 1"
    return None


def _tried(case: Case, last: str | None) -> str | None:
    """Losses that take the outputs for something they are not."""
    known = np.asarray(case.y)
    targets, one_hot = known[:ROWS], is_one_hot(known)
    shape = (len(targets), *case.facts.outputs.shape[1:])
    compiled = jax.jit(case.loss)
    loss = functools.partial(values, compiled, targets)
    name = loss_name(case.loss)
    labels = one_hot or (np.isin(known, (0, 1)).all() and known.size == len(known))
    y = np.random.default_rng(0).uniform(0.2, 0.8, shape)
    y = y / y.sum(-1, keepdims=True) if last == "softmax" else y
    if last in ("softmax", "sigmoid"):
        if labels and _compares(case, compiled, y):
            return f"{last} outputs, and {name} compares them with labels by difference"
        if last == "softmax" and same(loss(y), loss(y + 3)) and shape[-1] > 1:
            return f"two softmaxes: the network ends in one, and {name} takes logits"
        if labels and takes_binary_logits(compiled, shape):
            return f"two sigmoids: the network ends in one, and {name} takes logits"
    if (
        last == "relu"
        and shape[-1] > 1
        and case.task == "classes"
        and same(loss(y), loss(y + 3))
    ):
        return f"the network ends in a ReLU, and {name} takes logits, negative ones too"
    if last in ("raw", "tanh") and _needs_probabilities(loss, y):
        return f"{last} outputs, and {name} takes the logarithm of its outputs"
    if last == "raw" and case.bad and one_hot and _compares(case, compiled, y):
        return f"raw outputs for classes, and {name} compares them by difference"
    return None


def _compares(case: Case, loss: Callable, y: np.ndarray) -> bool:
    """Whether only the difference of outputs and targets counts, as in MSE."""
    targets, contract = np.asarray(case.y)[: len(y)], contract_of(case.loss)
    other = contract is not None and contract.targets != "numbers"
    if other or not is_float(targets):
        return False
    moved = values(loss, targets + np.float32(0.25), y + 0.25)
    return same(values(loss, targets, y), moved)


def _needs_probabilities(loss: Callable, y: np.ndarray) -> bool:
    """Whether a loss is finite only for outputs from 0 to 1."""
    inside, outside = loss(y), loss(-y)
    if inside is None or outside is None:
        return False
    return bool(np.isfinite(inside).all() and not np.isfinite(outside).any())


def _out_of_reach(case: Case, last: str | None) -> str | None:
    """Numeric targets that the last activation cannot reach."""
    contract = contract_of(case.loss)
    if (
        last not in RANGES
        or case.task != "numbers"
        or (contract and contract.targets != "numbers")
    ):
        return None
    low, high = RANGES[last]
    targets = np.asarray(case.y, np.float64)
    slack = 1e-3 * (targets.std() + 1e-12)
    share = ((targets < low - slack) | (targets > high + slack)).mean()
    if share <= OUTSIDE:
        return None
    return (
        f"the network ends in {last}, which gives {low:g} to {high:g}; {share:.0%} of "
        f"the targets lie outside (from {targets.min():.3g} to {targets.max():.3g})"
    )
