# SPDX-License-Identifier: Apache-2.0
"""Decision regions of a classifier in the plane, with its confidence."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxnn import checks
from jaxnn.core import Layer
from jaxnn.files.figures import COLORS, finish, new_figure
from jaxnn.messages.phrases import describe
from jaxnn.messages.tracebacks import entrance
from jaxnn.pictures.classes import labels, named, probabilities, scores
from jaxnn.train.checks import as_arrays, check_arrays, check_pair

MARKS = "os^Dv<>P"


class Decisions(NamedTuple):
    """The predictions of a classifier over a region of the plane.

    Attributes:
        x: values of the first input, `[W]`.
        y: values of the second input, `[H]`.
        probabilities: the probability of each class at each point, `[H, W, K]`.
    """

    x: np.ndarray
    y: np.ndarray
    probabilities: np.ndarray


@entrance
def decision_grid(
    net: Layer, state: Any, data: Any, *, points: int = 200, margin: float = 0.1
) -> Decisions:
    """Class probabilities on a grid in the plane around the data.

    Args:
        net: a classifier with two input features: it outputs logits or probabilities
            `[N, K]`, or for two classes one number, `[N, 1]` or `[N]`.
        state: a `TrainState`, or a pair `(params, state)`.
        data: `(inputs [N, 2], targets)`; the inputs determine the region.
        points: grid points along each axis.
        margin: how far to extend the region around the data, relative to its width.

    Returns:
        The grid and the probabilities. Outputs that the network does not itself pass
        through softmax or sigmoid are taken as logits.

    Raises:
        ValueError: the inputs are not two-dimensional, or the outputs are not classes.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> net, x = nn.Dense(3), jnp.array([[0.0, 0.0], [1.0, 2.0]])
    >>> state = net.init(jax.random.key(0), x)
    >>> grid = nn.pictures.decision_grid(net, state, (x, jnp.array([0, 2])), points=50)
    >>> grid.probabilities.shape
    (50, 50, 3)
    """
    inputs = _check_data(data)
    checks.positive_int("decision_boundary", "points", points)
    low, high = inputs.min(0), inputs.max(0)
    room = margin * np.where(high > low, high - low, 1.0)
    x, y = np.linspace(low - room, high + room, points, dtype=inputs.dtype).T
    places = np.stack([a.ravel() for a in np.meshgrid(x, y)], axis=1)
    found = scores("decision_boundary", net, state, places, batch_size=len(places))
    shares = probabilities(*found)
    return Decisions(x, y, shares.reshape(points, points, -1))


def _check_data(data: Any) -> np.ndarray:
    """Return the inputs, which must have two features per example."""
    what = "decision_boundary: data"
    check_pair(data, what)
    data = as_arrays(data, what)
    check_arrays(data, what)
    inputs = data[0]
    if getattr(inputs, "ndim", 0) != 2 or inputs.shape[1] != 2:
        raise ValueError(
            f"{what} inputs must have two features, [N, 2], got "
            f"{describe(inputs):.100}; of more, train a network on two of them"
        )
    checks.batch("decision_boundary", inputs)
    return np.asarray(inputs)


@entrance
def decision_boundary(
    net: Layer,
    state: Any,
    data: Any,
    path: str | Path | None = None,
    *,
    points: int = 200,
    margin: float = 0.1,
    names: Any = None,
) -> Any:
    """Plot the decision boundary of a classifier with two input features.

    Darker shades mean higher confidence; lines mark where two classes are equally
    likely; the data are drawn on top, each example in the color of its true class.

    Args:
        net, state, points, margin: as in `decision_grid`.
        data: `(inputs [N, 2], targets)`; targets are labels `[N]` or `[N, 1]`, or
            one-hot vectors `[N, K]`.
        path: an image file to write, or None.
        names: names of the classes and of the two features,
            `{"classes": [...], "features": [...]}`, either or both.

    Returns:
        The matplotlib figure.

    Raises:
        ValueError, TypeError: as for `decision_grid`, and for invalid names.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> net, x = nn.Dense(3), jnp.array([[0.0, 0.0], [1.0, 2.0]])
    >>> state, data = net.init(jax.random.key(0), x), (x, jnp.array([0, 2]))
    >>> figure = nn.pictures.decision_boundary(net, state, data)  # doctest: +SKIP
    """
    figure = new_figure("pictures.decision_boundary", 6.6, 5.2)
    grid = decision_grid(net, state, data, points=points, margin=margin)
    classes = grid.probabilities.shape[-1]
    label = labels("decision_boundary", data[1], classes)
    words = _names(names, classes)
    axes = figure.subplots()
    _draw_shades(axes, grid)
    inputs = np.asarray(data[0])
    for k in range(classes):
        axes.plot(
            *inputs[label == k].T, MARKS[k % len(MARKS)], label=words["classes"][k],
            markersize=5, color=_color(k), markeredgecolor="white", markeredgewidth=0.6,
        )  # fmt: skip
    _draw_certainty(figure, axes, classes)
    axes.set(xlabel=words["features"][0], ylabel=words["features"][1])
    axes.set_title("Decisions, and the data in the color of their class")
    axes.legend(loc="best", fontsize=8)
    return finish(figure, path)


def _names(names: Any, classes: int) -> dict[str, Any]:
    """The names of the classes and features, with defaults for those not given."""
    found: dict[str, Any] = {
        "classes": [f"class {k}" for k in range(classes)],
        "features": ["first feature", "second feature"],
    }
    if not isinstance(names, Mapping | type(None)) or set(names or ()) - set(found):
        raise TypeError(
            "decision_boundary: names must be a dict {'classes': [...], 'features': "
            f"[...]}}, either or both, got {names!r:.80}"
        )
    for part, given in (names or {}).items():
        count = len(found[part])
        found[part] = named("decision_boundary", f"names[{part!r}]", given, count)
    return found


def _draw_shades(axes: Any, grid: Decisions) -> None:
    """Color each point by its most likely class, paler where that is uncertain."""
    from matplotlib.colors import to_rgb

    shares = grid.probabilities
    classes = shares.shape[-1]
    colors = np.array([to_rgb(_color(k)) for k in range(classes)])
    sure = (shares.max(-1, keepdims=True) - 1 / classes) / (1 - 1 / classes)
    image = 1 - SHADE * sure * (1 - colors[shares.argmax(-1)])
    ends = (grid.x[0], grid.x[-1], grid.y[0], grid.y[-1])
    axes.imshow(image, origin="lower", extent=ends, aspect="auto")
    for k in range(classes if classes > 2 else 1):
        others = np.delete(shares, k, axis=-1).max(-1)
        lead = shares[..., k] - others
        if lead.min() < 0 < lead.max():
            axes.contour(grid.x, grid.y, lead, [0.0], colors="black", linewidths=1)


SHADE = 0.5  # strength of a class's color where certain, so that the data stand out


def _draw_certainty(figure: Any, axes: Any, classes: int) -> None:
    """A gray color bar for the confidence."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LinearSegmentedColormap, Normalize

    grays = LinearSegmentedColormap.from_list("sure", ["white", str(1 - SHADE)])
    scale = ScalarMappable(Normalize(1 / classes, 1), grays)
    figure.colorbar(scale, ax=axes, label="probability of the likeliest class")


def _color(k: int) -> str:
    return COLORS[k % len(COLORS)]
