# SPDX-License-Identifier: Apache-2.0
"""The names that a function takes."""

import inspect
from collections.abc import Mapping
from typing import Any


def parameters(function: Any) -> Mapping[str, inspect.Parameter]:
    """What a function takes by name; nothing for one that does not tell."""
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError):
        return {}


def arguments(function: Any) -> list[str]:
    """The names that a function takes, `*args` and `**options` left out."""
    rest = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [n for n, p in parameters(function).items() if p.kind not in rest]


def needed(function: Any) -> list[str]:
    """The names that a function can not do without."""
    every = parameters(function)
    return [n for n in arguments(function) if every[n].default is inspect._empty]
