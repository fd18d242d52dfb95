# SPDX-License-Identifier: Apache-2.0
"""Early stopping and plateaus: what they decide, keep, and remember over a resume."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from common import CROSS_ENTROPY, KEY, NET, SGD, X, Y, fit

import jaxnn as nn
from jaxnn.train.early_stopping import Watch

same = chex.assert_trees_all_equal
VALIDATION = (X[:11], (Y[:11] + 1) % 3)  # wrong labels: better training makes it worse
PATIENT = nn.EarlyStopping(patience=4)


@pytest.fixture(scope="module")
def stopped():
    return fit(epochs=40, validation=VALIDATION, early_stopping=PATIENT)


@pytest.mark.quick
def test_a_run_stops_and_keeps_its_best(stopped):
    state, history = stopped
    losses = history["val_loss"]
    best = int(np.argmin(losses))
    assert len(losses) == best + 1 + 4 < 40
    assert f"best after epoch {best + 1} and not better for 4 epochs" in history.stopped
    now = nn.evaluate(NET, state, VALIDATION, loss=CROSS_ENTROPY)["loss"]
    assert now == pytest.approx(losses[best], rel=1e-6)
    plain, _ = fit(epochs=max(best + 1, 1))
    same(state.params, plain.params)


def test_the_last_weights_are_kept_beside_the_best(stopped):
    state, history = stopped
    plain, _ = fit(epochs=len(history))
    same(state.watch["early_stopping"].params, plain.params)
    same(state.opt_state, plain.opt_state)


@pytest.mark.parametrize("first", [2, 5])
def test_a_resumed_run_decides_as_the_whole_one(stopped, first, tmp_path):
    whole, history = stopped
    options = dict(
        validation=VALIDATION, early_stopping=PATIENT, plateau=nn.Plateau(patience=1)
    )
    whole, history = fit(epochs=40, **options)
    part, early = fit(epochs=first, **options)
    nn.save(tmp_path / "part", part)
    del options["validation"]
    like = nn.train_state(NET, SGD, X[:1], key=jax.random.key(9), **options)
    part = nn.load(tmp_path / "part", like=like)
    options["validation"] = VALIDATION
    state, late = fit(epochs=40, state=part, history=early, **options)
    same(state, whole)
    for name in ("loss", "val_loss", "rate_scale"):
        assert late[name] == history[name]
    assert late.stopped == history.stopped


def test_a_run_that_has_stopped_stays_so(stopped):
    state, history = stopped
    again, more = fit(
        epochs=40, validation=VALIDATION, early_stopping=PATIENT, state=state
    )
    same(again, state)
    assert len(more) == 0 and more.stopped == history.stopped
    longer = nn.EarlyStopping(patience=6)
    _, more = fit(epochs=40, validation=VALIDATION, early_stopping=longer, state=state)
    assert len(more) == 2


def test_a_state_without_a_place_for_what_is_watched_says_what_to_give(
    stopped, tmp_path
):
    nn.save(tmp_path / "stopped", stopped[0])
    like = nn.train_state(NET, SGD, X[:1], key=KEY)
    with pytest.raises(ValueError, match="give train_state the run's early_stopping="):
        nn.load(tmp_path / "stopped", like=like)


def test_the_members_of_an_ensemble_have_a_place_each():
    bunch = nn.ensemble(NET, 2)
    state = nn.train_state(bunch, SGD, X[:1], key=KEY, plateau=nn.Plateau())
    assert state.watch["plateau"].scale.shape == (2,)


@pytest.mark.parametrize("kind", ["early_stopping", "plateau"])
def test_the_best_of_another_number_is_forgotten(kind):
    one = nn.EarlyStopping if kind == "early_stopping" else nn.Plateau
    first, second = one(monitor="loss"), one(monitor="accuracy", mode="max")
    options = {"metrics": {"accuracy": nn.metrics.accuracy}}
    state, _ = fit(epochs=2, **options, **{kind: first})
    again, history = fit(epochs=3, state=state, **options, **{kind: second})
    best = again.watch[kind].best
    assert best.epoch == 3
    np.testing.assert_allclose(best.value, history["accuracy"][-1], rtol=1e-6)


def test_a_watched_state_is_not_taken_for_another_run(stopped):
    state, _ = stopped
    with pytest.raises(ValueError, match="comes from a run with early_stopping; give"):
        fit(epochs=40, state=state)
    fresh, _ = fit(epochs=40, state=state._replace(watch={}))
    assert fresh.watch == {}


def test_a_plateau_makes_updates_smaller():
    plateau = nn.Plateau(factor=0.25, patience=2, monitor="val_loss", min_scale=0.1)
    _, history = fit(epochs=12, validation=VALIDATION, plateau=plateau)
    scales = history["rate_scale"]
    first = next(i for i, s in enumerate(scales) if s < 1)
    losses = history["val_loss"]
    assert min(losses[: first - 1]) <= min(losses[first - 1 : first + 1])
    assert scales[first] == 0.25 and set(scales) <= {1, 0.25, np.float32(0.1)}


def test_a_scaled_step_is_the_step_at_that_rate():
    slow, _ = fit(epochs=1, optimizer=optax.sgd(0.05))
    start, _ = fit(epochs=1, plateau=nn.Plateau(patience=1, monitor="loss"))
    scaled = start.watch["plateau"]._replace(scale=jnp.float32(0.5))
    step = nn.train_step(NET, CROSS_ENTROPY, optax.sgd(0.1))
    zero = nn.train_state(NET, optax.sgd(0.1), X, key=start.key)
    state, _ = nn.train_epoch(
        step, zero._replace(watch={"plateau": scaled}), (X, Y), batch_size=16
    )
    chex.assert_trees_all_close(state.params, slow.params, rtol=1e-5, atol=1e-7)


@pytest.mark.filterwarnings("ignore:fit. validation has no example")
def test_a_validation_of_nothing_is_never_the_best():
    loss = functools.partial(CROSS_ENTROPY, ignore_label=-1)
    nothing = X[:11], np.full(11, -1)
    state, history = fit(
        loss=loss, epochs=9, validation=nothing,
        early_stopping=nn.EarlyStopping(3), plateau=nn.Plateau(patience=1),
    )  # fmt: skip
    assert history.stopped == "val_loss was never a number in 3 epochs"
    assert np.isnan(history["val_loss"]).all()
    assert state.watch["early_stopping"].best.epoch == 0
    same(state.params, fit(loss=loss, epochs=3, plateau=nn.Plateau(
        patience=1, monitor="val_loss"), validation=nothing)[0].params)  # fmt: skip
    assert history["rate_scale"] == [0.5, 0.25, 0.125]


@pytest.mark.parametrize(
    ("values", "mode", "stops_at"),
    [
        ([3, 2, 1, 1, 1], "min", 4),
        ([1, 2, 3, 2, 3.05], "max", 4),
        ([float("nan"), float("nan"), 1], "min", 1),
        ([1, float("nan"), float("nan")], "min", 2),
        ([5, 4, 3, 2, 1], "min", None),
    ],
)
def test_decisions_by_hand(values, mode, stops_at):
    watch = Watch(nn.EarlyStopping(2, monitor="m", mode=mode, min_delta=0.1))
    state = nn.train_state(NET, optax.sgd(0.1), X, key=jax.random.key(0))
    state = watch.begin("run", state)
    stops = []
    for epoch, value in enumerate(values, 1):
        state = watch.look(state, {"m": value}, epoch)
        stops.append(bool(watch.stops(state)))
    assert (stops.index(True) if True in stops else None) == stops_at


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patience": 0}, "EarlyStopping: patience must be 1 or more epochs, got 0"),
        ({"monitor": "val_accuracy"}, "mode must say whether 'val_accuracy' is better"),
        ({"mode": "least"}, "mode must be 'min' or 'max', got 'least'"),
        ({"min_delta": -1}, "min_delta must be a number 0 or more, got -1"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message.replace("?", r"\?")):
        nn.EarlyStopping(**options)


def test_what_is_not_logged_is_refused_before_training():
    with pytest.raises(
        ValueError, match=r"^fit: early_stopping must monitor .* give validation="
    ):
        fit(early_stopping=nn.EarlyStopping())
    wrong = nn.EarlyStopping(monitor="val_los_loss")
    with pytest.raises(ValueError, match="nearest: 'val_loss'"):
        fit(early_stopping=wrong, validation=VALIDATION)
    with pytest.raises(
        TypeError, match=r"^fit: early_stopping must be an nn.EarlyStopping"
    ):
        fit(early_stopping=3)
    with pytest.raises(ValueError, match="factor must be a number above 0, below 1"):
        nn.Plateau(factor=1.0)


ACCURACY = {"accuracy": nn.metrics.accuracy}
MONITORS = {
    "an abbreviation": (
        {"metrics": ACCURACY, "validation": VALIDATION},
        "got 'val_acc'; the run logs accuracy, loss, "
        "val_accuracy, val_loss (nearest: 'val_accuracy')",
    ),
    "no metric": (
        {"validation": VALIDATION},
        "the run logs loss, val_loss; a metric is logged by its name in metrics=",
    ),
    "no validation": (
        {"metrics": ACCURACY},
        "the run logs accuracy, loss; give validation= (nearest: 'val_accuracy')",
    ),
}


@pytest.mark.parametrize("case", MONITORS)
@pytest.mark.parametrize("kind", ["early_stopping", "plateau"])
def test_a_monitor_that_is_not_logged_names_what_is(case, kind, monkeypatch):
    monkeypatch.setattr("jaxnn.train.loop.run_steps", lambda *_, **__: 1 / 0)
    options, message = MONITORS[case]
    watch = {"early_stopping": nn.EarlyStopping, "plateau": nn.Plateau}[kind]
    with pytest.raises(ValueError) as error:
        fit(**{kind: watch(monitor="val_acc", mode="max")}, **options)
    assert str(error.value).startswith(
        f"fit: {kind} must monitor a logged value, got 'val_acc'"
    )
    assert message in str(error.value)


def test_a_monitor_of_several_numbers_is_refused_before_training(monkeypatch):
    monkeypatch.setattr("jaxnn.train.loop.run_steps", lambda *_, **__: 1 / 0)
    metrics = {"counts": nn.metrics.ConfusionMatrix(3)}
    for monitor in ("counts", "val_counts"):
        watch = nn.EarlyStopping(monitor=monitor, mode="min")
        with pytest.raises(ValueError, match=rf"an epoch, but '{monitor}' is int32"):
            fit(early_stopping=watch, metrics=metrics, validation=VALIDATION)


def test_a_custom_steps_monitor_is_refused_before_training(monkeypatch):
    """What its validation function logs is known later; what the step logs is not."""
    monkeypatch.setattr("jaxnn.train.loop.run_steps", lambda *_, **__: 1 / 0)
    inner = nn.train_step(NET, CROSS_ENTROPY, SGD)

    def step(state, batch):
        return inner(state, batch)

    with pytest.raises(ValueError, match=r"got 'los_loss'; the run logs"):
        nn.fit(
            step,
            (X, Y),
            epochs=1,
            batch_size=16,
            state=nn.train_state(NET, SGD, X, key=KEY),
            validation=lambda state: {"loss": 1.0},
            early_stopping=nn.EarlyStopping(monitor="los_loss"),
        )
