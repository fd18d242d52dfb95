# SPDX-License-Identifier: Apache-2.0
"""A batch size beyond the data takes them all, and says so once."""

import chex
import jax
import numpy as np
import optax
import pytest
from common import CROSS_ENTROPY, KEY, NET, SGD, X, Y, fit

import jaxnn as nn

same = chex.assert_trees_all_equal
STEP = nn.train_step(NET, CROSS_ENTROPY, SGD)


def said(owner):
    """Expect the one warning."""
    text = f"{owner}: batch_size 1000 is more than the 70 examples: each step takes"
    return pytest.warns(UserWarning, match=text)


@pytest.mark.quick
@pytest.mark.parametrize("on_device", [True, False])
def test_fit_takes_all_examples_and_says_so_in_the_users_line(on_device):
    with said("fit") as caught:
        state, history = fit(batch_size=1000, on_device=on_device)
    assert len(caught) == 1 and caught[0].filename.endswith("common.py")
    whole, expected = fit(batch_size=70, on_device=on_device)
    same(state.params, whole.params)
    assert history["loss"] == expected["loss"] and int(state.step) == 3
    assert history.settings["batch_size"] == 70


def test_a_run_goes_on_with_such_a_batch_size():
    whole, expected = fit(batch_size=70, epochs=4)
    with said("fit"):
        part, history = fit(batch_size=1000, epochs=2)
    with said("fit"):
        state, history = fit(batch_size=1000, epochs=4, state=part, history=history)
    same(state.params, whole.params)
    assert history["loss"] == expected["loss"] and int(state.step) == 4


def test_pure_epochs_and_runs_do_as_fit_does():
    state = nn.train_state(NET, SGD, X[:1], key=KEY)
    with said("train_epoch") as caught:
        after, logs = nn.train_epoch(STEP, state, (X, Y), batch_size=1000)
    assert caught[0].filename == __file__
    whole, expected = fit(epochs=1, batch_size=70)
    chex.assert_trees_all_close(after.params, whole.params, rtol=1e-5, atol=1e-6)
    with said("run") as caught:
        _, logs = nn.train.run(STEP, state, (X, Y), epochs=1, batch_size=1000)
    assert len(caught) == 1 and caught[0].filename == __file__
    np.testing.assert_allclose(logs["loss"], expected["loss"], rtol=1e-5)


def test_range_tests_and_statistics_do_so_too():
    usual = {"loss": CROSS_ENTROPY, "key": KEY, "steps": 20}
    with said("find_learning_rate") as caught:
        test = nn.find_learning_rate(NET, (X, Y), batch_size=1000, **usual)
    assert len(caught) == 1 and caught[0].filename == __file__
    whole = nn.find_learning_rate(NET, (X, Y), batch_size=70, **usual)
    np.testing.assert_array_equal(test.losses, whole.losses)
    net = nn.Sequential(nn.Dense(4), nn.BatchNorm(), nn.Dense(3))
    state = nn.train_state(net, optax.sgd(0.1), X, key=jax.random.key(0))
    with said("refresh_statistics"):
        fresh = nn.optimizers.refresh_statistics(net, state, X, batch_size=1000)
    same(
        fresh.state,
        nn.optimizers.refresh_statistics(net, state, X, batch_size=70).state,
    )


def test_evaluation_in_larger_batches_says_nothing():
    """Its batch size is about memory alone."""
    state = nn.train_state(NET, SGD, X[:1], key=KEY)
    one, two = (
        nn.evaluate(NET, state, (X, Y), loss=CROSS_ENTROPY, batch_size=size)["loss"]
        for size in (1000, 70)
    )
    assert one == pytest.approx(two)
