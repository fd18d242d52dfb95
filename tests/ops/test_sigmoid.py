# SPDX-License-Identifier: Apache-2.0
"""The cross-entropy of a sigmoid, against its formula in float64."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnn.ops.sigmoid import sigmoid_surprise

LOGITS = (-80.0, -20.0, -1.0, -1e-3, 0.0, 1e-3, 1.0, 20.0, 80.0)
GRID = np.array(list(itertools.product(LOGITS, (0.0, 0.3, 1.0), (1.0, 2.5)))).T


def no(z):
    """−log σ(−z)"""
    return np.logaddexp(0, z)


def slope(z, t, w):
    return (1 - t) / (1 + np.exp(-z)) - w * t / (1 + np.exp(z))


def test_values():
    z, t, w = GRID
    want = w * t * no(-z) + (1 - t) * no(z)
    got = sigmoid_surprise(*jnp.asarray(GRID, jnp.float32))
    np.testing.assert_allclose(got, want, rtol=1e-6)
    plain = w == 1
    got = sigmoid_surprise(jnp.float32(z[plain]), jnp.float32(t[plain]), None)
    np.testing.assert_allclose(got, want[plain], rtol=1e-6)


@pytest.mark.parametrize("mode", [jax.jacfwd, jax.jacrev])
def test_slopes_are_exact_in_the_tails(mode):
    z, t, w = GRID
    in_t = (w - 1) * no(-z) - z  # softplus(-z) - softplus(z) is -z
    want = slope(z, t, w), in_t, t * no(-z)
    got = jax.vmap(mode(sigmoid_surprise, (0, 1, 2)))(*jnp.asarray(GRID, jnp.float32))
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-37)
    plain = w == 1
    each = jax.vmap(mode(sigmoid_surprise, (0, 1)), (0, 0, None))
    got = each(jnp.float32(z[plain]), jnp.float32(t[plain]), None)
    for a, b in zip(got, want, strict=False):
        np.testing.assert_allclose(a, b[plain], rtol=1e-6, atol=1e-37)


def test_it_is_smooth_at_zero():
    """As |z| and its maximum with 0 are not: a Hessian of zeros there is wrong."""
    bent = jax.grad(jax.grad(sigmoid_surprise))
    third = jax.grad(bent)
    for z in (-2.0, 0.0, 0.5):
        peak = 1 / (2 + np.exp(z) + np.exp(-z))
        np.testing.assert_allclose(bent(z, 0.3, None), peak, rtol=1e-6)
        want = peak * (1 - 2 / (1 + np.exp(-z)))
        np.testing.assert_allclose(third(z, 0.3, None), want, rtol=1e-5, atol=1e-8)


def test_what_has_no_weight_does_not_count():
    z = jnp.array([-jnp.inf, jnp.inf, jnp.inf, jnp.nan, 0.0])
    t = jnp.array([0.0, 1.0, 0.0, 0.0, jnp.nan])
    want = [0, 0, np.inf, np.nan, np.nan]
    np.testing.assert_array_equal(sigmoid_surprise(z, t, None), want)
    grads = jax.vmap(jax.grad(sigmoid_surprise), (0, 0, None))(z, t, None)
    np.testing.assert_array_equal(grads, [0, 0, 1, np.nan, np.nan])
