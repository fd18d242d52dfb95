# SPDX-License-Identifier: Apache-2.0
"""`python -m jaxnn`: versions and devices, for a bug report."""

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import jax

import jaxnn
from jaxnn.xla import guard

PACKAGES = ("jax", "jaxlib", "optax", "numpy", "safetensors")
#: Environment variables that change what JAX computes, or where.
NAMED = ("XLA_FLAGS", "JAX_PLATFORMS", "JAX_ENABLE_X64", "CUDA_VISIBLE_DEVICES")


def report() -> str:
    """A line for each fact; nothing is downloaded and no program is compiled."""
    facts = {
        "jaxnn": f"{jaxnn.__version__} in {Path(jaxnn.__file__).parent}",
        **{name: _version(name) for name in PACKAGES},
        "Python": f"{platform.python_version()} ({sys.executable})",
        "system": platform.platform(),
        "CPU": f"{_cpu()}, {os.cpu_count()} cores",
        "devices": _devices(),
        "XLA guard": guard.said(),
        "compiled programs": _cache(),
        **{name: os.environ[name] for name in NAMED if name in os.environ},
    }
    width = max(map(len, facts))
    return "\n".join(f"{name:{width}}  {fact}" for name, fact in facts.items())


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "is not installed"


def _cache() -> str:
    """Where JAX keeps compiled programs from one run to the next."""
    return getattr(jax.config, "jax_compilation_cache_dir", None) or "not kept on disk"


def _devices() -> str:
    """The devices, or why they cannot be opened."""
    try:
        found = jax.devices()
    except Exception as error:  # whatever a driver raises: the report goes on
        return f"cannot be opened: {' '.join(str(error).split()):.300}"
    kinds = [f"{device.platform} ({device.device_kind})" for device in found]
    return ", ".join(f"{kinds.count(kind)} x {kind}" for kind in dict.fromkeys(kinds))


def _cpu() -> str:
    """The name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf8").splitlines()
    except OSError:  # not on Linux
        lines = []
    names = [line.partition(":")[2] for line in lines if line.startswith("model name")]
    return names[0].strip() if names else platform.processor() or platform.machine()


if __name__ == "__main__":
    print(report())
