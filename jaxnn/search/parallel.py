# SPDX-License-Identifier: Apache-2.0
"""Parallel coordinates: an axis per name and one for the score, a line per setting."""

import math
from typing import Any

import numpy as np

from jaxnn.search.scales import Scale

#: With more rows than this, the worst quarter of the scores is drawn at the axis's end,
#: so that a few very bad ones leave room for the others.
MANY = 12
#: Where diverged settings are drawn on the score's axis.
LOST = -0.08


def parallel(figure: Any, result: Any, names: list[str], scales: dict) -> None:
    """Draw a sweep over three or more names; darker lines rank better."""
    axes, height = figure.subplots(), Heights(result)
    colors = _colors(len(result.rows))
    for place, row in reversed(list(enumerate(result.rows))):
        ys = [scales[name](row.settings[name]) for name in names] + [height(row.score)]
        color = "tab:red" if place == 0 else colors[place]
        axes.plot(range(len(ys)), ys, color=color, **_style(result, place))
    for i, name in enumerate(names):
        _axis(axes, i, scales[name].ticks(), left=True)
    _axis(axes, len(names), height.ticks(), left=False)
    axes.set_xticks(range(len(names) + 1), [*names, f"{result.monitor}\n(best on top)"])
    axes.set(yticks=[], xlim=(-0.45, len(names) + 0.4), ylim=(-0.13, 1.06))
    axes.tick_params(axis="x", length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    early = len({row.epochs for row in result.rows}) > 1
    axes.set_title("red: best" + ("; faint: given up early" if early else ""))


def _colors(rows: int) -> np.ndarray:
    """A color for each rank; the map's final yellow is too pale for a line."""
    import matplotlib

    return matplotlib.colormaps["viridis"](np.linspace(0, 0.87, rows))


def _style(result: Any, place: int) -> dict[str, Any]:
    """How to draw a line: stronger if it is the best, or ran for many epochs."""
    row, longest = result.rows[place], max(row.epochs for row in result.rows)
    if place == 0:
        return {"linewidth": 2.5, "zorder": 3}
    full = row.epochs == longest
    share = 1.0 if full else math.log1p(row.epochs) / math.log1p(longest)
    style = {"alpha": 0.15 + 0.75 * share, "linewidth": 1.7 if full else 1.0}
    return style | {"zorder": 1 + share, "linestyle": "-" if _sound(row) else ":"}


class Heights:
    """The height of a score in the picture, the best on top."""

    def __init__(self, result: Any):
        every = [row.score for row in result.rows if _sound(row)]
        self.lost = len(every) < len(result.rows)
        least = result.mode == "min"
        every = sorted(every, reverse=not least)  # best first
        kept = every if len(every) <= MANY else every[: math.ceil(0.75 * len(every))]
        self.cut = "" if kept[-1] == every[-1] else "≥ " if least else "≤ "
        self.last, self.least, self.scale = kept[-1], least, Scale(kept)

    def __call__(self, score: float) -> float:
        if not math.isfinite(score):
            return LOST
        low, high = self.scale.ends
        y = self.scale(min(max(score, low), high))
        return 1 - y if self.least else y

    def ticks(self) -> list[tuple[float, str]]:
        """Tick positions and labels."""
        found = [(1 - y if self.least else y, t) for y, t in self.scale.ticks()]
        if self.cut:
            end = self(self.last), f"{self.cut}{self.last:.3g}"
            found = [end, *(tick for tick in found if tick[0] > 0.06)]
        return found + ([(LOST, "diverged")] if self.lost else [])


def _sound(row: Any) -> bool:
    return math.isfinite(row.score)


def _axis(axes: Any, x: int, ticks: list[tuple[float, str]], *, left: bool) -> None:
    """A vertical axis with its labels."""
    axes.axvline(x, color="black", linewidth=0.8)
    white = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1}
    for y, text in ticks:
        axes.plot(x, y, "_", color="black", markersize=8, zorder=4)
        axes.annotate(
            text,
            (x, y),
            xytext=(-5 if left else 5, 0),
            textcoords="offset points",
            ha="right" if left else "left",
            va="center",
            fontsize=8,
            bbox=white,
            zorder=4,
        )
