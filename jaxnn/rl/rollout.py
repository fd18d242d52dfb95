# SPDX-License-Identifier: Apache-2.0
"""Episodes of a policy in an environment."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from jaxnn.checks import arguments, positive_int
from jaxnn.core import fold_in
from jaxnn.keys import Key, check_key
from jaxnn.messages.phrases import describe, shown
from jaxnn.messages.tracebacks import entrance
from jaxnn.rl.environment import Seen, advance, check_environment

#: `policy(observation, key) -> action`, or `policy(observation)`.
Policy = Callable[..., Any]


@entrance
def evaluate(
    env: Any, policy: Policy, key: Key, episodes: int = 100, *, max_steps: int = 100_000
) -> jax.Array:
    """The return of each of several fresh episodes, the sum of its rewards.

    All episodes run side by side in one compiled program.

    Args:
        env: an environment.
        policy: `policy(observation, key) -> action`, or `policy(observation)`, such as
            an agent's `step.policy(state)`.
        key: a random key.
        episodes: how many, 1 or more.
        max_steps: an episode that does not end is cut off after this many steps.

    Returns:
        float32 `[episodes]`.

    >>> import jax, jaxnn as nn
    >>> def follow(observation):
    ...     return (observation[2] + observation[3] > 0).astype("int32")
    >>> nn.rl.evaluate(nn.rl.CartPole(), follow, jax.random.key(0), 3).shape
    (3,)
    """
    check_environment("evaluate", env)
    policy = as_policy("evaluate", policy)
    check_key(key, "evaluate")
    positive_int("evaluate", "episodes", episodes)
    positive_int("evaluate", "max_steps", max_steps)
    _check_action("evaluate", env, policy, key)
    return _returns(policy, key, env=env, episodes=episodes, max_steps=max_steps)


@partial(jax.jit, static_argnames=("env", "episodes", "max_steps"))
def _returns(policy, key, *, env, episodes, max_steps):
    def episode(key):
        state, observation = env.reset(fold_in(key, "start"))
        begun = state, observation, jnp.float32(0), jnp.bool_(False), jnp.int32(0)

        def going(carry):
            *_, over, steps = carry
            return ~over & (steps < max_steps)

        def act(carry):
            state, observation, total, _, steps = carry
            own = jax.random.fold_in(key, steps)
            action = policy(observation, fold_in(own, "act"))
            state, observation, reward, *over = env.step(state, action, own)
            return state, observation, total + reward, over[0] | over[1], steps + 1

        return jax.lax.while_loop(going, act, begun)[2]

    return jax.vmap(episode)(jax.random.split(key, episodes))


@entrance
def rollout(env: Any, policy: Policy, key: Key, steps: int) -> tuple[Any, Seen]:
    """Steps of a policy, in which an episode that ends begins anew.

    Args:
        env: an environment.
        policy: as for `evaluate`.
        key: a random key.
        steps: how many, 1 or more.

    Returns:
        `(states, seen)`, each with a leading axis `[steps]`: the environment's state
        before each step, and a `Seen` with `observation`, `action`, `reward`, `after`
        (the observation that it led to, also at the end of an episode), `terminated`
        and `ended`.

    >>> import jax, jaxnn as nn
    >>> env = nn.rl.CartPole()
    >>> states, seen = nn.rl.rollout(env, lambda o: 1, jax.random.key(0), 50)
    >>> seen.observation.shape, bool(seen.ended.any())
    ((50, 4), True)
    """
    check_environment("rollout", env)
    policy = as_policy("rollout", policy)
    check_key(key, "rollout")
    positive_int("rollout", "steps", steps)
    _check_action("rollout", env, policy, key)
    return _rolled_out(policy, key, env=env, steps=steps)


@partial(jax.jit, static_argnames=("env", "steps"))
def _rolled_out(policy, key, *, env, steps):
    def act(carry, step):
        state, observation = carry
        own = jax.random.fold_in(key, step)
        action = policy(observation, fold_in(own, "act"))
        *carry, seen = advance(env, state, observation, action, own)
        return tuple(carry), (state, seen)

    return jax.lax.scan(act, env.reset(fold_in(key, "start")), jnp.arange(steps))[1]


def as_policy(owner: str, policy: Any) -> Partial:
    """A policy as a tree: arrays that an agent's policy has do not compile it again."""
    if not callable(policy):
        raise TypeError(
            f"{owner}: policy must be a function policy(observation, key), or an "
            f"agent's step.policy(state), got {shown(policy)}"
        )
    if isinstance(policy, Partial):
        return policy
    return Partial(policy if len(arguments(policy)) > 1 else _Keyless(policy))


class _Keyless:
    """A policy without chance; equal for the same function, to compile once."""

    def __init__(self, policy: Policy):
        self.policy = policy

    def __call__(self, observation: Any, key: Key) -> Any:
        return self.policy(observation)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Keyless) and self.policy == other.policy

    def __hash__(self) -> int:
        return hash(self.policy)


def _check_action(owner: str, env: Any, policy: Policy, key: Key) -> None:
    """Raise unless the policy's actions are of the kind that the environment takes."""
    _, observation = jax.eval_shape(env.reset, key)
    made = jax.eval_shape(policy, observation, key)
    wanted = jax.eval_shape(env.actions.sample, key)
    same_kind = hasattr(made, "dtype") and (
        jnp.issubdtype(made.dtype, jnp.integer)
        or not jnp.issubdtype(wanted.dtype, jnp.integer)
    )
    if not same_kind or made.shape != wanted.shape:
        raise TypeError(
            f"{owner}: policy must give an action of {env.actions}, {describe(wanted)},"
            f" for one observation {describe(observation)}, got {describe(made)}"
        )
