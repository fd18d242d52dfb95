# SPDX-License-Identifier: Apache-2.0
"""REINFORCE, with a baseline."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxnn.checks import not_negative, positive_int
from jaxnn.core import Layer, fold_in
from jaxnn.keys import Key
from jaxnn.messages.tracebacks import entrance
from jaxnn.rl import actions
from jaxnn.rl.agent import Agent, in_order
from jaxnn.rl.networks import check_actor_critic
from jaxnn.rl.returns import advantages
from jaxnn.rl.spaces import Space
from jaxnn.spec import Spec
from jaxnn.train.objective import Weighted
from jaxnn.train.start import train_state
from jaxnn.train.state import TrainState
from jaxnn.train.step import Logs, train_step


class Reinforce(Agent):
    """The agent that `reinforce` makes; see there."""

    horizon: int = 200
    value_weight: float = 0.5
    entropy_weight: float = 0.0

    def __post_init__(self):
        super().__post_init__()
        positive_int("reinforce", "horizon", self.horizon)
        not_negative("reinforce", "value_weight", self.value_weight)
        not_negative("reinforce", "entropy_weight", self.entropy_weight)

    def check(self):
        check_actor_critic(self)

    def begin(self, key):
        learner = train_state(self.net, self.optimizer, self.example(), key=key)
        return learner._replace(state={"world": self.worlds(fold_in(key, "worlds"))})

    def advance(self, state: TrainState, batch: Any) -> tuple[TrainState, Logs]:
        """Act out an episode in each environment, then learn from them."""
        world = self.worlds(self.key_of(state, "worlds"))
        space = self.env.actions

        def act(carry, key):
            world, over = carry
            out = self.net.apply(state.params, {}, world["observation"])[0]
            drawn = actions.draw(space, out["policy"], fold_in(key, "act"))
            world, seen, _ = self.move(world, actions.in_space(space, drawn), key)
            own = seen._replace(action=drawn)
            return (world, over | seen.ended), (own, over, out["value"])

        over = jnp.zeros(self.envs, bool)
        keys = jax.random.split(self.key_of(state, "move"), self.horizon)
        (world, over), (seen, past, values) = jax.lax.scan(act, (world, over), keys)
        gained = advantages(
            *(seen.reward, jnp.zeros_like(values), jnp.zeros_like(values)),
            *(seen.terminated, seen.ended),
            discount=self.discount,
            decay=1.0,
        )
        rows = {"x": seen.observation, "action": seen.action}
        rows |= {"return": gained, "value": values}
        size = self.horizon * self.envs
        rows = jax.tree.map(lambda a: a.reshape(size, *a.shape[2:]), rows)
        counts = (~past).astype(jnp.float32).reshape(size)
        learner, stats = self.learner.advance(
            state._replace(state={}), Weighted(rows, counts)
        )
        total = jnp.where(past, 0.0, seen.reward).sum()
        ended = {"total": total, "weight": jnp.float32(self.envs)}
        return learner._replace(state={"world": world}), in_order(ended, stats)

    @property
    def learner(self):
        """The step of gradient descent that it takes."""
        aim = Likelihood(self.env.actions, self.value_weight, self.entropy_weight)
        return train_step(self.net, objective=aim, optimizer=self.optimizer)

    def best(self, known, observation):
        x = jax.tree.map(lambda a: a[None], observation)
        out, space = self.net.apply(known, {}, x)[0]["policy"][0], self.env.actions
        return actions.in_space(space, actions.likeliest(space, out))


class Likelihood(Spec):
    """The log likelihood of actions, weighted by what they gained over the baseline.

    Args:
        space: the environment's actions.
        value_weight, entropy_weight: what the two others count.
    """

    space: Space
    value_weight: float
    entropy_weight: float

    def __call__(self, run: Any, batch: Any) -> Any:
        out = run(batch["x"])
        log_p = actions.log_probability(self.space, out["policy"], batch["action"])
        policy = -log_p * (batch["return"] - batch["value"])
        value = 0.5 * (out["value"] - batch["return"]) ** 2
        spread = actions.entropy(self.space, out["policy"])
        total = policy + self.value_weight * value - self.entropy_weight * spread
        return total, {"policy_loss": policy, "value_loss": value, "entropy": spread}


@entrance
def reinforce(
    env: Any,
    net: Layer,
    optimizer: optax.GradientTransformation,
    *,
    key: Key,
    discount: float = 0.99,
    envs: int = 8,
    horizon: int = 200,
    value_weight: float = 0.5,
    entropy_weight: float = 0.0,
) -> tuple[Reinforce, TrainState]:
    """REINFORCE with a baseline: what led to more than expected becomes more likely.

    A step acts out one episode in each environment, of at most `horizon` steps, and
    descends once −log π(a|s) (G − V(s)) + c_v ½ (V(s) − G)² − c_e H(π), where G is the
    discounted sum of the rewards that followed.

    Args:
        env: an environment.
        net: a network from observations to `{"policy", "value"}`, such as an
            `nn.rl.ActorCritic`; its value is the baseline.
        optimizer: an Optax optimizer.
        key: the run's random key.
        discount: γ, from 0 to 1.
        envs: how many episodes a step learns from.
        horizon: how many steps of an episode count; rewards after them are lost.
        value_weight, entropy_weight: c_v and c_e, 0 or more.

    Returns:
        `(step, state)`: an agent for `fit(step, None, state=state, steps_per_epoch=n,
        epochs=m)`, which logs `return`, `loss`, `policy_loss`, `value_loss` and
        `entropy`, and its first `TrainState`. `step.policy(state)` is what it has
        learned.

    Raises:
        TypeError, ValueError: an argument is invalid, or the network does not fit.

    Reference: Williams, Simple statistical gradient-following algorithms for
    connectionist reinforcement learning, 1992.

    >>> import jax, jaxnn as nn, optax
    >>> net = nn.rl.ActorCritic(nn.Dense(2), nn.Dense(1))
    >>> step, state = nn.rl.reinforce(
    ...     nn.rl.CartPole(), net, optax.adam(1e-3), key=jax.random.key(0))
    >>> state, history = nn.fit(step, None, state=state, steps_per_epoch=2, epochs=2)
    >>> list(history)[:2]
    ['return', 'loss']
    """
    weights = (value_weight, entropy_weight)
    agent = Reinforce(env, net, optimizer, discount, envs, horizon, *weights)
    return agent, agent.start(key)
