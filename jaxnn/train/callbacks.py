# SPDX-License-Identifier: Apache-2.0
"""Functions that `fit` calls after each epoch."""

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from jaxnn.checks import is_positive_int
from jaxnn.io import save
from jaxnn.train.history import History

if TYPE_CHECKING:
    from jaxnn.train.tensorboard import tensorboard as tensorboard


class Callback(Protocol):
    """Called after each epoch, when validation is done; returns True to stop the run.

    The state is a copy of the run's, the caller's to keep.
    """

    def __call__(self, epoch: int, state: Any, history: History, /) -> bool | None:
        """What to do after epoch `epoch`, counted from 1."""
        ...


def checkpoint(path: str | Path, *, every: int = 1) -> Callback:
    """Save the whole state after every few epochs, in place of the last one.

    The file is replaced in one piece: a crash leaves the old one or the new one. With
    `nn.load(path, like=nn.train_state(...))` and `fit(..., state=...)` the run goes on
    as if nothing had happened.

    Args:
        path: the file; `{epoch}` in it becomes the epoch, to keep them all.
        every: how many epochs apart.
    """
    if not is_positive_int(every):
        raise ValueError(f"checkpoint: every must be 1 or more epochs, got {every!r}")

    def write(epoch: int, state: Any, history: History) -> None:
        if epoch % every == 0:
            save(str(path).replace("{epoch}", str(epoch)), state)

    return write


def __getattr__(name: str) -> Any:
    if name == "tensorboard":
        return importlib.import_module("jaxnn.train.tensorboard").tensorboard
    raise AttributeError(f"module 'jaxnn.callbacks' has no attribute {name!r}")
