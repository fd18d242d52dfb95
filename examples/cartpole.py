# SPDX-License-Identifier: Apache-2.0
"""Balance a pole: DQN and PPO side by side, ten seeds of each at once.

The ten runs of an agent are one compiled program, made by `jax.vmap` over keys and
called fifty times, to see how it goes. What each has learned is measured on 100 fresh
episodes; 475 of 500 counts as solved. A film shows an episode of the first DQN.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.figure import Figure

import jaxnn as nn

SOLVED = 475


def mlp(outputs: int, scale: float = 1.0) -> nn.Layer:
    """Two hidden layers of 64."""
    wide, last = nn.initializers.orthogonal(2**0.5), nn.initializers.orthogonal(scale)
    hidden = [nn.Dense(64, w_init=wide), jnp.tanh, nn.Dense(64, w_init=wide), jnp.tanh]
    return nn.Sequential(*hidden, nn.Dense(outputs, w_init=last))


def dqn(env: nn.rl.Environment, key: jax.Array, steps: int) -> tuple[Any, Any]:
    """A deep Q-network that looks ten steps ahead."""
    return nn.rl.dqn(
        env,
        nn.Sequential(
            nn.Dense(64), jax.nn.relu, nn.Dense(64), jax.nn.relu, nn.Dense(2)
        ),
        optax.adam(optax.linear_schedule(1e-3, 0.0, steps)),
        key=key,
        steps=10,
        batch_size=64,
        capacity=50_000,
        copy_every=100,
        exploration=optax.linear_schedule(1.0, 0.02, steps // 2),
    )


def ppo(env: nn.rl.Environment, key: jax.Array, steps: int) -> tuple[Any, Any]:
    """Proximal policy optimization; it makes 16 updates in a step."""
    rate = optax.linear_schedule(2.5e-3, 0.0, 16 * steps)
    return nn.rl.ppo(
        env,
        nn.rl.ActorCritic(mlp(2, 0.01), mlp(1)),
        optax.chain(optax.clip_by_global_norm(0.5), optax.adam(rate, eps=1e-5)),
        key=key,
    )


def train(make: Any, keys: jax.Array, steps: int) -> tuple[Any, Any, float]:
    """All runs at once: the agent, its states, the returns over time, and seconds."""
    env, points, curves = nn.rl.CartPole(), 50, []
    agent, _ = make(env, keys[0], steps)
    states = jax.jit(jax.vmap(lambda key: make(env, key, steps)[1]))(keys)

    @jax.jit
    @jax.vmap
    def part(state):
        return jax.lax.scan(lambda s, _: agent(s), state, length=steps // points)

    start = time.perf_counter()
    for i in range(points):
        states, logs = part(states)
        curves.append(np.asarray(jnp.nanmean(logs["return"], axis=1)))
        if (i + 1) % 10 == 0:
            print(f"  {i + 1} of {points}: return {jnp.nanmedian(curves[-1]):.0f}")
    return agent, (states, np.stack(curves, 1)), time.perf_counter() - start


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Train both, measure, draw; returns the share of seeds that solve it."""
    args = parse(argv)
    env, found, curves = nn.rl.CartPole(), {}, {}
    keys = jax.random.split(jax.random.key(args.seed), args.seeds)
    for name, make, steps, each in (
        ("DQN", dqn, args.dqn_steps, 8),
        ("PPO", ppo, args.ppo_steps, 8 * 128),
    ):
        agent, (states, curve), seconds = train(make, keys, steps)
        returns = [
            nn.rl.evaluate(env, agent.policy(take(states, i)), jax.random.key(1), 100)
            for i in range(args.seeds)
        ]
        means = np.mean(returns, axis=1)
        x = np.linspace(0, steps * each, curve.shape[1] + 1)[1:]
        curves[name], found[name] = (x, curve), float((means >= SOLVED).mean())
        print(
            f"{name}: {steps * each:,} steps of the environment, {args.seeds} seeds in "
            f"{seconds:.0f} s; mean returns {', '.join(f'{m:.0f}' for m in means)}"
        )
        if name == "DQN":
            film(env, agent.policy(take(states, 0)), args.out / "episode.gif")
    draw(curves, args.out / "returns.png")
    print(f"wrote {args.out / 'returns.png'}\nwrote {args.out / 'episode.gif'}")
    shares = " and ".join(f"{share:.0%} of {name}'s" for name, share in found.items())
    print(f"{shares} runs reach {SOLVED} of 500 on fresh episodes")
    return found


def take(states: Any, i: int) -> Any:
    """One of several states."""
    return jax.tree.map(lambda a: a[i], states)


def film(env: Any, policy: Any, path: Path) -> None:
    """An episode of at most 150 steps as a GIF."""
    states, _ = nn.rl.rollout(env, policy, jax.random.key(2), 150)
    nn.rl.animate(env, states, path, fps=50)


def draw(curves: dict[str, tuple], path: Path) -> None:
    """The returns while training: the median of the seeds, and all but the extremes."""
    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axes = figure.subplots()
    for name, (x, every) in curves.items():
        low, middle, high = jnp.nanquantile(every, jnp.array([0.1, 0.5, 0.9]), axis=0)
        (line,) = axes.plot(x, middle, label=name)
        axes.fill_between(x, low, high, color=line.get_color(), alpha=0.2, lw=0)
    axes.axhline(SOLVED, color="gray", lw=0.8, ls=":")
    axes.set(xlabel="steps of the environment", ylabel="return while training")
    axes.set_title("CartPole: median and 80 % of the seeds")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--small", action="store_true", help="2 seeds, few steps: seconds")
    add("--seeds", type=int, default=10, help="default: %(default)s")
    add("--dqn-steps", type=int, default=20_000, help="default: %(default)s")
    add("--ppo-steps", type=int, default=300, help="default: %(default)s")
    add("--seed", type=int, default=0, help="default: %(default)s")
    add("--out", type=Path, default=Path("out/cartpole"), help="folder for pictures")
    args = parser.parse_args(argv)
    if args.small:
        args.seeds, args.dqn_steps, args.ppo_steps = 2, 500, 50
    return args


if __name__ == "__main__":
    main()
