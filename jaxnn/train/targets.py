# SPDX-License-Identifier: Apache-2.0
"""Check that a network's outputs, a loss or metric, and the targets fit together."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from jaxnn.checks import parameters
from jaxnn.losses.contracts import contract_of, ignored_label
from jaxnn.metrics import Metric
from jaxnn.trees import describe

#: For each kind of outputs that a loss expects, the kinds of outputs that it rejects.
REFUSED = {
    "logits": {"softmax", "sigmoid"},
    "binary logits": {"softmax", "sigmoid"},
    "probabilities": {"raw", "log_softmax"},
    "binary probabilities": {"raw", "log_softmax"},
    "log probabilities": {"raw", "softmax", "sigmoid"},
}


def check_loss(loss: Callable[..., Any], kind: str | None) -> None:
    """Raise if the network's outputs are not what the loss takes."""
    contract = contract_of(loss)
    if contract is None or kind not in REFUSED.get(contract.outputs, ()):
        return
    name = loss_name(loss)
    if kind == "raw":
        raise ValueError(
            f"loss: {name} takes {contract.outputs}, but the network ends in raw "
            f"outputs; end it in {_end_for(contract.outputs)}, or use the loss on "
            "logits (softmax_cross_entropy, sigmoid_cross_entropy)"
        )
    raise ValueError(
        f"loss: {name} takes {contract.outputs}, but the network already ends in "
        f"{kind}; leave the {kind} out of the network"
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
    loss: Callable[..., Any] | None,
    outputs: Any,
    targets: Any,
    what: str = "data",
    metrics: Mapping[str, Any] | None = None,
) -> None:
    """Raise if the targets are not what the loss takes for such outputs.

    Without a loss, or for one without a contract, the metrics decide.
    """
    name, contract = f"{what} targets", contract_of(loss)
    if not hasattr(outputs, "shape"):
        return
    if targets is None:
        if contract is None:
            return
        raise TypeError(f"{name}: must be an array for {loss_name(loss)}, got None")
    if not hasattr(targets, "shape"):
        return  # several arrays, as for `ctc`
    if loss is None or contract is None:
        for metric in (metrics or {}).values():
            _check_labels(name, getattr(metric, "function", metric), outputs, targets)
        return
    if jax.numpy.issubdtype(targets.dtype, np.complexfloating):
        raise TypeError(f"{name}: must be real numbers, got {describe(targets)}")
    if contract.targets == "classes":
        _check_classes(name, outputs, targets)
    else:
        _check_shape(name, outputs, targets)
    _check_labels(name, loss, outputs, targets)


def _check_labels(name: str, measure: Any, outputs: Any, targets: Any) -> None:
    """Raise if the targets are out of the range that a loss or a metric takes."""
    contract = contract_of(measure)
    kind = "numbers" if contract is None else contract.targets
    classes = 1 if len(outputs.shape) < 2 else outputs.shape[-1]
    if kind == "classes" and classes == 1:  # scores of one of two classes
        kind = "signs"
    if kind == "binary":
        _check_range(name, targets, 0, 1, "from 0 to 1", measure)
    elif kind == "signs":
        _check_range(name, targets, -1, 1, "from -1 to 1", measure)
    elif kind == "classes" and not np.issubdtype(targets.dtype, np.integer):
        _check_range(name, targets, 0, np.inf, "at least 0", measure)
    elif kind == "classes":
        rule = f"a class from 0 to {classes - 1}"
        _check_range(name, targets, 0, classes - 1, rule, measure)


def _check_classes(name: str, outputs: Any, targets: Any) -> None:
    if np.issubdtype(targets.dtype, np.integer):
        if targets.ndim != len(outputs.shape) - 1:
            raise ValueError(
                f"{name}: class labels for outputs {_rows(outputs)} must be "
                f"{_rows(outputs, -1)}, got {describe(targets)}"
                + _one_hot_hint(outputs, targets)
            )
    elif targets.ndim != len(outputs.shape) or targets.dtype == bool:
        raise TypeError(
            f"{name}: class labels must be integers, got {describe(targets)}; convert "
            "them with targets.astype('int32'), or give one-hot vectors "
            f"{_rows(outputs)}"
        )
    else:
        _check_shape(name, outputs, targets)


def _one_hot_hint(outputs: Any, targets: Any) -> str:
    if targets.shape[-1:] == outputs.shape[-1:]:
        return "; one-hot vectors must be floating: targets.astype('float32')"
    if targets.shape[-1:] == (1,):
        return "; drop the last axis: targets[..., 0]"
    return ""


def _check_shape(name: str, outputs: Any, targets: Any) -> None:
    """Raise unless targets have the outputs' shape apart from the first axis."""
    if tuple(targets.shape[1:]) == tuple(outputs.shape[1:]):
        return
    column = outputs.shape[1:] == (1,) and targets.ndim == 1
    row = targets.shape[1:] == (1,) and len(outputs.shape) == 1
    hint = (
        "; write targets[:, None]" if column else "; write targets[:, 0]" if row else ""
    )
    raise ValueError(
        f"{name}: must have the shape of the network's outputs, {_rows(outputs)}, got "
        f"{describe(targets)}{hint}"
    )


def _check_range(
    name: str, targets: Any, low: float, high: float, rule: str, loss: Any
) -> None:
    targets, ignored = np.asarray(targets), ignored_label(loss)
    bad = (targets < low) | (targets > high)
    if ignored is not None:
        bad &= targets != ignored
    if bad.any():
        where = np.unravel_index(int(bad.argmax()), bad.shape)
        count = int(bad.sum())
        hint = _ignore_hint(loss, targets) if ignored is None else ""
        raise ValueError(
            f"{name}: must be {rule}, but [{', '.join(map(str, where))}] is "
            f"{targets[where]} ({count} such label{'s' if count > 1 else ''}){hint}"
        )


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
