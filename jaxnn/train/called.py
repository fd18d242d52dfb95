# SPDX-License-Identifier: Apache-2.0
"""Checks of what `fit` calls after each epoch."""

import inspect
import os
from collections.abc import Callable, Iterable
from typing import Any

from jaxnn.messages.phrases import shown
from jaxnn.train.early_stopping import EarlyStopping, Plateau
from jaxnn.train.history import Callback

#: How `fit` calls a callback.
CALLED = "callback(epoch, state, history)"
#: What callbacks of Keras and Lightning define; none of it would be called.
_HOOKS = ("on_epoch_", "on_train_", "on_batch_", "on_test_", "on_fit_")


def checked_callbacks(owner: str, callbacks: Any) -> list[Callable[..., Any]]:
    """The callbacks as a list; raise unless `fit` can call each with what it has."""
    if isinstance(callbacks, str | os.PathLike | EarlyStopping | Plateau):
        callbacks = [callbacks]
    if callbacks is not None and not isinstance(callbacks, Iterable):
        raise TypeError(
            f"{owner}: callbacks must be a list of functions {CALLED}, got "
            f"{shown(callbacks)}"
        )
    listed: list[Callable[..., Any]] = [] if callbacks is None else list(callbacks)
    for callback in listed:
        _check_callback(owner, callback)
    return listed


def _check_callback(owner: str, callback: Any) -> None:
    _check_hooks(owner, callback)
    if isinstance(callback, type):
        name = callback.__name__
        raise TypeError(
            f"{owner}: callbacks must be functions, and {name} is a class; give an "
            f"instance, {name}(...)"
        )
    if not callable(callback):
        raise TypeError(
            f"{owner}: callbacks must be a list of functions {CALLED}, got "
            f"{shown(callback)}{_instead(callback)}"
        )
    try:
        signature = inspect.signature(callback)
    except ValueError:  # a function of C need not have one
        return
    try:
        signature.bind(1, None, None)
    except TypeError:
        name = getattr(callback, "__name__", type(callback).__name__)
        takes = f"{name} takes ({', '.join(signature.parameters)})"
        if (getattr(callback, "__module__", None) or "").startswith("jaxnn.train."):
            takes += f"; it makes a callback, nn.callbacks.{name}(...)"
        raise TypeError(
            f"{owner}: callbacks must be functions {CALLED}, and {takes}"
        ) from None


def _check_hooks(owner: str, callback: Any) -> None:
    """Raise for a callback of another library, whose methods would never be called."""
    kind = callback if isinstance(callback, type) else type(callback)
    hooks = [name for name in dir(kind) if name.startswith(_HOOKS)]
    called = any("__call__" in vars(one) for one in kind.__mro__ if one is not Callback)
    if hooks and not called:
        raise TypeError(
            f"{owner}: callbacks must be functions {CALLED}, and {hooks[0]} of "
            f"{kind.__name__} would never be called; write def callback(epoch, state, "
            "history), or a class with __call__(self, epoch, state, history)"
        )


def _instead(given: Any) -> str:
    """What to write for something else that was given as a callback."""
    if isinstance(given, str | os.PathLike):
        return "; to save there, nn.callbacks.checkpoint(path)"
    if isinstance(given, EarlyStopping | Plateau):
        name = "early_stopping" if isinstance(given, EarlyStopping) else "plateau"
        return f"; give it as {name}=nn.{type(given).__name__}(...)"
    return ""
