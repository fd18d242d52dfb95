"""Runs that are killed are the runs that nobody killed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import jaxnn as nn


@pytest.mark.slow
@pytest.mark.parametrize("what", ["network", "players"])
def test_a_run_that_is_killed_again_and_again_loses_nothing(what):
    """`JAXNN_KILLS=200` kills it 200 times."""
    kills = os.environ.get("JAXNN_KILLS", "12")
    script = Path(__file__).with_name("kills.py")
    run = subprocess.run(
        [sys.executable, str(script), kills, what],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(nn.__file__).parents[1])},
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert int(run.stdout.splitlines()[-1].split()[0]) >= int(kills)
