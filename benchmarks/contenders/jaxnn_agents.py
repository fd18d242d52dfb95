# SPDX-License-Identifier: Apache-2.0
"""jaxnn: agent and environments are one compiled program."""

import time
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

import jaxnn as nn
from contenders import agents
from contenders.agents import ENVS, Run

TITLE = "one compiled program"
ENV = nn.rl.CartPole()


def mlp(outputs: int) -> nn.Layer:
    """Two hidden layers."""
    hidden = [nn.Dense(agents.HIDDEN), jnp.tanh, nn.Dense(agents.HIDDEN), jnp.tanh]
    return nn.Sequential(*hidden, nn.Dense(outputs))


def make(kind: str, key: jax.Array) -> tuple[Any, Any]:
    """The agent and its first state."""
    adam = optax.adam(agents.LEARNING_RATE)
    options = {"key": key, "discount": agents.DISCOUNT, "envs": ENVS}
    if kind == "ppo":
        return nn.rl.ppo(
            *(ENV, nn.rl.ActorCritic(mlp(agents.ACTIONS), mlp(1)), adam),
            **options,
            horizon=agents.HORIZON,
            epochs=agents.EPOCHS,
            minibatches=agents.MINIBATCHES,
            decay=agents.DECAY,
            clip=agents.CLIP,
            value_weight=agents.VALUE,
            entropy_weight=agents.ENTROPY,
        )
    waits = agents.EXPLORE_STEPS // ENVS
    return nn.rl.dqn(
        *(ENV, mlp(agents.ACTIONS), adam),
        **options,
        capacity=agents.CAPACITY,
        warmup=agents.WARMUP,
        batch_size=agents.BATCH,
        copy_every=agents.COPY_EVERY,
        steps=1,
        exploration=optax.linear_schedule(1.0, agents.LEAST, waits),
    )


def train(kind: str, steps: int, seed: int) -> Run:
    """A run; compiled before the clock starts."""
    each = ENVS * (agents.HORIZON if kind == "ppo" else 1)
    count = steps // each
    agent, state = make(kind, jax.random.key(seed))
    run = program(agent, count).lower(state).compile()
    start = time.perf_counter()
    _, returns = jax.block_until_ready(run(state))
    return Run(time.perf_counter() - start, count * each, last(returns))


def program(agent: Any, count: int) -> Any:
    """So many steps of an agent, which give the returns."""

    @jax.jit
    def run(state):
        return jax.lax.scan(lambda s, _: keep(*agent(s)), state, length=count)

    def keep(state, logs):
        return state, logs["return"]

    return run


def last(returns: jax.Array) -> float:
    """The mean of the last tenth."""
    return float(jnp.nanmean(returns[-max(len(returns) // 10, 1) :]))


def seeds(kind: str, steps: int, count: int) -> float:
    """Seconds of so many runs in one program."""
    each = ENVS * (agents.HORIZON if kind == "ppo" else 1)
    agent, _ = make(kind, jax.random.key(0))
    start = jax.vmap(lambda key: make(kind, key)[1])
    states = jax.jit(start)(jax.random.split(jax.random.key(1), count))
    run = jax.jit(jax.vmap(program(agent, steps // each))).lower(states).compile()
    clock = time.perf_counter()
    jax.block_until_ready(run(states))
    return time.perf_counter() - clock


dqn, ppo = partial(train, "dqn"), partial(train, "ppo")
