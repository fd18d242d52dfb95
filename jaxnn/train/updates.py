# SPDX-License-Identifier: Apache-2.0
"""An optimizer's updates, scaled by the factor of a plateau.

A training step passes the factor to its optimizer as `rate_scale`, one of Optax's extra
arguments, so that whatever uses the weights after the step (averages, limits, L1) sees
the actual ones.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax


def apply_updates(params: Any, updates: Any, rate_scale: Any = None) -> Any:
    """The parameters after a step: `θ + rate_scale · update`.

    When an update of `−θ / rate_scale` takes a weight to zero, only a rounding error is
    left of it: it is set to zero.
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
