# SPDX-License-Identifier: Apache-2.0
"""K-fold cross-validation: which rows each fold trains on, and which it holds out."""

from typing import Any, NamedTuple

import jax
import numpy as np

from jaxnn.checks import is_positive_int
from jaxnn.core import fold_in


class Split(NamedTuple):
    """Folds of one size, which train in one program; without folds, all the data."""

    folds: list[int | None]
    rows: Any = None  # int32 [folds, rows to train on]
    held_out: Any = None  # int32 [folds, rows to validate on]


def fold_rows(
    key: jax.Array, examples: int, folds: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """The folds of a sweep: `(rows to train on, rows held out)` of each.

    The examples, in an order drawn from the key, are split into `folds` parts of equal
    size, or of sizes that differ by one; each part is held out once.

    Args:
        key: the sweep's random key.
        examples: the number of examples.
        folds: the number of folds, from 2 to the number of examples.

    Returns:
        A pair of int32 arrays for each fold, each in ascending order.

    >>> import jax
    >>> train, held_out = fold_rows(jax.random.key(0), 7, 3)[0]
    >>> len(train), len(held_out), sorted([*train.tolist(), *held_out.tolist()])
    (4, 3, [0, 1, 2, 3, 4, 5, 6])
    """
    if not is_positive_int(folds) or folds < 2:
        raise ValueError(f"folds: must be an int of 2 or more, got {folds!r}")
    if folds > examples:
        raise ValueError(
            f"folds: must be at most the number of examples, got {folds} for {examples}"
        )
    order = np.asarray(jax.random.permutation(fold_in(key, "folds"), examples))
    parts = [np.sort(p).astype(np.int32) for p in np.array_split(order, folds)]
    every = np.arange(examples, dtype=np.int32)
    return [(np.setdiff1d(every, part), part) for part in parts]


def splits(key: jax.Array, examples: int, folds: int | None) -> list[Split]:
    """The folds by size: at most two sizes; a single split without folds."""
    if folds is None:
        return [Split([None])]
    pairs = fold_rows(key, examples, folds)
    found = []
    for size in sorted({len(part) for _, part in pairs}, reverse=True):
        chosen = [i for i, (_, part) in enumerate(pairs) if len(part) == size]
        rows, held_out = (np.stack([pairs[i][j] for i in chosen]) for j in (0, 1))
        found.append(Split(list(chosen), rows, held_out))
    return found
