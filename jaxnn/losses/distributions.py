# SPDX-License-Identifier: Apache-2.0
"""Losses of predicted distributions: `loss(outputs, targets) -> [N]`.

Likelihoods are in nats, quantiles in the targets' unit.
"""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxnn import checks
from jaxnn.losses.contracts import expects
from jaxnn.losses.pairs import floats, mean_each, number_pair, one_array, several
from jaxnn.messages.phrases import describe


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


@expects(outputs="distribution", targets="numbers")
def pinball(
    outputs: ArrayLike,
    targets: ArrayLike,
    *,
    levels: Sequence[float] = (0.1, 0.5, 0.9),
) -> jax.Array:
    """Loss of predicted quantiles: mean of max(q e, (q − 1) e), with e = t − y.

    Its mean is lowest where a share q of the targets lies below the output of level q;
    at q = 0.5 it is half the absolute error. Its gradient at zero error is 0.

    Args:
        outputs: y, the quantiles, floats [N, ..., Q]; they need not be in order.
        targets: t, [N, ...], the outputs' shape without the last axis.
        levels: Q of them, each between 0 and 1: by default the median and the two ends
            of an interval that holds 80 % of the targets.
    Returns: [N], in the targets' unit.
    Raises: ValueError if the shapes do not fit, or a level is not between 0 and 1.
    Example:
        >>> outputs, targets = jnp.array([[1.0, 2.0, 4.0]]), jnp.array([7.0])
        >>> print(pinball(outputs, targets, levels=(0.25, 0.5, 0.75)).round(2))
        [2.08]

    Reference: Koenker & Bassett, Regression Quantiles, 1978.
    """
    if not len(levels) or not all(0 < level < 1 for level in levels):
        raise ValueError(
            "pinball: levels must be numbers between 0 and 1, as in (0.1, 0.5, 0.9), "
            f"got {levels!r:.60}"
        )
    y, t = floats("pinball", outputs), one_array("pinball", "targets", targets)
    if y.ndim < 2 or y.shape != (*t.shape, len(levels)):
        raise ValueError(
            f"pinball: outputs must be [N, ..., Q] and targets [N, ...], for the "
            f"Q = {len(levels)} levels, got outputs {describe(y)} and targets "
            f"{describe(t)}"
        )
    t = jnp.broadcast_to(t[..., None], y.shape)
    y, t, dtype = number_pair("pinball", y, t)
    q, e = jnp.asarray(levels, y.dtype), t - y
    q = jnp.broadcast_to(q, e.shape)
    slope = jnp.where(e > 0, q, jnp.where(e < 0, q - 1, 0))
    return mean_each(slope * e, dtype)
