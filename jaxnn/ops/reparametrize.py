# SPDX-License-Identifier: Apache-2.0
"""Reparametrized weights: as length and direction, or by largest singular value.

The last axis of a weight is that of its outputs, F.
"""

import jax
import jax.numpy as jnp


def lengths(v: jax.Array) -> jax.Array:
    """The Euclidean norm of the weights of every output, `[..., F]` to `[F]`."""
    squares = jnp.square(v).sum(tuple(range(v.ndim - 1)))
    some = squares > 0  # the slope of √ at 0 is infinite
    return jnp.where(some, jnp.sqrt(jnp.where(some, squares, 1)), 0)


def weight_norm(v: jax.Array, scale: jax.Array) -> jax.Array:
    """`w = scale · v / ‖v‖` for every output; zeros stay zeros.

    Args:
        v: `[..., F]`.
        scale: `[F]`.

    >>> import jax.numpy as jnp
    >>> weight_norm(jnp.array([[3.0], [4.0]]), jnp.array([10.0])).tolist()
    [[6.0], [8.0]]
    """
    norm = lengths(v)
    return v * jnp.broadcast_to(scale / jnp.where(norm > 0, norm, 1), v.shape)


def power_iteration(w, u, v, iterations: int = 1) -> tuple[jax.Array, jax.Array]:
    """Turn u and v toward the singular vectors of the largest singular value.

    `u = unit(Wᵀ v)`, `v = unit(W u)`, with W of shape `[K, F]`: the weight as a matrix.

    Args:
        w: `[..., F]`, K numbers for each output.
        u: `[F]`, of length 1.
        v: `[K]`, of length 1.
        iterations: the number of iterations.

    Returns:
        `(u, v)`.
    """
    matrix = w.reshape(-1, w.shape[-1])
    for _ in range(iterations):
        u = _unit(matrix.T @ v, u)
        v = _unit(matrix @ u, v)
    return u, v


def _unit(a: jax.Array, otherwise: jax.Array) -> jax.Array:
    """`a / ‖a‖`; a vector of zeros, which has no direction, leaves the old one."""
    norm = jnp.linalg.norm(a)
    return jnp.where(norm > 0, a / jnp.where(norm > 0, norm, 1), otherwise)


def spectral_norm(w: jax.Array, u: jax.Array, v: jax.Array) -> jax.Array:
    """`w / σ` with `σ = vᵀ W u`, the largest singular value; zeros stay zeros.

    Args:
        w: `[..., F]`.
        u, v: `[F]` and `[K]`, as `power_iteration` gives them.

    >>> import jax.numpy as jnp
    >>> w = jnp.array([[2.0, 0.0], [0.0, 1.0]])
    >>> spectral_norm(w, *power_iteration(w, w[0] / 2, w[0] / 2)).tolist()
    [[1.0, 0.0], [0.0, 0.5]]
    """
    sigma = v @ w.reshape(-1, w.shape[-1]) @ u
    return w / jnp.where(sigma == 0, 1, sigma)
