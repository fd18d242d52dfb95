"""Phrases of error messages."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxnn.messages.phrases import describe, nearest, shown


class Pair(NamedTuple):
    first: Any
    second: Any


def test_nearest():
    assert nearest("dense_q", ["dense_1", "conv_1"]) == " (nearest: 'dense_1')"
    assert nearest("xyz", ["dense_1"]) == nearest("dense_1", []) == ""


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (jax.ShapeDtypeStruct((8, 28, 28), jnp.float32), "float32[8,28,28]"),
        (np.zeros((8, 4), np.float32), "float32[8,4]"),
        (np.int8(1), "int8[]"),
        (jnp.zeros((), jnp.bfloat16), "bfloat16[]"),
        (np.zeros(2, ">f4"), "float32[2]"),
        ({"a": np.zeros(3, np.float32), 1: 2.0}, "{'a': float32[3], 1: float}"),
        ((np.zeros(3), [1, True, None]), "(float64[3], [int, bool, None])"),
        ((np.zeros(3),), "(float64[3],)"),
        (Pair({}, ()), "Pair(first={}, second=())"),
        (optax.EmptyState(), "()"),
        ("text", "str"),
        (object(), "object"),
    ],
)
def test_describe(value, text):
    assert describe(value) == text


def test_describe_keys_and_tracers(key):
    assert describe(key) == "key<fry>[]"
    assert describe(jax.random.split(key, 3)) == "key<fry>[3]"
    seen = []
    jax.jit(lambda x: seen.append(describe(x)) or x)(jnp.zeros((2, 3)))
    assert seen == ["float32[2,3]"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("adam", "'adam'"),
        (1e-3, "0.001"),
        (optax.adam, "the function adam"),
        (optax.EmptyState, "the class EmptyState"),
        ([optax.adam], "[function]"),
        (optax.identity(), "GradientTransformation(init=function, update=function)"),
        ({"w": np.zeros(3)}, "{'w': float64[3]}"),
        ("x" * 99, f"'{59 * 'x'}..."),
    ],
)
def test_what_came_is_shown_in_one_line_without_an_address(value, text):
    assert shown(value) == text
