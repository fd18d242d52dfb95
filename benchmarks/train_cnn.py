# SPDX-License-Identifier: Apache-2.0
"""Time one step of training convolutional networks: jaxnn's `fit` and its peers.

The small CNN 32c3-pool-64c3-pool-128-10 on 28x28 pictures in batches of 128, by SGD,
and ResNet-20 on 32x32x3 in batches of 64, by SGD with momentum; softmax cross-entropy
in float32. Every contender runs in a process of its own, and all begin with the same
weights. In each round every contender takes one turn, in an order that rotates, while
the others wait; the table shows medians over the rounds.

`--compile resnet50` times the first call of training ResNet-50 instead, in a new
process each time.
"""

import argparse
import os
import statistics
import time
from pathlib import Path
from typing import Any

import contenders
import reports
import rounds
from contenders import first_call, turns, worker, works

TRAINED = {"jaxnn": None} | contenders.MORE | contenders.ENTRIES  # by name, in order


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Run the benchmark; gives what is written to the JSON file."""
    args = parse(argv)
    os.environ |= worker.ENVIRONMENT  # before JAX takes all of a device's memory
    known = first_call if args.compile else contenders
    present = [name for name in args.only if known.is_installed(name)]
    if not present:
        raise SystemExit(f"{', '.join(args.only)}: not installed; see README.md")
    report: dict[str, Any] = {
        "machine": reports.machine(),
        "absent": [name for name in args.only if name not in present],
        "results": [],
    }
    settle(args, report["machine"]["backend"])
    report["task"] = task_facts(args)
    lines, folder = reports.show(reports.machine_lines(report)), Path(args.out)
    name = f"compile_{args.compile}" if args.compile else "train_cnn"
    for part in first_calls(args, present) if args.compile else steps(args, present):
        report["results"] += part["results"]
        lines += reports.show(["", *part["lines"]])
        reports.write(folder, name, report, lines)
    print(f"\nwrote {folder / name}.json and .md")
    return report


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--work", choices=[*works.FULL, "both"], help="what to train, both")
    add("--steps", type=int, metavar="S", help="steps an epoch; 60 and 30 on a CPU")
    add("--epochs", type=int, metavar="E", help="epochs a turn, 2")
    add("--rounds", type=int, metavar="R", help="turns of each contender, 5")
    add("--scan-steps", type=int, metavar="S", help="of raw-scan; 4 and 2 on a CPU")
    add("--scan-rounds", type=int, metavar="R", help="turns of raw-scan; 1 on a CPU")
    add("--only", nargs="+", choices=all_names(), metavar="NAME")
    add("--compile", choices=first_call.PARAMETERS, help="time a first call instead")
    add("--size", type=int, metavar="P", help="pixels a side of --compile, 64")
    add("--peak-tflops", type=float, metavar="T", help="of the device, where unknown")
    add("--small", action="store_true", help="seconds, to see that it works")
    add("--seed", type=int, default=0)
    add("--out", default="out/benchmarks", help="folder for the report")
    args = parser.parse_args(argv)
    allowed = first_call.ENTRIES if args.compile else TRAINED
    args.only = args.only or list(allowed)
    for name in args.only:
        if name not in allowed:
            parser.error(f"--only: {name} is not among {', '.join(allowed)} here")
    for name in ("steps", "epochs", "rounds", "scan_steps", "scan_rounds", "size"):
        if (value := getattr(args, name)) is not None and value < 1:
            parser.error(f"--{name.replace('_', '-')} must be 1 or more, got {value}")
    return args


def all_names() -> list[str]:
    """The contenders of both kinds of run."""
    return list(dict.fromkeys([*TRAINED, *first_call.ENTRIES]))


def settle(args: argparse.Namespace, backend: str) -> None:
    """Fill in what was not asked for."""
    args.backend = backend
    args.work = list(works.FULL) if args.work in (None, "both") else [args.work]
    args.epochs = args.epochs or 2
    args.rounds = args.rounds or (2 if args.small else 3 if args.compile else 5)
    args.size = args.size or 64


def amounts(args: argparse.Namespace, work: str, name: str) -> dict[str, int]:
    """How much a contender does: steps an epoch, epochs a turn, rounds.

    On a CPU XLA's convolutions are so slow inside a loop that raw-scan gets little.
    """
    usual = {"cnn": (60, 4), "resnet20": (30, 2)} if args.backend == "cpu" else {}
    many, few = (4, 2) if args.small else usual.get(work, (400, 400))
    own = {"steps": args.steps or many, "epochs": args.epochs, "rounds": args.rounds}
    if name != "raw-scan" or not (args.backend == "cpu" or args.scan_steps):
        return own
    return {
        "steps": min(own["steps"], args.scan_steps or few),
        "epochs": 1,
        "rounds": min(own["rounds"], args.scan_rounds or 1),
    }


def steps(args: argparse.Namespace, names: list[str]) -> Any:
    """Each work's results, as they come."""
    for work in args.work:
        todo = {name: amounts(args, work, name) for name in names}
        yield rounds.train(args, work, todo)


def first_calls(args: argparse.Namespace, names: list[str]) -> Any:
    """Time the first calls of a deep network, each in a new process, in rounds."""
    facts = {"work": args.compile, "seed": args.seed, "batch_size": 2, "calls": 4}
    taken = {name: [] for name in names}
    for number in range(args.rounds):
        for name in turns.rotated(names, number):
            fresh = worker.Worker(
                "first-call", {"name": name, "size": args.size, **facts}
            )
            time.sleep(turns.PAUSE)
            taken[name].append(fresh.ask("measure"))
            fresh.close()
            check_first_call(args.compile, name, taken[name][-1])
    found = [first_call_result(args.compile, name, taken) for name in names]
    count = f"{first_call.PARAMETERS[args.compile]:,}"
    line = (
        f"{args.compile} on {args.size}x{args.size}x3: {count} parameters, batch size "
        f"2, {args.rounds} rounds, a new process each time"
    )
    yield {"results": found, "lines": reports.first_call_lines(found, line)}


def check_first_call(work: str, name: str, taken: dict[str, Any]) -> None:
    """Raise unless the network is the one that was asked for, and learns."""
    count, wanted = taken["parameters"], first_call.PARAMETERS[work]
    if count != wanted:
        raise SystemExit(f"{work}: {name} has {count} parameters for {wanted}")
    rounds.check_losses(work, name, taken["losses"])


def first_call_result(
    work: str, name: str, taken: dict[str, list[dict]]
) -> dict[str, Any]:
    """What is known of one contender's first call."""
    runs, own = taken[name], taken.get("jaxnn")

    def against(of: Any) -> float | None:
        theirs = None if own is None else [of(run) for run in own]
        return turns.ratio([of(run) for run in runs], theirs)

    def median(key: str) -> float:
        return statistics.median(run[key] for run in runs)

    return {
        "work": work,
        "contender": name,
        "version": runs[0]["version"],
        "how": runs[0]["how"],
        "parameters": runs[0]["parameters"],
        "build_seconds": median("build"),
        "first_call_seconds": median("first"),
        "warm_call_seconds": median("warm"),
        "compile_seconds": max(0.0, median("first") - median("warm")),
        "first_call_rounds": [run["first"] for run in runs],
        "ratio_to_jaxnn": against(lambda run: run["first"]),
        "ratio_with_build": against(lambda run: run["build"] + run["first"]),
        "inside_seconds": runs[0]["inside"],
        "memory_bytes": max(run["memory"] or 0 for run in runs) or None,
        "losses": runs[0]["losses"],
    }


def task_facts(args: argparse.Namespace) -> dict[str, Any]:
    """What was measured."""
    names = ("work", "epochs", "rounds", "compile", "size", "seed", "small")
    return {"dtype": "float32"} | {name: getattr(args, name) for name in names}


if __name__ == "__main__":
    main()
