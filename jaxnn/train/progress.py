# SPDX-License-Identifier: Apache-2.0
"""A progress bar with ETA, loss and metrics, and one line per epoch."""

import importlib.util
import sys
from collections.abc import Callable
from typing import Any

from jaxnn.files.figures import in_notebook
from jaxnn.train.console import is_live, say


class Progress:
    """What the user sees of a run; it has no effect on the run.

    Args:
        steps: the steps of the whole run, or None if unknown.
        done: the steps already taken.
        epochs: the epochs of the whole run.
        show: True, False, or None for "in a terminal or a notebook".
    """

    def __init__(self, steps: int | None, done: int, epochs: int, show: bool | None):
        live = _is_live()
        watched = live or in_notebook()
        self.epochs, self.show = epochs, watched if show is None else show
        self._bar: Any = None
        if self.show and live:
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
        """Print the numbers of a finished epoch on a line of their own."""
        if not self.show:
            return
        numbers = [f"{n} {float(v):.4f}" for n, v in logs.items() if _is_scalar(v)]
        width = len(str(self.epochs))
        line = "  ".join([f"epoch {epoch:{width}d}/{self.epochs}", *numbers])
        also = f" and {compiling:.2f} s of compiling" if compiling > 0.05 else ""
        self.say(f"{line}  ({seconds:.2f} s{also})")

    def say(self, line: str) -> None:
        """Print a line without breaking the bar."""
        if self._bar is not None:
            self._draw(lambda bar: bar.write(line))
        elif self.show:
            say(line, sys.stdout)

    def close(self) -> None:
        """Remove the bar."""
        self._draw(lambda bar: bar.close())

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


def _is_scalar(value: Any) -> bool:
    return getattr(value, "shape", ()) == () and not isinstance(value, dict)
