# SPDX-License-Identifier: Apache-2.0
"""Checks of the learning curves: learning rate, underfitting and overfitting."""

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from jaxnn import trees
from jaxnn.core import Layer
from jaxnn.doctor import quality
from jaxnn.doctor.case import Case
from jaxnn.doctor.report import Finding, finding
from jaxnn.surgery import layer_paths

#: A loss this many times its initial value has blown up.
BLOWN_UP = 3.0
#: The fraction of later epochs in which the loss rose that is more than noise ...
UPS = 0.3
#: ... when the loss changes by this fraction of itself from epoch to epoch.
SWING = 0.15
#: If the best length of the optimizer's step is this small, it oversteps the valley.
OVER = 0.1
#: ... or this large, it creeps.
CREEPS = 30.0
#: The gain that a longer step must make, as a fraction of the loss, to count.
GAIN = 0.05
#: Still improving: the last quarter of the epochs made this fraction of all progress.
UNDER_WAY = 0.08
#: A loss that fell by this fraction did well: it lacked time rather than speed ...
WELL = 0.25
#: ... in at most this many epochs.
SHORT = 20
#: The quality on training minus that on validation that counts as overfitting.
GAP = 0.12
#: With less quality than this, little was learned, let alone memorized.
LEARNED = 0.2
#: A validation loss this many times its minimum, while the training loss fell ...
ROSE = 1.25
#: ... with at least this gap in quality.
SOME_GAP = 0.04
#: The quality in training mode minus that in evaluation mode.
STALE = 0.15
#: Dropping more than this leaves too little to learn with.
DROPPED = 0.75
#: Held back by a penalty: the cosine of the gradient with the negative weights ...
PULL = 0.3
#: ... while the gradient has at least this fraction of its initial norm.
LEFT = 0.1
#: Parameters that shrank to this fraction of their initial norm were pulled to zero.
SHRUNK = 0.35


def check_rate(case: Case) -> Iterator[Finding]:
    """A learning rate that is too large or too small."""
    if case.failed is not None:
        yield finding("learning rate too large", 0.86, case.failed, failed=True)
    elif case.bad:
        yield from _too_large(case) or _too_small(case)


def _too_large(case: Case) -> list[Finding]:
    losses = np.array(case.history.logs.get("loss", []), np.float64)
    steps = np.array(case.history.step_losses, np.float64)
    best, gain = _best_length(case)
    numbers = {"best_length": best} if best is not None else {}
    first = steps[0] if steps.size else (losses[0] if losses.size else np.nan)
    if steps.size and first > 0 and steps.max() > BLOWN_UP * first:
        words = f"the loss rose from {first:.3g} to {steps.max():.3g} in its course"
        return [_large(0.87, words, largest=float(steps.max()), **numbers)]
    if losses.size and first > 0 and losses[-1] > 1.05 * first:
        words = f"the loss rose from {first:.3g} to {losses[-1]:.3g}"
        return [_large(0.87, words, last=float(losses[-1]), **numbers)]
    ups, swing = _swing(losses)
    if ups >= UPS and swing > SWING:
        words = (
            f"the loss goes up and down: it rose in {ups:.0%} of the later epochs and "
            f"moves by {swing:.0%} from one to the next"
        )
        return [_large(0.8, words, ups=ups, swing=swing, **numbers)]
    if best is not None and best <= OVER and gain > GAIN:
        words = f"a step {best:g} times as long would lower the loss by {gain:.0%}"
        return [_large(0.7, words, **numbers)]
    return []


def _large(likelihood: float, words: str, **numbers: float) -> Finding:
    return finding("learning rate too large", likelihood, words, **numbers)


def _swing(losses: np.ndarray) -> tuple[float, float]:
    """How often the loss rose in the later half of the epochs, and how far it moves."""
    late = losses[len(losses) // 2 :]
    if len(losses) < 6 or not np.isfinite(late).all():
        return 0.0, 0.0
    moves = np.diff(late)
    return float((moves > 0).mean()), float(np.median(np.abs(moves)) / np.median(late))


def _best_length(case: Case) -> tuple[float | None, float]:
    """The length of the optimizer's step that lowers the loss most, and the gain."""
    steps = {} if case.inside is None else case.inside.steps
    tried = {s: value for s, value in steps.items() if np.isfinite(value)}
    if 0.0 not in tried or tried[0.0] <= 0:
        return None, 0.0
    best = min(tried, key=lambda s: tried[s])
    return (best or None), 1 - tried[best] / tried[0.0]


def _too_small(case: Case) -> list[Finding]:
    losses = np.array(case.history.logs.get("loss", []), np.float64)
    best, gain = _best_length(case)
    late, fell = _under_way(losses), _fall(losses)
    short = late > UNDER_WAY and fell > WELL and len(losses) <= SHORT
    if best is not None and best >= CREEPS and gain > GAIN and not short:
        words = f"one step {best:g} times as long would lower the loss by {gain:.0%}"
        if len(losses) > 1:
            words = (
                f"the loss fell from {losses[0]:.4g} to {losses[-1]:.4g} only; " + words
            )
        return [
            finding("learning rate too small", 0.84, words, best_length=best, gain=gain)
        ]
    if late <= UNDER_WAY:
        return []
    words = (
        f"the loss was still falling: {late:.0%} of its way from {losses[0]:.3g} to "
        f"{losses[-1]:.3g} fell in the last quarter of the epochs"
    )
    if best is None and not short:  # without the optimizer it could be either
        return [finding("learning rate too small", 0.6, words, late=late)]
    return [finding("too few epochs", 0.7, words, late=late)]


def _under_way(losses: np.ndarray) -> float:
    """The fraction of the loss's fall that came in the last quarter of the epochs."""
    if len(losses) < 4 or not np.isfinite(losses).all():
        return 0.0
    quarter = max(1, len(losses) // 4)
    whole = losses[0] - losses[-1]
    return float((losses[-1 - quarter] - losses[-1]) / whole) if whole > 0 else 0.0


def _fall(losses: np.ndarray) -> float:
    """The fraction by which the loss fell since the first epoch."""
    return float(1 - losses[-1] / losses[0]) if len(losses) and losses[0] > 0 else 0.0


def check_fit(case: Case) -> Iterator[Finding]:
    """Underfitting: a high training error; overfitting: one far below validation."""
    good, there = case.qualities
    if case.bad and (good is None or case.failed is None):
        yield finding("underfitting", *_underfitting(case, good))
    if good is None or there is None or good < LEARNED:
        return
    gap, rose = good - there, _rise(case)
    wide = gap > GAP + _chance(case) and not case.bad
    if wide or (rose > ROSE and gap > SOME_GAP):
        words = f"{_measure(case)} {_told(case, good, case.y)} on training, "
        words += f"{_told(case, there, case.v)} on validation"
        if rose > ROSE:
            words += f"; the validation loss rose to {rose:.2f} times its smallest"
        sure = 0.6 + min(gap, 0.3) if wide else 0.6
        yield finding(
            "overfitting", sure, words, train=good, validation=there, rose=rose
        )


def _chance(case: Case) -> float:
    """An upper bound on the standard error of a validation quality.

    1/√n is that of an accuracy of a half; for R² it is about 2 R (1 - R²) / √n, which
    has its maximum, 0.77/√n, at R² = 1/3.
    """
    if case.v is None:
        return 0.0
    true = case.labels(case.v)
    n = len(true) if case.task == "numbers" else (true >= 0).sum()
    return 1 / np.sqrt(max(n, 1))


def _underfitting(case: Case, good: float | None) -> tuple:
    if good is None:
        return 0.5, "the loss has hardly fallen"
    words = (
        f"{_measure(case)} only {_told(case, good, case.y)} on the training examples "
        "themselves"
    )
    told = case.reference
    if told is not None and told.quality > good:
        words += f"; a method without training has {_told(case, told.quality, case.y)}"
    return 0.6 + min(case.shortfall, 0.25), words


def _measure(case: Case) -> str:
    return "explained variance (R²)" if case.task == "numbers" else "accuracy"


def _told(case: Case, value: float, targets: Any) -> str:
    """A quality on these targets in familiar terms: an accuracy, or R²."""
    return f"{quality.told(case.task, value, case.labels(targets)):.3f}"


def _rise(case: Case) -> float:
    """The last validation loss over its minimum, if the training loss fell since."""
    losses = np.array(case.history.logs.get("loss", []), np.float64)
    there = np.array(case.history.logs.get("val_loss", []), np.float64)
    if len(there) < 3 or not np.isfinite(there).all() or there.min() <= 0:
        return 1.0
    fell = losses[-1] < losses[int(there.argmin())]
    return float(there[-1] / there.min()) if fell else 1.0


def check_regularization(case: Case) -> Iterator[Finding]:
    """Too much dropout or weight decay, in a network that falls short."""
    if not case.bad or not case.finite:
        return
    rates = [r for r in map(_dropped, layer_paths(case.net).values()) if r > DROPPED]
    if rates:
        words = f"dropout leaves {1 - max(rates):.0%} of the units in training"
        yield finding("too much regularization", 0.86, words, rate=max(rates))
        return
    shrunk = _shrunk(case)
    if shrunk < SHRUNK and _pulled(case):
        words = f"the weights shrank to {shrunk:.2f} of what they began with"
        yield finding("too much regularization", 0.86, words, shrunk=shrunk)


def _dropped(layer: Layer) -> float:
    """The rate of a dropout layer; 0 for other layers."""
    return (
        float(getattr(layer, "rate", 0.0)) if "Dropout" in type(layer).__name__ else 0.0
    )


def _pulled(case: Case) -> bool:
    """Whether the loss still pulls the weights outward, against a penalty."""
    if case.inside is None:
        return True
    begun, end = (
        np.sqrt(sum(g[side] ** 2 for g in case.inside.gradients.values()))
        for side in (0, 1)
    )
    return case.inside.pull > PULL and end > LEFT * begun


def _shrunk(case: Case) -> float:
    """The norm of the weights at the end, relative to that at the start."""

    def size(params):
        leaves = [w for w in trees.paths(params).values() if w.ndim > 1]
        return float(np.sqrt(sum(float((w**2).sum()) for w in leaves)))

    begun = size(case.start[0])
    return size(case.params) / begun if begun else 1.0


def check_statistics(case: Case) -> Iterator[Finding]:
    """Outputs that are good with batch statistics but bad with running statistics."""
    if case.inside is None or not jax.tree.leaves(case.state) or not case.finite:
        return
    outputs, targets = case.of_probed((case.outputs[0], case.y))
    training, use = (case.quality(y, targets) for y in (case.inside.outputs, outputs))
    if training is None or use is None:
        return
    loss = case.mean_loss(outputs, targets)
    if training - use > STALE or case.is_worse(loss, case.inside.loss):
        words = (
            f"on the same examples {_measure(case)} {_told(case, training, targets)} "
            f"and loss {case.inside.loss:.3g} as in training, "
            f"{_told(case, use, targets)} and {loss:.3g} as in use, with the running "
            "statistics"
        )
        yield finding("stale batch statistics", 0.9, words, training=training, use=use)
