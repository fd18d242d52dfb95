# SPDX-License-Identifier: Apache-2.0
"""Time language models of characters: a step of training, and generation.

An LSTM of 256 on 64 pieces of 64 characters, and a transformer of four blocks, 256
wide, on 16 pieces of 128 characters, of tiny Shakespeare; Adam on the cross-entropy of
every step in float32. Every contender runs in a process of its own, and all begin with
the same weights. In each round every contender takes one turn, in an order that
rotates, while the others wait; the tables show medians over the rounds.

`--generate` times how the networks write: after a prompt, the likeliest character each
time, in batches of 1 and of 16.
"""

import argparse
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import contenders
import reports
import rounds
from contenders import generate, sequence_works, worker

NAME = "train_sequences"
TRAINED = {"jaxnn": None} | contenders.MORE | contenders.ENTRIES  # by name, in order
WORKS = [*sequence_works.FULL, "both"]
STEPS = {"lstm": 60, "transformer": 10}  # an epoch, on a CPU
TOKENS = {"lstm": 256, "transformer": 112}  # a call


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
        "generation": [],
    }
    settle(args, report["machine"]["backend"])
    report["task"] = task_facts(args)
    first = [*reports.machine_lines(report), f"text: {report['task']['text']}"]
    lines, folder = reports.show(first), Path(args.out)
    for kind, part in parts(args, present):
        report[kind] += part["results"]
        lines += reports.show(["", *part["lines"]])
        reports.write(folder, NAME, report, lines)
    print(f"\nwrote {folder / NAME}.json and .md")
    return report


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--work", choices=WORKS, help="what to train")
    add(
        "--generate", choices=WORKS, help="what is to write; all where neither is given"
    )
    add("--steps", type=int, metavar="S", help="steps an epoch; 60 and 10 on a CPU")
    add("--epochs", type=int, metavar="E", help="epochs a turn, 2")
    add("--rounds", type=int, metavar="R", help="turns of each contender, 7")
    add("--tokens", type=int, metavar="T", help="that a call writes; 256 and 112")
    add("--calls", type=int, metavar="C", help="calls a turn of those that write, 5")
    add("--only", nargs="+", choices=TRAINED, default=list(TRAINED), metavar="NAME")
    add("--peak-tflops", type=float, metavar="T", help="of the device, where unknown")
    add("--short", action="store_true", help="a third of the steps and of the calls")
    add("--small", action="store_true", help="seconds, to see that it works")
    add("--seed", type=int, default=0)
    add("--out", default="out/benchmarks", help="folder for the report")
    args = parser.parse_args(argv)
    for name in ("steps", "epochs", "rounds", "tokens", "calls"):
        if (value := getattr(args, name)) is not None and value < 1:
            parser.error(f"--{name} must be 1 or more, got {value}")
    if not (args.work or args.generate):
        args.work = args.generate = "both"
    args.work, args.generate = named(args.work), named(args.generate)
    room = TOKENS["transformer"]
    if "transformer" in args.generate and (args.tokens or 0) > room:
        parser.error(f"--tokens must be {room} or less for the transformer's positions")
    writing = [name for name in args.only if name in generate.ENTRIES]
    if args.generate and not (args.work or writing):
        parser.error(f"--only: of {', '.join(generate.ENTRIES)} for --generate")
    return args


def named(choice: str | None) -> list[str]:
    """The works that were asked for."""
    return list(sequence_works.FULL) if choice == "both" else [choice] if choice else []


def settle(args: argparse.Namespace, backend: str) -> None:
    """Fill in what was not asked for."""
    args.backend = backend
    args.epochs = args.epochs or 2
    args.rounds = args.rounds or (2 if args.small else 7)
    args.calls = args.calls or (1 if args.small else 2 if args.short else 5)


def parts(
    args: argparse.Namespace, names: list[str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each work's results, as they come, training first."""
    for work in args.work:
        own = amounts(args, work)
        yield "results", rounds.train(args, work, dict.fromkeys(names, own))
    for work in args.generate:
        todo = {name: calls(args, work) for name in names if writes(name, work)}
        if todo:
            yield "generation", rounds.generate(args, work, todo)


def amounts(args: argparse.Namespace, work: str) -> dict[str, int]:
    """Steps an epoch, epochs a turn, rounds: of training."""
    usual = 4 if args.small else STEPS[work] if args.backend == "cpu" else 400
    usual = max(1, usual // 3) if args.short else usual
    steps = args.steps or usual
    return {"steps": steps, "epochs": args.epochs, "rounds": args.rounds}


def calls(args: argparse.Namespace, work: str) -> dict[str, int]:
    """Tokens a call, calls a turn, rounds: of generation."""
    tokens = args.tokens or (8 if args.small else TOKENS[work])
    return {"tokens": tokens, "calls": args.calls, "rounds": args.rounds}


def writes(name: str, work: str) -> bool:
    """Whether a contender generates with this network."""
    return name in generate.ENTRIES and work in generate.ENTRIES[name].works


def task_facts(args: argparse.Namespace) -> dict[str, Any]:
    """What was measured."""
    names = ("work", "generate", "epochs", "rounds", "calls", "seed", "small", "short")
    found = sequence_works.shakespeare()
    text = "tiny Shakespeare" if found else "random ids, as $JAXNN_DATA has no text"
    return {"dtype": "float32", "text": text} | {n: getattr(args, n) for n in names}


if __name__ == "__main__":
    main()
