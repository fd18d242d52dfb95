"""Batches from Grain: trained on like arrays, and resumed without reading again."""

import chex
import numpy as np
import pytest
from common import X, Y, fit

import jaxnn as nn

grain = pytest.importorskip("grain")


class Rows:
    """A source of examples that counts what is read."""

    def __init__(self):
        self.read = []

    def __len__(self):
        return 64

    def __getitem__(self, i):
        self.read.append(i)
        return X[i], Y[i]


def batches(rows, threads=1):
    source = grain.MapDataset.source(rows)
    return nn.data.from_grain(
        lambda epoch: source.shuffle(seed=epoch).batch(16), threads=threads
    )


def test_epochs_are_those_of_the_data_set_and_have_orders_of_their_own():
    loader = batches(Rows())
    assert len(loader) == 4
    first, second = ([x for x, _ in loader.epoch(i)] for i in (0, 1))
    assert sorted(np.concatenate(first).ravel()) == sorted(X[:64].ravel())
    assert not np.array_equal(np.concatenate(first), np.concatenate(second))
    chex.assert_trees_all_equal([x for x, _ in loader.epoch(0, 2)], first[2:])


@pytest.mark.parametrize("threads", [1, 4])
def test_a_run_resumes_without_reading_again(threads):
    whole, history = fit(batches(Rows(), threads), epochs=3)
    half, _ = fit(batches(Rows(), threads), epochs=1)
    rows = Rows()
    loader = batches(rows, threads)
    rest, _ = fit(loader, epochs=3, state=half)
    chex.assert_trees_all_equal(rest, whole)
    # (The length and the first example are looked at; the first epoch is not read.)
    assert len(rows.read) <= 2 * 64 + 2 * 16
    assert len(history.step_losses) == 12


def test_what_is_no_data_set_is_answered():
    with pytest.raises(TypeError, match="make must be a function from the number"):
        nn.data.from_grain([1, 2])
    with pytest.raises(TypeError, match=r"must give a grain.MapDataset.*got list"):
        nn.data.from_grain(lambda epoch: [1, 2])
    with pytest.raises(ValueError, match="threads must be"):
        nn.data.from_grain(lambda epoch: None, threads=0)
