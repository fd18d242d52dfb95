# SPDX-License-Identifier: Apache-2.0
"""Shared by all figures: colors, an empty figure, and writing to a file."""

import importlib
import sys
from pathlib import Path
from typing import Any

from jaxnn.files.places import place

#: Colors that color-blind people can tell apart (Okabe and Ito, 2008).
COLORS = (
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7"),
    *("#E69F00", "#56B4E9", "#F0E442", "#000000"),
)
GRAY = "#888888"


def new_figure(owner: str, width: float, height: float) -> Any:
    """An empty figure, with its size in inches."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            f"{owner} needs matplotlib: python -m pip install matplotlib"
        ) from error
    if in_notebook():  # which shows figures once pyplot has loaded its backend
        pyplot = importlib.import_module("matplotlib.pyplot")
        pyplot.switch_backend(pyplot.get_backend())
    return Figure(figsize=(width, height), layout="constrained")


def read_log_scale(axis: Any) -> None:
    """Label a log axis at 1, 2, 3 and 5 of each decade, so that 0.3 can be read."""
    ticker = importlib.import_module("matplotlib.ticker")
    axis.set_major_locator(ticker.LogLocator(subs=(1, 2, 3, 5)))
    axis.set_major_formatter(ticker.StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(ticker.NullFormatter())


def in_notebook() -> bool:
    """Whether the code runs in Jupyter or Colab."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return type(shell).__name__ in ("ZMQInteractiveShell", "Shell")  # Jupyter, Colab


def finish(figure: Any, path: str | Path | None) -> Any:
    """Write the figure to a file, or without a path show it; return it.

    A notebook shows what its cell returns. Elsewhere a window is opened if matplotlib
    has one, for which a script waits until it is closed.
    """
    if path is not None:
        target = place(path, "plot")
        target.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(target, dpi=120)
    elif not in_notebook():
        _show(figure)
    return figure


def _show(figure: Any) -> None:
    """Show a figure in a window, if the backend of pyplot has windows."""
    pyplot = importlib.import_module("matplotlib.pyplot")
    try:
        empty = pyplot.figure()  # the only public way to learn of the backend's canvas
    except ImportError:  # a backend was asked for that this machine cannot show
        return
    canvas, number = type(empty.canvas), empty.number
    pyplot.close(empty)
    if canvas.required_interactive_framework is not None:
        canvas.new_manager(figure, number)
        pyplot.figure(figure)  # which makes it one of those that pyplot shows
        pyplot.show()
