# SPDX-License-Identifier: Apache-2.0
"""Argument checks of the functions that prepare data, and their error messages."""

import operator
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike


def integer(value: Any) -> int | None:
    """The value as an int; None if it is anything else, including a bool."""
    if isinstance(value, bool | np.bool) or np.ndim(value):
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None


def positive(owner: str, name: str, value: Any) -> int:
    """The value as an int of at least 1; otherwise, raises an error that names it."""
    number = integer(value)
    if number is None:
        raise TypeError(f"{owner}: {name} must be a positive int, got {value!r}")
    if number < 1:
        raise ValueError(f"{owner}: {name} must be a positive int, got {number}")
    return number


def first(bad: ArrayLike, values: np.ndarray, name: str, axes: int = 0) -> str:
    """The first bad entry, as `name[index] = value`; the first entry if none is bad.

    An entry spans the last `axes` axes of `values`.
    """
    shape = values.shape[: values.ndim - axes]
    flat = int(np.argmax(np.broadcast_to(bad, shape)))
    index = tuple(int(i) for i in np.unravel_index(flat, shape)) if shape else ()
    place = f"{name}[{', '.join(map(str, index))}]" if index else name
    return f"{place} = {np.asarray(values[index]).tolist()!r}"


def seed_of(owner: str, seed: Any) -> int:
    """The seed, checked to be a non-negative int."""
    value = integer(seed)
    if value is None:
        raise TypeError(
            f"{owner}: seed must be an int such as 0, got {type(seed).__name__}; "
            f"this runs on the host and takes no JAX key"
        )
    if value < 0:
        raise ValueError(f"{owner}: seed must not be negative, got {value}")
    return value


def map_tree(function: Callable[[str, Any], Any], tree: Any, path: str = "data") -> Any:
    """The tree with `function(path, leaf)` in place of each leaf."""
    if tree is None:
        return None
    if isinstance(tree, Mapping):
        return {
            k: map_tree(function, part, f"{path}[{k!r}]") for k, part in tree.items()
        }
    if not isinstance(tree, tuple | list):
        return function(path, tree)
    parts = [map_tree(function, part, f"{path}[{i}]") for i, part in enumerate(tree)]
    return type(tree)(*parts) if hasattr(tree, "_fields") else type(tree)(parts)


def noise(count: int, *seed: int) -> np.ndarray:
    """Random uint64 [count], the same on every machine and with every NumPy.

    NumPy guarantees the raw numbers of a bit generator across versions, but not what
    `Generator.permutation` makes of them, so orders are drawn by sorting these numbers.
    """
    return np.random.PCG64(list(seed)).random_raw(count)
