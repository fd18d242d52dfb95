# SPDX-License-Identifier: Apache-2.0
"""The recipe, step by step: it gains, says what is chance, and asks the doctor."""

import csv

import numpy as np
import pytest
from example import drawn, load


def check(example, rows, folder, lines):
    """The rows, as they were returned, as they were printed and as they were saved."""
    for row, before in zip(rows[1:], rows, strict=False):
        gain = 100 * (row.validation - before.validation)
        np.testing.assert_allclose(row.gain, gain, atol=1e-4)
    for row in rows:
        (line,) = [line for line in lines if line.startswith(f"{row.name} ")]
        assert f"{row.validation:.2%}" in line
        certain = row.chance == 0 or abs(row.gain) > row.chance
        assert ("(chance)" in line) != certain
    assert sum("doctor:" in line for line in lines) >= len(rows)
    assert f"{rows[-1].validation:.2%} by the whole recipe; test accuracy" in lines[-1]
    assert drawn(folder / "recipe.png")
    with (folder / "recipe.csv").open() as file:
        table = list(csv.DictReader(file))
    assert [line["name"] for line in table] == [row.name for row in rows]
    assert f"== {rows[0].name} ==" in (folder / "doctor.txt").read_text("utf8")


def test_the_recipe_gains_and_the_doctor_has_a_word(
    offline, tmp_path, capsys, monkeypatch
):
    """Three of the steps, which share most of their programs, and two networks."""
    example = load("recipe")
    start, *_, adam, early, decay, _, _, _, _ = example.recipes(True, 2)
    bunch = decay._replace(name="2 networks", members=2)
    monkeypatch.setattr(example, "recipes", lambda *_: [start, adam, bunch])
    options = ["--small", "--epochs", "12", "--out", str(tmp_path)]
    rows = example.main(options)
    assert rows[0].train < 0.5 and rows[0].gain == 0
    assert "wrong output/loss pair" in rows[0].found
    assert rows[1].train > 0.97 and rows[1].validation > 0.9
    assert rows[1].gain > rows[1].chance > 0
    assert rows[2].validation > 0.9
    assert early.early_stopping and not adam.early_stopping
    check(example, rows, tmp_path, capsys.readouterr().out.splitlines())


@pytest.mark.slow
def test_the_whole_recipe(offline, tmp_path, capsys):
    example = load("recipe")
    options = ["--small", "--epochs", "12", "--members", "2", "--out", str(tmp_path)]
    rows = example.main(options)
    names = [row.name for row in rows]
    assert names[:4] == ["sigmoid, squared error", "cross-entropy", "ReLU", "Adam"]
    assert names[-2:] == ["convolutions", "2 networks"]
    assert rows[2].validation > rows[1].validation + 0.2
    assert rows[-1].validation > 0.93
    check(example, rows, tmp_path, capsys.readouterr().out.splitlines())


def test_gains_are_held_against_chance():
    """Of 200 images 10 are won and 2 lost: 4 points, with a deviation of √12 images."""
    compare = load("recipe").compare
    before = np.arange(200) < 102
    after = (np.arange(200) >= 2) & (np.arange(200) < 112)
    np.testing.assert_allclose(compare(after, before), (4, np.sqrt(12)))
    assert compare(after, None) == (0, 0)


def test_help_describes_the_example(capsys):
    example = load("recipe")
    with pytest.raises(SystemExit) as stop:
        example.main(["--help"])
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    assert example.__doc__.splitlines()[0] in shown
    for option in ("--small", "--seed", "--out", "--members"):
        assert option in shown


@pytest.mark.slow
@pytest.mark.needs("mnist")
def test_the_recipe_on_mnist_itself(tmp_path):
    options = ["--examples", "2000", "--epochs", "10", "--members", "2"]
    rows = load("recipe").main([*options, "--out", str(tmp_path)])
    assert rows[0].validation < 0.3
    assert rows[3].train > 0.98 and 0.88 < rows[3].validation < rows[-1].validation
