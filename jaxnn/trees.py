# SPDX-License-Identifier: Apache-2.0
"""Trees of arrays, with leaves named by paths such as `stage1/block2/conv1/w`."""

import math
import warnings
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxnn.messages import phrases
from jaxnn.messages.phrases import unmatched


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
            raise ValueError(f"tree: paths must differ, but two leaves have {path!r}")
        named[path] = leaf
    return named


def _name(key: Any) -> str:
    name = jax.tree_util.keystr((key,), simple=True)
    if not name or "/" in name:
        raise ValueError(
            "tree: a dict key must be a name without '/', which separates the parts of "
            f"a path, and not empty, got {name!r}"
        )
    return name


def map_paths(
    function: Callable[[str, Any], Any],
    tree: Any,
    *,
    is_leaf: Callable[[Any], bool] | None = None,
) -> Any:
    """The same tree with `function(path, leaf)` in place of each leaf.

    >>> map_paths(lambda path, leaf: f"{path}={leaf}", {"w": 1, "b": (2, 3)})
    {'b': ('b/0=2', 'b/1=3'), 'w': 'w=1'}
    """
    made = [function(path, a) for path, a in paths(tree, is_leaf=is_leaf).items()]
    return jax.tree.unflatten(jax.tree.structure(tree, is_leaf=is_leaf), made)


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
        raise ValueError(f"tree: {path!r} is both a leaf and a folder")
    node[last] = value


def get(tree: Any, path: str) -> Any:
    """What nested dicts hold at a path, "" for all; `{}` if there is nothing.

    >>> get({"blocks": {"0": {"w": 1.0}}}, "blocks/0"), get({}, "blocks/1")
    ({'w': 1.0}, {})
    """
    for name in path.split("/") if path else ():
        tree = tree.get(name, {})
    return tree


def replace(tree: dict[str, Any], path: str, value: Any) -> None:
    """Set what a dict holds at a path; the dicts below it are copied, not modified.

    At "", the path of the whole, a dict is merged into it.

    >>> inner = {"0": 1.0}
    >>> tree = {"blocks": inner}
    >>> replace(tree, "blocks/1", 2.0)
    >>> tree, inner
    ({'blocks': {'0': 1.0, '1': 2.0}}, {'0': 1.0})
    """
    name, _, rest = path.partition("/")
    if rest:
        below = dict(tree.get(name, {}))
        replace(below, rest, value)
        value = below
    tree.update({name: value} if path else value)


def matches(pattern: str, path: str) -> bool:
    """Whether a glob pattern matches a path; `*` also crosses `/`.

    A pattern without wildcards (`*`, `?`, `[...]`) also matches everything below it.

    >>> matches("*/w", "stage1/conv1/w"), matches("dense_1", "dense_1/w")
    (True, True)
    """
    if any(wildcard in pattern for wildcard in "*?["):
        return fnmatchcase(path, pattern)
    return path == pattern or path.startswith(f"{pattern}/")


def matches_any(patterns: Iterable[str], path: str) -> bool:
    """Whether one of the patterns matches a path; see `matches`."""
    return any(matches(pattern, path) for pattern in patterns)


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


def labels(
    tree: Any,
    groups: Mapping[str, Any],
    default: Any = ...,
    *,
    owner: str = "labels",
) -> Any:
    """A tree of labels, one per leaf, chosen by path pattern; for `optax.partition`.

    Args:
        tree: any pytree of parameters.
        groups: from path pattern (see `matches`) to label.
        default: the label of leaves that no pattern matches; without it, there must be
            no such leaves.
        owner: the function that messages name.

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
    for pattern in groups:
        if not any(matches(pattern, name) for name in names):
            raise ValueError(f"{owner}: {unmatched(pattern, names)}")
    return map_paths(lambda name, _: _label(owner, name, groups, default), tree)


def _label(owner: str, name: str, groups: Mapping[str, Any], default: Any) -> Any:
    patterns = [pattern for pattern in groups if matches(pattern, name)]
    if len(patterns) > 1:
        every = " and ".join(map(repr, patterns))
        raise ValueError(
            f"{owner}: {name!r} must match one pattern, it matches {every}"
        )
    if not patterns and default is ...:
        raise ValueError(
            f"{owner}: no pattern matches {name!r}; add one, or give default="
        )
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


def abstract(tree: Any) -> Any:
    """The same tree with shapes and dtypes in place of arrays and numbers."""

    def one(a):
        return jax.ShapeDtypeStruct(jnp.shape(a), jnp.result_type(a))

    return jax.tree.map(one, tree)


def placed(a: Any, sharding: jax.sharding.Sharding) -> jax.Array:
    """An array or a random key where a sharding has it, also in several processes."""
    if not jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
        return jax.device_put(a, sharding)
    # (Keys cannot be put on the devices of other processes, their data can.)
    data = jax.device_put(jax.random.key_data(a), sharding)
    return jax.random.wrap_key_data(data, impl=jax.random.key_impl(a))


def __getattr__(name: str) -> Any:
    """The phrases of messages that stood here in version 0.1."""
    if name not in ("describe", "listed", "nearest"):
        raise AttributeError(name)
    warnings.warn(
        f"jaxnn.trees.{name} is now jaxnn.messages.phrases.{name}; the old name will "
        "be removed in version 0.3",
        FutureWarning,
        stacklevel=2,
    )
    return getattr(phrases, name)
