# SPDX-License-Identifier: Apache-2.0
"""Losses as `fit` uses them: weighted classes, unknown labels, no targets at all."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxnn as nn

rng = np.random.default_rng(0)
X = rng.standard_normal((12, 3)).astype(np.float32)
Y = rng.integers(3, size=12)
WEIGHTS = (0.5, 3.0, 1.0)


def fit(net, data, loss, **options):
    usual = dict(optimizer=optax.sgd(0.1), epochs=2, batch_size=5, validation=data)
    return nn.fit(net, data, loss=loss, key=jax.random.key(0), **usual, **options)


def test_class_weights_of_a_loss_train_as_those_of_fit():
    loss, metrics = nn.losses.softmax_cross_entropy, {"accuracy": nn.metrics.accuracy}
    bound = functools.partial(loss, class_weight=WEIGHTS)
    own, ours = fit(nn.Dense(3), (X, Y), bound, metrics=metrics)
    other, theirs = fit(nn.Dense(3), (X, Y), loss, class_weight=WEIGHTS)
    chex.assert_trees_all_close(own.params, other.params, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(ours["loss"], theirs["loss"], rtol=1e-5)
    plain = nn.evaluate(nn.Dense(3), own, (X, Y), metrics=metrics)
    np.testing.assert_allclose(ours["val_accuracy"][-1], plain["accuracy"], rtol=1e-6)


def test_unknown_binary_labels_count_neither_in_the_loss_nor_in_a_metric():
    targets = np.where(rng.random((12, 2)) < 0.3, -1, rng.integers(2, size=(12, 2)))
    loss = functools.partial(nn.losses.sigmoid_cross_entropy, ignore_label=-1)
    metrics = {"accuracy": nn.metrics.binary_accuracy}
    state, history = fit(nn.Dense(2), (X, targets), loss, metrics=metrics)
    y = nn.predict(nn.Dense(2), state, X)
    known = targets >= 0
    value = optax.losses.sigmoid_binary_cross_entropy(y, jnp.float32(targets))[known]
    np.testing.assert_allclose(history["val_loss"][-1], value.mean(), rtol=1e-5)
    right = ((y > 0) == (targets == 1))[known].mean()
    np.testing.assert_allclose(history["val_accuracy"][-1], right, rtol=1e-6)


class Triplets(nn.Composite):
    encoder: nn.Layer

    def forward(self, run, x):
        return tuple(run("encoder", each) for each in x)


def test_triplets_train_without_targets():
    data = (X, X + 0.1, X[::-1].copy()), None
    _, history = fit(Triplets(nn.Dense(2)), data, nn.losses.triplet_margin)
    assert history["val_loss"][-1] < history["val_loss"][0]
