# SPDX-License-Identifier: Apache-2.0
"""What an exception says of the user's own loss, metric or objective."""

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import jax

from jaxnn.checks import arguments
from jaxnn.losses.contracts import contract_of

#: What JAX raises where Python or NumPy asks for the value of a traced array.
_TRACED = (
    jax.errors.ConcretizationTypeError,
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerIntegerConversionError,
)


@contextmanager
def inside(what: str, function: Callable[..., Any]) -> Iterator[None]:
    """Make errors raised inside say which function of the user they come from.

    Args:
        what: what the function is: `the loss`.
        function: the function.
    """
    try:
        yield
    except Exception as error:
        error.add_note(f"in {what}{_signature(function)}")
        if isinstance(error, _TRACED):
            error.add_note("use jax.numpy, not float() or numpy, on traced values")
        raise


def inside_metric(name: str, metric: Any) -> Any:
    """`inside` for a metric of `fit`; "loss" stands for the loss."""
    what = "the loss" if name == "loss" else f"metric {name!r}"
    return inside(what, getattr(metric, "function", metric))


def _signature(function: Any) -> str:
    """A user's function with its first two arguments; nothing for the library's."""
    while isinstance(function, functools.partial):
        function = function.func
    names = arguments(function)[:2]
    if not inspect.isfunction(function) or contract_of(function) or len(names) < 2:
        return ""
    order = "" if names[0] == "run" else ": outputs come first"
    return f" {function.__name__}({', '.join(names)}){order}"
