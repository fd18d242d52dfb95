# SPDX-License-Identifier: Apache-2.0
"""Experiment trackers get every epoch's numbers, and never end a run."""

import contextvars
import copy
import functools
import threading
import types
import warnings

import common
import numpy as np
import pytest
from common import X, Y, fit

import jaxnn as nn

log_to = nn.callbacks.log_to


class Wandb:
    """The signature of a run of W&B 0.31."""

    def __init__(self):
        self.rows = []

    def log(self, data, step=None, commit=None):
        assert commit is None
        self.rows.append((step, data))


class NoStep:
    """A tracker that counts on its own."""

    def __init__(self):
        self.rows = []

    def log(self, metrics):
        self.rows.append((metrics.pop("epoch"), metrics))


class Trackio(types.ModuleType):
    """Trackio 0.43: a module whose run is in a context variable."""

    def __init__(self):
        super().__init__("trackio")
        self.run = contextvars.ContextVar("run", default=None)

    def init(self):
        self.rows = []
        self.run.set(self.rows)

    def log(self, metrics: dict, step: int | None = None) -> None:
        if self.run.get() is None:
            raise RuntimeError("Call trackio.init() before trackio.log().")
        self.run.get().append((step, metrics))


class Mlflow(types.ModuleType):
    """MLflow 3.17: a module whose active run belongs to a thread."""

    def __init__(self):
        super().__init__("mlflow")
        self.thread, self.rows = threading.local(), []

    def start_run(self):
        info = types.SimpleNamespace(run_id="abc")
        self.thread.run = types.SimpleNamespace(info=info)

    def active_run(self):
        return getattr(self.thread, "run", None)

    def log_metrics(
        self, metrics, step=None, synchronous=None, run_id=None, timestamp=None,
        model_id=None, dataset=None,
    ):  # fmt: skip
        run = run_id or self.active_run()
        assert run == "abc", "MLflow would start another run"
        self.rows.append((step, metrics))


def plain_function():
    rows = []
    function = lambda numbers, step: rows.append((step, numbers))  # noqa: E731
    function.rows = rows
    return function


def expected(history):
    """What a tracker is to get: step and numbers of each epoch."""
    return [
        (epoch, {name: history[name][i] for name in history})
        for i, epoch in enumerate(history.epochs)
    ]


@pytest.mark.parametrize("kind", [Wandb, NoStep, Trackio, Mlflow, plain_function])
def test_every_tracker_gets_every_number_of_every_epoch(kind):
    run = kind()
    for start in ("init", "start_run"):
        getattr(run, start, lambda: None)()
    _, history = fit(
        callbacks=[log_to(run)],
        validation=(X[:9], Y[:9]),
        metrics={
            "accuracy": nn.metrics.accuracy,
            "table": nn.metrics.ConfusionMatrix(3),
        },
    )
    for name in ("table", "val_table"):  # no single numbers
        del history.logs[name]
    assert run.rows == expected(history)
    assert {"loss", "val_loss", "accuracy", "val_accuracy"} == set(run.rows[0][1])
    assert all(type(v) is float for _, row in run.rows for v in row.values())


def test_modules_whose_log_appears_later_are_asked_at_each_epoch():
    """The module wandb replaces its `log`, this one, in `wandb.init`."""

    def before(self, data, step=None, commit=None):
        raise RuntimeError("call init first")

    module, run = types.SimpleNamespace(log=before), Wandb()
    callback = log_to(module)
    module.log = run.log
    _, history = fit(callbacks=[callback])
    assert run.rows == expected(history)


def test_resumed_runs_go_on_counting():
    run = Wandb()
    half, history = fit(epochs=2, callbacks=[log_to(run)])
    _, history = fit(epochs=4, state=half, history=history, callbacks=[log_to(run)])
    assert run.rows == expected(history)


@pytest.mark.parametrize("error", [OSError("no network"), SystemExit(1)])
def test_trackers_that_raise_cost_one_warning_and_no_epoch(error):
    run = Wandb()

    def log(data, step=None):
        if step < 3:
            raise error
        run.log(data, step)

    with pytest.warns(UserWarning, match="the tracker raised .* in epoch 1") as warned:
        state, history = fit(epochs=4, callbacks=[log_to(log)])
    assert [w.filename for w in warned] == [common.__file__]  # which calls nn.fit
    alone, _ = fit(epochs=4)
    assert len(history) == 4 and history.stopped is None
    assert run.rows == expected(history)[2:]
    np.testing.assert_array_equal(
        state.params["dense_1"]["w"], alone.params["dense_1"]["w"]
    )


def test_what_waited_for_a_tracker_that_hung_is_sent_in_order():
    run, answer, sent = Wandb(), threading.Event(), threading.Event()

    def log(data, step=None):
        answer.wait(60)
        run.log(data, step)
        if step == 5:
            sent.set()

    def look(epoch, state, history):
        if epoch == 3:
            assert run.rows == []  # it hangs, and three epochs went on
            answer.set()

    with pytest.warns(UserWarning, match=r"not answered for 0\.05 seconds in epoch 1"):
        _, history = fit(epochs=5, callbacks=[log_to(log, patience=0.05), look])
    assert sent.wait(60)
    assert run.rows == expected(history)


def test_a_tracker_that_never_answers_leaves_only_a_daemon_thread():
    never = threading.Event()
    with pytest.warns(UserWarning, match="training goes on"):
        _, history = fit(callbacks=[log_to(lambda data: never.wait(), patience=0.05)])
    assert len(history) == 3
    left = [t for t in threading.enumerate() if t.name == "jaxnn log_to"]
    assert left and all(thread.daemon for thread in left)
    never.set()
    for thread in left:
        thread.join(60)


def test_nothing_is_left_behind_by_a_tracker_that_answers():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(callbacks=[log_to(Wandb())])
    assert not [t for t in threading.enumerate() if t.name == "jaxnn log_to"]


def test_copies_of_the_callback_log_to_the_same_run():
    """As scikit-learn's `clone` makes them."""
    run = Wandb()
    _, history = fit(callbacks=copy.deepcopy([log_to(run)]))
    assert run.rows == expected(history)


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (None, "must be a function or have a method log or log_metrics, got None"),
        (Wandb, "must be a function or have a method"),
        ({"log": print}, "must be a function or have a method"),
        (lambda: None, r"must take the numbers, log\(numbers\), or also the epoch"),
        (lambda numbers, epoch: None, r"must take the numbers.*; got .*, epoch\)"),
    ],
)
def test_what_is_no_tracker_is_refused_before_the_run(run, message):
    with pytest.raises(TypeError, match=f"callbacks.log_to: run {message}"):
        log_to(run)


def test_mlflow_needs_an_active_run():
    with pytest.raises(ValueError, match=r"call mlflow\.start_run\(\) first"):
        log_to(Mlflow())


@pytest.mark.parametrize("patience", [0, -1, "10", float("nan"), None])
def test_patience_is_a_number_above_0(patience):
    with pytest.raises(ValueError, match=r"log_to: patience must be a number above 0"):
        log_to(functools.partial(print), patience=patience)
