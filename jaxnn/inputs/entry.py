# SPDX-License-Identifier: Apache-2.0
"""The single point of entry for arrays given to `init` and `apply` of any layer."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.core import Tracer

from jaxnn import trees
from jaxnn.inputs import arrays, misuse
from jaxnn.inputs.errors import is_of_inputs
from jaxnn.messages.tracebacks import shorten

#: Stands for an argument that was not given.
_ABSENT: Any = object()
#: What every `apply` takes by name; those of a user's own layers may take more.
_OPTIONS = {"key", "train"}


def of_init(init: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a layer's `init(key, x)` so that every array in `x` is checked."""

    @functools.wraps(init)
    def entered(self, key=_ABSENT, x=_ABSENT, *more, **options):
        try:
            if x is _ABSENT or more or options:
                raise misuse.misapplied(self, "init", _given(key, x, *more), options)
            x = converted(f"{type(self).__name__}: x", x, arrays.checked)
            return init(self, key, x)
        except Exception as error:
            _leaves(error, x)
            raise

    return entered


def of_apply(apply: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a layer's `apply` so that every array in its `x` is a JAX array."""

    @functools.wraps(apply)
    def entered(self, params=_ABSENT, state=_ABSENT, x=_ABSENT, *more, **options):
        try:
            if x is _ABSENT or more:
                given = _given(params, state, x, *more)
                raise misuse.misapplied(self, "apply", given, options)
            if not options.keys() <= _OPTIONS:
                misuse.check_options(self, apply, options)
            if options.get("train", False) is not False:
                _check_static(self, options["train"])
            x = on_device(f"{type(self).__name__}: x", x)
            return apply(self, params, state, x, **options)
        except Exception as error:
            _leaves(error, x)
            raise

    return entered


def _given(*arguments: Any) -> list[Any]:
    return [a for a in arguments if a is not _ABSENT]


def _check_static(layer: Any, train: Any) -> None:
    """Raise if `train` is traced: layers decide by it what to compute."""
    if isinstance(train, Tracer):
        raise TypeError(
            f"{type(layer).__name__}: train must be static, True or False, got a "
            f"traced {train.dtype}; under jit, name it: "
            'jax.jit(net.apply, static_argnames="train")'
        )


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

    def one(path, a):
        return convert(f"{name} {path}".strip(), a) if _is_array(a) else a

    return trees.map_paths(one, x, is_leaf=arrays.is_sparse)


def _is_array(a: Any) -> bool:
    """Whether `a` is an array of any library, and not just a shape or a number."""
    if isinstance(a, str | bytes):
        return True  # of letters, which is rejected
    known = hasattr(a, "shape") and (hasattr(a, "__array__") or arrays.is_sparse(a))
    return known and not isinstance(a, np.generic)


def _leaves(error: Exception, x: Any) -> None:
    """Complete an error that leaves a layer called on `x`."""
    if isinstance(error, KeyError):
        is_of_inputs(error, x)
    shorten(error)
