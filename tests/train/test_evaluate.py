"""evaluate and predict: exact for any number of examples."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
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
        (Frame(), "inputs: must be an array, got Frame"),
        ({"a": [1.0, 2.0]}, "inputs/a/0: must be an array, got float"),
        (np.float32(1), r"inputs: must be an array \[N, ...\]"),
    ],
)
def test_predict_names_what_is_no_array(inputs, said):
    with pytest.raises(TypeError, match=said):
        nn.predict(NET, STATE, inputs)


def test_what_fit_gives_is_no_state():
    pair = fit(epochs=1, batch_size=70)
    with pytest.raises(TypeError, match="take the first of it"):
        nn.evaluate(NET, pair, (X, Y), loss=CROSS_ENTROPY)


@pytest.mark.parametrize("targets", [[[1], [-1], [1], [-1]], [[1], [0], [1], [0]]])
def test_the_targets_of_a_margin_are_signs_or_0_and_1(targets):
    x, net = np.ones((4, 3), np.float32), nn.Dense(1)
    variables, targets = net.init(jax.random.key(0), x), np.array(targets)
    found = nn.evaluate(net, variables, (x, targets), loss=nn.losses.hinge)
    expected = nn.losses.hinge(net.apply(*variables, x)[0], targets).mean()
    np.testing.assert_allclose(found["loss"], expected, rtol=1e-6)
    with pytest.raises(ValueError) as caught:
        nn.evaluate(
            net, variables, (x, targets - 1), loss=nn.losses.sigmoid_cross_entropy
        )
    assert "ignore_label" not in str(caught.value)


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
        (lambda: nn.evaluate(NET, STATE, (X[:0], Y[:0]), loss=CROSS_ENTROPY), "empty"),
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
        (lambda: nn.predict(nn.Identity(), ({}, {}), {"a": X, "b": X[:9]}), "as many"),
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
