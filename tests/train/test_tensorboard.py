# SPDX-License-Identifier: Apache-2.0
"""What TensorBoard would read is what the run was."""

import struct
import sys

import jax
import numpy as np
import optax
import pytest
from common import CROSS_ENTROPY, NET, SGD, X, Y, fit

import jaxnn as nn

pytest.importorskip("tensorboardX")
tensorboard = nn.callbacks.tensorboard
BATCH = X[:8], Y[:8]
METRICS = {"accuracy": nn.metrics.accuracy}
IMAGES = np.linspace(0, 1, 20 * 36, dtype=np.float32).reshape(20, 6, 6, 1)
CNN = nn.Sequential(nn.Conv(2, 3), jax.nn.relu, nn.GlobalAvgPool(), nn.Dense(3))


def events(folder):
    """Every event in a folder's files, in the order they were written."""
    from tensorboardX.proto.event_pb2 import Event

    found = []
    for path in sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime_ns):
        data = path.read_bytes()
        while data:  # length, its checksum, the event, its checksum
            (size,) = struct.unpack("Q", data[:8])
            found.append(Event.FromString(data[12 : 12 + size]))
            data = data[16 + size :]
    return found


def values(folder, field):
    """From tag to step to what was written there."""
    found = {}
    for event in events(folder):
        for value in event.summary.value:
            if value.HasField(field):
                at = found.setdefault(value.tag, {})
                assert event.step not in at, f"{value.tag} twice at {event.step}"
                at[event.step] = getattr(value, field)
    return found


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run with all that can be written: the folder, the state, the history."""
    folder = tmp_path_factory.mktemp("board") / "first"
    callback = tensorboard(folder, batch=BATCH)
    options = {"metrics": METRICS, "validation": (X[:9], Y[:9])}
    return folder, *fit(callbacks=[callback], **options)


def test_scalars_are_the_historys(run):
    folder, _, history = run
    for part, before in (("training", ""), ("validation", "val_")):
        found = values(folder / part, "simple_value")
        assert set(found) == {"loss", "accuracy"}
        for name, numbers in found.items():
            expected = dict(zip(history.epochs, history[before + name], strict=True))
            assert numbers == pytest.approx(expected, rel=1e-6)


def test_histograms_are_those_of_the_weights(run):
    folder, state, _ = run
    found = values(folder / "training", "histo")
    paths = nn.trees.paths(state.params)
    assert {f"weights/{path}" for path in paths} <= set(found)
    for path, w in paths.items():
        assert set(found[f"weights/{path}"]) == {1, 2, 3}
        last, w = found[f"weights/{path}"][3], np.asarray(w, np.float64)
        assert (last.num, sum(last.bucket)) == (w.size, w.size)
        assert (last.min, last.max) == (w.min(), w.max())
        np.testing.assert_allclose(
            [last.sum, last.sum_squares], [w.sum(), np.square(w).sum()]
        )


def test_histograms_of_the_gradient_are_those_of_the_batch(run):
    folder, state, _ = run
    found = values(folder / "training", "histo")
    step = nn.train_step(NET, CROSS_ENTROPY, SGD)

    def mean(params):
        made = step.forward(params, state.state, step.key(state), BATCH)
        return made[-1].mean()

    for path, g in nn.trees.paths(jax.grad(mean)(state.params)).items():
        last = found[f"gradients/{path}"][3]
        squares = float(np.square(np.asarray(g, np.float64)).sum())
        assert last.sum_squares == pytest.approx(squares, rel=1e-4)
        assert last.num == g.size
    assert len(found) == 2 * len(nn.trees.paths(state.params))


def test_images_are_the_inputs_and_the_filters(tmp_path):
    from PIL import Image

    callback = tensorboard(tmp_path, batch=(IMAGES, Y[:20]), histograms=False)
    state, _ = fit((IMAGES, Y[:20]), net=CNN, epochs=2, callbacks=[callback])
    found = values(tmp_path / "training", "image")
    assert set(found) == {f"inputs/{i}" for i in range(16)} | {"filters/conv_1/w"}
    assert set(found["inputs/3"]) == {1} and set(found["filters/conv_1/w"]) == {1, 2}

    def pixels(image):
        (tmp_path / "image.png").write_bytes(image.encoded_image_string)
        return np.asarray(Image.open(tmp_path / "image.png"), np.float32) / 255

    shown = pixels(found["inputs/3"][1])
    np.testing.assert_allclose(shown, IMAGES[3].repeat(3, -1), atol=1 / 255)
    drawn = nn.pictures.filters_picture(state.params["conv_1"]["w"])
    filters = pixels(found["filters/conv_1/w"][2])[..., :1]
    np.testing.assert_allclose(filters, drawn, atol=1 / 255)
    assert values(tmp_path / "training", "histo") == {}


def test_resumed_run_goes_on_counting(tmp_path):
    """In the same second, and in the same folder: nothing is written over."""
    half, history = fit(epochs=2, callbacks=[tensorboard(tmp_path, images=False)])
    again = tensorboard(tmp_path, images=False)
    _, history = fit(epochs=4, state=half, history=history, callbacks=[again])
    losses = values(tmp_path / "training", "simple_value")["loss"]
    expected = dict(zip(range(1, 5), history["loss"], strict=True))
    assert losses == pytest.approx(expected, rel=1e-6)
    assert not (tmp_path / "validation").exists()


def test_repeated_epochs_hide_those_of_the_earlier_attempt(tmp_path):
    """A start at epoch 3: what the first file has of epochs 3 and 4 is hidden."""
    from tensorboardX.proto.event_pb2 import SessionLog

    half, _ = fit(epochs=2)
    for _ in range(2):
        callback = tensorboard(tmp_path, histograms=False, images=False)
        fit(epochs=4, state=half, callbacks=[callback])
    everything = events(tmp_path / "training")
    starts = [e.step for e in everything if e.session_log.status == SessionLog.START]
    assert starts == [3, 3]


def test_numbers_are_on_the_disk_after_each_epoch(tmp_path):
    seen = []

    def look(epoch, state, history):
        seen.append(len(values(tmp_path / "training", "simple_value")["loss"]))

    callback = tensorboard(tmp_path, histograms=False, images=False)
    fit(callbacks=[callback, look])
    assert seen == [1, 2, 3]


def test_histograms_every_few_epochs(tmp_path):
    callback = tensorboard(tmp_path, images=False, every=2)
    fit(epochs=4, callbacks=[callback])
    assert set(values(tmp_path / "training", "histo")["weights/dense_1/w"]) == {1, 2, 4}
    assert len(values(tmp_path / "training", "simple_value")["loss"]) == 4


def test_own_step_and_tables_are_no_trouble(tmp_path):
    """A state without `params`, and a log that is no single number."""

    def step(state, batch):
        return state + 1, {"loss": state.astype("float32")}

    callback = tensorboard(tmp_path)
    nn.fit(
        step, X, state=np.int32(0), epochs=2, batch_size=70, key=jax.random.key(0),
        callbacks=[callback],
    )  # fmt: skip
    assert values(tmp_path / "training", "simple_value")["loss"] == {1: 0.0, 2: 1.0}
    history = nn.History()
    history.add(3, {"loss": 0.5, "val_confusion": np.eye(2)})
    callback(3, np.int32(2), history)
    assert values(tmp_path / "training", "simple_value")["loss"][3] == 0.5


def test_gradient_of_what_is_not_said(tmp_path):
    callback = tensorboard(tmp_path, batch=BATCH, images=False)
    state = nn.train_state(NET, optax.sgd(0.1), X, key=jax.random.key(0))
    history = nn.History()
    history.add(1, {"loss": 0.5})
    with pytest.raises(ValueError, match="pass net= and loss= too"):
        callback(1, state, history)
    named = tensorboard(
        tmp_path, batch=BATCH, images=False, net=NET, loss=CROSS_ENTROPY
    )
    named(1, state, history)
    assert "gradients/dense_1/w" in values(tmp_path / "training", "histo")


def test_gradients_of_an_ensemble_are_its_members(tmp_path):
    """One after the other, as if each were alone."""
    bunch = nn.ensemble(NET, 2)
    state, _ = fit(net=bunch, callbacks=[tensorboard(tmp_path, batch=BATCH)])
    last = values(tmp_path / "training", "histo")["gradients/dense_1/w"][3]
    own = [
        nn.train.gradients.loss_gradients(NET, one, BATCH, CROSS_ENTROPY)
        for one in (nn.member(state, i) for i in range(2))
    ]
    squares = [float(np.square(g["dense_1"]["w"], dtype=np.float64).sum()) for g in own]
    assert last.sum_squares == pytest.approx(sum(squares), rel=1e-4)


def test_gradients_of_an_objective_are_those_of_its_loss(tmp_path):
    def objective(run, batch):
        return CROSS_ENTROPY(run(batch[0]), batch[1])

    found = []
    for options in ({}, {"loss": None, "objective": objective}):
        folder = tmp_path / str(len(found))
        fit(callbacks=[tensorboard(folder, batch=BATCH)], **options)
        histograms = values(folder / "training", "histo")["gradients/dense_1/w"]
        found.append([h.sum_squares for h in histograms.values()])
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("module", "package"), [("tensorboardX", "tensorboardX"), ("PIL", "pillow")]
)
def test_missing_packages_are_named(monkeypatch, tmp_path, module, package):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=f"needs {package}: .* pip install {package}"):
        tensorboard(tmp_path)


def test_every_must_be_a_positive_int(tmp_path):
    with pytest.raises(
        ValueError, match=r"callbacks.tensorboard: every must be a positive int"
    ):
        tensorboard(tmp_path, every=0)
