# SPDX-License-Identifier: Apache-2.0
"""Penalties on large weights: decay, the square (L2) and the magnitude (L1)."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

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
def weight_decay(
    optimizer: optax.GradientTransformation,
    rate: optax.ScalarOrSchedule,
    *patterns: str,
) -> Optimizer:
    """Shrink weights by a share of themselves at each step, whatever the gradient.

    `w ← w + update − rate · w`.  The decay is decoupled: neither adaptive optimizers
    nor the learning rate rescale it; to make it fall over time, give a schedule. A rate
    of α λ matches `optax.adamw(α, weight_decay=λ, mask=nn.optimizers.kernels)`.

    Args:
        optimizer: an Optax optimizer.
        rate: the share, 0 or more (1e-4 is usual); or a schedule of shares. It may be
            traced.
        patterns: which parameters, as in `only`; without any, all `kernels`.

    Returns:
        An Optax optimizer.

    Raises:
        ValueError, TypeError: the rate or a pattern is invalid; or, when the optimizer
            is initialized, a pattern matches nothing.

    Reference: Loshchilov and Hutter, Decoupled Weight Decay Regularization, 2019.

    >>> import jax.numpy as jnp, jaxnn as nn, optax
    >>> optimizer = nn.optimizers.weight_decay(optax.sgd(0.1), 0.25)
    >>> params = {"w": jnp.array([8.0]), "b": jnp.array([8.0])}
    >>> updates, _ = optimizer.update(
    ...     jax.tree.map(jnp.zeros_like, params), optimizer.init(params), params)
    >>> optax.apply_updates(params, updates)
    {'b': Array([8.], dtype=float32), 'w': Array([6.], dtype=float32)}
    """
    check_optimizer("weight_decay", optimizer)
    _check_rate("weight_decay", rate)
    mask = choose("weight_decay", patterns)
    shrink = _negative(rate) if callable(rate) else -rate
    return optax.chain(optimizer, optax.add_decayed_weights(shrink, mask))


@entrance
def l2(
    optimizer: optax.GradientTransformation,
    rate: optax.ScalarOrSchedule,
    *patterns: str,
) -> Optimizer:
    """Train on the loss plus `rate / 2 · Σ w²`, whose gradient is `rate · w`.

    The penalty passes through the optimizer with the rest of the gradient.  The logged
    loss does not include it.

    Args:
        optimizer: an Optax optimizer; not one that evaluates the loss, as L-BFGS does.
        rate: 0 or more (1e-4 is usual); or a schedule of rates. It may be traced.
        patterns: which parameters, as in `only`; without any, all `kernels`.

    Returns:
        An Optax optimizer.

    Raises:
        ValueError, TypeError: the rate or a pattern is invalid; or, when the optimizer
            is initialized, a pattern matches nothing.

    >>> import jaxnn as nn, optax
    >>> optimizer = nn.optimizers.l2(optax.sgd(0.1, momentum=0.9), 1e-4)
    """
    check_optimizer("l2", optimizer)
    _check_rate("l2", rate)
    penalty = optax.add_decayed_weights(rate, choose("l2", patterns))
    return optax.chain(penalty, optimizer)


@entrance
def l1(
    optimizer: optax.GradientTransformation, rate: Scalar, *patterns: str
) -> Optimizer:
    """Train on the loss plus `rate · Σ |w|`; many weights become exactly zero.

    Each weight moves within its orthant: the penalty's slope is that of the weight's
    sign, a weight at zero leaves it only if the gradient is larger than `rate`, and one
    about to change sign stops at zero.  The noisy gradients of small batches can move
    weights off zero again: let the learning rate fall towards the end.

    Args:
        optimizer: an Optax optimizer; momentum and adaptive ones work too.
        rate: 0 or more; it may be traced.
        patterns: which parameters, as in `only`; without any, all `kernels`. All others
            are trained without the penalty.

    Returns:
        An Optax optimizer, whose state is that of `optimizer`.

    Raises:
        ValueError, TypeError: the rate or a pattern is invalid; or, when the optimizer
            is initialized, a pattern matches nothing.

    Reference: Andrew and Gao, Scalable Training of L1-Regularized Log-Linear Models,
    2007.

    >>> import jax, jax.numpy as jnp, jaxnn as nn, optax
    >>> optimizer = nn.optimizers.l1(optax.sgd(0.5), 1.0)
    >>> params = {"w": jnp.array([4.0, 0.25, 0.0])}
    >>> gradients = {"w": jnp.array([1.0, 0.5, -0.9])}
    >>> updates, _ = optimizer.update(gradients, optimizer.init(params), params)
    >>> optax.apply_updates(params, updates)["w"].tolist()
    [3.0, 0.0, 0.0]
    """
    check_optimizer("l1", optimizer)
    check_number("l1", "rate", rate, "a number of 0 or more", 0)
    mask, inner = choose("l1", patterns), optax.with_extra_args_support(optimizer)

    def init(params):
        mask(params)  # raises where a pattern matches nothing
        return inner.init(params)

    def update(updates, state, params=None, **extra):
        params = given("l1", params)
        asked, scale = mask(params), extra.get("rate_scale", 1.0)

        def slope(asked, w, g):
            return pseudo_gradient(w, g, rate) if asked else g

        def within(asked, w, slope, u):
            return _within_orthant(w, slope, u, scale) if asked else u

        slopes = jax.tree.map(slope, asked, params, updates)
        updates, state = inner.update(slopes, state, params, **extra)
        return jax.tree.map(within, asked, params, slopes, updates), state

    return Optimizer(init, update)


def pseudo_gradient(w: jax.Array, gradient: jax.Array, rate: Scalar) -> jax.Array:
    """The steepest slope of loss + rate · |w|; 0 where `w` is best kept at zero."""
    rate = jnp.asarray(rate, w.dtype)
    gradient = gradient.astype(w.dtype)
    at_zero = jnp.sign(gradient) * jnp.maximum(jnp.abs(gradient) - rate, 0)
    return jnp.where(w == 0, at_zero, gradient + rate * jnp.sign(w))


def _within_orthant(
    w: jax.Array, slope: jax.Array, u: jax.Array, scale: Scalar
) -> jax.Array:
    """The update, cut where, times `scale`, it takes `w` across zero: `w − w` is 0."""
    side = jnp.where(w == 0, -jnp.sign(slope), jnp.sign(w))
    u = u.astype(w.dtype)
    return jnp.where(jnp.sign(w + scale * u) == side, u, -w / scale)


def _check_rate(owner: str, rate: Any) -> None:
    if not callable(rate):
        check_number(owner, "rate", rate, "a number of 0 or more, or a schedule", 0)


def _negative(schedule: optax.Schedule) -> optax.Schedule:
    return lambda step: -1.0 * schedule(step)
