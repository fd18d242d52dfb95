# SPDX-License-Identifier: Apache-2.0
"""Losses of predicted distributions: `loss(outputs, targets) -> [N]`, in nats."""

import math

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxnn import checks
from jaxnn.losses.contracts import expects
from jaxnn.losses.pairs import mean_each, number_pair, several


@expects(outputs="distribution", targets="numbers")
def gaussian_negative_log_likelihood(
    outputs: tuple[ArrayLike, ArrayLike],
    targets: ArrayLike,
    *,
    full: bool = False,
    eps: float = 1e-6,
) -> jax.Array:
    """Negative log-likelihood of normal distributions, averaged.

    ½ (log v + (t − m)² / v), with mean m and variance v. A network thus predicts how
    far off it may be.

    Args:
        outputs: `(m, v)`, floats of the targets' shape; v is 0 or more, as from
            `jax.nn.softplus`. A negative one gives NaN.
        targets: t, [N] or [N, ...].
        full: whether to add the constant ½ log 2π.
        eps: the smallest variance that counts, above 0; the gradient of a smaller v is
            the one at `eps`, as in PyTorch.
    Returns: [N].
    Raises: TypeError if the outputs are not a pair; ValueError if the shapes differ or
        an option is out of range.
    Example:
        >>> mean, variance = jnp.array([1.0, 1.0]), jnp.array([1.0, 4.0])
        >>> outputs, targets = (mean, variance), jnp.array([3.0, 3.0])
        >>> print(gaussian_negative_log_likelihood(outputs, targets).round(4))
        [2.     1.1931]

    Reference: Nix & Weigend, Estimating the Mean and Variance of the Target Probability
    Distribution, 1994.
    """
    name = "gaussian_negative_log_likelihood"
    checks.positive(name, "eps", eps)
    m, v = several(name, outputs, ("mean", "variance"))
    v, _, _ = number_pair(name, v, targets)
    m, t, dtype = number_pair(name, m, targets)
    clipped = jnp.where(v < 0, jnp.nan, jnp.maximum(v, eps))
    v = v + jax.lax.stop_gradient(clipped - v)
    constant = math.log(2 * math.pi) if full else 0.0
    return mean_each((jnp.log(v) + jnp.square(t - m) / v + constant) / 2, dtype)


@expects(outputs="distribution", targets="numbers")
def poisson_negative_log_likelihood(
    outputs: ArrayLike,
    targets: ArrayLike,
    *,
    log_input: bool = True,
    full: bool = False,
) -> jax.Array:
    """Negative log-likelihood of Poisson distributions, averaged: e^y − t y.

    Args:
        outputs: y, the logarithms of the rates, floats [N] or [N, ...].
        targets: t, counts of the same shape.
        log_input: False if the outputs are the rates r themselves, 0 or more:
            r − t log r, where r = 0 is treated as about 1e-38.
        full: whether to add log t!, which no output changes.
    Returns: [N].
    Raises: ValueError if the shapes differ.
    Example:
        >>> y, t = jnp.log(jnp.array([2.0, 2.0])), jnp.array([2, 5])
        >>> print(poisson_negative_log_likelihood(y, t, full=True).round(4))
        [1.3069 3.3218]

    Reference: McCullagh & Nelder, Generalized Linear Models, 1983.
    """
    name = "poisson_negative_log_likelihood"
    checks.switches(name, log_input=log_input, full=full)
    y, t, dtype = number_pair(name, outputs, targets)
    rate = jnp.exp(y) if log_input else y
    log_rate = y if log_input else jnp.log(jnp.maximum(y, jnp.finfo(y.dtype).tiny))
    constant = jax.scipy.special.gammaln(t + 1) if full else 0.0
    return mean_each(rate - t * log_rate + constant, dtype)
