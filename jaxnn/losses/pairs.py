# SPDX-License-Identifier: Apache-2.0
"""Pairs of outputs and targets, checked and converted for computation."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxnn.checks import is_traced
from jaxnn.messages.phrases import describe

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


def label_weights(
    labels: jax.Array, ignore_label: int | None = None, class_weight: Any = None
) -> jax.Array | None:
    """How much each label counts, its class's weight or 0; None if all count alike.

    A label without a weight, because it is out of range, counts as NaN.
    """
    floating = jnp.issubdtype(labels.dtype, jnp.floating)
    labels = labels if floating else signed(labels)
    counted = None if ignore_label is None else labels != ignore_label
    if class_weight is None:
        return counted
    table = jnp.asarray(class_weight, float)
    place = jnp.where(labels < 0, len(table), labels)
    weights = jnp.take(table, place, mode="fill", fill_value=jnp.nan)
    return weights if counted is None else jnp.where(counted, weights, 0)


def counting(weights: jax.Array) -> jax.Array:
    """Where labels count at all."""
    return weights if weights.dtype == bool else weights != 0


def which_count(
    name: str,
    outputs: jax.Array,
    labels: jax.Array,
    ignore_label: int | None,
    class_weight: Any = None,
) -> jax.Array | None:
    """Which class labels count, or how much: `label_weights` after checks."""
    options = {"ignore_label": ignore_label, "class_weight": class_weight}
    given = [option for option, value in options.items() if value is not None]
    if given and labels.ndim == outputs.ndim:
        raise ValueError(
            f"{name}: {given[0]} needs integer labels, got {describe(labels)}; "
            "give labels.argmax(-1)"
        )
    if class_weight is not None:
        check_weights(name, "class_weight", class_weight, outputs.shape[-1], "classes")
    return label_weights(labels, ignore_label, class_weight)


def check_weights(name: str, option: str, weights: Any, size: int, of: str) -> None:
    """Raise unless an option is a sequence of `size` numbers of 0 or more."""
    shape = (len(weights),) if isinstance(weights, list | tuple) else None
    if getattr(weights, "shape", shape) != (size,):
        raise ValueError(
            f"{name}: {option} must be one number for each of the {size} {of}, as in "
            f"(1.0, 5.0), got {weights!r:.60}"
        )
    if not any(map(is_traced, weights)) and not all(0 <= w < np.inf for w in weights):
        raise ValueError(
            f"{name}: {option} must be finite and 0 or more, got {weights!r:.60}"
        )


def floats(name: str, outputs: ArrayLike, what: str = "outputs") -> jax.Array:
    """Outputs as a floating-point array."""
    y = one_array(name, what, outputs)
    if not jnp.issubdtype(y.dtype, jnp.floating):
        order = "the order is (outputs, targets), or " if what == "outputs" else ""
        raise TypeError(
            f"{name}: {what} must be floating point, got {describe(y)}; "
            f"{order}cast them: {what}.astype('float32')"
        )
    return y


def examples(name: str, what: str, x: ArrayLike) -> tuple[jax.Array, jnp.dtype]:
    """Floats [N, ...] for computation, and the dtype to return."""
    y = floats(name, x, what)
    if y.ndim == 0:
        raise ValueError(f"{name}: {what} must be [N, ...], got {describe(y)}")
    return y.astype(at_least_float32(y.dtype)), y.dtype


def several(name: str, outputs: Any, parts: tuple[str, ...]) -> tuple:
    """Outputs that are a tuple of arrays, one for each part."""
    if not isinstance(outputs, tuple | list) or len(outputs) != len(parts):
        raise TypeError(
            f"{name}: outputs must be ({', '.join(parts)}), a tuple of {len(parts)} "
            f"arrays, got {describe(outputs):.100}"
        )
    return tuple(outputs)


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
    values: jax.Array, dtype: jnp.dtype, weights: jax.Array | None = None
) -> jax.Array:
    """The weighted mean over the later axes, by default the plain one; 0 for no weight.

    A value of weight 0 (or False) does not count, even if it is NaN.
    """
    if weights is None:
        return values.mean(later_axes(values)).astype(dtype)
    kept = jnp.where(counting(weights), values, 0)
    weights = weights.astype(values.dtype)
    total = sum_each(weights)
    return (sum_each(weights * kept) / jnp.where(total == 0, 1, total)).astype(dtype)
