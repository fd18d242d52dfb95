# SPDX-License-Identifier: Apache-2.0
"""Environments: frozen specs with two pure functions, `reset` and `step`."""

from dataclasses import KW_ONLY
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from jaxnn.checks import arguments, positive_int
from jaxnn.core import fold_in
from jaxnn.keys import Key, check_key
from jaxnn.messages.phrases import shown
from jaxnn.messages.tracebacks import entrance
from jaxnn.rl.spaces import Space
from jaxnn.spec import Spec


class EnvState(NamedTuple):
    """Where an episode is."""

    place: Any  # what the environment keeps: positions, speeds, ...
    time: jax.Array  # int32 [], steps taken in this episode


class Outcome(NamedTuple):
    """What a step of an environment gives."""

    state: Any
    observation: Any
    reward: jax.Array  # float32 []
    terminated: jax.Array  # bool [], the task ended: no reward can follow
    truncated: jax.Array  # bool [], time is up: rewards would have followed


class Environment(Spec):
    """A world to act in; subclass it to write your own.

    An environment is two pure functions, `reset(key) -> (state, observation)` and
    `step(state, action, key) -> (state, observation, reward, terminated, truncated)`,
    and `actions`, its `Discrete` or `Box`. This class counts the time and checks the
    actions; a subclass has `start(key) -> place`, `move(place, action, key) -> (place,
    reward, terminated)` and `observe(place) -> observation`.

    Whoever steps through episodes resets them; see `advance` and `rollout`.

    Args:
        max_steps: an episode of this many steps is truncated.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> class Walk(nn.rl.Environment):
    ...     max_steps: int = 20
    ...     actions = nn.rl.Discrete(2)
    ...     def start(self, key):
    ...         return jnp.zeros(())
    ...     def move(self, place, action, key):
    ...         place = place + 2.0 * action - 1
    ...         return place, place, abs(place) > 5
    ...     def observe(self, place):
    ...         return place[None]
    >>> state, observation = Walk().reset(jax.random.key(0))
    >>> state, observation, reward, *over = Walk().step(state, 1, jax.random.key(1))
    >>> observation.tolist(), float(reward)
    ([1.0], 1.0)
    """

    _: KW_ONLY
    max_steps: int = 200
    #: What an action may be. (Not a field: a subclass sets it, or has a property.)
    actions: ClassVar[Space]

    def __post_init__(self):
        positive_int(type(self).__name__, "max_steps", self.max_steps)

    @entrance
    def reset(self, key: Key) -> tuple[EnvState, Any]:
        """The beginning of an episode: `(state, observation)`."""
        check_key(key, f"{type(self).__name__}.reset")
        place = self.start(key)
        return EnvState(place, jnp.zeros((), jnp.int32)), self.observe(place)

    @entrance
    def step(self, state: EnvState, action: Any, key: Key) -> Outcome:
        """The state, observation and reward after an action, and whether it is over."""
        owner = f"{type(self).__name__}.step"
        if not isinstance(state, EnvState):
            raise TypeError(
                f"{owner}: state must be the first of what reset and step return, "
                f"got {shown(state)}"
            )
        action = self.actions.check(owner, action)
        place, reward, terminated = self.move(state.place, action, key)
        after = EnvState(place, state.time + 1)
        return Outcome(
            after,
            self.observe(place),
            jnp.asarray(reward, jnp.float32),
            jnp.asarray(terminated, bool),
            after.time >= self.max_steps,
        )

    def start(self, key: Key) -> Any:
        """Where an episode begins."""
        raise NotImplementedError(f"{type(self).__name__} must have start(key)")

    def move(self, place: Any, action: jax.Array, key: Key) -> tuple[Any, Any, Any]:
        """The place, the reward and whether the episode has ended, after an action."""
        raise NotImplementedError(
            f"{type(self).__name__} must have move(place, action, key)"
        )

    def observe(self, place: Any) -> Any:
        """What is seen from a place."""
        raise NotImplementedError(f"{type(self).__name__} must have observe(place)")


def check_environment(owner: str, env: Any) -> None:
    """Raise unless this has the two functions and the actions of an environment."""
    missing = [n for n in ("reset", "step", "actions") if not hasattr(env, n)]
    if isinstance(env, type) or missing:
        hint = f"; write {env.__name__}()" if isinstance(env, type) else ""
        raise TypeError(
            f"{owner}: env must be an environment with reset(key), step(state, action, "
            f"key) and actions, such as nn.rl.CartPole(), got {shown(env)}{hint}"
        )
    if not isinstance(env.actions, Space):
        raise TypeError(
            f"{owner}: env.actions must be a nn.rl.Discrete or a nn.rl.Box, got "
            f"{shown(env.actions)}"
        )
    if len(arguments(env.step)) != 3:
        raise TypeError(
            f"{owner}: env.step must take (state, action, key), got a function of "
            f"({', '.join(arguments(env.step))})"
        )


class Seen(NamedTuple):
    """One step of an episode, as it is learned from."""

    observation: Any
    action: jax.Array
    reward: jax.Array
    after: Any  # the observation that the action led to, also where the episode ended
    terminated: jax.Array  # no reward can follow
    ended: jax.Array  # terminated or truncated: the next step is of another episode


def advance(
    env: Environment, state: Any, observation: Any, action: Any, key: Key
) -> tuple[Any, Any, Seen]:
    """One step of an environment in which an episode that ends begins anew.

    Args:
        env: an environment.
        state, observation: what its `reset`, or the step before, gave.
        action: the action.
        key: a random key.

    Returns:
        `(state, observation, seen)`: where to go on from, and what happened, a `Seen`.

    >>> import jax, jaxnn as nn
    >>> env, key = nn.rl.CartPole(), jax.random.key(0)
    >>> state, observation = env.reset(key)
    >>> state, observation, seen = nn.rl.advance(env, state, observation, 1, key)
    >>> float(seen.reward), bool(seen.ended)
    (1.0, False)
    """
    after, reached, reward, terminated, truncated = env.step(
        state, action, fold_in(key, "move")
    )
    ended = terminated | truncated
    fresh, first = env.reset(fold_in(key, "reset"))

    def choose(a: jax.Array, b: jax.Array) -> jax.Array:
        return jnp.where(ended, a, b)

    seen = Seen(observation, action, reward, reached, terminated, ended)
    state, observation = jax.tree.map(choose, (fresh, first), (after, reached))
    return state, observation, seen
