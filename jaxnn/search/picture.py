# SPDX-License-Identifier: Apache-2.0
"""Plots of a sweep: a line, a map, or parallel coordinates."""

import math
from typing import Any

import numpy as np

from jaxnn.files.figures import new_figure
from jaxnn.search.parallel import parallel
from jaxnn.search.scales import Paint, Scale, label, spans


def draw(result: Any) -> Any:
    """Draw the plot that suits the number of swept names."""
    scales = {
        name: Scale([row.settings[name] for row in result.rows], over)
        for name, over in result.over.items()
    }
    names = [name for name in result.over if len(scales[name].values) > 1]
    if not names:
        raise ValueError(
            "result.plot: no name but the seed varies; result.trials holds the scores"
        )
    kind = {1: _line, 2: _map}.get(len(names), parallel)
    width = {1: 6.0, 2: 6.4}.get(len(names), 1.5 * (len(names) + 2))
    figure = new_figure("result.plot", max(width, 6.0), 4.2)
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
    if spans([row.score for row in sound]):
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
    axes, paint = figure.subplots(), Paint(result)
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
    axes, paint = figure.subplots(), Paint(result)
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
