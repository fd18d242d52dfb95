# SPDX-License-Identifier: Apache-2.0
"""Why exploration is hard: a car too weak for its hill, and a reward it never sees.

Each step costs 1, and nothing else happens until the car has swung to the top, which
random pushes hardly ever do within 200 steps. Three ways, the same number of seeds:

- a plain deep Q-network, whose exploration is random actions;
- the same with a bonus for what it has not yet visited in an episode, which ends up in
  places that chance does not find (Bellemare et al., 2016); the bonus is for training
  only, and the reward that is measured is the task's own;
- PPO, whose policy is random itself and changes little at a time.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.figure import Figure

import jaxnn as nn

CELLS = 20
LOW, HIGH = jnp.array([-1.2, -0.07]), jnp.array([0.6, 0.07])


class Visited(NamedTuple):
    """Where the car is, and the cells of the plane that it has been in."""

    car: jax.Array
    seen: jax.Array  # bool [CELLS, CELLS]


class Curious(nn.rl.Environment):
    """MountainCar with a bonus for each cell that is new in an episode."""

    bonus: float = 1.0
    max_steps: int = 200
    actions = nn.rl.Discrete(3)

    def start(self, key):
        car = nn.rl.MountainCar().start(key)
        return Visited(car, jnp.zeros((CELLS, CELLS), bool))

    def move(self, place, action, key):
        car, reward, top = nn.rl.MountainCar().move(place.car, action, key)
        cell = ((car - LOW) / (HIGH - LOW) * (CELLS - 1)).astype(jnp.int32)
        new = ~place.seen[cell[0], cell[1]]
        seen = place.seen.at[cell[0], cell[1]].set(True)
        return Visited(car, seen), reward + self.bonus * new.astype(jnp.float32), top

    def observe(self, place):
        return scaled(place.car)


class Scaled(nn.rl.MountainCar):
    """MountainCar with observations from -1 to 1."""

    def observe(self, place):
        return scaled(place)


def scaled(car: jax.Array) -> jax.Array:
    """Position and speed, from -1 to 1."""
    return 2 * (car - LOW) / (HIGH - LOW) - 1


def dqn(env: Any, key: jax.Array, steps: int) -> tuple[Any, Any]:
    """A deep Q-network."""
    net = [nn.Dense(64), jax.nn.relu, nn.Dense(64), jax.nn.relu, nn.Dense(3)]
    return nn.rl.dqn(
        env,
        nn.Sequential(*net),
        optax.adam(optax.linear_schedule(1e-3, 0.0, steps)),
        key=key,
        steps=10,
        batch_size=64,
        capacity=100_000,
        copy_every=100,
        exploration=optax.linear_schedule(1.0, 0.02, steps // 2),
    )


def ppo(env: Any, key: jax.Array, steps: int) -> tuple[Any, Any]:
    """Proximal policy optimization; it makes 16 updates in a step."""
    wide = nn.initializers.orthogonal(2**0.5)

    def mlp(outputs, scale):
        hidden = [nn.Dense(64, w_init=wide), jnp.tanh]
        last = nn.Dense(outputs, w_init=nn.initializers.orthogonal(scale))
        return nn.Sequential(*hidden, *hidden, last)

    rate = optax.linear_schedule(2.5e-3, 0.0, 16 * steps)
    return nn.rl.ppo(
        env,
        nn.rl.ActorCritic(mlp(3, 0.01), mlp(1, 1.0)),
        optax.chain(optax.clip_by_global_norm(0.5), optax.adam(rate, eps=1e-5)),
        key=key,
        envs=16,
        horizon=64,
        decay=0.98,
        entropy_weight=0.0,
        normalize=True,
    )


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Train, measure, draw; returns the mean return of each."""
    args = parse(argv)
    task = Scaled()
    ways = {
        "DQN": (dqn, task, args.dqn_steps),
        "DQN with a bonus": (dqn, Curious(), args.dqn_steps),
        "PPO": (ppo, task, args.ppo_steps),
    }
    keys = jax.random.split(jax.random.key(args.seed), args.seeds)
    means, paths = {}, {}
    for name, (make, env, steps) in ways.items():
        agent, _ = make(env, keys[0], steps)

        begin = jax.vmap(lambda key, make=make, env=env, n=steps: make(env, key, n)[1])
        part = jax.vmap(
            lambda state, agent=agent, n=steps // 20: jax.lax.scan(
                lambda s, _: (agent(s)[0], None), state, length=n
            )[0]
        )
        begin, part = jax.jit(begin), jax.jit(part)
        start, states = time.perf_counter(), begin(keys)
        for _ in range(20):
            states = jax.block_until_ready(part(states))
        seconds = time.perf_counter() - start
        policies = [
            agent.policy(jax.tree.map(lambda a, i=i: a[i], states))
            for i in range(args.seeds)
        ]
        returns = [
            float(nn.rl.evaluate(task, policy, jax.random.key(1), 100).mean())
            for policy in policies
        ]
        means[name] = float(np.mean(returns))
        paths[name] = nn.rl.rollout(task, policies[0], jax.random.key(2), 200)[0]
        each = ", ".join(f"{r:.0f}" for r in returns)
        print(f"{name}: {args.seeds} seeds in {seconds:.0f} s; mean returns {each}")
    draw(paths, args.out / "paths.png")
    best = max(means, key=lambda name: means[name])
    nn.rl.animate(task, paths[best], args.out / "episode.gif", fps=50)
    print(f"wrote {args.out / 'paths.png'}\nwrote {args.out / 'episode.gif'}")
    print("; ".join(f"{name} {mean:.0f}" for name, mean in means.items()))
    return means


def draw(paths: dict[str, Any], path: Path) -> None:
    """Position and speed of the first seed's car, over 200 steps."""
    figure = Figure(figsize=(9, 3.3), layout="constrained")
    axes = figure.subplots(1, len(paths), sharey=True)
    for axis, (name, states) in zip(axes, paths.items(), strict=True):
        x, speed = np.asarray(states.place).T
        breaks = np.flatnonzero(np.asarray(states.time) == 0)
        x = np.insert(x.astype(float), breaks, np.nan)
        axis.plot(x, np.insert(speed.astype(float), breaks, np.nan), lw=1)
        axis.axvline(0.5, color="#009E73", lw=2)
        axis.set(title=name, xlabel="position", xlim=(-1.2, 0.6))
    axes[0].set_ylabel("speed")
    figure.suptitle("Where the car goes; the green line is the top of the hill")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--small", action="store_true", help="2 seeds, few steps: seconds")
    add("--seeds", type=int, default=5, help="default: %(default)s")
    add("--dqn-steps", type=int, default=20_000, help="default: %(default)s")
    add("--ppo-steps", type=int, default=400, help="default: %(default)s")
    add("--seed", type=int, default=0, help="default: %(default)s")
    add("--out", type=Path, default=Path("out/mountain_car"), help="for pictures")
    args = parser.parse_args(argv)
    if args.small:
        args.seeds, args.dqn_steps, args.ppo_steps = 2, 100, 20
    return args


if __name__ == "__main__":
    main()
