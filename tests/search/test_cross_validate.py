# SPDX-License-Identifier: Apache-2.0
"""Cross-validation: each fold is what `fit` gives on its rows."""

import chex
import jax
import numpy as np
import optax
import pytest

import jaxnn as nn

RNG = np.random.default_rng(0)
X = RNG.standard_normal((50, 5)).astype(np.float32)
Y = (X @ RNG.standard_normal((5, 3))).argmax(1)
KEY = jax.random.key(3)
NET = nn.Sequential(nn.Dense(8), jax.nn.relu, nn.Dropout(0.2), nn.Dense(3))
COMMON = {
    "loss": nn.losses.softmax_cross_entropy,
    "optimizer": optax.sgd(0.1),
    "epochs": 3,
    "batch_size": 10,
    "key": KEY,
}
METRICS = {"accuracy": nn.metrics.accuracy}


@pytest.fixture(scope="module")
def found():
    """Folds of 13, 13, 12 and 12 examples."""
    return nn.cross_validate(NET, (X, Y), **COMMON, folds=4, metrics=METRICS)


@pytest.mark.quick
def test_a_fold_is_the_fit_of_its_rows(found):
    assert len(found.folds) == 4
    for fold in (found.folds[0], found.folds[3]):
        state, history = nn.fit(
            *(NET, (X[fold.rows], Y[fold.rows])),
            validation=(X[fold.held_out], Y[fold.held_out]),
            **COMMON,
            metrics=METRICS,
        )
        own, other = (s._replace(key=None) for s in (fold.state, state))
        chex.assert_trees_all_close(own, other, rtol=2e-5, atol=2e-6)
        assert list(fold.history) == list(history)
        for name in history:
            np.testing.assert_allclose(fold.history[name], history[name], rtol=1e-4)
        assert fold.history.epochs == [1, 2, 3]


def test_every_example_is_held_out_once(found):
    held_out = np.concatenate([fold.held_out for fold in found.folds])
    np.testing.assert_array_equal(np.sort(held_out), np.arange(50))
    for fold, rows in zip(found.folds, nn.search.fold_rows(KEY, 50, 4), strict=True):
        chex.assert_trees_all_equal((fold.rows, fold.held_out), rows)


def test_mean_and_spread_are_those_of_the_folds(found):
    for name in ("loss", "accuracy", "val_loss", "val_accuracy"):
        last = [fold.history[name][-1] for fold in found.folds]
        assert found.mean[name] == pytest.approx(np.mean(last))
        assert found.spread[name] == pytest.approx(np.std(last, ddof=1))


def test_a_fold_goes_on_like_any_run(found):
    fold = found.folds[1]
    held_out = X[fold.held_out], Y[fold.held_out]
    measured = nn.evaluate(NET, fold.state, held_out, metrics=METRICS)
    assert measured["accuracy"] == pytest.approx(fold.values["val_accuracy"])
    data = X[fold.rows], Y[fold.rows]
    longer, _ = nn.fit(NET, data, **(COMMON | {"epochs": 4}), state=fold.state)
    assert int(longer.step) == 4 * 4


def test_the_repr_is_a_few_lines(found):
    lines = repr(found).splitlines()
    assert lines[0] == "4 folds, 12 or 13 examples held out in each"
    assert [line.split()[0] for line in lines[1:]] == ["val_loss", "val_accuracy"]
    mean, spread = found.mean["val_accuracy"], found.spread["val_accuracy"]
    assert f"{mean:.4g} ± {spread:.2g}" in lines[2]
    assert lines[2].count(".") >= 4 and len(lines[2]) < 90


@pytest.mark.parametrize("stratify", [True, "classes"])
def test_stratified_folds_hold_the_classes_in_proportion(stratify):
    labels = np.r_[np.zeros(30, int), np.ones(15, int), np.full(5, 2)]
    found = nn.cross_validate(
        NET,
        (X, labels),
        **(COMMON | {"epochs": 1}),
        stratify=labels if stratify == "classes" else True,
    )
    for fold in found.folds:
        assert np.bincount(labels[fold.held_out]).tolist() == [6, 3, 1]


def test_stratified_folds_differ_by_one_at_most():
    labels = RNG.integers(0, 4, 53)
    parts = [
        labels[held_out]
        for _, held_out in nn.search.fold_rows(KEY, 53, 6, classes=labels)
    ]
    counts = np.stack([np.bincount(part, minlength=4) for part in parts])
    assert np.ptp(counts, axis=0).max() == 1
    assert np.ptp(counts.sum(1)) == 1
    (_, first), (_, other) = (
        nn.search.fold_rows(jax.random.key(seed), 53, 6, classes=labels)[0]
        for seed in range(2)
    )
    assert first.tolist() != other.tolist()  # the key draws within each class


def test_early_stopping_is_each_folds_own():
    stop = nn.EarlyStopping(patience=1)
    options = COMMON | {"epochs": 6, "optimizer": optax.sgd(2.0)}
    found = nn.cross_validate(NET, (X, Y), **options, folds=2, early_stopping=stop)
    for fold in found.folds:
        best = int(np.nanargmin(fold.history["val_loss"]))
        assert fold.values["val_loss"] == fold.history["val_loss"][best]
        held_out = X[fold.held_out], Y[fold.held_out]
        loss = nn.evaluate(NET, fold.state, held_out, loss=COMMON["loss"])["loss"]
        assert loss == pytest.approx(fold.values["val_loss"], rel=1e-4)


def test_a_batch_size_beyond_a_fold_takes_it_all():
    usual = COMMON | {"epochs": 1}
    with pytest.warns(UserWarning, match="cross_validate: batch_size 99 is more than"):
        found = nn.cross_validate(NET, (X, Y), **(usual | {"batch_size": 99}), folds=3)
    assert [len(fold.rows) for fold in found.folds] == [33, 33, 34]
    assert [int(fold.state.step) for fold in found.folds] == [1, 1, 1]


def test_a_fold_that_diverges_is_left_out_and_said():
    x, y = np.ones((12, 1), np.float32), np.ones((12, 1), np.float32)
    (_, first), *_ = nn.search.fold_rows(KEY, 12, 3)
    x[first] = 1e20  # only the networks that do not see it stay finite
    options = COMMON | {"loss": nn.losses.mean_absolute_error, "batch_size": 8}
    options |= {"optimizer": optax.sgd(1e19), "epochs": 2}
    with pytest.warns(UserWarning, match="2 of 3 folds diverged .* mean: 1, 2"):
        found = nn.cross_validate(nn.Dense(1), (x, y), **options, folds=3)
    assert [fold.diverged for fold in found.folds] == [False, True, True]
    assert found.mean["val_loss"] == found.folds[0].values["val_loss"]
    options |= {"optimizer": optax.sgd(1e38)}
    with pytest.raises(FloatingPointError, match="all 3 folds diverged"):
        nn.cross_validate(nn.Dense(1), (1e4 * x, y), **options, folds=3)


WRONG = [
    ({"folds": 1}, ValueError, "folds must be an int of 2 or more"),
    ({"folds": 51}, ValueError, "number of examples, got 51 for 50"),
    ({"key": 3}, TypeError, "cross_validate: key must be a random key"),
    ({"epochs": 0}, ValueError, "epochs must be a positive int"),
    ({"batch_size": 0}, ValueError, "batch_size must be a positive int"),
    ({"optimizer": optax.sgd}, TypeError, "optimizer must be an Optax optimizer"),
    ({"loss": "mse"}, TypeError, "loss must be a function"),
    ({"metrics": [nn.metrics.accuracy]}, TypeError, "metrics must be a dict"),
    ({"data": [(X, Y)]}, TypeError, "cross_validate: data must be arrays"),
    ({"data": (X, Y - 1)}, ValueError, "must be a class from 0 to 2"),
    ({"net": nn.ensemble(NET, 2)}, TypeError, "got an ensemble; give net.net"),
    ({"net": 3}, TypeError, "cross_validate: a layer must be an nn.Layer"),
    ({"stratify": Y[:9]}, ValueError, r"stratify must give one class .* \(50,\)"),
    (
        {"data": (X, np.eye(3, dtype=np.float32)[Y]), "stratify": True},
        ValueError,
        "cross_validate: stratify must give one class per example",
    ),
    (
        {"early_stopping": nn.EarlyStopping(monitor="val_acc", mode="max")},
        ValueError,
        "must monitor a logged value, got 'val_acc'; the run logs",
    ),
]


@pytest.mark.parametrize(("wrong", "kind", "said"), WRONG, ids=lambda v: None)
def test_bad_input_is_refused_before_compiling(wrong, kind, said, monkeypatch):
    monkeypatch.setattr(
        "jaxnn.search.program.Program._compile", lambda *_: pytest.fail("compiled")
    )
    given = {"net": NET, "data": (X, Y), **COMMON, **wrong}
    with pytest.raises(kind, match=said) as error:
        nn.cross_validate(given.pop("net"), given.pop("data"), **given)
    assert "sweep" not in str(error.value)
    assert not any("sweep" in n for n in getattr(error.value, "__notes__", []))
