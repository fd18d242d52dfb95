# SPDX-License-Identifier: Apache-2.0
"""What a critic and a generator descend, by the critic's scores: `[N]`.

A score is higher for what seems real. Several scores of an example, as of the patches
of an image, are averaged. For each kind of game there are two losses:

    ===========  ==================================  ============
    game         critic                              generator
    ===========  ==================================  ============
    classic      softplus(−r) + softplus(f)          softplus(−f)
    hinge        max(0, 1 − r) + max(0, 1 + f)       −f
    wasserstein  f − r                               −f
    ===========  ==================================  ============
"""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxnn.losses.pairs import examples, mean_each
from jaxnn.messages.phrases import describe


def critic_classic(real: ArrayLike, fake: ArrayLike) -> jax.Array:
    """Cross-entropy of a critic that tells real from fake: −log σ(r) − log σ(−f).

    Args: real scores r and fake ones f, logits of one shape, [N] or [N, ...].
    Returns: [N], in nats. Raises: ValueError if the shapes differ.
    Example:
        >>> real, fake = jnp.array([0.0, 9.0]), jnp.array([0.0, -9.0])
        >>> print(critic_classic(real, fake).round(3))
        [1.386 0.   ]

    Reference: Goodfellow et al., Generative Adversarial Networks, 2014.
    """
    r, f, dtype = _pair("critic_classic", real, fake)
    return mean_each(jax.nn.softplus(-r) + jax.nn.softplus(f), dtype)


def generator_classic(fake: ArrayLike) -> jax.Array:
    """Cross-entropy of fakes that are to be held for real: −log σ(f).

    Unlike log σ(−f), the negative of what the critic descends, it has a gradient where
    the critic is sure of itself.

    Args: scores f, logits, [N] or [N, ...].
    Returns: [N], in nats.
    Example:
        >>> print(generator_classic(jnp.array([0.0, 9.0])).round(3))
        [0.693 0.   ]

    Reference: Goodfellow et al., Generative Adversarial Networks, 2014.
    """
    f, dtype = examples("generator_classic", "fake", fake)
    return mean_each(jax.nn.softplus(-f), dtype)


def critic_hinge(real: ArrayLike, fake: ArrayLike) -> jax.Array:
    """Hinge loss of a critic: max(0, 1 − r) + max(0, 1 + f).

    Args: real scores r and fake ones f, of one shape, [N] or [N, ...].
    Returns: [N]. Raises: ValueError if the shapes differ.
    Example:
        >>> print(critic_hinge(jnp.array([0.5, 2.0]), jnp.array([0.0, -2.0])))
        [1.5 0. ]

    Reference: Lim & Ye, Geometric GAN, 2017.
    """
    r, f, dtype = _pair("critic_hinge", real, fake)
    return mean_each(jax.nn.relu(1 - r) + jax.nn.relu(1 + f), dtype)


def generator_hinge(fake: ArrayLike) -> jax.Array:
    """What a generator descends beside `critic_hinge`: −f.

    Args: scores f, [N] or [N, ...].
    Returns: [N].
    Example:
        >>> print(generator_hinge(jnp.array([0.5, -2.0])))
        [-0.5  2. ]

    Reference: Lim & Ye, Geometric GAN, 2017.
    """
    f, dtype = examples("generator_hinge", "fake", fake)
    return mean_each(-f, dtype)


def critic_wasserstein(real: ArrayLike, fake: ArrayLike) -> jax.Array:
    """The negative of how far apart a critic holds real and fake: f − r.

    Its mean estimates the Wasserstein distance, negated, for a critic of slope at most
    1, which `gradient_penalty` and `nn.SpectralNorm` make of one.

    Args: real scores r and fake ones f, of one shape, [N] or [N, ...].
    Returns: [N]. Raises: ValueError if the shapes differ.
    Example:
        >>> print(critic_wasserstein(jnp.array([3.0, 1.0]), jnp.array([1.0, 1.0])))
        [-2.  0.]

    Reference: Arjovsky, Chintala & Bottou, Wasserstein GAN, 2017.
    """
    r, f, dtype = _pair("critic_wasserstein", real, fake)
    return mean_each(f - r, dtype)


def generator_wasserstein(fake: ArrayLike) -> jax.Array:
    """What a generator descends beside `critic_wasserstein`: −f.

    Args: scores f, [N] or [N, ...].
    Returns: [N].
    Example:
        >>> print(generator_wasserstein(jnp.array([0.5, -2.0])))
        [-0.5  2. ]

    Reference: Arjovsky, Chintala & Bottou, Wasserstein GAN, 2017.
    """
    f, dtype = examples("generator_wasserstein", "fake", fake)
    return mean_each(-f, dtype)


def _pair(
    owner: str, real: ArrayLike, fake: ArrayLike
) -> tuple[jax.Array, jax.Array, jnp.dtype]:
    """Scores of one shape, and the dtype to return."""
    r, dtype = examples(owner, "real", real)
    f, _ = examples(owner, "fake", fake)
    if r.shape != f.shape:
        raise ValueError(
            f"{owner}: real and fake must be scores of one shape, got {describe(r)} "
            f"and {describe(f)}"
        )
    return r, f.astype(r.dtype), dtype
