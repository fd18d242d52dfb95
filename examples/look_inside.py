# SPDX-License-Identifier: Apache-2.0
"""Pictures of what is inside a convolutional network, and of what it looks at."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

import jaxnn as nn


def save_filters(path: Path, w: Any) -> Path:
    """Draw the filters of a first convolution, `[h, w, C, F]`."""
    gaps = float("nan") if w.shape[2] == 1 else 1.0
    picture = nn.pictures.filters_picture(w, columns=8, background=gaps)
    height, width, _ = picture.shape
    figure = Figure(figsize=(6.5, 0.6 + 6.5 * height / width), layout="constrained")
    colors = "black below 0, gray 0, white above" if w.shape[2] == 1 else "gray is 0"
    figure.suptitle(f"The {w.shape[-1]} filters of the first layer ({colors})")
    _show(figure.subplots(), picture)
    return _save(figure, path)


def save_maps(
    path: Path, net: nn.Layer, state: Any, image: np.ndarray, layers: Sequence[str]
) -> Path:
    """Draw what layers make of one image `[H, W, C]`: their first 36 maps each."""
    _, taps = nn.predict(nn.Tap(net, tuple(layers)), state, image[None])
    figure = Figure(figsize=(4 * (1 + len(layers)), 4.5), layout="constrained")
    panels = figure.subplots(1, 1 + len(layers))
    _show(panels[0], image)
    panels[0].set_title("image")
    for axes, layer in zip(panels[1:], layers, strict=True):
        _, height, width, count = taps[layer].shape
        shown = f"{min(count, 36)} of {count}" if count > 36 else f"all {count}"
        maps = taps[layer][0, ..., :36]
        _show(axes, nn.pictures.maps_picture(maps, background=float("nan")))
        axes.set_title(f"{layer}: {shown} maps of {height}x{width}")
    return _save(figure, path)


def save_evidence(
    path: Path,
    net: nn.Layer,
    state: Any,
    examples: tuple[np.ndarray, np.ndarray],
    layer: str,
    names: Sequence[str],
) -> Path:
    """Draw where a network finds its guess in a few images, and where the truth.

    Rows: images, saliency of the guess, Grad-CAM of the guess and of the true class.
    """
    images, labels = examples
    guesses = np.asarray(nn.predict(net, state, images).argmax(-1))
    slopes, *heats = _evidence(
        net, state.params, state.state, layer, images, guesses, labels
    )
    rows = ["image", "saliency\nof the guess", "Grad-CAM\nof the guess"]
    rows += ["Grad-CAM of\nthe true class"]
    figure = Figure(figsize=(1.5 * len(images) + 1, 7), layout="constrained")
    grid = figure.subplots(4, len(images), squeeze=False)
    for axes, row in zip(grid[:, 0], rows, strict=True):
        axes.set_ylabel(row, fontsize=11)
    for i, column in enumerate(grid.T):
        right = guesses[i] == labels[i]
        title = f"{names[guesses[i]]}" + ("" if right else f"\nis {names[labels[i]]}")
        column[0].set_title(title, color="black" if right else "red", fontsize=11)
        _show(column[0], images[i])
        column[1].imshow(jnp.abs(slopes[i]).max(-1), cmap="magma")
        column[1].set(xticks=[], yticks=[])
        for axes, heat in zip(column[2:], heats, strict=True):
            _show(axes, images[i])
            strength = np.asarray(heat[i] / jnp.maximum(heat[i].max(), 1e-9))
            axes.imshow(strength, cmap="inferno", alpha=0.8 * strength)
    return _save(figure, path)


@partial(jax.jit, static_argnums=(0, 3))
def _evidence(net, params, state, layer, images, *targets):
    """The saliency of the first target, and the Grad-CAM of each."""
    maps = nn.pictures
    found = [maps.saliency(net, (params, state), images, targets[0])]
    for target in targets:
        found.append(maps.grad_cam(net, (params, state), images, layer, target))
    return found


def _show(axes: Any, picture: Any) -> None:
    """Draw a picture `[H, W, 1 or 3]` in 0 to 1, in gray or color; NaN is blue."""
    picture = np.asarray(picture)
    gray = colormaps["gray"].with_extremes(bad="cornflowerblue")
    axes.imshow(picture[..., 0] if picture.shape[-1] == 1 else picture, cmap=gray)
    axes.set(xticks=[], yticks=[])


def _save(figure: Figure, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    return path
