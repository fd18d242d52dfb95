# SPDX-License-Identifier: Apache-2.0
"""Checks of hyperparameters and inputs that several layers share."""

import inspect
import math
import numbers
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jaxnn.messages.phrases import describe


def is_positive_int(value: Any) -> bool:
    """Whether a value is an int of 1 or more, Python's or NumPy's, but not a bool."""
    whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    return whole and int(value) >= 1


def positive_int(owner: str, name: str, value: Any) -> None:
    """Raise unless a hyperparameter is an int of 1 or more."""
    if not is_positive_int(value):
        raise ValueError(f"{owner}: {name} must be a positive int, got {value!r}")


def is_traced(value: Any) -> bool:
    """Whether a value is not yet known, as a sweep's hyperparameter in its program."""
    return isinstance(value, Tracer)


def is_zero(value: Any) -> bool:
    """Whether a hyperparameter is known to be 0; False for a traced one."""
    return not is_traced(value) and value == 0


def probability(owner: str, name: str, value: Any) -> None:
    """Raise unless a hyperparameter is a number from 0 to 1; traced ones pass."""
    if is_traced(value):
        return
    if not isinstance(value, numbers.Real) or not 0 <= float(value) <= 1:
        raise ValueError(f"{owner}: {name} must be from 0 to 1, got {value!r}")


def positive(owner: str, name: str, value: Any) -> None:
    """Raise unless a hyperparameter is a finite number above 0; traced ones pass."""
    if is_traced(value):
        return
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not is_number or not 0 < float(value) < math.inf:
        raise ValueError(f"{owner}: {name} must be a number above 0, got {value!r}")


def not_negative(owner: str, name: str, value: Any) -> None:
    """Raise unless a hyperparameter is finite and 0 or more; traced ones pass."""
    if is_traced(value):
        return
    if not isinstance(value, numbers.Real) or not 0 <= float(value) < math.inf:
        raise ValueError(
            f"{owner}: {name} must be a number of 0 or more, got {value!r}"
        )


def switches(owner: str, **switches: Any) -> None:
    """Raise unless each hyperparameter is True or False."""
    for name, value in switches.items():
        if not isinstance(value, bool):
            raise TypeError(f"{owner}: {name} must be True or False, got {value!r}")


def batch(owner: str, x: Any, axes: int = 2) -> None:
    """Raise unless `x` is a single floating-point array with at least `axes` axes."""
    if not hasattr(x, "shape") or not hasattr(x, "dtype"):
        raise TypeError(f"{owner}: x must be an array, got {describe(x):.100}")
    if not is_float(x):
        raise TypeError(
            f"{owner}: x must hold floating-point numbers, got {describe(x)}; "
            "convert it first, for pixels x.astype('float32') / 255"
        )
    if len(x.shape) > 1 and not x.shape[-1]:
        raise ValueError(
            f"{owner}: x must have features on its last axis, got {describe(x)}"
        )
    if len(x.shape) < axes:
        raise ValueError(
            f"{owner}: x must have at least {axes} axes [N, ...], got {describe(x)}; "
            "one example becomes a batch by x[None], a single feature an axis by "
            "x[..., None]"
        )


def width(owner: str, x: Any, features: int) -> None:
    """Raise unless the last axis of `x` has as many features as the weights."""
    _last_axis(owner, x, features, "features", "...")


def channels(owner: str, x: Any, channels: int) -> None:
    """Raise unless `x` has as many channels as the weights."""
    _last_axis(owner, x, channels, "channels", "N, ...")


def _last_axis(owner: str, x: Any, size: int, unit: str, axes: str) -> None:
    if x.shape[-1] != size:
        raise ValueError(
            f"{owner}: x must have {size} {unit} on its last axis, as at init, got "
            f"{x.shape[-1]}: {describe(x)}; expected [{axes}, {size}]"
        )


def is_float(x: Any) -> bool:
    """Whether an array (or its shape and dtype) holds floating-point numbers."""
    return jnp.issubdtype(x.dtype, jnp.floating)


def param_dtype(x: Any) -> Any:
    """The dtype of new parameters for inputs `x`: float32, or float64 for float64.

    Layers compute in the dtype of their input, so bfloat16 inputs give a bfloat16 pass
    over float32 parameters.
    """
    wide = is_float(x) and jax.dtypes.canonicalize_dtype(x.dtype) == jnp.float64
    return jnp.float64 if wide else jnp.float32


def parameters(function: Any) -> Mapping[str, inspect.Parameter]:
    """A function's parameters by name; empty if its signature is not available."""
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError):
        return {}


def arguments(function: Any) -> list[str]:
    """The names of a function's parameters, without `*args` and `**options`."""
    rest = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [n for n, p in parameters(function).items() if p.kind not in rest]


def needed(function: Any) -> list[str]:
    """The names of a function's required parameters."""
    every = parameters(function)
    return [n for n in arguments(function) if every[n].default is inspect._empty]


Deferred = tuple[Callable[..., None], tuple]
_deferred: ContextVar[list[Deferred] | None] = ContextVar("deferred", default=None)


def is_known(x: Any) -> bool:
    """Whether the values of an array are available: not while it is traced."""
    known = isinstance(x, jax.Array | np.ndarray)
    return known and not isinstance(x, Tracer)


def values(check: Callable[..., None], *arrays: Any) -> None:
    """Check values now if they are known; if they are traced, leave it to `fit`.

    Args:
        check: `check(*arrays)` raises if something is wrong.
        arrays: arrays, or None for any that was not given.
    """
    given = [a for a in arrays if a is not None]
    if all(map(is_known, given)):
        check(*arrays)
    elif (found := _deferred.get()) is not None:
        found.append((check, arrays))


@contextmanager
def deferred() -> Iterator[list[Deferred]]:
    """Collect the value checks that cannot run while tracing."""
    token = _deferred.set([])
    try:
        yield _deferred.get()  # type: ignore[misc]
    finally:
        _deferred.reset(token)


_tracing = ContextVar("tracing", default=False)


@contextmanager
def tracing() -> Iterator[None]:
    """Say that layers called in here give shapes alone; see `only_shapes`."""
    token = _tracing.set(True)
    try:
        yield
    finally:
        _tracing.reset(token)


def only_shapes() -> bool:
    """Whether this call is part of `trace`, as in `init`, where nothing is computed.

    A layer then accepts what it rejects in training for numerical reasons, such as a
    batch of one example.
    """
    return _tracing.get()
