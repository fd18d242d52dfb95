# SPDX-License-Identifier: Apache-2.0
"""How a loss interprets its outputs, found by trying it."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def values(loss: Callable, targets: Any, y: np.ndarray) -> np.ndarray | None:
    """The loss of each row, or None if it does not take such numbers."""
    try:
        found = loss(jnp.asarray(y, jnp.float32), jnp.asarray(targets))
        return np.asarray(jax.device_get(found), np.float64)
    except (TypeError, ValueError):
        return None


def same(a: np.ndarray | None, b: np.ndarray | None) -> bool:
    """Whether two attempts gave the same numbers."""
    return a is not None and b is not None and bool(np.allclose(a, b, atol=1e-4))


def takes_scores(loss: Callable, shape: tuple, dtype: Any) -> bool:
    """Whether a loss for labels 0 and 1 takes outputs on either side of 0.

    Going down from 0, it then falls for label 0 and rises for label 1, as with logits
    and margins; a loss that compares outputs with 0 and 1 rises for both.
    """
    at_zero, below = np.zeros(shape), np.full(shape, -1.0)
    for label, falls in ((0, True), (1, False)):
        targets = np.full(shape, label, dtype)
        here, there = values(loss, targets, at_zero), values(loss, targets, below)
        if here is None or there is None or not np.isfinite([here, there]).all():
            return False
        if not ((there < here) if falls else (there > here)).all():
            return False
    return True


def takes_binary_logits(loss: Callable, shape: tuple) -> bool:
    """Whether loss(z, 0) - loss(z, 1) = z, which holds only for log σ."""
    zeros = np.zeros(shape, np.float32)
    for z in (0.3, 0.8):
        y = np.full(shape, z)
        no, yes = values(loss, zeros, y), values(loss, zeros + np.float32(1), y)
        if no is None or yes is None or not no.any():
            return False
        entries = max(1, int(np.prod(shape[1:])))
        ratio = (no - yes) / z  # 1 for a mean over entries, their number for a sum
        if not (
            np.allclose(ratio, 1, atol=1e-3) or np.allclose(ratio, entries, rtol=1e-3)
        ):
            return False
    return True
