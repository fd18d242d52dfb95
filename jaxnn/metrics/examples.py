# SPDX-License-Identifier: Apache-2.0
"""Metrics with one value per example."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxnn.checks import is_positive_int
from jaxnn.losses.contracts import expects
from jaxnn.losses.pairs import (
    class_labels,
    label_weights,
    mean_each,
    number_pair,
    one_array,
    which_count,
)
from jaxnn.messages.phrases import describe
from jaxnn.metrics.shared import class_numbers, unknown_at


@expects(outputs="any", targets="classes")
def accuracy(
    outputs: ArrayLike, labels: ArrayLike, *, ignore_label: int | None = None
) -> jax.Array:
    """Share of positions whose largest output is at the label; ties go to the first.

    Args:
        outputs: logits or probabilities, [N, C] or [N, ..., C].
        labels: integers [N, ...], or one-hot rows of the outputs' shape. A label out of
            range is never correct.
        ignore_label: a label to ignore: the mean is over the other positions, and 0 if
            there are none. `Mean` is then the share over all labels that count,
            whichever examples they are in.
    Returns: float32 [N]: 0 or 1, or a share if there are more axes; NaN if an output
        that counts is NaN.
    Raises: TypeError for float labels [N, ...]; ValueError if the shapes do not match.
    Example:
        >>> outputs = jnp.array([[0.1, 0.9], [0.8, 0.2]])
        >>> print(accuracy(outputs, jnp.array([1, 1])))
        [1. 0.]
    """
    y = one_array("accuracy", "outputs", outputs)
    labels = class_labels("accuracy", y, labels)
    counted = which_count("accuracy", y, labels, ignore_label)
    true = class_numbers(y, labels)
    right = y.argmax(-1).astype(true.dtype) == true
    return _share_of(right, unknown_at(y, labels), counted)


@expects(outputs="any", targets="classes")
def top_k_accuracy(
    outputs: ArrayLike,
    labels: ArrayLike,
    *,
    k: int = 5,
    ignore_label: int | None = None,
) -> jax.Array:
    """Share of positions whose label is among the k largest outputs.

    Ties go to the lower class, so that k = 1 is `accuracy`.

    Args:
        outputs: logits or probabilities, [N, C] or [N, ..., C].
        labels: integers [N, ...], or one-hot rows of the outputs' shape.
        k: an int from 1 to C.
        ignore_label: a label to ignore, as in `accuracy`.
    Returns: float32 [N]: 0 or 1, or a share if there are more axes; NaN if an output
        that counts is NaN.
    Raises: TypeError for float labels [N, ...]; ValueError if the shapes do not match
        or k is out of range.
    Example:
        >>> outputs = jnp.array([[0.1, 0.6, 0.3], [0.1, 0.6, 0.3]])
        >>> print(top_k_accuracy(outputs, jnp.array([2, 0]), k=2))
        [1. 0.]
    """
    y = one_array("top_k_accuracy", "outputs", outputs)
    labels = class_labels("top_k_accuracy", y, labels)
    counted = which_count("top_k_accuracy", y, labels, ignore_label)
    if not is_positive_int(k) or k > y.shape[-1]:
        raise ValueError(
            f"top_k_accuracy: k must be from 1 to the {y.shape[-1]} classes, got {k!r}"
        )
    true = class_numbers(y, labels)
    best = jax.lax.top_k(y, k)[1].astype(true.dtype)
    right = (best == true[..., None]).any(-1)
    return _share_of(right, unknown_at(y, labels), counted)


@expects(outputs="any", targets="signs")
def binary_accuracy(
    outputs: ArrayLike,
    targets: ArrayLike,
    *,
    threshold: float = 0.0,
    ignore_label: int | None = None,
) -> jax.Array:
    """Share of the outputs that lie on the correct side of the threshold.

    Args:
        outputs: [N] or [N, ...]; above the threshold they predict the positive class.
        targets: of the same shape, either 0 and 1 or −1 and 1; those above 1/2 belong
            to the positive class.
        threshold: 0 for logits; 0.5 for probabilities.
        ignore_label: a target to ignore, as in `accuracy`.
    Returns: float32 [N]; NaN where an output that counts is NaN.
    Raises: ValueError if the shapes differ.
    Example:
        >>> print(binary_accuracy(jnp.array([2.0, -1.0, 0.5]), jnp.array([1, 0, 0])))
        [1. 1. 0.]
    """
    y, t, _ = number_pair("binary_accuracy", outputs, targets)
    counted = label_weights(jnp.asarray(targets), ignore_label)
    right = (y > threshold) == (t > 0.5)
    return _share_of(right, jnp.isnan(y) | jnp.isnan(t), counted)


@expects(outputs="any", targets="signs")
def multi_label_accuracy(
    outputs: ArrayLike, targets: ArrayLike, *, threshold: float = 0.0
) -> jax.Array:
    """Share of positions at which every label is correct.

    `binary_accuracy` gives the share of correct labels instead.

    Args:
        outputs: [N, L] or [N, ..., L]; above the threshold they predict the label.
        targets: of the same shape, 0 or 1.
        threshold: 0 for logits; 0.5 for probabilities.
    Returns: float32 [N]; NaN where an output is NaN.
    Raises: ValueError if the shapes differ or there is no axis of labels.
    Example:
        >>> outputs = jnp.array([[2.0, -1.0], [2.0, -1.0]])
        >>> print(multi_label_accuracy(outputs, jnp.array([[1, 0], [1, 1]])))
        [1. 0.]
    """
    y, t, _ = number_pair("multi_label_accuracy", outputs, targets)
    if y.ndim < 2:
        raise ValueError(
            f"multi_label_accuracy: outputs must be [N, ..., L], got {describe(y)}; "
            "for one label use binary_accuracy"
        )
    right = ((y > threshold) == (t > 0.5)).all(-1)
    return _share_of(right, (jnp.isnan(y) | jnp.isnan(t)).any(-1))


def _share_of(
    right: jax.Array, unknown: jax.Array, counted: jax.Array | None = None
) -> jax.Array:
    """The correct share of the counted positions, [N]; NaN if any is unknown."""
    values = jnp.where(unknown, jnp.nan, right.astype(jnp.float32))
    return mean_each(values, values.dtype, counted)
