# SPDX-License-Identifier: Apache-2.0
"""What a module shows of itself: its public names, each with a line in its help."""

import inspect
import sys
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

from jaxnn.messages.answers import instead
from jaxnn.messages.phrases import nearest
from jaxnn.messages.tracebacks import entrance


def show(name: str, also: Iterable[str] = ()) -> None:
    """Let a module show its public names alone; called on its last line.

    `dir`, tab completion and `from module import *` then give these names, without what
    the file imports for its own use, and `help` lists them below the docstring. The
    list is made when it is asked for, since for its lines everything is imported.

    A name that it does not have is answered with what to write, by `elsewhere.NAMES`,
    or with the nearest name.

    Args:
        name: the module's `__name__`.
        also: its public names that are imported on first use, or are modules. The
            classes and functions in it need not be listed: in a package, all those of
            this library; in a file, those that are written there.
    """
    module = sys.modules[name]
    vars(module)["_also"] = tuple(also)
    vars(module)["__getattr__"] = _answering(module, vars(module).get("__getattr__"))
    module.__class__ = _Shown


def _answering(module: Any, own: Callable[[str], Any] | None) -> Callable[[str], Any]:
    """A module's `__getattr__`: its own, and an answer for a name that it lacks.

    Its own raises `AttributeError(name)` then. (As a method of `_Shown`, IPython would
    not complete the names of submodules.)
    """

    @entrance
    def __getattr__(name: str) -> Any:
        try:
            if own is not None:
                return own(name)
        except AttributeError as error:
            if error.args != (name,):
                raise
        raise AttributeError(_missing(module, name), name=name, obj=module)

    return __getattr__


def _missing(module: Any, name: str) -> str:
    text = f"module {module.__name__!r} has no attribute {name!r}"
    if answer := instead(module.__name__, name):
        return text + answer
    return text if name.startswith("_") else text + nearest(name, module.__all__)


class _Shown(ModuleType):
    def __dir__(self) -> list[str]:
        return self.__all__

    @property
    def __all__(self) -> list[str]:
        within = "jaxnn." if hasattr(self, "__path__") else self.__name__
        found = {
            name
            for name, value in vars(self).items()
            if not name.startswith("_") and _home(value).startswith(within)
        }
        return sorted({*found, *vars(self)["_also"]})

    @property
    def __doc__(self) -> str:  # type: ignore[override]
        values = {name: _value(self, name) for name in self.__all__}
        # (modules first, as the chapters of a book)
        order = sorted(values, key=lambda name: not inspect.ismodule(values[name]))
        width = max(map(len, order))
        lines = [f"{name:{width}}  {_first_line(values[name])}" for name in order]
        return "\n".join([_text(self).rstrip(), "", *lines, ""])


def _value(module: Any, name: str) -> Any:
    """What a module has under a name; if a package is missing, the error."""
    try:
        return getattr(module, name)
    except ImportError as error:
        return error


def _home(value: Any) -> str:
    """The module of a class, a function or an object; none for a module."""
    home = "" if inspect.ismodule(value) else getattr(value, "__module__", "")
    return home if isinstance(home, str) else ""


def _text(value: Any) -> str:
    """A docstring as it is written."""
    if isinstance(value, ImportError):
        return str(value)
    written = vars(value)["__doc__"] if inspect.ismodule(value) else value.__doc__
    return inspect.cleandoc(written or "")


def _first_line(value: Any) -> str:
    return _text(value).partition("\n")[0]
