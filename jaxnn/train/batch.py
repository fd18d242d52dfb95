# SPDX-License-Identifier: Apache-2.0
"""Batches: their parts, number of examples, and shapes."""

from typing import Any

import jax

from jaxnn.trees import describe


def unpack(batch: Any) -> tuple[Any, Any, Any]:
    """A batch as inputs, targets and weights (or None)."""
    if not isinstance(batch, tuple) or len(batch) not in (2, 3):
        raise TypeError(
            "batch: must be a tuple (inputs, targets) or (inputs, targets, weights), "
            f"got {describe(batch):.100}"
        )
    x, targets, *weights = batch
    return x, targets, weights[0] if weights else None


def length(data: Any) -> int:
    """How many examples a tree of arrays holds."""
    return jax.tree.leaves(data)[0].shape[0]


def rows_of(data: Any, rows: int | None = None) -> Any:
    """The shapes of a batch as JAX sees it, with `rows` examples (None: unchanged)."""

    def one(a):
        shape = a.shape if rows is None else (rows, *a.shape[1:])
        return jax.ShapeDtypeStruct(shape, jax.dtypes.canonicalize_dtype(a.dtype))

    return jax.tree.map(one, data)
