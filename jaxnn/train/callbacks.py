# SPDX-License-Identifier: Apache-2.0
"""Functions that `fit` calls after each epoch."""

import glob
import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from jaxnn.checks import is_positive_int
from jaxnn.files import tree_files
from jaxnn.files.places import place
from jaxnn.messages import public
from jaxnn.messages.tracebacks import entrance
from jaxnn.train.early_stopping import show_best
from jaxnn.train.history import Callback as Callback
from jaxnn.train.history import History
from jaxnn.train.trackers import log_to as log_to

if TYPE_CHECKING:
    from jaxnn.train.tensorboard import tensorboard as tensorboard


@entrance
def checkpoint(path: str | Path, *, every: int = 1) -> "Checkpoint":
    """Save the state and the history every few epochs, replacing the previous file.

    The file is replaced atomically: a crash leaves either the old one or the new one.
    To resume, load the state with `nn.load(path, like=nn.train_state(...))` and pass it
    to `fit(..., state=...)` along with this callback: the run continues as if nothing
    had happened, history included (`nn.History.load(path)` reads it). If Ctrl-C or
    SIGTERM ends a run, even in the middle of an epoch, both are saved too. The file
    holds what `fit` would return: with early stopping, the best weights, with the last
    ones beside them.

    Args:
        path: the file; `{epoch}` in it becomes the epoch's number, to keep every file.
        every: save every this many epochs.
    """
    if not is_positive_int(every):
        raise ValueError(f"checkpoint: every must be 1 or more epochs, got {every!r}")
    return Checkpoint(place(path, "checkpoint"), every)


class Checkpoint:
    """The callback that `checkpoint` returns.

    Args:
        path: the file, perhaps with `{epoch}` in it.
        every: save every this many epochs.
    """

    def __init__(self, path: Path, every: int):
        self.path, self.every = path, every

    def __call__(self, epoch: int, state: Any, history: History) -> None:
        if epoch % self.every == 0:
            self.interrupted(epoch, state, history)

    def interrupted(self, epoch: int, state: Any, history: History) -> None:
        """Save now, whatever the epoch."""
        path = str(self.path).replace("{epoch}", str(epoch))
        tree_files.write(
            path,
            show_best(state),
            spec=history.settings.get("net"),
            record=history.record(),
            owner="checkpoint",
        )

    def earlier(self, state: Any) -> History | None:
        """The history in the file, if it was saved at this very state.

        Args:
            state: a state with a `step` and a `key`.

        Raises:
            ValueError: the file is damaged.
        """
        found = (path for path in self._paths() if _is_of(path, state))
        path = next(found, None)
        return None if path is None else History.load(path)

    def _paths(self) -> list[Path]:
        """The files that may exist."""
        if "{epoch}" not in str(self.path):
            return [self.path]
        root = Path(self.path.anchor)
        pattern = glob.escape(str(self.path.relative_to(root)))
        return sorted(root.glob(pattern.replace("{epoch}", "*")))


def _is_of(path: Path, state: Any) -> bool:
    """Whether a file holds a history, and the step and key of this state."""
    step, key = (getattr(state, name, None) for name in ("step", "key"))
    if step is None or key is None:
        return False
    wanted = (step, jax.random.key_data(key) if tree_files.is_key(key) else key)
    try:
        with tree_files.open_file(path) as file:
            note, found = tree_files.read_some(file, ("step", "key"))
    except (OSError, ValueError):  # a folder, or another program's file
        return False
    if "record" not in note or len(found) < len(wanted):
        return False
    return all(map(np.array_equal, (found["step"], found["key"]), wanted))


def __getattr__(name: str) -> Any:
    if name == "tensorboard":
        return importlib.import_module("jaxnn.train.tensorboard").tensorboard
    raise AttributeError(name)


public.show(__name__, ["Callback", "log_to", "tensorboard"])
