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


def test_the_small_one_is_trained_and_drawn(folder):
    for picture in ("augmented", "mistakes", "error_by_members", "learning_curves"):
        assert drawn(folder / f"{picture}.png"), picture
    members = nn.load(folder / "mnist_record.safetensors")
    assert sorted(members) == [f"member_{i}_{c:02}" for i in (0, 1) for c in (1, 2)]


def test_evaluate_gives_what_training_gave(folder, tmp_path, capsys):
    example = load("mnist_record")
    weights = str(folder / "mnist_record.safetensors")
    options = ["--small", "--evaluate", "--weights", weights, "--out", str(tmp_path)]
    result = example.main(options)
    assert last_line(capsys) == f"test error {100 * result['error']:.2f} %"
    assert result["members"] == 4
    assert result["error"] < 0.35 and result["error"] <= result["alone"]
    assert example.main(options) == result


def test_what_is_asked_is_what_is_kept(folder):
    """Kernels in 16 bits, and the mean of the members' probabilities over views."""
    example = load("mnist_record")
    path, recipe = folder / "mnist_record.safetensors", example.SMALL
    images = nn.data.digits()[1][0][:20]
    said = example.opinions(recipe, path, images)
    name, kept = next(iter(nn.load(path).items()))
    sizes = {(a.ndim > 1, a.dtype.name) for a in jax.tree.leaves(kept)}
    assert sizes == {(True, "float16"), (False, "float32")}
    tree = jax.tree.map(lambda a: a.astype(np.float32), kept)
    wanted = 0
    for key in jax.random.split(jax.random.key(0), recipe.asked):
        seen = recipe.views(key, images)
        logits, _ = recipe.networks[0].apply(tree["params"], tree["state"], seen)
        wanted += np.asarray(jax.nn.softmax(logits)) / recipe.asked
    np.testing.assert_allclose(said[name], wanted, atol=1e-5)


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
    assert not (tmp_path / "member_1_01.safetensors").exists()
    example.main(options)
    for name in ("member_0_02", "member_1_01", "member_1_02", "mnist_record"):
        one, other = (nn.load(f / f"{name}.safetensors") for f in (folder, tmp_path))
        jax.tree.map(np.testing.assert_array_equal, one, other)
    curves = [(f / "network_1.csv").read_text().count("\n") for f in (folder, tmp_path)]
    assert curves == [5, 5]


def test_held_out_examples_are_not_trained_on():
    example = load("mnist_record")
    train = np.arange(10), np.arange(10) * 2
    kept, held = example.hold_out(train, 3)
    assert kept[0].tolist() == [*range(7)] and held[1].tolist() == [14, 16, 18]


def test_the_learning_rate_rises_and_falls_in_each_cycle():
    example = load("mnist_record")
    recipe = example.FULL
    with jax.numpy_dtype_promotion("standard"):
        rate = np.asarray(jax.vmap(example.learning_rate(recipe, 10))(np.arange(120)))
    assert rate[:80].max() == pytest.approx(recipe.learning_rate, rel=0.01)
    assert rate[79] < 1e-5 and rate[119] < 1e-5
    assert rate[80:].max() == pytest.approx(recipe.later_rate, rel=0.01)


# ---- the weights that are kept ----


@pytest.mark.slow
@pytest.mark.needs("mnist")
def test_the_kept_weights_give_what_the_readme_says(tmp_path, capsys):
    load("mnist_record").main(["--evaluate", "--out", str(tmp_path)])
    line = last_line(capsys)
    assert re.fullmatch(r"test error 0\.\d\d %", line)
    readme = (Path(__file__).parents[1] / "README.md").read_text("utf8")
    assert line.removeprefix("test error ") in readme
