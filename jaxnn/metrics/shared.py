# SPDX-License-Identifier: Apache-2.0
"""Helpers shared by metrics: array conversion and weights."""

import numbers
from typing import Any

import jax
import jax.numpy as jnp

from jaxnn.losses.pairs import at_least_float32


def class_numbers(outputs: jax.Array, labels: jax.Array) -> jax.Array:
    """Class numbers [N, ...] of labels, which may be rows [N, ..., C]."""
    return labels.argmax(-1) if labels.ndim == outputs.ndim else labels


def column(x: jax.Array) -> jax.Array:
    """[N, ..., 1] as [N, ...]; anything else unchanged."""
    return x[..., 0] if x.ndim > 1 and x.shape[-1] == 1 else x


def wide(x: jax.Array) -> jax.Array:
    """The array as floating point, at least float32."""
    is_float = jnp.issubdtype(x.dtype, jnp.floating)
    return x.astype(at_least_float32(x.dtype) if is_float else jnp.float32)


def times(weights: jax.Array, values: jax.Array) -> jax.Array:
    """weights · values; 0 where the weight is 0, whatever a padded example's value."""
    return jnp.where(weights == 0, 0, weights * values)


def unknown_at(outputs: jax.Array, labels: jax.Array) -> jax.Array:
    """Which positions [N, ...] have NaN in their outputs or label rows."""
    nan = jnp.isnan(outputs).any(-1)
    return nan | jnp.isnan(labels).any(-1) if labels.ndim == outputs.ndim else nan


def check_ignore_label(metric: Any) -> None:
    label = metric.ignore_label
    if label is not None and not isinstance(label, numbers.Integral):
        raise ValueError(
            f"{type(metric).__name__}: ignore_label must be an int or None, got "
            f"{label!r:.60}"
        )
