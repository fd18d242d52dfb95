# SPDX-License-Identifier: Apache-2.0
"""Networks are estimators of scikit-learn, by scikit-learn's own checks."""

import functools
import pickle
import subprocess
import sys

import jax
import numpy as np
import optax
import pytest

import jaxnn as nn

pytest.importorskip("sklearn", "1.6", reason="an extra of jaxnn")

from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

Classifier, Regressor = nn.sklearn.Classifier, nn.sklearn.Regressor
RNG = np.random.default_rng(0)
X = RNG.standard_normal((90, 4))
NUMBERS = (X @ RNG.standard_normal((4, 3))).argmax(1)
NAMES = np.array(["ash", "oak", "elm"])[NUMBERS]
Y = X @ [1.0, -2.0, 0.5, 0.0] + 1


def mlp(outputs):
    return nn.Sequential(nn.Dense(16), jax.nn.relu, nn.Dense(outputs))


#: Checks of scikit-learn that a network cannot pass, and why.
EXPECTED_TO_FAIL = {
    "check_sample_weight_equivalence_on_dense_data": (
        "it wants 7 digits, and float32 sums in another order differ in the seventh; "
        "mini-batches differ in more, where an example takes one place at any weight"
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", [Classifier, Regressor])
def test_scikit_learns_own_checks_pass(kind):
    estimator = kind(mlp, epochs=60, learning_rate=0.01, batch_size=64)
    results = check_estimator(
        estimator,
        expected_failed_checks=EXPECTED_TO_FAIL,
        on_skip=None,
        on_fail=None,
    )
    by_status = {"failed": {}, "xfail": {}}
    for found in results:
        names = by_status.setdefault(found["status"], {})
        names[found["check_name"]] = found["exception"]
    assert by_status["failed"] == {}
    assert set(by_status["xfail"]) == set(EXPECTED_TO_FAIL)
    assert len(by_status["passed"]) > 40


def test_it_is_the_run_of_fit_with_the_key_of_random_state():
    net = mlp(3)
    model = Classifier(net, epochs=3, batch_size=30, random_state=7).fit(X, NAMES)
    state, history = nn.fit(
        net,
        (X, np.unique(NAMES, return_inverse=True)[1]),
        loss=nn.losses.softmax_cross_entropy,
        optimizer=optax.adam(1e-3),
        epochs=3,
        batch_size=30,
        key=jax.random.key(7),
    )
    same = jax.tree.map(np.array_equal, model.state_.params, state.params)
    assert all(jax.tree.leaves(same))
    assert model.history_["loss"] == history["loss"]


def test_text_labels_come_back_and_probabilities_are_in_their_order():
    model = Classifier(mlp(3), learning_rate=0.01, random_state=0).fit(X, NAMES)
    assert model.classes_.tolist() == ["ash", "elm", "oak"]
    proba, predicted = model.predict_proba(X), model.predict(X)
    np.testing.assert_allclose(proba.sum(1), 1, rtol=1e-12)
    np.testing.assert_array_equal(model.classes_[proba.argmax(1)], predicted)
    assert model.score(X, NAMES) == np.mean(predicted == NAMES) > 0.9


@pytest.mark.parametrize(
    ("end", "loss"),
    [
        (jax.nn.softmax, nn.losses.cross_entropy),
        (jax.nn.log_softmax, nn.losses.negative_log_likelihood),
    ],
)
def test_probabilities_are_those_of_the_loss_outputs(end, loss):
    """The same network, with its softmax inside or outside."""
    inside = nn.Sequential(nn.Dense(3), end)
    options = {"epochs": 2, "batch_size": 30, "random_state": 0}
    expected = Classifier(nn.Sequential(nn.Dense(3)), **options).fit(X, NUMBERS)
    found = Classifier(inside, loss=loss, **options).fit(X, NUMBERS)
    np.testing.assert_allclose(
        found.predict_proba(X), expected.predict_proba(X), rtol=1e-4
    )


@pytest.mark.parametrize(
    ("loss", "name"),
    [
        (nn.losses.mean_squared_error, "mean_squared_error"),
        (nn.losses.hinge, "hinge"),
        (lambda outputs, targets: outputs[:, 0], "<lambda>"),
    ],
)
def test_a_loss_that_is_not_on_classes_is_refused(loss, name):
    with pytest.raises(ValueError, match=f"loss must be one on classes.*got {name}"):
        Classifier(mlp, loss=loss).fit(X, NUMBERS)


def test_a_loss_of_ones_own_says_what_it_takes():
    @nn.losses.expects(outputs="logits", targets="classes")
    def halved(outputs, targets):
        return nn.losses.softmax_cross_entropy(outputs, targets) / 2

    options = {"optimizer": optax.sgd, "epochs": 1, "batch_size": 90, "random_state": 0}
    half = Classifier(mlp, loss=halved, learning_rate=0.2, **options).fit(X, NUMBERS)
    whole = Classifier(mlp, learning_rate=0.1, **options).fit(X, NUMBERS)
    np.testing.assert_allclose(half.predict_proba(X), whole.predict_proba(X), rtol=1e-5)


# ---- the network ----


@pytest.mark.parametrize(
    "net", [mlp(4), nn.Sequential(nn.Dense(3), nn.Reshape((3, 1)))]
)
def test_a_net_of_another_size_is_refused_before_training(net, compiled):
    rule = r"Classifier: net must give one output per class, 3 here, got float32"
    with pytest.raises(ValueError, match=rule) as caught:
        Classifier(net).fit(X, NAMES)
    assert "nn.Dense(3)" in str(caught.value)
    assert not any("run_steps" in name for name in compiled)
    rule = "Regressor: net must give one output per target, 1 here"
    with pytest.raises(ValueError, match=rule):
        Regressor(net).fit(X, Y)


@pytest.mark.parametrize("net", [None, "mlp", lambda outputs: None, jax.nn.relu])
def test_what_is_no_network_is_refused(net):
    with pytest.raises(
        TypeError, match="Classifier: net must be a layer, or a function"
    ):
        Classifier(net).fit(X, NUMBERS)


def test_a_class_of_layers_is_a_function_of_the_outputs():
    model = Classifier(nn.Dense, epochs=1, random_state=0).fit(X, NUMBERS)
    assert model.net_ == nn.Dense(3)


def test_images_and_ensembles():
    images = X.reshape(90, 2, 2)
    net = nn.ensemble(nn.Sequential(nn.Flatten(), nn.Dense(3)), 2)
    model = Classifier(net, epochs=20, learning_rate=0.05, random_state=0)
    assert model.fit(images, NUMBERS).score(images, NUMBERS) > 0.8


# ---- training ----


def test_a_batch_larger_than_the_data_is_all_of_it():
    fits = [
        Classifier(mlp, epochs=2, batch_size=size, random_state=0).fit(X, NUMBERS)
        for size in (90, 91, 10_000)
    ]
    losses = [model.history_["loss"] for model in fits]
    assert losses[0] == losses[1] == losses[2]
    assert fits[0].history_.settings["batch_size"] == 90
    with pytest.raises(ValueError, match="batch_size must be a positive int, got 0"):
        Classifier(mlp, batch_size=0).fit(X, NUMBERS)


def test_validation_holds_out_a_share_of_every_class():
    model = Classifier(
        mlp,
        epochs=50,
        validation=0.2,
        metrics={"accuracy": nn.metrics.accuracy},
        early_stopping=nn.EarlyStopping(patience=1, monitor="val_loss"),
        learning_rate=0.3,
        random_state=0,
    ).fit(X, NAMES, sample_weight=np.linspace(1, 2, 90))
    assert {"loss", "accuracy", "val_loss", "val_accuracy"} <= set(model.history_)
    assert len(model.history_) < 50 and "val_loss was best" in model.history_.stopped
    held_out = round(0.2 * 90)
    accuracies = np.array(model.history_["val_accuracy"]) * held_out
    np.testing.assert_allclose(accuracies, accuracies.round(), atol=1e-4)


def test_callbacks_are_called():
    seen = []
    callbacks = [lambda epoch, state, history: seen.append(epoch)]
    Regressor(mlp, epochs=3, callbacks=callbacks).fit(X, Y)
    assert seen == [1, 2, 3]


def test_learning_rate_and_optimizer():
    """A function of the rate, or a ready optimizer, but not both."""
    options = {"epochs": 2, "batch_size": 30, "random_state": 0}
    ready = Regressor(mlp, optimizer=optax.sgd(0.05), **options).fit(X, Y)
    made = Regressor(mlp, optimizer=optax.sgd, learning_rate=0.05, **options).fit(X, Y)
    assert ready.history_["loss"] == made.history_["loss"]
    both = Regressor(mlp, optimizer=optax.sgd(0.05), learning_rate=0.1)
    with pytest.raises(ValueError, match="learning_rate must be None beside an optim"):
        both.fit(X, Y)
    with pytest.raises(TypeError, match="optimizer must be an Optax optimizer"):
        Regressor(mlp, optimizer="adam").fit(X, Y)


def test_class_weights_are_by_label_and_multiply_sample_weights():
    options = {"epochs": 2, "batch_size": 30, "random_state": 0}
    by_label = {"ash": 2.0, "elm": 0.5}
    own = np.linspace(0.5, 1.5, 90)
    found = Classifier(mlp, class_weight=by_label, **options).fit(X, NAMES, own)
    weights = own * np.array([by_label.get(name, 1.0) for name in NAMES])
    expected = Classifier(mlp, **options).fit(X, NAMES, sample_weight=weights)
    assert found.history_["loss"] == expected.history_["loss"]


def test_balanced_classes_weigh_alike():
    options = {"epochs": 2, "batch_size": 30, "random_state": 0}
    found = Classifier(mlp, class_weight="balanced", **options).fit(X, NUMBERS)
    weights = (90 / 3 / np.bincount(NUMBERS))[NUMBERS]
    expected = Classifier(mlp, **options).fit(X, NUMBERS, sample_weight=weights)
    assert found.history_["loss"] == expected.history_["loss"]


def test_in_one_batch_of_all_a_weight_is_a_number_of_repetitions():
    counts = np.arange(90) % 3
    model = Classifier(mlp, epochs=20, batch_size=100, random_state=0)
    weighted = model.fit(X, NAMES, counts).predict_proba(X)
    repeated = model.fit(X.repeat(counts, 0), NAMES.repeat(counts)).predict_proba(X)
    np.testing.assert_allclose(weighted, repeated, atol=1e-5)


@pytest.mark.parametrize("weights", [np.full(90, -1.0), np.ones(89), np.zeros(90)])
def test_wrong_sample_weights_are_refused(weights):
    with pytest.raises(ValueError, match="sample_weight must"):
        Regressor(mlp).fit(X, Y, weights)


def test_without_a_random_state_numpys_own_is_drawn_from():
    def loss(random_state):
        model = Regressor(mlp, epochs=1, batch_size=90, random_state=random_state)
        return model.fit(X, Y).history_["loss"]

    np.random.seed(3)  # noqa: NPY002  scikit-learn's convention
    first, second = loss(None), loss(None)
    np.random.seed(3)  # noqa: NPY002
    assert loss(None) == first != second
    assert loss(np.random.RandomState(3)) == first


# ---- targets ----


def test_one_target_keeps_its_shape_and_several_theirs():
    several = np.stack([Y, -Y], 1)
    options = {"epochs": 60, "learning_rate": 0.02, "batch_size": 30, "random_state": 0}
    one = Regressor(mlp, **options).fit(X, Y)
    two = Regressor(mlp, **options).fit(X, several)
    assert one.predict(X).shape == (90,) and two.predict(X).shape == (90, 2)
    assert one.score(X, Y) > 0.9 and two.score(X, several) > 0.9
    column = Regressor(mlp, **options).fit(X, Y[:, None])
    np.testing.assert_array_equal(column.predict(X)[:, 0], one.predict(X))


def test_one_class_is_not_enough():
    with pytest.raises(ValueError, match=r"at least 2 classes, got 1 class: \['a'\]"):
        Classifier(mlp).fit(X, ["a"] * 90)


def test_frames_give_names_and_are_held_to_them():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=list("abcd")).assign(e=range(90))
    model = make_pipeline(StandardScaler(), Classifier(mlp, epochs=1, random_state=0))
    model.fit(frame, pandas.Series(NAMES))
    assert model.feature_names_in_.tolist() == list("abcde")
    model = Classifier(mlp, epochs=1).fit(frame[["a", "b"]], NAMES)
    assert model.n_features_in_ == 2
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame[["b", "a"]])


# ---- in scikit-learn's machinery ----


def test_searches_cross_validation_and_pipelines():
    model = make_pipeline(
        StandardScaler(), Classifier(mlp, epochs=5, batch_size=45, random_state=0)
    )
    wide = nn.Sequential(nn.Dense(32), jax.nn.relu, nn.Dense(3))
    grid = [
        {"classifier__learning_rate": [1e-5, 3e-2]},
        {"classifier__net": [wide], "classifier__learning_rate": [1e-5]},
    ]
    search = GridSearchCV(model, grid, cv=2).fit(X, NAMES)
    assert search.best_params_["classifier__learning_rate"] == 3e-2
    assert search.best_estimator_.predict(X).dtype == NAMES.dtype
    assert len(cross_val_score(search.best_estimator_, X, NAMES, cv=2)) == 2
    search = GridSearchCV(
        Regressor(mlp, epochs=5, batch_size=45, random_state=0),
        {"optimizer": [optax.sgd(1e-6), optax.sgd(0.1, momentum=0.9)]},
        cv=2,
    ).fit(X, Y)
    assert search.best_index_ == 1


def test_fits_of_one_shape_compile_once(compiled):
    Regressor(mlp, epochs=1, batch_size=90, random_state=0).fit(X, Y)
    compiled.clear()
    clone(Regressor(mlp, epochs=2, batch_size=90, random_state=1)).fit(X, Y).predict(X)
    assert not any("run_steps" in name for name in compiled)


def test_a_fitted_estimator_survives_pickling():
    optimizer = functools.partial(optax.sgd, momentum=0.9)
    model = Classifier(mlp, optimizer=optimizer, random_state=0).fit(X, NAMES)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    assert again.history_["loss"] == model.history_["loss"]
    refitted = again.fit(X, NAMES)
    np.testing.assert_array_equal(refitted.predict_proba(X), model.predict_proba(X))


def test_an_unfitted_estimator_says_so():
    with pytest.raises(NotFittedError):
        Classifier(mlp).predict(X)


def test_a_fit_that_is_refused_leaves_the_fitted_network():
    model = Classifier(mlp(3), epochs=1, batch_size=90, random_state=0).fit(X, NAMES)
    before = model.predict(X)
    with pytest.raises(ValueError, match="one output per class, 2 here"):
        model.fit(X, NAMES == "ash")
    np.testing.assert_array_equal(model.predict(X), before)


def test_without_scikit_learn_the_error_names_it():
    script = (
        "import sys; sys.modules['sklearn.base'] = None; import jaxnn as nn\n"
        "try: nn.sklearn.Classifier\nexcept ImportError as error: print(error)"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    wanted = "sklearn.Classifier needs scikit-learn 1.6 or newer: python -m pip install"
    assert wanted in run.stdout, run.stderr
