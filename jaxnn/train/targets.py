# SPDX-License-Identifier: Apache-2.0
"""Check that a network's outputs, a loss or metric, and the targets fit together."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from jaxnn.checks import parameters
from jaxnn.losses.combine import terms_of
from jaxnn.losses.contracts import contract_of, ignored_label
from jaxnn.messages.phrases import describe, place_of
from jaxnn.metrics import Metric

#: For each kind of outputs that a loss expects, the kinds of outputs that it rejects.
REFUSED = {
    "logits": {"softmax", "sigmoid"},
    "binary logits": {"softmax", "sigmoid"},
    "probabilities": {"raw", "log_softmax"},
    "binary probabilities": {"raw", "log_softmax"},
    "log probabilities": {"raw", "softmax", "sigmoid"},
}


def check_loss(owner: str, loss: Callable[..., Any], kind: Any) -> None:
    """Raise if the network's outputs are not what the loss takes."""
    if isinstance(kind, Mapping):
        for name, term in terms_of(loss).items():
            check_loss(owner, term, kind.get(name))
    contract = contract_of(loss)
    refused = () if contract is None else REFUSED.get(contract.outputs, ())
    if contract is None or not isinstance(kind, str) or kind not in refused:
        return
    name = loss_name(loss)
    if kind == "raw":
        raise ValueError(
            f"{owner}: loss {name} takes {contract.outputs}, but the network ends in "
            f"raw outputs; end it in {_end_for(contract.outputs)}, or use the loss on "
            "logits (softmax_cross_entropy, sigmoid_cross_entropy)"
        )
    raise ValueError(
        f"{owner}: loss {name} takes {contract.outputs}, but the network already ends "
        f"in {kind}; leave the {kind} out of the network"
        + (", or use the loss on probabilities" if "logits" in contract.outputs else "")
        + (f" ({_twin(kind)})" if "logits" in contract.outputs else "")
    )


def _end_for(outputs: str) -> str:
    ends = {
        "probabilities": "jax.nn.softmax",
        "binary probabilities": "jax.nn.sigmoid",
        "log probabilities": "jax.nn.log_softmax",
    }
    return ends[outputs]


def _twin(kind: str | None) -> str:
    return "cross_entropy" if kind == "softmax" else "binary_cross_entropy"


def loss_name(loss: Any) -> str:
    """The name of a loss, through `functools.partial`."""
    while isinstance(loss, functools.partial):
        loss = loss.func
    return getattr(loss, "__name__", repr(loss))


def check_targets(
    what: str,
    loss: Callable[..., Any] | None,
    outputs: Any,
    targets: Any,
    metrics: Mapping[str, Any] | None = None,
) -> None:
    """Raise if the targets are not what the loss takes for such outputs.

    Without a loss, or for one without a contract, the metrics decide. In messages the
    targets are called `what`: `fit: data targets`.
    """
    contract = contract_of(loss)
    if not hasattr(outputs, "shape"):
        if isinstance(outputs, Mapping) and isinstance(targets, Mapping):
            _check_of_entries(what, outputs, metrics or {})
            for name in terms_of(loss).keys() & outputs.keys() & targets.keys():
                given = terms_of(loss)[name], outputs[name], targets[name]
                check_targets(f"{what}[{name!r}]", *given)
        return
    if targets is None:
        if contract is None or contract.targets == "none":
            return
        raise TypeError(f"{what} must be an array for {loss_name(loss)}, got None")
    if not hasattr(targets, "shape"):
        return  # several arrays, as for `ctc`
    if loss is None or contract is None:
        for metric in (metrics or {}).values():
            _check_labels(what, getattr(metric, "function", metric), outputs, targets)
        return
    if jax.numpy.issubdtype(targets.dtype, np.complexfloating):
        raise TypeError(f"{what} must be real numbers, got {describe(targets)}")
    if contract.targets == "classes":
        _check_classes(what, outputs, targets)
    else:
        _check_shape(what, outputs, targets)
    _check_labels(what, loss, outputs, targets)


def _check_of_entries(
    what: str, outputs: Mapping[str, Any], metrics: Mapping[str, Any]
) -> None:
    """Raise if a metric of one array is to measure a dict of outputs."""
    for name, metric in metrics.items():
        function = getattr(metric, "function", metric)
        if contract_of(function) is None or name == "loss":
            continue
        owner = what.partition(":")[0]
        entry = name if name in outputs else next(iter(outputs))
        written = getattr(function, "__name__", repr(function))
        raise TypeError(
            f"{owner}: metrics[{name!r}] must be of one entry of the outputs, a dict "
            f"of {', '.join(map(repr, outputs))}; write nn.metrics.select({entry!r}, "
            f"nn.metrics.{written})"
        )


def _check_labels(what: str, measure: Any, outputs: Any, targets: Any) -> None:
    """Raise if the targets are out of the range that a loss or a metric takes."""
    contract = contract_of(measure)
    kind = "numbers" if contract is None else contract.targets
    classes = 1 if len(outputs.shape) < 2 else outputs.shape[-1]
    if kind == "classes" and classes == 1:  # scores of one of two classes
        kind = "signs"
    if kind == "binary":
        _check_range(what, targets, 0, 1, "from 0 to 1", measure)
    elif kind == "signs":
        _check_range(what, targets, -1, 1, "from -1 to 1", measure)
    elif kind == "classes" and not np.issubdtype(targets.dtype, np.integer):
        _check_range(what, targets, 0, np.inf, "at least 0", measure)
    elif kind == "classes":
        rule = f"a class from 0 to {classes - 1}"
        _check_range(what, targets, 0, classes - 1, rule, measure)


def _check_classes(what: str, outputs: Any, targets: Any) -> None:
    if np.issubdtype(targets.dtype, np.integer):
        if targets.ndim != len(outputs.shape) - 1:
            raise ValueError(
                f"{what} must be class labels {_rows(outputs, -1)} for outputs "
                f"{_rows(outputs)}, got {describe(targets)}"
                + (_one_hot_hint(outputs, targets) or _missing_layer(outputs, targets))
            )
    elif targets.ndim != len(outputs.shape) or targets.dtype == bool:
        raise TypeError(
            f"{what} must be integers, as class labels are, got {describe(targets)}; "
            "convert them with targets.astype('int32'), or give one-hot vectors "
            f"{_rows(outputs)}"
        )
    else:
        _check_shape(what, outputs, targets)


def _one_hot_hint(outputs: Any, targets: Any) -> str:
    if targets.shape[-1:] == outputs.shape[-1:]:
        return "; one-hot vectors must be floating: targets.astype('float32')"
    if targets.shape[-1:] == (1,):
        return "; drop the last axis: targets[..., 0]"
    return ""


def _missing_layer(outputs: Any, targets: Any) -> str:
    """What the network may lack if its outputs have more axes than the targets take."""
    if targets.ndim != 1 or len(outputs.shape) < 3:
        return ""
    return (
        "; a layer such as nn.Flatten(), nn.GlobalAvgPool() or, after recurrence, "
        "nn.LastStep() is missing"
    )


def _check_shape(what: str, outputs: Any, targets: Any) -> None:
    """Raise unless targets have the outputs' shape apart from the first axis."""
    if tuple(targets.shape[1:]) == tuple(outputs.shape[1:]):
        return
    column = outputs.shape[1:] == (1,) and targets.ndim == 1
    row = targets.shape[1:] == (1,) and len(outputs.shape) == 1
    hint = (
        "; write targets[:, None]" if column else "; write targets[:, 0]" if row else ""
    )
    steps = targets.shape[2:] == outputs.shape[1:] == (1,)
    if steps and not hint:
        count = targets.shape[1]
        hint = f"; to predict {count} steps, end in nn.Dense({count}), targets[..., 0]"
    hint = hint or _missing_layer(outputs, targets)
    raise ValueError(
        f"{what} must have the shape of the network's outputs, {_rows(outputs)}, got "
        f"{describe(targets)}{hint}"
    )


def _check_range(
    what: str, targets: Any, low: float, high: float, rule: str, loss: Any
) -> None:
    targets, ignored = np.asarray(targets), ignored_label(loss)
    bad = (targets < low) | (targets > high)
    if ignored is not None:
        bad &= targets != ignored
    if bad.any():
        count = int(bad.sum())
        hint = _ignore_hint(loss, targets) if ignored is None else ""
        if high < targets.max() and targets.dtype.kind in "iu" and "class" in rule:
            hint = hint or _more_classes(targets, int(high) + 1)
        raise ValueError(
            f"{what} must be {rule}, but {place_of(bad)} is "
            f"{targets[bad][0]} ({count} such label{'s' if count > 1 else ''}){hint}"
        )


def _more_classes(targets: np.ndarray, classes: int) -> str:
    """What to change where the highest label is above the number of outputs."""
    if targets.min() == 1 and targets.max() == classes:
        return "; classes count from 0: targets - 1"
    return f"; for {targets.max() + 1} classes end in nn.Dense({targets.max() + 1})"


def _ignore_hint(loss: Callable[..., Any], targets: np.ndarray) -> str:
    able = hasattr(loss, "ignore_label") or "ignore_label" in parameters(loss)
    if not able or targets.min() != -1 or targets.dtype.kind != "i":
        return ""
    keep = "functools.partial(loss, ignore_label=-1)"
    if isinstance(loss, Metric):
        keep = f"{type(loss).__name__}(..., ignore_label=-1)"
    return f"; to leave examples out on purpose, use {keep}"


def _rows(outputs: Any, stop: int | None = None) -> str:
    """A shape with N for the number of examples: `[N, 10]`."""
    return f"[{', '.join(['N', *map(str, outputs.shape[1:stop])])}]"
