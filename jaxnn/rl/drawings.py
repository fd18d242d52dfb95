# SPDX-License-Identifier: Apache-2.0
"""Episodes as pictures: one frame, or a film."""

import importlib
import io
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxnn.checks import positive
from jaxnn.files.figures import COLORS, GRAY, new_figure
from jaxnn.files.places import place as as_path
from jaxnn.messages.tracebacks import entrance
from jaxnn.rl.environments import (
    Acrobot,
    Arm,
    CartPole,
    GridWorld,
    MountainCar,
    MountainCarContinuous,
    Pendulum,
    Track,
)

BLUE, RED, GREEN = COLORS[:3]


@entrance
def draw(env: Any, state: Any, axis: Any) -> None:
    """Draw an environment's state on a matplotlib axis.

    An environment of your own has a method `draw(place, axis)` for it.

    Args:
        env: an environment.
        state: its state, as `reset`, `step` and `rollout` return it.
        axis: a matplotlib axis.

    Raises:
        TypeError: the environment has no picture.
    """
    known = (_DRAW[kind] for kind in type(env).__mro__ if kind in _DRAW)
    own, drawing = getattr(env, "draw", None), next(known, None)
    if own is None and drawing is None:
        raise TypeError(
            f"draw: env must have a method draw(place, axis), got {env}, which has none"
        )
    place = jax.tree.map(np.asarray, state.place)
    axis.set_aspect("equal")
    axis.axis("off")
    if own is not None:
        own(place, axis)
    elif drawing is not None:
        drawing(env, place, axis)


@entrance
def animate(env: Any, states: Any, path: str | Path, *, fps: float = 30.0) -> Path:
    """Write an episode as a GIF.

    Args:
        env: an environment that can be drawn.
        states: its states, with a leading axis of steps, as `rollout` returns them.
        path: the file.
        fps: frames a second, above 0.

    Returns:
        The path.

    Raises:
        ImportError: matplotlib or Pillow is not installed.
    """
    positive("animate", "fps", fps)
    try:
        image = importlib.import_module("PIL.Image")
    except ImportError as error:
        raise ImportError(
            "animate needs Pillow: python -m pip install pillow"
        ) from error
    target, frames = as_path(path, "animate"), []
    states = jax.device_get(states)
    for i in range(len(states.time)):
        figure = new_figure("animate", 3.2, 3.2)
        draw(env, jax.tree.map(lambda a, i=i: a[i], states), figure.subplots())
        file = io.BytesIO()
        figure.savefig(file, format="png", dpi=70)
        frames.append(image.open(file).convert("P", palette=image.Palette.ADAPTIVE))
    target.parent.mkdir(parents=True, exist_ok=True)
    first, *rest = frames
    first.save(target, save_all=True, append_images=rest, duration=1000 / fps, loop=0)
    return target


def _cart_pole(env, place, axis):
    x, _, angle, _ = place
    axis.plot([-2.6, 2.6], [0, 0], color=GRAY, lw=1)
    axis.plot([x - 0.3, x + 0.3], [0, 0], color=BLUE, lw=12, solid_capstyle="butt")
    axis.plot([x, x + np.sin(angle)], [0, np.cos(angle)], color=RED, lw=5)
    axis.set(xlim=(-2.6, 2.6), ylim=(-0.6, 1.6))


def _mountain_car(env, place, axis):
    x = np.linspace(-1.2, 0.6, 100)
    axis.plot(x, np.sin(3 * x) * 0.45, color=GRAY)
    axis.plot([0.5, 0.5], [0.45, 0.62], color=GREEN, lw=3)
    axis.plot(place[0], np.sin(3 * place[0]) * 0.45 + 0.03, "o", color=BLUE, ms=9)
    axis.set(xlim=(-1.25, 0.65), ylim=(-0.6, 0.75))


def _links(angles, lengths, axis):
    """Links from the origin on, each at its angle from the vertical."""
    x = np.cumsum([0, *(np.sin(a) * n for a, n in zip(angles, lengths, strict=True))])
    y = np.cumsum([0, *(np.cos(a) * n for a, n in zip(angles, lengths, strict=True))])
    axis.plot(x, y, "-o", color=BLUE, lw=5, ms=7, mfc=RED, mec=RED)


def _acrobot(env, place, axis):
    first = np.pi - place[0]
    _links([first, first - place[1]], [1, 1], axis)
    axis.plot([-2.1, 2.1], [1, 1], color=GREEN, lw=1)
    axis.set(xlim=(-2.1, 2.1), ylim=(-2.1, 2.1))


def _pendulum(env, place, axis):
    _links([place[0]], [1], axis)
    axis.set(xlim=(-1.2, 1.2), ylim=(-1.2, 1.2))


def _arm(env, place, axis):
    joints = np.asarray(env.joints(place))
    axis.plot(*joints.T, "-o", color=BLUE, lw=5, ms=6, mfc=BLUE)
    axis.plot(*place.target, "o", color=RED, ms=8, mfc="none", mew=2)
    axis.set(xlim=(-1.1, 1.1), ylim=(-1.1, 1.1))


def _track(env, place, axis):
    road = np.asarray(env.road(place))
    axis.plot(*road.T, color="#cccccc", lw=9, solid_joinstyle="round")
    axis.plot(*road.T, color="white", lw=0.8, ls="--")
    ahead = np.array([np.cos(place.heading), np.sin(place.heading)]) * 2.5
    start, end = place.position - ahead, place.position + ahead
    axis.plot(*np.stack([start, end]).T, color=BLUE, lw=5, solid_capstyle="butt")
    axis.plot(*end, "o", color=RED, ms=4)


def _grid_world(env, place, axis):
    colors = {".": "white", "S": "#dddddd", "#": "black", "G": GREEN, "T": RED}
    rows = [[_rgb(colors[cell]) for cell in row] for row in env.rows]
    axis.imshow(rows, extent=(0, len(rows[0]), len(rows), 0))
    row, column = divmod(int(place), len(rows[0]))
    axis.plot(column + 0.5, row + 0.5, "o", color=BLUE, ms=14)


def _rgb(color: str) -> tuple[float, float, float]:
    return importlib.import_module("matplotlib.colors").to_rgb(color)


_DRAW = {
    CartPole: _cart_pole,
    MountainCar: _mountain_car,
    MountainCarContinuous: _mountain_car,
    Acrobot: _acrobot,
    Pendulum: _pendulum,
    Arm: _arm,
    Track: _track,
    GridWorld: _grid_world,
}
