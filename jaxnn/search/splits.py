# SPDX-License-Identifier: Apache-2.0
"""K-fold cross-validation: which rows each fold trains on, and which it holds out."""

from typing import Any, NamedTuple

import jax
import numpy as np

from jaxnn.checks import is_positive_int
from jaxnn.core import fold_in
from jaxnn.train.batch import length


class Split(NamedTuple):
    """Folds of one size, which train in one program; without folds, all the data."""

    folds: list[int | None]
    rows: Any = None  # int32 [folds, rows to train on]
    held_out: Any = None  # int32 [folds, rows to validate on]

    def examples(self, data: Any) -> int:
        """How many examples of the data a fold trains on."""
        return length(data) if self.rows is None else self.rows.shape[1]

    def pairs(self) -> dict[Any, tuple[np.ndarray, np.ndarray]]:
        """The rows to train on and those to validate on, by fold."""
        both = zip(self.rows, self.held_out, strict=True)
        return dict(zip(self.folds, both, strict=True))


def fold_rows(
    key: jax.Array,
    examples: int,
    folds: int,
    *,
    classes: np.ndarray | None = None,
    owner: str = "fold_rows",
) -> list[tuple[np.ndarray, np.ndarray]]:
    """The folds of a run: `(rows to train on, rows held out)` of each.

    The examples, in an order drawn from the key, are split into `folds` parts of equal
    size, or of sizes that differ by one; each part is held out once.

    Args:
        key: the random key of `sweep` or `cross_validate`.
        examples: the number of examples.
        folds: the number of folds, from 2 to the number of examples.
        classes: `[examples]`, what to stratify by: two parts differ by at most one
            example of each class, too. None for parts drawn without regard to classes.
        owner: the function that messages name.

    Returns:
        A pair of int32 arrays for each fold, each in ascending order.

    >>> import jax
    >>> train, held_out = fold_rows(jax.random.key(0), 7, 3)[0]
    >>> len(train), len(held_out), sorted([*train.tolist(), *held_out.tolist()])
    (4, 3, [0, 1, 2, 3, 4, 5, 6])
    """
    if not is_positive_int(folds) or folds < 2:
        raise ValueError(f"{owner}: folds must be an int of 2 or more, got {folds!r}")
    if folds > examples:
        raise ValueError(
            f"{owner}: folds must be at most the number of examples, got {folds} for "
            f"{examples}"
        )
    order = np.asarray(jax.random.permutation(fold_in(key, "folds"), examples))
    if classes is None:
        parts = np.array_split(order, folds)
    else:  # sorted by class, then dealt out like cards
        order = order[np.argsort(classes[order], kind="stable")]
        parts = [order[start::folds] for start in range(folds)]
    parts = [np.sort(part).astype(np.int32) for part in parts]
    every = np.arange(examples, dtype=np.int32)
    return [(np.setdiff1d(every, part), part) for part in parts]


def splits(
    owner: str,
    key: jax.Array,
    examples: int,
    folds: int | None,
    classes: np.ndarray | None = None,
) -> list[Split]:
    """The folds by size: at most two sizes; a single split without folds."""
    if folds is None:
        return [Split([None])]
    pairs = fold_rows(key, examples, folds, classes=classes, owner=owner)
    found = []
    for size in sorted({len(part) for _, part in pairs}, reverse=True):
        chosen = [i for i, (_, part) in enumerate(pairs) if len(part) == size]
        rows, held_out = (np.stack([pairs[i][j] for i in chosen]) for j in (0, 1))
        found.append(Split(list(chosen), rows, held_out))
    return found
