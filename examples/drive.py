# SPDX-License-Identifier: Apache-2.0
"""Self-driving: a convolutional network steers a car by a small picture of the road.

First it copies a driver who knows where the road is (behavior cloning). Its mistakes
lead it to where that driver never was, and it does not know what to do there. So then
it drives itself, the driver says at each step what he would have done, and it learns
from that too (DAgger: Ross, Gordon and Bagnell, 2011). Both are measured on 20 tracks
that neither has seen: how many they complete without leaving the road.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.figure import Figure

import jaxnn as nn

ENV = nn.rl.Track()


def network() -> nn.Layer:
    """From pictures to steering and throttle."""
    he = nn.initializers.he_normal()
    return nn.Sequential(
        *(nn.Conv(12, 5, stride=2, w_init=he), jax.nn.relu),
        *(nn.Conv(24, 3, stride=2, w_init=he), jax.nn.relu),
        *(nn.Conv(24, 3, stride=2, w_init=he), jax.nn.relu),
        *(nn.Flatten(), nn.Dense(64, w_init=he), jax.nn.relu),
        *(nn.Dense(2), jnp.tanh),
    )


NET = network()


def drive(params: Any, key: jax.Array, steps: int, noise: float) -> tuple:
    """Drive, and ask the expert at each step; without a network, the expert drives.

    Returns:
        The pictures `[steps, 32, 32, 1]` and what the expert would have done `[steps,
        2]`.
    """
    start, first = ENV.reset(key)

    def act(carry, step):
        state, picture = carry
        own = jax.random.fold_in(key, step)
        expert = ENV.expert(state)
        action = expert if params is None else steer(params, picture)
        action += noise * jax.random.normal(own, (2,))
        carry = nn.rl.advance(ENV, state, picture, jnp.clip(action, -1, 1), own)[:2]
        return carry, (picture, expert)

    return jax.lax.scan(act, (start, first), jnp.arange(steps))[1]


def steer(params: Any, picture: jax.Array) -> jax.Array:
    """What the network does."""
    return NET.apply(params, {}, picture[None])[0][0]


def collect(params: Any, key: jax.Array, cars: int, steps: int) -> tuple:
    """What several cars see, and what the expert would have done."""
    keys = jax.random.split(key, cars)
    noise = 0.0 if params is None else 0.05
    seen = jax.jit(jax.vmap(lambda key: drive(params, key, steps, noise)))(keys)
    return jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), seen)


def learn(data: tuple, args: argparse.Namespace, state: Any = None) -> Any:
    """Train the network to do what the expert would have done."""
    steps = args.epochs * -(-len(data[0]) // 128)
    optimizer = optax.adam(optax.cosine_decay_schedule(1e-3, steps))
    key, params = jax.random.key(args.seed), None if state is None else state.params
    start = nn.train_state(NET, optimizer, data[0][:1], key=key, params=params)
    state, history = nn.fit(
        NET,
        data,
        loss=nn.losses.mean_squared_error,
        optimizer=optimizer,
        epochs=args.epochs,
        batch_size=128,
        state=start,
        progress=False,
    )
    print(f"  {len(data[0]):,} pictures, error {history['loss'][-1]:.4f}")
    return state


def completed(params: Any, key: jax.Array, tracks: int) -> tuple[np.ndarray, Any]:
    """Which tracks are completed, and the states on the way, `[tracks, steps]`."""

    def lap(key):
        def act(carry, _):
            state, picture, over = carry
            step = ENV.step(state, steer(params, picture), key)
            after = step.state, step.observation
            before = state, picture
            state, picture = jax.tree.map(
                lambda a, b: jnp.where(over, a, b), before, after
            )
            return (state, picture, over | step.terminated), state

        begin = (*ENV.reset(key), jnp.bool_(False))
        (state, *_), states = jax.lax.scan(act, begin, length=ENV.max_steps)
        on_road = ENV.distance(state.place) < 2.5
        return ENV.finished(state.place) & on_road, states

    done, states = jax.jit(jax.vmap(lap))(jax.random.split(key, tracks))
    return np.asarray(done), states


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Clone, correct, measure, draw; returns the tracks completed by each."""
    args = parse(argv)
    key, unseen = jax.random.key(args.seed), jax.random.key(args.seed + 1000)
    print("behavior cloning")
    data = collect(None, key, args.cars, args.steps)
    state = learn(data, args)
    found = {"cloning": int(completed(state.params, unseen, args.tracks)[0].sum())}
    print(f"  {found['cloning']} of {args.tracks} unseen tracks")
    for i in range(args.rounds):
        print(f"corrected, round {i + 1}")
        own = jax.random.fold_in(key, i + 1)
        more = collect(state.params, own, args.cars, args.steps)
        data = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), data, more)
        state = learn(data, args, state)
    done, states = completed(state.params, unseen, args.tracks)
    found["corrected"] = int(done.sum())
    draw_roads(states, done, args.out / "roads.png")
    draw_saliency(state, data[0], args.out / "saliency.png")
    lap = jax.tree.map(lambda a: a[0, ::4], states)
    nn.rl.animate(ENV, lap, args.out / "lap.gif", fps=10)
    for path in sorted(args.out.glob("*.*")):
        print(f"wrote {path}")
    print(
        f"of {args.tracks} unseen tracks {found['cloning']} completed by cloning, "
        f"{found['corrected']} with its own mistakes corrected"
    )
    return found


def draw_roads(states: Any, done: np.ndarray, path: Path) -> None:
    """Some roads with the way that the car took."""
    figure = Figure(figsize=(9, 4), layout="constrained")
    for i, axis in enumerate(figure.subplots(2, 5).flat):
        if i < len(done):
            own = jax.tree.map(lambda a, i=i: a[i], states)
            last = jax.tree.map(lambda a: a[-1], own)
            nn.rl.draw(ENV, last, axis)
            axis.plot(*np.asarray(own.place.position).T, color="#0072B2", lw=1)
            axis.set_title("completed" if done[i] else "off the road", fontsize=9)
    figure.suptitle("Unseen tracks, and the car's way")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def draw_saliency(state: Any, pictures: jax.Array, path: Path) -> None:
    """Pictures, and how much each pixel moves the steering."""
    some = pictures[:: len(pictures) // 6][:6]

    def steering(picture):
        return steer(state.params, picture)[0]

    slopes = abs(jax.vmap(jax.grad(steering))(some))[..., 0]
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    axes = figure.subplots(2, 6)
    for i in range(6):
        axes[0, i].imshow(some[i, ..., 0], cmap="gray", vmin=0, vmax=1)
        axes[1, i].imshow(slopes[i], cmap="magma")
        for axis in axes[:, i]:
            axis.set(xticks=[], yticks=[])
    axes[0, 0].set_ylabel("what it sees")
    axes[1, 0].set_ylabel("what steers")
    figure.suptitle("What it sees, and how much each pixel moves the steering")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--small", action="store_true", help="2 cars, few steps: seconds")
    add("--cars", type=int, default=6, help="in each round; default: %(default)s")
    add("--steps", type=int, default=400, help="of each car; default: %(default)s")
    add("--rounds", type=int, default=4, help="of corrections; default: %(default)s")
    add("--epochs", type=int, default=10, help="in each round; default: %(default)s")
    add("--tracks", type=int, default=20, help="to measure; default: %(default)s")
    add("--seed", type=int, default=0, help="default: %(default)s")
    add("--out", type=Path, default=Path("out/drive"), help="folder for pictures")
    args = parser.parse_args(argv)
    if args.small:
        args.cars, args.steps, args.rounds = 2, 100, 1
        args.epochs, args.tracks = 2, 2
    return args


if __name__ == "__main__":
    main()
