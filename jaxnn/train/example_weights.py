# SPDX-License-Identifier: Apache-2.0
"""The weight of each example in the loss, from sample weights and class weights."""

import numbers
from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxnn.inputs.arrays import checked
from jaxnn.train.checks import check_arrays, check_weights
from jaxnn.train.source import is_stream
from jaxnn.trees import describe


def with_weights(data: Any, sample_weight: Any, class_weight: Any) -> Any:
    """`(inputs, targets)` with the product of both weights as a third array.

    Args:
        data: `(inputs, targets)`, perhaps with weights already, as `as_arrays` returns
            them; or an iterable of batches.
        sample_weight: `[N]` or None.
        class_weight: the weight of each class, a dict or a sequence; or None.
    """
    if sample_weight is None and class_weight is None:
        return data
    if is_stream(data) or not isinstance(data, tuple) or len(data) < 2:
        raise ValueError(
            "sample_weight, class_weight: need arrays (inputs, targets); an iterable "
            "brings weights in its batches: (inputs, targets, weights)"
        )
    x, targets, *own = data
    examples = check_arrays(x, "data inputs")
    total = np.ones(examples, np.float32)
    for name, weight in (
        ("sample_weight", sample_weight),
        ("weights", own[0] if own else None),
    ):
        if weight is not None:
            total = total * _checked(name, weight, examples)
    if class_weight is not None:
        total = total * _by_class(class_weight, np.asarray(targets))
    return x, targets, total


def _checked(name: str, weight: Any, examples: int) -> np.ndarray:
    weight = checked(name, weight)
    check_weights(name, weight, examples)
    return np.asarray(weight, np.float32)


def _number(label: Any, weight: Any) -> float:
    given = np.asarray(weight)
    if given.shape or given.dtype.kind not in "biuf":
        raise TypeError(
            f"class_weight: the weight of class {int(label)} must be a number, got "
            f"{weight!r:.60}"
        )
    return float(given)


def _by_class(class_weight: Any, targets: np.ndarray) -> np.ndarray:
    """The weight of each example's class; 1 for classes that are not listed."""
    targets = targets[:, 0] if targets.shape[1:] == (1,) else targets
    kind = targets.dtype.kind
    whole = kind in "iub" or (kind == "f" and not np.any(targets % 1))
    if not whole or targets.ndim != 1:
        raise ValueError(
            f"class_weight: needs class numbers [N] or [N, 1], got {describe(targets)}"
        )
    if isinstance(class_weight, list | tuple | np.ndarray):
        class_weight = dict(enumerate(class_weight))
    whole = isinstance(class_weight, Mapping) and all(
        isinstance(label, numbers.Integral) for label in class_weight
    )
    if not whole:
        raise TypeError(
            "class_weight: must be a dict from classes, which are ints, to weights, or "
            f"a list of weights, got {class_weight!r:.60}"
        )
    absent = sorted(set(map(int, class_weight)) - set(np.unique(targets).tolist()))
    if len(absent) == len(class_weight):
        raise ValueError(
            f"class_weight: none of its classes {absent} is in the targets"
        )
    weights = np.ones(len(targets))
    for label, weight in class_weight.items():
        weights[targets == int(label)] = _number(label, weight)
    return _checked("class_weight", weights, len(targets))
