"""History and the persistent cache: what people see."""

import csv
import json
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from common import X, Y, fit

import jaxnn as nn


@pytest.fixture(scope="module")
def history():
    _, made = fit(validation=(X[:9], Y[:9]), metrics={"accuracy": nn.metrics.accuracy})
    return made


def test_history_reads_like_a_dict(history):
    assert history.keys() == ["loss", "accuracy", "val_loss", "val_accuracy"]
    assert history.epochs == [1, 2, 3]
    assert all(len(history[name]) == 3 for name in history)
    assert all(isinstance(v, float) for name in history for v in history[name])
    assert "val_loss" in history
    assert len(history.step_losses) == 15
    assert history.last()["loss"] == history["loss"][-1]
    with pytest.raises(KeyError, match="val_accuracy"):
        history["val_acc"]
    assert "3 epochs" in repr(history)


def test_history_as_csv(history, tmp_path):
    history.to_csv(tmp_path / "h.csv")
    with (tmp_path / "h.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["val_loss"]) for row in rows] == history["val_loss"]
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]


def test_history_comes_back_from_a_csv(history, tmp_path):
    for name in ("first.csv", "deep/second.csv"):
        history.to_csv(tmp_path / name)
        history = nn.History.from_csv(tmp_path / name)
    assert history.epochs == [1, 2, 3]
    assert {"loss", "accuracy", "val_loss"} <= set(history)
    for name in history:
        assert all(isinstance(value, float) for value in history[name])
    history.add(4, {"loss": 0.1})
    assert np.isnan(history["val_loss"][-1])


def test_a_history_ahead_of_the_state_is_cut():
    """After a crash between two files; or when one goes on from further back."""
    states = []
    _, whole = fit(epochs=4, callbacks=[lambda e, state, h: states.append(state)])
    _, again = fit(epochs=4, state=states[1], history=whole)
    assert again.epochs == [1, 2, 3, 4] and whole.epochs == [1, 2, 3, 4]
    assert again["loss"] == whole["loss"]
    assert again.step_losses == whole.step_losses


def test_what_is_no_number_does_not_come_back(tmp_path):
    history = nn.History()
    history.add(1, {"loss": 0.1, "confusion": np.eye(2), "gap": float("nan")})
    history.to_csv(tmp_path / "h.csv")
    again = nn.History.from_csv(tmp_path / "h.csv")
    assert again.keys() == ["loss", "gap"] and np.isnan(again["gap"][0])
    nn.History().to_csv(tmp_path / "h.csv")
    assert len(nn.History.from_csv(tmp_path / "h.csv")) == 0


@pytest.mark.parametrize(
    "text",
    ["", "loss\n0.1\n", "epoch,loss\n1\n", "epoch\none\n", "epoch,loss\n1,2,3\n"],
)
def test_another_file_is_no_history(text, tmp_path):
    (tmp_path / "h.csv").write_text(text)
    with pytest.raises(ValueError, match=r"history.to_csv wrote.*h\.csv is not"):
        nn.History.from_csv(tmp_path / "h.csv")


def test_history_as_a_picture(history, tmp_path):
    figure = history.plot(tmp_path / "deep" / "curves.png")
    assert (tmp_path / "deep" / "curves.png").stat().st_size > 5000
    loss, accuracy = figure.axes
    assert [line.get_label() for line in loss.lines] == ["training", "validation"]
    np.testing.assert_array_equal(
        accuracy.lines[1].get_ydata(), history["val_accuracy"]
    )
    with pytest.raises(ValueError, match="no epochs"):
        nn.History().plot()


def test_a_log_scale_can_be_read_and_epochs_are_whole():
    history = nn.History()
    for epoch in range(1, 4):
        history.add(epoch, {"loss": 0.9 / 5**epoch})
    (axes,) = history.plot().axes
    assert axes.get_yscale() == "log"
    axes.figure.canvas.draw()
    assert {"0.02", "0.03", "0.1"} <= {t.get_text() for t in axes.get_yticklabels()}
    one = nn.History()
    one.add(1, {"loss": 0.5})
    (axes,) = one.plot().axes
    assert all(float(tick).is_integer() for tick in axes.get_xticks())


def test_a_plot_without_matplotlib_says_what_to_install(history, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match="pip install matplotlib"):
        history.plot()


def test_history_is_a_few_lines(history):
    first, *lines = repr(history).splitlines()
    assert first.startswith("History of 3 epochs, trace ") and len(lines) == 3
    assert re.fullmatch(
        r"  epoch 3  loss [\d.]+  accuracy [\d.]+ %  val_loss [\d.]+  "
        r"val_accuracy [\d.]+ %",
        lines[2],
    )
    assert lines[1] == "  ..."
    assert repr(nn.History()) == "History of 0 epochs"
    stopped = nn.History()
    stopped.add(1, {"loss": 0.5, "confusion": np.eye(2)})
    stopped.stopped = "Ctrl-C"
    expected = ["History of 1 epoch", "  epoch 1  loss 0.5000", "  stopped: Ctrl-C"]
    assert repr(stopped).splitlines() == expected


def test_a_notebook_shows_at_most_ten_epochs_of_a_history():
    history = nn.History()
    for epoch in range(1, 1001):
        history.add(epoch, {"loss": 1 / epoch, "<b>": 2.0, "confusion": np.eye(2)})
    shown = history._repr_html_()
    assert shown.count("<tr>") == 11 and "<td" in shown
    assert ">1</td>" in shown and ">1000</td>" in shown
    assert "&lt;b&gt;" in shown and "<b>2" not in shown and "confusion" not in shown
    assert nn.History()._repr_html_().count("<tr>") == 1


def test_names_stay_in_the_order_in_which_they_were_given(tmp_path):
    metrics = {
        "zero": nn.metrics.accuracy,
        "recall": nn.metrics.Recall(3),
        "again": nn.metrics.accuracy,
    }
    every = ["loss", *metrics, "val_loss", *(f"val_{name}" for name in metrics)]
    file = tmp_path / "run.safetensors"
    _, history = fit(
        validation=(X, Y), metrics=metrics, callbacks=[nn.callbacks.checkpoint(file)]
    )
    assert history.keys() == every
    assert nn.History.load(file).keys() == every
    history.to_csv(tmp_path / "h.csv")
    assert nn.History.from_csv(tmp_path / "h.csv").keys() == every
    assert re.findall(r"[a-z_]+(?= [\d.])", repr(history).splitlines()[-1])[1:] == every


def test_the_logs_of_a_step_stay_in_their_order():
    def step(state, batch):
        return state + 1, {"z_loss": batch.mean(), "a_loss": batch.sum(), "loss": state}

    _, history = nn.fit(
        *(step, jnp.ones((4, 2))),
        state=jnp.zeros(()),
        epochs=1,
        batch_size=2,
        key=jax.random.key(0),
    )
    assert history.keys() == ["z_loss", "a_loss", "loss"]


def test_the_cache_is_one_call_away(tmp_path):
    script = f"""
import jaxnn as nn, json
folder = nn.cache({str(tmp_path / "xla")!r})
import jax, numpy as np, optax
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
x = np.ones((8, 4), np.float32)
nn.fit(nn.Dense(2), (x, x[:, :2]), loss=nn.losses.mean_squared_error, epochs=1,
       optimizer=optax.sgd(0.1), batch_size=4, key=jax.random.key(0), progress=False)
print(json.dumps(str(folder)))
"""
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert json.loads(run.stdout) == str(tmp_path / "xla")
    assert any((tmp_path / "xla").iterdir())


def test_what_a_run_was_is_not_copied_with_its_history():
    class Loss:
        def __call__(self, outputs, targets):
            return nn.losses.softmax_cross_entropy(outputs, targets)

        def __deepcopy__(self, memo):
            raise TypeError("holds a lock")

    loss = Loss()
    state, early = fit(epochs=1, loss=loss)
    _, late = fit(epochs=2, loss=loss, state=state, history=early)
    assert len(early) == 1 and len(late) == 2
    assert late.settings["loss"] is loss and early.settings["epochs"] == 1


def test_a_value_of_validation_that_is_missing_names_the_argument():
    history = nn.History()
    history.add(1, {"loss": 0.5})
    with pytest.raises(KeyError, match=r"fit\(validation=\(x, y\)\)"):
        history["val_loss"]
