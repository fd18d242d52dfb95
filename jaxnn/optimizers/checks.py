# SPDX-License-Identifier: Apache-2.0
"""Checks of optimizer arguments; traced values pass."""

import math
from typing import Any

import jax
import numpy as np

from jaxnn.checks import is_traced
from jaxnn.train import checks

Scalar = float | jax.Array


def check_optimizer(owner: str, optimizer: Any) -> None:
    """Raise unless the first argument is an Optax optimizer."""
    checks.check_optimizer(owner, optimizer, "the first argument")


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
