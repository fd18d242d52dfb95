# SPDX-License-Identifier: Apache-2.0
"""Time a step of training variational auto-encoders, and one of two adversaries.

The auto-encoders 784-400-20-400-784, as in PyTorch's examples, and
784-512-256-32-256-512-784 in batches of 128, on the negative ELBO; and DCGAN of width
64 for 28x28 images in batches of 64, a step being the critic's turn and the
generator's; Adam, float32. Random numbers come with the data, so that all draw the
same. Every contender runs in a process of its own, and all begin with the same weights.
In each round every contender takes one turn, in an order that rotates, while the others
wait; the tables show medians over the rounds.
"""

import argparse
import os
from pathlib import Path
from typing import Any

import contenders
import reports
import rounds
from contenders import generative_works, worker

NAME = "train_generative"
TRAINED = ("jaxnn", "flax", "torch")
STEPS = {"vae": 300, "deep_vae": 150, "dcgan": 20}  # an epoch, on a CPU


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Run the benchmark; gives what is written to the JSON file."""
    args = parse(argv)
    os.environ |= worker.ENVIRONMENT  # before JAX takes all of a device's memory
    present = [name for name in args.only if contenders.is_installed(name)]
    if not present:
        raise SystemExit(f"{', '.join(args.only)}: not installed; see README.md")
    report: dict[str, Any] = {
        "machine": reports.machine(),
        "absent": [name for name in args.only if name not in present],
        "results": [],
    }
    args.backend, args.peak_tflops = report["machine"]["backend"], None
    args.rounds = args.rounds or (2 if args.small else 7)
    names = ("work", "steps", "epochs", "rounds", "seed", "small")
    report["task"] = {"dtype": "float32"} | {
        name: getattr(args, name) for name in names
    }
    lines, folder = reports.show(reports.machine_lines(report)), Path(args.out)
    for work in list(STEPS) if args.work == "all" else [args.work]:
        part = rounds.train(args, work, dict.fromkeys(present, amounts(args, work)))
        report["results"] += part["results"]
        lines += reports.show(["", *part["lines"]])
        reports.write(folder, NAME, report, lines)
    print(f"\nwrote {folder / NAME}.json and .md")
    return report


def amounts(args: argparse.Namespace, work: str) -> dict[str, int]:
    """Steps an epoch, epochs a turn, rounds."""
    usual = 4 if args.small else STEPS[work] if args.backend == "cpu" else 400
    return {"steps": args.steps or usual, "epochs": args.epochs, "rounds": args.rounds}


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    works = [*generative_works.FULL, "all"]
    add("--work", choices=works, default="all", help="what to train, all")
    usual = f"steps an epoch; on a CPU {', '.join(map(str, STEPS.values()))}"
    add("--steps", type=int, metavar="S", help=usual)
    add("--epochs", type=int, metavar="E", default=2, help="epochs a turn, 2")
    add("--rounds", type=int, metavar="R", help="turns of each contender, 7")
    add("--only", nargs="+", choices=TRAINED, default=list(TRAINED), metavar="NAME")
    add("--small", action="store_true", help="seconds, to see that it works")
    add("--seed", type=int, default=0)
    add("--out", default="out/benchmarks", help="folder for the report")
    args = parser.parse_args(argv)
    for name in ("steps", "epochs", "rounds"):
        if (value := getattr(args, name)) is not None and value < 1:
            parser.error(f"--{name} must be 1 or more, got {value}")
    return args


if __name__ == "__main__":
    main()
