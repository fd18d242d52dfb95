# SPDX-License-Identifier: Apache-2.0
"""Functions that `fit` calls after each epoch."""

import glob
import importlib
import os
import re
import shutil
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from jaxnn.checks import is_positive_int
from jaxnn.files import tree_files
from jaxnn.files.background import Background
from jaxnn.files.places import place
from jaxnn.messages import public
from jaxnn.messages.tracebacks import entrance
from jaxnn.train.early_stopping import check_logged, show_best
from jaxnn.train.history import Callback as Callback
from jaxnn.train.history import History
from jaxnn.train.state import steps_taken
from jaxnn.train.trackers import log_to as log_to

if TYPE_CHECKING:
    from jaxnn.train.tensorboard import tensorboard as tensorboard

_NUMBER = re.compile(r"(\d+)")


@entrance
def checkpoint(
    path: str | Path,
    *,
    every: int = 1,
    every_steps: int | None = None,
    keep: int | None = None,
    best: str | tuple[str, str] | None = None,
    background: bool = False,
) -> "Checkpoint":
    """Save the state and the history during a run, replacing the previous file.

    The file is replaced atomically: a crash leaves either the old one or the new one.
    To resume, load the state with `nn.load(path, like=nn.train_state(...))` and pass it
    to `fit(..., state=...)` along with this callback: the run continues as if nothing
    had happened, history included (`nn.History.load(path)` reads it). If Ctrl-C or
    SIGTERM ends a run, even in the middle of an epoch, both are saved too. The file
    holds what `fit` would return: with early stopping, the best weights, with the last
    ones beside them.

    Args:
        path: the file; `{epoch}` and `{step}` in it become the number of the epoch and
            of the steps so far, which gives a file for each save.
        every: save every this many epochs.
        every_steps: save every this many steps instead, also in the middle of an epoch;
            a run that resumes from there is still the uninterrupted one.
        keep: how many saves to keep. The older ones of a single file are beside it, as
            `name.1.safetensors`, `name.2.safetensors`. None: one, or all files of a
            path with `{epoch}` or `{step}`.
        best: save only epochs better than all before by this logged value: the name of
            a loss, as in `"val_loss"`, or a pair `("val_accuracy", "max")`.
        background: write in a thread while training goes on, at the price of a second
            copy of the state in memory. A save waits for the one before it, and the
            end of a run for the last one; an error of a write is raised there.

    Raises:
        TypeError, ValueError: an argument is invalid.
    """
    for name, value in (("every", every), ("every_steps", every_steps), ("keep", keep)):
        if not (is_positive_int(value) or (value is None and name != "every")):
            unit = {"every": " epochs", "every_steps": " steps"}.get(name, "")
            raise ValueError(
                f"checkpoint: {name} must be 1 or more{unit}, got {value!r}"
            )
    if every_steps is not None and (every != 1 or best is not None):
        other = "every" if every != 1 else "best"
        raise ValueError(
            f"checkpoint: every_steps stands in place of every and best, got {other} "
            "too; use two callbacks"
        )
    if not isinstance(background, bool):
        raise TypeError(
            f"checkpoint: background must be True or False, got {background!r:.60}"
        )
    watched = None if best is None else _as_watched(best)
    file = place(path, "checkpoint")
    return Checkpoint(file, every, every_steps, keep, watched, background)


def _as_watched(best: Any) -> tuple[str, str]:
    """The name of a logged value, and whether it is best small or large."""
    pair = (best, "min") if isinstance(best, str) else best
    if isinstance(best, str) and not best.endswith("loss"):
        raise ValueError(
            f"checkpoint: best must say whether {best!r} is better small or large; "
            f"give ({best!r}, 'max') or ({best!r}, 'min')"
        )
    well_formed = isinstance(pair, tuple | list) and len(pair) == 2
    if not well_formed or not isinstance(pair[0], str) or pair[1] not in ("min", "max"):
        raise TypeError(
            "checkpoint: best must be the name of a loss or a pair (name, 'min' or "
            f"'max'), got {best!r:.60}"
        )
    return pair[0], pair[1]


class Checkpoint:
    """The callback that `checkpoint` returns.

    Args:
        path: the file, perhaps with `{epoch}` or `{step}` in it.
        every: save every this many epochs.
        every_steps: save every this many steps instead, or None.
        keep: how many saves to keep, or None.
        best: a logged value and "min" or "max", or None to save each time.
        background: whether to write in a thread.
    """

    def __init__(
        self,
        path: Path,
        every: int = 1,
        every_steps: int | None = None,
        keep: int | None = None,
        best: tuple[str, str] | None = None,
        background: bool = False,
    ):
        self.path, self.every, self.every_steps = path, every, every_steps
        self.keep, self.best = keep, best
        self.background = Background() if background else None

    def __call__(self, epoch: int, state: Any, history: History) -> None:
        due = epoch % self.every == 0 and self.every_steps is None
        if due and (self.best is None or _is_best(self.best, history)):
            self.save(epoch, state, history)

    def at_step(self, epoch: int, state: Any, history: History) -> None:
        """Save in the middle of an epoch; called every `every_steps` steps."""
        self.save(epoch, state, history)

    def interrupted(self, epoch: int, state: Any, history: History) -> None:
        """Save where a run was asked to end, unless only the best is wanted."""
        if self.best is None:
            self.save(epoch, state, history)

    def save(self, epoch: int, state: Any, history: History) -> None:
        """Save now, whatever the epoch; `written` says when it is done."""
        self.written()
        names = {"{epoch}": str(epoch), "{step}": str(int(steps_taken(state)))}
        path = str(self.path)
        for name, number in names.items():
            path = path.replace(name, number)
        packed = tree_files.pack(
            show_best(state),
            spec=history.settings.get("net"),
            record=history.record(),
            owner="checkpoint",
        )
        if packed is None:
            return  # the first process writes for all
        if self.background is None:
            self._write(path, packed)
        else:
            self.background.start(partial(self._write, path, packed))

    def written(self) -> None:
        """Return once all is written, or raise the error that a write met."""
        if self.background is not None:
            self.background.wait()

    def _write(self, path: str, packed: tree_files.Packed) -> None:
        """Write one file, and keep as many as wanted."""
        if self.keep is not None and not self._numbered:
            _set_aside(self.path, self.keep)
        tree_files.put(path, packed, owner="checkpoint")
        if self.keep is not None and self._numbered:
            for old in self._paths()[: -self.keep]:
                old.unlink(missing_ok=True)

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

    @property
    def _numbered(self) -> bool:
        """Whether each save has a file of its own."""
        return "{epoch}" in str(self.path) or "{step}" in str(self.path)

    def _paths(self) -> list[Path]:
        """The files that may exist, those with a number from the oldest on."""
        if not self._numbered:
            return [
                self.path,
                *(_older(self.path, i) for i in range(1, self.keep or 1)),
            ]
        root = Path(self.path.anchor)
        pattern = glob.escape(str(self.path.relative_to(root)))
        for name in ("{epoch}", "{step}"):
            pattern = pattern.replace(name, "*")
        return sorted(root.glob(pattern), key=_by_numbers)


def _older(path: Path, number: int) -> Path:
    """Where the save before the last one is, the one before that, and so on."""
    return path.with_name(f"{path.stem}.{number}{path.suffix}")


def _set_aside(path: Path, keep: int) -> None:
    """Make room for a new save: each of the older ones moves on by one."""
    for number in range(keep - 1, 1, -1):
        if _older(path, number - 1).exists():
            _older(path, number - 1).replace(_older(path, number))
    if keep > 1 and path.exists():  # the file itself stays until it is replaced
        _older(path, 1).unlink(missing_ok=True)
        try:
            os.link(path, _older(path, 1))
        except OSError:  # a file system without links
            shutil.copy2(path, _older(path, 1))


def _by_numbers(path: Path) -> list[Any]:
    """The numbers in a path as numbers, so that 10 comes after 9."""
    return [int(part) if part.isdigit() else part for part in _NUMBER.split(str(path))]


def _is_best(best: tuple[str, str], history: History) -> bool:
    """Whether the last epoch is the best so far."""
    name, mode = best
    check_logged("checkpoint: best must be", name, list(history))
    values = np.asarray(history[name], np.float64)
    if values.ndim != 1:
        raise ValueError(f"checkpoint: best must be one number an epoch, not {name!r}")
    *before, last = values if mode == "min" else -values
    known = [value for value in before if not np.isnan(value)]
    return not np.isnan(last) and all(last < value for value in known)


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
