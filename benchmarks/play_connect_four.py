# SPDX-License-Identifier: Apache-2.0
"""How well the kept network of `examples/connect_four.py` plays.

Points against a player at random and against plain tree search with 200 random games a
move (a draw is half a point), and the share of moves that are as good as any in solved
positions of 22 stones, without search and with it.
"""

import argparse
import functools
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from connect_four_solver import Solver, late_positions

import jaxnn as nn

EXAMPLES = Path(__file__).parents[1] / "examples"
STONES = 22


def main(argv: list[str] | None = None) -> dict[str, float]:
    """Measure; returns the shares."""
    args = parse(argv)
    sys.path.insert(0, str(EXAMPLES))
    import connect_four

    game = nn.rl.ConnectFour()
    net = connect_four.network(game, 48, 3)
    variables = connect_four.kept(args.network), {}

    def player(simulations):
        return nn.rl.search_player(game, simulations, net, variables)

    found = {}
    others = {
        "chance": nn.rl.random_player(game),
        f"search, {args.rollouts} random games": nn.rl.search_player(
            game, args.rollouts
        ),
    }
    for name, other in others.items():
        own = player(args.simulations)
        found[name] = connect_four.points(game, own, other, args.games, args.seed)
        print(f"{found[name]:.1%} of the points against {name}", flush=True)
    positions = late_positions(game, args.positions, STONES, args.seed)
    solver = Solver()
    worth = [solver.values(*solver.bits(p.stones, int(p.turn))) for p in positions]
    differ = np.mean([len({*values.values()}) > 1 for values in worth])
    anyhow = np.mean(
        [np.mean([v == max(w.values()) for v in w.values()]) for w in worth]
    )
    print(f"{len(worth)} solved positions; the moves differ in {differ:.0%} of them")
    print(f"{anyhow:.1%} of random moves are optimal")
    for simulations in (0, args.simulations):
        moves = chosen(player(simulations), positions)
        good = [w[m] == max(w.values()) for w, m in zip(worth, moves, strict=True)]
        found[f"optimal, {simulations}"] = float(np.mean(good))
        print(f"{np.mean(good):.1%} optimal with {simulations} simulations")
    return found


def chosen(player, positions: list) -> list[int]:
    """The moves that a player chooses."""
    batch = jax.tree.map(lambda *a: jnp.stack(a), *positions)
    keys = jax.random.split(jax.random.key(0), len(positions))
    run = functools.partial(jax.lax.map, lambda given: player(*given), batch_size=100)
    return jax.jit(run)((batch, keys)).tolist()


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    kept = EXAMPLES / "weights" / "connect_four.safetensors"
    add("--network", type=Path, default=kept, help="default: the kept one")
    add("--games", type=int, default=50, help="from either side; default: %(default)s")
    add("--simulations", type=int, default=200, help="default: %(default)s")
    add("--rollouts", type=int, default=200, help="default: %(default)s")
    add("--positions", type=int, default=500, help="default: %(default)s")
    add("--seed", type=int, default=0, help="default: %(default)s")
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
