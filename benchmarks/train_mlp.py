# SPDX-License-Identifier: Apache-2.0
"""Time one step of training an MLP: jaxnn's `fit` against raw JAX and other libraries.

The network is 784-300-100-10 with ReLU, trained by SGD on softmax cross-entropy in
float32. All begin with the same weights and shuffle the same synthetic data, of the
size of MNIST, before every epoch. In each round every contender trains for the same
number of epochs, in an order that rotates; the table shows medians over the rounds.
"""

import argparse
import gc
import json
import os
import platform
import statistics
import time
from pathlib import Path
from typing import Any

import contenders
import numpy as np
from contenders import ENTRIES, Base, Task

WIDTHS = (784, 300, 100, 10)
SMALL_WIDTHS = (784, 16, 12, 10)
RATE = 0.1
PAUSE = 0.2  # seconds before each turn, in which threads of the one before fall asleep


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Run the benchmark; gives what is written to the JSON file."""
    args = parse(argv)
    installed = [name for name in args.only if contenders.is_installed(name)]
    report = {"machine": machine(), "task": task_facts(args)}
    report["absent"] = [name for name in args.only if name not in installed]
    report["versions"] = versions(installed)
    report["results"] = results = []
    data = make_data(args.examples, args.seed)
    for batch_size in args.batch_sizes:
        task = Task(*data, make_weights(args), batch_size, RATE, args.seed)
        results += compare(installed, task, args.epochs, args.rounds)
        print(table(results, batch_size, report["versions"]), flush=True)
    if report["absent"]:
        print(f"not installed: {', '.join(report['absent'])}")
    path = Path(args.out, "train_mlp.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=2) + "\n")
    print(f"wrote {path}")
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
    widths = SMALL_WIDTHS if args.small else WIDTHS
    for c, f in zip(widths[:-1], widths[1:], strict=True):
        limit = (6 / (c + f)) ** 0.5
        w = rng.uniform(-limit, limit, (c, f)).astype(np.float32)
        layers.append((w, np.zeros(f, np.float32)))
    return layers


def compare(names: list[str], task: Task, epochs: int, rounds: int) -> list[dict]:
    """Time contenders on one task, in rounds; gives a result for each."""
    made, startups = {}, {}
    for name in names:
        made[name], startups[name] = warm_up(name, task)
    turns = {name: [] for name in names}
    for number in range(rounds):
        for name in rotated(names, number):
            turns[name].append(take_turn(made[name], epochs))
    return [
        result(name, made[name], startups[name], turns, task, epochs) for name in names
    ]


def warm_up(name: str, task: Task) -> tuple[Base, float]:
    """Build a contender and train for an epoch; gives the seconds of both."""
    kind = contenders.load(name)  # importing a library is not counted
    clock = time.perf_counter()
    contender = kind(task)
    contender.start()
    contender.run(1)
    return contender, time.perf_counter() - clock


def rotated(names: list[str], number: int) -> list[str]:
    """The order of turns in a round: each contender is first as often as others."""
    start = number % max(len(names), 1)
    return names[start:] + names[:start]


def take_turn(contender: Base, epochs: int) -> tuple[float, float | None, list[float]]:
    """The seconds of a run, those the library counted itself, and the losses."""
    contender.start()
    gc.collect()
    time.sleep(PAUSE)
    clock = time.perf_counter()
    losses = contender.run(epochs)
    return time.perf_counter() - clock, contender.inside, losses


def result(
    name: str, contender: Base, startup: float, turns: dict, task: Task, epochs: int
) -> dict[str, Any]:
    """What is known of one contender on one task."""
    steps = epochs * task.steps
    seconds, inside, losses = zip(*turns[name], strict=True)
    median = statistics.median(seconds)
    return {
        "contender": name,
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
        "ratio_to_jaxnn": ratio(seconds, turns.get("jaxnn")),
        # the first epoch, building included, less what an epoch takes afterwards
        "compile_seconds": max(0.0, startup - median / epochs),
        "losses": losses[0],
    }


def ratio(seconds: tuple[float, ...], jaxnn: list | None) -> float | None:
    """The median over rounds of a contender's time over jaxnn's in the same round."""
    if jaxnn is None:
        return None
    return statistics.median(s / own[0] for s, own in zip(seconds, jaxnn, strict=True))


HEADER = "contender|version|how|ms/step|min|ratio|compile s|first loss|last loss"
ROW = "{:<9}  {:<9}  {:<24}  {:>8}  {:>7}  {:>6}  {:>9}  {:>10}  {:>9}"


def table(results: list[dict], batch_size: int, found: dict[str, str]) -> str:
    """The results of one batch size as text."""
    rows = [r for r in results if r["batch_size"] == batch_size]
    lines = [f"\nbatch size {batch_size}, {rows[0]['steps_a_turn']} steps a turn"]
    lines += [ROW.format(*HEADER.split("|"))]
    lines += [row(r, found[r["contender"]]) for r in rows]
    for r in rows:
        if r["inside_ms_a_step"] is not None:
            lines.append(
                f"{r['contender']} itself counts {r['inside_ms_a_step']:.3f} ms a step "
                "in its compiled steps; the rest are checks, copies and shuffling"
            )
    return "\n".join(lines)


def row(r: dict[str, Any], found: str) -> str:
    """One contender's line."""
    ms, times = r["ms_a_step"], r["ratio_to_jaxnn"]
    return ROW.format(
        r["contender"],
        found,
        r["how"],
        f"{ms['median']:.3f}",
        f"{ms['min']:.3f}",
        "-" if times is None else f"{times:.2f}",
        f"{r['compile_seconds']:.2f}",
        f"{r['losses'][0]:.4f}",
        f"{r['losses'][-1]:.4f}",
    )


def machine() -> dict[str, Any]:
    """Where it was measured."""
    import jax

    return {
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "cores_allowed": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "load_before": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "system": platform.platform(),
        "device": jax.devices()[0].device_kind,
        "date": time.strftime("%Y-%m-%d"),
    }


def cpu_model() -> str:
    """The processor's name."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if "model name" in line]
    return names[0] if names else platform.processor() or platform.machine()


def task_facts(args: argparse.Namespace) -> dict[str, Any]:
    """What was measured."""
    names = ("examples", "batch_sizes", "epochs", "rounds", "seed", "small")
    facts = {name: getattr(args, name) for name in names}
    widths = SMALL_WIDTHS if args.small else WIDTHS
    return {"widths": widths, "learning_rate": RATE, "dtype": "float32"} | facts


def versions(names: list[str]) -> dict[str, str]:
    """The versions of the contenders and of what they stand on."""
    from importlib.metadata import version

    found = {name: contenders.version(name) for name in names}
    found |= {name: version(name) for name in ("jaxlib", "numpy", "optax")}
    return found | {"python": platform.python_version()}


if __name__ == "__main__":
    main()
