# SPDX-License-Identifier: Apache-2.0
"""PyTorch as the oracle of layers on pictures that have no parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest


def compare(layer, theirs, x):
    """Outputs, and the gradients of an uneven sum of them."""
    torch = pytest.importorskip("torch")
    with jax.enable_x64(x.dtype == np.float64):

        @jax.jit
        def run(x):
            y, pull = jax.vjp(lambda x: layer.apply({}, {}, x)[0], x)
            slopes = jnp.cos(jnp.arange(y.size, dtype=y.dtype)).reshape(y.shape)
            return y, slopes, pull(slopes)[0]

        y, slopes, gradient = map(np.asarray, run(x))
    x = torch.tensor(np.moveaxis(x, -1, 1).copy(), requires_grad=True)
    expected = theirs(x)
    expected.backward(torch.tensor(np.moveaxis(slopes, -1, 1).copy()))
    expected, back = expected.detach().numpy(), x.grad.numpy()
    exact = dict(rtol=1e-12, atol=1e-12) if y.dtype == np.float64 else dict(atol=2e-6)
    assert y.dtype == gradient.dtype == expected.dtype
    np.testing.assert_allclose(y, np.moveaxis(expected, 1, -1), **exact)
    np.testing.assert_allclose(gradient, np.moveaxis(back, 1, -1), **exact)
