# SPDX-License-Identifier: Apache-2.0
"""A network's variables, its parameters and its state, as arguments of functions."""

import functools
import warnings
from collections.abc import Callable, Mapping
from typing import Any

from jaxnn.trees import describe


def variables(given: Any) -> tuple[Any, Any]:
    """Parameters and state from a pair, or from a record such as `TrainState`.

    >>> variables(({"w": 1.0}, {}))
    ({'w': 1.0}, {})
    """
    if _is_record(given):
        return given.params, given.state
    if isinstance(given, tuple) and len(given) == 2:
        if _is_record(given[0]):
            raise TypeError(
                "state: must be a TrainState, got the pair (state, history) that fit "
                "returns; pass the state alone"
            )
        return given
    raise TypeError(
        "state: must be a TrainState or a pair (params, state), got "
        f"{describe(given):.100}"
    )


def _is_record(given: Any) -> bool:
    return hasattr(given, "params") and hasattr(given, "state")


def in_one(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let `function(net, variables, ...)` take two arguments for them, with a warning.

    That was the signature in version 0.1; it will be removed in version 0.3.
    """

    @functools.wraps(function)
    def call(net, *rest, **options):
        named = (options.pop(n) for n in ("params", "state") if n in options)
        rest = (*rest[:1], *named, *rest[1:])
        if len(rest) > 1 and all(isinstance(tree, Mapping) for tree in rest[:2]):
            name = function.__name__
            warnings.warn(
                f"{name}(net, params, state, ...) is now {name}(net, (params, state), "
                "...); the old form will be removed in version 0.3",
                FutureWarning,
                stacklevel=2,
            )
            rest = (rest[:2], *rest[2:])
        return function(net, *rest, **options)

    return call
