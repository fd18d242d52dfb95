# SPDX-License-Identifier: Apache-2.0
"""Decide under uncertainty by tree search: how much of a good to order each day.

A shop starts each of ten days with some stock, orders more at a price and a fixed fee,
and sells what is asked for, which nobody knows beforehand; what is left over costs
storage. Three ways to decide: greedily, by what is best for today alone; by tree search
over what may happen (mctx), without knowing how good a stock is, but with what the
greedy rule would make of it; and by dynamic programming, which is exact, as the problem
is small.
"""

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import mctx
import numpy as np
from matplotlib.figure import Figure

DAYS, ROOM = 10, 12  # days, and the most that can be stored
PRICE, COST, FEE, STORAGE = 5.0, 2.0, 2.0, 0.3
SHARES = np.array([0.15, 0.2, 0.25, 0.2, 0.12, 0.08])  # of 0, 1, ... pieces asked for
DEMAND = jnp.asarray(SHARES, jnp.float32)
ASKED = jnp.arange(len(SHARES))
TREES = 32  # of a search, whose results are averaged


class Shop(NamedTuple):
    """The stock in the morning, and the day, from 0."""

    stock: jax.Array
    day: jax.Array


def profit(stock: Any, order: Any, asked: Any) -> Any:
    """What a day earns, and the stock in the evening."""
    ready = jnp.minimum(stock + order, ROOM)
    sold = jnp.minimum(ready, asked)
    left = ready - sold
    income, spent, stored = (
        rate * amount.astype(jnp.float32)
        for rate, amount in ((PRICE, sold), (COST, ready - stock), (STORAGE, left))
    )
    return income - spent - stored - jnp.where(ready > stock, FEE, 0.0), left


def exact() -> tuple[np.ndarray, np.ndarray]:
    """The expected profit of each order, `[day, stock, order]`, then the best ones.

    Also that of deciding greedily from each day and stock on, `[day, stock]`.
    """
    grid = jnp.meshgrid(*(jnp.arange(ROOM + 1),) * 2, ASKED, indexing="ij")
    earned, left = map(np.asarray, profit(*grid))
    today = (earned * SHARES).sum(-1)
    greedy = today.argmax(1)
    q, values = np.zeros((DAYS, ROOM + 1, ROOM + 1)), np.zeros(ROOM + 1)
    rule, worth = np.zeros((DAYS + 1, ROOM + 1)), np.zeros(ROOM + 1)
    for day in range(DAYS)[::-1]:
        q[day] = ((earned + values[left]) * SHARES).sum(-1)
        values = q[day].max(1)
        later = ((earned + worth[left]) * SHARES).sum(-1)
        worth = later[np.arange(ROOM + 1), greedy]
        rule[day] = worth
    return q, rule


def searching(rule: np.ndarray, simulations: int) -> Any:
    """A decision by tree search: `decide(shop, key) -> order`."""
    rule = jnp.asarray(rule, jnp.float32)
    scale = 1.0 / float(PRICE * len(SHARES) * DAYS / 2)  # about 1 for a whole run

    def look(_, key, orders, shops):
        # The tree holds what one draw of the demand led to; a step from a node draws
        # anew for each of its orders, and several draws are averaged.
        draws = jax.random.choice(key, len(SHARES), orders.shape, p=DEMAND)
        earned, left = profit(shops.stock, orders, draws)
        over = shops.day >= DAYS
        after = Shop(jnp.where(over, shops.stock, left), shops.day + 1)
        seen = mctx.RecurrentFnOutput(
            reward=jnp.where(over, 0.0, earned * scale),
            discount=jnp.where(over, 0.0, 1.0),
            prior_logits=jnp.zeros((len(orders), ROOM + 1)),
            value=scale * rule[jnp.minimum(after.day, DAYS), after.stock],
        )
        return seen, after

    def decide(shop, key):
        # Several trees, each with its own draws: what their roots expect is averaged.
        shops = jax.tree.map(lambda a: jnp.broadcast_to(a, (TREES,)), shop)
        root = mctx.RootFnOutput(
            prior_logits=jnp.zeros((TREES, ROOM + 1)),
            value=scale * rule[shops.day, shops.stock],
            embedding=shops,
        )
        full = jnp.arange(ROOM + 1)[None] > ROOM - shops.stock[:, None]
        found = mctx.gumbel_muzero_policy(
            *((), key, root, look, simulations),
            invalid_actions=full,
            max_num_considered_actions=ROOM + 1,
            qtransform=partial(
                mctx.qtransform_completed_by_mix_value, rescale_values=False
            ),
            gumbel_scale=0.0,
        )
        tree = found.search_tree.summary()
        visits = tree.visit_counts
        expected = (visits * tree.qvalues).sum(0) / jnp.maximum(visits.sum(0), 1)
        expected = jnp.where(visits.sum(0) > 0, expected, -jnp.inf)
        return jnp.where(full[0], -jnp.inf, expected).argmax().astype(jnp.int32)

    return decide


def run(decide: Any, key: jax.Array, shops: int) -> np.ndarray:
    """The profit of ten days of several shops, with the same demand for all rules."""

    def one(key):
        def day(shop, i):
            own = jax.random.fold_in(key, i)
            asked = jax.random.choice(own, len(SHARES), p=DEMAND)
            order = decide(shop, jax.random.fold_in(own, 1))
            earned, left = profit(shop.stock, order, asked)
            return Shop(left, shop.day + 1), earned

        start = Shop(jnp.int32(0), jnp.int32(0))
        return jax.lax.scan(day, start, jnp.arange(DAYS))[1].sum()

    keys = jax.random.split(key, shops)
    return np.asarray(jax.jit(lambda k: jax.lax.map(one, k, batch_size=20))(keys))


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Decide in each way, measure, draw; returns the mean profits."""
    args = parse(argv)
    q, rule = exact()
    best = jnp.asarray(q.argmax(2))
    grid = jnp.meshgrid(*(jnp.arange(ROOM + 1),) * 2, ASKED, indexing="ij")
    today = jnp.asarray((np.asarray(profit(*grid)[0]) * SHARES).sum(-1).argmax(1))
    search = searching(rule, args.simulations)
    ways = {
        "greedy": lambda shop, key: today[shop.stock],
        "search": search,
        "optimum": lambda shop, key: best[shop.day, shop.stock],
    }
    print(f"the optimum earns {q[0, 0].max():.2f} on average, by dynamic programming")
    key, found = jax.random.key(args.seed), {}
    for name, decide in ways.items():
        profits = run(decide, key, args.shops)
        found[name] = float(profits.mean())
        error = profits.std() / len(profits) ** 0.5
        print(f"{name}: {found[name]:.2f} ± {error:.2f} over {args.shops:,} shops")
    shops = [(day, stock) for day in range(DAYS) for stock in range(ROOM + 1)]
    days, stocks = map(jnp.array, zip(*shops, strict=True))
    keys = jax.random.split(key, len(shops))
    place = Shop(stocks, days)
    orders = jax.jit(
        lambda p, k: jax.lax.map(lambda a: search(*a), (p, k), batch_size=26)
    )(place, keys)
    orders = np.asarray(orders).reshape(DAYS, ROOM + 1)
    lost = q.max(2) - np.take_along_axis(q, orders[..., None], 2)[..., 0]
    draw(np.asarray(today), orders, q.argmax(2), args.out / "orders.png")
    print(f"wrote {args.out / 'orders.png'}")
    print(
        f"profit: greedy {found['greedy']:.2f}, tree search {found['search']:.2f}, "
        f"optimum {found['optimum']:.2f}; on average an order by search costs "
        f"{lost.mean():.2f}"
    )
    return found | {"lost": float(lost.mean())}


def draw(greedy: Any, search: Any, best: Any, path: Path) -> None:
    """What each would order, for each day and stock."""
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    axes = figure.subplots(1, 3, sharey=True)
    names = {"greedy": np.tile(greedy, (DAYS, 1)), "tree search": search}
    names["optimum"] = best
    for axis, (name, orders) in zip(axes, names.items(), strict=True):
        picture = axis.imshow(orders.T, origin="lower", vmin=0, vmax=ROOM)
        axis.set(title=name, xlabel="day", xticks=range(0, DAYS, 3))
    axes[0].set_ylabel("stock in the morning")
    figure.colorbar(picture, ax=axes, label="order")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--small", action="store_true", help="40 shops: seconds")
    add("--shops", type=int, default=200, help="default: %(default)s")
    add("--simulations", type=int, default=100, help="default: %(default)s")
    add("--seed", type=int, default=0, help="default: %(default)s")
    add("--out", type=Path, default=Path("out/decide"), help="folder for pictures")
    args = parser.parse_args(argv)
    if args.small:
        args.shops, args.simulations = 40, 50
    return args


if __name__ == "__main__":
    main()
