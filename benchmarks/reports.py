# SPDX-License-Identifier: Apache-2.0
"""What a benchmark says: of the machine, and of its results as a table."""

import json
import os
import platform
import time
from importlib import metadata
from pathlib import Path
from typing import Any

COLUMNS = "contender", "version", "how", "ms/step", "min", "ratio", "compile s", "loss"
ROW = "{:<9}  {:<10}  {:<24}  {:>8}  {:>7}  {:>6}  {:>9}  {:>7} to {:>6}"


def heading(report: dict[str, Any]) -> list[str]:
    """The machine and the task, and what to beware of."""
    task, first, *rest = report["task"], *machine_lines(report)
    shape = "-".join(map(str, task["widths"]))
    return [
        first,
        f"MLP {shape}, {task['examples']} examples, {task['rounds']} rounds",
        *rest,
    ]


def machine_lines(report: dict[str, Any]) -> list[str]:
    """The machine, and what to beware of."""
    where = report["machine"]
    lines = [f"{where['cpu']}, {where['cores']} cores, JAX on {where['device']}"]
    if report["absent"]:
        lines += [f"not installed: {', '.join(report['absent'])}"]
    if (where["load_before"] or 0) > where["cores"] / 2:
        lines += [
            f"beware: the machine is busy (load {where['load_before']:.1f}), and "
            "libraries suffer from that to very different degrees"
        ]
    return lines


def table(results: list[dict[str, Any]]) -> list[str]:
    """The results of one batch size as lines of text."""
    first = results[0]
    lines = [f"batch size {first['batch_size']}, {first['steps_a_turn']} steps a turn"]
    lines += [ROW.format(*COLUMNS, "last")]
    lines += [ROW.format(*cells(result)) for result in results]
    return lines + inside_lines(results)


def inside_lines(results: list[dict[str, Any]]) -> list[str]:
    """What a library itself counts."""
    return [
        f"{r['contender']} itself counts {r['inside_ms_a_step']:.3f} ms a step "
        "in compiled steps; the rest are checks, copies and shuffling"
        for r in results
        if r["inside_ms_a_step"] is not None
    ]


def cells(r: dict[str, Any]) -> list[str]:
    """One contender's row: losses are those of the first epoch and of the last."""
    ms, times = r["ms_a_step"], r["ratio_to_jaxnn"]
    numbers = [f"{ms['median']:.3f}", f"{ms['min']:.3f}"]
    numbers += ["-" if times is None else f"{times:.2f}", f"{r['compile_seconds']:.2f}"]
    numbers += [f"{r['losses'][0]:.4f}", f"{r['losses'][-1]:.4f}"]
    return [r["contender"], r["version"], r["how"], *numbers]


def step_lines(results: list[dict[str, Any]], title: str) -> list[str]:
    """The results of one work as a Markdown table, and notes on them."""
    columns = ["contender", "version", "how", "ms/step", "min", "ratio"]
    columns += ["compile s", "memory MiB", "loss, first 2 steps", "the same again"]
    fast = any(r["device_memory_bytes"] for r in results)
    unit = "tokens" if "tokens_a_second" in results[0] else "images"
    if fast or unit == "tokens":
        columns += [f"{unit}/s"]
    if fast:
        columns += ["device MiB", "TFLOP/s", "of peak"]
    rows = [step_cells(r) + speed_cells(r, unit, fast) for r in results]
    lines = [title, "", *markdown(columns, rows), "", *inside_lines(results)]
    usual = max(r["steps_a_turn"] for r in results)
    return lines + [
        f"{r['contender']} took {r['steps_a_turn']} steps in {r['rounds']} of the "
        f"rounds, others {usual} steps in each; ratios are of the time a step"
        for r in results
        if r["steps_a_turn"] < usual
    ]


def step_cells(r: dict[str, Any]) -> list[str]:
    """One contender's row."""
    ms = r["ms_a_step"]
    return [
        r["contender"],
        r["version"],
        r["how"],
        f"{ms['median']:.2f}",
        f"{ms['min']:.2f}",
        number(r["ratio_to_jaxnn"]),
        f"{r['compile_seconds']:.2f}",
        mebibytes(r["memory_bytes"]),
        *[f"{loss:.4f}" for loss in r["probe_losses"]],
    ]


def speed_cells(r: dict[str, Any], unit: str, fast: bool) -> list[str]:
    """What text adds to a row, and an accelerator."""
    rate = [f"{r[f'{unit}_a_second']:,.0f}"]
    if not fast:
        return rate if unit == "tokens" else []
    share = r["share_of_peak"]
    return [
        *rate,
        mebibytes(r["device_memory_bytes"]),
        f"{r['tflops']:.2f}",
        "-" if share is None else f"{share:.1%}",
    ]


def generate_lines(results: list[dict[str, Any]], title: str) -> list[str]:
    """Generation as Markdown tables, one a batch size."""
    columns = ["contender", "version", "how", "tokens/s", "ms/token", "min", "ratio"]
    columns += ["compile s", "memory MiB"]
    lines = [title]
    for size in sorted({r["batch_size"] for r in results}):
        rows = [generate_cells(r) for r in results if r["batch_size"] == size]
        lines += ["", f"batch size {size}", "", *markdown(columns, rows)]
    return lines


def generate_cells(r: dict[str, Any]) -> list[str]:
    """One contender's row; a token is one of every text in the batch."""
    ms = r["ms_a_token"]
    return [
        r["contender"],
        r["version"],
        r["how"],
        f"{r['tokens_a_second']:,.0f}",
        f"{ms['median']:.4f}",
        f"{ms['min']:.4f}",
        number(r["ratio_to_jaxnn"]),
        f"{r['compile_seconds']:.2f}",
        mebibytes(r["memory_bytes"]),
    ]


def first_call_lines(results: list[dict[str, Any]], title: str) -> list[str]:
    """First calls as a Markdown table."""
    columns = ["contender", "version", "how", "first call s", "ratio", "warm call s"]
    columns += ["build s", "ratio with build", "memory MiB", "first loss", "fourth"]
    rows = [
        [
            r["contender"],
            r["version"],
            r["how"],
            f"{r['first_call_seconds']:.2f}",
            number(r["ratio_to_jaxnn"]),
            f"{r['warm_call_seconds']:.3f}",
            f"{r['build_seconds']:.2f}",
            number(r["ratio_with_build"]),
            mebibytes(r["memory_bytes"]),
            f"{r['losses'][0]:.4f}",
            f"{r['losses'][-1]:.4f}",
        ]
        for r in results
    ]
    notes = [
        f"{r['contender']} itself counts {r['inside_seconds']['trace']:.2f} s of "
        f"tracing and {r['inside_seconds']['compile']:.2f} s of compiling"
        for r in results
        if r["inside_seconds"]
    ]
    return [title, "", *markdown(columns, rows), "", *notes]


def number(value: float | None) -> str:
    """A ratio, or a dash."""
    return "-" if value is None else f"{value:.2f}"


def mebibytes(count: int | None) -> str:
    """An amount of memory, or a dash."""
    return "-" if count is None else f"{count / 2**20:,.0f}"


def markdown(columns: list[str], rows: list[list[str]]) -> list[str]:
    """A table whose columns stand straight; the first three to the left."""
    table = [columns, *rows]
    widths = [max(len(row[i]) for row in table) for i in range(len(columns))]

    def line(row: list[str]) -> str:
        cells = [
            cell.ljust(width) if i < 3 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        return f"| {' | '.join(cells)} |"

    rule = ["-" * w if i < 3 else "-" * (w - 1) + ":" for i, w in enumerate(widths)]
    return [line(columns), line(rule), *map(line, rows)]


def show(lines: list[str]) -> list[str]:
    """Print them."""
    print("\n".join(lines), flush=True)
    return lines


def write(folder: Path, name: str, report: dict[str, Any], lines: list[str]) -> None:
    """The report as JSON, and what was printed as Markdown."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(report, indent=2) + "\n")
    (folder / f"{name}.md").write_text("\n".join(lines) + "\n")


#: Dense TFLOP/s by device, in the precision that JAX takes for float32 by default:
#: TF32 on NVIDIA from A100 on, bfloat16 on TPU. From the makers' data sheets.
PEAKS = {
    "B200": 1125,
    "H200": 495,
    "H100 PCIe": 378,
    "H100": 495,
    "A100": 156,
    "L40S": 183,
    "L4": 60,
    "A10": 62.5,
    "T4": 8.1,
    "V100": 15.7,
    "TPU v6": 918,
    "TPU v5p": 459,
    "TPU v5": 197,
    "TPU v4": 275,
    "TPU v3": 61,
    "TPU v2": 23,
}


def peak_tflops() -> float | None:
    """The device's peak, where it is known."""
    import jax

    kind = jax.devices()[0].device_kind
    return next((peak for name, peak in PEAKS.items() if name in kind), None)


def machine() -> dict[str, Any]:
    """Where it was measured, and with what."""
    import jax  # a contender's process may have no use for it

    libraries = ("jax", "jaxlib", "numpy", "optax")
    return {
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "load_before": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "system": platform.platform(),
        "device": jax.devices()[0].device_kind,
        "backend": jax.default_backend(),
        "date": time.strftime("%Y-%m-%d"),
        "python": platform.python_version(),
        "versions": {name: metadata.version(name) for name in libraries},
    }


def cpu_model() -> str:
    """The processor's name, where Linux tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if "model name" in line]
    return names[0] if names else platform.processor() or platform.machine()
