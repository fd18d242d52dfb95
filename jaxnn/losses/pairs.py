# SPDX-License-Identifier: Apache-2.0
"""Pairs of outputs and targets, checked and converted for computation."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxnn.trees import describe

Pair = tuple[jax.Array, jax.Array, jnp.dtype]


def number_pair(name: str, outputs: ArrayLike, targets: ArrayLike) -> Pair:
    """Outputs and targets of the same shape, and the dtype to return."""
    y, t = floats(name, outputs), one_array(name, "targets", targets)
    if y.ndim == 0 or y.shape != t.shape:
        raise ValueError(
            f"{name}: outputs and targets must be [N, ...] of one shape, "
            f"got outputs {describe(y)} and targets {describe(t)}"
            f"{_fix(y.shape, t.shape)}"
        )
    wide = at_least_float32(y.dtype)
    return y.astype(wide), t.astype(wide), y.dtype


def binary_pair(name: str, outputs: ArrayLike, targets: ArrayLike) -> Pair:
    """Like `number_pair`, for two classes; integer targets not 0 or 1 become NaN."""
    y, t, dtype = number_pair(name, outputs, targets)
    if jnp.issubdtype(jnp.asarray(targets).dtype, jnp.integer):
        t = jnp.where((t == 0) | (t == 1), t, jnp.nan)
    return y, t, dtype


def class_pair(name: str, outputs: ArrayLike, labels: ArrayLike) -> Pair:
    """Outputs and class labels, and the dtype to return."""
    y = floats(name, outputs)
    labels = class_labels(name, y, labels)
    return y.astype(at_least_float32(y.dtype)), labels, y.dtype


def class_labels(name: str, outputs: jax.Array, labels: ArrayLike) -> jax.Array:
    """Signed integers [N, ...] or rows [N, ..., C], checked against the outputs."""
    t = one_array(name, "labels", labels)
    both = f"got outputs {describe(outputs)} and labels {describe(t)}"
    if outputs.ndim < 2 or outputs.shape[-1] < 2:
        raise ValueError(
            f"{name}: outputs must be [N, ..., C] with at least 2 classes, {both}; "
            "for a single output use the sigmoid or binary form"
        )
    if t.shape == outputs.shape:
        return t
    if t.shape != outputs.shape[:-1]:
        raise ValueError(
            f"{name}: labels must be integers [N, ...] or rows [N, ..., C], {both}"
            f"{_fix(outputs.shape[:-1], t.shape, 'labels')}"
        )
    if jnp.issubdtype(t.dtype, jnp.floating):
        raise TypeError(
            f"{name}: labels are float but have the shape of class numbers, {both}; "
            "cast them: labels.astype(int)"
        )
    return signed(t)


def which_count(
    name: str, outputs: jax.Array, labels: jax.Array, ignore_label: int | None
) -> jax.Array | None:
    """Which positions count; None if all do."""
    if ignore_label is None:
        return None
    if labels.ndim == outputs.ndim:
        raise ValueError(
            f"{name}: ignore_label needs integer labels, got {describe(labels)}; "
            "give labels.argmax(-1)"
        )
    return labels != ignore_label


def floats(name: str, outputs: ArrayLike) -> jax.Array:
    """Outputs as a floating-point array."""
    y = one_array(name, "outputs", outputs)
    if not jnp.issubdtype(y.dtype, jnp.floating):
        raise TypeError(
            f"{name}: outputs must be floating point, got {describe(y)}; "
            "cast them: outputs.astype(jnp.float32)"
        )
    return y


def one_array(name: str, what: str, x: Any) -> jax.Array:
    """A single array; not a dict or a tuple of several."""
    if x is None or isinstance(x, Mapping | tuple):
        several = "" if x is None else f"; take one of them: {what}[...]"
        raise TypeError(
            f"{name}: {what} must be one array, got {describe(x):.100}{several}"
        )
    x = jnp.asarray(x)
    if jnp.iscomplexobj(x):
        raise TypeError(f"{name}: {what} must be real numbers, got {describe(x)}")
    return x


def _fix(wanted: tuple, shape: tuple, name: str = "targets") -> str:
    """A hint for an error, if two shapes differ only by a last axis of length 1."""
    axes = ":" if min(len(wanted), len(shape)) == 1 else "..."
    if wanted == (*shape, 1):
        return f"; write {name}[{axes}, None]"
    return f"; write {name}[{axes}, 0]" if shape == (*wanted, 1) else ""


def at_least_float32(dtype: jnp.dtype) -> jnp.dtype:
    """The dtype to compute in."""
    return dtype if jnp.finfo(dtype).bits >= 32 else jnp.dtype(jnp.float32)


def signed(labels: jax.Array) -> jax.Array:
    """Labels as signed integers, comparable with −1 and any number of classes."""
    return labels.astype(jnp.int64 if labels.dtype.itemsize == 8 else jnp.int32)


def later_axes(x: jax.Array) -> tuple[int, ...]:
    """All axes after the first (the examples)."""
    return tuple(range(1, x.ndim))


def sum_each(values: jax.Array) -> jax.Array:
    """The sum over the later axes, [N]."""
    return values.sum(later_axes(values))


def mean_each(
    values: jax.Array, dtype: jnp.dtype, counted: jax.Array | None = None
) -> jax.Array:
    """Mean of the counted values (by default all) over the later axes; 0 if none is."""
    if counted is None:
        return values.mean(later_axes(values)).astype(dtype)
    count = jnp.maximum(sum_each(counted), 1).astype(values.dtype)
    return (sum_each(jnp.where(counted, values, 0)) / count).astype(dtype)
