# SPDX-License-Identifier: Apache-2.0
"""The course's examples run in their small mode, and show what they say they show."""

import runpy
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


def load(name):
    """An example's module, as a dict."""
    return runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name=name)


@pytest.fixture
def run(tmp_path, capsys):
    """Run an example; gives its numbers, its pictures' names and what it printed."""

    def run_example(name, *flags):
        numbers = load(name)["main"](["--small", "--out", str(tmp_path), *flags])
        pictures = {p.name for p in tmp_path.iterdir() if p.read_bytes()[1:4] == b"PNG"}
        return numbers, pictures, capsys.readouterr().out.splitlines()

    return run_example


@pytest.mark.slow
def test_perceptron_learns_and_or_but_not_xor(run):
    numbers, pictures, lines = run("perceptron_xor")
    assert numbers["and_errors"] == numbers["or_errors"] == 0
    assert numbers["xor_errors"] >= 1
    assert numbers["fixed_error"] < 1e-4
    assert numbers["trained_error"] < 0.05
    assert pictures == {"regions.png"}
    assert lines[-2].endswith("regions.png")
    assert lines[-1].startswith("the perceptron learns AND and OR; of XOR")


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_perceptron_does_so_from_any_start(run, seed):
    numbers, _, _ = run("perceptron_xor", "--seed", str(seed))
    assert numbers["and_errors"] == numbers["or_errors"] == 0
    assert numbers["xor_errors"] >= 1
    assert numbers["trained_error"] < 0.05


@pytest.mark.slow
def test_forward_pass_prints_the_worked_example(run):
    numbers, pictures, lines = run("forward_pass")
    np.testing.assert_allclose(numbers["f(1, -1)"], [0.62, 0.83], atol=0.005)
    np.testing.assert_allclose(numbers["f(0, 0)"], [0.51, 0.85], atol=0.005)
    assert "z = [ 1. -1.] W1 + b1 = [ 4. -2.]  ->  sigmoid(z) = [0.98 0.12]" in lines[1]
    assert "= [ 1.84 -2.08]  ->  sigmoid(z) = [0.86 0.11]" in lines[2]
    assert "sigmoid(z) = [0.62 0.83]" in lines[3]
    assert pictures == {"activations.png", "network_1_-1.png", "network_0_0.png"}
    assert lines[-1] == "f(1, -1) = [0.62 0.83]; f(0, 0) = [0.51 0.85]"


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_linear_regression_only_ever_gets_closer_to_least_squares(run, seed):
    numbers, pictures, lines = run("linear_regression", "--seed", str(seed))
    for name, outputs in (("one", 1), ("two", 2)):
        assert numbers[f"{name}_always_down"]
        assert numbers[f"{name}_always_closer"]
        above = numbers[f"{name}_loss"] - numbers[f"{name}_best_loss"]
        assert above > 0
        # Pythagoras: what is above the least squares loss is distance² a number.
        np.testing.assert_allclose(
            above, numbers[f"{name}_distance"] ** 2 / (5 * outputs), rtol=1e-6
        )
    assert pictures == {"descent.png"}
    assert lines[-1].startswith("after 200 steps the loss is")


@pytest.mark.slow
def test_universality_measures_width_and_depth(run):
    numbers, pictures, lines = run("universality")
    narrow, wide = numbers["wave"]
    assert wide < narrow / 2
    assert numbers["wave_sizes"] == [3 * 2 + 1, 3 * 8 + 1]
    (shallow,), (deep,) = numbers["shallow_sizes"], numbers["deep_sizes"]
    assert abs(shallow - deep) <= 10  # equal, as far as whole widths allow
    spread = np.sqrt(0.5)  # about the error of always saying 0
    assert 0 < numbers["shallow"][0] < spread and 0 < numbers["deep"][0] < spread
    assert pictures == {"wave.png", "rings.png"}
    assert lines[-1].startswith("the error")


@pytest.mark.slow
def test_gradient_descent_shows_its_troubles(run):
    numbers, pictures, lines = run("gradient_descent")
    assert numbers["right"] < numbers["large"] < numbers["too small"]
    assert numbers["too large"] > 10 * numbers["too small"]  # it flies away
    assert 0 < numbers["good_starts"] < 60  # some starts end in a local minimum
    # At the same rate and in as many epochs, more steps go further.
    assert numbers["stochastic"] < numbers["mini-batch of 8"] < numbers["full batch"]
    assert numbers["momentum 0.8"] < numbers["plain"]
    assert numbers["sigmoid"] < 0.01  # five layers: at most (1/4)⁵ but for the weights
    assert 0.1 < numbers["ReLU"] < 10
    assert pictures == {
        "learning_rates.png",
        "starts.png",
        "batches.png",
        "momentum.png",
        "vanishing.png",
    }
    assert lines[-1].startswith("descent from")
