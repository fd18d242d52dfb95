# SPDX-License-Identifier: Apache-2.0
"""Time whole training runs of DQN and PPO on CartPole.

The same agents, networks (two hidden layers of 64) and amounts of learning for all:
eight environments; DQN makes one update of 64 examples for eight steps of the
environment, PPO four epochs in four mini-batches for 1,024. jaxnn's run is one compiled
program; the others step Gymnasium's environments from Python, in PyTorch or with jitted
functions of JAX. Every run has a process of its own, one at a time, in an order that
rotates; compiling is not counted. The tables show medians over the rounds, and what 1,
16 and 128 seeds in one program cost.
"""

import argparse
import importlib.util
import os
import statistics
from pathlib import Path
from typing import Any

import reports
from contenders import agents, worker

NAME = "train_agents"
STEPS = {"dqn": 40_960, "ppo": 40_960}


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Run the benchmark; gives what is written to the JSON file."""
    args = parse(argv)
    os.environ |= worker.ENVIRONMENT
    wants = {
        "jaxnn": ("jaxnn",),
        "torch": ("torch", "gymnasium"),
        "jax": ("gymnasium",),
    }
    present = [
        name
        for name in args.only
        if all(importlib.util.find_spec(package) for package in wants[name])
    ]
    report: dict[str, Any] = {
        "machine": reports.machine(),
        "absent": [name for name in args.only if name not in present],
        "task": {"rounds": args.rounds, "seed": args.seed, "small": args.small},
        "results": [],
        "seeds": [],
    }
    lines, folder = reports.show(reports.machine_lines(report)), Path(args.out)
    for kind in agents_of(args):
        report["results"] += compare(kind, present, args)
        rows = [r for r in report["results"] if r["kind"] == kind]
        lines += reports.show(["", *table(kind, rows)])
    if "jaxnn" in present:
        report["seeds"] = seeds(args)
        lines += reports.show(["", *seeds_table(report["seeds"])])
    reports.write(folder, NAME, report, lines)
    print(f"\nwrote {folder / NAME}.json and .md")
    return report


def agents_of(args: argparse.Namespace) -> list[str]:
    """The agents that are asked for."""
    return list(STEPS) if args.agent == "both" else [args.agent]


def ask(name: str, request: dict[str, Any]) -> Any:
    """An answer from a process of its own."""
    made = worker.Worker("agents", {"name": name, "work": request["kind"]})
    try:
        return made.ask(request)
    finally:
        made.close()


def compare(kind: str, names: list[str], args: argparse.Namespace) -> list[dict]:
    """Runs of all contenders, in turn."""
    steps = 4_096 if args.small else args.steps or STEPS[kind]
    found: dict[str, list] = {name: [] for name in names}
    for i in range(args.rounds):
        turn = i % len(names)
        for name in names[turn:] + names[:turn]:
            request = {"kind": kind, "steps": steps, "seed": args.seed + i}
            found[name].append(ask(name, request))
    rows = []
    for name, runs in found.items():
        speeds = [run["steps"] / run["seconds"] for run in runs]
        returns = statistics.median(run["mean_return"] for run in runs)
        speed = statistics.median(speeds)
        row = {"kind": kind, "name": name, "title": runs[0]["title"]}
        rows.append(row | {"speeds": speeds, "speed": speed, "return": returns})
    return rows


def table(kind: str, rows: list[dict]) -> list[str]:
    """Steps of the environment a second, and how many times slower than jaxnn."""
    best = {row["name"]: row["speed"] for row in rows}.get("jaxnn")
    lines = [f"## {kind.upper()}", "", "| | steps a second | jaxnn is | return | how |"]
    lines.append("| --- | ---: | ---: | ---: | --- |")
    for row in rows:
        ratio = f"{best / row['speed']:.1f} times as fast" if best else ""
        ratio = "" if row["name"] == "jaxnn" else ratio
        words = (row["name"], f"{row['speed']:,.0f}", ratio, f"{row['return']:.0f}")
        lines.append(f"| {' | '.join((*words, row['title']))} |")
    return lines


def seeds(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Seconds of 1, 16 and 128 runs in one program."""
    steps, counts = (2_048, (1, 2)) if args.small else (16_384, (1, 16, 128))
    return [
        {"kind": kind, "seeds": n, "seconds": ask("jaxnn", request)}
        for kind in agents_of(args)
        for n in counts
        if (request := {"kind": kind, "steps": steps, "seeds": n})
    ]


def seeds_table(rows: list[dict[str, Any]]) -> list[str]:
    """The seconds, and how many times those of one seed."""
    one = {row["kind"]: row["seconds"] for row in rows if row["seeds"] == 1}
    lines = ["## Several seeds in one program", ""]
    lines += ["| | seeds | seconds | times one seed |", "| --- | ---: | ---: | ---: |"]
    for row in rows:
        ratio = row["seconds"] / one[row["kind"]]
        words = (row["kind"].upper(), str(row["seeds"]), f"{row['seconds']:.2f}")
        lines.append(f"| {' | '.join((*words, f'{ratio:.1f}'))} |")
    return lines


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add, names = parser.add_argument, list(agents.MODULES)
    add("--agent", choices=(*STEPS, "both"), default="both")
    add("--only", nargs="+", choices=names, default=names, metavar="NAME")
    add("--steps", type=int, help="of the environment; default: 40,960")
    add("--rounds", type=int, default=3, help="default: %(default)s")
    add("--seed", type=int, default=0, help="default: %(default)s")
    add("--small", action="store_true", help="a few steps, for tests")
    add("--out", default="out/benchmarks", help="folder for the results")
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
