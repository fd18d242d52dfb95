# SPDX-License-Identifier: Apache-2.0
"""Pictures that several examples share: predictions on test images, confusions."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

ROWS, COLUMNS = 4, 10


def save_predictions(
    path: Path,
    images: np.ndarray,
    predicted: np.ndarray,
    labels: np.ndarray,
    names: Sequence[str] = "0123456789",
) -> Path:
    """Draw test images `[N, H, W, 1]` with what the network takes them for.

    Mistakes come first, in red with the true class, and fill at most half the picture.
    """
    wrong = np.flatnonzero(predicted != labels)
    right = np.flatnonzero(predicted == labels)
    mistakes = wrong[: ROWS * COLUMNS // 2]
    chosen = np.concatenate([mistakes, right])[: ROWS * COLUMNS]
    figure = Figure(figsize=(1.1 * COLUMNS, 1.5 * ROWS + 0.5), layout="constrained")
    figure.suptitle(
        f"Predicted classes of {len(chosen)} of the {len(labels):,} test images; "
        f"in red {len(mistakes)} of all {len(wrong):,} mistakes"
    )
    for axes in figure.subplots(ROWS, COLUMNS).flat:
        axes.set_axis_off()
    for axes, i in zip(figure.axes, chosen, strict=False):
        axes.imshow(images[i, ..., 0], cmap="gray_r")
        guess, label = names[int(predicted[i])], names[int(labels[i])]
        if guess == label:
            axes.set_title(guess, fontsize=10)
        else:
            axes.set_title(f"{guess}\ntrue: {label}", color="red", fontsize=10)
    return _save(figure, path)


def save_confusion(
    path: Path,
    counts: np.ndarray,
    names: Sequence[str] = "0123456789",
    what: str = "test images",
) -> Path:
    """Draw a confusion matrix `[true, predicted]`; only the mistakes are colored."""
    classes = range(len(counts))
    mistakes = counts * (1 - np.eye(len(counts), dtype=counts.dtype))
    figure = Figure(figsize=(7.5, 6.5), layout="constrained")
    axes = figure.subplots()
    axes.imshow(mistakes, cmap="Reds", vmax=max(1.5 * mistakes.max(), 1))
    for (true, guess), count in np.ndenumerate(counts):
        weight = "bold" if true == guess else "normal"
        axes.text(guess, true, str(count), ha="center", va="center", weight=weight)
    axes.set_xticks(classes, [*names], rotation=45 if len(names[0]) > 1 else 0)
    axes.set_yticks(classes, [*names])
    axes.set(
        xlabel="predicted class",
        ylabel="true class",
        title=f"{mistakes.sum():,} mistakes in {counts.sum():,} {what}",
    )
    return _save(figure, path)


def _save(figure: Figure, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    return path
