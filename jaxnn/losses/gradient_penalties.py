# SPDX-License-Identifier: Apache-2.0
"""Penalties on the slope of a critic, by its gradient for each example: `[N]`."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from jaxnn.keys import check_key
from jaxnn.losses.pairs import at_least_float32, examples
from jaxnn.messages.phrases import describe

Critic = Callable[[jax.Array], jax.Array]


def gradient_penalty(
    critic: Critic, real: ArrayLike, fake: ArrayLike, key: jax.Array
) -> jax.Array:
    """How far a critic's slope is from 1 between real and fake: (‖∇D(x)‖ − 1)².

    x = u r + (1 − u) f, with u drawn from [0, 1) for each example. It is added to
    `critic_wasserstein` ten times in the paper.

    Args:
        critic: D, a function from `[N, ...]` to scores `[N]` or `[N, ...]` in which
            examples do not depend on one another, as they do behind `nn.BatchNorm`.
        real: r, floats [N, ...].
        fake: f, of the same shape.
        key: a random key, such as one of `run.key`.
    Returns: [N].
    Raises: TypeError if there is no key; ValueError if the shapes do not fit.
    Example:
        >>> x = jnp.ones((2, 2))
        >>> critic = lambda x: 3 * x[:, 0] + 4 * x[:, 1]
        >>> print(gradient_penalty(critic, x, x, jax.random.key(0)))
        [16. 16.]

        In an objective:

        >>> import jaxnn as nn
        >>> def objective(run, x):
        ...     critic = lambda x: run("critic", x)
        ...     z_key, u_key = jax.random.split(run.key)
        ...     fake = run("generator", jax.random.normal(z_key, (len(x), 8)))
        ...     penalty = nn.losses.gradient_penalty(critic, x, fake, u_key)
        ...     loss = nn.losses.critic_wasserstein(critic(x), critic(fake))
        ...     return loss + 10 * penalty

    Reference: Gulrajani et al., Improved Training of Wasserstein GANs, 2017.
    """
    name = "gradient_penalty"
    check_key(key, name)
    r, f = _inputs(name, "real", real), _inputs(name, "fake", fake)
    if r.shape != f.shape:
        raise ValueError(
            f"{name}: real and fake must have one shape, got {describe(r)} and "
            f"{describe(f)}"
        )
    u = jax.random.uniform(key, (len(r), *(1,) * (r.ndim - 1)), r.dtype)
    slopes, dtype = _slopes(name, critic, u * r + (1 - u) * f.astype(r.dtype))
    # (The norm of a gradient of 0 has none itself, where that of a root is infinite.)
    norms = optax.safe_norm(slopes, 0.0, axis=1)
    return jnp.square(norms - 1).astype(dtype)


def r1_penalty(critic: Critic, real: ArrayLike) -> jax.Array:
    """The square of a critic's slope at what is real: ‖∇D(x)‖².

    It is added to `critic_classic` γ/2 times, with a γ of 10 in the paper.

    Args:
        critic: D, a function from `[N, ...]` to scores `[N]` or `[N, ...]` in which
            examples do not depend on one another, as they do behind `nn.BatchNorm`.
        real: x, floats [N, ...].
    Returns: [N].
    Raises: ValueError if the shapes do not fit.
    Example:
        >>> print(r1_penalty(lambda x: 3 * x[:, 0] + 4 * x[:, 1], jnp.ones((2, 2))))
        [25. 25.]

    Reference: Mescheder, Geiger & Nowozin, Which Training Methods for GANs Do Actually
    Converge?, 2018.
    """
    slopes, dtype = _slopes("r1_penalty", critic, _inputs("r1_penalty", "real", real))
    return jnp.square(slopes).sum(1).astype(dtype)


def _inputs(owner: str, name: str, x: ArrayLike) -> jax.Array:
    """Floats [N, ...] in their own dtype, which the critic computes in."""
    x, dtype = examples(owner, name, x)
    return x.astype(dtype)


def _slopes(owner: str, critic: Critic, x: jax.Array) -> tuple[jax.Array, jnp.dtype]:
    """The gradient of each example's score, [N, D], and the dtype to return."""

    def total(x):
        scores = critic(x)
        if getattr(scores, "shape", ())[:1] != x.shape[:1]:
            raise ValueError(
                f"{owner}: critic must give scores for each example, [{len(x)}], got "
                f"{describe(scores):.100}"
            )
        return scores.sum()

    slopes = jax.grad(total)(x)
    wide = slopes.reshape(len(x), -1).astype(at_least_float32(x.dtype))
    return wide, x.dtype
