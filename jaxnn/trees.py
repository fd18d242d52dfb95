# SPDX-License-Identifier: Apache-2.0
"""Trees of arrays, with leaves named by paths such as `stage1/block2/conv1/w`."""

import difflib
import math
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from itertools import islice
from typing import Any, NamedTuple

import jax
import numpy as np

LISTED = 20  # most names of one kind in an error message


def paths(tree: Any, *, is_leaf: Callable[[Any], bool] | None = None) -> dict[str, Any]:
    """The leaves of a tree by path, in tree order.

    Args:
        tree: any pytree. Dicts contribute their keys, NamedTuples and dataclasses
            their fields, tuples and lists their indices. A bare leaf has path `""`.
        is_leaf: tells which inner nodes to treat as leaves.

    Returns:
        A dict from path to leaf.

    Raises:
        ValueError: a dict key is empty or contains `/`, or two leaves share a path.

    >>> paths({"dense_1": {"w": 1.0, "b": 2.0}, "moments": (3.0, 4.0)})
    {'dense_1/b': 2.0, 'dense_1/w': 1.0, 'moments/0': 3.0, 'moments/1': 4.0}
    """
    named = {}
    for keys, leaf in jax.tree_util.tree_flatten_with_path(tree, is_leaf=is_leaf)[0]:
        path = "/".join(_name(key) for key in keys)
        if path in named:
            raise ValueError(f"two leaves of a tree share the path {path!r}")
        named[path] = leaf
    return named


def _name(key: Any) -> str:
    name = jax.tree_util.keystr((key,), simple=True)
    if not name or "/" in name:
        raise ValueError(
            "a dict key of a tree must be a name without '/', which separates the "
            f"parts of a path, and not empty, got {name!r}"
        )
    return name


def put(tree: dict[str, Any], path: str, value: Any) -> None:
    """Put a value into nested dicts at a path, creating dicts along the way.

    Raises:
        ValueError: something is already there, or a leaf is in the way.

    >>> tree = {"dense_1": {"w": 1.0}}
    >>> put(tree, "dense_1/b", 2.0)
    >>> tree
    {'dense_1': {'w': 1.0, 'b': 2.0}}
    """
    *above, last = path.split("/")
    node: Any = tree
    for name in above:
        node = node.setdefault(name, {}) if isinstance(node, dict) else None
    if not isinstance(node, dict) or last in node:
        raise ValueError(f"{path!r} is both a leaf and a folder")
    node[last] = value


def matches(pattern: str, path: str) -> bool:
    """Whether a glob pattern matches a path; `*` also crosses `/`.

    A pattern without wildcards (`*`, `?`, `[...]`) also matches everything below it.

    >>> matches("*/w", "stage1/conv1/w"), matches("dense_1", "dense_1/w")
    (True, True)
    """
    if any(wildcard in pattern for wildcard in "*?["):
        return fnmatchcase(path, pattern)
    return path == pattern or path.startswith(f"{pattern}/")


def nearest(name: str, names: Iterable[str]) -> str:
    """The end of an error message: the name closest to a misspelled one, or nothing.

    Only the first thousand names are compared: each takes a few microseconds.

    >>> "no layer 'dense1'" + nearest("dense1", ["conv_1", "dense_1"])
    "no layer 'dense1' (nearest: 'dense_1')"
    """
    close = difflib.get_close_matches(name, list(islice(names, 1000)), n=1)
    return f" (nearest: {close[0]!r})" if close else ""


class Difference(NamedTuple):
    """How the names and values found differ from those wanted."""

    missing: list[str]
    unexpected: list[str]
    different: list[str]


def difference(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> Difference:
    """The names that are missing, unexpected, or have a different value.

    >>> difference({"w": "float32[3]", "c": "int32[]"}, {"w": "float32[4]", "b": ""})
    Difference(missing=['b'], unexpected=['c'], different=['w'])
    """
    return Difference(
        [name for name in wanted if name not in found],
        [name for name in found if name not in wanted],
        [name for name in wanted if name in found and found[name] != wanted[name]],
    )


def listed(title: str, names: Iterable[str], text: Callable[[str], str]) -> list[str]:
    """Lines of an error message, one per name, for the first twenty names.

    >>> listed("missing", ["w", "b"], repr)
    ["missing: 'w'", "missing: 'b'"]
    """
    names = list(names)
    lines = [f"{title}: {text(name)}" for name in names[:LISTED]]
    more = len(names) - LISTED
    return [*lines, f"{title}: and {more} more"] if more > 0 else lines


def labels(tree: Any, groups: Mapping[str, Any], default: Any = ...) -> Any:
    """A tree of labels, one per leaf, chosen by path pattern; for `optax.partition`.

    Args:
        tree: any pytree of parameters.
        groups: from path pattern (see `matches`) to label.
        default: the label of leaves that no pattern matches; without it, there must be
            no such leaves.

    Returns:
        A tree of the same structure with a label at each leaf.

    Raises:
        ValueError: a leaf matches two patterns, or none and there is no default; or a
            pattern matches no parameter.

    >>> params = {"conv_1": {"w": 1.0}, "dense_1": {"w": 2.0, "b": 3.0}}
    >>> labels(params, {"conv_1": "frozen", "dense_1": "trained"})
    {'conv_1': {'w': 'frozen'}, 'dense_1': {'b': 'trained', 'w': 'trained'}}
    """
    names = list(paths(tree))
    parts = [name.split("/") for name in names]
    known = {"/".join(p[:i]): None for p in parts for i in range(1, len(p) + 1)}
    for pattern in groups:
        if not any(matches(pattern, name) for name in names):
            raise ValueError(
                f"pattern {pattern!r} matches no parameter{nearest(pattern, known)}"
            )
    chosen = [_label(name, groups, default) for name in names]
    return jax.tree.unflatten(jax.tree.structure(tree), chosen)


def _label(name: str, groups: Mapping[str, Any], default: Any) -> Any:
    patterns = [pattern for pattern in groups if matches(pattern, name)]
    if len(patterns) > 1:
        every = " and ".join(map(repr, patterns))
        raise ValueError(f"{name!r} must match one pattern, it matches {every}")
    if not patterns and default is ...:
        raise ValueError(f"no pattern matches {name!r}; add one, or give a default")
    return groups[patterns[0]] if patterns else default


def count(tree: Any) -> int:
    """The number of array elements (parameters) in a tree; shapes are enough.

    >>> count({"w": np.zeros((784, 10)), "b": np.zeros(10)})
    7850
    """
    return sum(math.prod(np.shape(leaf)) for leaf in jax.tree.leaves(tree))


def nbytes(tree: Any) -> int:
    """The bytes that the arrays of a tree take; shapes and dtypes are enough.

    >>> nbytes({"w": jax.ShapeDtypeStruct((784, 10), np.float32)})
    31360
    """
    return sum(count(x) * _dtype(x).itemsize for x in jax.tree.leaves(tree))


def _dtype(leaf: Any) -> Any:
    return leaf.dtype if hasattr(leaf, "dtype") else np.asarray(leaf).dtype


def describe(x: Any) -> str:
    """Shapes and dtypes in brief, for messages; works for tracers and nested trees.

    >>> describe((np.zeros((8, 4), np.float32), {"label": np.zeros(8, np.int32)}))
    "(float32[8,4], {'label': int32[8]})"
    >>> describe(jax.random.key(0))
    'key<fry>[]'
    """
    if hasattr(x, "shape") and hasattr(x, "dtype"):
        dtype = getattr(x.dtype, "name", x.dtype)
        return f"{dtype}[{','.join(map(str, x.shape))}]"
    if isinstance(x, Mapping):
        return f"{{{', '.join(f'{k!r}: {describe(v)}' for k, v in x.items())}}}"
    if isinstance(x, tuple) and (fields := getattr(x, "_fields", ())):
        inner = (f"{k}={describe(v)}" for k, v in zip(fields, x, strict=True))
        return f"{type(x).__name__}({', '.join(inner)})"
    if isinstance(x, tuple):
        return f"({', '.join(map(describe, x))}{',' if len(x) == 1 else ''})"
    if isinstance(x, list):
        return f"[{', '.join(map(describe, x))}]"
    return "None" if x is None else type(x).__name__
