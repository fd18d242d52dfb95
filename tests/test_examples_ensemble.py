# SPDX-License-Identifier: Apache-2.0
"""The example of an ensemble: it runs, it counts right, together they read better."""

import numpy as np
import pytest
from example import drawn, load


@pytest.mark.slow
def test_together_they_read_better(offline, tmp_path, capsys):
    options = ["--small", "--members", "6", "--epochs", "15", "--out", str(tmp_path)]
    result = load("ensemble").main(options)
    assert result["together"] < result["alone"] < 0.2
    assert result["best"] <= result["alone"]
    last = capsys.readouterr().out.strip().splitlines()[-1]
    assert last.endswith(f"together {result['together']:.2%}")
    for picture in ("learning_curves", "error_by_members"):
        assert drawn(tmp_path / f"{picture}.png")


def test_errors_of_the_first_so_many():
    said = np.array([[[0.9, 0.1], [0.6, 0.4]], [[0.8, 0.2], [0.1, 0.9]]])
    labels = np.array([0, 1])
    assert load("ensemble").errors_of(said, labels).tolist() == [0.5, 0.0]


@pytest.mark.slow
@pytest.mark.needs("mnist")
def test_on_mnist_itself(tmp_path):
    options = ["--epochs", "3", "--members", "6", "--out", str(tmp_path)]
    result = load("ensemble").main(options)
    assert result["together"] < result["best"] < result["alone"] < 0.04
