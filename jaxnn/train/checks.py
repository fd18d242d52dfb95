# SPDX-License-Identifier: Apache-2.0
"""Checks of the data and the network, made before anything is compiled."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import jax
import numpy as np

from jaxnn import trees
from jaxnn.checks import is_float, is_positive_int
from jaxnn.inputs import arrays
from jaxnn.train.batch import rows_of, unpack
from jaxnn.train.facts import Facts, facts
from jaxnn.train.targets import check_loss, check_targets
from jaxnn.trees import describe

#: Smaller or larger weights would vanish or overflow in float32 sums.
LEAST, MOST = 1e-20, 1e20


def check_together(
    net: Any,
    variables: tuple[Any, Any],
    data: Any,
    *,
    loss: Any = None,
    metrics: Any = None,
    what: str = "data",
    rows: int | None = 1,
    strict: bool = True,
) -> Facts:
    """Raise unless a network, a loss, metrics and data fit together.

    The network must accept such inputs and keep the axis of examples; its layers must
    accept the values of the inputs, the loss its outputs, and loss and metrics the
    targets.

    Args:
        net: a network.
        variables: its parameters and state, or their shapes.
        data: what `checked_pair` returned.
        loss, metrics: as in `fit`, or None.
        what: what to call the data in messages.
        rows: with how many examples to trace the network; None for all.
        strict: whether to reject outputs of a different kind than the loss takes, such
            as probabilities for logits; the doctor reports that as a finding instead.

    Returns:
        What the trace revealed about the network.
    """
    inputs, targets, _ = unpack(data)
    with inputs_of(what):
        found = check_network(net, *variables, rows_of(inputs, rows))
    check_values(found, inputs, what)
    if strict:
        check_loss(loss, found.kind)
    check_targets(loss, found.outputs, targets, what, metrics)
    return found


def checked_pair(data: Any, what: str = "data", *, zero_weights: bool = False) -> Any:
    """`(inputs, targets)`, perhaps with weights, as valid arrays of the same length.

    Args:
        data: what the user passed.
        what: what to call the data in messages.
        zero_weights: whether all weights may be 0, as in one batch of many.
    """
    check_pair(data, what)
    data = as_arrays(data, what)
    check_arrays(data, what, zero_weights=zero_weights)
    return data


def as_arrays(data: Any, what: str = "data", *, strict: bool = True) -> Any:
    """A tree of NumPy or JAX arrays whose numbers JAX can represent.

    Args:
        data: a tree of arrays.
        what: what to call the data in messages.
        strict: whether to reject leaves that are not arrays, such as lists of numbers.
    """
    return _convert(arrays.checked, data, what, strict)


def on_device(data: Any, what: str = "data") -> Any:
    """A tree of JAX arrays that no one else can change."""
    return _convert(arrays.to_jax, data, what, True)


def _convert(convert: Callable[..., Any], data: Any, what: str, strict: bool) -> Any:
    leaves = trees.paths(data, is_leaf=arrays.is_sparse)
    structure = jax.tree.structure(data, is_leaf=arrays.is_sparse)
    made = []
    for path, a in leaves.items():
        name = leaf_name(what, path)
        if strict:
            check_array(name, a)
        made.append(convert(name, a))
    return jax.tree.unflatten(structure, made)


def check_arrays(data: Any, what: str = "data", *, zero_weights: bool = False) -> int:
    """Raise unless all arrays have the same length and no NaN; return the length.

    Args:
        data: what `as_arrays` returned.
        what: what to call the data in messages.
        zero_weights: whether all weights may be 0, as in one batch of many.
    """
    leaves = trees.paths(data)
    if not leaves:
        raise ValueError(f"{what}: holds no arrays, got {describe(data):.100}")
    for path, a in leaves.items():
        if a.ndim == 0:
            raise ValueError(
                f"{leaf_name(what, path)}: must have a first axis of examples, got one "
                "number"
            )
    lengths = {leaf_name(what, path): a.shape[0] for path, a in leaves.items()}
    if len(set(lengths.values())) > 1:
        said = ", ".join(f"{name} has {n}" for name, n in lengths.items())
        raise ValueError(f"{what}: all must hold the same number of examples; {said}")
    examples = next(iter(lengths.values()))
    if examples == 0:
        raise ValueError(f"{what}: is empty; {', '.join(lengths)} hold no examples")
    for path, part in enumerate(data if isinstance(data, tuple) else ()):
        check_features(leaf_name(what, str(path)), part)
    for path, a in leaves.items():
        check_finite(leaf_name(what, path), a)
    if isinstance(data, tuple) and len(data) == 3:
        check_weights(f"{what} weights", data[2], examples, zero=zero_weights)
    return examples


def check_features(name: str, part: Any) -> None:
    """Raise if all of the arrays are empty."""
    if (leaves := jax.tree.leaves(part)) and not any(a.size for a in leaves):
        raise ValueError(f"{name}: has no features, got {describe(part):.100}")


def has_memory(state: Any) -> bool:
    """Whether a network's state remembers a batch, as a stateful network's does."""
    return any("carry" in path.split("/") for path in trees.paths(state))


def check_array(name: str, a: Any) -> None:
    """Raise unless this is a NumPy or JAX array, or converts to one unchanged."""
    if not hasattr(a, "shape") or not hasattr(a, "dtype"):
        raise TypeError(
            f"{name}: must be an array, got {type(a).__name__}; "
            "np.asarray makes one of a list"
        )
    if arrays.is_sparse(a) or isinstance(a, jax.Array):
        return
    if not isinstance(a.dtype, np.dtype) or not hasattr(a, "__array__"):
        raise TypeError(
            f"{name}: must be an array of NumPy or JAX, got {type(a).__module__}."
            f"{type(a).__name__}; np.asarray makes one of it"
        )


def check_weights(name: str, weights: Any, examples: int, zero: bool = False) -> None:
    """Raise unless there is one valid weight per example and they are not all 0.

    Args:
        name: what to call the weights in messages.
        weights: what `as_arrays` returned.
        examples: the number of examples.
        zero: whether all weights may be 0.
    """
    if getattr(weights, "shape", None) != (examples,):
        raise ValueError(
            f"{name}: must be one number per example, [{examples}], got "
            f"{describe(weights):.60}"
        )
    weights = np.asarray(weights)
    if weights.dtype.kind == "c":
        raise TypeError(f"{name}: must be real numbers, got {describe(weights)}")
    bad = ~(np.isfinite(weights) & (weights >= 0))
    if bad.any():
        where = int(bad.argmax())
        raise ValueError(
            f"{name}: must be finite and 0 or more; [{where}] is {weights[where]}"
        )
    if not zero and not weights.any():
        raise ValueError(f"{name}: are all 0, so no example counts")
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
    if not jax.tree.leaves(data[0]):
        raise TypeError(
            f"{what} inputs: must be arrays [N, ...], got {describe(data[0]):.100}"
        )


def check_keys(inputs: Any, first: Any, name: str) -> None:
    """Raise if a dict of inputs lacks a key that the first batch has."""
    if isinstance(first, dict) and isinstance(inputs, dict):
        missing = [key for key in first if key not in inputs]
        if missing:
            raise ValueError(
                f"{name}: must hold {', '.join(map(repr, missing))} as the first batch "
                f"does, got {describe(inputs):.100}"
            )


def check_finite(name: str, a: Any) -> None:
    """Raise at the first number that is NaN or infinite."""
    if not jax.numpy.issubdtype(a.dtype, np.inexact):
        return
    a = np.asarray(a)
    with np.errstate(invalid="ignore"):
        # NaN and infinities show up in min and max, without an array of flags.
        if np.isfinite(a.min()) and np.isfinite(a.max()):
            return
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
    """Trace the network on the shapes of a batch; return what the trace revealed."""
    found = facts(net, params, state, x)
    rows = jax.tree.leaves(x)[0].shape[0]
    # (With JAX's own paths: a Tap's outputs are keyed by paths already.)
    for path, y in jax.tree_util.tree_leaves_with_path(found.outputs):
        if not y.shape or y.shape[0] != rows:
            name = f"output {jax.tree_util.keystr(path)}" if path else "its output"
            raise ValueError(
                f"net: must keep the first axis, that of examples; {rows} examples "
                f"came in and {name} is {describe(y)}"
            )
    return found


def check_values(found: Facts, inputs: Any, what: str = "data") -> None:
    """Raise if a layer rejects the values of the inputs, such as an unknown id."""
    with inputs_of(what):
        for check in found.checks:
            check(inputs)


@contextmanager
def inputs_of(what: str) -> Iterator[None]:
    """Make errors raised inside say which inputs caused them."""
    try:
        yield
    except (TypeError, ValueError, IndexError) as error:
        error.add_note(f"in the inputs of {what}")
        raise


@contextmanager
def last_batch_of_one() -> Iterator[None]:
    """Make errors raised inside say what may have caused them."""
    try:
        yield
    except Exception as error:
        error.add_note(
            "the last batch of an epoch has 1 example: choose a batch_size that leaves "
            "none or more"
        )
        raise


def check_function(name: str, function: Any) -> None:
    """Raise unless a loss is a function, and not a class."""
    if isinstance(function, type):
        kind = function.__name__
        raise TypeError(f"{name}: {kind} is a class; build one, {kind}(...)")
    if not callable(function):
        raise TypeError(
            f"{name}: must be a function of outputs and targets, got {function!r:.60}"
        )


def check_optimizer(optimizer: Any) -> None:
    """Raise unless this is an Optax optimizer."""
    made = hasattr(optimizer, "init") and hasattr(optimizer, "update")
    if not made or isinstance(optimizer, type):
        raise TypeError(
            "optimizer: must be an Optax optimizer such as optax.sgd(0.1), got "
            f"{optimizer!r:.60}"
        )


def check_each(name: str, values: Any, examples: int) -> None:
    """Raise unless a loss or a metric returned one value per example."""
    if getattr(values, "shape", None) != (examples,):
        raise ValueError(
            f"{name}: must give one value per example, [{examples}]; got "
            f"{describe(values)}. Leave the mean over examples to the trainer"
        )
    if name == "loss" and not is_float(values):
        raise TypeError(
            f"loss: must give floating-point numbers, got {describe(values)}"
        )
