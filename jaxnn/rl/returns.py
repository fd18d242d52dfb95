# SPDX-License-Identifier: Apache-2.0
"""What actions turned out to be worth: discounted returns and advantages."""

import jax
import jax.numpy as jnp

from jaxnn.checks import probability
from jaxnn.messages.phrases import describe
from jaxnn.messages.tracebacks import entrance


@entrance
def advantages(
    rewards: jax.Array,
    values: jax.Array,
    later: jax.Array,
    terminated: jax.Array,
    ended: jax.Array,
    *,
    discount: float,
    decay: float,
) -> jax.Array:
    """Generalized advantage estimation (GAE).

    Aₜ = δₜ + γ λ (1 − endₜ) Aₜ₊₁, δₜ = rₜ + γ (1 − terminatedₜ) V(s′ₜ) − V(sₜ). An
    episode that is cut off by its time limit is bootstrapped from where it ended.

    Args:
        rewards: `[T, ...]`.
        values: `[T, ...]`, V of the observations.
        later: `[T, ...]`, V of the observations that the actions led to, those before
            an environment is reset.
        terminated, ended: bool `[T, ...]`.
        discount: γ, from 0 to 1.
        decay: λ, from 0 (one step) to 1 (the whole return).

    Returns:
        `[T, ...]`.

    Reference: Schulman et al., High-dimensional continuous control using generalized
    advantage estimation, 2016.

    >>> import jax.numpy as jnp, jaxnn as nn
    >>> zero, end = jnp.zeros(3), jnp.array([False, False, True])
    >>> nn.rl.advantages(
    ...     jnp.ones(3), zero, zero, end, end, discount=0.5, decay=1.0).tolist()
    [1.75, 1.5, 1.0]
    """
    probability("advantages", "discount", discount)
    probability("advantages", "decay", decay)
    every = (rewards, values, later, terminated, ended)
    if len({jnp.shape(a) for a in every}) != 1:
        raise ValueError(
            "advantages: all arrays must have one shape [T, ...], got "
            f"{', '.join(map(describe, every))}"
        )
    error = rewards + discount * jnp.where(terminated, 0.0, later) - values

    def back(after, step):
        error, ended = step
        after = error + discount * decay * jnp.where(ended, 0.0, after)
        return after, after

    start = jnp.zeros_like(error[0])
    return jax.lax.scan(back, start, (error, ended), reverse=True)[1]


@entrance
def discounted(
    rewards: jax.Array,
    later: jax.Array,
    terminated: jax.Array,
    ended: jax.Array,
    *,
    discount: float,
) -> tuple[jax.Array, jax.Array]:
    """The rewards of n steps from the first on, and what remains of a value after them.

    G = Σₖ γᵏ rₖ up to the end of the episode or the n-th step, and γᵐ V(s′) of the m-th
    step, its last; nothing remains if it was terminated.

    Args:
        rewards, terminated, ended: `[n, ...]`.
        later: `[n, ...]`, V of the observations that the actions led to.
        discount: γ, from 0 to 1.

    Returns:
        `(rewards, rest)`, each `[...]`; their sum is the n-step target.

    Reference: Sutton and Barto, Reinforcement learning: an introduction, 2018, section
    7.1.

    >>> import jax.numpy as jnp, jaxnn as nn
    >>> no = jnp.zeros(2, bool)
    >>> got = nn.rl.discounted(jnp.ones(2), 8 * jnp.ones(2), no, no, discount=0.5)
    >>> [float(a) for a in got]
    [1.5, 2.0]
    """
    probability("discounted", "discount", discount)

    def back(carry, step):
        total, rest = carry
        reward, value, terminated, ended = step
        here = jnp.where(terminated, 0.0, value)
        total = reward + discount * jnp.where(ended, 0.0, total)
        return (total, discount * jnp.where(ended, here, rest)), None

    zero = jnp.zeros_like(rewards[0])
    last = ended.at[-1].set(True)  # the n-th step is the last in any case
    steps = rewards, later, terminated, last
    return jax.lax.scan(back, (zero, zero), steps, reverse=True)[0]
