# SPDX-License-Identifier: Apache-2.0
"""The loss landscape: over a plane around the parameters, and between two states."""

import numbers
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxnn import checks, trees
from jaxnn.core import Layer, Params, as_layer, check_key, fold_in
from jaxnn.files.figures import COLORS, GRAY, finish, new_figure
from jaxnn.messages.phrases import describe
from jaxnn.messages.tracebacks import entrance
from jaxnn.pictures.units import owner, units
from jaxnn.train.batch import length
from jaxnn.train.checks import on_device
from jaxnn.train.evaluate import (
    Evaluator,
    Measurement,
    measure,
    variables,
)
from jaxnn.train.predict import BATCH
from jaxnn.train.programs import program
from jaxnn.train.step import weighted_sum


class Surface(NamedTuple):
    """The loss over a plane through the parameters.

    Attributes:
        first: steps along the first direction, `[P]`.
        second: steps along the second, `[P]`.
        losses: `losses[i, j]` at `θ + first[j] d1 + second[i] d2`, `[P, P]`.
    """

    first: np.ndarray
    second: np.ndarray
    losses: np.ndarray


@partial(jax.jit, static_argnames="net")
def filter_normalized(net: Layer, params: Params, key: jax.Array) -> Params:
    """A random direction with each filter normalized to the norm of the network's own.

    `d[filter] ← d[filter] / ‖d[filter]‖ · ‖θ[filter]‖`, so that directions of networks
    whose weights differ in scale are comparable. A filter is all the weights of one
    output (the last axis); biases and scales, arrays with one axis, are not moved.

    Args:
        net: the network; needed to separate the repetitions of a `Repeat`.
        params: its parameters.
        key: a random key.

    Returns:
        A tree like the parameters.

    Reference: Li et al., Visualizing the Loss Landscape of Neural Nets, 2018.
    """
    inside = units(net)

    def one(path, w):
        unit = inside.get(owner(path, inside))
        stacked = len(unit.repeats) if unit else 0
        return _direction(fold_in(key, path), jnp.asarray(w), stacked)

    return trees.map_paths(one, params)


def _direction(key: jax.Array, w: jax.Array, stacked: int) -> jax.Array:
    axes = tuple(range(stacked, w.ndim - 1))
    if not axes or not checks.is_float(w):
        return jnp.zeros_like(w)
    d = jax.random.normal(key, w.shape, w.dtype)
    return d * (_norm(w, axes) / _norm(d, axes))


def _norm(w: jax.Array, axes: tuple[int, ...]) -> jax.Array:
    return jnp.sqrt(jnp.square(w).sum(axes, keepdims=True))


@entrance
def loss_grid(
    net: Layer,
    state: Any,
    data: Any,
    loss: Callable[..., jax.Array],
    *,
    key: jax.Array,
    radius: float = 1.0,
    points: int = 25,
    chunk: int | None = None,
) -> Surface:
    """The loss around the parameters along two random directions, `θ + a d1 + b d2`.

    Args:
        net: a network; run in evaluation mode, with the statistics in its state.
        state: a `TrainState`, or a pair `(params, state)`.
        data: `(inputs, targets)` or `(inputs, targets, weights)`, arrays `[N, ...]`; a
            thousand examples are enough to show the shape.
        loss: `loss(outputs, targets) -> [N]`.
        key: a random key from which the directions are drawn.
        radius: how far to go, above 0; 1 is the length of the weights themselves.
        points: points along each direction; an odd number includes the network itself.
        chunk: points evaluated at a time; affects memory and speed, not the result.
            None means 1 on a CPU, where more are slower for convolutions, and 16
            elsewhere.

    Returns:
        The points and their losses. The directions are `filter_normalized`.

    Reference: Li et al., Visualizing the Loss Landscape of Neural Nets, 2018.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> net, x = nn.Dense(1), jnp.ones((4, 2))
    >>> state, data = net.init(jax.random.key(0), x), (x, jnp.ones((4, 1)))
    >>> loss, key = nn.losses.mean_squared_error, jax.random.key(1)
    >>> nn.pictures.loss_grid(net, state, data, loss, key=key, points=5).losses.shape
    (5, 5)
    """
    net = as_layer(net, "loss_surface")
    check_key(key, "loss_surface")
    _check_places("loss_surface", points, radius, "radius", above=True)
    params, net_state = variables(state, "loss_surface")
    ways = tuple(filter_normalized(net, params, k) for k in jax.random.split(key))
    steps = (radius * (2 * np.arange(points) / (points - 1) - 1)).astype(np.float32)
    places = np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2)
    still = jax.tree.map(jnp.zeros_like, net_state)
    start, moves = (params, net_state), tuple((way, still) for way in ways)
    given = net, start, moves, places, data, loss, chunk
    losses = _measure("loss_surface", *given)
    return Surface(steps, steps, losses.reshape(points, points))


@entrance
def losses_between(
    net: Layer,
    start: Any,
    end: Any,
    data: Any,
    loss: Callable[..., jax.Array],
    *,
    points: int = 51,
    beyond: float = 0.25,
    chunk: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The loss on the line from one state to another, `(1 - t) start + t end`.

    Statistics in the states, such as those of batch normalization, are interpolated
    too.

    Args:
        net, loss, chunk: as in `loss_grid`.
        start: a `TrainState`, or a pair `(params, state)`: t = 0.
        end: another one with the same shapes: t = 1.
        data: `(inputs, targets)` or `(inputs, targets, weights)`, arrays `[N, ...]`.
        points: points along the line.
        beyond: how far to extend the line at both ends.

    Returns:
        `(t, losses)`, both `[points]`.

    Reference: Goodfellow et al., Qualitatively Characterizing Neural Network
        Optimization Problems, 2015.

    >>> import jax.numpy as jnp, jaxnn as nn
    >>> net, data = nn.Dense(1, bias=False), (jnp.ones((1, 1)), jnp.ones((1, 1)))
    >>> start, end = ({"w": jnp.array([[w]])} for w in (0.0, 2.0))
    >>> loss, ends = nn.losses.mean_squared_error, ((start, {}), (end, {}))
    >>> between = nn.pictures.losses_between
    >>> between(net, *ends, data, loss, points=3, beyond=0)[1].tolist()
    [1.0, 0.0, 1.0]
    """
    net = as_layer(net, "loss_line")
    _check_places("loss_line", points, beyond, "beyond")
    start, end = (variables(state, "loss_line") for state in (start, end))
    _check_alike(start, end)
    t = np.linspace(-beyond, 1 + beyond, points, dtype=np.float32)
    way = jax.tree.map(_difference, end, start)
    given = net, start, (way,), t[:, None], data, loss, chunk
    return t, _measure("loss_line", *given)


def _difference(end: Any, start: Any) -> jax.Array:
    """The difference; zero for arrays that are not floating-point."""
    end, start = jnp.asarray(end), jnp.asarray(start)
    return end - start if checks.is_float(start) else jnp.zeros_like(start)


def _check_alike(start: Any, end: Any) -> None:
    has, wants = (
        {path: describe(a) for path, a in trees.paths(tree).items()}
        for tree in (end, start)
    )
    for path in {**wants, **has}:
        if has.get(path) != wants.get(path):
            raise ValueError(
                "loss_line: both states must be of this network, but "
                f"{path.partition('/')[2]} is {wants.get(path, 'missing')} in the "
                f"first and {has.get(path, 'missing')} in the second"
            )


def _check_places(
    owner: str, points: Any, length: Any, name: str, above: bool = False
) -> None:
    if not checks.is_positive_int(points) or points < 2:
        raise ValueError(f"{owner}: points must be an int of 2 or more, got {points!r}")
    known = isinstance(length, numbers.Real) and 0 <= float(length) < np.inf
    if not known or (above and length == 0):
        rule = "above 0" if above else "0 or more"
        raise ValueError(f"{owner}: {name} must be {rule}, got {length!r}")


def _measure(
    owner: str,
    net: Layer,
    start: tuple[Any, Any],
    ways: tuple,
    places: np.ndarray,
    data: Any,
    loss: Callable[..., jax.Array],
    chunk: int | None,
) -> np.ndarray:
    """The mean loss at each point, `start + Σ place[i] ways[i]`, as one program."""
    chunk = (1 if jax.default_backend() == "cpu" else 16) if chunk is None else chunk
    checks.positive_int(owner, "chunk", chunk)
    evaluator = Evaluator(owner, net, loss, None)
    evaluator.check(*start, data)
    data = on_device(tuple(data), f"{owner}: data")
    what = Measurement(net, loss, tuple(evaluator.measures.items()))
    return np.asarray(
        _losses(start, ways, jnp.asarray(places), data, what=what, chunk=chunk)
    )


@program()
def _losses(
    start: Any, ways: tuple, places: Any, data: Any, *, what: Measurement, chunk: int
):
    size = min(BATCH, length(data))

    def at(place):
        def move(origin, *steps):
            for t, step in zip(place, steps, strict=True):
                origin = origin + t.astype(step.dtype) * step
            return origin

        params, state = jax.tree.map(move, start, *ways)
        stats = measure(params, state, data, what=what, batch_size=size)
        total, weight = weighted_sum(*stats["loss"])
        return total / weight

    return jax.lax.map(at, places, batch_size=chunk if chunk > 1 else None)


@entrance
def loss_surface(
    net: Layer,
    state: Any,
    data: Any,
    loss: Callable[..., jax.Array],
    path: str | Path | None = None,
    *,
    key: jax.Array,
    radius: float = 1.0,
    points: int = 25,
    chunk: int | None = None,
) -> Any:
    """Plot the loss around a network's parameters along two random directions.

    Args:
        net, state, data, loss, key, radius, points, chunk: as in `loss_grid`.
        path: an image file to write, or None.

    Returns:
        The matplotlib figure. Colors are on a log scale if the largest loss is more
        than ten times the smallest.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> net, x = nn.Dense(1), jnp.ones((4, 2))
    >>> state, data = net.init(jax.random.key(0), x), (x, jnp.ones((4, 1)))
    >>> loss, key = nn.losses.mean_squared_error, jax.random.key(1)
    >>> figure = nn.pictures.loss_surface(
    ...     net, state, data, loss, key=key)  # doctest: +SKIP
    """
    figure = new_figure("pictures.loss_surface", 6.6, 5.4)
    options: dict[str, Any] = {"radius": radius, "points": points, "chunk": chunk}
    surface = loss_grid(net, state, data, loss, key=key, **options)
    _draw_surface(figure, surface)
    return finish(figure, path)


def _draw_surface(figure: Any, surface: Surface) -> None:
    from matplotlib.colors import LogNorm

    losses = np.ma.masked_invalid(surface.losses)
    least, most = float(losses.min()), float(losses.max())
    steep = 0 < 10 * least < most
    levels = np.geomspace(least, most, 21) if steep else np.linspace(least, most, 21)
    axes = figure.subplots()
    if most > least:
        options = {"levels": levels, "norm": LogNorm(least, most) if steep else None}
        places = surface.first, surface.second, losses
        shades = axes.contourf(*places, cmap="viridis_r", **options)
        lines = axes.contour(*places, levels[1:-1:3], colors="black", linewidths=0.6)
        axes.clabel(lines, fontsize=8, fmt=lambda v: f"{v:.2g}")
        scale = "loss (log scale)" if steep else "loss"
        figure.colorbar(shades, ax=axes, label=scale, format="{x:.2g}")
    here = surface.losses[surface.second == 0][:, surface.first == 0]
    label = f"the network: loss {here.item():.3g}" if here.size else "the network"
    star = {"color": COLORS[1], "markersize": 14, "markeredgecolor": "white"}
    axes.plot(0, 0, "*", label=label, **star)
    axes.legend(loc="upper right")
    axes.set(
        xlabel="first direction [length of each filter]",
        ylabel="second direction [length of each filter]",
        title="Loss around the network's parameters",
    )


@entrance
def loss_line(
    net: Layer,
    start: Any,
    end: Any,
    data: Any,
    loss: Callable[..., jax.Array],
    path: str | Path | None = None,
    *,
    points: int = 51,
    beyond: float = 0.25,
    chunk: int | None = None,
) -> Any:
    """Plot the loss on the line from one state of a network to another.

    Between two networks trained from different initial values there is usually a hill:
    they are in different minima.

    Args:
        net, start, end, loss, points, beyond, chunk: as in `losses_between`.
        data: as there; or a dict of several, `{"training": ..., "validation": ...}`,
            with a curve for each.
        path: an image file to write, or None.

    Returns:
        The matplotlib figure.

    >>> import jax.numpy as jnp, jaxnn as nn
    >>> net, data = nn.Dense(1, bias=False), (jnp.ones((1, 1)), jnp.ones((1, 1)))
    >>> start, end = (({"w": jnp.array([[w]])}, {}) for w in (0.0, 2.0))
    >>> loss = nn.losses.mean_squared_error
    >>> figure = nn.pictures.loss_line(net, start, end, data, loss)  # doctest: +SKIP
    """
    figure = new_figure("pictures.loss_line", 6.4, 4)
    axes = figure.subplots()
    curves = dict(data) if isinstance(data, Mapping) else {"": data}
    options: dict[str, Any] = {"points": points, "beyond": beyond, "chunk": chunk}
    for i, (name, part) in enumerate(curves.items()):
        t, losses = losses_between(net, start, end, part, loss, **options)
        axes.plot(t, losses, color=COLORS[i % len(COLORS)], label=name)
    for t, name in ((0, "first state"), (1, "second state")):
        axes.axvline(t, color=GRAY, linestyle=":")
        axes.annotate(
            name, (t, 0), (4, 5), xycoords=("data", "axes fraction"),
            textcoords="offset points", color=GRAY,
        )  # fmt: skip
    drawn = np.concatenate([line.get_ydata() for line in axes.lines[: len(curves)]])
    steep = 0 < 10 * drawn.min() < drawn.max()
    axes.set(
        xlabel="t, the share of the second state",
        ylabel="loss (log scale)" if steep else "loss",
        yscale="log" if steep else "linear",
        title="Loss on the line between two states",
    )
    axes.grid(alpha=0.3)
    if curves.keys() != {""}:
        axes.legend()
    return finish(figure, path)
