"""evaluate and predict: exact for any number of examples."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from common import CROSS_ENTROPY, KEY, X, Y, fit

import jaxnn as nn

NET = nn.Sequential(nn.Dense(8), jax.nn.relu, nn.Dense(3))
MEAN = nn.losses.softmax_cross_entropy
STATE = NET.init(KEY, X)
OUTPUTS = np.asarray(NET.apply(*STATE, X)[0])
METRICS = {
    "accuracy": nn.metrics.accuracy,
    "f1": nn.metrics.F1(3),
    "rmse": nn.metrics.Mean(nn.losses.softmax_cross_entropy),
}


@pytest.mark.parametrize("batch_size", [1, 7, 16, 69, 70, 71, 1000])
@pytest.mark.quick
def test_every_example_counts_once_in_any_batches(batch_size):
    got = nn.evaluate(
        NET, STATE, (X, Y), loss=CROSS_ENTROPY, metrics=METRICS, batch_size=batch_size
    )
    losses = np.asarray(CROSS_ENTROPY(OUTPUTS, Y), np.float64)
    np.testing.assert_allclose(got["loss"], losses.mean(), rtol=1e-6)
    assert got["accuracy"] == (OUTPUTS.argmax(1) == Y).mean()
    np.testing.assert_allclose(got["f1"], nn.metrics.F1(3)(OUTPUTS, Y), rtol=1e-6)
    chex.assert_trees_all_close(
        nn.predict(NET, STATE, X, batch_size=batch_size), OUTPUTS, rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("n", [0, 1, 3])
def test_few_examples(n):
    assert nn.predict(NET, STATE, X[:n]).shape == (n, 3)
    chex.assert_trees_all_close(nn.predict(NET, STATE, X[:n]), OUTPUTS[:n], rtol=1e-5)


def test_an_iterable_of_batches_is_the_arrays():
    batches = [(X[:30], Y[:30]), (X[30:37], Y[30:37]), (X[37:], Y[37:])]
    kw = {
        "loss": CROSS_ENTROPY,
        "metrics": {**METRICS, "auc": nn.metrics.ConfusionMatrix(3)},
    }
    whole = nn.evaluate(NET, STATE, (X, Y), **kw)
    for data in (batches, lambda: iter(batches), iter(batches)):
        parts = nn.evaluate(NET, STATE, data, **kw)
        chex.assert_trees_all_close(parts, whole, rtol=1e-6)


def test_weights_and_ignored_labels():
    weights = np.linspace(0, 2, 70).astype(np.float32)
    losses = np.asarray(CROSS_ENTROPY(OUTPUTS, Y), np.float64)
    got = nn.evaluate(NET, STATE, (X, Y, weights), loss=CROSS_ENTROPY, batch_size=16)
    np.testing.assert_allclose(got["loss"], losses @ weights / weights.sum(), rtol=1e-5)
    labels, loss = Y.copy(), functools.partial(CROSS_ENTROPY, ignore_label=-1)
    labels[::2] = -1
    got = nn.evaluate(
        NET, STATE, (X, labels), loss=loss, metrics={"accuracy": nn.metrics.accuracy}
    )
    np.testing.assert_allclose(got["loss"], losses[1::2].mean(), rtol=1e-5)
    assert got["accuracy"] == pytest.approx((OUTPUTS.argmax(1) == Y)[1::2].mean())


IGNORES = functools.partial(CROSS_ENTROPY, ignore_label=-1)
#: A label for each of three places, some of them padding.
PLACES = np.arange(210).reshape(70, 3)
PLACES = np.where(PLACES % 7 < 3, -1, PLACES % 3)
SEQUENCE = nn.Sequential(nn.Dense(9), nn.Reshape((3, 3)))


def test_a_metric_beside_a_loss_counts_what_the_loss_counts():
    """Also where examples hold some ignored labels: in fit, validation and evaluate."""
    own = {"accuracy": nn.metrics.accuracy, "f1": nn.metrics.F1(3, "micro"),
           "top": functools.partial(nn.metrics.top_k_accuracy, k=1)}  # fmt: skip
    data, kw = (X, PLACES), {"loss": IGNORES, "metrics": own}
    state, history = fit(
        data, SEQUENCE, validation=data, epochs=1, batch_size=70,
        optimizer=optax.sgd(0.0), **kw
    )  # fmt: skip
    outputs, kept = np.asarray(nn.predict(SEQUENCE, state, X)), PLACES != -1
    want = (outputs.argmax(-1) == PLACES)[kept].mean()
    got = nn.evaluate(SEQUENCE, state, data, **kw)
    for name in own:
        assert got[name] == pytest.approx(want, rel=1e-6)
        assert history[name][0] == pytest.approx(want, rel=1e-6)
        assert history[f"val_{name}"][0] == pytest.approx(want, rel=1e-6)


NOTHING = np.full(70, -1)


def test_what_counts_nothing_is_nan_and_said():
    own = {"accuracy": nn.metrics.accuracy, "f1": nn.metrics.F1(3)}
    kw = {"loss": IGNORES, "metrics": own}
    with pytest.warns(UserWarning, match="evaluate: data has no example that counts"):
        got = nn.evaluate(NET, STATE, (X, NOTHING), **kw)
    assert np.isnan([*got.values()]).all()
    with pytest.warns(UserWarning, match="fit: no example counts in an epoch"):
        state, history = fit((X, NOTHING), NET, epochs=1, **kw)
    assert np.isnan([history[name] for name in ("loss", "accuracy", "f1")]).all()
    assert np.isnan(history.step_losses).all()
    start = nn.train_state(NET, optax.sgd(0.1), X, key=KEY)
    chex.assert_trees_all_equal(state.params, start.params)  # nothing is descended


def test_an_optimizer_is_told_of_no_loss_where_nothing_counts():
    """One that makes the rate smaller on a plateau would take 0 for the best."""

    def update(slopes, state, params=None, *, value, **_):
        return jax.tree.map(jnp.negative, slopes), value

    optimizer = optax.GradientTransformationExtraArgs(lambda p: jnp.zeros(()), update)
    step = nn.train_step(NET, IGNORES, optimizer)
    state = nn.train_state(NET, optimizer, X, key=KEY)
    after, _ = step(state, (X, jnp.asarray(NOTHING)))
    assert np.isnan(after.opt_state)
    chex.assert_trees_all_equal(after.params, state.params)
    after, logs = step(state, (X, jnp.asarray(Y)))
    assert after.opt_state == logs["loss"]


def test_an_epoch_and_a_validation_of_nothing_are_nan_in_one_program_too():
    step = nn.train_step(NET, IGNORES, optax.sgd(0.1))
    state = nn.train_state(NET, optax.sgd(0.1), X, key=KEY)
    options = {"epochs": 1, "batch_size": 35, "validation": (X, NOTHING)}
    _, logs = nn.train.run(step, state, (X, NOTHING), **options)
    assert np.isnan(logs["loss"][0]) and np.isnan(logs["val_loss"][0])


def test_a_batch_of_nothing_does_not_change_the_mean_of_the_others():
    labels = np.where(np.arange(70) < 16, -1, Y)
    kw = {"loss": IGNORES, "optimizer": optax.sgd(0.0), "net": NET, "epochs": 1}
    state, history = fit((X, labels), shuffle=False, **kw)
    expected = np.asarray(CROSS_ENTROPY(nn.predict(NET, state, X), Y))[16:].mean()
    assert history["loss"][0] == pytest.approx(expected, rel=1e-5)
    assert np.isnan(history.step_losses[0])


OWN = {
    "accuracy": nn.metrics.accuracy,
    "top": functools.partial(nn.metrics.top_k_accuracy, k=2),
    "f1": nn.metrics.F1(3),
    "confusion": nn.metrics.ConfusionMatrix(3),
    "perplexity": nn.metrics.Perplexity(),
}


@pytest.mark.parametrize("name", OWN)
def test_labels_are_checked_for_metrics_without_a_loss(name):
    metric = {name: OWN[name]}
    with pytest.raises(ValueError, match=r"a class from 0 to 2, but \[.*\] is 3"):
        nn.evaluate(NET, STATE, (X, Y + 1), metrics=metric)
    with pytest.raises(ValueError, match=r"is -1 .*ignore_label=-1"):
        nn.evaluate(NET, STATE, (X, Y - 1), metrics=metric)
    with pytest.raises(ValueError, match=r"validation targets.* is 3"):
        fit(loss=lambda y, t: CROSS_ENTROPY(y, t % 3), metrics=metric,
            validation=(X, Y + 1))  # fmt: skip


@pytest.mark.parametrize(
    ("metric", "targets"),
    [
        (nn.metrics.RocAuc(), Y),
        (nn.metrics.RocAuc(), Y[:, None]),
        (nn.metrics.F1(2, "binary"), Y),
        (nn.metrics.binary_accuracy, Y[:, None]),
    ],
)
def test_labels_of_scores_are_checked_too(metric, targets):
    net = nn.Dense(1)
    state, own = net.init(KEY, X), {"own": metric}
    with pytest.raises(ValueError, match=r"from -1 to 1, but .* is 2"):
        nn.evaluate(net, state, (X, targets), metrics=own)
    signs, classes = np.where(targets > 0, 1, -1), np.minimum(targets, 1)
    found = [nn.evaluate(net, state, (X, t), metrics=own) for t in (signs, classes)]
    assert found[0] == found[1]


@pytest.mark.slow
def test_any_number_of_examples_needs_few_programs(compiled):
    kw = {"loss": nn.losses.mean_squared_error, "metrics": {"r2": nn.metrics.R2()}}
    net = nn.Dense(2)
    state = net.init(KEY, X)
    x = np.random.default_rng(1).standard_normal((300, 6)).astype(np.float32)
    y, outputs = x[:, :2], np.asarray(net.apply(*state, x)[0])
    compiled.clear()
    for n in range(1, 301):
        got = nn.evaluate(net, state, (x[:n], y[:n]), batch_size=64, **kw)
        error = np.square(outputs[:n] - y[:n])
        assert got["loss"] == pytest.approx(error.mean(), rel=1e-5)
        if n > 1:
            spread = np.square(y[:n] - y[:n].mean(0)).sum(0)
            r2 = (1 - error.sum(0) / spread).mean()
            assert got["r2"] == pytest.approx(r2, rel=1e-3)
        some = nn.predict(net, state, x[:n], batch_size=64)
        np.testing.assert_allclose(some, outputs[:n], rtol=1e-5, atol=1e-6)
    for name in ("statistics", "predict_batches"):
        assert sum(name in program for program in compiled) == 11


def test_inputs_and_outputs_may_be_trees():
    class Both(nn.Composite):
        def forward(self, run, x):
            return {"sum": x["a"] + x["b"], "first": x["a"][:, 0]}

    x = {"a": X, "b": 2 * X}
    got = nn.predict(Both(), ({}, {}), x, batch_size=16)
    chex.assert_trees_all_close(got, {"sum": 3 * X, "first": X[:, 0]})


class Frame:
    """A table of another library."""

    shape = (4, 6)

    def __len__(self):
        return 4


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        (Frame(), "^predict: inputs must be an array, got Frame"),
        ({"a": [1.0, 2.0]}, "^predict: inputs/a/0 must be an array, got float"),
        (np.float32(1), r"^predict: inputs must be an array \[N, ...\]"),
    ],
)
def test_predict_names_what_is_no_array(inputs, said):
    with pytest.raises(TypeError, match=said):
        nn.predict(NET, STATE, inputs)


def test_what_fit_gives_is_no_state():
    pair = fit(epochs=1, batch_size=70)
    with pytest.raises(TypeError, match="pass the state alone"):
        nn.evaluate(NET, pair, (X, Y), loss=CROSS_ENTROPY)


@pytest.mark.parametrize("targets", [[[1], [-1], [1], [-1]], [[1], [0], [1], [0]]])
def test_the_targets_of_a_margin_are_signs_or_0_and_1(targets):
    x, net = np.ones((4, 3), np.float32), nn.Dense(1)
    variables, targets = net.init(jax.random.key(0), x), np.array(targets)
    found = nn.evaluate(net, variables, (x, targets), loss=nn.losses.hinge)
    expected = nn.losses.hinge(net.apply(*variables, x)[0], targets).mean()
    np.testing.assert_allclose(found["loss"], expected, rtol=1e-6)
    with pytest.raises(ValueError, match="data targets must be from 0 to 1"):
        nn.evaluate(
            net, variables, (x, targets - 1), loss=nn.losses.sigmoid_cross_entropy
        )


def test_evaluation_does_not_drop_out():
    net = nn.Sequential(nn.Dropout(0.9))
    chex.assert_trees_all_equal(nn.predict(net, ({}, {}), X), X)


def test_sums_do_not_lose_small_terms():
    """A million equal losses: float32 running sums would drift, float64 ones do not."""
    n = 1_000_000
    x, y = np.full((n, 1), 0.1, np.float32), np.zeros((n, 1), np.float32)
    got = nn.evaluate(
        nn.Identity(),
        ({}, {}),
        (x, y),
        loss=nn.losses.mean_absolute_error,
        batch_size=n,
    )
    assert got["loss"] == pytest.approx(float(np.float32(0.1)), rel=1e-12)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: nn.evaluate(NET, STATE, (X, Y)), "a loss, metrics, or both"),
        (lambda: nn.evaluate(NET, STATE, [], loss=CROSS_ENTROPY), "empty"),
        (
            lambda: nn.evaluate(NET, STATE, (X[:0], Y[:0]), loss=CROSS_ENTROPY),
            "data must hold examples",
        ),
        (lambda: nn.evaluate(NET, STATE[0], (X, Y), loss=CROSS_ENTROPY), "TrainState"),
        (lambda: nn.evaluate(NET, STATE, (X, Y + 3), loss=CROSS_ENTROPY), "0 to 2"),
        (
            lambda: nn.evaluate(NET, STATE, (X, Y), loss=CROSS_ENTROPY, batch_size=0),
            "positive",
        ),
        (lambda: nn.evaluate(NET, STATE, (X, Y), metrics={"a": 3}), "metric"),
        (
            lambda: nn.evaluate(NET, STATE, (X, Y), loss=lambda o, t: o.mean()),
            "one value per example",
        ),
        (
            lambda: nn.evaluate(NET, STATE, (X, Y), loss=MEAN, metrics={"loss": MEAN}),
            "loss's own name",
        ),
        (lambda: nn.evaluate(NET, STATE, (X, Y, -np.ones(70)), loss=MEAN), "0 or more"),
        (
            lambda: nn.predict(nn.Identity(), ({}, {}), {"a": X, "b": X[:9]}),
            "the same number",
        ),
        (lambda: nn.predict(NET, STATE, X[:, :4]), "must have 6 features"),
        (lambda: nn.predict(NET, STATE, [1.0, 2.0]), "must be an array"),
        (lambda: nn.predict(NET, STATE, X, batch_size=-1), "positive"),
        (
            lambda: nn.predict(nn.Sequential(jnp.sum), ({}, {}), X),
            "keep the first axis",
        ),
    ],
)
def test_errors(call, words):
    with pytest.raises((ValueError, TypeError), match=words):
        call()


IMAGES = np.zeros((8, 6, 6, 1), np.float32)
FLAT = nn.Sequential(nn.Flatten(), nn.Dense(3))
NUMBERS = np.zeros((8, 1), np.float32)


@pytest.mark.parametrize(
    ("net", "x", "y"),
    [
        (NET, X, Y),
        (FLAT, IMAGES, Y[:8]),
        (FLAT, IMAGES, NUMBERS),
    ],
)
def test_labels_do_not_belong_in_predict(net, x, y):
    state = net.init(KEY, x)
    with pytest.raises(TypeError) as caught:
        nn.predict(net, state, (x, y))
    assert str(caught.value).startswith(
        "predict: inputs is a pair (x, y); labels do not belong here: nn.predict(net, "
        f"state, x), got (float32[{len(x)},"
    )


def test_lengths_stay_lengths_in_predict():
    net, x = nn.Sequential(nn.lstm(4), nn.LastStep()), np.zeros((3, 4, 2), np.float32)
    state = net.init(KEY, x)
    with pytest.raises(ValueError, match="lengths must be from 1 to 4, ") as caught:
        nn.predict(net, state, (x, np.array([1, 0, 4])))
    assert "labels do not belong in inputs" in caught.value.__notes__[-1]


@pytest.mark.parametrize(
    ("net", "x"), [(NET, X), (FLAT, IMAGES), (nn.Sequential(nn.Conv(2, 3)), IMAGES)]
)
def test_one_example_becomes_a_batch(net, x):
    with pytest.raises(ValueError, match="must") as caught:
        nn.predict(net, net.init(KEY, x), x[0])
    assert any(
        "one example becomes a batch by x[None]" in n for n in caught.value.__notes__
    )
