"""Epochs of a chosen number of steps."""

import itertools

import chex
import jax
import numpy as np
import pytest
from common import CROSS_ENTROPY, KEY, NET, SGD, X, Y, fit

import jaxnn as nn

same = chex.assert_trees_all_equal
BATCHES = [(X[i : i + 10], Y[i : i + 10]) for i in range(0, 70, 10)]


def endless():
    return itertools.cycle(BATCHES)


@pytest.mark.parametrize(
    "source",
    [endless, BATCHES, lambda: iter(BATCHES)],
    ids=["endless", "list", "function"],
)
def test_no_batch_is_lost_between_epochs(source):
    want, history = fit(BATCHES * 3, epochs=1)
    found, logs = fit(source, epochs=7, steps_per_epoch=3)
    same(found.params, want.params)
    assert logs.step_losses == history.step_losses
    assert len(logs["loss"]) == 7


def test_an_iterator_that_never_ends():
    want, _ = fit(endless, epochs=2, steps_per_epoch=5)
    found, _ = fit(endless(), epochs=2, steps_per_epoch=5)
    same(found, want)


def test_a_run_resumes_where_it_stopped():
    full, history = fit(endless, epochs=4, steps_per_epoch=3)
    half, _ = fit(endless, epochs=2, steps_per_epoch=3)
    rest, logs = fit(endless, epochs=4, steps_per_epoch=3, state=half)
    same(rest, full)
    assert logs["loss"] == history["loss"][2:]


def count(state, batch):
    assert batch is None
    noise = jax.random.uniform(jax.random.fold_in(state.key, state.step))
    return state._replace(step=state.step + 1), {"noise": noise}


def test_a_step_without_data():
    state = nn.train_state(NET, SGD, X, key=KEY)
    full, history = nn.fit(count, None, state=state, steps_per_epoch=5, epochs=4)
    assert int(full.step) == 20
    half, _ = nn.fit(count, None, state=state, steps_per_epoch=5, epochs=1)
    rest, logs = nn.fit(count, None, state=half, steps_per_epoch=5, epochs=4)
    same(rest, full)
    assert logs["noise"] == history["noise"][1:]
    one = [float(jax.random.uniform(jax.random.fold_in(KEY, i))) for i in range(5)]
    assert history["noise"][0] == pytest.approx(np.mean(one))


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        ((X, Y), {"steps_per_epoch": 3}, "an epoch of arrays is all their examples"),
        (BATCHES, {"steps_per_epoch": 0}, "steps_per_epoch must be a positive int"),
        (None, {}, "a step that needs no data takes steps_per_epoch="),
        (None, {"steps_per_epoch": 3}, "data must be given to train a network"),
        (iter(BATCHES), {"steps_per_epoch": 5}, "that has ended"),
        ([], {"steps_per_epoch": 5}, "must hold batches, got an empty list"),
    ],
)
def test_arguments_that_do_not_work(data, options, message):
    usual = {"loss": CROSS_ENTROPY, "optimizer": SGD, "epochs": 3, "key": KEY}
    with pytest.raises((TypeError, ValueError), match=message):
        nn.fit(NET, data, **usual, **options)
