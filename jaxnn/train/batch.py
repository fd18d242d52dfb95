# SPDX-License-Identifier: Apache-2.0
"""Batches: their number of examples, and shapes."""

from typing import Any

import jax


def length(data: Any) -> int:
    """How many examples a tree of arrays holds."""
    return jax.tree.leaves(data)[0].shape[0]


def rows_of(data: Any, rows: int | None = None) -> Any:
    """The shapes of a batch as JAX sees it, with `rows` examples (None: unchanged)."""

    def one(a):
        shape = a.shape if rows is None else (rows, *a.shape[1:])
        return jax.ShapeDtypeStruct(shape, jax.dtypes.canonicalize_dtype(a.dtype))

    return jax.tree.map(one, data)
