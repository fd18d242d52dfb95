# SPDX-License-Identifier: Apache-2.0
"""What a benchmark says: of the machine, and of its results as a table."""

import os
import platform
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import jax

COLUMNS = "contender", "version", "how", "ms/step", "min", "ratio", "compile s", "loss"
ROW = "{:<9}  {:<10}  {:<24}  {:>8}  {:>7}  {:>6}  {:>9}  {:>7} to {:>6}"


def heading(report: dict[str, Any]) -> list[str]:
    """The machine and the task, and what to beware of."""
    where, task = report["machine"], report["task"]
    shape = "-".join(map(str, task["widths"]))
    lines = [f"{where['cpu']}, {where['cores']} cores, JAX on {where['device']}"]
    lines += [f"MLP {shape}, {task['examples']} examples, {task['rounds']} rounds"]
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
    for r in results:
        if r["inside_ms_a_step"] is not None:
            lines.append(
                f"{r['contender']} itself counts {r['inside_ms_a_step']:.3f} ms a step "
                "in compiled steps; the rest are checks, copies and shuffling"
            )
    return lines


def cells(r: dict[str, Any]) -> list[str]:
    """One contender's row: losses are those of the first epoch and of the last."""
    ms, times = r["ms_a_step"], r["ratio_to_jaxnn"]
    numbers = [f"{ms['median']:.3f}", f"{ms['min']:.3f}"]
    numbers += ["-" if times is None else f"{times:.2f}", f"{r['compile_seconds']:.2f}"]
    numbers += [f"{r['losses'][0]:.4f}", f"{r['losses'][-1]:.4f}"]
    return [r["contender"], r["version"], r["how"], *numbers]


def machine() -> dict[str, Any]:
    """Where it was measured, and with what."""
    libraries = ("jax", "jaxlib", "numpy", "optax")
    return {
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "load_before": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "system": platform.platform(),
        "device": jax.devices()[0].device_kind,
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
