# SPDX-License-Identifier: Apache-2.0
"""The outputs of each layer: how large, how spread out, how often zero."""

from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxnn.core import Layer
from jaxnn.files.figures import COLORS, GRAY, finish, new_figure
from jaxnn.layers import Identity
from jaxnn.messages.tracebacks import entrance
from jaxnn.pictures.units import parts, single, units
from jaxnn.surgery import Tap
from jaxnn.train import checks
from jaxnn.train.programs import program
from jaxnn.train.state import variables

BINS = 60


class Activation(NamedTuple):
    """The outputs of one layer for a batch.

    Attributes:
        mean: their mean.
        spread: their standard deviation.
        zeros: the fraction of exact zeros, 0 to 1.
        dead: the fraction of units (indices of the last axis) that are 0 for all
            examples.
        counts: how many nonzero outputs fall into each bin.
        edges: the edges of the bins, from the smallest to the largest nonzero output.
    """

    mean: float
    spread: float
    zeros: float
    dead: float
    counts: np.ndarray
    edges: np.ndarray


@entrance
def activation_statistics(
    net: Layer,
    state: Any,
    x: Any,
    *,
    train: bool = False,
    key: jax.Array | None = None,
) -> dict[str, Activation]:
    """Statistics of each layer's outputs for a batch.

    Args:
        net: a network.
        state: a `TrainState`, or a pair `(params, state)`.
        x: inputs `[N, ...]`.
        train: whether to run in training mode; in evaluation, batch normalization uses
            its running statistics and dropout does nothing.
        key: a random key for random layers in training.

    Returns:
        A dict from the path of each layer, in order, to its statistics. The repetitions
        of a `Repeat` are listed separately, `repeat_1/block[0]/dense_1`, and so are the
        calls of a shared layer, `dense_1#2`. Outputs that are not floating-point are
        left out.

    >>> import jax.numpy as jnp, jaxnn as nn
    >>> net, x = nn.Sequential(jax.nn.relu), jnp.array([[-1.0, 1.0], [-2.0, 2.0]])
    >>> found = nn.pictures.activation_statistics(net, ({}, {}), x)["relu_1"]
    >>> found.mean, found.zeros, found.dead
    (0.75, 0.5, 0.5)
    """
    net = single(net, "activations")
    params, net_state = variables(state, "activations")
    x = checks.on_device(x, "activations: x")
    facts = checks.check_network("activations", net, params, net_state, x)
    checks.check_values(facts, x, "activations")
    inside = units(net)
    taps = _outputs(params, net_state, x, key, net=net, train=train)
    found = []
    for path, unit in inside.items():
        if path not in taps or isinstance(unit.layer, Identity):
            continue
        calls = taps[path] if type(taps[path]) is tuple else (taps[path],)
        for y in filter(_is_float, calls):
            found += parts(path, inside, np.asarray(y, np.float64))
    if not found:
        raise ValueError(
            "activations: no layer of the network has floating-point outputs"
        )
    names: Counter[str] = Counter()
    statistics = {}
    for part in sorted(found, key=lambda part: part.order):
        names[part.name] += 1
        call = f"#{names[part.name]}" if names[part.name] > 1 else ""
        statistics[part.name + call] = _statistics(part.array)
    return statistics


@program()
def _outputs(params: Any, state: Any, x: Any, key: Any, *, net: Layer, train: bool):
    """The outputs of each inner layer, by path."""
    paths = tuple(path for path in units(net) if path)
    if not paths:  # a network of one layer
        return {"": net.apply(params, state, x, key=key, train=train)[0]}
    (_, taps), _ = Tap(net, paths).apply(params, state, x, key=key, train=train)
    return taps


def _is_float(y: Any) -> bool:
    return hasattr(y, "dtype") and jnp.issubdtype(y.dtype, jnp.floating)


def _statistics(y: np.ndarray) -> Activation:
    silent = (y == 0).reshape(-1, y.shape[-1] if y.ndim > 1 else 1).all(0)
    shares = float((y == 0).mean()), float(silent.mean())
    bins = np.histogram(y[np.isfinite(y) & (y != 0)], BINS)
    return Activation(float(y.mean()), float(y.std()), *shares, *bins)


@entrance
def activations(
    net: Layer,
    state: Any,
    x: Any,
    path: str | Path | None = None,
    *,
    train: bool = False,
    key: jax.Array | None = None,
) -> Any:
    """Plot the outputs of each layer: their distribution, spread and zeros.

    Args:
        net, state, x, train, key: as in `activation_statistics`.
        path: an image file to write, or None.

    Returns:
        The matplotlib figure, with a row for each layer, the first on top.

    Raises:
        ImportError: matplotlib is not installed.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> net, x = nn.Sequential(nn.Dense(8), jax.nn.sigmoid), jnp.ones((5, 3))
    >>> state = net.init(jax.random.key(0), x)
    >>> figure = nn.pictures.activations(net, state, x)  # doctest: +SKIP
    """
    figure = new_figure("pictures.activations", 10, 3)
    rows = activation_statistics(net, state, x, train=train, key=key)
    figure.set_figheight(1.9 + 0.42 * len(rows))
    ridges, spread, zeros = figure.subplots(1, 3, sharey=True, width_ratios=(3, 1.3, 1))
    places = range(len(rows))
    _draw_ridges(ridges, list(rows.values()))
    ridges.set_yticks(places, list(rows))
    ridges.set_ylim(len(rows) - 0.4, -1.05)
    _draw_spread(spread, [a.spread for a in rows.values()])
    zeros.barh(places, [100 * a.zeros for a in rows.values()], 0.6, color=COLORS[5])
    zeros.barh(places, [100 * a.dead for a in rows.values()], 0.3, color=COLORS[1])
    zeros.set(title="zeros", xlabel="share [%]", xlim=(0, 100))
    handles = [*ridges.lines[-1:], *zeros.containers]
    labels = ["mean", "zeros of all outputs", "units that are 0 for every example"]
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=9)
    for axes in figure.axes:
        axes.grid(axis="x", alpha=0.3)
    return finish(figure, path)


def _draw_ridges(axes: Any, rows: list[Activation]) -> None:
    """Draw a histogram on the baseline of each layer, and a mark at its mean."""
    for place, row in enumerate(rows):
        height = 0.85 * row.counts / max(row.counts.max(), 1)
        axes.stairs(
            place - height, row.edges, baseline=place, fill=True, color=COLORS[0],
            alpha=0.7,
        )  # fmt: skip
        axes.axhline(place, color=GRAY, linewidth=0.5)
    means = [row.mean for row in rows]
    axes.plot(means, range(len(rows)), "d", color=COLORS[4], zorder=3)
    axes.set(title="distribution without zeros, to its own height", xlabel="output")


def _draw_spread(axes: Any, spread: list[float]) -> None:
    """Draw the standard deviations, on a log scale if they differ a lot."""
    positive = [s for s in spread if s > 0]
    least = min(positive, default=1.0)
    shown = [max(s, least / 10) for s in spread]
    axes.plot(shown, range(len(spread)), "o-", color=COLORS[2])
    axes.set(title="spread", xlabel="standard deviation")
    if max(shown) < 30 * min(shown):
        axes.set_xlim(0, 1.15 * max(shown))
    else:
        axes.set_xscale("log")
        axes.xaxis.get_minor_formatter().set_locs([])
        axes.minorticks_off()
    for place in (place for place, s in enumerate(spread) if s == 0):
        axes.annotate("0", (shown[place], place), (6, -4), textcoords="offset points")
