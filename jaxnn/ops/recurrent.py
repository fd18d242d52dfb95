# SPDX-License-Identifier: Apache-2.0
"""Recurrence: a step taken along the time axis.

Arrays are time first here, `[T, N, ...]`.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax


def scan(
    step: Callable[[Any, Any], tuple[Any, Any]],
    carry: Any,
    xs: Any,
    mask: jax.Array | None = None,
    *,
    reverse: bool = False,
) -> tuple[Any, Any]:
    """Take `carry, y = step(carry, x)` along the first axis, over real steps only.

    Args:
        step: one step of the recurrence.
        carry: what goes from step to step, arrays `[N, ...]`.
        xs: arrays `[T, N, ...]`.
        mask: `[T, N]`, which steps are real. At the others the carry is kept.
        reverse: whether to run from the last step to the first.

    Returns:
        The final carry, and outputs `[T, N, ...]`.

    >>> import jax.numpy as jnp
    >>> x, mask = jnp.ones((3, 2)), real_steps(jnp.array([3, 1]), 3)
    >>> scan(lambda s, x: (s + x, s + x), jnp.zeros(2), x, mask)[0].tolist()
    [3.0, 1.0]
    """

    def body(carry, part):
        x, real = part
        after, y = step(carry, x)
        return keep(real, after, carry), y

    return lax.scan(body, carry, (xs, mask), reverse=reverse)


def keep(real: jax.Array | None, new: Any, old: Any) -> Any:
    """The new arrays for the examples that are real at this step, else the old ones."""
    if real is None:
        return new

    def one(new, old):
        return jnp.where(real.reshape(real.shape + (1,) * (new.ndim - 1)), new, old)

    return jax.tree.map(one, new, old)


def real_steps(lengths: jax.Array, time: int) -> jax.Array:
    """Which of `time` steps are real, `[T, N]`, by the lengths `[N]`.

    >>> import jax.numpy as jnp
    >>> real_steps(jnp.array([1, 2]), 2).tolist()
    [[True, True], [False, True]]
    """
    return jnp.arange(time, dtype=lengths.dtype)[:, None] < lengths[None, :]
