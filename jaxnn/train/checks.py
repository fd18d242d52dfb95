# SPDX-License-Identifier: Apache-2.0
"""Checks of the data and the network, made before anything is compiled."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import jax
import numpy as np

from jaxnn import trees
from jaxnn.checks import arguments, is_float, positive_int
from jaxnn.inputs import arrays
from jaxnn.inputs.mapped import pieces
from jaxnn.messages.answers import instead_of_optimizer, instead_of_text
from jaxnn.messages.phrases import describe, listed, place_of, shown
from jaxnn.messages.tracebacks import warn
from jaxnn.train.batch import rows_of
from jaxnn.train.facts import Facts, facts, own_params
from jaxnn.train.objective import unpack
from jaxnn.train.targets import check_loss, check_targets

#: Smaller or larger weights would vanish or overflow in float32 sums.
LEAST, MOST = 1e-20, 1e20


def check_together(
    owner: str,
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
        owner: the function that the user called, for messages.
        net: a network.
        variables: its parameters and state, or their shapes.
        data: what `checked_data` returned.
        loss, metrics: as in `fit`, or None.
        what: what to call the data in messages.
        rows: with how many examples to trace the network; None for all.
        strict: whether to reject outputs of a different kind than the loss takes, such
            as probabilities for logits; the doctor reports that as a finding instead.

    Returns:
        What the trace revealed about the network.
    """
    inputs, targets, _ = unpack(net, data)
    with inputs_of(what):
        found = check_network(owner, net, *variables, rows_of(inputs, rows))
    check_values(found, inputs, what)
    if strict:
        check_loss(owner, loss, found.kind)
    check_targets(f"{owner}: {what} targets", loss, found.outputs, targets, metrics)
    return found


def checked_data(
    data: Any, what: str, *, pairs: bool = True, zero_weights: bool = False
) -> Any:
    """`(inputs, targets)`, perhaps with weights, as valid arrays of the same length.

    Args:
        data: what the user passed.
        what: what to call the data in messages, after its owner: `fit: data`.
        pairs: False for an objective, whose data may be any tree.
        zero_weights: whether all weights may be 0, as in one batch of many.
    """
    if pairs:
        check_pair(data, what)
    data = as_arrays(data, what)
    check_arrays(data, what, zero_weights=zero_weights, pairs=pairs)
    return data


def as_arrays(data: Any, what: str, *, strict: bool = True) -> Any:
    """A tree of NumPy or JAX arrays whose numbers JAX can represent.

    Args:
        data: a tree of arrays.
        what: what to call the data in messages, after its owner: `fit: data`.
        strict: whether to reject leaves that are not arrays, such as lists of numbers.
    """
    return _convert(arrays.checked, data, what, strict)


def on_device(data: Any, what: str) -> Any:
    """A tree of JAX arrays that no one else can change."""
    return _convert(arrays.to_jax, data, what, True)


def _convert(convert: Callable[..., Any], data: Any, what: str, strict: bool) -> Any:
    def one(path, a):
        name = leaf_name(what, path)
        if strict:
            check_array(name, a)
        return convert(name, a)

    return trees.map_paths(one, data, is_leaf=arrays.is_sparse)


def check_arrays(
    data: Any, what: str, *, zero_weights: bool = False, pairs: bool = True
) -> int:
    """Raise unless all arrays have the same length and no NaN; return the length.

    Args:
        data: what `as_arrays` returned.
        what: what to call the data in messages, after its owner: `fit: data`.
        zero_weights: whether all weights may be 0, as in one batch of many.
        pairs: whether the last of three is weights, and not what an objective takes.
    """
    leaves = trees.paths(data)
    if not leaves:
        raise ValueError(f"{what} must hold arrays, got {describe(data):.100}")
    for path, a in leaves.items():
        if a.ndim == 0:
            raise ValueError(
                f"{leaf_name(what, path)} must have a first axis of examples, got one "
                "number"
            )
    lengths = {leaf_name("", path): a.shape[0] for path, a in leaves.items()}
    if len(set(lengths.values())) > 1:
        said = ", ".join(f"{n} in {name}" for name, n in lengths.items())
        raise ValueError(
            f"{what} must hold the same number of examples in each array, got {said}"
        )
    examples = next(iter(lengths.values()))
    if examples == 0:
        raise ValueError(f"{what} must hold examples, got {describe(data):.100}")
    for path, part in enumerate(data if isinstance(data, tuple) else ()):
        check_features(leaf_name(what, str(path)), part)
    for path, a in leaves.items():
        check_finite(leaf_name(what, path), a)
    if pairs and isinstance(data, tuple) and len(data) == 3:
        check_weights(f"{what} weights", data[2], examples, zero=zero_weights)
    return examples


def check_features(what: str, part: Any) -> None:
    """Raise if all of the arrays are empty."""
    if (leaves := jax.tree.leaves(part)) and not any(a.size for a in leaves):
        raise ValueError(f"{what} must have features, got {describe(part):.100}")


def has_carry(state: Any) -> bool:
    """Whether a network's state holds a carry, as a stateful network's does."""
    return any("carry" in path.split("/") for path in trees.paths(state))


def check_array(what: str, a: Any) -> None:
    """Raise unless this is a NumPy or JAX array, or converts to one unchanged.

    The columns and frames of pandas and Polars do, or their conversion raises.
    """
    if arrays.is_frame(a):
        return
    if not hasattr(a, "shape") or not hasattr(a, "dtype"):
        more = (
            "encode text first, as by nn.data.text"
            if isinstance(a, str | bytes)
            else "np.asarray makes one of a list"
        )
        raise TypeError(f"{what} must be an array, got {type(a).__name__}; {more}")
    if arrays.is_sparse(a) or isinstance(a, jax.Array) or hasattr(a, "to_numpy"):
        return
    if not isinstance(a.dtype, np.dtype) or not hasattr(a, "__array__"):
        raise TypeError(
            f"{what} must be an array of NumPy or JAX, got {type(a).__module__}."
            f"{type(a).__name__}; np.asarray makes one of it"
        )


def check_weights(what: str, weights: Any, examples: int, zero: bool = False) -> None:
    """Raise unless there is one valid weight per example and they are not all 0.

    Args:
        what: what to call the weights in messages: `fit: data weights`.
        weights: what `as_arrays` returned.
        examples: the number of examples.
        zero: whether all weights may be 0.
    """
    if getattr(weights, "shape", None) != (examples,):
        raise ValueError(
            f"{what} must be one number per example, [{examples}], got "
            f"{describe(weights):.60}"
        )
    weights = np.asarray(weights)
    if weights.dtype.kind == "c":
        raise TypeError(f"{what} must be real numbers, got {describe(weights)}")
    bad = ~(np.isfinite(weights) & (weights >= 0))
    if bad.any():
        where = int(bad.argmax())
        raise ValueError(
            f"{what} must be finite and 0 or more, but [{where}] is {weights[where]}"
        )
    if not zero and not weights.any():
        raise ValueError(f"{what} must not all be zero, or no example counts")
    out = (weights != 0) & ~((weights >= LEAST) & (weights <= MOST))
    if out.any():
        where = int(out.argmax())
        raise ValueError(
            f"{what} must be 0, or from {LEAST} to {MOST}, so that float32 can add "
            f"them up, but [{where}] is {weights[where]}; only their ratios matter: "
            "divide them by their mean"
        )


def leaf_name(what: str, path: str) -> str:
    """`fit: data inputs` for the path `0` of `fit: data`, a tuple."""
    first, _, rest = path.partition("/")
    names = {"0": "inputs", "1": "targets", "2": "weights"}
    return f"{what} {names.get(first, first)}{'/' if rest else ''}{rest}".strip()


def check_pair(data: Any, what: str) -> None:
    """Raise unless data is a tuple (inputs, targets) or (inputs, targets, weights)."""
    if not isinstance(data, tuple) or len(data) not in (2, 3):
        raise TypeError(
            f"{what} must be a tuple (inputs, targets) or (inputs, targets, weights), "
            f"got {describe(data):.100}"
        )
    if not jax.tree.leaves(data[0]):
        raise TypeError(
            f"{what} inputs must be arrays [N, ...], got {describe(data[0]):.100}"
        )


def check_keys(inputs: Any, first: Any, what: str) -> None:
    """Raise if a dict of inputs lacks a key that the first batch has."""
    if isinstance(first, dict) and isinstance(inputs, dict):
        missing = [key for key in first if key not in inputs]
        if missing:
            raise ValueError(
                f"{what} must hold {', '.join(map(repr, missing))} as the first batch "
                f"does, got {describe(inputs):.100}"
            )


def check_finite(what: str, a: Any) -> None:
    """Raise at the first number that is NaN or infinite."""
    if not jax.numpy.issubdtype(a.dtype, np.inexact):
        return
    a = np.asarray(a)
    with np.errstate(invalid="ignore"):
        # NaN and infinities show up in min and max, without an array of flags.
        edges = ((part.min(), part.max()) for part in pieces(a))
        if all(np.isfinite(edge).all() for edge in edges):
            return
    bad = ~np.isfinite(a)
    if bad.any():
        count = int(bad.sum())
        raise ValueError(
            f"{what} must be finite, but {place_of(bad)} is "
            f"{a[bad][0]} ({count} such number{'s' if count > 1 else ''}); clean "
            "or mask the data first"
        )


def check_batch_size(owner: str, batch_size: Any) -> None:
    """Raise unless a batch size is given, an int of 1 or more."""
    if batch_size is None:
        raise TypeError(f"{owner}: batch_size is needed to train on arrays, got None")
    positive_int(owner, "batch_size", batch_size)


def fitting_batch_size(owner: str, batch_size: Any, examples: int) -> int:
    """The batch size, or the number of examples where that is smaller, with a warning.

    Args:
        owner: the function that was called, for the message.
        batch_size: what the user passed.
        examples: the number of examples, 1 or more.
    """
    check_batch_size(owner, batch_size)
    if batch_size > examples:
        warn(
            f"{owner}: batch_size {batch_size} is more than the {examples} examples: "
            "each step takes them all",
        )
    return min(int(batch_size), examples)


def check_network(owner: str, net: Any, params: Any, state: Any, x: Any) -> Facts:
    """Trace the network on the shapes of a batch; return what the trace revealed."""
    found = facts(net, params, state, x)
    rows = jax.tree.leaves(x)[0].shape[0]
    # (With JAX's own paths: a Tap's outputs are keyed by paths already.)
    for path, y in jax.tree_util.tree_leaves_with_path(found.outputs):
        if not y.shape or y.shape[0] != rows:
            name = f"output {jax.tree_util.keystr(path)}" if path else "its output"
            raise ValueError(
                f"{owner}: net must keep the first axis, that of examples; {rows} "
                f"examples came in and {name} is {describe(y)}"
            )
    return found


def check_params(owner: str, net: Any, params: Any, x: Any) -> None:
    """Raise unless the parameters have the shapes that the network would give them.

    Others may be beside them, as for a part of a network. A layer computes with what it
    gets, so that the weights of another network may give outputs without an error.
    """
    try:
        wants = trees.paths(own_params(net, rows_of(x, 1)))
    except Exception:  # an `init` that needs more than shapes; `apply` is the judge
        return
    has = trees.paths(params)
    missing = [path for path in wants if path not in has]
    other = [p for p, a in wants.items() if p in has and has[p].shape != a.shape]

    def contrast(path):
        return (
            f"{path} is {describe(has[path])}, in the network {describe(wants[path])}"
        )

    if missing or other:
        problems = listed("missing", missing, str)
        problems += listed("different", other, contrast)
        raise ValueError(
            "\n  ".join(
                [f"{owner}: state must hold the parameters of this network", *problems]
            )
        )


def check_values(found: Facts, inputs: Any, what: str) -> None:
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


def check_function(owner: str, loss: Any) -> None:
    """Raise unless a loss is a function, and not a class."""
    if isinstance(loss, type):
        kind = loss.__name__
        raise TypeError(
            f"{owner}: loss must be a function, got the class {kind}; build one, "
            f"{kind}(...)"
        )
    if not callable(loss):
        raise TypeError(
            f"{owner}: loss must be a function of outputs and targets, got "
            f"{shown(loss)}{_instead_of_loss(loss)}"
        )
    if arguments(loss)[:2] == ["run", "batch"]:
        raise TypeError(
            f"{owner}: loss must be a function of outputs and targets, got "
            f"{shown(loss)} of run and batch; give it as objective="
        )


def _instead_of_loss(loss: Any) -> str:
    if isinstance(loss, list | tuple):
        return "; several are a dict, for a network that returns a dict of outputs"
    return instead_of_text("jaxnn.losses", loss)


def check_optimizer(owner: str, optimizer: Any, name: str = "optimizer") -> None:
    """Raise unless this is an Optax optimizer; `name` is what the user gave it as."""
    made = hasattr(optimizer, "init") and hasattr(optimizer, "update")
    if not made or isinstance(optimizer, type):
        raise TypeError(
            f"{owner}: {name} must be an Optax optimizer such as optax.sgd(0.1), "
            f"got {shown(optimizer)}{instead_of_optimizer(optimizer)}"
        )


def check_each(owner: str, name: str, values: Any, examples: int) -> None:
    """Raise unless a loss or a metric returned one value per example."""
    if getattr(values, "shape", None) != (examples,):
        raise ValueError(
            f"{owner}: {name} must give one value per example, [{examples}], got "
            f"{describe(values)}; leave the mean over examples to the trainer"
        )
    if name == "loss" and not is_float(values):
        raise TypeError(
            f"{owner}: loss must give floating-point numbers, got {describe(values)}"
        )
