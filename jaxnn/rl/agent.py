# SPDX-License-Identifier: Apache-2.0
"""What agents share: steps that act in several environments at once, and learn."""

from collections import OrderedDict
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.tree_util import Partial

from jaxnn.checks import is_traced, positive_int, probability
from jaxnn.core import Layer, as_layer, fold_in
from jaxnn.keys import Key, check_key
from jaxnn.messages.phrases import describe
from jaxnn.messages.tracebacks import entrance
from jaxnn.rl.environment import Seen, advance, check_environment
from jaxnn.rl.replay import Replay
from jaxnn.rl.spaces import Box, Discrete
from jaxnn.spec import Spec
from jaxnn.train.checks import check_optimizer
from jaxnn.train.custom_step import CustomStep
from jaxnn.train.replay import Finding
from jaxnn.train.state import TrainState, check_state
from jaxnn.train.step import Logs

World = dict[str, Any]


class Agent(CustomStep):
    """A pure `step(state) -> (state, logs)` that acts in environments and learns.

    It is what `nn.rl.dqn` and its like return, for `fit(step, None, state=state,
    steps_per_epoch=..., epochs=...)`, `lax.scan` and `jax.vmap`. Its state is a
    `TrainState` whose `state` holds the environments and what the agent remembers. The
    log `return` is the mean return of the episodes that ended, NaN if none did.

    Args:
        env: the environment.
        net: the network.
        optimizer: an Optax optimizer.
        discount: γ, what a reward a step later is worth, from 0 to 1.
        envs: how many environments it acts in at once.
    """

    env: Any
    net: Layer
    optimizer: optax.GradientTransformation
    discount: float = 0.99
    envs: int = 8

    #: The kind of actions that the agent takes. (Not a field.)
    takes = (Discrete, Box)

    def __post_init__(self):
        name = self.name
        check_environment(name, self.env)
        if not isinstance(self.env.actions, self.takes):
            kinds = " or ".join(f"nn.rl.{kind.__name__}" for kind in self.takes)
            raise TypeError(
                f"{name}: env must have actions of {kinds}, got {self.env} with "
                f"{self.env.actions}"
            )
        object.__setattr__(self, "net", as_layer(self.net, name))
        check_optimizer(name, self.optimizer)
        probability(name, "discount", self.discount)
        positive_int(name, "envs", self.envs)

    @property
    def name(self) -> str:
        """The function that made it, for messages."""
        return type(self).__name__.lower()

    @entrance
    def start(self, key: Key) -> TrainState:
        """The first state of a run."""
        check_key(key, self.name)
        self.check()
        return started(self, key)

    @entrance
    def __call__(self, state: TrainState, batch: Any = None) -> tuple[TrainState, Logs]:
        check_state(self.name, state)
        state, stats = self.advance(state, batch)
        return state, means(stats)

    def policy(self, state: TrainState) -> Partial:
        """What the agent has learned, `policy(observation, key) -> action`.

        It takes the best action, without exploring.
        """
        check_state(self.name, state)
        return Partial(_Best(self), self.knows(state))

    def find(self, state: TrainState) -> Finding:
        """Where the step after a finite state stops being finite."""
        after, stats = self.advance(state, None)
        seen = jax.tree.leaves(after.state["world"])
        wrong = [a for a in seen if not _finite(a)]
        if wrong:
            bad = ~np.isfinite(np.asarray(wrong[0])).reshape(self.envs, -1).all(1)
            which = ", ".join(map(str, np.flatnonzero(bad)[:8]))
            seed = jax.random.key_data(state.key).tolist()
            what = (
                f"{self.env}, environment {which} of {self.envs}, step "
                f"{int(state.step)} of the agent with the key {seed}"
            )
            return Finding(None, what, [], "Look at the environment's step.")
        names = [n for n, s in stats.items() if not _finite(s["total"])]
        return Finding(None, f"the logs {', '.join(names) or 'of the agent'}", [])

    # What an agent of its own has.

    def check(self) -> None:
        """Raise unless the network fits the environment."""

    def begin(self, key: Key) -> TrainState:
        """The first state, traced."""
        raise NotImplementedError

    def knows(self, state: TrainState) -> Any:
        """What the policy needs of the state: parameters, mostly."""
        return state.params

    def best(self, known: Any, observation: Any) -> Any:
        """The best action for one observation."""
        raise NotImplementedError

    # What it can call.

    def example(self) -> Any:
        """The shape of a batch of one observation."""
        _, observation = jax.eval_shape(self.env.reset, jax.random.key(0))
        return jax.tree.map(
            lambda a: jax.ShapeDtypeStruct((1, *a.shape), a.dtype), observation
        )

    def outputs(self, net: Layer, x: Any) -> Any:
        """The shape of a network's outputs; raise if it has a state."""
        return stateless_outputs(self.name, net, x)

    def check_outputs(self, what: str, made: Any, size: int, why: str) -> None:
        """Raise unless a network gives so many numbers for an observation."""
        if getattr(made, "shape", None) != (1, size):
            raise ValueError(
                f"{self.name}: {what} must give [N, {size}], {why}, got "
                f"{describe(made):.100}"
            )

    def worlds(self, key: Key) -> World:
        """All environments at the beginning of an episode."""
        state, seen = jax.vmap(self.env.reset)(jax.random.split(key, self.envs))
        return {"env": state, "observation": seen, "return": jnp.zeros(self.envs)}

    def wander(
        self, world: World, key: Key, draw: Any, act: Any, warmup: int, capacity: int
    ) -> tuple[World, Replay]:
        """Random steps, and a memory that holds them.

        Args:
            world: all environments.
            key: a random key.
            draw: `draw(key) -> actions` of all environments.
            act: `act(world, actions, key) -> (world, seen, ended)`, such as `move`.
            warmup: how many steps, over all environments.
            capacity: how many the memory has room for.
        """

        def step(carry, key):
            world, replay = carry
            world, seen, _ = act(world, draw(fold_in(key, "act")), key)
            return (world, replay.add(seen)), None

        shapes = jax.eval_shape(act, world, draw(key), key)[1]
        replay = Replay.empty(shapes, -(-capacity // self.envs))
        keys = jax.random.split(fold_in(key, "warmup"), -(-warmup // self.envs))
        return jax.lax.scan(step, (world, replay), keys)[0]

    def move(self, world: World, actions: Any, key: Key) -> tuple[World, Seen, Any]:
        """One step of all environments; also the returns of episodes that ended."""
        keys = jax.random.split(key, self.envs)
        go = jax.vmap(partial(advance, self.env))
        env, observation, seen = go(world["env"], world["observation"], actions, keys)
        total, ended = world["return"] + seen.reward, seen.ended
        done = {
            "total": jnp.where(ended, total, 0.0).sum(),
            "weight": ended.sum().astype(jnp.float32),
        }
        rest = jnp.where(ended, 0.0, total)
        return {"env": env, "observation": observation, "return": rest}, seen, done

    def key_of(self, state: TrainState, name: str) -> Key:
        """A random key for a purpose in the state's step."""
        return jax.random.fold_in(fold_in(state.key, name), state.step)


class _Best(Spec):
    """An agent's best action, as a function of what it knows."""

    agent: Agent

    def __call__(self, known: Any, observation: Any, key: Key) -> Any:
        return self.agent.best(known, observation)


@partial(jax.jit, static_argnums=0)
def started(agent: Any, key: Key) -> TrainState:
    """The first state of an agent, compiled once for equal agents."""
    return agent.begin(key)


def stateless_outputs(owner: str, net: Layer, x: Any) -> Any:
    """The shape of a network's outputs; raise if it has a state."""
    params, state = jax.eval_shape(net.init, jax.random.key(0), x)
    if jax.tree.leaves(state):
        raise ValueError(
            f"{owner}: net must have no state, as BatchNorm has; LayerNorm normalizes "
            "without one"
        )
    return jax.eval_shape(lambda p: net.apply(p, {}, x)[0], params)


def means(stats: Any) -> Logs:
    """Statistics as numbers; NaN for the mean of nothing."""
    return {n: s["total"] / s["weight"] for n, s in stats.items()}


def mean(value: Any) -> dict[str, jax.Array]:
    """A number as a statistic that adds up over steps."""
    return {"total": jnp.asarray(value, jnp.float32), "weight": jnp.ones(())}


def added(stats: Any) -> Any:
    """Statistics with a leading axis of steps, summed over it."""
    return jax.tree.map(lambda a: a.sum(0), stats)


def in_order(ended: Any, stats: Any, **more: Any) -> Logs:
    """What a step logs: the return, the loss, the rest. (jit sorts a plain dict.)"""
    first = {"return": ended} | {n: stats[n] for n in ("loss",) if n in stats}
    return OrderedDict(first | {n: s for n, s in stats.items() if n != "loss"} | more)


def fraction(owner: str, name: str, value: Any) -> None:
    """Raise unless this is a schedule, or a number from 0 to 1."""
    if not callable(value) and not is_traced(value):
        probability(owner, name, value)


def _finite(a: Any) -> bool:
    return not jnp.issubdtype(a.dtype, jnp.floating) or bool(jnp.isfinite(a).all())
