# SPDX-License-Identifier: Apache-2.0
"""Paths, patterns, labels and descriptions of trees."""

import dataclasses
from collections import OrderedDict
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxnn import trees

pytestmark = pytest.mark.quick


class Pair(NamedTuple):
    first: Any
    second: Any


@dataclasses.dataclass
class Moments:
    mean: Any
    var: Any


jax.tree_util.register_dataclass(Moments, ["mean", "var"], [])

PARAMS = {
    "conv_1": {"w": np.zeros((3, 3, 1, 8)), "b": np.zeros(8)},
    "dense_1": {"w": np.zeros((8, 10)), "b": np.zeros(10)},
    "dense_10": {"w": np.zeros((10, 2))},
}

NESTED = st.recursive(
    st.integers(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text("abc_", min_size=1, max_size=3), inner, max_size=3)
        | st.builds(Pair, inner, inner)
    ),
    max_leaves=10,
)


def test_paths_name_every_kind_of_container():
    tree = {
        "net": Pair([1, 2], (3, {"w": 4})),
        "moments": Moments(5, 6),
        "none": None,
        7: 8,
    }
    tree = {str(name): value for name, value in tree.items()}
    assert trees.paths(tree) == {
        "7": 8,
        "moments/mean": 5,
        "moments/var": 6,
        "net/first/0": 1,
        "net/first/1": 2,
        "net/second/0": 3,
        "net/second/1/w": 4,
    }


def test_paths_of_bare_leaf_and_integer_keys():
    assert trees.paths(3) == {"": 3}
    assert trees.paths({2: "b", 10: "c"}) == {"2": "b", "10": "c"}
    assert trees.paths({}) == {}


@given(NESTED)
def test_paths_are_in_tree_order_and_complete(tree):
    assert list(trees.paths(tree).values()) == jax.tree.leaves(tree)


@pytest.mark.parametrize("name", ["a/b", "/", ""])
def test_keys_that_would_blur_a_path_are_refused(name):
    with pytest.raises(ValueError, match="without '/'"):
        trees.paths({"outer": {name: 1}})


def test_two_leaves_with_one_path_are_refused():
    with pytest.raises(ValueError, match="but two leaves have '1'"):
        trees.paths(OrderedDict([(1, "int"), ("1", "str")]))


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("dense_1", "dense_1", True),
        ("dense_1", "dense_1/w", True),
        ("dense_1", "dense_10/w", False),
        ("dense_1", "block/dense_1/w", False),
        ("dense_1/w", "dense_1/w", True),
        ("dense_1/", "dense_1/w", False),
        ("*", "a/b/c", True),
        ("*/w", "stage1/conv1/w", True),
        ("*/w", "w", False),
        ("stage?/*/b", "stage1/conv1/b", True),
        ("dense_[12]/w", "dense_3/w", False),
        ("dense_*", "Dense_1/w", False),
        ("dense_[12]", "dense_1/w", False),
    ],
)
def test_matches(pattern, path, expected):
    assert trees.matches(pattern, path) is expected


def test_labels_cover_each_leaf_once():
    groups = {"conv_1": "frozen", "dense_*/w": "decayed"}
    assert trees.labels(PARAMS, groups, default="plain") == {
        "conv_1": {"w": "frozen", "b": "frozen"},
        "dense_1": {"w": "decayed", "b": "plain"},
        "dense_10": {"w": "decayed"},
    }


def test_labels_keep_the_structure_and_take_any_label():
    tree = Pair((np.zeros(1), None), {"a": {}, "b": np.zeros(2)})
    labelled = trees.labels(tree, {"first": 1, "second": None}, default=0)
    assert labelled == Pair((1, None), {"a": {}, "b": None})


@pytest.mark.parametrize(
    ("groups", "words"),
    [
        ({"conv_1": 0}, ["'dense_1/b'", "no pattern"]),
        ({"*": 0, "dense_1/w": 1}, ["'dense_1/w'", "'*' and 'dense_1/w'"]),
        ({"*": 0, "dens_10/w": 1}, ["'dens_10/w'", "nearest: 'dense_10/w'"]),
        ({"*": 0, "zzz*": 1}, ["'zzz*' matches no parameter"]),
        ({}, ["'conv_1/b'"]),
    ],
)
def test_labels_refuse_gaps_overlaps_and_misspellings(groups, words):
    with pytest.raises(ValueError) as error:
        trees.labels(PARAMS, groups)
    assert all(word in str(error.value) for word in words)


def test_labels_drive_optax():
    params = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), PARAMS)
    groups = trees.labels(params, {"conv_1": "frozen", "dense_*": "trained"})
    optimizer = optax.partition(
        {"frozen": optax.set_to_zero(), "trained": optax.sgd(1.0)}, groups
    )
    gradients = jax.tree.map(jnp.ones_like, params)
    updates, _ = optimizer.update(gradients, optimizer.init(params), params)
    for path, update in trees.paths(updates).items():
        np.testing.assert_array_equal(update, 0.0 if "conv" in path else -1.0)


def test_count_and_nbytes_of_arrays_and_shapes():
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), PARAMS)
    for tree in (PARAMS, shapes):
        assert trees.count(tree) == 72 + 8 + 80 + 10 + 20
        assert trees.nbytes(tree) == 8 * trees.count(tree)
    mixed = [jnp.zeros((3, 2), jnp.bfloat16), np.float32(1), 1.0, np.zeros((0, 4))]
    assert trees.count(mixed) == 8
    assert trees.nbytes(mixed) == 12 + 4 + 8
    assert trees.count({}) == trees.nbytes({}) == 0


def test_names_that_moved_work_with_a_warning():
    moved = r"is now jaxnn\.messages\.phrases\.describe"
    with pytest.warns(FutureWarning, match=moved):
        assert trees.describe(3.0) == "float"
