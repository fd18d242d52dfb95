"""Runs that are killed are the runs that nobody killed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import jaxnn as nn

pytestmark = pytest.mark.slow


def killed(script, kills, *options):
    """Runs a script that kills so often; `JAXNN_KILLS=200` makes it 200 times."""
    kills = os.environ.get("JAXNN_KILLS", kills)
    script = Path(__file__).with_name(script)
    run = subprocess.run(
        [sys.executable, str(script), kills, *options],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(nn.__file__).parents[1])},
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert int(run.stdout.splitlines()[-1].split()[0]) >= int(kills)


@pytest.mark.parametrize("what", ["network", "players", "background"])
def test_a_run_that_is_killed_again_and_again_loses_nothing(what):
    killed("kills.py", "12", what)


@pytest.mark.parametrize("processes", ["2", "4"])
def test_processes_that_are_killed_again_and_again_lose_nothing(processes):
    killed("kills_together.py", "4", "--processes", processes)
