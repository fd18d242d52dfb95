# SPDX-License-Identifier: Apache-2.0
"""Splitting, one-hot labels and standardizing."""

import pickle
from collections import namedtuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxnn.data import (
    Standardizer,
    from_one_hot,
    one_hot,
    split,
    standardize,
    standardizer,
)

# --- split ---


@settings(deadline=None)
@given(
    length=st.integers(2, 300),
    fraction=st.floats(0.01, 0.99),
    seed=st.integers(0, 2**70),
)
def test_every_example_is_on_exactly_one_side_and_in_order(length, fraction, seed):
    expected = round(fraction * length)
    if not 0 < expected < length:
        with pytest.raises(ValueError, match="neither may be empty"):
            split(np.arange(length), fraction, seed=seed)
        return
    train, validation = split(np.arange(length), fraction, seed=seed)
    assert len(validation) == expected
    assert (np.diff(train) > 0).all() and (np.diff(validation) > 0).all()
    assert sorted([*train, *validation]) == list(range(length))


def test_the_seed_decides():
    first, again, other = (split(np.arange(100), seed=s)[1] for s in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert first.tolist() != other.tolist()


def test_the_split_of_a_seed_never_changes():
    """Golden: from the raw PCG64 numbers, which NumPy promises to keep."""
    assert split(np.arange(20), 0.25, seed=7)[1].tolist() == GOLDEN
    noise = np.random.PCG64(7).random_raw(20)
    assert sorted(np.argsort(noise)[:5].tolist()) == GOLDEN


GOLDEN = [3, 4, 6, 11, 12]


def test_every_example_is_chosen_equally_often():
    counts = sum(
        np.isin(np.arange(8), split(np.arange(8), 0.25, seed=s)[1]) for s in range(2000)
    )
    assert np.abs(counts - 500).max() < 5 * np.sqrt(2000 * 0.25 * 0.75)


def test_any_tree_keeps_its_form_and_its_rows_together():
    Point = namedtuple("Point", "x y")
    rows = np.arange(10)
    data = {"a": [rows, (rows[:, None] * 2,)], "b": Point(rows * 3, None), "c": ()}
    train, validation = split(data, 0.3, seed=0)
    assert jax.tree.structure(train) == jax.tree.structure(data)
    assert isinstance(validation["b"], Point)
    kept = validation["a"][0]
    np.testing.assert_array_equal(validation["a"][1][0], kept[:, None] * 2)
    np.testing.assert_array_equal(validation["b"].x, kept * 3)


def test_a_file_of_arrays_and_arrays_of_jax_can_be_split(tmp_path):
    np.savez(tmp_path / "data.npz", x=np.arange(10), y=np.ones((10, 2)))
    with np.load(tmp_path / "data.npz") as file:
        train, _ = split(file, 0.2, seed=0)
    assert {k: v.shape for k, v in train.items()} == {"x": (8,), "y": (8, 2)}
    device = split(jnp.arange(10), 0.2, seed=0)
    assert all(type(side) is np.ndarray for side in device)
    np.testing.assert_array_equal(device[0], train["x"])


def test_the_parts_are_copies():
    data = np.arange(10)
    train, validation = split(data, 0.2, seed=0)
    train[:], validation[:] = -1, -1
    np.testing.assert_array_equal(data, np.arange(10))


@settings(deadline=None)
@given(
    labels=st.lists(st.integers(-3, 5), min_size=4, max_size=100),
    fraction=st.floats(0.2, 0.8),
)
def test_stratified_sides_have_each_class_in_proportion(labels, fraction):
    labels = np.array(labels)
    _, (rows, validation) = split(
        (np.arange(len(labels)), labels), fraction, seed=0, stratify=True
    )
    total = round(fraction * len(labels))
    assert len(validation) == total
    np.testing.assert_array_equal(labels[rows], validation)
    for label in np.unique(labels):
        share = (labels == label).sum() * total / len(labels)
        assert abs((validation == label).sum() - share) < 1


def test_classes_to_stratify_by_may_be_given():
    names = np.array(["cat", "dog"] * 10)
    data = {"image": np.arange(20), "label": names}
    _, validation = split(data, 0.2, seed=1, stratify=data["label"])
    assert sorted(validation["label"]) == ["cat", "cat", "dog", "dog"]


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.5, float("nan"), True])
def test_a_fraction_out_of_range_is_refused(fraction):
    with pytest.raises(ValueError, match="split: fraction must be between 0 and 1"):
        split(np.arange(10), fraction, seed=0)


@pytest.mark.parametrize("fraction", ["0.1", None, np.array([0.1, 0.2])])
def test_a_fraction_that_is_no_number_is_refused(fraction):
    with pytest.raises(TypeError, match="split: fraction must be a number, got"):
        split(np.arange(10), fraction, seed=0)


@pytest.mark.parametrize(
    ("length", "fraction", "counts"),
    [
        (10, 0.01, "leaves 0 for validation and 10 for"),
        (10, 0.99, "leaves 10 for validation and 0 for"),
        (1, 0.5, "leaves 0 for validation and 1 for"),
        (0, 0.5, "leaves 0 for validation and 0 for"),
    ],
)
def test_an_empty_side_is_refused(length, fraction, counts):
    with pytest.raises(ValueError, match=counts):
        split(np.arange(length), fraction, seed=0)


@pytest.mark.parametrize("seed", [None, 0.5, True, "0", np.array([1, 2])])
def test_a_seed_must_be_an_int(seed):
    with pytest.raises(TypeError, match="split: seed must be an int"):
        split(np.arange(10), 0.5, seed=seed)


def test_a_key_is_no_seed_and_a_seed_has_no_default(key):
    with pytest.raises(TypeError, match="takes no JAX key"):
        split(np.arange(10), 0.5, seed=key)
    with pytest.raises(TypeError, match="seed"):
        split(np.arange(10), 0.5)
    with pytest.raises(ValueError, match="seed must not be negative, got -1"):
        split(np.arange(10), 0.5, seed=-1)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ((np.ones(10), {"y": np.ones(9)}), r"data\[0\] has 10, data\[1\]\['y'\] has 9"),
        ((), "at least one array"),
        ({"a": 3.0}, r"data\['a'\] is a single value"),
        ([1, 2, 3], r"data\[0\] is a single value; turn a list"),
    ],
)
def test_data_that_cannot_be_split_are_named(data, message):
    with pytest.raises(ValueError, match=message):
        split(data, 0.5, seed=0)


@pytest.mark.parametrize(
    ("data", "stratify", "message"),
    [
        ({"x": np.arange(9)}, True, "needs data as a pair .* got dict"),
        ((np.arange(9), np.arange(9), np.arange(9)), True, "needs data as a pair"),
        (np.arange(9), np.arange(8), r"shape \(9,\), got shape \(8,\)"),
        ((np.arange(9), np.ones((9, 2))), True, r"got shape \(9, 2\)"),
    ],
)
def test_classes_that_cannot_stratify_are_refused(data, stratify, message):
    with pytest.raises(ValueError, match=message):
        split(data, 0.5, seed=0, stratify=stratify)


# --- one_hot ---


@settings(deadline=None)
@given(
    shape=st.lists(st.integers(0, 4), max_size=3),
    classes=st.integers(1, 7),
    dtype=st.sampled_from(["float32", "int8", "bool", "float16"]),
    labels_dtype=st.sampled_from(["int8", "uint8", "int64", "uint64"]),
)
def test_one_hot_equals_rows_of_the_identity(shape, classes, dtype, labels_dtype):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, classes, shape).astype(labels_dtype)
    vectors = one_hot(labels, classes, dtype)
    expected = np.eye(classes, dtype=dtype)[labels]
    np.testing.assert_array_equal(vectors, expected, strict=True)
    back = from_one_hot(vectors)
    np.testing.assert_array_equal(back, labels.astype(np.int32), strict=True)


def test_one_hot_equals_that_of_jax_and_takes_its_types():
    labels = jnp.array([[0, 2], [1, 1]])
    vectors = one_hot(labels, 3, jnp.bfloat16)
    assert type(vectors) is np.ndarray and vectors.dtype == jnp.bfloat16
    expected = jax.nn.one_hot(labels, 3, dtype=jnp.bfloat16)
    np.testing.assert_array_equal(vectors, np.asarray(expected))


def test_one_hot_of_a_single_label_and_of_none():
    np.testing.assert_array_equal(one_hot(1, 2), [0, 1])
    assert one_hot([], 3).shape == (0, 3)
    assert from_one_hot([0, 1]).shape == ()


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        ([0, 3, 4], ValueError, r"in 0 to 2 for 3 classes, got labels\[1\] = 3"),
        ([[0, 1], [-1, 9]], ValueError, r"got labels\[1, 0\] = -1"),
        (7, ValueError, "got labels = 7"),
        ([1.0, 2.5], TypeError, r"got float64: labels\[1\] = 2.5"),
        (np.float32([1, 2]), TypeError, r"got float32: labels\[0\] = 1.0"),
        ([0.0, float("nan")], TypeError, r"labels\[1\] = nan"),
        ([True, False], TypeError, r"got bool: labels\[0\] = True"),
        (["a"], TypeError, r"labels\[0\] = 'a'"),
    ],
)
def test_one_hot_names_the_first_bad_label(labels, error, message):
    with pytest.raises(error, match=message):
        one_hot(labels, 3)


@pytest.mark.parametrize(
    ("classes", "error"),
    [(0, ValueError), (-2, ValueError), (2.0, TypeError), (True, TypeError)],
)
def test_one_hot_needs_a_number_of_classes(classes, error):
    with pytest.raises(error, match="classes must be a positive int, got"):
        one_hot([0], classes)


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        ([[0, 1], [1, 1]], r"vectors\[1\] = \[1, 1\]"),
        ([[0, 0]], r"vectors\[0\] = \[0, 0\]"),
        ([[[1.0, 0.0], [0.6, 0.4]]], r"vectors\[0, 1\] = \[0.6, 0.4\]"),
        ([1, -1, 0], r"vectors = \[1, -1, 0\]"),
        (1, r"must be \[..., classes\]"),
    ],
)
def test_from_one_hot_refuses_what_is_not_one_hot(vectors, message):
    with pytest.raises(ValueError, match=message):
        from_one_hot(vectors)


# --- standardize ---


def _data(shape, dtype=np.float32):
    rng = np.random.default_rng(0)
    return (rng.normal(size=shape) * 3 + rng.normal(size=shape[1:]) * 50).astype(dtype)


@pytest.mark.parametrize(("shape", "axis"), [((50, 4), 0), ((20, 5, 5, 3), (0, 1, 2))])
def test_training_data_get_mean_zero_and_variance_one(shape, axis):
    (z,) = standardize(_data(shape), axis=axis)
    assert z.dtype == np.float32 and z.shape == shape
    np.testing.assert_allclose(z.mean(axis, np.float64), 0, atol=1e-6)
    np.testing.assert_allclose(z.var(axis, np.float64), 1, atol=1e-6)


def test_others_get_the_statistics_of_the_training_data_in_order():
    train, test, more = _data((50, 4)), _data((9, 4)) + 100, _data((4,)) - 7
    z = standardize(train, test, more)
    mean, deviation = train.mean(0, np.float64), train.std(0, np.float64)
    for found, x in zip(z, (train, test, more), strict=True):
        np.testing.assert_allclose(found, (x - mean) / deviation, rtol=1e-5, atol=1e-5)


def test_targets_have_one_statistic():
    y = np.array([1.0, 2.0, 6.0])
    scaled = standardizer(y)
    assert scaled.mean == 3 and scaled.mean.shape == ()
    np.testing.assert_allclose(scaled(y), (y - 3) / np.sqrt(14 / 3))


@settings(deadline=None)
@given(st.sampled_from([0.1, 1 / 3, 1e-320, 1e30, -7.0]), st.integers(1, 1000))
def test_a_constant_feature_becomes_zero_exactly(value, length):
    train = np.full((length, 2), value)
    train[:, 1] = np.arange(length)
    scaled = standardizer(train)
    assert (scaled(train)[:, 0] == 0).all()
    assert np.isfinite(scaled(train)).all()
    np.testing.assert_array_equal(scaled.inverse(scaled(train))[:, 0], train[:, 0])


def test_a_spread_too_small_to_square_counts_as_constant():
    scaled = standardizer(np.array([[0.0], [1e-300]]))
    assert scaled.scale == 1


def test_many_examples_far_from_zero_keep_their_digits():
    """Summed in float32, the mean of these would be off in the sixth digit."""
    x = np.random.default_rng(0).normal(1000, 1, (100_000, 2)).astype(np.float32)
    scaled = standardizer(x)
    exact = x.astype(np.float64)
    np.testing.assert_allclose(scaled.mean, exact.mean(0), rtol=1e-12)
    np.testing.assert_allclose(scaled.scale, exact.std(0), rtol=1e-12)
    np.testing.assert_allclose(scaled(x), (exact - exact.mean(0)) / exact.std(0), 1e-6)


@settings(deadline=None)
@given(st.integers(1, 20), st.integers(1, 5))
def test_the_inverse_gives_the_data_back(length, features):
    x = _data((length, features), np.float64)
    scaled = standardizer(x)
    np.testing.assert_allclose(scaled.inverse(scaled(x)), x, rtol=1e-12)


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        (np.uint8, np.float32),
        (np.int64, np.float32),
        (bool, np.float32),
        (np.float16, np.float16),
        (np.float32, np.float32),
        (np.float64, np.float64),
    ],
)
def test_floats_keep_their_type_and_integers_become_float32(given_, expected):
    x = np.array([[0], [1]]).astype(given_)
    scaled = standardizer(x)
    assert scaled(x).dtype == expected and scaled.inverse(scaled(x)).dtype == expected
    assert scaled.mean.dtype == scaled.scale.dtype == np.float64


def test_the_input_is_left_alone():
    x = _data((5, 2))
    before = x.copy()
    standardize(x, x)
    np.testing.assert_array_equal(x, before)


def test_a_standardizer_is_a_plain_tree():
    scaled = standardizer(_data((5, 2)))
    assert len(jax.tree.leaves(scaled)) == 2
    again = pickle.loads(pickle.dumps(scaled))
    assert isinstance(again, Standardizer)
    np.testing.assert_array_equal(again.scale, scaled.scale)


@pytest.mark.parametrize(
    ("train", "axis", "error", "message"),
    [
        ([[1.0], [np.nan]], 0, ValueError, r"finite, got train\[1, 0\] = nan"),
        ([[np.inf], [1.0]], 0, ValueError, r"train\[0, 0\] = inf"),
        (np.ones((0, 3)), 0, ValueError, r"train is empty, shape \(0, 3\)"),
        (np.ones((3, 3)), 1, ValueError, r"axis must include 0 .* got 1"),
        ([["a"]], 0, TypeError, "must be numbers, got <U1"),
        ([[1j]], 0, TypeError, "must be numbers, got complex128"),
    ],
)
def test_data_without_statistics_are_refused(train, axis, error, message):
    with pytest.raises(error, match=f"standardizer: .*{message}"):
        standardizer(train, axis)


@pytest.mark.parametrize("shape", [(5, 3), (5, 1), (), (4, 5)])
def test_other_features_are_refused(shape):
    scaled = standardizer(_data((5, 4)))
    for method in (scaled, scaled.inverse):
        with pytest.raises(
            ValueError, match=r"must be \[\.\.\., 4\] like the training"
        ):
            method(np.ones(shape))
