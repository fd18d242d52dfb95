# SPDX-License-Identifier: Apache-2.0
"""Classification losses: `loss(outputs, targets) -> [N]`, one value per example."""

import numbers
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from jaxnn import checks
from jaxnn.losses.contracts import expects
from jaxnn.losses.pairs import (
    binary_pair,
    check_weights,
    class_pair,
    counting,
    label_weights,
    mean_each,
    number_pair,
    which_count,
)
from jaxnn.ops.sigmoid import sigmoid_surprise

#: One number for each class (a tuple, where a layer or a step must be hashable).
Weights = Sequence[float] | jax.Array

#: Up to this many classes, the label's entry is picked by comparison, with no gather
#: and no scatter in the gradient: a step of an MLP with 10 classes takes 1.5 % less
#: time on a CPU.
FEW_CLASSES = 128


@expects(outputs="logits", targets="classes")
def softmax_cross_entropy(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    label_smoothing: float = 0.0,
    ignore_label: int | None = None,
    class_weight: Weights | None = None,
) -> jax.Array:
    """Cross-entropy of labels and softmax(z): −Σ_c t_c log softmax(z)_c, in nats.

    A logit of −inf masks its class, as long as the labels give that class no weight;
    `label_smoothing` gives every class some.

    With weights w of the classes, the mean over labels becomes Σ w_l loss_l / Σ w_l,
    within each example here and over examples in the trainer, which weights each by its
    Σ w_l (see `example_weights`). A single label is all of its example: the values for
    labels [N] are those without weights.

    Args:
        logits: z, floats [N, C] or [N, ..., C].
        labels: integers [N, ...], or one-hot or soft rows of the logits' shape.
        label_smoothing: s in [0, 1): t becomes (1 − s) t + s/C.
        ignore_label: an integer label to ignore, such as padding: the mean is over the
            other positions, and 0 if there are none. Logits at ignored positions, even
            NaN, affect neither the loss nor its gradient. Each example is then weighted
            by its number of other labels (see `example_weights`).
        class_weight: w, how much a label of each class counts, [C], 0 or more; 0
            ignores it. Smoothing spreads s w_c / (C w_l), as in PyTorch.
    Returns: [N].
    Raises: TypeError for float labels [N, ...]; ValueError if the shapes do not match
        or an option is out of range.
    Example:
        >>> logits = jnp.log(jnp.array([[0.4, 0.6]]))
        >>> print(softmax_cross_entropy(logits, jnp.array([1])).round(4))
        [0.5108]

        For `fit`, with the second class five times as important:

        >>> import functools
        >>> loss = functools.partial(softmax_cross_entropy, class_weight=(1.0, 5.0))

    Reference, for the smoothing: Szegedy et al., Rethinking the Inception Architecture
    for Computer Vision, 2016.
    """
    name = "softmax_cross_entropy"
    z, labels, dtype = class_pair(name, logits, labels)
    number, traced = numbers.Real | jax.Array, checks.is_traced(label_smoothing)
    fits = isinstance(label_smoothing, number) and (traced or 0 <= label_smoothing < 1)
    if not fits:
        raise ValueError(
            f"{name}: label_smoothing is in [0, 1), got {label_smoothing!r:.60}"
        )
    weights = which_count(name, z, labels, ignore_label, class_weight)
    z, labels = _without_ignored(z, labels, weights)
    losses = _softmax_surprise(z, labels)
    if not checks.is_zero(label_smoothing):
        logs = jax.nn.log_softmax(z)
        if class_weight is not None and weights is not None:
            own = jnp.where(weights == 0, 1, weights).astype(z.dtype)[..., None]
            every = jnp.broadcast_to(jnp.asarray(class_weight, z.dtype), z.shape)
            logs = _weighted(every / own, logs)
        losses = (1 - label_smoothing) * losses - label_smoothing * logs.mean(-1)
    return mean_each(losses, dtype, weights)


@expects(outputs="probabilities", targets="classes")
def cross_entropy(probabilities: ArrayLike, labels: ArrayLike) -> jax.Array:
    """Cross-entropy of labels and probabilities: −Σ_c t_c log p_c, in nats.

    If you have logits, `softmax_cross_entropy` is more accurate. A probability of 0 is
    treated as the smallest normal number, about 1e-38.

    Args:
        probabilities: p, floats [N, C] or [N, ..., C]; rows sum to 1.
        labels: integers [N, ...], or one-hot or soft rows of the same shape as p.
    Returns: [N].
    Raises: TypeError for float labels [N, ...]; ValueError if the shapes do not match.
    Example:
        >>> p, t = jnp.array([[0.4, 0.6]]), jnp.array([[0.0, 1.0]])
        >>> print(cross_entropy(p, t).round(4), "nats")
        [0.5108] nats
        >>> print((cross_entropy(p, t) / jnp.log(2)).round(4), "bits")
        [0.737] bits
    """
    p, labels, dtype = class_pair("cross_entropy", probabilities, labels)
    return mean_each(-_expected(labels, _clipped_log(p)), dtype)


@expects(outputs="probabilities", targets="classes")
def likelihood(probabilities: ArrayLike, labels: ArrayLike) -> jax.Array:
    """Probability of what was observed: Σ_c t_c p_c. To be maximized; not a loss.

    The likelihood of a data set is the product over its examples. Its negative
    logarithm, the sum of the cross-entropies, is the loss to minimize.

    Args:
        probabilities: p, floats [N, C] or [N, ..., C] with rows that sum to 1; or
            probabilities of class 1 alone, [N] or [N, ..., 1].
        labels: integers [N, ...] or one-hot rows; or 0 and 1, of the same shape as p.
    Returns: [N].
    Raises: TypeError for float labels [N, ...]; ValueError if the shapes do not match.
    Example:
        Red, blue, red, blue, blue, where red has probability 4/5: (4/5)²(1/5)³.

        >>> drawn = likelihood(jnp.full(5, 4 / 5), jnp.array([1, 0, 1, 0, 0]))
        >>> print((drawn.prod() * 5**5).round())
        16.0
    """
    shape = jnp.shape(probabilities)
    if len(shape) < 2 or shape[-1] == 1:
        p, t, dtype = binary_pair("likelihood", probabilities, labels)
        return mean_each(t * p + (1 - t) * (1 - p), dtype)
    p, labels, dtype = class_pair("likelihood", probabilities, labels)
    return mean_each(_expected(labels, p), dtype)


@expects(outputs="log probabilities", targets="classes")
def negative_log_likelihood(
    log_probabilities: ArrayLike,
    labels: ArrayLike,
    *,
    ignore_label: int | None = None,
    class_weight: Weights | None = None,
) -> jax.Array:
    """Cross-entropy from log-probabilities: −Σ_c t_c log p_c, in nats.

    Args:
        log_probabilities: log p, floats [N, C] or [N, ..., C], as from `log_softmax`.
        labels: integers [N, ...], or one-hot or soft rows of the same shape as log p.
        ignore_label, class_weight: as for `softmax_cross_entropy`.
    Returns: [N].
    Raises: TypeError for float labels [N, ...]; ValueError if the shapes do not match
        or an option is out of range.
    Example:
        >>> log_p = jnp.log(jnp.array([[0.25, 0.75]]))
        >>> print(negative_log_likelihood(log_p, jnp.array([0])).round(4))
        [1.3863]
    """
    name = "negative_log_likelihood"
    log_p, labels, dtype = class_pair(name, log_probabilities, labels)
    weights = which_count(name, log_p, labels, ignore_label, class_weight)
    log_p, labels = _without_ignored(log_p, labels, weights)
    return mean_each(-_expected(labels, log_p), dtype, weights)


@expects(outputs="log probabilities", targets="classes")
def kl_divergence(log_predictions: ArrayLike, targets: ArrayLike) -> jax.Array:
    """Kullback-Leibler divergence: Σ_c t_c (log t_c − log q_c), in nats; 0 log 0 = 0.

    Args:
        log_predictions: log q, floats [N, C] or [N, ..., C], as from `log_softmax`.
        targets: t, distributions of the same shape, or integer labels [N, ...].
    Returns: [N].
    Raises: TypeError for float labels [N, ...]; ValueError if the shapes do not match.
    Example:
        >>> q, t = jnp.array([[0.5, 0.5]]), jnp.array([[0.25, 0.75]])
        >>> print(kl_divergence(jnp.log(q), t).round(4))
        [0.1308]

    Reference: Kullback & Leibler, On Information and Sufficiency, 1951.
    """
    log_q, t, dtype = class_pair("kl_divergence", log_predictions, targets)
    if t.ndim == log_q.ndim:
        t = t.astype(log_q.dtype)
        log_q = log_q - jnp.log(jnp.where(t == 0, 1, t))
    return mean_each(-_expected(t, log_q), dtype)


@expects(outputs="binary logits", targets="binary")
def sigmoid_cross_entropy(
    logits: ArrayLike,
    targets: ArrayLike,
    *,
    pos_weight: float | Weights = 1.0,
    ignore_label: int | None = None,
) -> jax.Array:
    """Binary or multi-label cross-entropy from logits, in nats, averaged.

    −[w t log σ(z) + (1 − t) log(1 − σ(z))], where 1 − σ(z) = σ(−z).

    Args:
        logits: z, floats [N] or [N, ...].
        targets: t in [0, 1], of the same shape.
        pos_weight: w, how much a positive target counts, 0 or more; or one number for
            each label [L] of logits [N, ..., L]. A ratio of negative to positive
            examples balances them.
        ignore_label: a target to ignore, such as −1 for an unknown one: the mean is
            over the other targets, and 0 if there are none. Each example is then
            weighted by its number of other targets (see `example_weights`).
    Returns: [N].
    Raises: ValueError if the shapes differ or an option is out of range.
    Example:
        >>> z, t = jnp.array([0.0, 1e4, -1e4]), jnp.array([1, 1, 1])
        >>> print(sigmoid_cross_entropy(z, t).round(4))
        [6.931e-01 0.000e+00 1.000e+04]
    """
    name = "sigmoid_cross_entropy"
    z, t, dtype = binary_pair(name, logits, targets)
    counted = label_weights(jnp.asarray(targets), ignore_label)
    if counted is not None:
        z, t = jnp.where(counted, z, 0), jnp.where(counted, t, 0)
    weight = _positive_weight(name, pos_weight, z)
    return mean_each(sigmoid_surprise(z, t, weight), dtype, counted)


@expects(outputs="binary logits", targets="binary")
def sigmoid_focal(
    logits: ArrayLike,
    targets: ArrayLike,
    *,
    gamma: float = 2.0,
    alpha: float | None = None,
) -> jax.Array:
    """Focal loss: binary cross-entropy that counts what is already right for little.

    Mean of −(1 − p_t)^γ log p_t, with p_t = σ(z) for a positive target and 1 − σ(z) for
    a negative one. With γ = 0 it is `sigmoid_cross_entropy`.

    Args:
        logits: z, floats [N] or [N, ...].
        targets: t in [0, 1], of the same shape.
        gamma: γ, 0 or more.
        alpha: how much a positive target counts, from 0 to 1; a negative one counts
            1 − alpha. None: both count 1.
    Returns: [N].
    Raises: ValueError if the shapes differ or an option is out of range.
    Example:
        >>> z, t = jnp.array([0.0, 3.0]), jnp.array([1, 1])
        >>> print(sigmoid_focal(z, t) < sigmoid_cross_entropy(z, t))
        [ True  True]

    Reference: Lin et al., Focal Loss for Dense Object Detection, 2017.
    """
    name = "sigmoid_focal"
    if not isinstance(gamma, numbers.Real) or not gamma >= 0:
        raise ValueError(f"{name}: gamma must be 0 or more, got {gamma!r:.60}")
    if alpha is not None and not (isinstance(alpha, numbers.Real) and 0 <= alpha <= 1):
        raise ValueError(f"{name}: alpha must be from 0 to 1, got {alpha!r:.60}")
    z, t, dtype = binary_pair(name, logits, targets)
    losses = optax.losses.sigmoid_focal_loss(z, t, alpha=alpha, gamma=gamma)
    return mean_each(losses, dtype)


@expects(outputs="binary probabilities", targets="binary")
def binary_cross_entropy(probabilities: ArrayLike, targets: ArrayLike) -> jax.Array:
    """Binary or multi-label cross-entropy from probabilities, in nats, averaged.

    −[t log p + (1 − t) log(1 − p)]. If you have logits, `sigmoid_cross_entropy` is more
    accurate. Where p or 1 − p is 0, it is treated as about 1e-38.

    Args: probabilities p and targets t, both in [0, 1] and of one shape, [N] or
        [N, ...].
    Returns: [N]. Raises: ValueError if the shapes differ.
    Example:
        >>> p, t = jnp.array([0.5, 0.9]), jnp.array([1, 0])
        >>> print(binary_cross_entropy(p, t).round(4))
        [0.6931 2.3026]
    """
    p, t, dtype = binary_pair("binary_cross_entropy", probabilities, targets)
    return mean_each(-t * _clipped_log(p) - (1 - t) * _clipped_log(1 - p), dtype)


@expects(outputs="binary logits", targets="signs")
def hinge(outputs: ArrayLike, targets: ArrayLike) -> jax.Array:
    """Hinge loss, averaged: max(0, 1 − s y), s = 1 for a positive target, else −1.

    Args: outputs y, floats [N] or [N, ...], above 0 for the positive class; targets of
        the same shape, either 0 and 1 or −1 and 1.
    Returns: [N]. Raises: ValueError if the shapes differ.
    Example:
        >>> print(hinge(jnp.array([2.0, 0.5, 0.5]), jnp.array([1, 1, 0])))
        [0.  0.5 1.5]

    Reference: Cortes & Vapnik, Support-Vector Networks, 1995.
    """
    y, t, dtype = number_pair("hinge", outputs, targets)
    sign = jnp.where(t > 0, 1, -1).astype(y.dtype)
    return mean_each(optax.losses.hinge_loss(y, sign), dtype)


@expects(outputs="logits", targets="classes")
def multi_margin(
    scores: ArrayLike, labels: ArrayLike, *, margin: float = 1.0, power: int = 1
) -> jax.Array:
    """Hinge loss of several classes: 1/C Σ_{c ≠ t} max(0, m − y_t + y_c)^p.

    Args:
        scores: y, floats [N, C] or [N, ..., C].
        labels: t, integers [N, ...], or one-hot rows of the scores' shape.
        margin: m, by how much the score of the label is to exceed the others, above 0.
        power: p, 1 or 2.
    Returns: [N].
    Raises: TypeError for float labels [N, ...]; ValueError if the shapes do not match
        or an option is out of range.
    Example:
        >>> scores = jnp.array([[3.0, 2.5, 0.0, 0.0]])
        >>> print(multi_margin(scores, jnp.array([0])))
        [0.125]

    Reference: Weston & Watkins, Support Vector Machines for Multi-Class Pattern
    Recognition, 1999.
    """
    name = "multi_margin"
    checks.positive(name, "margin", margin)
    if power not in (1, 2):
        raise ValueError(f"{name}: power must be 1 or 2, got {power!r:.60}")
    y, labels, dtype = class_pair(name, scores, labels)
    own = _expected(labels, y)[..., None]
    if labels.ndim < y.ndim:
        labels = jax.nn.one_hot(labels, y.shape[-1])
    short = jnp.where(labels.astype(bool), 0, jax.nn.relu(margin - own + y))
    return mean_each((short**power).mean(-1), dtype)


def _positive_weight(name: str, weight: Any, z: jax.Array) -> jax.Array | None:
    """The weight of positive targets, one number or of the shape of `z`; None for 1."""
    if not isinstance(weight, list | tuple) and getattr(weight, "ndim", 0) == 0:
        known = weight.item() if checks.is_known(weight) else weight
        checks.not_negative(name, "pos_weight", known)
        is_1 = isinstance(known, numbers.Real) and known == 1
        return None if is_1 else jnp.asarray(weight, z.dtype)
    labels = z.shape[-1] if z.ndim > 1 else 1
    check_weights(name, "pos_weight", weight, labels, "labels")
    return jnp.broadcast_to(jnp.asarray(weight, z.dtype), z.shape)


def _without_ignored(
    values: jax.Array, labels: jax.Array, weights: jax.Array | None
) -> tuple[jax.Array, jax.Array]:
    """Values [N, ..., C] and labels with zeros where a label does not count."""
    if weights is None:
        return values, labels
    counts = counting(weights)
    return jnp.where(counts[..., None], values, 0), jnp.where(counts, labels, 0)


def _expected(labels: jax.Array, values: jax.Array) -> jax.Array:
    """Σ_c t_c v_c for rows; for integers, v at the label, or NaN if out of range."""
    if labels.ndim == values.ndim:
        return _weighted(labels.astype(values.dtype), values).sum(-1)
    classes = values.shape[-1]
    valid = (labels >= 0) & (labels < classes)
    index = jnp.where(valid, labels, 0)[..., None]
    if classes <= FEW_CLASSES:
        column = jax.lax.broadcasted_iota(index.dtype, values.shape, values.ndim - 1)
        picked = jnp.where(column == index, values, 0).sum(-1)
    else:
        picked = jnp.take_along_axis(values, index, -1)[..., 0]
    # Multiply, so that the gradient is NaN too and a bad step does not go unnoticed.
    return picked * jnp.where(valid, 1.0, jnp.nan)


def _softmax_surprise(z: jax.Array, labels: jax.Array) -> jax.Array:
    if labels.ndim == z.ndim:
        return -_expected(labels, jax.nn.log_softmax(z))
    # Picking before normalizing avoids a table of log-probabilities: 256 x 32,000 with
    # the gradient took 2.7 ms instead of 20.9 on a CPU. Subtracting the peak on both
    # sides keeps the difference exact for large logits.
    peak = jax.lax.stop_gradient(z.max(-1))
    normalizer = jnp.log(jnp.exp(z - peak[..., None]).sum(-1))
    return normalizer - (_expected(labels, z) - peak)


def _weighted(weights: jax.Array, logs: jax.Array) -> jax.Array:
    """weights · logs, with 0 · −inf = 0 in both value and gradient."""
    return weights * jnp.where((weights == 0) & jnp.isneginf(logs), 0, logs)


def _clipped_log(p: jax.Array) -> jax.Array:
    return jnp.log(jnp.maximum(p, jnp.finfo(p.dtype).tiny))
