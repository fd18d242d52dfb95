# SPDX-License-Identifier: Apache-2.0
"""CIFAR's residual network and the U-Net: they run, learn, resume and draw."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from example import drawn, load

import jaxnn as nn

# ---- CIFAR-10 ----


@pytest.mark.slow
def test_cifar_learns_the_stand_in_and_says_so(offline, tmp_path, capsys):
    result = load("cifar_resnet").main(["--small", "--out", str(tmp_path)])
    said = capsys.readouterr().out.splitlines()
    assert "synthetic" in said[0] and "stand-in" in said[0]
    assert 0.6 < result["accuracy"] <= 1  # of ten classes
    assert said[-1].startswith("synthetic stripes: after 3 of 3 epochs")
    assert f"accuracy {result['accuracy']:.4f}" in said[-1]
    for name in ("learning_curves", "augmented", "predictions", "confusion"):
        assert drawn(tmp_path / f"{name}.png")


@pytest.mark.slow
def test_cifar_resumed_is_the_uninterrupted_run(monkeypatch, tmp_path):
    example = load("cifar_resnet")
    monkeypatch.setattr(example, "draw", lambda *_: None)  # seconds of pictures
    whole, parts = tmp_path / "whole", tmp_path / "parts"

    def saved(folder):
        tree = nn.trees.paths(nn.load(folder / "checkpoint.safetensors"))
        key = tree.pop("key")
        assert (jax.random.key_data(key) == jnp.array([0, 7], jnp.uint32)).all()
        return {path: np.asarray(leaf).tobytes() for path, leaf in tree.items()}

    flags = ["--small", "--seed", "7", "--epochs", "2", "--out"]
    result = example.main([*flags, str(whole)])
    assert example.main([*flags, str(parts), "--stop-after", "1"]) != result
    assert saved(parts) != saved(whole)
    assert example.main([*flags, str(parts), "--resume"]) == result
    assert saved(parts) == saved(whole)
    history = "history.csv"
    assert (parts / history).read_text() == (whole / history).read_text()


def test_cifar_is_trained_on_cuts_and_mirrored_ones():
    """Out of the image with a gray border of four pixels."""
    image = jax.random.uniform(jax.random.key(0), (32, 32, 3))
    images = jnp.broadcast_to(image, (40, 32, 32, 3))
    seen = load("cifar_resnet").varied(jax.random.key(1), images)
    border = ((4, 4), (4, 4), (0, 0))
    wide = np.pad(image, border, constant_values=0.47)
    windows = {
        wide[top : top + 32, left : left + 32][:, ::way].tobytes(): (top, left, way)
        for top in range(9)
        for left in range(9)
        for way in (1, -1)
    }
    drawn = [windows[np.ascontiguousarray(one).tobytes()] for one in np.asarray(seen)]
    assert len(set(drawn)) > 20
    assert {way for _, _, way in drawn} == {1, -1}


def test_cifar_has_the_papers_network_and_learning_rate():
    example = load("cifar_resnet")
    x = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    init = example.network(example.FULL).init
    params, _ = jax.eval_shape(init, jax.random.key(0), x)
    assert nn.trees.count(params) == 269_722
    rate = example.learning_rate(example.FULL, 360)
    rates = [rate(step) for step in (0, 32_399, 32_401, 48_599, 48_601, 64_799)]
    np.testing.assert_allclose(rates, [0.1, 0.1, 0.01, 0.01, 0.001, 0.001], rtol=1e-5)


@pytest.mark.slow
@pytest.mark.needs("cifar10-jpeg")
def test_cifar_learns_in_one_epoch(tmp_path):
    flags = ["--recipe", "cpu", "--epochs", "1", "--out", str(tmp_path)]
    assert load("cifar_resnet").main(flags)["accuracy"] > 0.4


# ---- cells ----


@pytest.mark.slow
def test_unet_beats_the_threshold_on_the_stand_in(offline, tmp_path, capsys):
    result = load("segment_cells").main(["--small", "--out", str(tmp_path)])
    said = capsys.readouterr().out.splitlines()
    assert "synthetic" in said[0] and "stand-in" in said[0]
    assert result["unet_error"] < result["threshold_error"] < result["all_cell_error"]
    assert result["unet_membrane"] > result["threshold_membrane"] > 0.3
    assert result["unet_cell"] > result["threshold_cell"] > 0.5
    assert result["all_cell_membrane"] == 0
    assert f"synthetic cells: wrong pixels {result['unet_error']:.2%}" in said[-1]
    for name in ("learning_curves", "augmented", "segmentation"):
        assert drawn(tmp_path / f"{name}.png")


def test_masks_follow_their_images():
    example = load("segment_cells")
    _, masks = example.cells(3, side=64)
    images = masks[..., None].astype(np.float32)  # what is seen is the mask itself
    for seed in range(3):
        views, moved = example.warp(jax.random.key(seed), images, masks, 40)
        assert views.shape == (3, 40, 40, 1) and moved.dtype == masks.dtype
        np.testing.assert_array_equal(views[..., 0] > 0.5, moved == 1)
        assert 0 < np.mean(moved) < 1


def test_views_are_turned_and_bent_only_a_little():
    places = load("segment_cells").places
    jacobians = []
    for seed in range(8):
        y, x = places(jax.random.key(seed), 512, 192)
        (yy, yx), (xy, xx) = np.gradient(y), np.gradient(x)
        jacobians.append(yy * xx - yx * xy)
    jacobians = np.array(jacobians)
    assert (np.sign(jacobians) == np.sign(jacobians.mean((1, 2), keepdims=True))).all()
    assert {*np.sign(jacobians[:, 0, 0])} == {-1, 1}  # some are mirrored
    np.testing.assert_allclose(np.abs(jacobians).mean(), 1, atol=0.1)


def test_scores_are_those_by_hand(capsys):
    predicted = np.array([[[True, True, False, False, True]]])
    masks = np.array([[[1, 1, 1, 0, 0]]])
    result = load("segment_cells").scores("name", predicted, masks)
    assert result == pytest.approx(
        {"name_error": 2 / 5, "name_membrane": 1 / 3, "name_cell": 2 / 4}
    )
    assert "40.00%" in capsys.readouterr().out


def test_threshold_is_the_best_of_all():
    images = np.array([0.1, 0.3, 0.5, 0.7, 0.9]).reshape(1, 1, 5, 1)
    masks = np.array([[[0, 1, 0, 0, 1]]])
    threshold = load("segment_cells").best_threshold(images, masks)
    assert 0.7 <= threshold < 0.9  # one mistake; two with any other


@pytest.mark.slow
@pytest.mark.needs("isbi-em")
def test_unet_beats_the_threshold_in_two_epochs(tmp_path):
    result = load("segment_cells").main(["--epochs", "2", "--out", str(tmp_path)])
    assert result["unet_error"] < result["threshold_error"]
