"""A run that goes on from its checkpoint is the uninterrupted one, history included."""

import copy
import os
import pickle
import signal

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from common import CROSS_ENTROPY, KEY, NET, SGD, X, Y, fit

import jaxnn as nn
from jaxnn.train import loop

same = chex.assert_trees_all_equal
METRICS = {
    "accuracy": nn.metrics.accuracy,
    "matrix": nn.metrics.ConfusionMatrix(3),
    "f1": nn.metrics.F1(3, average=None),
}


def same_history(a, b):
    """All but the seconds, the programs and why the run ended."""
    assert a.epochs == b.epochs and a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name])
    assert (a.step_losses, a.first_step) == (b.step_losses, b.first_step)
    assert a.unfinished is None and b.unfinished is None


def go_on(path, **options):
    """What the README says to do, the first time and after a crash."""
    watch = {n: options[n] for n in ("early_stopping", "plateau") if n in options}
    state = nn.train_state(NET, SGD, X[:1], key=KEY, **watch)
    if path.exists():
        state = nn.load(path, like=state)
    callbacks = [nn.callbacks.checkpoint(path), *options.pop("callbacks", [])]
    return fit(state=state, callbacks=callbacks, **options)


class Asks:
    """Sends this process a signal after so many steps of a run."""

    def __init__(self, steps, number=signal.SIGTERM):
        self.steps, self.number = steps, number

    def __enter__(self):
        self.report = report = loop.Fit._report

        def watched(run, rows, names, epoch):
            report(run, rows, names, epoch)
            if run.taken == self.steps:
                os.kill(os.getpid(), self.number)

        loop.Fit._report = watched

    def __exit__(self, *error):
        loop.Fit._report = self.report


@pytest.mark.quick
def test_the_history_goes_on_too(tmp_path):
    path, kw = tmp_path / "run", {"metrics": METRICS, "validation": (X[:9], Y[:9])}
    whole, history = fit(epochs=5, **kw)
    for epochs in (1, 2, 4, 5):
        state, again = go_on(path, epochs=epochs, **kw)
    same(state, whole)
    same_history(again, history)
    assert again["matrix"][0].sum() == 70 and again["f1"][4].shape == (3,)
    same_history(nn.History.load(path), history)
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


def test_a_history_from_another_point_is_not_taken(tmp_path):
    go_on(tmp_path / "run", epochs=2)
    saving = {"callbacks": [nn.callbacks.checkpoint(tmp_path / "run")]}
    other, _ = fit(epochs=1)
    assert fit(state=other, epochs=2, **saving)[1].epochs == [2]
    _, first = go_on(tmp_path / "run", epochs=3)
    assert first.epochs == [2, 3]  # the file was that other run's by then
    other, _ = fit(epochs=2, key=jax.random.key(9))
    go_on(tmp_path / "run2", epochs=2)
    saving = {"callbacks": [nn.callbacks.checkpoint(tmp_path / "run2")]}
    assert fit(state=other, epochs=3, **saving)[1].epochs == [3]


def test_a_history_that_is_given_goes_before(tmp_path):
    path = tmp_path / "run"
    go_on(path, epochs=2)
    mine = nn.History.load(path)
    mine.logs["loss"][0] = 7.0
    assert go_on(path, epochs=3, history=mine)[1]["loss"][0] == 7.0


def test_files_without_a_history_go_on_as_before(tmp_path):
    """Of an older version, or saved by hand; and another's file in that place."""
    state, _ = fit(epochs=2)
    nn.save(tmp_path / "run", state)
    assert go_on(tmp_path / "run", epochs=3)[1].epochs == [3]
    nn.save(tmp_path / "run", state)
    with pytest.raises(ValueError, match="holds no history"):
        nn.History.load(tmp_path / "run")
    (tmp_path / "run").write_text("no checkpoint at all")
    saving = {"callbacks": [nn.callbacks.checkpoint(tmp_path / "run")]}
    assert fit(state=state, epochs=3, **saving)[1].epochs == [3]


def test_a_damaged_history_is_an_error(tmp_path):
    path = tmp_path / "run"
    state, _ = go_on(path, epochs=1)
    data = path.read_bytes()
    path.write_bytes(data.replace(b'\\"epochs\\": [1]', b'\\"epochs\\": [2]'))
    saving = {"callbacks": [nn.callbacks.checkpoint(path)]}
    with pytest.raises(ValueError, match="damaged or changed"):
        fit(state=state, epochs=2, **saving)


@pytest.mark.parametrize(
    "change",
    [
        {"epochs": ["1"]},
        {"epochs": [1, 2]},
        {"logs": [0.5]},
        {"logs": {"loss": 0.5}},
        {"step_losses": "none"},
        {"step_losses": [1]},
        {"first_step": 0.5},
        {"seconds": {}},
        {"stopped": 3},
        {"unfinished": [1]},
        {"programs": ...},
    ],
)
def test_a_record_that_is_no_history_is_refused(change):
    history = nn.History()
    history.add(1, {"loss": 0.5})
    record = history.record() | change
    record = {name: value for name, value in record.items() if value is not ...}
    with pytest.raises(ValueError, match=r"the history in run\.st is damaged"):
        nn.History.from_record(record, "run.st")


def test_the_epochs_file_is_found_among_many(tmp_path):
    path = tmp_path / "{epoch}" / "run-{epoch}"
    _, history = fit(epochs=4, callbacks=[nn.callbacks.checkpoint(path)])
    shape = nn.train_state(NET, SGD, X[:1], key=KEY)
    state = nn.load(tmp_path / "2" / "run-2", like=shape)
    saving = {"callbacks": [nn.callbacks.checkpoint(path, every=3)]}
    same_history(fit(state=state, epochs=4, **saving)[1], history)


# What the file holds is what `fit` returns


@pytest.mark.quick
def test_under_early_stopping_the_file_holds_the_best_weights(tmp_path):
    stop = nn.EarlyStopping(patience=2)
    kw = {"validation": (X[:9], 2 - Y[:9]), "early_stopping": stop}
    path = tmp_path / "run-{epoch}"
    state, history = fit(epochs=9, callbacks=[nn.callbacks.checkpoint(path)], **kw)
    assert history.stopped and len(history) > int(np.argmin(history["val_loss"])) + 1
    like = nn.train_state(NET, SGD, X[:1], key=KEY, early_stopping=stop)
    same(nn.load(tmp_path / f"run-{len(history)}", like=like), state)
    for epochs in range(1, len(history)):
        part, _ = fit(epochs=epochs, **kw)
        file = nn.load(tmp_path / f"run-{epochs}", like=like)
        same(file, part)
        rest, again = fit(epochs=9, state=file, **kw)
        same(rest, state)
        assert again.stopped == history.stopped


def test_a_plateau_goes_on_with_its_history(tmp_path):
    kw = {"plateau": nn.Plateau(patience=1, monitor="loss", min_delta=0.2)}
    whole, history = fit(epochs=6, **kw)
    assert len(set(history["rate_scale"])) > 1
    for epochs in (2, 3, 6):
        state, again = go_on(tmp_path / "run", epochs=epochs, **kw)
    same(state, whole)
    same_history(again, history)


def test_an_ensemble_goes_on_with_its_history(tmp_path):
    net, path = nn.ensemble(NET, 2), tmp_path / "run"
    whole, history = fit(net=net, epochs=3)
    saving = {"callbacks": [nn.callbacks.checkpoint(path)]}
    half, _ = fit(net=net, epochs=2, **saving)
    back = nn.load(path, like=half)
    state, again = fit(net=net, epochs=3, state=back, **saving)
    same(state, whole)
    same_history(again, history)


# Inside an epoch

RMSE = {"rmse": nn.metrics.RootMeanSquaredError(), "r2": nn.metrics.R2()}
SCORES = (X @ np.ones((6, 1), np.float32), nn.losses.mean_squared_error)


@pytest.mark.quick
@pytest.mark.parametrize("steps", [2, 4, 5, 8])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_epoch_that_was_interrupted_is_finished(steps, number, tmp_path):
    """In a full piece, at its end, at the epoch's end and in the next one."""
    kw = {"metrics": METRICS, "chunk_seconds": 0.0}
    whole, history = fit(epochs=3, **kw)
    with Asks(steps, number):
        state, part = go_on(tmp_path / "run", epochs=3, **kw)
    name = "Ctrl-C" if number == signal.SIGINT else "SIGTERM"
    where = "after epoch 1" if steps == 5 else f"in epoch {1 + steps // 5}"
    assert part.stopped == f"{name} {where}, after {steps} steps"
    like = nn.train_state(NET, SGD, X[:1], key=KEY)
    same(nn.load(tmp_path / "run", like=like), state)
    for rest, again in (
        fit(epochs=3, state=state, history=part, **kw),
        go_on(tmp_path / "run", epochs=3, **kw),
    ):
        same(rest, whole)
        same_history(again, history)
        assert again.stopped is None


@pytest.mark.parametrize("epochs", [0, 2])
def test_an_epoch_that_had_not_begun_is_begun(epochs, tmp_path):
    """The signal came while its first chunk was being compiled, say."""
    whole, history = fit(metrics=METRICS)

    def ask(self, piece, epoch, *more):
        if epoch == epochs:
            os.kill(os.getpid(), signal.SIGTERM)
        return piece_of(self, piece, epoch, *more)

    piece_of, loop.Fit._piece = loop.Fit._piece, ask
    try:
        state, part = go_on(tmp_path / "run", metrics=METRICS)
    finally:
        loop.Fit._piece = piece_of
    assert part.stopped == f"SIGTERM in epoch {epochs + 1}, after {5 * epochs} steps"
    for rest, again in (
        fit(metrics=METRICS, state=state, history=part),
        go_on(tmp_path / "run", metrics=METRICS),
    ):
        same(rest, whole)
        same_history(again, history)


def test_sums_of_floats_go_on_in_their_order(tmp_path):
    y, loss = SCORES
    kw = {
        "data": (X, y),
        "net": nn.Dense(1),
        "loss": loss,
        "metrics": RMSE,
        "chunk_seconds": 0.0,
    }
    _, history = fit(epochs=2, **kw)
    for steps in (1, 3, 4, 7):
        with Asks(steps):
            state, part = fit(epochs=2, **kw)
        assert part.unfinished is not None
        _, again = fit(epochs=2, state=state, history=part, **kw)
        same_history(again, history)


def test_what_was_interrupted_is_kept_where_nothing_is_left_to_do():
    _, history = fit(chunk_seconds=0.0)
    with Asks(8):
        state, part = fit(chunk_seconds=0.0)
    with pytest.warns(UserWarning, match="nothing is left to do"):
        state, part = fit(epochs=1, state=state, history=part)
    same_history(fit(state=state, history=part)[1], history)


def test_batches_that_are_interrupted_are_finished(tmp_path):
    batches = [(X[i : i + 7], Y[i : i + 7]) for i in range(0, 70, 7)]
    kw = {"data": batches, "metrics": METRICS, "chunk_seconds": 0.0}
    whole, history = fit(epochs=2, **kw)
    with Asks(13):
        go_on(tmp_path / "run", epochs=2, **kw)
    state, again = go_on(tmp_path / "run", epochs=2, **kw)
    same(state, whole)
    same_history(again, history)


def test_batches_that_fail_are_finished_when_they_come_again():
    """An error between two groups of batches has what those before it added up."""
    batches = [(X[i : i + 7], Y[i : i + 7]) for i in range(0, 70, 7)] * 4
    _, history = fit(batches, epochs=1, metrics=METRICS)

    def failing():
        yield from batches[:35]
        raise OSError("the network is away")

    with pytest.raises(OSError, match="network is away") as caught:
        fit(failing, epochs=1, metrics=METRICS)
    state, part = caught.value.state, caught.value.history
    assert int(state.step) == 32
    _, again = fit(batches, epochs=1, metrics=METRICS, state=state, history=part)
    same_history(again, history)


def test_other_metrics_leave_what_was_interrupted():
    """The numbers then cover the steps after it went on, as without a history."""
    with Asks(3):
        state, part = fit(metrics=METRICS, chunk_seconds=0.0)
    for metrics in ({}, {"f1": nn.metrics.F1(3)}):
        _, alone = fit(metrics=metrics, state=state)
        _, again = fit(metrics=metrics, state=state, history=part)
        assert again["loss"] == alone["loss"]
    # Of equal names, and of other sums:
    y = np.eye(3, dtype=np.float32)[Y]
    loss = nn.losses.mean_squared_error
    _, alone = fit((X, y), loss=loss, metrics={"m": RMSE["rmse"]}, state=state)
    part.unfinished["names"] = ["loss", "m"]
    _, again = fit(
        (X, y), loss=loss, metrics={"m": RMSE["rmse"]}, state=state, history=part
    )
    assert again["m"] == alone["m"]


def test_an_epoch_whose_validation_failed_is_validated_later():
    kw = {"early_stopping": nn.EarlyStopping(patience=9, monitor="loss")}
    whole, history = fit(epochs=3, validation=(X, Y), **kw)
    calls = []

    def batches():
        calls.append(1)
        if len(calls) == 3:
            raise RuntimeError("the disk is away")
        yield X, Y

    with pytest.raises(RuntimeError, match="disk is away") as caught:
        fit(epochs=3, validation=batches, **kw)
    state, part = caught.value.state, caught.value.history
    assert int(state.step) == 5 * len(part) + 5
    state, again = fit(epochs=3, validation=(X, Y), state=state, history=part, **kw)
    same(state, whole)
    same_history(again, history)


def test_every_is_no_matter_where_a_run_is_interrupted(tmp_path):
    path = tmp_path / "run-{epoch}"
    with Asks(8):
        fit(
            callbacks=[nn.callbacks.checkpoint(path, every=5)],
            chunk_seconds=0.0,
        )
    assert [p.name for p in tmp_path.iterdir()] == ["run-2"]  # the epoch it was in


# Histories


def test_step_losses_stay_with_their_steps():
    _, whole = fit(epochs=4)
    half, _ = fit(epochs=2)
    _, late = fit(epochs=4, state=half)  # without the history before
    assert (late.first_step, late.step_losses) == (10, whole.step_losses[10:])
    three, _ = fit(epochs=3)
    _, again = fit(epochs=4, state=three, history=late)
    assert (again.first_step, again.step_losses) == (10, whole.step_losses[10:])
    one, _ = fit(epochs=1)
    _, again = fit(epochs=4, state=one, history=late)
    assert (again.first_step, again.step_losses) == (5, whole.step_losses[5:])


def test_step_losses_that_nobody_knows_are_nan():
    half, first = fit(epochs=2)
    state, _ = fit(epochs=3, state=half)
    _, again = fit(epochs=4, state=state, history=first)
    assert np.isnan(again.step_losses[10:15]).all() and len(again.step_losses) == 20


def test_a_history_can_be_pickled_and_copied():
    _, history = fit(metrics=METRICS, epochs=1)
    for back in (pickle.loads(pickle.dumps(history)), copy.deepcopy(history)):
        same_history(back, history)
        assert back.settings["net"] == NET and back.seconds == history.seconds
    assert (
        "GradientTransformation"
        in pickle.loads(pickle.dumps(history)).settings["optimizer"]
    )
    for back in (copy.copy(history), copy.deepcopy(history)):
        assert back.settings["optimizer"] is SGD
    copy.deepcopy(history).add(2, {"loss": 1.0})
    assert len(history) == 1


def test_arrays_in_a_history_are_its_own():
    history, matrix = nn.History(), np.eye(2)
    history.add(1, {"matrix": matrix, "jax": jnp.ones(2), "pair": [1.0, 2.0]})
    matrix[:] = 0
    assert history["matrix"][0].tolist() == [[1, 0], [0, 1]]
    assert type(history["jax"][0]) is np.ndarray and history["pair"] == [[1.0, 2.0]]


def test_a_log_that_no_file_holds_is_said_at_the_first_epoch(tmp_path):
    saving = {"callbacks": [nn.callbacks.checkpoint(tmp_path / "run")]}
    step = nn.train_step(NET, CROSS_ENTROPY, SGD)
    start = nn.train_state(NET, SGD, X[:1], key=KEY)

    def own(state, batch):
        return step(state, batch)

    with pytest.raises(TypeError, match=r"record\['logs'\]\['val_odd'\]\[0\] must be"):
        nn.fit(
            own,
            (X, Y),
            state=start,
            epochs=1,
            batch_size=16,
            validation=lambda state: {"odd": object()},
            **saving,
        )


def test_a_csv_is_replaced_in_one_piece(tmp_path, monkeypatch):
    _, history = fit(epochs=2)
    history.to_csv(tmp_path / "h.csv")
    before = (tmp_path / "h.csv").read_text()

    def fail(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    history.add(3, {"loss": 1.0})
    with pytest.raises(OSError, match=r"history\.to_csv: cannot write .*h\.csv: No sp"):
        history.to_csv(tmp_path / "h.csv")
    assert (tmp_path / "h.csv").read_text() == before
    assert [p.name for p in tmp_path.iterdir()] == ["h.csv"]


def test_optimizer_states_of_every_kind_go_on(tmp_path):
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(1e-2))
    whole, history = fit(epochs=3, optimizer=optimizer)
    path, saving = tmp_path / "run", nn.callbacks.checkpoint(tmp_path / "run")
    half, _ = fit(epochs=1, optimizer=optimizer, callbacks=[saving])
    back = nn.load(path, like=half)
    state, again = fit(epochs=3, optimizer=optimizer, state=back, callbacks=[saving])
    same(state, whole)
    same_history(again, history)
