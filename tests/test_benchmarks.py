# SPDX-License-Identifier: Apache-2.0
"""The benchmark runs, does the same work with every contender, and says what it did.

Times are never looked at, except that there are some.
"""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "train_mlp.py"
OWN = ["jaxnn", "raw-step", "raw-scan"]  # those that need no other library


PEERS = ["flax", "equinox", "haiku", "keras", "torch"]


def run(*arguments, warnings="error", **environment):
    """The script in a Python of its own."""
    return subprocess.run(
        [sys.executable, "-W", warnings, str(SCRIPT), *map(str, arguments)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """What a small run prints, and what it writes."""
    out = tmp_path_factory.mktemp("benchmarks")
    done = run("--small", "--only", *OWN, "--out", out)
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads((out / "train_mlp.json").read_text())


def test_table_has_a_row_for_each_contender(small):
    printed, report = small
    rows = [line.split() for line in printed.splitlines()]
    for result in report["results"]:
        row = next(r for r in rows if r[:2] == list(first_cells(result)))
        median = f"{result['ms_a_step']['median']:.3f}"
        assert median in row
    assert "ms/step" in printed and "compile s" in printed


def first_cells(result):
    return result["contender"], result["version"]


def test_every_round_and_step_is_accounted_for(small):
    _, report = small
    task = report["task"]
    assert [r["contender"] for r in report["results"]] == OWN
    for result in report["results"]:
        steps = task["epochs"] * task["examples"] // result["batch_size"]
        assert result["steps_a_turn"] == steps
        assert len(result["losses"]) == task["epochs"]
        times = result["ms_a_step"]
        assert len(times["rounds"]) == task["rounds"]
        assert 0 < times["min"] <= times["median"]
        assert result["compile_seconds"] >= 0


def test_ratios_are_to_jaxnn(small):
    _, report = small
    by_name = {r["contender"]: r for r in report["results"]}
    assert by_name["jaxnn"]["ratio_to_jaxnn"] == 1
    own = by_name["jaxnn"]["ms_a_step"]["rounds"]
    for r in report["results"]:
        pairs = zip(r["ms_a_step"]["rounds"], own, strict=True)
        ratios = [time / reference for time, reference in pairs]
        assert min(ratios) <= r["ratio_to_jaxnn"] <= max(ratios)


def test_jaxnn_tells_what_its_own_steps_took(small):
    _, report = small
    inside = {r["contender"]: r["inside_ms_a_step"] for r in report["results"]}
    assert 0 < inside["jaxnn"]
    assert inside["raw-step"] is None and inside["raw-scan"] is None


def test_all_do_the_same_work(small):
    """The two of raw JAX take the same batches, jaxnn those of another order."""
    _, report = small
    losses = {r["contender"]: r["losses"] for r in report["results"]}
    assert losses["raw-step"] == pytest.approx(losses["raw-scan"], rel=1e-4)
    assert losses["jaxnn"] == pytest.approx(losses["raw-scan"], rel=0.05)
    assert losses["jaxnn"] != losses["raw-scan"]
    assert losses["jaxnn"][-1] < losses["jaxnn"][0]


@pytest.mark.slow
def test_installed_peers_do_the_same_work(tmp_path):
    peers = [name for name in PEERS if importlib.util.find_spec(name)]
    if not peers:
        pytest.skip(f"none of {', '.join(PEERS)} is installed")
    arguments = ["--small", "--only", "raw-scan", *peers, "--out", tmp_path]
    done = run(*arguments, warnings="default")  # a peer may warn when it is imported
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "train_mlp.json").read_text())
    losses = {r["contender"]: r["losses"] for r in report["results"]}
    for name in peers:
        rel = 0.05 if name == "keras" else 1e-3  # Keras draws an order of its own
        assert losses[name] == pytest.approx(losses["raw-scan"], rel=rel), name


def test_machine_and_versions_are_written(small):
    import jax

    _, report = small
    machine = report["machine"]
    assert machine["cpu"] and machine["cores"] >= 1
    assert machine["versions"]["jax"] == jax.__version__
    assert report["absent"] == []


def test_an_absent_library_is_listed_and_left_out(tmp_path):
    """A `sitecustomize` makes Haiku unfindable, whether or not it is installed."""
    (tmp_path / "sitecustomize.py").write_text(HIDE)
    arguments = ["--small", "--rounds", 1, "--epochs", 1, "--out", tmp_path]
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    done = run(*arguments, "--only", "raw-scan", "haiku", PYTHONPATH=path)
    assert done.returncode == 0, done.stderr
    assert "not installed: haiku" in done.stdout
    report = json.loads((tmp_path / "train_mlp.json").read_text())
    assert report["absent"] == ["haiku"]
    assert [r["contender"] for r in report["results"]] == ["raw-scan"]
    assert report["results"][0]["ratio_to_jaxnn"] is None


HIDE = """\
import importlib.util

find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *a: None if name == "haiku" else find(name, *a)
"""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--batch-sizes", 7], "7 does not divide 640"),
        (["--rounds", 0], "--rounds and --epochs must be 1 or more"),
        (["--only", "nothing"], "invalid choice"),
    ],
)
def test_wrong_arguments_are_refused(arguments, said):
    done = run("--small", *arguments)
    assert done.returncode == 2
    assert said in done.stderr
