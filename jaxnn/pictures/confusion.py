# SPDX-License-Identifier: Apache-2.0
"""The confusion matrix of a classifier: which classes it takes for which."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxnn.core import as_layer
from jaxnn.files.figures import finish, new_figure
from jaxnn.messages.phrases import describe
from jaxnn.metrics import ConfusionMatrix
from jaxnn.pictures.classes import is_run, named
from jaxnn.train.batch import rows_of
from jaxnn.train.checks import check_network, checked_data
from jaxnn.train.evaluate import evaluate
from jaxnn.train.state import variables

OWNER = "confusion_matrix"
#: Up to this many classes the cells of mistakes that never happen say 0, ...
FEW = 10
#: ... and up to this many they have numbers at all.
WRITTEN = 40
SCALE = "share of the true class (square-root scale)"


def confusion_matrix(
    matrix: Any,
    path: str | Path | None = None,
    *,
    names: Sequence[str] | None = None,
) -> Any:
    """Plot how often each class (row) was predicted as each class (column).

    The numbers are counts; the shade is the share of the row, so that a rare class is
    as easy to read as a frequent one.

    Args:
        matrix: counts `[K, K]`, as from `nn.metrics.ConfusionMatrix`; or `(net, state,
            data)`, to count with `nn.evaluate`: a classifier, a `TrainState` or a pair
            `(params, state)`, and `(inputs, targets)` with class numbers or one-hot
            rows.
        path: an image file to write, or None.
        names: the names of the K classes; None for 0, 1, 2, ...

    Returns:
        The matplotlib figure.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError, TypeError: the matrix, the network's outputs or the names are not
            those of classes.

    >>> import jaxnn as nn
    >>> counts = [[48, 2], [5, 45]]
    >>> names = ["cat", "dog"]
    >>> figure = nn.pictures.confusion_matrix(counts, names=names)  # doctest: +SKIP
    """
    counts = _counted(*matrix) if is_run(matrix) else _checked(matrix)
    classes = len(counts)
    words = [str(k) for k in range(classes)]
    if names is not None:
        words = named(OWNER, "names", names, classes)
    cell = 0.62 if classes <= FEW else 0.42 if classes <= WRITTEN else 12 / classes
    longest = max(map(len, words))
    side, room = max(cell * classes, 2.2), 0.09 * min(longest, 24)
    turned = 90 if longest > 3 and classes > 3 else 0
    below = room if turned else 0.2
    figure = new_figure(
        "pictures.confusion_matrix", side + room + 1.6, side + below + 1
    )
    axes = figure.subplots()
    image = _draw_shares(axes, counts)
    if classes <= WRITTEN:
        _write_counts(axes, counts, image, 72 * side / classes)
    places = range(0, classes, 1 if classes <= WRITTEN else -(-classes // 20))
    axes.set_xticks(places, [words[k] for k in places], rotation=turned)
    axes.set_yticks(places, [words[k] for k in places])
    axes.tick_params(length=0)
    axes.set(xlabel="predicted class", ylabel="true class")
    right, every = int(np.trace(counts)), int(counts.sum())
    axes.set_title(f"{100 * right / max(every, 1):.2f} % of {every:,} right")
    beside = axes.inset_axes((1 + 0.15 / side, 0, 0.18 / side, 1))  # as tall as it
    bar = figure.colorbar(image, cax=beside, label=SCALE)
    shares = [0, 0.01, 0.05, 0.2, 0.5, 1]
    bar.set_ticks(shares, labels=[f"{100 * share:g} %" for share in shares])
    return finish(figure, path)


def _counted(net: Any, state: Any, data: Any) -> np.ndarray:
    """The matrix of a network on data."""
    net, data = as_layer(net, OWNER), checked_data(data, f"{OWNER}: data")
    facts = check_network(OWNER, net, *variables(state, OWNER), rows_of(data[0], 1))
    outputs: Any = facts.outputs
    if getattr(outputs, "ndim", 0) not in (1, 2):
        raise ValueError(
            f"{OWNER}: the network must give scores of classes, [N, K], or one of two, "
            f"[N, 1], got {describe(outputs):.100}"
        )
    classes = 1 if outputs.ndim == 1 else outputs.shape[1]
    half = 0.5 if facts.kind == "sigmoid" else 0.0
    metric = ConfusionMatrix(max(classes, 2), threshold=half)
    found = evaluate(net, state, data, metrics={"counts": metric})["counts"]
    return _checked(found)


def _checked(matrix: Any) -> np.ndarray:
    """Counts as a square of whole numbers."""
    counts = np.asarray(matrix)
    square = counts.ndim == 2 and counts.shape[0] == counts.shape[1] >= 2
    if not square or counts.dtype.kind not in "iuf":
        raise ValueError(
            f"{OWNER}: matrix must be counts [K, K], or (net, state, data), got "
            f"{describe(counts) if counts.dtype != object else describe(matrix):.100}"
            "; count with nn.metrics.ConfusionMatrix(10)(outputs, labels)"
        )
    if not (np.isfinite(counts).all() and (counts >= 0).all()):
        raise ValueError(
            f"{OWNER}: counts must be 0 or more, got {counts.min()}; where outputs are "
            "NaN, nn.metrics.ConfusionMatrix is -1 everywhere"
        )
    if (counts != np.round(counts)).any():
        raise ValueError(
            f"{OWNER}: matrix must hold counts, which are whole numbers, got "
            f"{counts.ravel()[0]}, ...; the shares are drawn from them"
        )
    return counts.astype(np.int64)


def _draw_shares(axes: Any, counts: np.ndarray) -> Any:
    """Shade each cell by its share of the row, so that 1 % can be told from none."""
    from matplotlib.colors import PowerNorm

    total = counts.sum(1, keepdims=True)
    shares = counts / np.where(total == 0, 1, total)
    norm = PowerNorm(0.5, vmin=0, vmax=1)
    return axes.imshow(shares, cmap="Blues", norm=norm, aspect="auto")


def _write_counts(axes: Any, counts: np.ndarray, image: Any, cell: float) -> None:
    """Write each count into its cell, `cell` points wide, so that it can be read."""
    digits = len(str(counts.max()))
    size = min(11.0, 0.85 * cell / (0.62 * digits))
    shades = image.cmap(image.norm(image.get_array()))[..., :3]
    dark = shades @ np.array([0.3, 0.59, 0.11]) < 0.5
    for (true, guess), count in np.ndenumerate(counts):
        if count or len(counts) <= FEW:
            color = "white" if dark[true, guess] else "black" if count else "0.65"
            place = {"ha": "center", "va": "center"}
            axes.text(guess, true, str(count), **place, color=color, fontsize=size)
