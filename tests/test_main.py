# SPDX-License-Identifier: Apache-2.0
"""`python -m jaxnn` prints what a bug report needs, whatever the device does."""

import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import jax
import pytest

import jaxnn as nn
from jaxnn.__main__ import report
from jaxnn.xla import guard


def facts(text):
    """The report by the name of each line."""
    cells = (line.partition("  ") for line in text.splitlines())
    return {name: fact.strip() for name, _, fact in cells}


@pytest.mark.quick
def test_the_report_has_versions_devices_and_settings(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", guard.FLAG)
    found = facts(report())
    assert found["jaxnn"].startswith(nn.__version__)
    for name in ("jax", "jaxlib", "optax", "numpy"):
        assert found[name] == version(name)
    assert found["Python"].startswith(".".join(map(str, sys.version_info[:3])))
    count = len(jax.devices())
    assert found["devices"].startswith(f"{count} x {jax.devices()[0].platform}")
    assert f"{os.cpu_count()} cores" in found["CPU"]
    assert found["XLA guard"] == guard.said()
    assert found["compiled programs"] == jax.config.jax_compilation_cache_dir
    assert found["XLA_FLAGS"] == guard.FLAG


def test_it_runs_where_no_device_can_be_opened():
    environment = {**os.environ, "JAX_PLATFORMS": "nowhere"}
    done = subprocess.run(
        [sys.executable, "-m", "jaxnn"],
        env={**environment, "PYTHONPATH": str(Path(nn.__file__).parents[1])},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found = facts(done.stdout)
    assert found["devices"].startswith("cannot be opened: ")
    assert "nowhere" in found["devices"] and found["JAX_PLATFORMS"] == "nowhere"


def test_the_bug_template_asks_for_it():
    template = Path(nn.__file__).parents[1] / ".github" / "ISSUE_TEMPLATE" / "bug.yml"
    if not template.exists():
        pytest.skip("jaxnn is installed without its checkout")
    assert "python -m jaxnn" in template.read_text("utf8")


def test_the_version_has_a_heading_in_the_changelog_and_a_citation():
    root = Path(__file__).parents[1]
    heads = re.findall(r"^## \[(.*?)\]", (root / "CHANGELOG.md").read_text(), re.M)
    assert nn.__version__ == heads[0] or heads[0] == "Unreleased"
    cited = re.search(r"^version: (.*)$", (root / "CITATION.cff").read_text(), re.M)
    assert cited is not None and cited[1] in heads
