# SPDX-License-Identifier: Apache-2.0
"""The gradient of a batch in several pieces, one after the other, to save memory."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxnn.train.batch import length

#: `sums(params, net_state, key, batch) -> (total, weight), net_state, outputs`
Sums = Callable[..., Any]


def gradients(
    sums: Sums, params: Any, net_state: Any, key: jax.Array, batch: Any, count: int
) -> tuple[Callable[..., Any], Any, Any]:
    """The mean Σ w·loss / Σ w over a batch as a function, its value, and its gradient.

    Args:
        sums: Σ w·loss and Σ w of a batch, the network's new state and its outputs.
        params, net_state, key, batch: what it takes.
        count: the number of micro-batches; with 1, the batch is taken whole.

    Returns:
        `(objective, (value, more), gradients)`: `objective(params) -> (value, more)`
        with `more = (outputs, net_state, total, weight)`.
    """

    def objective(params):
        def one(*given):
            return sums(params, *given)

        found, state, outputs = _over(one, net_state, key, batch, count)
        total, weight = found
        return total / or_one(weight), (outputs, state, total, weight)

    if count == 1:
        return objective, *jax.value_and_grad(objective, has_aux=True)(params)

    def slope(net_state, key, batch):
        def total(params):
            (total, weight), *rest = sums(params, net_state, key, batch)
            return total, (weight, *rest)

        (value, (weight, state, outputs)), grads = jax.value_and_grad(
            total, has_aux=True
        )(params)
        return (value, weight, grads), state, outputs

    (total, weight, grads), state, outputs = _over(slope, net_state, key, batch, count)
    grads = jax.tree.map(lambda g: g / or_one(weight).astype(g.dtype), grads)
    return objective, (total / or_one(weight), (outputs, state, total, weight)), grads


def or_one(weight: jax.Array) -> jax.Array:
    """The weight, or 1 if no example counts: the step then trains nothing."""
    return jnp.where(weight == 0, jnp.ones_like(weight), weight)


def _over(one: Callable, net_state: Any, key: jax.Array, batch: Any, count: int) -> Any:
    """`one(net_state, key, piece) -> sums, net_state, outputs`, added up over pieces.

    Piece i has each `count`-th row from i on: if the rows are split over devices, so
    are those of each piece. Rows that are left over are a piece of their own.
    """
    rows = length(batch)
    count = min(count, rows)
    if count <= 1:
        return one(net_state, key, batch)
    whole = rows - rows % count

    def body(carry, part):
        net_state, so_far = carry
        i, batch = part
        sums, net_state, outputs = one(net_state, jax.random.fold_in(key, i), batch)
        return (net_state, jax.tree.map(jnp.add, so_far, sums)), outputs

    pieces = jax.tree.map(lambda a: _dealt(a[:whole], count), batch)
    first = jax.tree.map(lambda a: a[0], pieces)
    shapes = jax.eval_shape(one, net_state, key, first)[0]
    zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
    parts = jnp.arange(count), pieces
    carry, outputs = jax.lax.scan(body, (net_state, zeros), parts)
    outputs = jax.tree.map(_collected, outputs)
    if rows > whole:
        rest = jax.tree.map(lambda a: a[whole:], batch)
        carry, last = body(carry, (count, rest))
        outputs = jax.tree.map(lambda *y: jnp.concatenate(y), outputs, last)
    net_state, sums = carry
    return sums, net_state, outputs


def _dealt(a: jax.Array, count: int) -> jax.Array:
    """Rows as `[count, rows / count, ...]`, dealt like cards."""
    return a.reshape(-1, count, *a.shape[1:]).swapaxes(0, 1)


def _collected(a: jax.Array) -> jax.Array:
    """The inverse of `_dealt`."""
    return a.swapaxes(0, 1).reshape(-1, *a.shape[2:])
