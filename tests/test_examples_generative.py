"""The generative examples: they run in their small mode, learn and draw."""

import wave

import jax
import numpy as np
import pytest
from example import drawn, load


@pytest.fixture
def run(offline, tmp_path, capsys):
    """Run an example offline; its numbers, pictures and what it said."""

    def run(name, *options):
        numbers = load(name).main(["--out", str(tmp_path), *options])
        pictures = {path.stem for path in tmp_path.glob("*.png") if drawn(path)}
        return numbers, pictures, capsys.readouterr().out.strip().splitlines()

    return run


@pytest.mark.slow
def test_two_outputs_learn_and_the_table_helps(run):
    numbers, pictures, lines = run("two_outputs", "--epochs", "30")
    assert numbers["accuracy"] > numbers["accuracy_alone"] > 0.8
    assert pictures == {"learning_curves", "predictions"}
    assert f"test accuracy {numbers['accuracy']:.1%}" in lines[-1]


@pytest.mark.slow
def test_codes_are_held_against_principal_components(run):
    numbers, pictures, lines = run("autoencoder", "--small", "--epochs", "100")
    assert numbers["8 numbers"] < numbers["PCA 8"]
    assert numbers["denoised"] < 0.5 * numbers["noisy"]
    assert pictures == {"plane", "rebuilt"}
    assert lines[-1].startswith("of PCA's error")


def test_the_error_of_principal_components():
    rng = np.random.default_rng(0)
    images = rng.normal(size=(50, 2, 2, 1))
    error = load("autoencoder").pca_error(images, images, 2)
    values = np.linalg.eigvalsh(np.cov(images.reshape(50, 4).T, bias=True))
    assert error == pytest.approx(values[:2].sum())


@pytest.mark.slow
def test_a_vae_learns_a_bound_and_draws(run):
    numbers, pictures, lines = run("vae", "--small", "--epochs", "12", "--draws", "50")
    assert numbers["importance"] < numbers["elbo"] < 40
    assert pictures == {"learning_curves", "samples", "rebuilt", "lines", "on_demand"}
    assert f"test negative ELBO {numbers['elbo']:.2f} nats" in lines[-1]


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["hinge", "classic", "wasserstein"])
def test_adversaries_play(run, loss):
    numbers, pictures, _ = run("gan", "--small", "--epochs", "2", "--loss", loss)
    assert np.isfinite(numbers["critic"])
    assert pictures == {"learning_curves", "digits", "over_time"}


@pytest.mark.slow
def test_a_flow_learns_and_draws(run):
    numbers, pictures, _ = run("diffusion", "--small", "--epochs", "3")
    assert numbers["loss"] < 1.6
    assert pictures == {"learning_curves", "digits", "strip"}


@pytest.mark.slow
def test_pictures_are_restored(run):
    options = ["--small", "--epochs", "20", "--pictures", "60"]
    gains, pictures, lines = run("restore", *options)
    assert gains["noise"] > 0.5
    assert gains["holes of 2x2"] > 0.8 and gains["holes of 1x1"] > 0.8
    curves = {"learning_curves_noise", "learning_curves_holes"}
    assert pictures == {"noise", "holes_of_2x2", "holes_of_1x1", *curves}
    assert lines[-1].startswith("above the best of the others")


def test_holes_are_where_they_are_said_to_be():
    images = np.random.default_rng(0).uniform(0.1, 0.4, (20, 16, 16, 3))
    restore, key = load("restore"), jax.random.key(0)
    for sizes, size in (((4,), 4), ((8,), 2), ((4, 8, 16), 1)):
        seen, lost = restore.holed(key, jax.numpy.asarray(images), sizes)
        np.testing.assert_array_equal(
            np.asarray(seen == restore.GRAY).all(-1), lost[..., 0]
        )
        count = lost.sum((1, 2, 3))
        assert size**2 <= count.min() <= count.max() <= 48


@pytest.mark.slow
def test_colors_come_back(run):
    numbers, pictures, lines = run("colorize", "--small", "--epochs", "60")
    assert numbers["regression"] > numbers["gray"] + 1
    assert numbers["classes"] > numbers["gray"]
    assert pictures == {"learning_curves", "colors", "failures"}
    assert lines[-1].startswith("PSNR by regression")


def test_gray_and_color_are_the_picture():
    images = np.random.default_rng(0).uniform(size=(3, 4, 4, 3)).astype(np.float32)
    colorize = load("colorize")
    gray, color = colorize.split(images)
    np.testing.assert_allclose(
        colorize.join(np.asarray(gray), color), images, atol=1e-5
    )


def test_rare_colors_count_more():
    color = np.zeros((1, 100, 100, 2), np.float32)
    color[0, :10] = 0.21
    palette = load("colorize").Palette(color)
    np.testing.assert_allclose(palette.colors, [[0, 0], [0.21, 0.21]], atol=1e-6)
    share = np.array([0.9, 0.1])
    want = 1 / (0.5 * share + 0.25)
    np.testing.assert_allclose(palette.weights, want / (share @ want), rtol=1e-5)


@pytest.mark.slow
def test_digits_are_spoken(run, tmp_path):
    options = ["--small", "--epochs", "150", "--listener-epochs", "12"]
    more = ["--spoken", "40", "--say", "70"]
    numbers, pictures, lines = run("speak_digits", *options, *more)
    assert numbers["through"] > 0.8 and numbers["real"] > 0.8
    assert numbers["spoken"] > 0.3 and numbers["nearest"] < 10
    assert pictures == {"learning_curves", "spoken"}
    with wave.open(str(tmp_path / "70.wav")) as file:
        assert file.getframerate() == 8000 and file.getnframes() > 4000
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    assert 20_000 < np.abs(samples).max() < 30_000
    assert lines[-1].startswith("understood:")


@pytest.mark.slow
def test_views_are_told_apart_without_labels(run):
    options = ["--small", "--epochs", "30", "--examples", "1000", "--draws", "1"]
    numbers, pictures, lines = run("contrastive", *options)
    assert numbers["linear probe"] > 0.4
    assert pictures == {"learning_curves", "views", "labels"}
    assert lines[-1].startswith("test accuracy with")
