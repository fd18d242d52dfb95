# SPDX-License-Identifier: Apache-2.0
"""Terms of the evidence lower bound against PyTorch, closed forms and integrals."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.test_util import check_grads

import jaxnn as nn
from jaxnn import losses

rng = np.random.default_rng(0)
M, V, N, W, X = rng.normal(size=(5, 4, 2, 3))
BITS = rng.uniform(size=X.shape)
bernoulli = losses.bernoulli_negative_log_likelihood
normal = losses.normal_negative_log_likelihood
kl = losses.normal_kl


def test_distributions_of_torch_agree(double):
    torch = pytest.importorskip("torch")
    m, v, n, w, x, z = map(torch.tensor, (M, V, N, W, X, X))
    q, p = (torch.distributions.Normal(a, (b / 2).exp()) for a, b in ((m, v), (n, w)))
    standard = torch.distributions.Normal(torch.zeros_like(m), torch.ones_like(m))
    between, bits = torch.distributions.kl_divergence, torch.tensor(BITS)
    entropy = torch.nn.functional.binary_cross_entropy_with_logits
    for got, want in [
        (kl(M, V), between(q, standard)),
        (kl(M, V, N, W), between(q, p)),
        (normal(M, X, V), -q.log_prob(x)),
        (bernoulli(X, BITS), entropy(z, bits, reduction="none")),
    ]:
        assert got.dtype == jnp.float64
        np.testing.assert_allclose(got, want.sum((1, 2)), rtol=1e-12)


def test_gradients_are_finite_differences(double):
    check_grads(jax.jit(kl), (M, V, N, W), order=2, atol=1e-5, rtol=1e-4)
    by = jax.jit(lambda m, v: normal(m, X, v))
    check_grads(by, (M, V), order=2, atol=1e-5, rtol=1e-4)


def test_a_divergence_near_nothing_keeps_its_digits():
    v = jnp.full((1, 1), 0.01)
    want = (math.expm1(0.01) - 0.01) / 2
    np.testing.assert_allclose(kl(0 * v, v), [want], rtol=1e-4)
    grad = jax.grad(lambda v: kl(0 * v, v).sum())(v)
    np.testing.assert_allclose(grad, [[math.expm1(0.01) / 2]], rtol=1e-5)
    assert kl(v, 0 * v, v, 0.0) == 0


def test_variances_far_from_1_stay_finite():
    v = jnp.array([[-170.0], [80.0]])
    for value in (lambda v: kl(v - v, v, 0.0, v), lambda v: normal(v - v, v - v, v)):
        got, grad = jax.value_and_grad(lambda v, f=value: f(v).sum())(v)
        assert jnp.isfinite(got) and jnp.isfinite(grad).all()
    np.testing.assert_allclose(
        normal(v - v, v - v, v), (v[:, 0] + math.log(2 * math.pi)) / 2, rtol=1e-6
    )


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_computed_in_float32_at_least_and_returned_in_the_dtype(dtype):
    m, v, n, w = (jnp.asarray(a, dtype) for a in (M, V, N, W))
    got = kl(m, v, n, w)
    assert got.dtype == dtype
    want = kl(*(a.astype(jnp.float32) for a in (m, v, n, w))).astype(dtype)
    np.testing.assert_array_equal(got.astype(jnp.float32), want.astype(jnp.float32))


def test_extreme_logits_of_bits():
    z, x = jnp.array([[1e4, -1e4], [1e4, -1e4]]), jnp.array([[1, 0], [0, 1]])
    np.testing.assert_array_equal(bernoulli(z, x), [0, 2e4])
    grad = jax.grad(lambda z: bernoulli(z, x).sum())(z)
    np.testing.assert_array_equal(grad, [[0, 0], [1, -1]])


def test_pixels_out_of_range_are_named_or_nan():
    x = jnp.array([[0.0, 1.0], [255.0, 0.5]])
    with pytest.raises(ValueError, match=r"x must be from 0 to 1, but \[1, 0\] is 255"):
        bernoulli(jnp.zeros((2, 2)), x)
    with pytest.raises(ValueError, match=r"but \[0, 0\] is nan"):
        bernoulli(jnp.zeros((1, 1)), [[math.nan]])
    got = jax.jit(bernoulli)(jnp.zeros((2, 2)), x)
    np.testing.assert_array_equal(jnp.isnan(got), [False, True])
    slope = jax.jit(jax.grad(lambda z, x: bernoulli(z, x)[1]))(jnp.zeros((2, 2)), x)
    assert jnp.isnan(slope[1, 0]) and not jnp.isnan(slope[0]).any()


class Autoencoder(nn.Composite):
    encoder: nn.Layer = nn.Dense(4)
    decoder: nn.Layer = nn.Dense(3)

    def forward(self, run, x):
        return run("decoder", run("encoder", x)[:, :2])


def lower_bound(run, x):
    mean, log_variance = jnp.split(run("encoder", x), 2, -1)
    z = mean + jnp.exp(log_variance / 2) * jax.random.normal(run.key, mean.shape)
    value = kl(mean, log_variance)
    return bernoulli(run("decoder", z), x) + value, {"kl": value}


def test_an_objective_trains_and_finds_pixels_out_of_range_before_it_compiles():
    options = {"objective": lower_bound, "optimizer": optax.adam(0.1), "epochs": 3}
    options |= {"batch_size": 8, "key": jax.random.key(0)}
    x = jnp.tile(jnp.array([[1.0, 0.0, 1.0]]), (64, 1))
    _, history = nn.fit(Autoencoder(), x, **options)
    assert history["loss"][-1] < history["loss"][0] and min(history["kl"]) >= 0
    with pytest.raises(ValueError, match=r"x must be from 0 to 1, but \[0, 0\] is 255"):
        nn.fit(Autoencoder(), 255 * x, **options)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: kl(jnp.zeros(()), 0.0), ValueError, r"normal_kl: mean must be \[N,"),
        (lambda: kl(jnp.zeros(2, int), 0.0), TypeError, "mean must be floating point"),
        (
            lambda: kl(jnp.zeros((2, 3)), jnp.zeros(3)),
            ValueError,
            r"log_variance must be one number.*float32\[2,3\], got float32\[3\]",
        ),
        (
            lambda: normal(jnp.zeros(2), jnp.zeros(2), jnp.zeros((2, 1))),
            ValueError,
            "normal_negative_log_likelihood: log_variance must be one number",
        ),
        (lambda: normal(jnp.zeros(2), jnp.zeros(3)), ValueError, "of one shape"),
    ],
)
def test_shapes_that_do_not_fit(call, error, message):
    with pytest.raises(error, match=message):
        call()
