# SPDX-License-Identifier: Apache-2.0
"""Terms of the evidence lower bound of a variational auto-encoder, in nats: `[N]`.

Each is summed over the later axes, so that a likelihood and a divergence add up:

    −ELBO = −log p(x | z) + KL(q(z | x) ‖ p(z))
"""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxnn import checks
from jaxnn.losses.contracts import expects
from jaxnn.losses.pairs import examples, number_pair, one_array, sum_each
from jaxnn.messages.phrases import describe, place_of
from jaxnn.ops.sigmoid import sigmoid_surprise


@expects(outputs="binary logits", targets="binary")
def bernoulli_negative_log_likelihood(logits: ArrayLike, x: ArrayLike) -> jax.Array:
    """Negative log-likelihood of bits, or of pixels in [0, 1], summed.

    −Σ [x log σ(z) + (1 − x) log σ(−z)], the sum of which `sigmoid_cross_entropy` is the
    mean.

    Args:
        logits: z, floats [N] or [N, ...].
        x: of the same shape, in [0, 1].
    Returns: [N], in nats.
    Raises: ValueError if the shapes differ or a value of x is out of range. Inside
        `jax.jit`, where the values are not known, such a value gives NaN.
    Example:
        >>> z, x = jnp.zeros((2, 3)), jnp.array([[0.0, 1.0, 1.0], [0.5, 0.5, 0.5]])
        >>> print(bernoulli_negative_log_likelihood(z, x).round(4))
        [2.0794 2.0794]

    Reference: Kingma & Welling, Auto-Encoding Variational Bayes, 2014.
    """
    name = "bernoulli_negative_log_likelihood"
    z, t, dtype = number_pair(name, logits, x)
    checks.values(functools.partial(_check_unit, name), _array(x))
    t = jnp.where((t >= 0) & (t <= 1), t, jnp.nan)
    return sum_each(sigmoid_surprise(z, t, None)).astype(dtype)


@expects(outputs="any", targets="numbers")
def normal_negative_log_likelihood(
    mean: ArrayLike, x: ArrayLike, log_variance: ArrayLike = 0.0
) -> jax.Array:
    """Negative log-likelihood of normal distributions, summed.

    ½ Σ [log 2π + v + (x − m)² / eᵛ], with mean m and log-variance v. Unlike
    `gaussian_negative_log_likelihood` it is summed, takes the logarithm of the
    variance, which may be any number, and includes the constant.

    Args:
        mean: m, floats [N] or [N, ...].
        x: of the same shape.
        log_variance: v, one number, or an array of the same shape.
    Returns: [N], in nats.
    Raises: ValueError if the shapes differ.
    Example:
        >>> mean, x = jnp.zeros((2, 2)), jnp.array([[0.0, 0.0], [1.0, 1.0]])
        >>> print(normal_negative_log_likelihood(mean, x).round(3))
        [1.838 2.838]

    Reference: Kingma & Welling, Auto-Encoding Variational Bayes, 2014.
    """
    name = "normal_negative_log_likelihood"
    m, t, dtype = number_pair(name, mean, x)
    v = _like(name, "log_variance", log_variance, m)
    # Halving before exp, and squaring after, squares no number that is out of range.
    each = math.log(2 * math.pi) + v + jnp.square((t - m) * jnp.exp(-v / 2))
    return sum_each(each / 2).astype(dtype)


def normal_kl(
    mean: ArrayLike,
    log_variance: ArrayLike,
    prior_mean: ArrayLike = 0.0,
    prior_log_variance: ArrayLike = 0.0,
) -> jax.Array:
    """Divergence of normal distributions from the standard one, or another, summed.

    KL(q ‖ p) = ½ Σ [e^(v − w) − 1 − (v − w) + (m − n)² / e^w], with mean m and
    log-variance v of q, n and w of p.

    Args:
        mean: m, floats [N] or [N, ...].
        log_variance: v, one number, or an array of the same shape.
        prior_mean: n, one number, or an array of the same shape.
        prior_log_variance: w, one number, or an array of the same shape.
    Returns: [N], in nats; 0 where both are the same.
    Raises: ValueError if the shapes differ.
    Example:
        >>> mean = jnp.array([[0.0, 0.0], [1.0, 2.0]])
        >>> print(normal_kl(mean, jnp.zeros((2, 2))))
        [0.  2.5]

        The objective of a variational auto-encoder:

        >>> import jaxnn as nn
        >>> def objective(run, x):
        ...     mean, log_variance = run("encoder", x)
        ...     logits = run("decoder", run("sample", (mean, log_variance)))
        ...     kl = nn.losses.normal_kl(mean, log_variance)
        ...     return nn.losses.bernoulli_negative_log_likelihood(logits, x) + kl

    Reference: Kingma & Welling, Auto-Encoding Variational Bayes, 2014.
    """
    name = "normal_kl"
    m, dtype = examples(name, "mean", mean)
    v = _like(name, "log_variance", log_variance, m)
    n = _like(name, "prior_mean", prior_mean, m)
    w = _like(name, "prior_log_variance", prior_log_variance, m)
    # (expm1 keeps the digits of a divergence near 0, where eᵈ − 1 − d has none left.)
    each = jnp.expm1(v - w) - (v - w) + jnp.square((m - n) * jnp.exp(-w / 2))
    return sum_each(each / 2).astype(dtype)


def _like(owner: str, name: str, given: Any, like: jax.Array) -> jax.Array:
    """One number, or an array of the shape of `like`, in its shape and dtype."""
    a = one_array(owner, name, given)
    if a.shape not in ((), like.shape):
        raise ValueError(
            f"{owner}: {name} must be one number, or an array of the shape of the "
            f"mean, {describe(like)}, got {describe(a)}"
        )
    return jnp.broadcast_to(a.astype(like.dtype), like.shape)


def _array(x: ArrayLike) -> Any:
    """An array as it is, by which `fit` knows it for its own; a list as an array."""
    return x if hasattr(x, "shape") else np.asarray(x)


def _check_unit(name: str, x: Any) -> None:
    """Raise unless all values are from 0 to 1."""
    x = np.asarray(x)
    wrong = ~((x >= 0) & (x <= 1))
    if wrong.any():
        raise ValueError(
            f"{name}: x must be from 0 to 1, but {place_of(wrong)} is {x[wrong][0]}; "
            "divide pixels by 255, or use normal_negative_log_likelihood"
        )
