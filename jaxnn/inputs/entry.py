# SPDX-License-Identifier: Apache-2.0
"""The single point of entry for arrays given to `init` and `apply` of any layer."""

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
    """Wrap a layer's `init(key, x)` so that every array in `x` is checked."""

    @functools.wraps(init)
    def entered(self, key, x):
        x = converted(f"{type(self).__name__}: x", x, arrays.checked)
        with _reading(x):
            return init(self, key, x)

    return entered


def of_apply(apply: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a layer's `apply` so that every array in its `x` is a JAX array."""

    @functools.wraps(apply)
    def entered(self, params, state, x, **options):
        x = on_device(f"{type(self).__name__}: x", x)
        with _reading(x):
            return apply(self, params, state, x, **options)

    return entered


def on_device(name: str, x: Any) -> Any:
    """A tree with its arrays as JAX arrays that no one else can modify."""
    return converted(name, x, arrays.to_jax)


def converted(name: str, x: Any, convert: Callable[[str, Any], Any]) -> Any:
    """Convert the arrays of a tree; a tree without arrays is returned as it is.

    Args:
        name: what to call the tree in messages.
        x: any tree.
        convert: maps a name and an array to what replaces the array.
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
    """Whether `a` is an array of any library, and not just a shape or a number."""
    if isinstance(a, str | bytes):
        return True  # of letters, which is rejected
    known = hasattr(a, "shape") and (hasattr(a, "__array__") or arrays.is_sparse(a))
    return known and not isinstance(a, np.generic)


@contextmanager
def _reading(x: Any) -> Iterator[None]:
    """Inspect a `KeyError` that is raised inside."""
    try:
        yield
    except KeyError as error:
        is_of_inputs(error, x)
        raise


def is_of_inputs(error: KeyError, x: Any) -> bool:
    """Whether a key is missing in a layer's inputs `x`, a dict, not in its parameters.

    The answer is stored on the error: that of the layer that raised it holds for all.
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
