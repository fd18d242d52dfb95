# SPDX-License-Identifier: Apache-2.0
"""The size of the gradient at each layer: does it vanish or explode?"""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxnn import trees
from jaxnn.core import Layer
from jaxnn.files.figures import COLORS, finish, new_figure
from jaxnn.messages.tracebacks import entrance
from jaxnn.pictures.units import Unit, owner, parts, single, units
from jaxnn.train.gradients import loss_gradients

#: Up to this many layers are labeled by name on the axis, more by number.
NAMED = 40


@entrance
def gradient_norms(
    net: Layer,
    state: Any,
    batch: Any,
    loss: Callable[..., jax.Array],
    *,
    key: jax.Array | None = None,
) -> dict[str, float]:
    """The size of the gradient at each layer, `√Σ (∂L/∂θ)²` over its parameters.

    Args:
        net: a network.
        state: a `TrainState`, or a pair `(params, state)`.
        batch: `(inputs, targets)` or `(inputs, targets, weights)`, arrays `[N, ...]`;
            its mean loss is used, with the network in training mode.
        loss: `loss(outputs, targets) -> [N]`.
        key: a random key for random layers; None takes that of a `TrainState`.

    Returns:
        A dict from the path of each layer with parameters, in order, to the norm. The
        repetitions of a `Repeat` are listed separately: `repeat_1/block[0]/dense_1`.

    >>> import jax.numpy as jnp, jaxnn as nn
    >>> net, loss = nn.Sequential(fc=nn.Dense(1)), nn.losses.mean_squared_error
    >>> params = {"fc": {"w": jnp.zeros((1, 1)), "b": jnp.zeros(1)}}
    >>> batch = jnp.ones((1, 1)), jnp.ones((1, 1))  # both slopes are -2: √(4 + 4)
    >>> norms = nn.pictures.gradient_norms(net, (params, {}), batch, loss)
    >>> {name: round(norm, 3) for name, norm in norms.items()}
    {'fc': 2.828}
    """
    net = single(net, "gradients")
    slopes = loss_gradients(net, state, batch, loss, key=key, owner="gradients")
    inside = units(net)
    squares: dict[str, float] = {}
    found = []
    for leaf, slope in trees.paths(slopes).items():
        path, slope = owner(leaf, inside), np.asarray(slope, np.float64)
        inside.setdefault(path, Unit(net, ()))
        found += parts(path, inside, slope)
    for part in sorted(found, key=lambda part: part.order):
        square = float(np.square(part.array).sum())
        squares[part.name] = squares.get(part.name, 0.0) + square
    if not squares:
        raise ValueError("gradients: the network has no parameters")
    return {name: math.sqrt(square) for name, square in squares.items()}


@entrance
def gradients(
    net: Layer,
    state: Any,
    batch: Any,
    loss: Callable[..., jax.Array],
    path: str | Path | None = None,
    *,
    key: jax.Array | None = None,
) -> Any:
    """Plot the size of the gradient at each layer, on a log scale.

    Args:
        net, state, batch, loss, key: as in `gradient_norms`.
        path: an image file to write, or None.

    Returns:
        The matplotlib figure.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> net, x = nn.Sequential(nn.Dense(8), jnp.tanh, nn.Dense(1)), jnp.ones((5, 3))
    >>> state, batch = net.init(jax.random.key(0), x), (x, jnp.ones((5, 1)))
    >>> loss = nn.losses.mean_squared_error
    >>> figure = nn.pictures.gradients(net, state, batch, loss)  # doctest: +SKIP
    """
    norms = gradient_norms(net, state, batch, loss, key=key)
    return compare_gradients({"": norms}, path)


@entrance
def compare_gradients(
    norms: Mapping[str, Mapping[str, float]], path: str | Path | None = None
) -> Any:
    """Plot the gradient sizes of several networks by layer in one figure.

    Args:
        norms: a dict from the name of each network to its `gradient_norms`.
        path: an image file to write, or None.

    Returns:
        The matplotlib figure; a norm of exactly 0 is a hollow mark at the bottom.

    Raises:
        ValueError: there is nothing to draw.

    >>> import jaxnn as nn
    >>> sigmoid, relu = {"dense_1": 1e-6, "dense_2": 1.0}, {"dense_1": 1, "dense_2": 2}
    >>> norms = {"sigmoid": sigmoid, "ReLU": relu}
    >>> figure = nn.pictures.compare_gradients(norms)  # doctest: +SKIP
    """
    if not norms or not all(norms.values()):
        raise ValueError(
            "compare_gradients: norms must hold at least one network, each with at "
            f"least one layer, got {norms!r:.100}"
        )
    longest = max(map(len, norms.values()))
    letters = max(len(name) for curve in norms.values() for name in curve)
    height = 3.8 + 0.06 * min(letters, 60)
    figure = new_figure("pictures.gradients", min(5 + 0.3 * longest, 14), height)
    axes = figure.subplots()
    sizes = [v for curve in norms.values() for v in curve.values()]
    floor = min((v for v in sizes if 0 < v < math.inf), default=1.0) / 10
    for i, (name, curve) in enumerate(norms.items()):
        _draw_curve(axes, name, list(curve.values()), floor, COLORS[i % len(COLORS)])
    paths = [list(curve) for curve in norms.values()]
    if longest <= NAMED and all(p == paths[0] for p in paths):
        turn = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
        axes.set_xticks(range(1, longest + 1), paths[0], **turn)
    else:
        axes.set_xlabel("layer with parameters, counted from the input")
        axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set(yscale="log", ylabel="norm of the loss's gradient")
    low, high = axes.get_ylim()
    room = max(10 / math.sqrt(high / low), 1)  # two decades, so that noise looks small
    axes.set_ylim(low / room, high * room)
    axes.set_title("Gradient by layer, from the input to the output")
    axes.grid(alpha=0.3)
    axes.legend()
    return finish(figure, path)


def _draw_curve(
    axes: Any, name: str, norms: list[float], floor: float, color: str
) -> None:
    places = np.arange(1, len(norms) + 1)
    sizes = np.asarray(norms)
    first, last = norms[0], norms[-1]
    ratio = f"first / last layer = {first / last:.2g}" if last else "the last is 0"
    label = f"{name}: {ratio}" if name else ratio
    shown = np.where(sizes > 0, sizes, floor)
    axes.plot(places, shown, "-", color=color, alpha=0.6)
    zero = sizes == 0
    axes.plot(places[~zero], shown[~zero], "o", color=color)
    axes.plot(places[zero], shown[zero], "v", color=color, fillstyle="none")
    axes.lines[-3].set_label(label)
