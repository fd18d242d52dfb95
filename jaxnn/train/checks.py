# SPDX-License-Identifier: Apache-2.0
"""What is wrong with the data or the network, said before anything is compiled."""

import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import jax
import numpy as np

from jaxnn import trees
from jaxnn.checks import is_float, is_positive_int
from jaxnn.contracts import contract_of, ignored_label
from jaxnn.metrics import Metric
from jaxnn.signatures import parameters
from jaxnn.train.outputs import Facts, facts
from jaxnn.trees import describe

#: Weights that are smaller or larger would vanish or overflow in sums of float32.
LEAST, MOST = 1e-20, 1e20

#: For each kind of outputs that a loss wants, the kinds of outputs that it refuses.
REFUSED = {
    "logits": {"softmax", "sigmoid"},
    "binary logits": {"softmax", "sigmoid"},
    "probabilities": {"raw", "log_softmax"},
    "binary probabilities": {"raw", "log_softmax"},
    "log probabilities": {"raw", "softmax", "sigmoid"},
}


def check_arrays(data: Any, what: str = "data") -> int:
    """Raise unless a tree holds arrays of one length with no NaN; gives the length."""
    leaves = trees.paths(data)
    if not leaves:
        raise ValueError(f"{what}: holds no arrays, got {describe(data):.100}")
    for path, a in leaves.items():
        name = leaf_name(what, path)
        check_array(name, a)
        if getattr(a.dtype, "kind", "O") in "OSUmM":
            raise TypeError(f"{name}: must hold numbers, got an array of {a.dtype}")
        if a.ndim == 0:
            raise ValueError(
                f"{name}: must have a first axis of examples, got one number"
            )
    lengths = {leaf_name(what, path): a.shape[0] for path, a in leaves.items()}
    if len(set(lengths.values())) > 1:
        said = ", ".join(f"{name} has {n}" for name, n in lengths.items())
        raise ValueError(f"{what}: all must hold as many examples; {said}")
    examples = next(iter(lengths.values()))
    if examples == 0:
        raise ValueError(f"{what}: is empty; {', '.join(lengths)} hold no examples")
    for path, a in leaves.items():
        check_finite(leaf_name(what, path), a)
    if isinstance(data, tuple) and len(data) == 3:
        check_weights(f"{what} weights", data[2], examples)
    return examples


def has_memory(state: Any) -> bool:
    """Whether a network's state remembers a batch: that of a stateful one."""
    return any("carry" in path.split("/") for path in trees.paths(state))


def check_array(name: str, a: Any) -> None:
    """Raise unless it is an array of NumPy or JAX."""
    if not hasattr(a, "shape") or not hasattr(a, "dtype"):
        raise TypeError(
            f"{name}: must be an array, got {type(a).__name__}; "
            "np.asarray makes one of a list"
        )
    if not isinstance(a, jax.Array) and not isinstance(a.dtype, np.dtype):
        raise TypeError(
            f"{name}: must be an array of NumPy or JAX, got {type(a).__module__}."
            f"{type(a).__name__}; np.asarray makes one of it"
        )


def check_weights(name: str, weights: Any, examples: int) -> None:
    """Raise unless weights are one number an example, not all 0, that add up."""
    if getattr(weights, "shape", None) != (examples,):
        raise ValueError(
            f"{name}: must be one number per example, [{examples}], got "
            f"{describe(weights):.60}"
        )
    weights = np.asarray(weights)
    bad = ~(np.isfinite(weights) & (weights >= 0))
    if bad.any():
        where = int(bad.argmax())
        raise ValueError(
            f"{name}: must be finite and 0 or more; [{where}] is {weights[where]}"
        )
    if not weights.any():
        raise ValueError(f"{name}: are all 0, so that no example counts")
    out = (weights != 0) & ~((weights >= LEAST) & (weights <= MOST))
    if out.any():
        where = int(out.argmax())
        raise ValueError(
            f"{name}: must be 0, or from {LEAST} to {MOST}, so that float32 can add "
            f"them up; [{where}] is {weights[where]}. Weights are relative: divide "
            "them by their mean"
        )


def leaf_name(what: str, path: str) -> str:
    """`data: inputs` for the path `0` of a tuple (inputs, targets)."""
    first, _, rest = path.partition("/")
    names = {"0": "inputs", "1": "targets", "2": "weights"}
    return f"{what} {names.get(first, first)}{'/' if rest else ''}{rest}".strip()


def check_pair(data: Any, what: str) -> None:
    """Raise unless data is a tuple (inputs, targets) or (inputs, targets, weights)."""
    if not isinstance(data, tuple) or len(data) not in (2, 3):
        raise TypeError(
            f"{what}: must be a tuple (inputs, targets) or (inputs, targets, weights), "
            f"got {describe(data):.100}"
        )


def check_finite(name: str, a: Any) -> None:
    """Raise at the first number that is NaN or infinite."""
    if not np.issubdtype(a.dtype, np.floating) and "float" not in str(a.dtype):
        return
    a = np.asarray(a)
    bad = ~np.isfinite(a)
    if bad.any():
        where = np.unravel_index(int(bad.argmax()), a.shape)
        count = int(bad.sum())
        raise ValueError(
            f"{name}: must be finite, but [{', '.join(map(str, where))}] is "
            f"{a[where]} ({count} such number{'s' if count > 1 else ''}); clean "
            "or mask the data first"
        )


def check_batch_size(batch_size: Any, examples: int) -> None:
    """Raise unless 1 <= batch size <= examples."""
    if not is_positive_int(batch_size):
        raise ValueError(f"batch_size: must be a positive int, got {batch_size!r}")
    if batch_size > examples:
        raise ValueError(
            f"batch_size: must be at most the number of examples, got {batch_size} for "
            f"{examples} examples"
        )


def check_epochs(epochs: Any) -> None:
    """Raise unless `epochs` is an int of 1 or more."""
    if not is_positive_int(epochs):
        raise ValueError(f"epochs: must be a positive int, got {epochs!r}")


def check_network(net: Any, params: Any, state: Any, x: Any) -> Facts:
    """Trace the network on a batch's shapes: what it puts out, and asks for."""
    found = facts(net, params, state, x)
    rows = jax.tree.leaves(x)[0].shape[0]
    # (By JAX's own paths: a Tap's outputs are named by paths themselves.)
    for path, y in jax.tree_util.tree_leaves_with_path(found.outputs):
        if not y.shape or y.shape[0] != rows:
            name = f"output {jax.tree_util.keystr(path)}" if path else "its output"
            raise ValueError(
                f"net: must keep the first axis, that of examples; {rows} examples "
                f"came in and {name} is {describe(y)}"
            )
    return found


def check_values(found: Facts, inputs: Any, what: str = "data") -> None:
    """Raise if a layer refuses the values of the inputs, such as an unknown id."""
    with inputs_of(what):
        for check in found.checks:
            check(inputs)


@contextmanager
def inputs_of(what: str) -> Iterator[None]:
    """Errors raised in here say in whose inputs they lie."""
    try:
        yield
    except (TypeError, ValueError, IndexError) as error:
        error.add_note(f"in the inputs of {what}")
        raise


@contextmanager
def last_batch_of_one() -> Iterator[None]:
    """Errors raised in here say what may have caused them."""
    try:
        yield
    except Exception as error:
        error.add_note(
            "the last batch of an epoch has 1 example: choose a batch_size that leaves "
            "none or more"
        )
        raise


def check_function(name: str, function: Any) -> None:
    """Raise unless a loss is a function, and not the class of one."""
    if isinstance(function, type):
        kind = function.__name__
        raise TypeError(f"{name}: {kind} is a class; build one, {kind}(...)")
    if not callable(function):
        raise TypeError(
            f"{name}: must be a function of outputs and targets, got {function!r:.60}"
        )


def check_optimizer(optimizer: Any) -> None:
    """Raise unless it is an Optax optimizer."""
    made = hasattr(optimizer, "init") and hasattr(optimizer, "update")
    if not made or isinstance(optimizer, type):
        raise TypeError(
            "optimizer: must be an Optax optimizer such as optax.sgd(0.1), got "
            f"{optimizer!r:.60}"
        )


def check_each(name: str, values: Any, examples: int) -> None:
    """Raise unless a loss or a metric gave one value per example."""
    if getattr(values, "shape", None) != (examples,):
        raise ValueError(
            f"{name}: must give one value per example, [{examples}]; got "
            f"{describe(values)}. Leave the mean over examples to the trainer"
        )
    if name == "loss" and not is_float(values):
        raise TypeError(
            f"loss: must give floating-point numbers, got {describe(values)}"
        )


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


def loss_name(loss: Callable[..., Any]) -> str:
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

    Metrics are asked where the loss has no contract, or there is none.
    """
    if not hasattr(outputs, "shape") or not hasattr(targets, "shape"):
        return
    name, contract = f"{what} targets", contract_of(loss)
    if contract is None:
        for metric in (metrics or {}).values():
            _check_labels(name, getattr(metric, "function", metric), outputs, targets)
        return
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
    """Targets are as large as the outputs but for the number of examples."""
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
