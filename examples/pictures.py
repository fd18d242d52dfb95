# SPDX-License-Identifier: Apache-2.0
"""The picture that several examples share: predictions on test images."""

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
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    return path
