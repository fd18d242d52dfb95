# SPDX-License-Identifier: Apache-2.0
"""Noise and alpha dropout: against PyTorch and by their statistics."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnn as nn


def drawn(layer, x, seed=0):
    return layer.apply({}, {}, x, key=jax.random.key(seed), train=True)[0]


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_alpha_dropout_gives_the_values_of_pytorch(rate):
    torch = pytest.importorskip("torch")
    x = np.full((50, 50), 0.7, np.float32)
    torch.manual_seed(0)
    theirs = torch.nn.AlphaDropout(rate)(torch.tensor(x))
    y = drawn(nn.AlphaDropout(rate), jnp.asarray(x))
    np.testing.assert_allclose(np.unique(y), theirs.unique().numpy(), rtol=2e-6)
    share = float((y == y.min()).mean())
    assert abs(share - rate) < 0.05


def test_alpha_dropout_keeps_mean_and_variance():
    x = jax.random.normal(jax.random.key(3), (300, 300))
    y = drawn(nn.AlphaDropout(0.3), x)
    np.testing.assert_allclose([y.mean(), y.var()], [0, 1], atol=0.02)


def test_alpha_dropout_of_everything_is_zero_with_no_gradient():
    x = jnp.ones((3, 2))
    value, slope = jax.value_and_grad(lambda x: drawn(nn.AlphaDropout(1.0), x).sum())(x)
    assert value == 0 and not slope.any()


def test_alpha_dropout_scales_the_gradient_of_what_it_keeps():
    x = jnp.linspace(-1, 1, 40)[None]
    kept, slope = jax.jvp(
        lambda x: drawn(nn.AlphaDropout(0.5), x), (x,), (jnp.ones_like(x),)
    )
    dropped = kept == kept.min()
    np.testing.assert_array_equal(slope == 0, dropped)
    assert len(np.unique(slope[~dropped])) == 1


def test_gaussian_noise_has_its_standard_deviation_and_no_mean():
    y = drawn(nn.GaussianNoise(0.5), jnp.full((200, 200), 3.0))
    np.testing.assert_allclose([y.mean(), y.std()], [3, 0.5], atol=0.01)


def test_gaussian_noise_of_none_needs_no_key():
    x = jnp.ones((2, 3))
    np.testing.assert_array_equal(
        nn.GaussianNoise(0).apply({}, {}, x, train=True)[0], x
    )


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: nn.AlphaDropout(1.5), "AlphaDropout: rate must be from 0 to 1"),
        (lambda: nn.GaussianNoise(-1.0), "GaussianNoise: std must be a number of 0 or"),
        (lambda: nn.GaussianNoise("1"), "GaussianNoise: std must be a number of 0 or"),
    ],
)
def test_hyperparameters_are_checked_when_built(build, message):
    with pytest.raises(ValueError, match=message):
        build()
