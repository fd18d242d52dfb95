# SPDX-License-Identifier: Apache-2.0
"""Specs: frozen records that compare by content and print as code."""

import dataclasses
import functools
import importlib
import types
from typing import Any, dataclass_transform

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jaxnn.messages.tracebacks import entrance


@dataclass_transform(frozen_default=True, eq_default=False)
class Spec:
    """A record of hyperparameters: frozen, hashable, without arrays.

    Subclasses automatically become frozen dataclasses.  Two specs built from the same
    arguments are equal and have the same hash (lists, dicts and partial functions
    compare by content), so `jax.jit` does not recompile for a rebuilt spec; evaluating
    a spec's `repr` gives an equal spec.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        try:
            dataclasses.dataclass(frozen=True, eq=False, repr=False)(cls)
        except ValueError as error:  # a mutable default
            raise ValueError(
                f"{cls.__name__}: {error}; a default must be a tuple in place of a "
                "list or a dict"
            ) from None
        cls.__init__ = entrance(cls.__init__)  # which checks the arguments

    @functools.cached_property
    def _identity(self) -> tuple:
        return (type(self), *(comparable(v) for v in fields(self).values()))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Spec) and self._identity == other._identity

    def __hash__(self) -> int:
        try:
            return hash(self._identity)
        except TypeError as error:
            raise TypeError(
                f"{type(self).__name__}: a layer is a spec without arrays and must be "
                f"hashable ({error}); arrays belong in its params or state: "
                "nn.Parameter(shape) is a child with an array"
            ) from None

    def __reduce__(self) -> tuple:
        named = {name: _by_name(value) for name, value in fields(self).items()}
        return _rebuilt, (type(self), named)

    def __repr__(self) -> str:
        shown = []
        for position, f in enumerate(dataclasses.fields(self)):  # type: ignore[arg-type]
            value = getattr(self, f.name)
            if f.default is dataclasses.MISSING or not same(value, f.default):
                name = "" if position == 0 and not f.kw_only else f"{f.name}="
                shown.append(name + show(value))
        return f"{type(self).__name__}({', '.join(shown)})"


def fields(spec: Spec) -> dict[str, Any]:
    """The fields of a spec and their values, in order."""
    names = [f.name for f in dataclasses.fields(spec)]  # type: ignore[arg-type]
    return {name: getattr(spec, name) for name in names}


def comparable(value: Any) -> Any:
    """Lists, dicts and partial functions in a form that compares by content."""
    if isinstance(value, list | tuple):
        return tuple(map(comparable, value))
    if isinstance(value, dict):
        return tuple((k, comparable(v)) for k, v in sorted(value.items()))
    if isinstance(value, functools.partial):
        parts = (value.func, value.args, value.keywords)
        return (functools.partial, *map(comparable, parts))
    if dataclasses.is_dataclass(value) and not isinstance(value, Spec | type):
        parts = (getattr(value, f.name) for f in dataclasses.fields(value))
        return (type(value), *map(comparable, parts))
    if isinstance(value, types.FunctionType):
        return _function(value)
    if isinstance(value, bool | int | float | np.generic):
        value = value.item() if isinstance(value, np.generic) else value
        return (type(value), value)  # 2, 2.0 and True are equal but not the same
    return value


#: Libraries whose functions depend only on their arguments and their closures.
_PURE = ("jax", "jaxnn", "optax")


def _function(value: types.FunctionType) -> Any:
    """A function that a library made, as its code and its closure.

    `optax.adam(1e-3)` written twice is thus one optimizer, and compiles once. A user's
    function may depend on globals, so it equals only itself.
    """
    library = (value.__module__ or "").partition(".")[0]
    if library not in _PURE or "<locals>" not in value.__qualname__:
        return value
    defaults = [value.__defaults__, value.__kwdefaults__]
    try:
        made_with = comparable([*map(_content, value.__closure__ or ()), *defaults])
        hash(made_with)
    except (TypeError, RecursionError):  # it holds an array, say, or itself
        return value
    return (value.__code__, *made_with)


def _content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # a variable that was never set
        return types.CellType


def same(a: Any, b: Any) -> bool:
    """Whether two field values are the same."""
    a, b = comparable(a), comparable(b)
    return a is b or (type(a) is type(b) and a == b)


def show(value: Any) -> str:
    """A repr that can be evaluated, with functions by their public names."""
    if isinstance(value, tuple) and type(value) is tuple:
        return f"({', '.join(map(show, value))}{',' if len(value) == 1 else ''})"
    if isinstance(value, functools.partial):
        options = [show(a) for a in value.args]
        options += [f"{name}={show(v)}" for name, v in value.keywords.items()]
        return f"functools.partial({', '.join([show(value.func), *options])})"
    if isinstance(value, Tracer):  # a hyperparameter inside a sweep's program
        return f"<traced {value.dtype}>"
    if not callable(value) or isinstance(value, Spec | type):
        return repr(getattr(value, "item", lambda: value)())  # NumPy's as Python's
    return _function_name(value)


def _function_name(function: Any) -> str:
    name = getattr(function, "__name__", None)
    if name is None:
        return repr(function)
    if public := _public_home(function):
        return f"{public}.{name}"
    home = getattr(function, "__module__", None)
    full = getattr(function, "__qualname__", name)
    if (home or "").startswith("jaxnn."):  # ours are public under the flat name
        return full
    return full if home in (None, "__main__") else f"{home}.{full}"


def _public_home(function: Any) -> str | None:
    """The public JAX module that a function is in, or None."""
    name = getattr(function, "__name__", "")
    for module in (jax.nn, jnp, jax.lax):
        if getattr(module, name, None) is function:
            return module.__name__
    return None


class _Made:
    """A value as a pickle stores it: a function and the arguments to call it with."""

    def __init__(self, function: Any, *args: Any):
        self.call = function, args

    def __reduce__(self) -> tuple:
        return self.call


def _by_name(value: Any) -> Any:
    """A field with its functions by name, since Python cannot pickle jitted ones.

    Public names survive new releases of JAX; its private modules do not.
    """
    if type(value) in (list, tuple):
        return type(value)(map(_by_name, value))
    if type(value) is dict:
        return {key: _by_name(v) for key, v in value.items()}
    if isinstance(value, functools.partial):
        parts = (value.func, value.args, value.keywords)
        return _Made(_partial, *map(_by_name, parts))
    if not callable(value) or isinstance(value, Spec | type):
        return value
    if public := _public_home(value):
        return _Made(_found, public, value.__name__)
    module, name = (getattr(value, n, "") for n in ("__module__", "__qualname__"))
    try:
        known = _found(module, name) is value
    except (AttributeError, ImportError, TypeError, ValueError):
        known = False
    return _Made(_found, module, name) if known else value


def _found(module: str, name: str) -> Any:
    return functools.reduce(getattr, name.split("."), importlib.import_module(module))


def _partial(function: Any, args: tuple, keywords: dict) -> functools.partial:
    return functools.partial(function, *args, **keywords)


def _rebuilt(kind: type, values: dict[str, Any]) -> Any:
    spec = object.__new__(kind)
    for name, value in values.items():
        object.__setattr__(spec, name, value)
    return spec
