# SPDX-License-Identifier: Apache-2.0
"""Losses of two views of each example against those of all others: `[N]`."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxnn import checks
from jaxnn.losses.pairs import examples
from jaxnn.messages.phrases import describe
from jaxnn.ops.norm import unit


def info_nce(
    a: ArrayLike, b: ArrayLike, temperature: float | jax.Array = 0.07
) -> jax.Array:
    """Find b_i among all b by a_i, and a_i among all a by b_i, in nats.

    ½ [−log softmax_j(cos(a_i, b_j) / τ)_i − log softmax_j(cos(a_j, b_i) / τ)_i], for
    two views of different kinds, such as images and their captions.

    Args:
        a: embeddings, floats [N, D].
        b: of the same shape.
        temperature: τ, above 0; it may be learned.
    Returns: [N]; log N if all are alike.
    Raises: ValueError if the shapes do not fit or the temperature is out of range.
    Example:
        >>> a, b = jnp.eye(2), 3 * jnp.eye(2)
        >>> for b in (b, b[::-1]):
        ...     print((100 * info_nce(a, b, 1.0)).round())
        [31. 31.]
        [131. 131.]

    Reference: van den Oord, Li & Vinyals, Representation Learning with Contrastive
    Predictive Coding, 2018; Radford et al., Learning Transferable Visual Models From
    Natural Language Supervision, 2021 (both ways).
    """
    a, b, scale, dtype = _views("info_nce", a, b, temperature)
    z = scale * (a @ b.T)
    return ((_surprise(z, 0) + _surprise(z.T, 0)) / 2).astype(dtype)


def nt_xent(
    a: ArrayLike, b: ArrayLike, temperature: float | jax.Array = 0.5
) -> jax.Array:
    """Find the other view of an example among all views but one's own, in nats.

    `info_nce` with the views of one's own side as well, 2N − 1 in all, for two views of
    one kind, such as two augmentations of an image.

    Args:
        a: embeddings, floats [N, D].
        b: of the same shape.
        temperature: τ, above 0; it may be learned.
    Returns: [N], the mean over the two views; log(2N − 1) if all are alike.
    Raises: ValueError if the shapes do not fit or the temperature is out of range.
    Example:
        >>> a, b = jnp.eye(2), 3 * jnp.eye(2)
        >>> for b in (b, b[::-1]):
        ...     print((100 * nt_xent(a, b, 1.0)).round())
        [55. 55.]
        [155. 155.]

    Reference: Chen et al., A Simple Framework for Contrastive Learning of Visual
    Representations, 2020.
    """
    a, b, scale, dtype = _views("nt_xent", a, b, temperature)
    views, n = jnp.concatenate([a, b]), len(a)
    own = jnp.eye(2 * n, dtype=bool)
    z = jnp.where(own, -jnp.inf, scale * (views @ views.T))
    both = _surprise(z, n).reshape(2, n)
    return both.mean(0).astype(dtype)


def _surprise(z: jax.Array, ahead: int) -> jax.Array:
    """−log softmax(z) of each row's match, which stands so many places ahead."""
    rows = jnp.arange(len(z))
    match = z[rows, (rows + ahead) % max(len(z), 1)]
    return jax.nn.logsumexp(z, 1) - match


def _views(
    owner: str, a: Any, b: Any, temperature: Any
) -> tuple[jax.Array, jax.Array, jax.Array, jnp.dtype]:
    """Unit vectors [N, D], 1 / temperature, and the dtype to return."""
    number = checks.is_known(temperature) and temperature.ndim == 0
    checks.positive(owner, "temperature", temperature.item() if number else temperature)
    (a, dtype), (b, _) = examples(owner, "a", a), examples(owner, "b", b)
    if a.ndim != 2 or a.shape != b.shape:
        raise ValueError(
            f"{owner}: a and b must be embeddings of one shape, [N, D], got "
            f"{describe(a)} and {describe(b)}"
        )
    scale = 1 / jnp.asarray(temperature, a.dtype)
    return unit(a), unit(b.astype(a.dtype)), scale, dtype
