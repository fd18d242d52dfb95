# SPDX-License-Identifier: Apache-2.0
"""Checks of the inputs: their scale, and features that say nothing or too much."""

from collections.abc import Iterator

import jax
import numpy as np

from jaxnn.checks import is_float
from jaxnn.core import trace
from jaxnn.doctor.case import Case
from jaxnn.doctor.report import Finding, finding
from jaxnn.train.batch import rows_of

#: Inputs of standard deviation 1 have a root mean square of 1; counts and pixels up to
#: 16 stay below this limit, pixels up to 255 and columns in thousands do not.
LARGE = 10.0
#: If all inputs are this small, a network as initialized hardly responds to them.
SMALL = 0.02
#: Targets of standard deviation 1 are well below; gradients grow with their size.
LARGE_TARGETS = 30.0
#: A feature that explains this much of the target explains all of it ...
ALL = 0.98
#: ... if no honest feature comes close, as neighbors in an image or a series would.
HONEST = 0.9
#: At most this fraction of the features can leak; if more, they are simply good.
FEW = 0.25
#: With fewer examples than this, an apparent relation may be chance.
FEWEST = 50
#: A value this common is background: a feature that never leaves it is no surprise.
BACKGROUND = 0.1


def check_scale(case: Case) -> Iterator[Finding]:
    """Whether the first layer with weights gets numbers near 1."""
    seen = _seen(case)
    if seen is None:
        return
    table = seen.ndim == 2
    axes = 0 if table else tuple(range(seen.ndim - 1))
    size = np.sqrt((seen**2).mean(axes))
    if not size.any():
        return
    where = int(size.argmax())
    name = "feature" if table else "channel"
    sure = 0.93 if case.bad else 0.7
    if size.max() > LARGE:
        words = (
            f"{name} {where} of the inputs has a root mean square of "
            f"{size.max():.3g} (from {seen[..., where].min():.3g} to "
            f"{seen[..., where].max():.3g}; the median {name} has "
            f"{np.median(size):.3g}); near 1 is good"
        )
        yield finding("inputs not scaled", sure, words, **_scales(size, where))
    elif size.max() < SMALL:
        words = (
            f"the largest {name} of the inputs has a root mean square of "
            f"{size.max():.3g}; near 1 is good"
        )
        yield finding("inputs not scaled", sure, words, **_scales(size, where))


def _scales(size: np.ndarray, where: int) -> dict[str, float]:
    sizes = {"largest": float(size.max()), "smallest": float(size.min())}
    return {**sizes, "feature": where}


def _seen(case: Case) -> np.ndarray | None:
    """The input of the first layer with weights, unless it normalizes or embeds ids."""
    x = case.x if case.inside is None else case.inside.seen
    x = x if hasattr(x, "shape") else case.x
    if not hasattr(x, "shape") or not is_float(x):
        return None
    calls = trace(case.net, rows_of(case.x, 1))
    first = next((c for c in calls if jax.tree.leaves(c.params)), None)
    if first is None or "Norm" in type(first.layer).__name__:
        return None
    return np.asarray(x, np.float64)


def check_targets(case: Case) -> Iterator[Finding]:
    """Whether numeric targets are near 1, if the network fails to predict them."""
    if case.task != "numbers" or not case.bad:
        return
    size = float(np.sqrt((np.asarray(case.y, np.float64) ** 2).mean()))
    if size > LARGE_TARGETS or 0 < size < SMALL:
        words = f"the targets have a root mean square of {size:.3g}; near 1 is good"
        yield finding("targets not scaled", 0.88, words, size=size)


def check_constant(case: Case) -> Iterator[Finding]:
    """Features of a table that have only one value."""
    x = case.x
    if not hasattr(x, "shape") or not is_float(x):
        return
    x = x.reshape(len(x), -1)
    if len(x) < 2:
        return
    still = np.flatnonzero((x == x[0]).all(0))  # first in the sample, then in all
    whole = np.asarray(case.all_x).reshape(len(case.all_x), -1)[:, still]
    still = still[(whole == whole[:1]).all(0)]
    if len(still) == x.shape[1]:
        words = "all training examples have the same inputs"
        yield finding("constant features", 0.95, words, features=still.tolist())
    elif case.x.ndim == 2 and len(still):
        odd = [
            int(i) for i in still if (case.x == x[0, i]).mean() < _common(x, len(still))
        ]
        if odd:
            said = ", ".join(f"{i} (always {float(x[0, i]):.4g})" for i in odd[:5])
            words = f"{len(odd)} of {x.shape[1]} features never change: {said}"
            yield finding("constant features", 0.86, words, features=odd)


def _common(x: np.ndarray, constant: int) -> float:
    """How common a value must be to count as background, apart from constants."""
    return constant / x.shape[1] + BACKGROUND


def check_leak(case: Case) -> Iterator[Finding]:
    """A single feature that gives the target away.

    Examples are sorted by the feature: if the targets of neighbors then agree, the
    feature determines them (a rank correlation: Chatterjee, A New Coefficient of
    Correlation, 2021).
    """
    x, y = case.x, case.y
    if case.task is None or not hasattr(x, "shape") or x.ndim < 2 or not is_float(x):
        return
    numbers = case.task == "numbers"
    y = case.labels(y).astype(np.float64 if numbers else int).reshape(len(y), -1)
    x = np.asarray(x, np.float64).reshape(len(x), -1)
    kept = numbers | (y[:, 0] >= 0)
    if y.shape[1] != 1 or x.shape[1] < 2 or kept.sum() < FEWEST:
        return
    told = _told(x[kept], y[kept, 0], numbers)
    leaks = np.flatnonzero(told > ALL)
    rest = np.delete(told, leaks)
    if not len(leaks) or len(leaks) > max(1, FEW * len(told)) or rest.max() > HONEST:
        return
    said = ", ".join(map(str, leaks[:5]))
    words = (
        f"feature {said} alone tells {told[leaks].max():.1%} of the target; the best "
        f"of the others tells {max(rest.max(), 0):.1%}"
    )
    numbers = {"told": float(told.max()), "next": float(rest.max())}
    yield finding("leaking features", 0.9, words, features=leaks.tolist(), **numbers)


def _told(x: np.ndarray, y: np.ndarray, numbers: bool) -> np.ndarray:
    """How much of the target each feature determines: 1 for all of it, 0 for none."""
    mixed = np.random.default_rng(0).permutation(len(x))  # ties in random order
    x, y = x[mixed], y[mixed]
    ranked = y[np.argsort(x, axis=0, kind="stable")]  # [N, features]
    if numbers:
        spread = y.var()
        steps = (np.diff(ranked, axis=0) ** 2).mean(0)
        return 1 - steps / (2 * spread) if spread else np.zeros(x.shape[1])
    agree = (ranked[1:] == ranked[:-1]).mean(0)
    changes = (len(np.unique(y)) - 1) / (len(y) - 1)  # unavoidable in any order
    shares = np.unique(y, return_counts=True)[1] / len(y)
    chance = (shares**2).sum()
    if chance >= 1 - 2 * changes:  # almost all labels are the same
        return np.zeros(x.shape[1])
    return (agree - chance) / (1 - changes - chance)
