# SPDX-License-Identifier: Apache-2.0
"""Soft actor-critic."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxnn import initializers
from jaxnn.checks import positive_int, probability
from jaxnn.core import Composite, Layer, as_layer, fold_in
from jaxnn.keys import Key
from jaxnn.layers.parameters import Parameter
from jaxnn.messages.phrases import describe
from jaxnn.messages.tracebacks import entrance
from jaxnn.rl import actions
from jaxnn.rl.agent import Agent, added, in_order, mean
from jaxnn.rl.environment import Seen
from jaxnn.rl.replay import Replay
from jaxnn.rl.spaces import Box
from jaxnn.spec import Spec
from jaxnn.train.players import Player, players
from jaxnn.train.state import TrainState
from jaxnn.train.step import Logs

CRITICS = ("first", "second")


class Players(Composite):
    """An actor, two critics and the temperature, as one network.

    Args:
        actor: from observations to means and log standard deviations.
        first, second: from observations beside actions to values.
        temperature: the logarithm of what entropy is worth.
    """

    actor: Layer
    first: Layer
    second: Layer
    temperature: Layer = Parameter((), w_init=initializers.zeros())

    def forward(self, run, x):
        observation, action = x["observation"], x["action"]
        together = jnp.concatenate([observation, action], -1)
        run("temperature", observation)
        values = [run(name, together)[..., 0] for name in CRITICS]
        return run("actor", observation), *values


class SAC(Agent):
    """The agent that `sac` makes; see there."""

    critic: Layer = None  # type: ignore[assignment]
    capacity: int = 100_000
    warmup: int = 1_000
    batch_size: int = 128
    updates: int = 4
    rate: float = 0.005
    takes = (Box,)

    def __post_init__(self):
        super().__post_init__()
        object.__setattr__(self, "critic", as_layer(self.critic, "sac"))
        for name in ("capacity", "warmup", "batch_size", "updates"):
            positive_int("sac", name, getattr(self, name))
        probability("sac", "rate", self.rate)
        if not max(self.batch_size, self.envs) <= self.warmup <= self.capacity:
            raise ValueError(
                "sac: warmup must be at least batch_size and envs, and at most "
                f"capacity, got warmup={self.warmup}, batch_size={self.batch_size}, "
                f"envs={self.envs}, capacity={self.capacity}"
            )

    def check(self):
        space, x = self.env.actions, self.example()
        if not hasattr(x, "shape") or len(x.shape) != 2:
            raise TypeError(
                "sac: env must give observations that are vectors, which the critic "
                f"sees beside the action, got {describe(x):.100}"
            )
        made = self.outputs(self.net, x)
        size = actions.numbers(space)
        self.check_outputs("net", made, size, actions.why(space))
        both = jax.ShapeDtypeStruct((1, x.shape[1] + space.size), x.dtype)
        made = self.outputs(self.critic, both)
        self.check_outputs("critic", made, 1, "the value of an action")

    @property
    def network(self) -> Players:
        """The actor with its critics."""
        return Players(self.net, self.critic, self.critic)

    @property
    def learner(self):
        """The step of all players."""
        space = self.env.actions
        adam = self.optimizer
        return players(
            self.network,
            critic=Player(critic, adam, params=CRITICS),
            actor=Player(Actor(space), adam, params="actor"),
            temperature=Player(Temperature(space), adam, params="temperature"),
        )

    def begin(self, key):
        action = jax.ShapeDtypeStruct((1, self.env.actions.size), jnp.float32)
        x = {"observation": self.example(), "action": action}
        learner = self.learner.start(x, key=key)
        world = self.worlds(fold_in(key, "worlds"))

        def draw(key):
            shape = (self.envs, self.env.actions.size)
            return jax.random.uniform(key, shape, minval=-1.0, maxval=1.0)

        sizes = self.warmup, self.capacity
        world, replay = self.wander(world, key, draw, self.act, *sizes)
        target = {name: learner.params[name] for name in CRITICS}
        own = {"world": world, "replay": replay, "target": target}
        return learner._replace(state=own)

    def act(self, world: Any, action: jax.Array, key: Key) -> tuple[Any, Seen, Any]:
        """Actions in units of the box, which are what is remembered."""
        world, seen, ended = self.move(
            world, actions.scaled(self.env.actions, action), key
        )
        return world, seen._replace(action=action), ended

    def advance(self, state: TrainState, batch: Any) -> tuple[TrainState, Logs]:
        """Act once in each environment, then learn from what is remembered."""
        own = dict(state.state)
        out = self.net.apply(state.params["actor"], {}, own["world"]["observation"])[0]
        action, _ = squashed(self.env.actions, out, self.key_of(state, "act"))
        world, seen, ended = self.act(own["world"], action, self.key_of(state, "move"))
        replay = own["replay"].add(seen)

        def learn(carry, key):
            learner, target = carry
            batch = self.batch(key, learner.params, target, replay)
            learner, stats = self.learner.advance(learner, batch)
            target = {
                name: jax.tree.map(self.nearer, target[name], learner.params[name])
                for name in CRITICS
            }
            return (learner, target), stats

        # (each update is a step of the players, with random numbers of its own)
        learner = state._replace(state={}, step=state.step * self.updates)
        keys = jax.random.split(self.key_of(state, "learn"), self.updates)
        (learner, target), stats = jax.lax.scan(
            learn, (learner, own["target"]), keys, unroll=self.updates == 1
        )
        own = {"world": world, "replay": replay, "target": target}
        heat = mean(jnp.exp(learner.params["temperature"]["w"]))
        state = learner._replace(state=own, step=state.step + 1)
        return state, in_order(ended, added(stats), temperature=heat)

    def nearer(self, old: jax.Array, new: jax.Array) -> jax.Array:
        """The moving average of a parameter."""
        return old + self.rate * (new - old)

    def batch(self, key: Key, params: Any, target: Any, replay: Replay) -> Any:
        """Steps from memory, with the values that they are to have."""
        draw, sample = jax.random.split(key)
        seen = jax.tree.map(lambda a: a[0], replay.sample(sample, self.batch_size))
        out = self.net.apply(params["actor"], {}, seen.after)[0]
        action, log_p = squashed(self.env.actions, out, draw)
        together = jnp.concatenate([seen.after, action], -1)
        values = [self.critic.apply(target[n], {}, together)[0][:, 0] for n in CRITICS]
        soft = jnp.minimum(*values) - jnp.exp(params["temperature"]["w"]) * log_p
        later = self.discount * jnp.where(seen.terminated, 0.0, soft)
        return {
            "observation": seen.observation,
            "action": seen.action,
            "target": seen.reward + later,
        }

    def knows(self, state):
        return state.params["actor"]

    def best(self, known, observation):
        out = self.net.apply(known, {}, observation[None])[0][0]
        return actions.scaled(self.env.actions, jnp.tanh(actions.split(out)[0]))


def squashed(space: Box, out: jax.Array, key: Key) -> tuple[jax.Array, jax.Array]:
    """Actions tanh(u) of a normal u, in units of the box, and their log densities."""
    u = actions.draw(space, out, key)
    log_p = actions.log_probability(space, out, u)
    # log(1 − tanh² u), without rounding it away
    slope = 2 * (jnp.log(2.0) - u - jax.nn.softplus(-2 * u))
    return jnp.tanh(u), log_p - slope.sum(-1)


def critic(run: Any, batch: Any) -> Any:
    """The squared errors of both critics."""
    together = jnp.concatenate([batch["observation"], batch["action"]], -1)
    errors = [run(name, together)[:, 0] - batch["target"] for name in CRITICS]
    return sum(error**2 for error in errors)


class Actor(Spec):
    """α log π(a|s) − min Q(s, a), for an action of the present policy."""

    space: Box

    def __call__(self, run: Any, batch: Any) -> Any:
        x = batch["observation"]
        action, log_p = squashed(self.space, run("actor", x), run.key)
        together = jnp.concatenate([x, action], -1)
        q = jnp.minimum(*(run(name, together)[:, 0] for name in CRITICS))
        heat = jnp.exp(run.params["temperature"]["w"])
        return heat * log_p - q, {"q": q, "entropy": -log_p}


class Temperature(Spec):
    """−log α (log π + wanted): more entropy is worth more while there is too little."""

    space: Box

    def __call__(self, run: Any, batch: Any) -> Any:
        out = run("actor", batch["observation"])
        log_p = squashed(self.space, out, run.key)[1]
        lacking = jax.lax.stop_gradient(log_p - self.space.size)  # wanted: −size
        return -run("temperature", batch["observation"]) * lacking


@entrance
def sac(
    env: Any,
    net: Layer,
    optimizer: optax.GradientTransformation,
    *,
    critic: Layer,
    key: Key,
    discount: float = 0.99,
    envs: int = 4,
    capacity: int = 100_000,
    warmup: int = 1_000,
    batch_size: int = 128,
    updates: int = 4,
    rate: float = 0.005,
) -> tuple[SAC, TrainState]:
    """Soft actor-critic: continuous control, with as much chance as is worth it.

    A step acts once in each environment and then learns, `updates` times, from steps
    drawn from the last `capacity` ones: two critics by (Q − [r + γ (min Q⁻(s′, a′) − α
    log π(a′|s′))])², the actor by α log π(a|s) − min Q(s, a), and the temperature α so
    that the entropy becomes −size, for actions tanh(u) of a normal u. Q⁻ are moving
    averages of the critics. Episodes that end by time are bootstrapped.

    Args:
        env: an environment with actions in a `Box` and observations that are vectors.
        net: the actor, a network from observations to `[N, 2 · size]`, means and log
            standard deviations in units of the box.
        optimizer: an Optax optimizer, for each of them.
        critic: a network from observations beside actions, `[N, features + size]`, to
            `[N, 1]`; two of it are trained.
        key: the run's random key.
        discount: γ, from 0 to 1.
        envs: how many environments it acts in at once.
        capacity: how many steps it remembers, over all environments.
        warmup: how many random steps it remembers at the start, over all environments.
        batch_size: steps for each update.
        updates: how many updates a step makes.
        rate: how far Q⁻ moves towards Q in an update, from 0 to 1.

    Returns:
        `(step, state)`: an agent for `fit(step, None, state=state, steps_per_epoch=n,
        epochs=m)`, and its first `TrainState`, whose parameters are those of `actor`,
        `first`, `second` and `temperature`. `step.policy(state)` is what it has
        learned.

    Raises:
        TypeError, ValueError: an argument is invalid, or a network does not fit.

    Reference: Haarnoja et al., Soft actor-critic algorithms and applications, 2018.

    >>> import jax, jaxnn as nn, optax
    >>> step, state = nn.rl.sac(
    ...     nn.rl.Pendulum(), nn.Dense(2), optax.adam(1e-3), critic=nn.Dense(1),
    ...     key=jax.random.key(0))
    >>> state, history = nn.fit(step, None, state=state, steps_per_epoch=2, epochs=1)
    >>> list(history)[:2]
    ['return', 'critic_loss']
    """
    agent = SAC(
        *(env, net, optimizer, discount, envs),
        *(critic, capacity, warmup, batch_size, updates, rate),
    )
    return agent, agent.start(key)
