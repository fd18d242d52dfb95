# SPDX-License-Identifier: Apache-2.0
"""An optimizer's updates, at the share of the learning rate that a plateau leaves.

A training step gives the share to its optimizer as `rate_scale`, an extra argument of
Optax's, so that what looks at the weights after the step (averages, limits, L1) sees
those that are really taken.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax


def apply_updates(params: Any, updates: Any, rate_scale: Any = None) -> Any:
    """The parameters after a step: `θ + rate_scale · update`.

    What is left of a weight that an update of `−θ / rate_scale` takes to zero is its
    rounding error: it becomes zero.
    """
    if rate_scale is None:
        return optax.apply_updates(params, updates)

    def scaled(w, u):
        dtype = jnp.promote_types(u.dtype, rate_scale.dtype)
        return (u.astype(dtype) * rate_scale.astype(dtype)).astype(w.dtype)

    new = optax.apply_updates(params, jax.tree.map(scaled, params, updates))
    return jax.tree.map(_without_noise, params, new)


def _without_noise(old: jax.Array, new: jax.Array) -> jax.Array:
    noise = 2 * jnp.finfo(old.dtype).eps * jnp.abs(old)
    return jnp.where(jnp.abs(new) <= noise, jnp.zeros_like(new), new)
