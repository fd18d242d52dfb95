# SPDX-License-Identifier: Apache-2.0
"""Class weights by name: `balanced` weighs as scikit-learn does."""

import functools

import chex
import numpy as np
import pytest
from common import CROSS_ENTROPY, KEY, X, Y, fit

import jaxnn as nn
from jaxnn.train.example_weights import with_weights

RARE = np.r_[np.zeros(50, int), np.ones(15, int), np.full(5, 2)]
DENSE = {"batch_size": 70, "net": nn.Dense(3), "epochs": 2}


def weights(targets, loss=None):
    x = np.zeros((len(targets), 1), np.float32)
    return with_weights("fit", (x, np.asarray(targets)), None, "balanced", loss)[2]


@pytest.mark.parametrize(
    "targets", [RARE, RARE[:, None], RARE.astype(np.uint8), (RARE > 0).astype(float)]
)
def test_balanced_weights_are_those_of_scikit_learn(targets):
    found = pytest.importorskip("sklearn.utils.class_weight")
    expected = found.compute_sample_weight("balanced", targets.ravel())
    np.testing.assert_allclose(weights(targets), expected, rtol=1e-6)


def test_balanced_classes_count_equally_and_no_more_than_before():
    own = weights(RARE)
    totals = [own[label == RARE].sum() for label in range(3)]
    np.testing.assert_allclose(totals, 70 / 3, rtol=1e-6)
    np.testing.assert_allclose(own.mean(), 1, rtol=1e-6)


@pytest.mark.quick
def test_fit_with_balanced_classes_is_fit_with_their_weights():
    state, _ = fit((X, RARE), class_weight="balanced", **DENSE)
    by_hand = {k: 70 / (3 * n) for k, n in enumerate((50, 15, 5))}
    same, _ = fit((X, RARE), class_weight=by_hand, **DENSE)
    chex.assert_trees_all_equal(state.params, same.params)
    assert not np.array_equal(state.params["w"], fit((X, RARE), **DENSE)[0].params["w"])


def test_balanced_and_sample_weights_multiply():
    own = np.linspace(0.5, 2, 70).astype(np.float32)
    state, _ = fit((X, RARE), class_weight="balanced", sample_weight=own, **DENSE)
    same, _ = fit((X, RARE), sample_weight=own * weights(RARE), **DENSE)
    chex.assert_trees_all_close(state.params, same.params, rtol=1e-6)


def test_ignored_labels_are_no_class():
    loss = functools.partial(CROSS_ENTROPY, ignore_label=-1)
    targets = np.r_[RARE, -np.ones(30, int)]
    np.testing.assert_array_equal(weights(targets, loss)[:70], weights(RARE))
    assert np.isfinite(weights(-np.ones(4, int), loss)).all()  # nothing counts


def test_evaluate_weighs_the_loss_and_not_the_metrics():
    net, metrics = nn.Dense(3), {"accuracy": nn.metrics.accuracy}
    state = net.init(KEY, X)
    found = nn.evaluate(
        *(net, state, (X, RARE)),
        loss=CROSS_ENTROPY,
        metrics=metrics,
        class_weight="balanced",
    )
    values = np.asarray(CROSS_ENTROPY(net.apply(*state, X)[0], RARE))
    by_class = [values[label == RARE].mean() for label in range(3)]
    assert found["loss"] == pytest.approx(np.mean(by_class), rel=1e-5)
    plain = nn.evaluate(net, state, (X, RARE), metrics=metrics)
    assert found["accuracy"] == plain["accuracy"]
    with pytest.raises(ValueError, match="class_weight need arrays"):
        nn.evaluate(net, state, [(X, Y)], loss=CROSS_ENTROPY, class_weight="balanced")


@pytest.mark.parametrize(
    ("targets", "absent"),
    [
        ([0, 0, 2, 2, 3], "no example is of class 1; 'balanced' weighs the 3 classes"),
        ([20, 20], "of class 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 10 more; "),
    ],
)
def test_absent_classes_are_said(targets, absent):
    with pytest.warns(UserWarning, match=absent):
        found = weights(targets)
    np.testing.assert_allclose(found.mean(), 1, rtol=1e-6)
