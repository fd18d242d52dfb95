# SPDX-License-Identifier: Apache-2.0
"""Receiver operating characteristics: true positives against false ones."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxnn.files.figures import COLORS, finish, new_figure
from jaxnn.messages.phrases import describe
from jaxnn.metrics import RocAuc
from jaxnn.pictures.classes import is_run, labels, named, scores
from jaxnn.train.checks import checked_data
from jaxnn.train.state import variables

OWNER = "roc_curve"
#: Colors and line styles, so that neighbors in the legend differ in color.
LINES = ("-", "--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)))
SHADES = tuple(color for color in COLORS if color not in ("#F0E442", "#000000"))


class Roc(NamedTuple):
    """The receiver operating characteristic of one class against the others.

    Attributes:
        false_positives: the share of the others above each threshold, `[P]`, from 0 to
            1.
        true_positives: the share of the class above it, `[P]`.
        area: the area under the curve, as `nn.metrics.RocAuc` gives it; NaN, with no
            points, if one of the two does not occur.
    """

    false_positives: np.ndarray
    true_positives: np.ndarray
    area: float


def roc_points(scored: Any) -> dict[int, Roc]:
    """The receiver operating characteristic of each class against all others.

    Args:
        scored: `(scores, targets)` or `(scores, targets, weights)`, arrays; or `(net,
            state, data)`: a classifier, a `TrainState` or a pair `(params, state)`, and
            data in that form with inputs for scores. Scores are `[N, K]`, larger where
            a class is more likely, or for two classes `[N]` or `[N, 1]`, those of class
            1. Targets are class numbers or one-hot rows.

    Returns:
        A dict from each class to its points; for two classes, of class 1 alone. The
        scores of more classes that a network gives as logits are compared by the log
        odds of each class, those of its softmax, exactly.

    >>> import jax.numpy as jnp, jaxnn as nn
    >>> scores, targets = jnp.array([0.1, 0.4, 0.4, 0.8]), jnp.array([0, 0, 1, 1])
    >>> found = nn.pictures.roc_points((scores, targets))[1]
    >>> found.true_positives.tolist(), found.area
    ([0.0, 0.5, 1.0, 1.0], 0.875)
    """
    found, targets, weights = _of_run(*scored) if is_run(scored) else _given(scored)
    columns = found.shape[1]
    if columns <= 2:
        score = found[:, -1] - (found[:, 0] if columns == 2 else 0)
        return {1: _roc(score, labels(OWNER, targets, 2) == 1, weights)}
    label = labels(OWNER, targets, columns)
    return {k: _roc(found[:, k], label == k, weights) for k in range(columns)}


def _given(scored: Any) -> tuple[np.ndarray, Any, np.ndarray]:
    """Scores `[N, K]`, targets and weights."""
    found, targets, *weights = checked_data(scored, f"{OWNER}: scores")
    if not hasattr(found, "ndim") or found.ndim > 2 or not found.size:
        raise ValueError(
            f"{OWNER}: scores must be [N, K], [N, 1] or [N], got {describe(found):.100}"
        )
    found = np.asarray(found, np.float32).reshape(len(found), -1)
    return found, targets, np.asarray(weights[0] if weights else np.ones(len(found)))


def _of_run(net: Any, state: Any, data: Any) -> tuple[np.ndarray, Any, np.ndarray]:
    """The scores that a network gives, as in `_given`."""
    inputs, targets, *weights = checked_data(data, f"{OWNER}: data")
    found, kind = scores(OWNER, net, variables(state, OWNER), inputs)
    if not np.isfinite(found).all():
        raise ValueError(f"{OWNER}: the outputs of the network must be finite numbers")
    if kind not in ("softmax", "sigmoid") and found.shape[1] > 2:
        found = _log_odds(found)
    return _given((found, targets, *weights))


def _log_odds(logits: np.ndarray) -> np.ndarray:
    """z_k − log Σ_{j≠k} exp z_j: they order as softmax does, and never round to 1."""
    columns = range(logits.shape[1])
    rest = [np.logaddexp.reduce(np.delete(logits, k, 1), axis=1) for k in columns]
    return logits - np.stack(rest, axis=1)


def _roc(score: np.ndarray, positive: np.ndarray, weights: np.ndarray) -> Roc:
    metric = RocAuc()
    area = float(metric.compute(metric.update(score, positive, weights)))
    order = np.argsort(-score, kind="stable")
    score, positive, w = score[order], positive[order], weights[order].astype(float)
    hits, misses = (np.cumsum(np.where(kind, w, 0)) for kind in (positive, ~positive))
    if not (hits[-1] and misses[-1]):
        return Roc(np.empty(0), np.empty(0), float("nan"))
    last = np.append(score[1:] != score[:-1], True)  # equal scores make one point
    rates = [np.append(0.0, sums[last]) / sums[-1] for sums in (misses, hits)]
    return Roc(rates[0], rates[1], area)


def roc_curve(
    scored: Any,
    path: str | Path | None = None,
    *,
    names: Sequence[str] | None = None,
) -> Any:
    """Plot true positives against false positives, for each class against all others.

    Args:
        scored: as in `roc_points`: `(scores, targets)` or `(net, state, data)`.
        path: an image file to write, or None.
        names: the names of the K classes; None for 0, 1, 2, ...

    Returns:
        The matplotlib figure; its legend has the area under each curve, that of
        `nn.metrics.RocAuc`.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError, TypeError: scores and targets do not fit together, or the names are
            not those of the classes.

    Reference: Fawcett, An introduction to ROC analysis, 2006.

    >>> import jax.numpy as jnp, jaxnn as nn
    >>> scores, targets = jnp.array([0.1, 0.4, 0.4, 0.8]), jnp.array([0, 0, 1, 1])
    >>> figure = nn.pictures.roc_curve((scores, targets))  # doctest: +SKIP
    """
    found = roc_points(scored)
    classes = max(2, len(found))
    words = [f"class {k}" for k in range(classes)]
    if names is not None:
        words = named(OWNER, "names", names, classes)
    figure = new_figure("pictures.roc_curve", 5.2, 5.0)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=1, label="by chance, AUC 0.5")
    for place, (k, roc) in enumerate(found.items()):
        known = roc.true_positives.size > 0
        area = f"AUC {roc.area:.4f}" if known else "no AUC: none or all are of it"
        turn, shade = divmod(place, len(SHADES))
        style = {"color": SHADES[shade], "linestyle": LINES[turn % len(LINES)]}
        label = f"{words[k]}, {area}"
        axes.plot(roc.false_positives, roc.true_positives, label=label, **style)
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
    axes.set(xlabel="false positives, share of the others")
    axes.set(ylabel="true positives, share of the class")
    axes.set_title(
        "Each class against all others" if len(found) > 1 else f"{words[1]} or not"
    )
    axes.grid(alpha=0.3)
    if len(found) <= 5:
        axes.legend(loc="lower right", fontsize=9)
    else:
        _list_beside(figure, axes, columns=-(-len(found) // 18))
    return finish(figure, path)


def _list_beside(figure: Any, axes: Any, columns: int) -> None:
    """Put the legend to the right of the axes, and widen the figure by it."""
    legend = axes.legend(
        loc="upper left", bbox_to_anchor=(1.02, 1), borderaxespad=0, ncols=columns,
        fontsize=9,
    )  # fmt: skip
    figure.draw_without_rendering()
    width = legend.get_window_extent().width / figure.dpi
    figure.set_figwidth(figure.get_figwidth() + width)
