# SPDX-License-Identifier: Apache-2.0
"""A limit on the norm of each unit's incoming weights."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxnn import trees
from jaxnn.messages.tracebacks import entrance
from jaxnn.optimizers.checks import (
    Scalar,
    check_number,
    check_optimizer,
    given,
)
from jaxnn.optimizers.groups import choose

Optimizer = optax.GradientTransformationExtraArgs


@entrance
def max_norm(
    optimizer: optax.GradientTransformation,
    limit: Scalar,
    *patterns: str,
    axis: int | tuple[int, ...] | None = None,
) -> Optimizer:
    """After each step, rescale each unit's incoming weights so that `‖w‖ <= limit`.

    Weights that are too long keep their direction. A unit is an entry of a weight's
    last axis; in a `table`, it is a row.

    Args:
        optimizer: an Optax optimizer.
        limit: the largest Euclidean norm, above 0 (3 or 4 is usual with dropout); it
            may be traced.
        patterns: which parameters, as in `only`; without any, all `kernels`.
        axis: the axes over which the norm is taken; None for all but the last (for a
            table, the last). The stacked weights `[n, K, F]` of a `Repeat` need -2.

    Returns:
        An Optax optimizer, whose state is that of `optimizer`.

    Raises:
        ValueError, TypeError: the limit or a pattern is invalid; or, when the optimizer
            is initialized, a pattern matches nothing.

    Reference: Hinton et al., Improving Neural Networks by Preventing Co-adaptation of
    Feature Detectors, 2012.

    >>> import jax.numpy as jnp, jaxnn as nn, optax
    >>> optimizer = nn.optimizers.max_norm(optax.sgd(1.0), 5.0)
    >>> params = {"w": jnp.array([[6.0, 1.0], [8.0, 1.0]])}
    >>> still = {"w": jnp.zeros((2, 2))}
    >>> updates, _ = optimizer.update(still, optimizer.init(params), params)
    >>> optax.apply_updates(params, updates)["w"].tolist()
    [[3.0, 1.0], [4.0, 1.0]]
    """
    check_optimizer("max_norm", optimizer)
    check_number("max_norm", "limit", limit, "a number above 0", 5e-324)
    mask = choose("max_norm", patterns)
    inner = optax.with_extra_args_support(optimizer)

    def init(params):
        mask(params)  # raises where a pattern matches nothing
        return inner.init(params)

    def update(updates, state, params=None, **extra):
        params = given("max_norm", params)
        updates, state = inner.update(updates, state, params, **extra)
        scale = extra.get("rate_scale", 1.0)
        leaves = zip(
            trees.paths(params).items(),
            jax.tree.leaves(mask(params)),
            jax.tree.leaves(updates),
            strict=True,
        )
        cut = [
            _shorten(w, u, scale, limit, _incoming(path, w) if axis is None else axis)
            if asked
            else u
            for (path, w), asked, u in leaves
        ]
        return jax.tree.unflatten(jax.tree.structure(updates), cut), state

    return Optimizer(init, update)


def _incoming(path: str, w: jax.Array) -> Any:
    """The axes of one unit's weights."""
    return -1 if path.split("/")[-1] == "table" else tuple(range(w.ndim - 1))


def _shorten(
    w: jax.Array, u: jax.Array, scale: Scalar, limit: Scalar, axis: Any
) -> jax.Array:
    """The update cut so that, times `scale`, it keeps every norm within the limit."""
    limit, u = jnp.asarray(limit, w.dtype), u.astype(w.dtype)
    new = w + scale * u
    length = jnp.sqrt(jnp.square(new).sum(axis, keepdims=True))
    shorter = new * (limit / jnp.maximum(length, limit))
    return jnp.where(length > limit, (shorter - w) / scale, u)
