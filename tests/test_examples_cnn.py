# SPDX-License-Identifier: Apache-2.0
"""The examples with convolutional networks: they run, learn, look inside and draw."""

import jax
import numpy as np
import pytest
from example import drawn, load

import jaxnn as nn


@pytest.fixture
def run(offline, tmp_path, capsys):
    """Run an example's small mode offline; its numbers, pictures and what it said."""

    def run(name, *options):
        numbers = load(name).main(["--small", "--out", str(tmp_path), *options])
        pictures = {path.stem for path in tmp_path.glob("*.png") if drawn(path)}
        return numbers, pictures, capsys.readouterr().out.strip().splitlines()

    return run


INSIDE = {"learning_curves", "confusion", "filters", "feature_maps", "evidence"}


@pytest.mark.slow
def test_mnist_cnn_learns_and_looks_inside(run, tmp_path):
    numbers, pictures, lines = run("mnist_cnn")
    assert 0.95 < numbers["accuracy"] <= 1
    assert pictures == INSIDE | {"predictions"}
    assert f"accuracy {numbers['accuracy']:.2%}" in lines[-1]
    wrong = int(lines[-1].split(": ")[-1].split(" of ")[0])
    assert wrong == round((1 - numbers["accuracy"]) * 360)
    saved = nn.load(tmp_path / "network.safetensors")
    assert set(saved["params"]) >= {"conv_1", "conv_2", "conv_3", "dense_2"}


@pytest.mark.slow
def test_fashion_cnn_learns_and_shows_confusions(run):
    numbers, pictures, lines = run("fashion_cnn")
    assert 0.9 < numbers["accuracy"] <= 1
    assert pictures == INSIDE | {"confused"}
    assert f"accuracy {numbers['accuracy']:.2%}" in lines[-1]


@pytest.mark.slow
def test_deep_dream_makes_layers_livelier(run):
    numbers, pictures, lines = run("deep_dream")
    assert numbers["accuracy"] > 0.85
    assert all(numbers[layer] > 1.2 for layer in ("block1", "block2", "block3"))
    assert numbers["recognized"] >= 0.5  # by chance, a tenth
    assert pictures == {"dreams", "classes"}
    assert f"test accuracy {numbers['accuracy']:.2%}; block3 answers" in lines[-1]


def test_dreaming_leaves_the_network_alone_and_pixels_in_range(key):
    example = load("deep_dream")
    images = jax.random.uniform(key, (2, 8, 8, 3))
    trees = example.net.init(key, images)
    score = example.own_class
    ends, gain = example.dream(trees, images, score=score, sizes=(8,), steps=3)
    assert ends.shape == images.shape
    assert 0 <= ends.min() and ends.max() <= 1
    assert not np.allclose(ends, images)
    assert np.isfinite(gain)


# ---- the real data ----


@pytest.mark.slow
@pytest.mark.needs("mnist")
def test_mnist_cnn_on_mnist_itself(tmp_path):
    result = load("mnist_cnn").main(["--epochs", "2", "--out", str(tmp_path)])
    assert result["accuracy"] > 0.985
