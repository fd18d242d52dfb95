# SPDX-License-Identifier: Apache-2.0
"""The cases kept as tests; `benchmarks/doctor.py` runs the others too."""

from pathlib import Path

import pytest
from cases import SETS

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
#: A few runs stay in the quick setting; the others take minutes.
QUICK = {
    *("bent surface by a plane", "7 sigmoid layers", "two softmaxes"),
    *("table in thousands", "split in order of class", "MLP on digits"),
}


def marked(cases):
    """The cases as parameters, slow but for those that are quick."""
    return [
        pytest.param(c, id=c.name, marks=() if c.name in QUICK else pytest.mark.slow)
        for c in cases
    ]


@pytest.mark.slow
@pytest.mark.parametrize("case", marked(c for c in SETS["kept"] if c.expected))
def test_a_planted_fault_is_named_first(case):
    report = case.run().diagnose()
    assert report.names[0] == case.expected, str(report)
    assert not report.healthy


@pytest.mark.parametrize("case", marked(c for c in SETS["kept"] if not c.expected))
def test_a_healthy_run_is_called_healthy(case):
    report = case.run().diagnose()
    assert report.healthy, str(report)
    assert "healthy: nothing wrong was found" in str(report)


def test_the_quick_cases_exist():
    assert {case.name for case in SETS["kept"]} >= QUICK


def test_the_bench_counts_hits(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import doctor

    found = doctor.main(["--only", "SGD 3, NaN", "--out", str(tmp_path)])
    assert [row["hit"] for row in found["rows"]] == [True]
    assert "kept: 1 of 1 (100%) named first" in capsys.readouterr().out
    assert (tmp_path / "doctor.json").exists()
    with pytest.raises(SystemExit, match="no case has 'xyz'"):
        doctor.main(["--only", "xyz"])
