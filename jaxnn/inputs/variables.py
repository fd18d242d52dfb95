# SPDX-License-Identifier: Apache-2.0
"""A network's variables, its parameters and its state, as arguments of functions."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

from jaxnn.messages.arguments import answered
from jaxnn.messages.phrases import describe
from jaxnn.messages.tracebacks import entrance, warn


def variables(given: Any, owner: str) -> tuple[Any, Any]:
    """Parameters and state from a pair, a record such as `TrainState`, or a dict of it.

    >>> variables(({"w": 1.0}, {}), "predict")
    ({'w': 1.0}, {})
    """
    if _is_record(given):
        return given.params, given.state
    if isinstance(given, Mapping) and {"params", "state"} <= {*given}:
        return given["params"], given["state"]  # as nn.load returns a TrainState
    if isinstance(given, tuple) and len(given) == 2:
        if _is_record(given[0]):
            raise TypeError(
                f"{owner}: state must be a TrainState, got the pair (state, history) "
                "that fit returns; pass the state alone"
            )
        return given
    raise TypeError(
        f"{owner}: state must be a TrainState or a pair (params, state), got "
        f"{describe(given):.100}"
    )


def _is_record(given: Any) -> bool:
    return hasattr(given, "params") and hasattr(given, "state")


def in_one(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let `function(net, variables, ...)` take two arguments for them, with a warning.

    That was the signature in version 0.1; it will be removed in version 0.3.
    """

    called = answered(function)

    @entrance
    @functools.wraps(function)
    def call(*given, **options):
        net, rest = given[:1], given[1:]
        named = (options.pop(n) for n in ("params", "state") if n in options)
        rest = (*rest[:1], *named, *rest[1:])
        if len(rest) > 1 and all(isinstance(tree, Mapping) for tree in rest[:2]):
            name = function.__name__
            warn(
                f"{name}(net, params, state, ...) is now {name}(net, (params, state), "
                "...); the old form will be removed in version 0.3",
                FutureWarning,
            )
            rest = (rest[:2], *rest[2:])
        return called(*net, *rest, **options)

    return call
