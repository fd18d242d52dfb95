# SPDX-License-Identifier: Apache-2.0
"""Sequence losses: `loss(outputs, targets) -> [N]`, one value per sequence."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxnn.losses.contracts import expects
from jaxnn.losses.pairs import at_least_float32, floats, signed
from jaxnn.messages.phrases import describe
from jaxnn.ops.ctc import negative_log_probability

Transcripts = ArrayLike | tuple[ArrayLike, ...]


@expects(outputs="logits", targets="classes")
def ctc(logits: ArrayLike, targets: Transcripts, *, blank: int = 0) -> jax.Array:
    """Connectionist temporal classification: −log Σ_a Π_t softmax(z_t)_{a_t}, in nats.

    The sum is over all alignments a: one class per step, which yields the labels once
    repeats are merged and blanks are dropped. The loss is that of a whole sequence, not
    of a label. Labels that need more steps than there are (one per label, and one more
    between two equal ones) have no alignment: their loss is inf, with gradient 0.

    Args:
        logits: z, floats [N, T, C].
        targets: labels [N, S], integers padded at the end with `blank`; or
            `(labels, label_lengths)`, or `(labels, label_lengths, lengths)`, where
            lengths [N] says how many of the T steps are real. Logits and labels past
            these lengths are ignored.
        blank: the class that means "no label".
    Returns: [N]; 0 for no labels and no steps. A label outside 0 to C − 1, a blank
        among the labels, or a length outside 0 to S or T gives NaN.
    Raises: TypeError or ValueError if dtypes or shapes do not match.
    Example:
        Over two steps, three of the four alignments yield the label 1: 1-, -1 and 11.

        >>> print(jnp.exp(-ctc(jnp.zeros((1, 2, 2)), jnp.array([[1]]))).round(4))
        [0.75]

    Reference: Graves et al., Connectionist Temporal Classification: Labelling
    Unsegmented Sequence Data with Recurrent Neural Networks, 2006.
    """
    z = floats("ctc", logits)
    labels, label_lengths, lengths = _ctc_targets(z, targets, blank)
    wide = z.astype(at_least_float32(z.dtype))
    return negative_log_probability(wide, labels, label_lengths, lengths, blank).astype(
        z.dtype
    )


def _ctc_targets(
    z: jax.Array, targets: Transcripts, blank: int
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Labels [N, S], and how many labels [N] and steps [N] are real."""
    parts = targets if isinstance(targets, tuple) else (targets,)
    labels, *given = map(jnp.asarray, parts)
    shapes = ", ".join(map(describe, (labels, *given)))
    fits = z.ndim == 3 and labels.ndim == 2 and 0 not in z.shape + labels.shape
    fits &= [x.ndim for x in given] in ([], [1], [1, 1])
    examples = z.shape[:1]
    if not fits or {examples} != {x.shape[:1] for x in (labels, *given)}:
        raise ValueError(
            "ctc: logits must be [N, T, C] and targets labels [N, S], alone or with "
            f"label_lengths [N] and lengths [N], got {describe(z)} and {shapes}"
        )
    if not all(jnp.issubdtype(x.dtype, jnp.integer) for x in (labels, *given)):
        raise TypeError(f"ctc: labels and lengths must be integers, got {shapes}")
    if not 0 <= blank < z.shape[2]:
        raise ValueError(
            f"ctc: blank must be a class from 0 to {z.shape[2] - 1}, got {blank}"
        )
    labels = signed(labels)
    ends = signed(given[0]) if given else (labels != blank).sum(1)
    steps = signed(given[1]) if len(given) > 1 else jnp.full(examples, z.shape[1])
    return labels, ends.astype(labels.dtype), steps.astype(labels.dtype)
