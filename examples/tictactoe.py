# SPDX-License-Identifier: Apache-2.0
"""AlphaZero learns tic-tac-toe from nothing, to perfect play.

It is told the rules and no more. The game is small enough to be solved: minimax gives
the value of each of the 4,520 positions that can be reached and are not the end, so
that each move can be told to be as good as any. Games begin with random moves, as
perfect play sees few positions. Afterwards it plays against a perfect player
that takes any of the best moves at random.
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

LINES = [(0, 1, 2), (3, 4, 5), (6, 7, 8), (0, 3, 6), (1, 4, 7), (2, 5, 8)]
LINES += [(0, 4, 8), (2, 4, 6)]
Position = tuple[int, ...]


def solve() -> dict[Position, dict[int, int]]:
    """For each position that is not the end: what each move is worth to who moves."""
    table: dict[Position, dict[int, int]] = {}

    def worth(board: Position, turn: int) -> int:
        """The value of a position to the player whose turn it is."""
        if any(board[a] == board[b] == board[c] == -turn for a, b, c in LINES):
            return -1
        if 0 not in board:
            return 0
        if board not in table:
            table[board] = {
                i: -worth((*board[:i], turn, *board[i + 1 :]), -turn)
                for i in range(9)
                if board[i] == 0
            }
        return max(table[board].values())

    worth((0,) * 9, 1)
    return table


def perfect(table: dict[Position, dict[int, int]]) -> Any:
    """A player that takes any of the best moves."""
    code = 3 ** np.arange(9)
    best = np.zeros((3**9, 9), bool)
    for board, moves in table.items():
        top = max(moves.values())
        best[(np.array(board) + 1) @ code] = [moves.get(i) == top for i in range(9)]
    best = jnp.asarray(best)

    def player(position, key):
        board = position.stones.ravel().astype(jnp.int32)
        chance = jax.random.gumbel(key, (9,))
        good = best[((board + 1) * jnp.asarray(code, jnp.int32)).sum()]
        return jnp.where(good, chance, -jnp.inf).argmax().astype(jnp.int32)

    return player


def network() -> nn.Layer:
    """A policy and a value over two hidden layers."""
    hidden = [nn.Flatten(), nn.Dense(256), jax.nn.relu, nn.Dense(256), jax.nn.relu]
    value = nn.Sequential(nn.Dense(1), jnp.tanh)
    return nn.rl.ActorCritic(nn.Dense(9), value, body=nn.Sequential(*hidden))


def optimal(player: Any, table: dict[Position, dict[int, int]]) -> float:
    """The share of positions in which the player's move is as good as any."""
    boards = np.array([*table], np.int8)
    turns = np.where(boards.sum(1) == 0, 1, -1).astype(np.int8)
    stones = jnp.asarray(boards.reshape(-1, 3, 3))
    kind = type(nn.rl.TicTacToe().start())
    keys = jax.random.split(jax.random.key(3), len(boards))

    def move(given):
        stones, turn, key = given
        return player(kind(stones, turn), key)

    moves = jax.lax.map(move, (stones, jnp.asarray(turns), keys), batch_size=256)
    values = [table[tuple(b)] for b in boards.tolist()]
    good = [
        v[m] == max(v.values()) for v, m in zip(values, moves.tolist(), strict=True)
    ]
    return float(np.mean(good))


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Train, measure, draw; returns the share of optimal moves, and games lost."""
    args = parse(argv)
    game, table = nn.rl.TicTacToe(), solve()
    print(f"{len(table):,} positions")
    rate = optax.cosine_decay_schedule(2e-3, args.steps)
    step, state = nn.rl.alphazero(
        game,
        network(),
        optax.adam(rate),
        key=jax.random.key(args.seed),
        games=64,
        simulations=32,
        random_moves=8,
        capacity=40_000,
    )
    rows: list[float] = []

    def look(state):
        rows.append(optimal(step.player(state, 0), table))
        return {"optimal": rows[-1]}

    state, history = nn.fit(
        step,
        None,
        state=state,
        steps_per_epoch=args.steps // 10,
        epochs=10,
        validation=look,
        progress=True,
    )
    player, best = step.player(state, args.simulations), perfect(table)
    games = args.games
    first = nn.rl.match(game, player, best, jax.random.key(1), games)
    second = nn.rl.match(game, best, player, jax.random.key(2), games)
    lost = int((first < 0).sum() + (second > 0).sum())
    history.plot(args.out / "learning_curves.png")
    draw(rows, args.steps, args.out / "optimal.png")
    for path in sorted(args.out.glob("*.png")):
        print(f"wrote {path}")
    share, sight = optimal(player, table), rows[-1]
    print(
        f"{share:.2%} of moves are optimal ({sight:.2%} at first sight); {lost} of "
        f"{2 * games:,} games lost to the perfect player"
    )
    return {"optimal": share, "lost": lost}


def draw(rows: list[float], steps: int, path: Path) -> None:
    """The share of moves that are optimal without search, over time."""
    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axes = figure.subplots()
    x = np.linspace(0, steps, len(rows) + 1)[1:]
    axes.plot(x, [100 * row for row in rows], "-o")
    axes.set(xlabel="steps of training", ylabel="optimal moves, %")
    axes.set_title("Tic-tac-toe from nothing: every position, at first sight")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--small", action="store_true", help="few steps: seconds")
    add("--steps", type=int, default=4000, help="default: %(default)s")
    add("--simulations", type=int, default=200, help="a move; default: %(default)s")
    add("--games", type=int, default=1000, help="from either side")
    add("--seed", type=int, default=0, help="default: %(default)s")
    add("--out", type=Path, default=Path("out/tictactoe"), help="folder for pictures")
    args = parser.parse_args(argv)
    if args.small:
        args.steps, args.simulations, args.games = 300, 16, 20
    return args


if __name__ == "__main__":
    main()
