# SPDX-License-Identifier: Apache-2.0
"""Positions of values on the axes of a plot, and colors for scores."""

import math
import numbers
from typing import Any

import numpy as np

from jaxnn.search.space import Range
from jaxnn.spec import same, show

#: Numbers that span more than this factor are drawn on a log scale.
SPAN = 20.0


class Scale:
    """The positions of a name's values on an axis, from 0 to 1.

    Args:
        values: the values that occur.
        over: the list or range that they come from, or None for scores.
    """

    def __init__(self, values: list[Any], over: Any = None):
        self.numeric = all(map(_is_number, values))
        different: list[Any] = []
        for value in values:
            if not any(same(value, other) for other in different):
                different.append(value)
        self.values = sorted(different) if self.numeric else different
        self.ends = self.values[0], self.values[-1]
        self.log = self.numeric and spans(self.values)
        self.written = isinstance(over, list) and len(self.values) <= 7
        if isinstance(over, Range):
            self.ends, self.log = (over.low, over.high), over.log

    def __call__(self, value: Any) -> float:
        if not self.numeric:
            return self.place(value) / max(len(self.values) - 1, 1)
        low, high, value = (
            math.log(v) if self.log else float(v) for v in (*self.ends, value)
        )
        return (value - low) / (high - low) if high > low else 0.5

    def place(self, value: Any) -> int:
        """The index of a value among the distinct ones."""
        return next(i for i, v in enumerate(self.values) if same(v, value))

    def ticks(self) -> list[tuple[float, str]]:
        """Tick positions and labels: the listed values if few, else round numbers."""
        if self.written or not self.numeric:
            return [(self(v), label(v)) for v in self.values]
        from matplotlib.ticker import LogLocator, MaxNLocator

        low, high = map(float, self.ends)
        locator = LogLocator() if self.log else MaxNLocator(6)
        chosen = locator.tick_values(low, high)
        chosen = [float(v) for v in chosen if low <= v <= high]
        if len(chosen) < 2:
            chosen = [low, high]
        return [(self(v), label(v)) for v in chosen]


class Paint:
    """Colors for scores; the better, the darker."""

    def __init__(self, result: Any):
        import matplotlib
        from matplotlib.cm import ScalarMappable
        from matplotlib.colors import ListedColormap, LogNorm, Normalize

        sound = [row.score for row in result.rows if math.isfinite(row.score)]
        self.lost = len(sound) < len(result.rows)
        norm = LogNorm if spans(sound) else Normalize
        self.norm = norm(min(sound), max(sound))
        shades = np.linspace(0, 0.87, 256)  # (its final yellow is too pale for lines)
        colors = matplotlib.colormaps["viridis"](shades)
        self.map = ListedColormap(colors[:: 1 if result.mode == "min" else -1])
        self.mappable = ScalarMappable(self.norm, self.map)

    def __call__(self, score: float) -> Any:
        return self.map(self.norm(score)) if math.isfinite(score) else "gray"

    def ink(self, score: float) -> str:
        """A text color that is readable on the score's color."""
        if not math.isfinite(score):
            return "black"
        red, green, blue, _ = self(score)
        return "black" if 0.3 * red + 0.59 * green + 0.11 * blue > 0.5 else "white"


def spans(values: list[float]) -> bool:
    """Whether positive numbers span so wide a range that a log scale suits them."""
    return bool(values) and min(values) > 0 and max(values) / min(values) > SPAN


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def label(value: Any) -> str:
    """A short label for a value."""
    return f"{value:.3g}" if isinstance(value, float) else f"{show(value):.16}"
