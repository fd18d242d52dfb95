# SPDX-License-Identifier: Apache-2.0
"""The weight of each example in the loss, from sample weights and class weights."""

import numbers
from collections.abc import Mapping, Sequence
from itertools import count, islice
from typing import Any, Literal

import numpy as np

from jaxnn.inputs.arrays import checked
from jaxnn.losses import example_weights
from jaxnn.messages.phrases import describe, nearest
from jaxnn.messages.tracebacks import warn
from jaxnn.train.checks import check_arrays, check_weights
from jaxnn.train.objective import Weighted
from jaxnn.train.source import is_stream

#: The weight of each class: by class, in order, or chosen so that all count equally.
ClassWeight = Mapping[int, float] | Sequence[float] | Literal["balanced"]


def with_weights(
    owner: str,
    data: Any,
    sample_weight: Any,
    class_weight: Any,
    loss: Any,
    *,
    pairs: bool = True,
) -> Any:
    """`(inputs, targets)` with the product of both weights as a third array.

    Data of an objective, which may be any tree, become `Weighted` as they are.

    Args:
        owner: the function that was called, for the error messages.
        data: `(inputs, targets)`, perhaps with weights already, as `as_arrays` returns
            them; or an iterable of batches.
        sample_weight: `[N]` or None.
        class_weight: the weight of each class, a dict or a sequence; `"balanced"`; or
            None.
        loss: the loss, whose ignored label is no class; or None.
        pairs: whether the data are `(inputs, targets)`, and not those of an objective.
    """
    if sample_weight is None and class_weight is None:
        return data
    has_targets = isinstance(data, tuple) and len(data) >= 2
    needs_targets = pairs or class_weight is not None
    if is_stream(data, f"{owner}: data") or (needs_targets and not has_targets):
        raise ValueError(
            f"{owner}: sample_weight and class_weight need arrays (inputs, targets); "
            "an iterable brings weights in its batches: (inputs, targets, weights)"
        )
    parts: Any = data
    own = parts[2] if pairs and len(parts) > 2 else None
    what = f"{owner}: data inputs" if pairs else f"{owner}: data"
    examples = check_arrays(parts[0] if pairs else data, what)
    total = np.ones(examples, np.float32)
    for name, weight in (("sample_weight", sample_weight), ("data weights", own)):
        if weight is not None:
            total = total * _checked(owner, name, weight, examples)
    if class_weight is not None:
        total = total * _by_class(owner, class_weight, parts[1], loss)
    return (*parts[:2], total) if pairs else Weighted(data, total)


def _checked(owner: str, name: str, weight: Any, examples: int) -> np.ndarray:
    weight = checked(f"{owner}: {name}", weight)
    check_weights(f"{owner}: {name}", weight, examples)
    return np.asarray(weight, np.float32)


def _number(owner: str, label: Any, weight: Any) -> float:
    given = np.asarray(weight)
    if given.shape or given.dtype.kind not in "biuf":
        raise TypeError(
            f"{owner}: class_weight[{int(label)}] must be a number, got {weight!r:.60}"
        )
    return float(given)


def _by_class(owner: str, class_weight: Any, targets: Any, loss: Any) -> np.ndarray:
    """The weight of each example's class; 1 for classes that are not listed."""
    labels = _labels(owner, targets)
    if isinstance(class_weight, str):
        if class_weight != "balanced":
            near = nearest(class_weight, ["balanced"])
            raise ValueError(
                f"{owner}: class_weight must be 'balanced', a dict or a list of "
                f"weights, got {class_weight!r:.60}{near}"
            )
        counted = example_weights(loss, targets) if loss is not None else None
        kept = (
            np.ones(len(labels), bool) if counted is None else np.asarray(counted) > 0
        )
        return _checked(
            owner, "class_weight", _balanced(owner, labels, kept), len(labels)
        )
    if isinstance(class_weight, list | tuple | np.ndarray):
        class_weight = dict(enumerate(class_weight))
    whole = isinstance(class_weight, Mapping) and all(
        isinstance(label, numbers.Integral) for label in class_weight
    )
    if not whole:
        raise TypeError(
            f"{owner}: class_weight must be 'balanced', a dict from classes, which are "
            f"ints, to weights, or a list of weights, got {class_weight!r:.60}"
        )
    absent = sorted(set(map(int, class_weight)) - set(np.unique(labels).tolist()))
    if len(absent) == len(class_weight):
        raise ValueError(
            f"{owner}: class_weight must name classes of the targets, got {absent}; "
            "the targets hold none of them"
        )
    weights = np.ones(len(labels))
    for label, weight in class_weight.items():
        weights[labels == int(label)] = _number(owner, label, weight)
    return _checked(owner, "class_weight", weights, len(labels))


def _labels(owner: str, targets: Any) -> np.ndarray:
    """The class number of each example."""
    targets = np.asarray(targets)
    targets = targets[:, 0] if targets.shape[1:] == (1,) else targets
    kind = targets.dtype.kind
    whole = kind in "iub" or (kind == "f" and not np.any(targets % 1))
    if not whole or targets.ndim != 1:
        raise ValueError(
            f"{owner}: class_weight needs targets that are class numbers [N] or "
            f"[N, 1], got {describe(targets)}; for labels [N, T] bind the weights to "
            "the loss, functools.partial(nn.losses.softmax_cross_entropy, "
            "class_weight=(1.0, 5.0))"
        )
    return targets


def _balanced(owner: str, labels: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """n / (K · n_k) for an example of class k: the K classes that occur count equally.

    n, K and n_k are counted over the examples that are kept; the weight of the others
    is 1.
    """
    weights = np.ones(len(labels))
    if not kept.any():
        return weights
    classes, place, counts = np.unique(
        labels[kept], return_inverse=True, return_counts=True
    )
    weights[kept] = (kept.sum() / (len(classes) * counts))[place]
    present = {int(label) for label in classes if label >= 0}
    absent = max(present, default=-1) + 1 - len(present)
    if absent:
        first = islice((str(k) for k in count() if k not in present), min(absent, 10))
        more = f" and {absent - 10} more" if absent > 10 else ""
        warn(
            f"{owner}: class_weight: no example is of class {', '.join(first)}{more}; "
            f"'balanced' weighs the {len(classes)} classes that occur",
        )
    return weights
