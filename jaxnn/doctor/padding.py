# SPDX-License-Identifier: Apache-2.0
"""Whether a network reads the padding of sequences as data."""

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from jaxnn.doctor.case import Case
from jaxnn.doctor.report import Finding, finding
from jaxnn.train.predict import predict

#: Sequences that end in zeros before this fraction of the steps are padded: rows of
#: pixels and the like end in a few zeros, but not in so many ...
SHORT = 0.6
#: ... in at least this fraction of the examples, which end at different steps.
PADDED = 0.1
#: A change of the outputs by this fraction of their size is none of rounding.
CHANGE = 0.01


def check_padding(case: Case) -> Iterator[Finding]:
    """Outputs of short sequences that change when some of their padding is cut off."""
    x: Any = np.asarray(case.x) if hasattr(case.x, "shape") else np.zeros(0)
    ends = _ends(x)
    if len(np.unique(ends)) < 3:
        return
    short = ends <= SHORT * x.shape[1]
    if short.mean() < PADDED:
        return
    rows = x[short]
    cut = int(ends[short].max())
    whole, less = (_outputs(case, part) for part in (rows, rows[:, :cut]))
    if whole is None or less is None or whole.shape != less.shape:
        return  # made for this number of steps, or one output for each
    change = np.abs(whole - less).max() / (np.abs(whole).max() + 1e-30)
    if change > CHANGE:
        words = (
            f"{short.mean():.0%} of the sequences end in zeros before step {cut} of "
            f"{x.shape[1]}, and their outputs change by up to {change:.0%} when those "
            "are cut off"
        )
        yield finding("padding read as data", 0.8, words, change=change)


def _ends(x: np.ndarray) -> np.ndarray:
    """Where each sequence of ids `[N, T]` or numbers `[N, T, C]` turns to zeros."""
    is_ids = x.ndim == 2 and np.issubdtype(x.dtype, np.integer)
    if not (is_ids or x.ndim == 3) or not x.shape[1]:
        return np.zeros(0, int)
    filled: Any = x.reshape(*x.shape[:2], -1).any(-1)
    return np.where(filled.any(1), x.shape[1] - filled[:, ::-1].argmax(1), 1)


def _outputs(case: Case, x: Any) -> Any:
    """The outputs for other numbers of steps, or None if the network fits only one."""
    try:
        y = predict(case.net, (case.params, case.state), x)
    except (TypeError, ValueError, IndexError):
        return None
    leaves = jax.tree.leaves(y)
    return np.asarray(leaves[0], np.float64) if len(leaves) == 1 else None
