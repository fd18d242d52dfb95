# SPDX-License-Identifier: Apache-2.0
"""The one way in: the arrays that `init` and `apply` of every layer are given."""

import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import jax
import numpy as np
from jax.core import Tracer

from jaxnn import trees
from jaxnn.inputs import arrays
from jaxnn.trees import nearest


def of_init(init: Callable[..., Any]) -> Callable[..., Any]:
    """A layer's `init(key, x)`, in whose `x` every array is checked."""

    @functools.wraps(init)
    def entered(self, key, x):
        x = converted(f"{type(self).__name__}: x", x, arrays.checked)
        with _reading(x):
            return init(self, key, x)

    return entered


def of_apply(apply: Callable[..., Any]) -> Callable[..., Any]:
    """A layer's `apply(params, state, x)`, in whose `x` every array is one of JAX."""

    @functools.wraps(apply)
    def entered(self, params, state, x, **options):
        x = on_device(f"{type(self).__name__}: x", x)
        with _reading(x):
            return apply(self, params, state, x, **options)

    return entered


def on_device(name: str, x: Any) -> Any:
    """A tree with its arrays as JAX's, that no one else can change."""
    return converted(name, x, arrays.to_jax)


def converted(name: str, x: Any, convert: Callable[[str, Any], Any]) -> Any:
    """A tree with its arrays converted, itself if there are none; the rest stays.

    Args:
        name: what the tree is, for messages.
        x: any tree.
        convert: from a name and an array to what stands in its place.
    """
    leaves = jax.tree.leaves(x, is_leaf=arrays.is_sparse)
    if all(isinstance(a, Tracer) for a in leaves) or not any(map(_is_array, leaves)):
        return x
    named = trees.paths(x, is_leaf=arrays.is_sparse)
    made = [
        convert(f"{name} {path}".strip(), a) if _is_array(a) else a
        for path, a in named.items()
    ]
    return jax.tree.unflatten(jax.tree.structure(x, is_leaf=arrays.is_sparse), made)


def _is_array(a: Any) -> bool:
    """Whether it is an array, of whatever library, and not only a shape or a number."""
    if isinstance(a, str | bytes):
        return True  # of letters, which is refused
    known = hasattr(a, "shape") and (hasattr(a, "__array__") or arrays.is_sparse(a))
    return known and not isinstance(a, np.generic)


@contextmanager
def _reading(x: Any) -> Iterator[None]:
    """A `KeyError` that arises in here is looked at."""
    try:
        yield
    except KeyError as error:
        is_of_inputs(error, x)
        raise


def is_of_inputs(error: KeyError, x: Any) -> bool:
    """Whether a layer missed a key in its inputs `x`, a dict, and not in parameters.

    It is noted on the error. What the layer in which it arose finds holds for all.
    """
    found = getattr(error, "_of_inputs", None)
    if found is None:
        name = error.args[0] if error.args else None
        found = error._of_inputs = isinstance(x, Mapping) and name not in x  # type: ignore
        if found:
            near = nearest(str(name), map(str, x))
            names = ", ".join(map(repr, x))
            error.add_note(f"x is a dict of {names}, without {name!r}{near}")
    return found
