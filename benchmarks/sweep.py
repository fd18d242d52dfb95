# SPDX-License-Identifier: Apache-2.0
"""Time 32 learning rates of a small network: one `sweep` against 32 calls of `fit`.

The network is 64-64-10 with ReLU on the 8x8 digits. Three ways to the same numbers, in
turns, each from an empty cache of programs:

- `sweep`: `nn.sweep`, one program for all rates, compiled in its time;
- `fits`: `nn.fit` for each rate, as one writes it, each optimizer a program of its own;
- `fits, one program`: the rate lies in the optimizer's state, so that `fit` compiles
  once: what a careful hand-written loop over `fit` comes to.

The ratio is the sweep's time over the others', the median of the rounds.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
import reports

import jaxnn as nn

NET = nn.Sequential(nn.Flatten(), nn.Dense(64), jax.nn.relu, nn.Dense(10))
LOSS = nn.losses.softmax_cross_entropy
Losses = np.ndarray  # the validation loss of each rate after the last epoch


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Run the benchmark; gives what is written to the JSON file."""
    args = parse(argv)
    jax.config.update("jax_enable_compilation_cache", False)  # compile for real
    report: dict[str, Any] = {"machine": reports.machine(), "absent": []}
    rates = np.geomspace(1e-3, 1.0, args.rates).tolist()
    task = f"{len(rates)} learning rates, {args.epochs} epochs, {args.rounds} rounds"
    print("\n".join([*reports.machine_lines(report), task]), flush=True)
    ways = {"sweep": sweep, "fits": fits, "fits, one program": fits_of_one_program}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():  # what a process does once is not counted
        timed(way, rates[:1], args)
    for _ in range(args.rounds):
        found = {}
        for name, way in ways.items():
            taken, found[name] = timed(way, rates, args)
            seconds[name].append(taken)
        check(found)
    report["seconds"] = seconds
    report["ratios"] = {name: ratio(seconds, name) for name in list(ways)[1:]}
    for name, times in seconds.items():
        line = f"{name:<18} {statistics.median(times):8.2f} s"
        if name != "sweep":
            line += f"   sweep takes {report['ratios'][name]:.3f} of that"
        print(line)
    path = Path(args.out, "sweep.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=2) + "\n")
    print(f"wrote {path}")
    return report


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--rates", type=int, metavar="R", help="learning rates, 32")
    add("--epochs", type=int, metavar="E", help="epochs of each, 10")
    add("--rounds", type=int, metavar="N", help="turns of each way, 3")
    add("--small", action="store_true", help="seconds, to see that it works")
    add("--out", default="out/benchmarks", help="folder for the JSON file")
    args = parser.parse_args(argv)
    small = {"rates": 2, "epochs": 1, "rounds": 1}
    full = {"rates": 32, "epochs": 10, "rounds": 3}
    for name, value in (small if args.small else full).items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    if min(args.rates, args.epochs, args.rounds) < 1:
        parser.error("--rates, --epochs and --rounds must be 1 or more")
    return args


def timed(
    way: Callable[..., Losses], rates: list[float], args: argparse.Namespace
) -> tuple[float, Losses]:
    """The seconds that a way takes with nothing compiled before, and its losses."""
    train, validation = nn.data.digits()
    options = {
        "loss": LOSS,
        "epochs": args.epochs,
        "batch_size": 100,
        "key": jax.random.key(0),
        "validation": validation,
        "progress": False,
    }
    jax.clear_caches()
    start = time.perf_counter()
    losses = way(rates, train, options)
    return time.perf_counter() - start, losses


def sweep(rates: list[float], train: tuple, options: dict[str, Any]) -> Losses:
    """All rates in one program."""
    over = {"learning_rate": rates}
    result = nn.sweep(NET, train, over=over, optimizer=optax.sgd, **options)
    return result.logs["val_loss"][:, -1]


def fits(rates: list[float], train: tuple, options: dict[str, Any]) -> Losses:
    """A run for each rate."""
    found = []
    for rate in rates:
        _, history = nn.fit(NET, train, optimizer=optax.sgd(rate), **options)
        found.append(history["val_loss"][-1])
    return np.array(found)


def fits_of_one_program(rates: list[float], train: tuple, options: dict) -> Losses:
    """A run for each rate, which lies in the optimizer's state."""
    optimizer, found = optax.inject_hyperparams(optax.sgd)(learning_rate=0.1), []
    begin = nn.train_state(NET, optimizer, train[0][:100], key=options["key"])
    for rate in rates:
        held = begin.opt_state.hyperparams | {"learning_rate": np.float32(rate)}
        state = begin._replace(opt_state=begin.opt_state._replace(hyperparams=held))
        _, history = nn.fit(NET, train, optimizer=optimizer, state=state, **options)
        found.append(history["val_loss"][-1])
    return np.array(found)


def check(found: dict[str, Losses]) -> None:
    """Raise unless all ways came to the same losses."""
    for name, losses in found.items():
        if not np.allclose(losses, found["sweep"], rtol=1e-3):
            raise SystemExit(f"{name}: its losses are not those of the sweep")


def ratio(seconds: dict[str, list[float]], name: str) -> float:
    """The median over rounds of the sweep's time over another's."""
    pairs = zip(seconds["sweep"], seconds[name], strict=True)
    return statistics.median(own / other for own, other in pairs)


if __name__ == "__main__":
    main()
