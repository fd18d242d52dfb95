# SPDX-License-Identifier: Apache-2.0
"""Deep Q-networks."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxnn.checks import positive_int, switches
from jaxnn.core import Layer, fold_in
from jaxnn.keys import Key
from jaxnn.messages.tracebacks import entrance
from jaxnn.rl.agent import Agent, added, fraction, in_order, mean
from jaxnn.rl.replay import Replay
from jaxnn.rl.returns import discounted
from jaxnn.rl.spaces import Discrete
from jaxnn.train.start import train_state
from jaxnn.train.state import TrainState
from jaxnn.train.step import Logs, train_step

#: The share of random actions over the agent's steps.
EXPLORATION = optax.linear_schedule(1.0, 0.05, 10_000)


class DQN(Agent):
    """The agent that `dqn` makes; see there."""

    capacity: int = 10_000
    warmup: int = 1_000
    batch_size: int = 128
    updates: int = 1
    copy_every: int = 50
    double: bool = True
    steps: int = 3
    exploration: Any = EXPLORATION
    takes = (Discrete,)

    def __post_init__(self):
        super().__post_init__()
        for name in ("capacity", "warmup", "batch_size", "updates", "copy_every"):
            positive_int("dqn", name, getattr(self, name))
        positive_int("dqn", "steps", self.steps)
        switches("dqn", double=self.double)
        fraction("dqn", "exploration", self.exploration)
        first = max(self.batch_size, self.envs * self.steps)
        if not first <= self.warmup <= self.capacity:
            raise ValueError(
                "dqn: warmup must be at least batch_size and envs * steps, and at most "
                f"capacity, got warmup={self.warmup}, batch_size={self.batch_size}, "
                f"envs * steps = {self.envs * self.steps}, capacity={self.capacity}"
            )

    def check(self):
        made, actions = self.outputs(self.net, self.example()), self.env.actions.n
        self.check_outputs("net", made, actions, "the value of each action")

    def begin(self, key):
        learner = train_state(self.net, self.optimizer, self.example(), key=key)
        world = self.worlds(fold_in(key, "worlds"))
        sample = jax.vmap(self.env.actions.sample)

        def draw(key):
            return sample(jax.random.split(key, self.envs))

        sizes = self.warmup, self.capacity
        world, replay = self.wander(world, key, draw, self.move, *sizes)
        own = {"world": world, "replay": replay, "target": learner.params}
        return learner._replace(state=own)

    def advance(self, state: TrainState, batch: Any) -> tuple[TrainState, Logs]:
        """Act once in each environment, then learn from what is remembered."""
        own, epsilon = dict(state.state), self.epsilon(state.step)
        actions = self.explore(state, own["world"]["observation"], epsilon)
        world, seen, ended = self.move(
            own["world"], actions, self.key_of(state, "move")
        )
        replay = own["replay"].add(seen)
        learner = state._replace(state={})

        def learn(learner, key):
            batch = self.batch(key, learner.params, own["target"], replay)
            return self.learner.advance(learner, batch)

        keys = jax.random.split(self.key_of(state, "learn"), self.updates)
        learner, stats = jax.lax.scan(learn, learner, keys, unroll=self.updates == 1)
        step = state.step + 1
        copied = step % self.copy_every == 0
        target = jax.tree.map(
            lambda old, new: jnp.where(copied, new, old), own["target"], learner.params
        )
        own = {"world": world, "replay": replay, "target": target}
        state = learner._replace(state=own, step=step)
        return state, in_order(ended, added(stats), exploration=mean(epsilon))

    def epsilon(self, step: jax.Array) -> jax.Array:
        """The share of random actions."""
        given = self.exploration
        return jnp.asarray(given(step) if callable(given) else given, jnp.float32)

    def explore(self, state: TrainState, observation: Any, epsilon: Any) -> jax.Array:
        """The best action, or with probability ε a random one."""
        q = self.net.apply(state.params, {}, observation)[0]
        chance, choice = jax.random.split(self.key_of(state, "act"))
        anything = jax.random.randint(choice, (self.envs,), 0, self.env.actions.n)
        random = jax.random.uniform(chance, (self.envs,)) < epsilon
        return jnp.where(random, anything, q.argmax(1).astype(jnp.int32))

    def batch(self, key: Key, params: Any, target: Any, replay: Replay) -> Any:
        """Steps from memory, with the values that they are to have."""
        seen = replay.sample(key, self.batch_size, self.steps)
        last = seen.ended.at[-1].set(True).argmax(0)  # the last step of each episode

        def ends(a: jax.Array) -> jax.Array:
            at = last.reshape(1, -1, *(1,) * (a.ndim - 2))
            return jnp.take_along_axis(a, at, 0)[0]

        after = jax.tree.map(ends, seen.after)
        later = self.net.apply(target, {}, after)[0]
        judge = self.net.apply(params, {}, after)[0] if self.double else later
        best = jnp.take_along_axis(later, judge.argmax(1)[:, None], 1)[:, 0]
        rewards, rest = discounted(
            seen.reward,
            jnp.broadcast_to(best, seen.reward.shape),
            seen.terminated,
            seen.ended,
            discount=self.discount,
        )
        first = jax.tree.map(lambda a: a[0], (seen.observation, seen.action))
        return {"x": first[0], "action": first[1], "target": rewards + rest}

    @property
    def learner(self):
        """The step of gradient descent that it takes."""
        return train_step(self.net, objective=q_error, optimizer=self.optimizer)

    def best(self, known, observation):
        x = jax.tree.map(lambda a: a[None], observation)
        return self.net.apply(known, {}, x)[0][0].argmax().astype(jnp.int32)


def q_error(run: Any, batch: Any) -> Any:
    """The squared error of the value of the action that was taken."""
    q = jnp.take_along_axis(run(batch["x"]), batch["action"][:, None], 1)[:, 0]
    return (q - batch["target"]) ** 2, {"q": q}


@entrance
def dqn(
    env: Any,
    net: Layer,
    optimizer: optax.GradientTransformation,
    *,
    key: Key,
    discount: float = 0.99,
    envs: int = 8,
    capacity: int = 10_000,
    warmup: int = 1_000,
    batch_size: int = 128,
    updates: int = 1,
    copy_every: int = 50,
    double: bool = True,
    steps: int = 3,
    exploration: Any = EXPLORATION,
) -> tuple[DQN, TrainState]:
    """A deep Q-network: learn the value of each action, and take the best.

    A step acts once in each environment and then descends, `updates` times, the error

        (Q(s, a) − [r + … + γⁿ Q⁻(s′, argmax Q(s′, ·))])²

    on steps drawn from the last `capacity` ones. Q⁻ is a copy of the network, made
    every `copy_every` steps (Mnih et al., 2015); that Q chooses the action that Q⁻
    values is the double estimate (van Hasselt et al., 2016). Episodes that end by time
    are bootstrapped. For a dueling network see `nn.rl.Dueling`.

    Args:
        env: an environment with `Discrete` actions.
        net: a network from observations to the value of each action, `[N, actions]`.
        optimizer: an Optax optimizer.
        key: the run's random key.
        discount: γ, from 0 to 1.
        envs: how many environments it acts in at once.
        capacity: how many steps it remembers, over all environments.
        warmup: how many random steps it remembers at the start, over all environments.
        batch_size: steps for each update.
        updates: how many updates a step makes.
        copy_every: after how many steps the network is copied to Q⁻.
        double: whether Q chooses the action that Q⁻ values; False: Q⁻ does.
        steps: n, how many rewards are counted before Q⁻ (Sutton and Barto, 2018,
            section 7.1).
        exploration: ε, the share of random actions: from 0 to 1, or a schedule of it
            over the agent's steps.

    Returns:
        `(step, state)`: an agent for `fit(step, None, state=state, steps_per_epoch=n,
        epochs=m)`, which logs `return`, `loss`, `q` and `exploration`, and its first
        `TrainState`. `step.policy(state)` is what it has learned.

    Raises:
        TypeError, ValueError: an argument is invalid, or the network does not fit.

    Reference: Mnih et al., Human-level control through deep reinforcement learning,
    2015; van Hasselt, Guez and Silver, Deep reinforcement learning with double
    Q-learning, 2016.

    >>> import jax, jaxnn as nn, optax
    >>> env = nn.rl.CartPole()
    >>> net = nn.Sequential(nn.Dense(16), jax.nn.relu, nn.Dense(2))
    >>> step, state = nn.rl.dqn(env, net, optax.adam(1e-3), key=jax.random.key(0))
    >>> state, history = nn.fit(step, None, state=state, steps_per_epoch=20, epochs=2)
    >>> list(history)
    ['return', 'loss', 'q', 'exploration']
    """
    agent = DQN(
        *(env, net, optimizer, discount, envs),
        *(capacity, warmup, batch_size, updates, copy_every, double, steps),
        exploration,
    )
    return agent, agent.start(key)
