# SPDX-License-Identifier: Apache-2.0
"""Dynamic loss scaling for networks that compute in float16.

Gradients below 6e-8 are zero in float16, and numbers above 65,504 infinite. The loss is
therefore multiplied by a scale before its gradient is taken, and the gradient divided
by it. A step whose gradient overflows is left out and halves the scale; many good steps
double it.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxnn.core import Layer
from jaxnn.spec import fields
from jaxnn.train.freezing import without_frozen

#: As in PyTorch: the first scale, and after how many good steps it is doubled.
FIRST, PATIENCE = 2.0**16, 2_000
LEAST, LARGEST = 1.0, 2.0**24


class LossScale(NamedTuple):
    """The state of an optimizer for scaled gradients."""

    scale: jax.Array  # float32 [], a power of two
    good: jax.Array  # int32 [], steps since it changed
    inner: Any  # the state of the optimizer itself


def optimizer_for(
    optimizer: optax.GradientTransformation, net: Layer
) -> optax.GradientTransformation:
    """The optimizer as it trains a network: without what is frozen, and scaled."""
    own = without_frozen(optimizer, net)
    return _scaled(own) if _needs_scale(net) else own


def scale_of(opt_state: Any) -> jax.Array | None:
    """What the loss is multiplied by, or None."""
    return opt_state.scale if isinstance(opt_state, LossScale) else None


def scaled(value: jax.Array, scale: jax.Array | None) -> jax.Array:
    """The value times the scale, if there is one."""
    return value if scale is None else value * scale


def unscaled(value: jax.Array, scale: jax.Array | None) -> jax.Array:
    """The value without the scale, a power of two: exact."""
    return value if scale is None else value / scale


def _needs_scale(net: Any) -> bool:
    """Whether a network, or a part of it, computes in float16."""
    inside = [*net.children().values(), *fields(net).values()]  # wrappers' layers too
    parts = (part for part in inside if isinstance(part, Layer))
    return getattr(net, "needs_loss_scale", False) or any(map(_needs_scale, parts))


def _scaled(optimizer: optax.GradientTransformation) -> optax.GradientTransformation:
    """The optimizer for gradients of a scaled loss."""
    inner = optax.with_extra_args_support(optimizer)

    def init(params: Any) -> LossScale:
        return LossScale(jnp.float32(FIRST), jnp.int32(0), inner.init(params))

    def update(updates, state, params=None, **extra):
        scale = state.scale
        grads = jax.tree.map(lambda g: g / scale.astype(g.dtype), updates)
        finite = jnp.array(
            [jnp.isfinite(g).all() for g in jax.tree.leaves(grads)]
        ).all()
        made, after = inner.update(grads, state.inner, params, **extra)

        def kept(new: Any, old: Any) -> Any:
            return jnp.where(finite, new, old)

        made = jax.tree.map(lambda u: kept(u, jnp.zeros_like(u)), made)
        return made, _next(state, finite, jax.tree.map(kept, after, state.inner))

    return optax.GradientTransformationExtraArgs(init, update)


def _next(state: LossScale, finite: jax.Array, inner: Any) -> LossScale:
    """The scale for the next step."""
    good = jnp.where(finite, state.good + 1, 0)
    grown = good >= PATIENCE
    scale = jnp.where(finite, state.scale, jnp.maximum(state.scale / 2, LEAST))
    scale = jnp.where(grown, jnp.minimum(scale * 2, LARGEST), scale)
    return LossScale(scale, jnp.where(grown, 0, good), inner)
