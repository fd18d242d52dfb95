# SPDX-License-Identifier: Apache-2.0
"""Padding, buckets and long texts: nothing is lost, and little is compiled."""

import functools

import chex
import jax
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jaxnn as nn
from jaxnn.data import length_buckets, next_tokens, pad, token_streams

few = settings(max_examples=40, deadline=None)
lists = st.lists(st.integers(0, 9), max_size=7)


@few
@given(st.lists(lists, min_size=1, max_size=5), st.integers(0, 2))
def test_padding_keeps_every_sequence(sequences, more):
    longest = max(map(len, sequences)) + more
    values, lengths = pad(sequences, longest or None, value=-1)
    assert values.shape == (len(sequences), longest) and lengths.dtype == np.int32
    for row, length, sequence in zip(values, lengths, sequences, strict=True):
        assert row[:length].tolist() == sequence and (row[length:] == -1).all()


@pytest.mark.parametrize("value", [0.5, np.nan, -1])
def test_padding_is_of_the_sequences_kind(value):
    sequences = [np.array([1, 2], np.uint8), np.array([3], np.uint8)]
    with pytest.raises(ValueError, match="pad: value must be one of uint8"):
        pad(sequences, value=value)


def test_padding_of_features():
    a, b = np.ones((2, 3), np.float32), np.full((1, 3), 2, np.float32)
    values, lengths = pad([a, b])
    assert values.dtype == np.float32 and lengths.tolist() == [2, 1]
    np.testing.assert_array_equal(values, [[[1] * 3, [1] * 3], [[2] * 3, [0] * 3]])


@pytest.mark.parametrize(
    ("sequences", "length", "message"),
    [
        ([], None, "sequences must hold at least one, got none"),
        ([[1], [1, 2, 3]], 2, "sequence 1 has 3 steps, more than length=2"),
        ([[1], 2], None, "sequence 1 must be numbers"),
        (["abc"], None, "sequence 0 must be numbers .* encode a text first"),
        ([np.ones((2, 3)), np.ones((2, 4))], None, "sequence 1 is"),
        ([[1]], 0, "length must be a positive int, got 0"),
    ],
)
def test_padding_refuses(sequences, length, message):
    with pytest.raises(ValueError, match=f"pad: .*{message}"):
        pad(sequences, length)


def examples(count, longest=40, seed=0):
    """Sequences whose ids say which example they are of."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, longest + 1, count)
    return [np.full(n, i + 1) for i, n in enumerate(lengths)], np.arange(count) + 1


def seen(batches):
    """The examples in an epoch, in order, from batches that hold together."""
    order = []
    for (ids, lengths), labels, weights in batches:
        for row, length, label, weight in zip(
            ids, lengths, labels, weights, strict=True
        ):
            assert (row[:length] == label).all() and not row[length:].any()
            if weight:
                order.append(int(label))
    return order


@few
@given(st.integers(1, 60), st.integers(1, 9), st.integers(1, 5), st.integers(0, 9))
def test_every_example_counts_once(count, batch_size, buckets, seed):
    data = examples(count)
    batches = length_buckets(data, batch_size, seed=seed, buckets=buckets)
    epoch = list(batches)
    assert len(epoch) == len(batches)
    assert sorted(seen(epoch)) == list(range(1, count + 1))
    shapes = {ids.shape for (ids, _), _, _ in epoch}
    assert shapes <= {(batch_size, steps) for (steps,) in batches.lengths}
    assert len(batches.lengths) <= buckets


def test_epochs_differ_and_repeat():
    batches = length_buckets(examples(200), 8, seed=3)
    first, again, other = (seen(batches.epoch(n)) for n in (0, 0, 1))
    assert first == again == seen(batches) != other
    assert first != seen(length_buckets(examples(200), 8, seed=4))


def test_the_order_is_the_same_everywhere():
    sequences = [[i] * (i % 3 + 1) for i in range(1, 9)]
    batches = length_buckets((sequences, range(1, 9)), 2, seed=3, buckets=2)
    assert seen(batches.epoch(5)) == [5, 2, 8, 6, 1, 7, 4, 3]


def test_without_a_seed_the_order_is_kept():
    batches = length_buckets(examples(50), 7, seed=None, buckets=3)
    orders = [seen(batches.epoch(n)) for n in (0, 1)]
    assert orders[0] == orders[1]
    steps = [ids.shape[1] for (ids, _), _, _ in batches]
    assert steps == sorted(steps)


def test_little_is_padding():
    sequences, labels = examples(2000)
    batches = length_buckets((sequences, labels), 16, seed=0, buckets=8)
    cells = sum(ids.size for (ids, _), _, _ in batches)
    real = sum(map(len, sequences))
    assert real / cells > 0.85  # all padded to the longest: a half
    assert len({ids.shape for (ids, _), _, _ in batches}) == 8


def test_equal_batches_come_together():
    batches = length_buckets(examples(3000), 4, seed=0)
    steps = np.array([ids.shape[1] for (ids, _), _, _ in batches])
    assert 1 + np.count_nonzero(np.diff(steps)) < len(steps) / 6


def test_given_lengths_and_two_sequences():
    source, labels = examples(30, longest=12)
    target = [[*s[:-1].tolist(), 7, 7] for s in source]

    def make(source, target, labels):
        np.testing.assert_array_equal(source.values[:, 0], labels)
        np.testing.assert_array_equal(target.lengths, source.lengths + 1)
        return (source.values, target.values[:, :-1]), target.values[:, 1:]

    batches = length_buckets(
        (source, target, labels), 4, seed=1, buckets=[(4, 5), (12, 13)], make=make
    )
    assert batches.lengths == [(4, 5), (12, 13)]
    for (x, y), targets, weights in batches:
        assert (x.shape[1], y.shape[1] + 1) in batches.lengths
        np.testing.assert_array_equal(y[:, 1:], targets[:, :-1])
        assert weights.shape == (4,)
    both = length_buckets((source, target), 4, seed=1)
    (ids, lengths), targets, _ = next(iter(both))
    assert len(ids) == len(lengths) == len(targets) == 4  # targets: values alone


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"fields": (np.ones(3), np.ones(3))}, TypeError, "a list of sequences in it"),
        (
            {"fields": ([[1], [2]], np.ones(3))},
            ValueError,
            "the same number of examples, got 2, 3",
        ),
        ({"fields": ([[1]],)}, ValueError, "make is needed for 1 fields"),
        ({"fields": (["a"], [1])}, ValueError, "encode a text first"),
        ({"batch_size": 0}, ValueError, "batch_size must be a positive int, got 0"),
        ({"seed": -1}, ValueError, "seed must not be negative"),
        ({"seed": jax.random.key(0)}, TypeError, "takes no JAX key"),
        (
            {"fields": ([[1], [], [2]], np.ones(3))},
            ValueError,
            "sequence 1 is empty; leave it out",
        ),
        ({"buckets": 0}, ValueError, "buckets must be a positive int"),
        ({"buckets": [1, 2]}, ValueError, "sequence 0 has 3 steps, more than the last"),
        ({"buckets": [3, 2]}, ValueError, "ascending lengths"),
        ({"buckets": [(2, 3)]}, ValueError, "ascending lengths"),
        ({"buckets": []}, ValueError, "ascending lengths"),
    ],
)
def test_buckets_refuse(change, error, message):
    options = {
        "fields": ([[1, 2, 3], [4]], np.array([0, 1])),
        "batch_size": 2,
        "seed": 0,
    } | change
    with pytest.raises(error, match=f"length_buckets: .*{message}"):
        length_buckets(**options)


# --- in training ---


class Mean(nn.Composite):
    """Mean of the real steps, and a layer on it."""

    layer: nn.Layer

    def forward(self, run, x):
        ids, lengths = x
        steps = jax.numpy.arange(ids.shape[1])[None] < lengths[:, None]
        values = jax.numpy.where(steps, ids, 0).sum(1) / lengths
        return run("layer", values[:, None].astype("float32") / 50)


def fit(data, epochs=2, **options):
    return nn.fit(
        Mean(nn.Dense(2)),
        data,
        loss=nn.losses.softmax_cross_entropy,
        optimizer=optax.sgd(0.5),
        epochs=epochs,
        key=jax.random.key(0),
        progress=False,
        **options,
    )


def test_buckets_train_and_resume_exactly():
    sequences, ids = examples(50, longest=12)
    data = length_buckets((sequences, ids % 2), 8, seed=0, buckets=2)
    whole, _ = fit(data)
    half, _ = fit(data, epochs=1)
    rest, _ = fit(data, state=half)
    chex.assert_trees_all_equal(whole, rest)
    assert int(whole.step) == 2 * len(data)
    # the second epoch has an order of its own
    twice, _ = fit(lambda: data.epoch(0))
    assert not np.array_equal(twice.params["layer"]["w"], whole.params["layer"]["w"])


def test_an_evaluation_in_buckets_is_exact():
    sequences, ids = examples(30, longest=12)
    labels = ids % 2
    params, state = Mean(nn.Dense(2)).init(jax.random.key(1), tuple(pad(sequences)))
    measures = {
        "loss": nn.losses.softmax_cross_entropy,
        "metrics": {"accuracy": nn.metrics.accuracy},
    }
    net = Mean(nn.Dense(2))
    got, want = (
        nn.evaluate(net, (params, state), data, **measures)
        for data in (
            length_buckets((sequences, labels), 8, seed=None, buckets=2),
            (tuple(pad(sequences)), labels),
        )
    )
    assert got == pytest.approx(want, rel=1e-6)


# --- long texts ---


@few
@given(st.integers(2, 40), st.integers(1, 6), st.integers(1, 8))
def test_windows_of_a_text(size, length, stride):
    ids = np.arange(size) * 3
    if size < length + 1:
        with pytest.raises(ValueError, match=rf"at least \d+ ids, got {size}"):
            next_tokens(ids, length, stride=stride)
        return
    inputs, targets = next_tokens(ids, length, stride=stride)
    starts = range(0, size - length, stride)
    assert inputs.tolist() == [ids[s : s + length].tolist() for s in starts]
    np.testing.assert_array_equal(targets, inputs + 3)
    assert inputs.flags.writeable


@few
@given(st.integers(1, 60), st.integers(1, 4), st.integers(1, 5))
def test_streams_of_a_text(size, rows, length):
    ids = np.arange(size)
    if size < rows * length + 1:
        with pytest.raises(ValueError, match=rf"at least \d+ ids, got {size}"):
            token_streams(ids, rows, length)
        return
    inputs, targets = token_streams(ids, rows, length)
    np.testing.assert_array_equal(targets, inputs + 1)
    streams = inputs.reshape(-1, rows, length).swapaxes(0, 1).reshape(rows, -1)
    assert (np.diff(streams, axis=1) == 1).all()  # each goes on from batch to batch
    assert np.unique(inputs).size == inputs.size > size - 1 - rows * length


@pytest.mark.parametrize(
    "cut", [next_tokens, functools.partial(token_streams, length=2)]
)
def test_long_texts_are_integers(cut):
    with pytest.raises(ValueError, match=r"ids must be integers .* encode the text"):
        cut(np.ones(30), 2)
    with pytest.raises(ValueError, match="must be a positive int, got 0"):
        cut(np.arange(30), 0)
