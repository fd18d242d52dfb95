# SPDX-License-Identifier: Apache-2.0
"""Calls of a model, with its condition, without one, and with guidance between them.

A model is a network whose input is `(x, t)` or `(x, t, condition)`, or a function of
these: x `[N, ...]`, the times t `[N]` from 0 to 1, and any tree of arrays `[N, ...]`.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxnn import checks
from jaxnn.core import Layer, as_layer
from jaxnn.diffusion.schedules import wide
from jaxnn.keys import Key
from jaxnn.messages.phrases import describe
from jaxnn.train.state import variables as parts_of

#: A model that is called as a function of `(x, t)`, or `(x, t, condition)`.
Model = Callable[..., Any]


def network(owner: str, net: Any, variables: Any) -> tuple[Layer, Any]:
    """A model as a layer, and its `(params, state)`; a function has none."""
    layer = as_layer(net, owner)
    if isinstance(net, Layer):
        return layer, parts_of(variables, owner)
    if variables is not None and jax.tree.leaves(variables):
        raise TypeError(
            f"{owner}: a function has no variables, they must be None, got "
            f"{describe(variables):.100}; a network is an nn.Layer"
        )
    return as_layer(functools.partial(_spread, net), owner), ({}, {})


def _spread(function: Model, inputs: tuple) -> Any:
    return function(*inputs)


def called(owner: str, model: Model, x: Any, t: Any, condition: Any) -> jax.Array:
    """What a model says of x at the times t, `[N]`; checked."""
    y = model(x, t) if condition is None else model(x, t, condition)
    if getattr(y, "shape", None) != x.shape or not checks.is_float(y):
        raise TypeError(
            f"{owner}: the model must give floats of the shape of its x, "
            f"{describe(x)}, got {describe(y):.100}"
        )
    return y


def guided(model: Model, condition: Any, null: Any, guidance: jax.Array) -> Model:
    """y(∅) + w (y(condition) − y(∅)) as a function of `(x, t)`, in one doubled call."""

    def both(a, b):
        return jnp.concatenate([a, b])

    either = jax.tree.map(both, condition, filled(null, condition))

    def call(x, t):
        y = model(both(x, x), both(t, t), either)
        if getattr(y, "shape", None) != (2 * len(x), *x.shape[1:]):
            return y  # which `called` rejects
        with_it, without = jnp.split(y.astype(wide(y.dtype)), 2)
        return without + guidance.astype(without.dtype) * (with_it - without)

    return call


def check_condition(owner: str, condition: Any, examples: int) -> None:
    """Raise unless a condition has arrays with one row per example."""
    shapes = [getattr(a, "shape", ()) for a in jax.tree.leaves(condition)]
    if any(shape[:1] != (examples,) for shape in shapes):
        raise ValueError(
            f"{owner}: condition must have one row per example, [{examples}, ...], got "
            f"{describe(condition):.100}"
        )


def check_null(owner: str, null: Any, condition: Any) -> None:
    """Raise unless a null label is one that an example of the condition could have."""
    if jax.tree.structure(null) != jax.tree.structure(condition):
        raise ValueError(
            f"{owner}: null must be what stands for no condition, like one example of "
            f"{describe(condition):.80}, got {describe(null):.80}"
        )
    for one, many in zip(*map(jax.tree.leaves, (null, condition)), strict=True):
        single = np.shape(one) in ((), many.shape[1:])
        whole = jnp.issubdtype(jnp.result_type(one), jnp.integer)
        if not single or (jnp.issubdtype(many.dtype, jnp.integer) and not whole):
            raise ValueError(
                f"{owner}: null must be a label of one example of condition, "
                f"{describe(many)}, got {one!r:.60}"
            )


def filled(null: Any, condition: Any) -> Any:
    """The null label of every example: a tree like the condition."""

    def fill(one, many):
        return jnp.broadcast_to(jnp.asarray(one).astype(many.dtype), many.shape)

    return jax.tree.map(fill, null, condition)


def dropped(key: Key, condition: Any, null: Any, rate: Any) -> Any:
    """The condition with that of each example replaced by null at a rate."""
    leaves = jax.tree.leaves(condition)
    out = jax.random.bernoulli(key, rate, leaves[0].shape[:1])

    def choose(a, b):
        return jnp.where(out.reshape(out.shape + (1,) * (a.ndim - 1)), b, a)

    return jax.tree.map(choose, condition, filled(null, condition))
