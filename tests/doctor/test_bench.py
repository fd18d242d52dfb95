# SPDX-License-Identifier: Apache-2.0
"""The tests' half of the doctor's bench; `benchmarks/doctor.py` runs both halves."""

from pathlib import Path

import planted
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
#: One run for each kind of check stays in the quick setting; the others take minutes.
QUICK = {
    *("bent surface by a plane", "7 sigmoid layers"),
    *("sigmoids driven flat", "two softmaxes", "table in thousands", "20 rows"),
    *("a third of labels wrong", "split in order of class", "biases -6"),
    *("MLP on digits", "blurred rings, small net", "autoencoder"),
}


def marked(cases):
    """The cases as parameters, slow but for those that are quick."""
    return [
        pytest.param(c, id=c.name, marks=() if c.name in QUICK else pytest.mark.slow)
        for c in cases
    ]


@pytest.mark.parametrize("case", marked(planted.PLANTED))
def test_a_planted_fault_is_named_first(case):
    report = case.run().diagnose()
    assert report.names[0] == case.expected, str(report)
    assert not report.healthy


@pytest.mark.parametrize("case", marked(planted.HEALTHY))
def test_a_healthy_run_is_called_healthy(case):
    report = case.run().diagnose()
    assert report.healthy, str(report)
    assert "healthy: nothing wrong was found" in str(report)


def test_the_quick_cases_exist():
    assert {case.name for case in planted.PLANTED + planted.HEALTHY} >= QUICK


def test_the_bench_counts_hits(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import doctor

    found = doctor.main(["--only", "SGD 3, NaN", "--out", str(tmp_path)])
    assert [row["hit"] for row in found["rows"]] == [True]
    assert "kept: 1 of 1 (100%) named first" in capsys.readouterr().out
    assert (tmp_path / "doctor.json").exists()
    with pytest.raises(SystemExit, match="no case has 'xyz'"):
        doctor.main(["--only", "xyz"])
