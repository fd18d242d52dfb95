# SPDX-License-Identifier: Apache-2.0
"""Wrong arguments of functions and constructors, answered by `ARGUMENTS`."""

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from jaxnn.messages.elsewhere_calls import ARGUMENTS
from jaxnn.messages.phrases import nearest, shown
from jaxnn.messages.tracebacks import entrance

Function = TypeVar("Function", bound=Callable[..., Any])


_SIZE = "the size of the input is found by init"
_ARRAYS = "several arrays are one tuple, (x, y)"


def explained(init: Callable[..., None], more: str = _SIZE) -> Callable[..., None]:
    """Wrap a class's `__init__` so that wrong arguments are answered by `ARGUMENTS`.

    Args:
        init: the `__init__`.
        more: what to say of arguments that are given by their place, and too many.
    """

    @entrance
    @functools.wraps(init)
    def __init__(self: Any, *args: Any, **options: Any) -> None:
        try:
            init(self, *args, **options)
        except TypeError:
            _answer(type(self), args, options, more)
            raise

    return __init__


def answered(function: Function) -> Function:
    """Decorate a public function: wrong arguments are answered by `ARGUMENTS`."""

    @entrance
    @functools.wraps(function)
    def call(*args: Any, **options: Any) -> Any:
        try:
            return function(*args, **options)
        except TypeError:
            _answer(function, args, options, _ARRAYS)
            raise

    return call  # type: ignore[return-value]


def of_arrays(function: Function) -> Function:
    """Decorate a loss or a metric: called for its options alone, it says how."""

    @entrance
    @functools.wraps(function)
    def call(*args: Any, **options: Any) -> Any:
        try:
            return function(*args, **options)
        except TypeError:
            if not args:
                _check_arrays(function, options)
            _answer(function, args, options, "options are given by name")
            raise

    return call  # type: ignore[return-value]


def _check_arrays(function: Callable[..., Any], options: Mapping[str, Any]) -> None:
    """Raise if a function of arrays was called without any."""
    first, second, *_ = [*inspect.signature(function).parameters, "", ""]
    if first in options or second in options:
        return
    name, room = function.__name__, function.__module__.split(".")
    public = f"nn.{room[1]}.{name}" if room[0] == "jaxnn" else name
    given = "".join(f", {option}={shown(v)}" for option, v in options.items())
    raise TypeError(
        f"{name}: {' and '.join(filter(None, (first, second)))} must be given; to set "
        f"options alone, write functools.partial({public}{given})"
        if options
        else f"{name}: it is given without a call, {public}, not {public}()"
    )


def _answer(called: Callable[..., Any], args: tuple, options: dict, more: str) -> None:
    """Raise if the arguments do not fit the signature of what was called."""
    signature = inspect.signature(called)
    try:
        signature.bind(*args, **options)
    except TypeError as error:
        text = _misfit(called.__name__, signature.parameters, args, options, more)
        raise TypeError(text or str(error)) from None


def _misfit(
    owner: str, parameters: Mapping[str, Any], args: tuple, options: dict, more: str
) -> str:
    """How the arguments do not fit."""
    takes = f"it takes {', '.join(parameters) or 'no arguments'}"
    for name, value in options.items():
        if name not in parameters:
            advice = advised(name, parameters)
            return (
                f"{owner}: {name} is not an argument, got {shown(value)}; "
                f"{advice or takes + nearest(name, parameters)}"
            )
    by_place = inspect.Parameter.POSITIONAL_OR_KEYWORD
    places = [n for n, p in parameters.items() if p.kind is by_place]
    if len(args) > len(places):
        first = f"only {', '.join(places)} may come without a name" if places else ""
        return (
            f"{owner}: {first or 'arguments are given by name'}, got "
            f"{', '.join(shown(value, 30) for value in args)}; {more}"
        )
    for name, value in zip(places, args, strict=False):
        if name in options:
            both = f"{shown(value)} by its place and {name}={shown(options[name])}"
            return f"{owner}: {name} is given twice, got {both}; {more}"
    given = {*options, *places[: len(args)]}
    required = [
        n for n, p in parameters.items() if p.default is inspect.Parameter.empty
    ]
    lacking = [name for name in required if name not in given]
    return f"{owner}: {' and '.join(lacking)} must be given; {takes}" if lacking else ""


def advised(name: str, parameters: Iterable[str]) -> str:
    """What to write for an argument of another library, if that is taken; or ""."""
    for advice in ARGUMENTS.get(name, "").split(" | "):
        word = advice.removeprefix("write ").partition("=")[0]
        if not word.isidentifier() or word in parameters:
            return advice
    return ""
