# SPDX-License-Identifier: Apache-2.0
"""Proximal policy optimization."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxnn.checks import not_negative, positive, positive_int, probability, switches
from jaxnn.core import Layer, fold_in
from jaxnn.keys import Key
from jaxnn.messages.tracebacks import entrance
from jaxnn.ops.shuffle import permutation
from jaxnn.rl import actions
from jaxnn.rl.agent import Agent, added, in_order
from jaxnn.rl.environment import Seen
from jaxnn.rl.networks import check_actor_critic
from jaxnn.rl.normalization import Statistics
from jaxnn.rl.returns import advantages
from jaxnn.rl.spaces import Space
from jaxnn.spec import Spec
from jaxnn.train.start import train_state
from jaxnn.train.state import TrainState
from jaxnn.train.step import Logs, train_step


class PPO(Agent):
    """The agent that `ppo` makes; see there."""

    horizon: int = 128
    epochs: int = 4
    minibatches: int = 4
    decay: float = 0.95
    clip: float = 0.2
    value_weight: float = 0.5
    entropy_weight: float = 0.01
    normalize: bool = False

    def __post_init__(self):
        super().__post_init__()
        for name in ("horizon", "epochs", "minibatches"):
            positive_int("ppo", name, getattr(self, name))
        probability("ppo", "decay", self.decay)
        positive("ppo", "clip", self.clip)
        not_negative("ppo", "value_weight", self.value_weight)
        not_negative("ppo", "entropy_weight", self.entropy_weight)
        switches("ppo", normalize=self.normalize)
        if self.horizon * self.envs % self.minibatches:
            raise ValueError(
                "ppo: minibatches must divide horizon * envs, the steps it learns "
                f"from, got {self.minibatches} and {self.horizon} * {self.envs}"
            )

    def check(self):
        check_actor_critic(self)

    def begin(self, key):
        learner = train_state(self.net, self.optimizer, self.example(), key=key)
        own: dict[str, Any] = {"world": self.worlds(fold_in(key, "worlds"))}
        if self.normalize:
            first = jax.tree.map(lambda a: a[0], own["world"]["observation"])
            own["statistics"] = jax.tree.map(Statistics.empty, first)
        return learner._replace(state=own)

    def advance(self, state: TrainState, batch: Any) -> tuple[TrainState, Logs]:
        """Act for `horizon` steps, then learn from them for `epochs` epochs."""
        own = dict(state.state)
        x = self.viewer(own)
        world, seen, ended = self.collect(state, own["world"], x)
        batch = self.worth(state.params, seen, x)
        learner, stats = self.learn(state, batch)
        own["world"] = world
        if self.normalize:
            own["statistics"] = jax.tree.map(
                lambda s, a: s.add(a),
                *(own["statistics"], seen.observation),
                is_leaf=lambda s: isinstance(s, Statistics),
            )
        state = learner._replace(state=own, step=state.step + 1)
        return state, in_order(ended, stats)

    def viewer(self, own: Any) -> Any:
        """The function from observations to the network's inputs."""
        if not self.normalize:
            return lambda observation: observation
        return lambda observation: jax.tree.map(
            lambda s, a: s.normalized(a),
            *(own["statistics"], observation),
            is_leaf=lambda s: isinstance(s, Statistics),
        )

    def collect(self, state: TrainState, world: Any, x: Any) -> tuple[Any, Seen, Any]:
        """Steps of the present policy, `[horizon, envs, ...]`."""
        space = self.env.actions

        def act(world, key):
            out = self.net.apply(state.params, {}, x(world["observation"]))[0]
            drawn = actions.draw(space, out["policy"], fold_in(key, "act"))
            moved = self.move(world, actions.in_space(space, drawn), key)
            world, seen, ended = moved
            return world, (seen._replace(action=drawn), ended)

        keys = jax.random.split(self.key_of(state, "move"), self.horizon)
        world, (seen, ended) = jax.lax.scan(act, world, keys)
        return world, seen, added(ended)

    def worth(self, params: Any, seen: Seen, x: Any) -> Any:
        """What to learn from: actions with advantages, `[horizon · envs, ...]`."""
        size = self.horizon * self.envs

        def flat(a: jax.Array) -> jax.Array:
            return a.reshape(size, *a.shape[2:])

        observation, after = jax.tree.map(flat, (seen.observation, seen.after))
        observation, action = x(observation), flat(seen.action)
        now = self.net.apply(params, {}, observation)[0]
        # The values of all that was reached, also where an episode was cut off.
        later = self.net.apply(params, {}, x(after))[0]["value"]
        gained = advantages(
            seen.reward,
            now["value"].reshape(seen.reward.shape),
            later.reshape(seen.reward.shape),
            seen.terminated,
            seen.ended,
            discount=self.discount,
            decay=self.decay,
        ).ravel()
        return {
            "x": observation,
            "action": action,
            "advantage": gained,
            "value": now["value"] + gained,
            "log_p": actions.log_probability(self.env.actions, now["policy"], action),
        }

    def learn(self, state: TrainState, batch: Any) -> tuple[TrainState, Logs]:
        """Epochs of gradient descent in mini-batches."""
        size, count = self.horizon * self.envs, self.epochs * self.minibatches

        def update(learner, rows):
            part = jax.tree.map(lambda a: a[rows], batch)
            gain = part["advantage"]  # normalized in each mini-batch
            part["advantage"] = (gain - gain.mean()) / (gain.std() + 1e-8)
            return self.learner.advance(learner, part)

        keys = jax.random.split(self.key_of(state, "order"), self.epochs)
        orders = jax.vmap(lambda key: permutation(key, size))(keys)
        learner = state._replace(state={}, step=state.step * count)
        learner, stats = jax.lax.scan(update, learner, orders.reshape(count, -1))
        return learner, added(stats)

    @property
    def learner(self):
        """The step of gradient descent that it takes."""
        weights = (self.clip, self.value_weight, self.entropy_weight)
        aim = Clipped(self.env.actions, *weights)
        return train_step(self.net, objective=aim, optimizer=self.optimizer)

    def knows(self, state):
        known = {"params": state.params}
        if self.normalize:
            known["statistics"] = state.state["statistics"]
        return known

    def best(self, known, observation):
        x = jax.tree.map(lambda a: a[None], self.viewer(known)(observation))
        out = self.net.apply(known["params"], {}, x)[0]["policy"][0]
        space = self.env.actions
        return actions.in_space(space, actions.likeliest(space, out))


class Clipped(Spec):
    """The clipped objective of the policy, the value's error and the entropy.

    Args:
        space: the environment's actions.
        clip: ε.
        value_weight, entropy_weight: what the two others count.
    """

    space: Space
    clip: float
    value_weight: float
    entropy_weight: float

    def __call__(self, run: Any, batch: Any) -> Any:
        out = run(batch["x"])
        log_p = actions.log_probability(self.space, out["policy"], batch["action"])
        change = log_p - batch["log_p"]
        ratio, gain = jnp.exp(change), batch["advantage"]
        within = jnp.clip(ratio, 1 - self.clip, 1 + self.clip)
        policy = -jnp.minimum(ratio * gain, within * gain)
        value = 0.5 * (out["value"] - batch["value"]) ** 2
        spread = actions.entropy(self.space, out["policy"])
        total = policy + self.value_weight * value - self.entropy_weight * spread
        divergence = ratio - 1 - change  # an estimate without bias (Schulman, 2020)
        logs = {"policy_loss": policy, "value_loss": value, "entropy": spread}
        return total, logs | {"kl": divergence}


@entrance
def ppo(
    env: Any,
    net: Layer,
    optimizer: optax.GradientTransformation,
    *,
    key: Key,
    discount: float = 0.99,
    envs: int = 8,
    horizon: int = 128,
    epochs: int = 4,
    minibatches: int = 4,
    decay: float = 0.95,
    clip: float = 0.2,
    value_weight: float = 0.5,
    entropy_weight: float = 0.01,
    normalize: bool = False,
) -> tuple[PPO, TrainState]:
    """Proximal policy optimization: improve a policy by small, clipped steps.

    A step acts for `horizon` steps in each environment and then descends, for `epochs`
    epochs in mini-batches,

        −min(ρ A, clip(ρ, 1 − ε, 1 + ε) A) + c_v ½ (V − Â)² − c_e H(π),  ρ = π / π_old

    with advantages A by GAE, normalized in each mini-batch, and targets  = A + V_old.
    Episodes that end by time are bootstrapped from where they ended. Two details that
    matter are the optimizer's: a clipped gradient, and Adam with ε = 1e-5 (Huang et
    al., 2022), as in `optax.chain(optax.clip_by_global_norm(0.5), optax.adam(2.5e-4,
    eps=1e-5))`; initialize the last layer of the policy small
    (`nn.initializers.orthogonal(0.01)`).

    Args:
        env: an environment.
        net: a network from observations to `{"policy", "value"}`, such as an
            `nn.rl.ActorCritic`.
        optimizer: an Optax optimizer.
        key: the run's random key.
        discount: γ, from 0 to 1.
        envs: how many environments it acts in at once.
        horizon: how many steps it acts in each before it learns.
        epochs: how often it learns from each step.
        minibatches: into how many parts the steps are divided; they divide `horizon ×
            envs`.
        decay: λ of GAE, from 0 to 1.
        clip: ε, how far a probability may move by one step, as a ratio.
        value_weight, entropy_weight: c_v and c_e, 0 or more.
        normalize: whether observations are normalized by the mean and the variance of
            all that were seen, which are part of the state.

    Returns:
        `(step, state)`: an agent for `fit(step, None, state=state, steps_per_epoch=n,
        epochs=m)`, which logs `return`, `loss`, `policy_loss`, `value_loss`, `entropy`
        and `kl`, and its first `TrainState`. `step.policy(state)` is what it has
        learned.

    Raises:
        TypeError, ValueError: an argument is invalid, or the network does not fit.

    Reference: Schulman et al., Proximal policy optimization algorithms, 2017; Huang et
    al., The 37 implementation details of proximal policy optimization, 2022.

    >>> import jax, jaxnn as nn, optax
    >>> net = nn.rl.ActorCritic(nn.Dense(2), nn.Dense(1))
    >>> step, state = nn.rl.ppo(
    ...     nn.rl.CartPole(), net, optax.adam(1e-3), key=jax.random.key(0), horizon=16)
    >>> state, history = nn.fit(step, None, state=state, steps_per_epoch=2, epochs=2)
    >>> list(history)[:3]
    ['return', 'loss', 'entropy']
    """
    agent = PPO(
        *(env, net, optimizer, discount, envs),
        *(horizon, epochs, minibatches, decay),
        *(clip, value_weight, entropy_weight, normalize),
    )
    return agent, agent.start(key)
