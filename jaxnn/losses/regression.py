# SPDX-License-Identifier: Apache-2.0
"""Regression losses: `loss(outputs, targets) -> [N]`, one value per example."""

import numbers

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from jaxnn.losses.contracts import expects
from jaxnn.losses.pairs import mean_each, number_pair, sum_each


@expects(outputs="any", targets="numbers")
def mean_squared_error(outputs: ArrayLike, targets: ArrayLike) -> jax.Array:
    """Mean of the squared errors: 1/D Σ (y − t)².

    Args: outputs y (floats) and targets t, both [N] or [N, ...].
    Returns: [N]. Raises: ValueError if the shapes differ.
    Example:
        >>> print(mean_squared_error(jnp.array([[0.4, 0.6]]), jnp.array([[0.0, 1.0]])))
        [0.16]
    """
    y, t, dtype = number_pair("mean_squared_error", outputs, targets)
    return mean_each(jnp.square(y - t), dtype)


@expects(outputs="any", targets="numbers")
def sum_squared_error(outputs: ArrayLike, targets: ArrayLike) -> jax.Array:
    """Sum of the squared errors: Σ (y − t)².

    Args: outputs y (floats) and targets t, both [N] or [N, ...].
    Returns: [N]. Raises: ValueError if the shapes differ.
    Example:
        >>> print(sum_squared_error(jnp.array([[0.5, 0.5]]), jnp.array([[0.0, 1.0]])))
        [0.5]
    """
    y, t, dtype = number_pair("sum_squared_error", outputs, targets)
    return sum_each(jnp.square(y - t)).astype(dtype)


@expects(outputs="any", targets="numbers")
def mean_absolute_error(outputs: ArrayLike, targets: ArrayLike) -> jax.Array:
    """Mean of the absolute errors: 1/D Σ |y − t|; its gradient at zero error is 0.

    Args: outputs y (floats) and targets t, both [N] or [N, ...].
    Returns: [N]. Raises: ValueError if the shapes differ.
    Example:
        >>> print(mean_absolute_error(jnp.array([[1.0, 4.0]]), jnp.array([[2.0, 1.0]])))
        [2.]
    """
    y, t, dtype = number_pair("mean_absolute_error", outputs, targets)
    return mean_each(_absolute(y - t), dtype)


@expects(outputs="any", targets="numbers")
def sum_absolute_error(outputs: ArrayLike, targets: ArrayLike) -> jax.Array:
    """Sum of the absolute errors: Σ |y − t|; its gradient at zero error is 0.

    Args: outputs y (floats) and targets t, both [N] or [N, ...].
    Returns: [N]. Raises: ValueError if the shapes differ.
    Example:
        >>> print(sum_absolute_error(jnp.array([[1.0, 4.0]]), jnp.array([[2.0, 1.0]])))
        [4.]
    """
    y, t, dtype = number_pair("sum_absolute_error", outputs, targets)
    return sum_each(_absolute(y - t)).astype(dtype)


@expects(outputs="any", targets="numbers")
def root_mean_squared_error(outputs: ArrayLike, targets: ArrayLike) -> jax.Array:
    """Root mean squared error of each example: √(1/D Σ (y − t)²).

    With one number per example this is |y − t|; for the root over a whole data set, see
    `metrics.RootMeanSquaredError`. Its gradient at zero error is 0.

    Args: outputs y (floats) and targets t, both [N] or [N, ...].
    Returns: [N]. Raises: ValueError if the shapes differ.
    Example:
        >>> print(root_mean_squared_error(jnp.array([[1.0, 7.0]]), jnp.zeros((1, 2))))
        [5.]
    """
    y, t, dtype = number_pair("root_mean_squared_error", outputs, targets)
    square = mean_each(jnp.square(y - t), y.dtype)
    # The root's slope at 0 is infinite: the branch not taken must also stay finite, or
    # its 0 · ∞ would make the gradient NaN.
    root = jnp.sqrt(jnp.where(square == 0, 1, square))
    return jnp.where(square == 0, 0, root).astype(dtype)


@expects(outputs="any", targets="numbers")
def huber(
    outputs: ArrayLike, targets: ArrayLike, *, delta: float | jax.Array = 1.0
) -> jax.Array:
    """Mean of e²/2 where |e| ≤ δ and of δ(|e| − δ/2) elsewhere, with e = y − t.

    Args: outputs y (floats) and targets t, both [N] or [N, ...]; delta δ > 0.
    Returns: [N]. Raises: ValueError if the shapes differ or δ is not positive.
    Example:
        >>> print(huber(jnp.array([0.5, 3.0]), jnp.array([0.0, 0.0])))
        [0.125 2.5  ]

    Reference: Huber, Robust Estimation of a Location Parameter, 1964.
    """
    real = isinstance(delta, numbers.Real)
    if not isinstance(delta, jax.Array) and not (real and delta > 0):
        raise ValueError(f"huber: delta must be positive, got {delta!r:.60}")
    y, t, dtype = number_pair("huber", outputs, targets)
    delta = jnp.asarray(delta, y.dtype)
    return mean_each(optax.losses.huber_loss(y, t, delta=delta), dtype)


@expects(outputs="any", targets="numbers")
def log_cosh(outputs: ArrayLike, targets: ArrayLike) -> jax.Array:
    """Mean of log cosh(y − t): a smooth Huber loss, e²/2 near 0, |e| − log 2 far away.

    Args: outputs y (floats) and targets t, both [N] or [N, ...].
    Returns: [N]. Raises: ValueError if the shapes differ.
    Example:
        >>> print(log_cosh(jnp.array([0.0, 100.0]), jnp.array([0.0, 0.0])).round(1))
        [ 0.  99.3]

    Reference: Chen et al., Log Hyperbolic Cosine Loss Improves Variational
    Auto-Encoder, 2018.
    """
    y, t, dtype = number_pair("log_cosh", outputs, targets)
    return mean_each(optax.losses.log_cosh(y, t), dtype)


def _absolute(x: jax.Array) -> jax.Array:
    """|x| with slope 0 at 0, where `jnp.abs` has slope 1 in newer versions of JAX."""
    return x * jnp.sign(x)
