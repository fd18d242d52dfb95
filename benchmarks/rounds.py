# SPDX-License-Identifier: Apache-2.0
"""Contenders in processes of their own take turns: at training, and at writing."""

import argparse
import math
import statistics
from collections.abc import Callable
from typing import Any

import reports
from contenders import generate as writers
from contenders import turns, worker, works

LIMITS = {"cpu": (1e-3, 2e-2)}  # by which losses may differ: steps 1-2, steps 3-4
LIMITS_ELSEWHERE = 2e-2, 0.1  # products of fewer bits
PROBE = 2  # steps whose losses are compared, twice over

Amounts = dict[str, dict[str, int]]  # by contender: steps an epoch, epochs, rounds


def train(args: argparse.Namespace, work: str, todo: Amounts) -> dict[str, Any]:
    """Time training on one work, in rounds.

    Args:
        args: with `small`, `seed`, `rounds`, `peak_tflops`, and JAX's `backend`.
        work: its name.
        todo: how much each contender does.

    Returns:
        The results, and the lines that tell them.
    """
    facts = {"probe_steps": PROBE, "backend": args.backend}
    run = take(
        "train",
        args,
        work,
        {name: facts | own for name, own in todo.items()},
        lambda probes: check_probes(work, probes, args),
        lambda name, turn: check_losses(work, name, turn["losses"]),
    )
    found = [result(args, work, name, todo, *run) for name in todo]
    return {"results": found, "lines": reports.step_lines(found, title(args, work))}


def generate(args: argparse.Namespace, work: str, todo: Amounts) -> dict[str, Any]:
    """Time generation by one work's network, in rounds.

    Args:
        args: as for `train`.
        work: its name.
        todo: how much each contender does: tokens a call, calls a turn, rounds.

    Returns:
        The results by contender and batch size, and the lines that tell them.
    """
    run = take(
        "generate",
        args,
        work,
        {name: {"backend": args.backend, **own} for name, own in todo.items()},
        lambda probes: check_tokens(work, probes, args),
        lambda name, turn: None,
    )
    sizes = writers.BATCH_SIZES
    found = [generated(work, n, name, todo, *run) for n in sizes for name in todo]
    some = next(iter(todo.values()))
    line = (
        f"{works.find(work, args.small).title}: {some['tokens']} tokens after "
        f"{writers.PROMPT}, {some['calls']} calls a turn, {args.rounds} rounds"
    )
    return {"results": found, "lines": reports.generate_lines(found, line)}


def check_tokens(work: str, probes: dict[str, dict], args: argparse.Namespace) -> None:
    """Raise unless all write the same; but for rounding, elsewhere than on a CPU."""
    reference = reference_of(probes)
    for name, probe in probes.items():
        for n, rows in probe["tokens"].items():
            pairs = zip(rows, probes[reference]["tokens"][n], strict=True)
            same = [beginning(row) == beginning(other) for row, other in pairs]
            if sum(same) < len(same) * (1 if args.backend == "cpu" else 0.5):
                raise SystemExit(
                    f"{work}: {name} writes other text than {reference}, in "
                    f"{len(same) - sum(same)} of {len(same)} rows"
                )


def beginning(row: list[int]) -> list[int]:
    """The tokens that are compared: later ones can differ by rounding."""
    return row[: writers.COMPARED]


def generated(
    work: str,
    size: int,
    name: str,
    todo: Amounts,
    probes: dict[str, dict],
    taken: dict[str, list[dict]],
    peaks: dict[str, dict],
) -> dict[str, Any]:
    """What is known of one contender at one batch size."""
    probe, tokens, n = probes[name], todo[name]["tokens"], str(size)
    times = [1e3 * turn[n] / tokens for turn in taken[name]]
    own = None
    if "jaxnn" in taken:
        own = [1e3 * turn[n] / tokens for turn in taken["jaxnn"]]
    median = statistics.median(times)
    return {
        "work": work,
        "contender": name,
        "version": probe["version"],
        "how": probe["how"],
        "batch_size": size,
        "tokens_a_call": tokens,
        "rounds": len(times),
        "ms_a_token": {"median": median, "min": min(times), "rounds": times},
        "ratio_to_jaxnn": turns.ratio(times, own),
        "tokens_a_second": 1e3 * size / median,
        "compile_seconds": max(0.0, probe["first"][n] - probe["warm"][n]),
        "memory_bytes": peaks[name]["memory"],
    }


def take(
    kind: str,
    args: argparse.Namespace,
    work: str,
    todo: dict[str, dict[str, Any]],
    check_probes: Callable[[dict[str, dict]], None],
    check_turn: Callable[[str, dict], None],
) -> tuple[dict[str, dict], dict[str, list[dict]], dict[str, dict]]:
    """Contenders are made, probed and warmed up, and then take turns.

    Gives, by contender, what the probe, the turns and the last request gave.
    """
    names, workers = list(todo), {}
    probes, taken = {}, {name: [] for name in names}
    try:
        for name in names:
            facts = {"work": work, "small": args.small, "seed": args.seed}
            own = {"name": name, **facts, **todo[name]}
            workers[name] = worker.Worker(kind, own)
            probes[name] = workers[name].ask("probe")
        check_probes(probes)
        for name in names:
            workers[name].ask("warm up")
        for number in range(args.rounds):
            for name in turns.rotated(names, number):
                if number < todo[name]["rounds"]:
                    taken[name].append(workers[name].ask("turn"))
                    check_turn(name, taken[name][-1])
        peaks = {name: workers[name].ask("peak") for name in names}
    finally:
        for each in workers.values():
            each.close()
    return probes, taken, peaks


def check_probes(work: str, probes: dict[str, dict], args: argparse.Namespace) -> None:
    """Raise unless all networks are of one size and learn alike from one beginning."""
    wanted = works.find(work, args.small).parameters()
    limits = LIMITS.get(args.backend, LIMITS_ELSEWHERE)
    reference = reference_of(probes)
    for name, probe in probes.items():
        count, losses = probe["parameters"], probe["losses"]
        if count != wanted:
            raise SystemExit(f"{work}: {name} has {count} parameters for {wanted}")
        check_losses(work, name, losses)
        pairs = zip(losses, probes[reference]["losses"], limits, strict=True)
        if not all(abs(a - b) <= limit * abs(b) for a, b, limit in pairs):
            other = probes[reference]["losses"]
            raise SystemExit(
                f"{work}: {name} does other work than {reference}: from the same "
                f"weights and batches its losses are {losses}, not {other}"
            )


def reference_of(found: dict[str, Any]) -> str:
    """The contender with which others are compared: jaxnn, or else the first."""
    return "jaxnn" if "jaxnn" in found else next(iter(found))


def check_losses(work: str, name: str, losses: list[float]) -> None:
    """Raise unless every loss is finite, and the last of several below the first."""
    falling = len(losses) == 1 or losses[-1] < losses[0]
    if not (all(map(math.isfinite, losses)) and falling):
        raise SystemExit(f"{work}: {name} does not learn; losses {losses}")


def result(
    args: argparse.Namespace,
    work: str,
    name: str,
    todo: Amounts,
    probes: dict[str, dict],
    taken: dict[str, list[dict]],
    peaks: dict[str, dict],
) -> dict[str, Any]:
    """What is known of one contender on one work."""
    setup, probe, count = (
        works.find(work, args.small),
        probes[name],
        steps_of(todo[name]),
    )
    times, own = milliseconds(taken[name], count), None
    if "jaxnn" in taken:
        own = milliseconds(taken["jaxnn"], steps_of(todo["jaxnn"]))[: len(times)]
    inside = [turn["inside"] for turn in taken[name]]
    median = statistics.median(times)
    tflops = setup.flops() / median / 1e9
    peak_tflops = args.peak_tflops or reports.peak_tflops()
    return {
        "work": work,
        "contender": name,
        "version": probe["version"],
        "how": probe["how"],
        "batch_size": setup.batch_size,
        "parameters": probe["parameters"],
        "steps_a_turn": count,
        "rounds": len(times),
        "ms_a_step": {"median": median, "min": min(times), "rounds": times},
        "inside_ms_a_step": None
        if None in inside
        else 1e3 * statistics.median(inside) / count,
        "ratio_to_jaxnn": turns.ratio(times, own),
        f"{setup.unit}_a_second": 1e3 * setup.units / median,
        "tflops": tflops,
        "share_of_peak": tflops / peak_tflops if peak_tflops else None,
        "compile_seconds": max(0.0, probe["first"] - probe["warm"]),
        "build_seconds": probe["build"],
        "memory_bytes": peaks[name]["memory"],
        "device_memory_bytes": peaks[name]["device_memory"],
        "probe_losses": probe["losses"],
        "losses": taken[name][0]["losses"],
    }


def steps_of(amount: dict[str, int]) -> int:
    """Steps of a turn."""
    return amount["steps"] * amount["epochs"]


def milliseconds(taken: list[dict], count: int) -> list[float]:
    """A step's time in each turn."""
    return [1e3 * turn["seconds"] / count for turn in taken]


def title(args: argparse.Namespace, work: str) -> str:
    """What is trained, in a line."""
    setup = works.find(work, args.small)
    return (
        f"{setup.title} on {setup.shape}: {setup.parameters():,} parameters, batch "
        f"size {setup.batch_size}, {setup.rule}, {args.rounds} rounds"
    )
