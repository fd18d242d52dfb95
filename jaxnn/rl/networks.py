# SPDX-License-Identifier: Apache-2.0
"""Networks of agents: an actor beside a critic, and heads for them."""

import jax.numpy as jnp

from jaxnn import initializers
from jaxnn.core import Composite, Layer
from jaxnn.layers import Dense, Identity
from jaxnn.layers.parameters import Parameter
from jaxnn.messages.phrases import describe
from jaxnn.rl import actions
from jaxnn.rl.agent import Agent


class ActorCritic(Composite):
    """A policy and a value of one observation, for `ppo`, `reinforce`, `alphazero`.

    Args:
        policy: a network to `[N, actions]`, logits of `Discrete` actions, or `[N, 2 ·
            size]` for a `Box`, means and log standard deviations: see `Gaussian`.
        value: a network to `[N, 1]`.
        body: what both share, a network that comes before them.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> net = nn.rl.ActorCritic(nn.Dense(2), nn.Dense(1))
    >>> params, state = net.init(jax.random.key(0), jnp.ones((5, 4)))
    >>> out, _ = net.apply(params, state, jnp.ones((5, 4)))
    >>> out["policy"].shape, out["value"].shape
    ((5, 2), (5,))
    """

    policy: Layer
    value: Layer
    body: Layer = Identity()

    def forward(self, run, x):
        x = run("body", x)
        return {"policy": run("policy", x), "value": run("value", x)[..., 0]}


class Gaussian(Composite):
    """Means from the features, and log standard deviations that are the same for all.

    The output is `[N, 2 · size]`.

    Args:
        size: how many numbers an action has.
        log_std: where the logarithms of the standard deviations begin, in units of half
            the width of the action's `Box`.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> head = nn.rl.Gaussian(2)
    >>> params, state = head.init(jax.random.key(0), jnp.ones((5, 4)))
    >>> head.apply(params, state, jnp.ones((5, 4)))[0].shape
    (5, 4)
    """

    size: int
    log_std: float = 0.0

    def children(self):
        start = initializers.constant(self.log_std)
        small = initializers.orthogonal(0.01)
        return {
            "mean": Dense(self.size, w_init=small),
            "log_std": Parameter((self.size,), w_init=start),
        }

    def forward(self, run, x):
        mean = run("mean", x)
        return jnp.concatenate([mean, jnp.broadcast_to(run("log_std"), mean.shape)], -1)


class Dueling(Composite):
    """Action values as a value and advantages: `Q = V + A − mean A`.

    Args:
        actions: the number of actions.

    Reference: Wang et al., Dueling network architectures for deep reinforcement
    learning, 2016.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> net = nn.Sequential(nn.Dense(16), jax.nn.relu, nn.rl.Dueling(3))
    >>> params, state = net.init(jax.random.key(0), jnp.ones((5, 4)))
    >>> net.apply(params, state, jnp.ones((5, 4)))[0].shape
    (5, 3)
    """

    actions: int

    def children(self) -> dict[str, Layer]:
        return {"value": Dense(1), "advantage": Dense(self.actions)}

    def forward(self, run, x):
        advantage = run("advantage", x)
        return run("value", x) + advantage - advantage.mean(-1, keepdims=True)


def check_actor_critic(agent: Agent) -> None:
    """Raise unless an agent's network gives a policy and a value."""
    made, space = agent.outputs(agent.net, agent.example()), agent.env.actions
    if not isinstance(made, dict) or set(made) != {"policy", "value"}:
        raise TypeError(
            f'{agent.name}: net must give {{"policy", "value"}}, as an '
            f"nn.rl.ActorCritic does, got {describe(made):.100}"
        )
    size = actions.numbers(space)
    agent.check_outputs('net\'s "policy"', made["policy"], size, actions.why(space))
    if made["value"].shape != (1,):
        raise ValueError(
            f'{agent.name}: net\'s "value" must be one number for each observation, '
            f"[N], got {describe(made['value'])}"
        )
