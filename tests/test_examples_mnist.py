# SPDX-License-Identifier: Apache-2.0
"""The examples on digits, MNIST and Fashion-MNIST: they run, learn and draw."""

from pathlib import Path

import jax
import numpy as np
import pytest
from example import load

import jaxnn as nn


def pixels(path: Path) -> np.ndarray:
    """A picture as [height, width, RGBA]; fails unless something is drawn in it."""
    from matplotlib.image import imread

    picture = imread(path)
    assert picture[..., :3].std() > 0.05
    return picture


def has_red(path: Path) -> bool:
    red, green, blue = np.moveaxis(pixels(path)[..., :3], -1, 0)
    return bool(((red > 0.9) & (green < 0.1) & (blue < 0.1)).any())


def last_line(capsys) -> str:
    return capsys.readouterr().out.strip().splitlines()[-1]


# ---- digits ----


def test_digits_learns_in_ten_epochs(tmp_path, capsys):
    result = load("digits").main(["--small", "--out", str(tmp_path)])
    assert 0.93 < result["accuracy"] <= 1
    assert 0 < result["loss"] < 0.25
    assert f"test accuracy {result['accuracy']:.2%}" in last_line(capsys)
    pixels(tmp_path / "learning_curves.png")
    assert has_red(tmp_path / "predictions.png")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_digits_reaches_97_percent_with_any_seed(tmp_path, seed):
    result = load("digits").main(["--seed", str(seed), "--out", str(tmp_path)])
    assert result["accuracy"] >= 0.97


# ---- mnist_mlp ----


@pytest.mark.parametrize(
    "options",
    [
        [],
        pytest.param(
            ["--momentum", "0.9", "--learning-rate", "0.02"], marks=pytest.mark.slow
        ),
    ],
)
def test_mnist_mlp_learns(offline, tmp_path, capsys, options):
    result = load("mnist_mlp").main(["--small", "--out", str(tmp_path), *options])
    assert 0.95 < result["accuracy"] <= 1
    assert f"accuracy {result['accuracy']:.4f}" in last_line(capsys)
    for picture in ("learning_curves", "predictions", "confusion"):
        pixels(tmp_path / f"{picture}.png")


def test_mnist_mlp_survives_in_its_file(offline, tmp_path, capsys):
    example = load("mnist_mlp")
    result = example.main(["--small", "--epochs", "2", "--out", str(tmp_path)])
    assert "it predicts the very same numbers" in capsys.readouterr().out
    path = tmp_path / "network.safetensors"
    assert nn.io.header(path)["spec"] == repr(example.net)
    saved = nn.load(path)
    _, test = nn.data.digits()
    again = nn.evaluate(
        example.net, (saved["params"], {}), test, metrics=example.metrics
    )
    assert again["accuracy"] == result["accuracy"]


def test_mnist_mlp_notices_a_file_that_predicts_otherwise(tmp_path, monkeypatch, key):
    example = load("mnist_mlp")
    (images, _), _ = nn.data.digits()
    params, state = example.net.init(key, images[:1])
    other, _ = example.net.init(jax.random.fold_in(key, 1), images[:1])
    monkeypatch.setattr(nn, "load", lambda path, like: (other, state))
    with pytest.raises(RuntimeError, match="predicts other numbers"):
        example.check_file(tmp_path / "file", (params, state), images[:5])


@pytest.mark.slow
@pytest.mark.needs("mnist")
def test_mnist_mlp_on_mnist_itself(tmp_path):
    result = load("mnist_mlp").main(["--epochs", "2", "--out", str(tmp_path)])
    assert result["accuracy"] > 0.96


# ---- mnist_sigmoid ----


@pytest.mark.slow
def test_the_recipe_gains_at_each_step(offline, tmp_path, capsys):
    rows = load("mnist_sigmoid").main(["--small", "--out", str(tmp_path)])
    first, entropy, relu, momentum, adagrad, dropout = rows.values()
    assert first.test + 0.3 < entropy.test < relu.test - 0.1
    assert min(momentum.test, adagrad.test, dropout.test) > 0.95
    assert relu.train < min(momentum.train, adagrad.train)
    assert max(momentum.quick, adagrad.quick) <= relu.quick
    assert first.quick is None
    # The same sigmoids, and only the loss is another: all layers get more to go by.
    for mse, cross_entropy in zip(first.gradients, entropy.gradients, strict=True):
        assert 10 * mse < cross_entropy
    # Sigmoids let less and less through to the layers before them; ReLU does not.
    assert entropy.gradients[0] < 0.1 * entropy.gradients[2]
    assert relu.gradients[0] > 0.5 * relu.gradients[2]
    pixels(tmp_path / "learning_curves.png")

    lines = capsys.readouterr().out.splitlines()
    for name, row in rows.items():
        (line,) = [line for line in lines if line.startswith(f"{name} ")]
        assert f"{row.test:.2%}" in line
    assert f"{first.test:.2%} at first, {dropout.test:.2%}" in lines[-1]


# ---- pictures ----


def test_predictions_show_mistakes_in_red(tmp_path):
    save = load("pictures").save_predictions
    images = np.linspace(0, 1, 6 * 64, dtype=np.float32).reshape(6, 8, 8, 1)
    labels = np.array([0, 1, 2, 3, 4, 5])
    right = save(tmp_path / "new" / "right.png", images, labels, labels)
    assert not has_red(right)
    wrong = save(tmp_path / "wrong.png", images, np.array([0, 1, 2, 9, 4, 5]), labels)
    assert has_red(wrong)
    every = save(tmp_path / "every.png", images, labels[::-1], labels)
    assert has_red(every)
