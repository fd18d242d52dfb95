# SPDX-License-Identifier: Apache-2.0
"""Checks of the examples: copies, labels, and sets that differ."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from jaxnn.checks import is_float
from jaxnn.doctor.case import Case
from jaxnn.doctor.report import Finding, finding
from jaxnn.train.batch import length

#: Natural data sets hold a few copies; this fraction of validation is not chance ...
COPIES = 0.01
#: ... if it is this many standard errors above the copies within one set.
ERRORS = 3.0
#: The largest number of training rows to hash.
ROWS = 200_000
#: A class this many times rarer than the most common one is out of balance ...
RARE = 5.0
#: ... if it is missed this much more often than examples in general.
MISSED = 0.2
#: With more classes than this, some are rare by nature, as words are.
MANY = 100
#: The fraction of labels contradicted by the other examples that does harm ...
CONTRADICTED = 0.12
#: ... if these predict labels at all: classes that overlap fully look like noise.
TELLS = 0.35
#: No better than guessing, for the reference and for validation.
NOTHING = 0.07
#: Examples per class (or to predict numbers from) that are too few to learn from.
TOO_FEW = 15
#: Means of a feature in the two sets this many deviations apart are not chance.
SHIFT = 1.0
#: Standard deviations of the two sets with this ratio are not chance.
RATIO = 3.0
#: Half the sum of absolute differences of the class fractions in the two sets.
MOVED = 0.4
#: Few examples do harm if the quality on validation is this much worse.
HARM = 0.1


def check_overlap(case: Case) -> Iterator[Finding]:
    """Validation examples that are training examples, found by hashing rows."""
    if case.all_u is None or length(case.all_x) > ROWS:
        return
    seen, validation = Counter(_rows(case.all_x)), list(_rows(case.all_u))
    copies = sum(row in seen for row in validation)
    share = copies / len(validation)
    if copies > 1 and share > max(COPIES, _by_chance(seen, len(validation))):
        words = (
            f"{copies} of {len(validation)} validation examples ({share:.1%}) are in "
            "the training set too, exactly"
        )
        yield finding("overlapping sets", 0.9, words, copies=copies, share=share)


def _by_chance(seen: Counter, validation: int) -> float:
    """The fraction of copies that a proper validation set of discrete data can have.

    This is the fraction p of training examples with a duplicate among the others, and
    more by chance: the two fractions differ with variance p (1 - p) (1 / m + 1 / n).
    """
    n = seen.total()
    p = sum(count for count in seen.values() if count > 1) / n
    variance = max(p, 1 / n) * (1 - p) * (1 / validation + 1 / n)
    return p + ERRORS * variance**0.5


def _rows(x: Any) -> Iterator[int]:
    """A hash for each example; equal examples have equal hashes."""
    leaves = [np.ascontiguousarray(np.asarray(a)) for a in jax.tree.leaves(x)]
    for row in zip(*leaves, strict=True):
        yield hash(b"".join(a.tobytes() for a in row))


def check_differ(case: Case) -> Iterator[Finding]:
    """Whether validation is distributed like training; if not, it is misleading."""
    if case.u is None or not case.carries_over_badly:
        return
    moved = _moved_labels(case)
    if moved > MOVED:
        words = f"the shares of the classes differ by {moved:.0%} between the sets"
        yield finding("sets that differ", 0.9, words, moved=moved)
        return
    shift, ratio = _moved_inputs(case)
    if shift > SHIFT or not 1 / RATIO < ratio < RATIO:
        words = (
            f"validation inputs lie up to {shift:.2g} deviations from the training "
            f"inputs and spread {ratio:.2g} times as much"
        )
        yield finding("sets that differ", 0.92, words, shift=shift, ratio=ratio)


def _moved_labels(case: Case) -> float:
    """Half the sum of differences of class fractions; for numbers, in deviations."""
    train, validation = np.asarray(case.y), np.asarray(case.v)
    if case.task == "numbers":
        return float(_shift(train.reshape(-1, 1), validation.reshape(-1, 1)) * MOVED)
    if case.task == "binary":
        return _moved_answers(case.labels(train), case.labels(validation))
    if case.task != "classes":
        return 0.0
    a, b = (y[y >= 0] for y in (case.labels(train), case.labels(validation)))
    if not (a.size and b.size):
        return 0.0
    size = int(max(a.max(), b.max())) + 1
    shares = [np.bincount(y, minlength=size) / len(y) for y in (a, b)]
    return float(np.abs(shares[0] - shares[1]).sum() / 2) if size <= MANY else 0.0


def _moved_answers(train: np.ndarray, validation: np.ndarray) -> float:
    """The largest difference of the fractions of yes, question by question."""
    alike = train.ndim > 1 and train.shape[1:] == validation.shape[1:]
    questions = train.shape[-1] if alike else 1
    shares = [y.reshape(-1, questions).mean(0) for y in (train, validation)]
    return float(np.abs(shares[0] - shares[1]).max())


def _moved_inputs(case: Case) -> tuple[float, float]:
    """The largest shift of a mean in deviations, the median ratio of deviations."""
    x, u = case.x, case.u
    if not hasattr(x, "shape") or not is_float(x):
        return 0.0, 1.0
    x, u = (np.asarray(a, np.float64).reshape(len(a), -1) for a in (x, u))
    if case.x.ndim > 2:  # pool the positions of an image
        x, u = (a.reshape(-1, case.x.shape[-1]) for a in (x, u))
    if x.shape[1] != u.shape[1]:  # rows of different lengths share no columns
        return 0.0, 1.0
    spread = x.std(0)
    kept = spread > 1e-6
    if not kept.any():
        return 0.0, 1.0
    ratio = u.std(0)[kept] / spread[kept]
    common = kept & (spread > 0.1 * np.median(spread[kept]))
    return _shift(x[:, common], u[:, common]), float(np.median(ratio))


def _shift(a: np.ndarray, b: np.ndarray) -> float:
    """The largest difference of means in deviations, beyond what chance explains."""
    spread = a.std(0)
    chance = 4 * spread * (1 / len(a) + 1 / len(b)) ** 0.5
    away = np.maximum(np.abs(a.mean(0) - b.mean(0)) - chance, 0)
    return float((away / np.maximum(spread, 1e-12)).max(initial=0))


def check_balance(case: Case) -> Iterator[Finding]:
    """Rare classes that the network misses."""
    if case.task not in ("classes", "binary") or not case.finite:
        return
    labels = case.labels(case.all_y)
    if labels.size != len(labels):
        return  # only for one label per example
    classes, counts = np.unique(labels[labels >= 0], return_counts=True)
    rare = set(classes[counts * RARE <= counts.max(initial=0)].tolist())
    if not rare or len(classes) > MANY:
        return
    recall, overall, seen = _recall(case, rare)
    if seen < 3 or recall > overall - MISSED:
        return
    words = (
        f"the commonest class has {counts.max() / counts.sum():.1%} of the labels, "
        f"class {classes[counts.argmin()]} has {counts.min() / counts.sum():.1%}; of "
        f"the rare ones {recall:.1%} are found, of all {overall:.1%}"
    )
    numbers = {"recall": recall, "accuracy": overall}
    share = float(counts.max() / counts.sum())
    yield finding("labels out of balance", 0.87, words, largest=share, **numbers)


def _recall(case: Case, rare: set) -> tuple[float, float, int]:
    """The recall of rare examples, the overall accuracy, and how many are rare.

    Measured on validation, as the few in training may have been memorized.
    """
    y, v = case.outputs
    outputs, targets = (y, case.y) if v is None else (v, case.v)
    true, said = case.labels(targets).ravel(), case.said(outputs).ravel()
    true, said = true[true >= 0], said[true >= 0]
    right, those = said == true, np.isin(true, list(rare))
    recall = float(right[those].mean()) if those.any() else 1.0
    return recall, float(right.mean()), int(those.sum())


def check_labels(case: Case) -> Iterator[Finding]:
    """Labels that do not follow from the inputs, or that neighbors contradict."""
    told, there = case.reference, case.qualities[1]
    if told is None or len(case.y) < 100:
        return
    lost = there is not None and max(told.quality, there) < NOTHING
    if lost and (case.qualities[0] or 0) > NOTHING:
        words = (
            f"validation is no better than guessing (quality {there:.2f}, 1 being "
            f"perfect), and so are predictions from the nearest examples "
            f"({told.quality:.2f}): inputs and labels seem to have nothing in common"
        )
        numbers = {"reference": told.quality, "validation": there}
        yield finding("noisy labels", 0.87, words, **numbers)
    elif told.contradicted > CONTRADICTED and told.quality > TELLS:
        share = told.contradicted
        words = (
            f"{share:.1%} of the training labels are contradicted by the examples "
            "around them, which are as sure of these as of the others"
        )
        yield finding("noisy labels", 0.75 + share / 3, words, contradicted=share)


def check_few(case: Case) -> Iterator[Finding]:
    """Too few examples for what is learned to generalize."""
    good, there = case.qualities
    if good is None or there is None or good - there < HARM:
        return
    n, classes = length(case.all_x), 1
    if case.task in ("classes", "binary"):
        labels = case.labels(case.all_y)
        labels = labels[labels >= 0]
        classes, n = len(np.unique(labels)), labels.size
    if n < TOO_FEW * max(classes, 2):
        words = f"{n} training examples" + (
            f" for {classes} classes" if classes > 1 else ""
        )
        words += f"; quality {good:.2f} on them and {there:.2f} on validation"
        yield finding("too few examples", 0.9, words, examples=n, classes=classes)
