# SPDX-License-Identifier: Apache-2.0
"""The recipe, step by step: it gains, says what is chance, and asks the doctor."""

import csv

import numpy as np
import pytest
from example import drawn, load


def check(rows, folder, lines):
    """The rows, as they were returned, as they were printed and as they were saved."""
    best = rows[0]
    for row in rows[1:]:
        gain = 100 * (row.validation - best.validation)
        np.testing.assert_allclose(row.gain, gain, atol=1e-4)
        verdict = "left out" if gain < -row.chance else "chance"
        assert row.verdict == ("" if gain > row.chance else verdict)
        best = best if row.verdict == "left out" else row
    for row in rows:
        (line,) = [line for line in lines if line.startswith(f"{row.name} ")]
        assert f"{row.validation:.2%}" in line and f" {row.verdict} " in line
    assert sum("doctor:" in line for line in lines) >= len(rows)
    assert f"{best.validation:.2%} by the whole recipe; test accuracy" in lines[-1]
    assert drawn(folder / "recipe.png")
    with (folder / "recipe.csv").open() as file:
        table = list(csv.DictReader(file))
    assert [line["name"] for line in table] == [row.name for row in rows]
    assert f"== {rows[0].name} ==" in (folder / "doctor.txt").read_text("utf8")


@pytest.mark.slow
def test_the_recipe_gains_and_the_doctor_has_a_word(
    offline, tmp_path, capsys, monkeypatch
):
    """Five steps in three: one that learns, one that unlearns, and two networks."""
    example = load("recipe")
    entropy, relu, adam, *_, bunch = example.changes(True, 2)
    slow = {"name": "too slow", "optimizer": example.optax.adam(1e-6)}
    steps = [entropy | relu | adam, slow, bunch]
    monkeypatch.setattr(example, "changes", lambda *_: steps)
    options = ["--small", "--epochs", "12", "--out", str(tmp_path)]
    first, learned, unlearned, two = rows = example.main(options)
    assert first.train < 0.5 and first.gain == 0
    assert "wrong output/loss pair" in first.found
    assert learned.train > 0.97 and learned.validation > 0.9 and learned.verdict == ""
    assert unlearned.verdict == "left out" and two.validation > 0.9
    check(rows, tmp_path, capsys.readouterr().out.splitlines())


@pytest.mark.slow
def test_the_whole_recipe(offline, tmp_path, capsys):
    options = ["--small", "--epochs", "12", "--members", "2", "--out", str(tmp_path)]
    rows = load("recipe").main(options)
    names = [row.name for row in rows]
    assert names[:4] == ["sigmoid, squared error", "cross-entropy", "ReLU", "Adam"]
    assert names[-2:] == ["convolutions", "2 networks"]
    assert rows[2].validation > rows[1].validation + 0.2
    assert rows[-1].validation > 0.93
    check(rows, tmp_path, capsys.readouterr().out.splitlines())


def test_gains_are_held_against_chance():
    """Of 200 images 10 are won and 2 lost: 4 points, with a deviation of √12 images."""
    compare = load("recipe").compare
    before = np.arange(200) < 102
    after = (np.arange(200) >= 2) & (np.arange(200) < 112)
    np.testing.assert_allclose(compare(after, before), (4, np.sqrt(12)))
    assert compare(after, None) == (0, 0)


@pytest.mark.slow
@pytest.mark.needs("mnist")
def test_the_recipe_on_mnist_itself(tmp_path):
    options = ["--examples", "2000", "--epochs", "10", "--members", "2"]
    rows = load("recipe").main([*options, "--out", str(tmp_path)])
    assert rows[0].validation < 0.3
    assert rows[3].train > 0.98
    assert 0.88 < rows[3].validation < rows[-1].validation
