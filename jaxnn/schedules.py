# SPDX-License-Identifier: Apache-2.0
"""Learning-rate schedules that decay with the step.

A schedule is a function from the number of steps taken, starting at 0, to a rate. Use
it wherever Optax takes a learning rate: `optax.sgd(nn.schedules.inverse_sqrt(0.1))`.
Optax has many more: `optax.cosine_decay_schedule`,
`optax.warmup_cosine_decay_schedule`, `optax.cosine_onecycle_schedule`,
`optax.piecewise_constant_schedule`, `optax.join_schedules`. For a rate that falls when
the validation loss stops improving, use `nn.fit(..., plateau=nn.Plateau())`.

Schedules count steps; an epoch is `-(-examples // batch_size)` steps.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxnn.checks import is_positive_int, is_traced
from jaxnn.messages import public

Scalar = float | jax.Array


def inverse_sqrt(alpha: Scalar, every: int = 1) -> optax.Schedule:
    """α_t = α / √(t + 1), where t = step // every.

    Args:
        alpha: the initial rate, above 0; it may be traced.
        every: steps that share a rate: 1, or the steps of an epoch.

    Returns:
        A schedule.

    Raises:
        ValueError: if `alpha` is not above 0, or `every` is not an int of 1 or more.

    >>> rate = inverse_sqrt(0.6)
    >>> [round(float(rate(step)), 2) for step in (0, 3, 8)]
    [0.6, 0.3, 0.2]
    """
    _check_above_zero("inverse_sqrt", "alpha", alpha)
    _check_every("inverse_sqrt", every)
    return lambda step: alpha / jnp.sqrt(_turns(step, every) + 1)


def step_decay(alpha: Scalar, factor: Scalar, every: int) -> optax.Schedule:
    """α_t = α · factor^t, where t = step // every: a cut every few epochs.

    Args:
        alpha: the initial rate, above 0; it may be traced.
        factor: the factor from one rate to the next, above 0 (0.5 halves it); it may be
            traced.
        every: steps that share a rate, such as the steps of ten epochs.

    Returns:
        A schedule.

    Raises:
        ValueError: if `alpha` or `factor` is not above 0, or `every` is not an int of 1
            or more.

    >>> rate = step_decay(0.8, 0.5, every=100)
    >>> [round(float(rate(step)), 2) for step in (0, 99, 100, 200)]
    [0.8, 0.8, 0.4, 0.2]
    """
    _check_above_zero("step_decay", "alpha", alpha)
    _check_above_zero("step_decay", "factor", factor)
    _check_every("step_decay", every)
    return lambda step: alpha * jnp.power(factor, _turns(step, every))


def _turns(step: Any, every: int) -> jax.Array:
    """step // every as a floating-point number, to avoid type promotion."""
    return (jnp.asarray(step) // every).astype(jnp.result_type(float))


def _check_above_zero(owner: str, name: str, value: Any) -> None:
    if is_traced(value):
        return
    number = np.asarray(value)
    whole = number.shape == () and number.dtype.kind in "iuf"
    if not whole or not 0 < float(number) < np.inf:
        raise ValueError(f"{owner}: {name} must be a number above 0, got {value!r:.60}")


def _check_every(owner: str, every: Any) -> None:
    if not is_traced(every) and not is_positive_int(every):
        raise ValueError(f"{owner}: every must be a positive int, got {every!r}")


public.show(__name__)
