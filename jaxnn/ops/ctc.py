# SPDX-License-Identifier: Apache-2.0
"""The probability of labels, over all their alignments with steps; `losses.ctc`."""

import jax
import jax.numpy as jnp
import optax


def negative_log_probability(
    logits: jax.Array,
    labels: jax.Array,
    label_lengths: jax.Array,
    lengths: jax.Array,
    blank: int,
) -> jax.Array:
    """−log of the sum, over all alignments of the labels, of their probability.

    Args:
        logits: [N, T, C], in float32 at least.
        labels: integers [N, S].
        label_lengths, lengths: integers [N], the numbers of real labels and steps.
        blank: the class that stands for no label.
    Returns: [N]; inf where there is no alignment, NaN for invalid labels and lengths.
    """
    _, steps, classes = logits.shape
    size = labels.shape[1]
    real = jnp.arange(size)[None] < label_lengths[:, None]
    step = jnp.arange(steps)[None] < lengths[:, None]
    outside = (labels < 0) | (labels >= classes) | (labels == blank)
    bad = (real & outside).any(1) | (label_lengths < 0) | (label_lengths > size)
    bad |= (lengths < 0) | (lengths > steps)
    # Nothing past an end, not even NaN, may reach the sum or its gradient.
    logits = jnp.where(step[..., None], logits, 0)
    labels = jnp.where(real & ~outside, labels, 0)
    # Optax's arithmetic needs JAX's usual promotion, even if the user made it strict.
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        values = optax.losses.ctc_loss(
            logits,
            (~step).astype(logits.dtype),
            labels,
            (~real).astype(logits.dtype),
            blank_id=blank,
        )
    twins = real[:, 1:] & (labels[:, 1:] == labels[:, :-1])
    values = jnp.where(label_lengths + twins.sum(1) > lengths, jnp.inf, values)
    return values * jnp.where(bad, jnp.nan, 1.0)
