# SPDX-License-Identifier: Apache-2.0
"""JAX and Optax with Gymnasium in a Python loop: only the networks are compiled."""

import time
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax

from contenders import agents
from contenders.agents import ENVS, Run
from contenders.gymnasium_worlds import Returns, environments, reached

TITLE = "jitted functions, Gymnasium's SyncVectorEnv"
ADAM = optax.adam(agents.LEARNING_RATE)


def init(key: jax.Array, outputs: int) -> list:
    """Two hidden layers."""
    sizes = (agents.FEATURES, agents.HIDDEN, agents.HIDDEN, outputs)
    keys = jax.random.split(key, 3)
    return [
        (jax.random.normal(k, (a, b)) / a**0.5, jnp.zeros(b))
        for k, a, b in zip(keys, sizes, sizes[1:], strict=False)
    ]


def mlp(params: list, x: jax.Array) -> jax.Array:
    """The network."""
    for w, b in params[:-1]:
        x = jnp.tanh(x @ w + b)
    w, b = params[-1]
    return x @ w + b


@jax.jit
def greedy(params, x):
    return mlp(params, x).argmax(1)


@jax.jit
def learn_q(params, target, opt_state, x, taken, reward, after, over):
    best = mlp(params, after).argmax(1)[:, None]
    later = jnp.take_along_axis(mlp(target, after), best, 1)[:, 0]
    aim = reward + agents.DISCOUNT * (1 - over) * later

    def loss(params):
        q = jnp.take_along_axis(mlp(params, x), taken[:, None], 1)[:, 0]
        return ((q - aim) ** 2).mean()

    updates, opt_state = ADAM.update(jax.grad(loss)(params), opt_state, params)
    return optax.apply_updates(params, updates), opt_state


def dqn(steps: int, seed: int) -> Run:
    """A deep Q-network."""
    draw, envs, returns = np.random.default_rng(seed), environments(), Returns()
    params = target = init(jax.random.key(seed), agents.ACTIONS)
    opt_state, held = ADAM.init(params), agents.CAPACITY
    before, after = np.zeros((2, held, agents.FEATURES), np.float32)
    taken, rewards = np.zeros(held, np.int32), np.zeros(held, np.float32)
    over = np.zeros(held, np.float32)
    seen, _ = envs.reset(seed=seed)
    start, warm = time.perf_counter(), agents.WARMUP // ENVS
    for count in range(warm + steps // ENVS):
        if count == warm + 2:  # after compiling
            start = time.perf_counter()
        done = ENVS * max(count - warm, 0)
        actions = draw.integers(0, agents.ACTIONS, ENVS)
        if count >= warm:
            chance = draw.random(ENVS) < agents.exploration(done)
            actions = np.where(chance, actions, greedy(params, seen))
        new, reward, terminated, truncated, info = envs.step(actions)
        ended = terminated | truncated
        rows = np.arange(count * ENVS, (count + 1) * ENVS) % held
        before[rows], taken[rows], rewards[rows] = seen, actions, reward
        after[rows], over[rows] = reached(new, ended, info), terminated
        returns.add(done, reward, ended)
        seen = new
        if count >= warm:
            some = draw.integers(0, min((count + 1) * ENVS, held), agents.BATCH)
            given = (a[some] for a in (before, taken, rewards, after, over))
            params, opt_state = learn_q(params, target, opt_state, *given)
            if (count - warm + 1) % agents.COPY_EVERY == 0:
                target = params
    jax.block_until_ready(params)
    return Run(time.perf_counter() - start, steps // ENVS * ENVS, returns.last(steps))


@jax.jit
def sample(params, x, key):
    return jax.random.categorical(key, mlp(params[0], x))


def log_probability(actor, x, taken):
    log_p = jax.nn.log_softmax(mlp(actor, x))
    return jnp.take_along_axis(log_p, taken[..., None], -1)[..., 0], log_p


@jax.jit
def learn(params, opt_state, key, x, taken, rewards, after, terminated, ended):
    value, later = mlp(params[1], x)[..., 0], mlp(params[1], after)[..., 0]
    error = rewards + agents.DISCOUNT * (1 - terminated) * later - value

    def back(gain, row):
        error, ended = row
        gain = error + agents.DISCOUNT * agents.DECAY * (1 - ended) * gain
        return gain, gain

    gains = jax.lax.scan(back, jnp.zeros(ENVS), (error, ended), reverse=True)[1]
    old, _ = log_probability(params[0], x, taken)
    size = rewards.size
    rows = (x.reshape(size, -1), taken.ravel(), old.ravel(), gains.ravel())
    rows = (*rows, (gains + value).ravel())

    def loss(params, x, taken, old, gain, aim):
        gain = (gain - gain.mean()) / (gain.std() + 1e-8)
        now, log_p = log_probability(params[0], x, taken)
        ratio = jnp.exp(now - old)
        near = jnp.clip(ratio, 1 - agents.CLIP, 1 + agents.CLIP)
        policy = -jnp.minimum(ratio * gain, near * gain)
        value = 0.5 * (mlp(params[1], x)[:, 0] - aim) ** 2
        entropy = -(jnp.exp(log_p) * log_p).sum(-1)
        return (policy + agents.VALUE * value - agents.ENTROPY * entropy).mean()

    def update(carry, some):
        params, opt_state = carry
        part = (a[some] for a in rows)
        slope = jax.grad(loss)(params, *part)
        updates, opt_state = ADAM.update(slope, opt_state, params)
        return (optax.apply_updates(params, updates), opt_state), None

    keys = jax.random.split(key, agents.EPOCHS)
    orders = jax.vmap(partial(jax.random.permutation, x=size))(keys)
    orders = orders.reshape(agents.EPOCHS * agents.MINIBATCHES, -1)
    return jax.lax.scan(update, (params, opt_state), orders)[0]


def ppo(steps: int, seed: int) -> Run:
    """Proximal policy optimization."""
    envs, returns, horizon = environments(), Returns(), agents.HORIZON
    key, actor, critic = jax.random.split(jax.random.key(seed), 3)
    params = init(actor, agents.ACTIONS), init(critic, 1)
    opt_state, size = ADAM.init(params), horizon * ENVS
    seen, _ = envs.reset(seed=seed)
    start = time.perf_counter()
    for count in range(steps // size):
        if count == 1:  # after compiling
            start = time.perf_counter()
        x, after = np.zeros((2, horizon, ENVS, agents.FEATURES), np.float32)
        taken = np.zeros((horizon, ENVS), np.int32)
        rewards, terminated, ended = np.zeros((3, horizon, ENVS), np.float32)
        for t in range(horizon):
            own = jax.random.fold_in(jax.random.fold_in(key, 0), count * horizon + t)
            x[t], taken[t] = seen, sample(params, seen, own)
            seen, reward, stop, cut, info = envs.step(taken[t])
            after[t] = reached(seen, stop | cut, info)
            rewards[t], terminated[t], ended[t] = reward, stop, stop | cut
            returns.add(count * size + t * ENVS, reward, stop | cut)
        given = (x, taken, rewards, after, terminated, ended)
        own = jax.random.fold_in(jax.random.fold_in(key, 1), count)
        params, opt_state = learn(params, opt_state, own, *given)
    jax.block_until_ready(params)
    whole = steps // size
    seconds = (time.perf_counter() - start) * whole / max(whole - 1, 1)
    return Run(seconds, whole * size, returns.last(steps))
