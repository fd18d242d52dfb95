# SPDX-License-Identifier: Apache-2.0
"""Pictures of a sweep: a line, a map, or parallel axes."""

import math
import numbers
from typing import Any

import numpy as np

from jaxnn.search.space import Range
from jaxnn.spec import same, show

#: Numbers that span more than this factor are drawn on a log scale.
SPAN = 20.0


class Scale:
    """Where the values of a name stand on an axis, from 0 to 1."""

    def __init__(self, values: list[Any], over: Any = None):
        self.numeric = all(map(_is_number, values))
        different: list[Any] = []
        for value in values:
            if not any(same(value, other) for other in different):
                different.append(value)
        self.values = sorted(different) if self.numeric else different
        low, high = self.values[0], self.values[-1]
        self.log = self.numeric and low > 0 and high / low > SPAN
        if isinstance(over, Range):
            self.log = over.log

    def __call__(self, value: Any) -> float:
        if not self.numeric:
            return self.place(value) / max(len(self.values) - 1, 1)
        low, high, value = (
            math.log(v) if self.log else float(v)
            for v in (self.values[0], self.values[-1], value)
        )
        return (value - low) / (high - low) if high > low else 0.5

    def place(self, value: Any) -> int:
        """The number of a value among the different ones."""
        return next(i for i, v in enumerate(self.values) if same(v, value))

    def ticks(self, most: int = 7) -> list[tuple[float, str]]:
        """Places and what to write there: all values if they are few, else a scale."""
        if len(self.values) <= most or not self.numeric:
            return [(self(v), label(v)) for v in self.values]
        low, high = float(self.values[0]), float(self.values[-1])
        if self.log:
            first, last = math.ceil(math.log10(low)), math.floor(math.log10(high))
            chosen = [10.0**power for power in range(first, last + 1)]
            if len(chosen) < 2:
                chosen = np.geomspace(low, high, 4).tolist()
        else:
            chosen = np.linspace(low, high, 5).tolist()
        return [(self(v), label(v)) for v in chosen]


def draw(result: Any) -> Any:
    """The picture that suits a sweep's number of names."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            "result.plot needs matplotlib: python -m pip install matplotlib"
        ) from error
    scales = {
        name: Scale([row.settings[name] for row in result.rows], over)
        for name, over in result.over.items()
    }
    names = [name for name in result.over if len(scales[name].values) > 1]
    if not names:
        raise ValueError(
            "result.plot: no name but the seed varies; result.trials holds the scores"
        )
    kind = {1: _line, 2: _map}.get(len(names), _parallel)
    width = {1: 6.0, 2: 6.4}.get(len(names), 1.5 * (len(names) + 2))
    figure = Figure(figsize=(max(width, 6.0), 4.2), layout="constrained")
    kind(figure, result, names, scales)
    return figure


def _line(figure: Any, result: Any, names: list[str], scales: dict) -> None:
    """The score over one name, with the spread over seeds and folds."""
    (name,), axes = names, figure.subplots()
    scale = scales[name]
    rows = sorted(result.rows, key=lambda row: scale(row.settings[name]))

    def at(row):
        value = row.settings[name]
        return float(value) if scale.numeric else scale.place(value)

    sound = [row for row in rows if math.isfinite(row.score)]
    axes.errorbar(
        [at(row) for row in sound],
        [row.score for row in sound],
        [0.0 if math.isnan(row.spread) else row.spread for row in sound],
        **{"marker": "o", "capsize": 3, "linestyle": "-" if scale.numeric else ""},
    )
    best = result.rows[0]
    axes.plot(at(best), best.score, "o", color="tab:red", label="best", zorder=3)
    lost = [at(row) for row in rows if not math.isfinite(row.score)]
    if lost:
        axis = axes.get_xaxis_transform()
        ends = [0.97] * len(lost)
        axes.plot(lost, ends, "x", color="gray", transform=axis, label="diverged")
    if scale.log:
        axes.set_xscale("log")
    if not scale.numeric:
        axes.set_xticks(range(len(scale.values)), [label(v) for v in scale.values])
    if _spans([row.score for row in sound]):
        axes.set_yscale("log")
    axes.set(xlabel=name, ylabel=result.monitor)
    axes.grid(alpha=0.3)
    axes.legend()


def _map(figure: Any, result: Any, names: list[str], scales: dict) -> None:
    """The score over two names: cells of a grid, or points of a random search."""
    across, up = (scales[name] for name in names)
    rows = result.rows
    if len(rows) == len(across.values) * len(up.values):
        _cells(figure, result, names, across, up)
        return
    axes, paint = figure.subplots(), _Paint(result)
    at = [tuple(_real(scales[n], row.settings[n]) for n in names) for row in rows]
    for (x, y), row in zip(at[::-1], rows[::-1], strict=True):
        sound = math.isfinite(row.score)
        style = {"color": paint(row.score), "marker": "o", "markersize": 9}
        lost = {"color": "gray", "marker": "x", "markersize": 7}
        axes.plot(x, y, **(style if sound else lost), markeredgewidth=1.5)
    axes.plot(*at[0], "o", markersize=15, fillstyle="none", color="tab:red")
    _axis(axes, "x", names[0], across)
    _axis(axes, "y", names[1], up)
    axes.set_title("circle: best" + ("; x: diverged" if paint.lost else ""))
    figure.colorbar(paint.mappable, ax=axes, label=result.monitor)


def _cells(figure: Any, result: Any, names: list[str], across: Scale, up: Scale):
    axes, paint = figure.subplots(), _Paint(result)
    table = np.full((len(up.values), len(across.values)), np.nan)
    for row in result.rows:
        x, y = (row.settings[name] for name in names)
        table[up.place(y), across.place(x)] = row.score
    axes.set_facecolor("lightgray")
    axes.imshow(table, cmap=paint.map, norm=paint.norm, origin="lower", aspect="auto")
    if table.size <= 100:
        for (j, i), score in np.ndenumerate(table):
            text = f"{score:.3g}" if math.isfinite(score) else "diverged"
            color = paint.ink(score)
            axes.text(i, j, text, ha="center", va="center", color=color, fontsize=8)
    best = result.rows[0].settings
    spot = across.place(best[names[0]]), up.place(best[names[1]])
    axes.plot(*spot, "s", markersize=26, fillstyle="none", color="tab:red", mew=2)
    for axis, scale, name in (
        (axes.xaxis, across, names[0]),
        (axes.yaxis, up, names[1]),
    ):
        axis.set_ticks(range(len(scale.values)), [label(v) for v in scale.values])
        axis.set_label_text(name)
    axes.set_title("red: best")
    figure.colorbar(paint.mappable, ax=axes, label=result.monitor)


def _parallel(figure: Any, result: Any, names: list[str], scales: dict) -> None:
    """An axis for each name and one for the score; each of the settings is a line."""
    axes, paint = figure.subplots(), _Paint(result)
    sound = [row.score for row in result.rows if math.isfinite(row.score)]
    score = Scale(sound)
    turn = (lambda y: 1 - y) if result.mode == "min" else (lambda y: y)
    longest = max(row.epochs for row in result.rows)
    for place, row in reversed(list(enumerate(result.rows))):
        heights = [scales[name](row.settings[name]) for name in names]
        ended = math.isfinite(row.score)
        heights.append(turn(score(row.score)) if ended else -0.08)
        best, full = place == 0, row.epochs == longest
        axes.plot(
            range(len(heights)),
            heights,
            color="tab:red" if best else paint(row.score) if ended else "gray",
            linewidth=2.5 if best else 1.6 if full else 0.9,
            alpha=1.0 if best or full else 0.45,
            linestyle="-" if ended else ":",
            zorder=3 if best else 2 if full else 1,
        )
    for i, name in enumerate([*names, result.monitor]):
        axes.axvline(i, color="black", linewidth=0.8)
        last = i == len(names)
        for y, text in (score if last else scales[name]).ticks():
            y = turn(y) if last else y
            axes.annotate(
                text,
                (i, y),
                xytext=(5 if last else -5, 0),
                textcoords="offset points",
                ha="left" if last else "right",
                va="center",
                fontsize=8,
                bbox={
                    "facecolor": "white",
                    "edgecolor": "none",
                    "alpha": 0.8,
                    "pad": 1,
                },
                zorder=4,
            )
            axes.plot(i, y, "_", color="black", markersize=8, zorder=4)
    if len(sound) < len(result.rows):
        axes.annotate(
            "diverged",
            (len(names), -0.08),
            xytext=(5, 0),
            fontsize=8,
            textcoords="offset points",
            va="center",
        )
    axes.set_xticks(range(len(names) + 1), [*names, f"{result.monitor}\n(best on top)"])
    axes.set(yticks=[], xlim=(-0.45, len(names) + 0.35), ylim=(-0.13, 1.06))
    axes.tick_params(axis="x", length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    faint = any(row.epochs < longest for row in result.rows)
    axes.set_title("red: best" + ("; faint: ended early" if faint else ""))


class _Paint:
    """Colors for scores; the better, the darker."""

    def __init__(self, result: Any):
        import matplotlib
        from matplotlib.cm import ScalarMappable
        from matplotlib.colors import LogNorm, Normalize

        sound = [row.score for row in result.rows if math.isfinite(row.score)]
        self.lost = len(sound) < len(result.rows)
        norm = LogNorm if _spans(sound) else Normalize
        self.norm = norm(min(sound), max(sound))
        name = "viridis" if result.mode == "min" else "viridis_r"
        self.map = matplotlib.colormaps[name]
        self.mappable = ScalarMappable(self.norm, self.map)

    def __call__(self, score: float) -> Any:
        return self.map(self.norm(score)) if math.isfinite(score) else "gray"

    def ink(self, score: float) -> str:
        """A color that is read on the score's."""
        if not math.isfinite(score):
            return "black"
        red, green, blue, _ = self(score)
        return "black" if 0.3 * red + 0.59 * green + 0.11 * blue > 0.5 else "white"


def _axis(axes: Any, which: str, name: str, scale: Scale) -> None:
    settings: dict[str, Any] = {f"{which}label": name}
    if scale.log:
        settings[f"{which}scale"] = "log"
    if not scale.numeric:
        settings[f"{which}ticks"] = range(len(scale.values))
        settings[f"{which}ticklabels"] = [label(v) for v in scale.values]
    axes.set(**settings)


def _real(scale: Scale, value: Any) -> float:
    return float(value) if scale.numeric else float(scale.place(value))


def _spans(scores: list[float]) -> bool:
    return bool(scores) and min(scores) > 0 and max(scores) / min(scores) > SPAN


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def label(value: Any) -> str:
    """A value in short."""
    return f"{value:.3g}" if isinstance(value, float) else f"{show(value):.16}"
