"""History, progress and the persistent cache: what people see."""

import csv
import json
import subprocess
import sys

import numpy as np
import pytest
from common import X, Y, fit

import jaxnn as nn
from jaxnn.train import progress


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


def test_a_plot_without_matplotlib_says_what_to_install(history, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match="pip install matplotlib"):
        history.plot()


def test_plain_lines_where_nobody_watches(capsys):
    fit(progress=True, validation=(X, Y), epochs=2)
    out = capsys.readouterr().out.splitlines()
    assert len(out) == 2
    assert out[0].startswith("epoch 1/2  loss ")
    assert "val_loss" in out[1]
    fit(progress=None, epochs=1)
    fit(progress=False, epochs=1)
    assert capsys.readouterr().out == ""


def test_a_bar_in_a_terminal(monkeypatch, capsys):
    monkeypatch.setattr(progress, "_is_live", lambda: True)
    fit(epochs=2, chunk_seconds=0.0)
    seen = capsys.readouterr()
    assert "epoch 2/2" in seen.out
    assert "step/s" in seen.err
    assert "loss" in seen.err


def test_the_cache_is_one_call_away(tmp_path):
    script = f"""
import jaxnn as nn, json
folder = nn.cache({str(tmp_path / "xla")!r})
import jax, numpy as np, optax
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
x = np.ones((8, 4), np.float32)
nn.fit(nn.Dense(2), (x, x[:, :2]), loss=nn.losses.mean_squared_error, epochs=1,
       optimizer=optax.sgd(0.1), batch_size=4, key=jax.random.key(0))
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
