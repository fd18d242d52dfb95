# SPDX-License-Identifier: Apache-2.0
"""The record of MNIST: trained in small, resumed, packed, and the weights kept."""

import re
from pathlib import Path

import jax
import numpy as np
import pytest
from example import drawn, load

import jaxnn as nn


def last_line(capsys) -> str:
    return capsys.readouterr().out.strip().splitlines()[-1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A small ensemble, trained once."""
    folder = tmp_path_factory.mktemp("record")
    load("mnist_record").main(["--small", "--out", str(folder)])
    return folder


@pytest.mark.slow
def test_the_small_one_is_trained_and_drawn(folder):
    for picture in ("augmented", "mistakes", "error_by_networks", "learning_curves"):
        assert drawn(folder / f"{picture}.png"), picture
    members = nn.load(folder / "mnist_record.safetensors")
    kept = [(0, 1), (0, 2), (1, 1), (1, 2), (2, 0)]
    assert sorted(members) == [f"member_{i:02}_{c:02}" for i, c in kept]


@pytest.mark.slow
def test_evaluate_gives_what_training_gave(folder, tmp_path, capsys):
    example = load("mnist_record")
    weights = str(folder / "mnist_record.safetensors")
    options = ["--small", "--evaluate", "--weights", weights, "--out", str(tmp_path)]
    result = example.main(options)
    assert last_line(capsys) == f"test error {100 * result['error']:.2f} %"
    assert result["members"] == 5
    assert result["error"] < 0.35 and result["error"] <= result["alone"]
    assert example.main(options) == result


@pytest.mark.slow
def test_what_is_asked_is_what_is_kept(folder):
    """Kernels in 16 bits, and the mean of a member's probabilities over views."""
    example = load("mnist_record")
    path, recipe = folder / "mnist_record.safetensors", example.SMALL
    images = nn.data.digits()[1][0][:20]
    said = example.opinions(recipe, path, images)
    kept = nn.load(path)["member_00_01"]
    sizes = {(a.ndim > 1, a.dtype.name) for a in jax.tree.leaves(kept)}
    assert sizes == {(True, "float16"), (False, "float32")}
    tree = jax.tree.map(lambda a: a.astype(np.float32), kept)
    wanted = 0
    for key in jax.random.split(jax.random.key(0), recipe.asked):
        seen = recipe.views(key, images)
        logits, _ = recipe.networks[0].net.apply(tree["params"], tree["state"], seen)
        wanted += np.asarray(jax.nn.softmax(logits)) / recipe.asked
    np.testing.assert_allclose(said[0][0], wanted, atol=1e-5)


@pytest.mark.slow
def test_a_run_that_was_stopped_gives_the_same_members(folder, tmp_path):
    """Stopped within a cycle, gone on; and one network at a time."""
    example = load("mnist_record")

    class Stop(Exception):
        pass

    def stop(epoch, state, history):
        if epoch == 3:
            raise Stop

    checkpoint = nn.callbacks.checkpoint
    options = ["--small", "--out", str(tmp_path)]
    with pytest.MonkeyPatch.context() as patch:

        def stopping(path):
            save = checkpoint(path)

            def both(*args):
                save(*args)
                stop(*args)

            return both

        patch.setattr(nn.callbacks, "checkpoint", stopping)
        with pytest.raises(Stop):
            example.main([*options, "--network", "1"])
    assert not (tmp_path / "member_01_01.safetensors").exists()
    example.main(options)
    for name in ("member_00_02", "member_01_01", "member_01_02", "mnist_record"):
        one, other = (nn.load(f / f"{name}.safetensors") for f in (folder, tmp_path))
        jax.tree.map(np.testing.assert_array_equal, one, other)
    curves = [f / "network_01.csv" for f in (folder, tmp_path)]
    assert [file.read_text().count("\n") for file in curves] == [5, 5]


def test_held_out_examples_are_not_trained_on():
    example = load("mnist_record")
    train = np.arange(10), np.arange(10) * 2
    kept, held = example.hold_out(train, 3)
    assert kept[0].tolist() == [*range(7)] and held[1].tolist() == [14, 16, 18]


def test_the_learning_rate_rises_and_falls_in_each_cycle():
    schedule = load("mnist_record").learning_rate([(8, 0.004), (4, 0.002)], 10)
    with jax.numpy_dtype_promotion("standard"):
        rate = np.asarray(jax.vmap(schedule)(np.arange(120)))
    assert rate[79] < 1e-5 and rate[119] < 1e-5
    assert rate[:80].max() == pytest.approx(0.004, rel=0.01)
    assert rate[80:].max() == pytest.approx(0.002, rel=0.01)


@pytest.mark.slow
def test_each_network_has_one_vote(folder, tmp_path, monkeypatch):
    """Whatever the number of its snapshots."""
    example = load("mnist_record")
    labels = np.array([0, 1, 0])
    yes, no = np.eye(2)[[0, 1, 0]], np.eye(2)[[1, 0, 1]]
    said = {0: [yes * 0.9, yes * 0.9], 1: [no * 0.8], 2: [no * 0.2]}
    monkeypatch.setattr(example, "opinions", lambda *_: said)
    test = np.zeros((3, 4, 4, 1)), labels
    result = example.judge(example.SMALL, folder, test, tmp_path, "test")
    assert result == {"error": 1.0, "alone": 0.5, "members": 4}


# ---- the weights that are kept ----


@pytest.mark.slow
@pytest.mark.needs("mnist")
def test_the_kept_weights_give_what_the_readme_says(tmp_path, capsys):
    load("mnist_record").main(["--evaluate", "--out", str(tmp_path)])
    line = last_line(capsys)
    assert re.fullmatch(r"test error 0\.\d\d %", line)
    readme = (Path(__file__).parents[1] / "docs" / "examples.md").read_text("utf8")
    assert line.removeprefix("test error ") in readme
