# SPDX-License-Identifier: Apache-2.0
"""AlphaZero learns Connect Four, for as many minutes as you like.

It is told the rules and no more, and plays against itself. Meanwhile its strength is
measured: the share of points (a draw is half a point) against a player at random, and
against plain Monte-Carlo tree search, which judges positions by random games, 200 for
each move. The network that 16 minutes of training gave is kept beside this file:

    python examples/connect_four.py --play

lets you play against it, by the numbers of the columns.
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

KEPT = Path(__file__).parent / "weights" / "connect_four.safetensors"


def network(game: nn.rl.Game, width: int, depth: int) -> nn.Layer:
    """A residual network with two heads."""
    he, small = nn.initializers.he_normal(), nn.initializers.orthogonal(0.01)

    def conv():
        return nn.Sequential(nn.Conv(width, 3, w_init=he), jax.nn.relu)

    # (no normalization: it blows up the gradients of the empty parts of a board)
    body = [conv(), *(nn.Residual(conv()) for _ in range(depth))]
    return nn.rl.ActorCritic(
        policy=nn.Dense(game.actions, w_init=small),
        value=nn.Sequential(nn.Dense(1, w_init=small), jnp.tanh),
        body=nn.Sequential(*body, nn.Flatten(), nn.Dense(128, w_init=he), jax.nn.relu),
    )


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Train and measure, or play; returns the shares of points."""
    args = parse(argv)
    game = nn.rl.ConnectFour(4, 5) if args.small else nn.rl.ConnectFour()
    net = network(game, *((8, 1) if args.small else (48, 3)))
    if args.play:
        return {"won": play(game, net, args.seed)}
    rate = optax.exponential_decay(1e-3, 1000, 0.9, end_value=2e-4)
    step, state = nn.rl.alphazero(
        game,
        net,
        optax.chain(
            optax.clip_by_global_norm(1.0), optax.adamw(rate, weight_decay=1e-4)
        ),
        key=jax.random.key(args.seed),
        games=16 if args.small else 64,
        simulations=8 if args.small else 16,
        capacity=2_000 if args.small else 60_000,
        batch_size=64 if args.small else 256,
        updates=1 if args.small else 2,
        random_moves=8,
    )
    strength = Strength(game, step, args)
    state, history = nn.fit(
        step,
        None,
        state=state,
        steps_per_epoch=20 if args.small else 25,
        epochs=100_000,
        callbacks=[strength],
        progress=True,
    )
    history.plot(args.out / "learning_curves.png")
    strength.draw(args.out / "strength.png")
    args.out.mkdir(parents=True, exist_ok=True)
    nn.save(args.out / "connect_four.safetensors", half(state.params))
    for path in sorted(args.out.glob("*.*")):
        print(f"wrote {path}")
    last = strength.rows[-1]
    print(
        f"after {last['minutes']:.0f} minutes of training: {last['random']:.1%} of the "
        f"points against chance, {last['search']:.1%} against tree search with "
        f"{args.rollouts} random games a move"
    )
    return last


class Strength:
    """A callback that measures from time to time, and ends the run when time is up."""

    def __init__(self, game: nn.rl.Game, step: Any, args: argparse.Namespace):
        self.game, self.step, self.args = game, step, args
        self.start, self.apart = time.perf_counter(), 0.0
        self.rows: list[dict[str, float]] = []

    def __call__(self, epoch: int, state: Any, history: Any) -> bool:
        minutes = (time.perf_counter() - self.start - self.apart) / 60
        over = minutes >= self.args.minutes
        if over or minutes >= len(self.rows) * self.args.minutes / 6:
            begun = time.perf_counter()
            self.rows.append({"minutes": minutes, **self.measure(state, over)})
            print("  ".join(f"{n} {v:.3f}" for n, v in self.rows[-1].items()))
            self.apart += time.perf_counter() - begun
        return over

    def measure(self, state: Any, last: bool) -> dict[str, float]:
        """The share of points against two others, from either side."""
        own = self.step.player(state, self.args.simulations)
        plain = nn.rl.search_player(self.game, self.args.rollouts)
        games = self.args.games if last else max(self.args.games // 5, 1)
        anyone = nn.rl.random_player(self.game)
        return {
            "random": points(self.game, own, anyone, games, self.args.seed),
            "search": points(self.game, own, plain, games, self.args.seed),
        }

    def draw(self, path: Path) -> None:
        """Draw the strength over time."""
        figure = Figure(figsize=(6, 3.6), layout="constrained")
        axes = figure.subplots()
        x = [row["minutes"] for row in self.rows]
        names = {
            "random": "chance",
            "search": f"tree search, {self.args.rollouts} random games a move",
        }
        for name, words in names.items():
            y = [100 * row[name] for row in self.rows]
            axes.plot(x, y, "-o", label=f"against {words}")
        axes.axhline(50, color="gray", lw=0.8, ls=":")
        axes.set(xlabel="minutes of training", ylabel="points, %", ylim=(0, 103))
        axes.set_title("Connect Four, learned from nothing")
        axes.legend(loc="lower right")
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=110)


def points(game: Any, player: Any, other: Any, games: int, seed: int) -> float:
    """The share of points in so many games from either side."""
    key = jax.random.key(seed + 1)
    first = nn.rl.match(game, player, other, jax.random.fold_in(key, 0), games)
    second = nn.rl.match(game, other, player, jax.random.fold_in(key, 1), games)
    return float((2 + first.mean() - second.mean()) / 4)


def half(params: Any) -> Any:
    """Parameters in 16 bits, to keep."""
    return jax.tree.map(lambda a: np.asarray(a, jnp.bfloat16), params)


def kept(path: Path = KEPT) -> Any:
    """The parameters of the kept network."""
    return jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), nn.load(path))


def play(game: Any, net: Any, seed: int) -> float:
    """A game against the kept network."""
    player = nn.rl.search_player(game, 128, net, (kept(), {}))
    print("You are X and begin; an empty line gives up.")
    return nn.rl.play(game, player, jax.random.key(seed), ask=input)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--play", action="store_true", help="play against the kept network")
    add("--small", action="store_true", help="a board of 4x5: seconds")
    add("--minutes", type=float, default=30.0, help="default: %(default)s")
    add("--games", type=int, default=50, help="to measure with, from either side")
    add("--simulations", type=int, default=200, help="a move, when measured")
    add("--rollouts", type=int, default=200, help="of plain search, a move")
    add("--seed", type=int, default=0, help="default: %(default)s")
    add(
        "--out", type=Path, default=Path("out/connect_four"), help="folder for pictures"
    )
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
