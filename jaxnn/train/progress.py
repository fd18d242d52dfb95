# SPDX-License-Identifier: Apache-2.0
"""A progress bar with ETA, loss and metrics, and one line per epoch."""

import importlib.util
import sys
from collections.abc import Callable
from typing import Any

from jaxnn.files.figures import in_notebook
from jaxnn.train.console import duration, is_captured, is_live, said, say

#: A run of more epochs prints about this many lines, evenly spaced.
LINES = 100


class Progress:
    """What the user sees of a run; it has no effect on the run.

    Args:
        steps: the steps of the whole run, or None if unknown.
        done: the steps already taken.
        epochs: the epochs of the whole run.
        show: True, False, or None for "unless a program captures what is printed".
    """

    def __init__(self, steps: int | None, done: int, epochs: int, show: bool | None):
        self.show = not is_captured(sys.stdout) if show is None else show
        self.epochs, self.every = epochs, -(-epochs // LINES)
        self._first, self._unsaid = True, ""
        self._bar: Any = None
        if self.show and _is_live():
            from tqdm.auto import tqdm

            self._bar = tqdm(
                total=steps, initial=done, unit="step", dynamic_ncols=True, leave=False
            )

    def step(self, epoch: int, steps: int, loss: float) -> None:
        """Report that `steps` more steps of epoch `epoch` are done."""

        def draw(bar: Any) -> None:
            if bar.n == bar.initial:
                bar.unpause()  # the compile time of the first step is not typical
            bar.set_description(f"epoch {epoch}/{self.epochs}", refresh=False)
            bar.set_postfix_str(f"loss {loss:.4f}", refresh=False)
            bar.update(steps)

        self._draw(draw)

    def epoch(
        self, epoch: int, logs: dict[str, Any], seconds: float, compiling: float
    ) -> None:
        """Print the numbers of a finished epoch, or keep them for `close`."""
        width = len(str(self.epochs))
        line = (
            f"epoch {epoch:{width}d}/{self.epochs}  {duration(seconds)}  {said(logs)}"
        )
        if compiling > 0.05:
            line += f"  (and {duration(compiling)} of compiling)"
        self._unsaid = line
        if self._first or epoch % self.every == 0:
            self._say_it()
        self._first = False

    def say(self, line: str) -> None:
        """Print a line, after that of the last epoch, without breaking the bar."""
        self._say_it()
        if self._bar is not None:
            self._draw(lambda bar: bar.write(line))
        elif self.show:
            say(line, sys.stdout)

    def close(self) -> None:
        """Print the line of the last epoch if it is missing, and remove the bar."""
        self._say_it()
        self._draw(lambda bar: bar.close())

    def _say_it(self) -> None:
        line, self._unsaid = self._unsaid, ""
        if line:
            self.say(line)

    def _draw(self, change: Callable[[Any], None]) -> None:
        """Change the bar; if its terminal is gone, drop the bar but not the run."""
        if self._bar is None:
            return
        try:
            change(self._bar)
        except (OSError, ValueError, AttributeError, RuntimeError):
            self._bar = None


def _is_live() -> bool:
    """Whether a bar can be shown: in a terminal, or a notebook with widgets."""
    if in_notebook():
        return importlib.util.find_spec("ipywidgets") is not None
    return is_live(sys.stderr)
