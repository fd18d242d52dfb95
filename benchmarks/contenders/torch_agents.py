# SPDX-License-Identifier: Apache-2.0
"""PyTorch with Gymnasium's vector environments, as in single-file references."""

import time

import numpy as np
import torch
from torch import nn

from contenders import agents
from contenders.agents import ENVS, Run
from contenders.gymnasium_worlds import Returns, environments, reached

TITLE = "PyTorch, Gymnasium's SyncVectorEnv"


def mlp(outputs: int) -> nn.Module:
    """Two hidden layers."""
    hidden = [nn.Linear(agents.FEATURES, agents.HIDDEN), nn.Tanh()]
    hidden += [nn.Linear(agents.HIDDEN, agents.HIDDEN), nn.Tanh()]
    return nn.Sequential(*hidden, nn.Linear(agents.HIDDEN, outputs))


def dqn(steps: int, seed: int) -> Run:
    """A deep Q-network."""
    torch.manual_seed(seed)
    draw, envs, returns = np.random.default_rng(seed), environments(), Returns()
    net, target = mlp(agents.ACTIONS), mlp(agents.ACTIONS)
    target.load_state_dict(net.state_dict())
    adam = torch.optim.Adam(net.parameters(), agents.LEARNING_RATE)
    held, size = agents.CAPACITY, agents.FEATURES
    before, after = np.zeros((2, held, size), np.float32)
    taken, rewards = np.zeros(held, np.int64), np.zeros(held, np.float32)
    over = np.zeros(held, np.float32)
    seen, _ = envs.reset(seed=seed)
    start, warm = time.perf_counter(), agents.WARMUP // ENVS
    for count in range(warm + steps // ENVS):
        if count == warm:
            start = time.perf_counter()
        done = ENVS * max(count - warm, 0)
        actions = draw.integers(0, agents.ACTIONS, ENVS)
        if count >= warm:
            with torch.no_grad():
                best = net(torch.from_numpy(seen)).argmax(1).numpy()
            chance = draw.random(ENVS) < agents.exploration(done)
            actions = np.where(chance, actions, best)
        new, reward, terminated, truncated, info = envs.step(actions)
        ended = terminated | truncated
        rows = np.arange(count * ENVS, (count + 1) * ENVS) % held
        before[rows], taken[rows], rewards[rows] = seen, actions, reward
        after[rows], over[rows] = reached(new, ended, info), terminated
        returns.add(done, reward, ended)
        seen = new
        if count < warm:
            continue
        some = draw.integers(0, min((count + 1) * ENVS, held), agents.BATCH)
        with torch.no_grad():
            then = torch.from_numpy(after[some])
            best = net(then).argmax(1, keepdim=True)
            later = target(then).gather(1, best)[:, 0]
            alive = 1 - torch.from_numpy(over[some])
            aim = torch.from_numpy(rewards[some]) + agents.DISCOUNT * alive * later
        q = net(torch.from_numpy(before[some]))
        q = q.gather(1, torch.from_numpy(taken[some])[:, None])[:, 0]
        loss = ((q - aim) ** 2).mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
        if (count - warm + 1) % agents.COPY_EVERY == 0:
            target.load_state_dict(net.state_dict())
    seconds = time.perf_counter() - start
    return Run(seconds, steps // ENVS * ENVS, returns.last(steps))


def ppo(steps: int, seed: int) -> Run:
    """Proximal policy optimization."""
    torch.manual_seed(seed)
    envs, returns, horizon = environments(), Returns(), agents.HORIZON
    actor, critic = mlp(agents.ACTIONS), mlp(1)
    every = [*actor.parameters(), *critic.parameters()]
    adam = torch.optim.Adam(every, agents.LEARNING_RATE)
    seen, _ = envs.reset(seed=seed)
    start, size = time.perf_counter(), horizon * ENVS
    for count in range(steps // size):
        x, after = torch.zeros(2, horizon, ENVS, agents.FEATURES)
        taken = torch.zeros(horizon, ENVS, dtype=torch.long)
        rewards, terminated, ended = torch.zeros(3, horizon, ENVS)
        for t in range(horizon):
            x[t] = torch.from_numpy(seen)
            with torch.no_grad():
                taken[t] = torch.distributions.Categorical(logits=actor(x[t])).sample()
            seen, reward, stop, cut, info = envs.step(taken[t].numpy())
            after[t] = torch.from_numpy(reached(seen, stop | cut, info))
            rewards[t] = torch.from_numpy(reward)
            terminated[t], ended[t] = (
                torch.from_numpy(stop),
                torch.from_numpy(stop | cut),
            )
            returns.add(count * size + t * ENVS, reward, stop | cut)
        with torch.no_grad():
            value, later = critic(x)[..., 0], critic(after)[..., 0]
            old = torch.distributions.Categorical(logits=actor(x)).log_prob(taken)
            error = rewards + agents.DISCOUNT * (1 - terminated) * later - value
            gain, gains = torch.zeros(ENVS), torch.zeros(horizon, ENVS)
            for t in reversed(range(horizon)):
                gain = error[t] + agents.DISCOUNT * agents.DECAY * (1 - ended[t]) * gain
                gains[t] = gain
        flat = (x.reshape(size, -1), taken.ravel(), old.ravel(), gains.ravel())
        update(adam, actor, critic, *flat, (value + gains).ravel())
    seconds = time.perf_counter() - start
    return Run(seconds, steps // size * size, returns.last(steps))


def update(adam, actor, critic, x, taken, old, gains, aims) -> None:
    """Epochs of gradient descent in mini-batches."""
    for _ in range(agents.EPOCHS):
        for rows in torch.randperm(len(x)).chunk(agents.MINIBATCHES):
            gain = gains[rows]
            gain = (gain - gain.mean()) / (gain.std() + 1e-8)
            now = torch.distributions.Categorical(logits=actor(x[rows]))
            ratio = (now.log_prob(taken[rows]) - old[rows]).exp()
            near = ratio.clamp(1 - agents.CLIP, 1 + agents.CLIP)
            policy = -torch.minimum(ratio * gain, near * gain).mean()
            value = 0.5 * ((critic(x[rows])[:, 0] - aims[rows]) ** 2).mean()
            loss = policy + agents.VALUE * value - agents.ENTROPY * now.entropy().mean()
            adam.zero_grad()
            loss.backward()
            adam.step()
