# SPDX-License-Identifier: Apache-2.0
"""Checks of optimizer arguments; traced values pass."""

import math
from typing import Any

import jax
import numpy as np

from jaxnn.checks import is_traced

Scalar = float | jax.Array


def check_optimizer(owner: str, optimizer: Any) -> None:
    """Raise unless the first argument is an Optax optimizer."""
    if not hasattr(optimizer, "init") or not hasattr(optimizer, "update"):
        raise TypeError(
            f"{owner}: the first argument must be an Optax optimizer such as "
            f"optax.sgd(0.1), got {optimizer!r:.60}"
        )


def check_number(
    owner: str, name: str, value: Any, rule: str, low: float, high: float = math.inf
) -> None:
    """Raise unless a value is a number, `low <= value < high`, or traced."""
    if is_traced(value):
        return
    number = np.asarray(value)
    if number.shape != () or number.dtype.kind not in "iuf":
        raise TypeError(f"{owner}: {name} must be {rule}, got {value!r:.60}")
    if not low <= float(number) < high:
        raise ValueError(f"{owner}: {name} must be {rule}, got {value!r:.60}")


def given(owner: str, params: Any) -> Any:
    """The parameters; raise unless they were given to `update`."""
    if params is None:
        raise ValueError(
            f"{owner}: needs the parameters too: optimizer.update(gradients, "
            "optimizer_state, params)"
        )
    return params
