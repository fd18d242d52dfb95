"""What a run prints: a line an epoch, and a bar in a terminal."""

import contextlib
import io
import re
import subprocess
import sys

import pytest
from common import X, Y, fit

import jaxnn as nn
from jaxnn.train import progress
from jaxnn.train.progress import Progress


def lines(capsys):
    return capsys.readouterr().out.splitlines()


def shown_epochs(capsys):
    return [int(line.split()[1].partition("/")[0]) for line in lines(capsys)]


@pytest.mark.parametrize("show", [None, True])
def test_a_line_an_epoch_where_there_is_no_terminal(capsys, show):
    fit(
        progress=show,
        validation=(X, Y),
        epochs=2,
        metrics={"hits": nn.metrics.Recall(3), "accuracy": nn.metrics.accuracy},
    )
    number, share = r"\d[\d.e-]*", r"[\d.]+ %"
    expected = (
        rf"epoch [12]/2  {number} s  loss {number}  hits {number}  accuracy {share}  "
        rf"val_loss {number}  val_hits {number}  val_accuracy {share}"
        rf"(  \(and {number} s of compiling\))?"
    )
    out = lines(capsys)
    assert len(out) == 2 and all(re.fullmatch(expected, line) for line in out), out


def test_no_line_where_it_is_switched_off(capsys):
    fit(progress=False, epochs=1)
    assert lines(capsys) == []


def test_no_line_into_a_text_that_a_program_keeps():
    with contextlib.redirect_stdout(io.StringIO()) as out:
        fit(progress=None, epochs=1)
    assert out.getvalue() == ""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        fit(progress=True, epochs=1)
    assert out.getvalue().startswith("epoch 1/1")


def test_lines_go_to_a_log_file():
    script = """
import jaxnn as nn, jax, numpy as np, optax
x = np.ones((8, 4), np.float32)
nn.fit(nn.Dense(2), (x, x[:, :2]), loss=nn.losses.mean_squared_error, epochs=3,
       optimizer=optax.sgd(0.1), batch_size=4, key=jax.random.key(0))
"""
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert [line[:9] for line in run.stdout.splitlines()] == [
        *("epoch 1/3", "epoch 2/3", "epoch 3/3")
    ]
    assert "epoch" not in run.stderr


@pytest.mark.parametrize(
    "epochs, count, first",
    [
        (100, 100, [1, 2, 3]),
        (101, 52, [1, 2, 4]),
        (1000, 101, [1, 10, 20]),
        (12345, 101, [1, 124, 248]),
    ],
)
def test_a_long_run_prints_about_a_hundred_lines(capsys, epochs, count, first):
    told = Progress(None, 0, epochs, True)
    for epoch in range(1, epochs + 1):
        told.epoch(epoch, {"loss": 1.0}, 0.1, 0.0)
    told.close()
    seen = shown_epochs(capsys)
    assert seen[:3] == first and seen[-1] == epochs and len(seen) == count


def test_the_last_epoch_is_shown_wherever_a_run_ends(capsys):
    told = Progress(None, 0, 1000, True)
    for epoch in range(501, 515):  # it goes on from there
        told.epoch(epoch, {"loss": 1.0}, 0.1, 0.0)
    told.say("fit: stopped: enough")
    told.close()
    *out, last = lines(capsys)
    assert [line.split()[1] for line in out] == ["501/1000", "510/1000", "514/1000"]
    assert last == "fit: stopped: enough"


def test_compiling_is_told_apart(capsys):
    Progress(None, 0, 20, True).epoch(3, {"loss": 0.1234, "at": None}, 1.24, 2.0)
    expected = "epoch  3/20  1.2 s  loss 0.1234  (and 2.0 s of compiling)"
    assert lines(capsys) == [expected]


def test_a_bar_in_a_terminal(monkeypatch, capsys):
    monkeypatch.setattr(progress, "_is_live", lambda: True)
    fit(epochs=2, chunk_seconds=0.0)
    seen = capsys.readouterr()
    assert "epoch 2/2" in seen.out
    assert "step/s" in seen.err
    assert "loss" in seen.err
