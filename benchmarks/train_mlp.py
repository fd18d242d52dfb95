# SPDX-License-Identifier: Apache-2.0
"""Time one step of training an MLP: jaxnn's `fit` against raw JAX and other libraries.

The network is 784-300-100-10 with ReLU, trained by SGD on softmax cross-entropy in
float32. All begin with the same weights and shuffle the same synthetic data, of the
size of MNIST, before every epoch. In each round every contender trains for the same
number of epochs, in an order that rotates; the table shows medians over the rounds.
"""

import argparse
import json
import statistics
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import contenders
import jax
import numpy as np
import reports
from contenders import ENTRIES, Base, Task
from contenders.turns import ratio, rotated, take_turn

WIDTHS = (784, 300, 100, 10)
SMALL_WIDTHS = (784, 16, 12, 10)
RATE = 0.1


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Run the benchmark; gives what is written to the JSON file."""
    args = parse(argv)
    jax.config.update("jax_enable_compilation_cache", False)  # compile for real
    present = [name for name in args.only if contenders.is_installed(name)]
    if not present:
        raise SystemExit(f"{', '.join(args.only)}: not installed; see README.md")
    report: dict[str, Any] = {
        "machine": reports.machine(),
        "task": task_facts(args),
        "absent": [name for name in args.only if name not in present],
        "results": [],
    }
    print("\n".join(reports.heading(report)), flush=True)
    data, weights = make_data(args.examples, args.seed), make_weights(args)
    for batch_size in args.batch_sizes:
        task = Task(*data, weights, batch_size, RATE, args.seed)
        results = compare(present, task, args.epochs, args.rounds)
        report["results"] += results
        print("\n".join(["", *reports.table(results)]), flush=True)
    path = Path(args.out, "train_mlp.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=2) + "\n")
    print(f"\nwrote {path}")
    return report


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--batch-sizes", type=int, nargs="+", metavar="B", help="32 and 100")
    add("--rounds", type=int, metavar="R", help="turns of each contender, 7")
    add("--epochs", type=int, metavar="E", help="epochs a turn, 5")
    add("--examples", type=int, metavar="N", help="size of the data, 60000")
    add("--only", nargs="+", choices=ENTRIES, default=list(ENTRIES), metavar="NAME")
    add("--small", action="store_true", help="seconds, to see that it works")
    add("--seed", type=int, default=0)
    add("--out", default="out/benchmarks", help="folder for the JSON file")
    args = parser.parse_args(argv)
    small = {"batch_sizes": [32], "rounds": 2, "epochs": 2, "examples": 640}
    full = {"batch_sizes": [32, 100], "rounds": 7, "epochs": 5, "examples": 60_000}
    for name, value in (small if args.small else full).items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    for size in args.batch_sizes:
        if size < 1 or args.examples % size:
            parser.error(f"--batch-sizes: {size} does not divide {args.examples}")
    if min(args.rounds, args.epochs) < 1:
        parser.error("--rounds and --epochs must be 1 or more")
    return args


def make_data(examples: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Images with a fifth of their pixels lit, as digits have, and their classes.

    A fifth of the classes are wrong, so that the loss does not come near 0.
    """
    rng = np.random.default_rng(seed)
    shapes = (rng.random((10, WIDTHS[0])) < 0.2).astype(np.float32)
    labels = rng.integers(0, 10, examples, dtype=np.int32)
    images = shapes[labels] * rng.random((examples, WIDTHS[0]), dtype=np.float32)
    wrong = rng.random(examples) < 0.2
    labels[wrong] = rng.integers(0, 10, wrong.sum(), dtype=np.int32)
    return images, labels


def make_weights(args: argparse.Namespace) -> list[tuple[np.ndarray, np.ndarray]]:
    """Glorot uniform weights and zero biases, from which all contenders begin."""
    rng, layers = np.random.default_rng(args.seed), []
    for c, f in pairwise(widths(args)):
        limit = (6 / (c + f)) ** 0.5
        w = rng.uniform(-limit, limit, (c, f)).astype(np.float32)
        layers.append((w, np.zeros(f, np.float32)))
    return layers


def widths(args: argparse.Namespace) -> tuple[int, ...]:
    """How wide the input and the layers are."""
    return SMALL_WIDTHS if args.small else WIDTHS


def compare(names: list[str], task: Task, epochs: int, rounds: int) -> list[dict]:
    """Time contenders on one task, in rounds; gives a result for each."""
    warm = {name: warm_up(name, task) for name in names}
    turns = {name: [] for name in names}
    for number in range(rounds):
        for name in rotated(names, number):
            turns[name].append(take_turn(warm[name][0], epochs))
    return [result(name, *warm[name], turns, task, epochs) for name in names]


def warm_up(name: str, task: Task) -> tuple[Base, float]:
    """Build a contender and train for an epoch; gives the seconds of both."""
    kind = contenders.load(name)  # importing a library is not counted
    clock = time.perf_counter()
    contender = kind(task)
    contender.start()
    contender.run(1)
    return contender, time.perf_counter() - clock


def result(
    name: str, contender: Base, startup: float, turns: dict, task: Task, epochs: int
) -> dict[str, Any]:
    """What is known of one contender on one task."""
    steps = epochs * task.steps
    seconds, inside, losses = zip(*turns[name], strict=True)
    median = statistics.median(seconds)
    own = [turn[0] for turn in turns["jaxnn"]] if "jaxnn" in turns else None
    return {
        "contender": name,
        "version": contenders.version(name),
        "how": contender.title,
        "batch_size": task.batch_size,
        "steps_a_turn": steps,
        "ms_a_step": {
            "median": 1e3 * median / steps,
            "min": 1e3 * min(seconds) / steps,
            "rounds": [1e3 * s / steps for s in seconds],
        },
        "inside_ms_a_step": None
        if None in inside
        else 1e3 * statistics.median(inside) / steps,
        "ratio_to_jaxnn": ratio(seconds, own),
        # the first epoch, building included, less what an epoch takes afterwards
        "compile_seconds": max(0.0, startup - median / epochs),
        "losses": losses[0],
    }


def task_facts(args: argparse.Namespace) -> dict[str, Any]:
    """What was measured."""
    names = ("examples", "batch_sizes", "epochs", "rounds", "seed", "small")
    facts = {name: getattr(args, name) for name in names}
    return {"widths": widths(args), "learning_rate": RATE, "dtype": "float32"} | facts


if __name__ == "__main__":
    main()
