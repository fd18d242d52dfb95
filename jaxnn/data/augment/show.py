# SPDX-License-Identifier: Apache-2.0
"""A figure of original images next to their augmented versions."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxnn.data.augment.base import Augmentation, check_key, whole


def show(
    augmentation: Augmentation | Callable[..., Any],
    images: Any,
    key: jax.Array,
    path: str | Path | None = None,
    *,
    targets: Any = None,
    times: int = 8,
) -> Any:
    """Plot each original image at the left of a row, next to augmented versions of it.

    Args:
        augmentation: any augmentation, or a function of a key and images.
        images: `[N, H, W, C]`, one per row; channels are gray, or red, green and blue.
        key: a random key.
        path: where to write the figure; None: only return it.
        targets: for augmentations that mix, as for `mixup`.
        times: the number of augmented versions of each image.

    Returns:
        The Matplotlib figure.

    Raises:
        TypeError: if the augmentation or key is invalid, or targets are missing or not
            needed.
    """
    mixes = getattr(augmentation, "mixes", False)
    _check(augmentation, mixes, key, targets)
    whole("augment.show", "times", times, low=1)
    keys = jax.random.split(key, int(times))
    more = () if targets is None else (targets,)
    drawn = [augmentation(k, jnp.asarray(images), *more) for k in keys]
    drawn = [one[0] if mixes else one for one in drawn]
    columns = [np.asarray(one) for one in (jnp.asarray(images), *drawn)]
    from jaxnn.files.figures import finish  # (not needed to load data)

    figure = _figure(np.stack(columns, 1), _name(augmentation))
    return finish(figure, path)


def _check(augmentation: Any, mixes: bool, key: Any, targets: Any) -> None:
    """Raise unless the augmentation can be called with this key and these targets."""
    if not callable(augmentation):
        raise TypeError(
            "augment.show: augmentation must be one such as augment.rotate(15), got "
            f"{augmentation!r:.60}"
        )
    check_key("augment.show", key)
    if mixes is (targets is None):
        rule, does = ("given", "mixes") if mixes else ("left out", "does not mix")
        name = _name(augmentation)
        raise TypeError(
            f"augment.show: targets must be {rule}, as {name:.60} {does} examples"
        )


def _name(augmentation: Any) -> str:
    """The name of an augmentation or of a plain function."""
    return getattr(augmentation, "__name__", str(augmentation))


def _figure(rows: np.ndarray, title: str) -> Any:
    """A grid of images `[rows, columns, H, W, C]`; the first column is set apart."""
    from jaxnn.files.figures import new_figure

    count, across = rows.shape[:2]
    widths = [1, 0.15, *[1] * (across - 1)]
    figure = new_figure("augment.show", 0.9 * sum(widths), 0.9 * count + 0.7)
    axes = figure.subplots(
        count, across + 1, squeeze=False, gridspec_kw={"width_ratios": widths}
    )
    low, high = float(rows[:, 0].min()), float(rows[:, 0].max())
    for line, pictures in zip(axes, rows, strict=True):
        line[1].axis("off")
        for ax, picture in zip([line[0], *line[2:]], pictures, strict=True):
            gray = picture.shape[-1] != 3
            shown = picture[..., 0] if gray else _stretched(picture, low, high)
            ax.imshow(shown, cmap="gray" if gray else None, vmin=low, vmax=high)
            ax.set(xticks=[], yticks=[])
    axes[0][0].set_title("original", fontsize=9)
    axes[0][2].set_title("augmented", fontsize=9, loc="left")
    figure.suptitle(title, fontsize=9, wrap=True)
    return figure


def _stretched(picture: np.ndarray, low: float, high: float) -> np.ndarray:
    """The image rescaled to colors from 0 to 1."""
    return np.clip((picture - low) / max(high - low, 1e-12), 0, 1)
