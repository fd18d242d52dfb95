# SPDX-License-Identifier: Apache-2.0
"""PyTorch as the oracle of pooling: outputs and gradients, ties included."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnn as nn

torch = pytest.importorskip("torch")

# Sizes of the picture, then kernel, stride, padding, dilation, ceil_mode.
MAX = [
    ((8, 8), 2, None, 0, 1, False),
    ((9, 7), 2, None, 0, 1, True),
    ((9, 8), 3, 2, 1, 1, False),
    ((10, 9), 3, 2, 0, 1, True),
    ((6, 7), 3, 1, 1, 1, False),
    ((7, 6), (2, 3), (1, 2), (1, 0), 1, False),
    ((9, 9), 3, 2, 1, 2, True),
    ((2, 2), 3, 2, 0, 1, True),  # even the first window sticks out
    ((11,), (3,), (2,), (1,), 1, False),
    ((12,), (10,), (1,), (4,), 1, False),  # wider than slices are used for
    ((5, 6, 4), (2, 3, 2), (2, 1, 2), (1, 1, 0), 1, True),
]
AVG = [(*case[:4], case[5]) for case in MAX if case[4] == 1]
ADAPTIVE = [
    ((8, 8), 4),
    ((7, 10), 3),
    ((3, 2), 5),
    ((6, 9), (1, 4)),
    ((11,), (4,)),
    ((4, 5, 6), (2, 3, 4)),
]
DTYPES = [jnp.float32, jnp.float64]
both = pytest.mark.parametrize("dtype", DTYPES, ids=["float32", "float64"])


def kind(name: str, sizes):
    return getattr(torch.nn, f"{name}{len(sizes)}d")


def picture(sizes, dtype, ties=False):
    x = np.random.default_rng(0).standard_normal((2, *sizes, 3))
    return (np.maximum(np.round(x), 0) if ties else x).astype(dtype)


def compare(layer, theirs, x):
    """Outputs, and the gradients of an uneven sum of them."""
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
    exact = dict(rtol=1e-12, atol=1e-13) if y.dtype == np.float64 else dict(atol=1e-6)
    assert y.dtype == gradient.dtype == expected.dtype
    np.testing.assert_allclose(y, np.moveaxis(expected, 1, -1), **exact)
    np.testing.assert_allclose(gradient, np.moveaxis(back, 1, -1), **exact)


@both
@pytest.mark.parametrize("ties", [False, True], ids=["distinct", "ties"])
@pytest.mark.parametrize("case", MAX, ids=str)
def test_max_pool(case, ties, dtype):
    sizes, kernel, stride, padding, dilation, ceil_mode = case
    options = dict(stride=stride, padding=padding, dilation=dilation)
    layer = nn.MaxPool(kernel, **options, ceil_mode=ceil_mode)
    theirs = kind("MaxPool", sizes)(kernel, **options, ceil_mode=ceil_mode)
    compare(layer, theirs, picture(sizes, dtype, ties))


@both
@pytest.mark.parametrize("count_padding", [False, True], ids=["values", "padding"])
@pytest.mark.parametrize("case", AVG, ids=str)
def test_avg_pool(case, count_padding, dtype):
    sizes, kernel, stride, padding, ceil_mode = case
    options = dict(stride=stride, padding=padding, ceil_mode=ceil_mode)
    layer = nn.AvgPool(kernel, **options, count_padding=count_padding)
    theirs = kind("AvgPool", sizes)(kernel, **options, count_include_pad=count_padding)
    compare(layer, theirs, picture(sizes, dtype))


@both
@pytest.mark.parametrize("ties", [False, True], ids=["distinct", "ties"])
@pytest.mark.parametrize(("sizes", "size"), ADAPTIVE, ids=str)
def test_adaptive_max_pool(sizes, size, ties, dtype):
    theirs = kind("AdaptiveMaxPool", sizes)(size)
    compare(nn.AdaptiveMaxPool(size), theirs, picture(sizes, dtype, ties))


@both
@pytest.mark.parametrize(("sizes", "size"), ADAPTIVE, ids=str)
def test_adaptive_avg_pool(sizes, size, dtype):
    theirs = kind("AdaptiveAvgPool", sizes)(size)
    compare(nn.AdaptiveAvgPool(size), theirs, picture(sizes, dtype))


@both
@pytest.mark.parametrize("sizes", [(7,), (4, 5), (2, 3, 4)], ids=str)
def test_global_pools(sizes, dtype):
    space = tuple(range(2, len(sizes) + 2))
    compare(nn.GlobalAvgPool(), lambda x: x.mean(space), picture(sizes, dtype))
    # `amax` shares the gradient among equal maxima, as documented
    x = picture(sizes, dtype, ties=True)
    compare(nn.GlobalMaxPool(), lambda x: x.amax(space), x)


@pytest.mark.parametrize("name", ["MaxPool", "AvgPool"])
def test_bfloat16_means_are_summed_in_float32(name):
    x = picture((16, 16), np.float32)
    ours = getattr(nn, name)(8).apply({}, {}, jnp.asarray(x, jnp.bfloat16))[0]
    theirs = torch.tensor(np.moveaxis(x, -1, 1).copy()).to(torch.bfloat16)
    theirs = getattr(torch.nn, f"{name}2d")(8)(theirs).float().numpy()
    np.testing.assert_allclose(
        np.asarray(ours, np.float32), np.moveaxis(theirs, 1, -1), rtol=2**-8, atol=1e-4
    )


@pytest.mark.parametrize("name", ["MaxPool", "AvgPool"])
def test_not_a_number_is_not_swallowed(name):
    x = picture((6, 6), np.float32)
    x[0, 2, 3, 1] = np.nan
    ours = getattr(nn, name)(3, stride=1).apply({}, {}, jnp.asarray(x))[0]
    theirs = getattr(torch.nn, f"{name}2d")(3, 1)
    expected = theirs(torch.tensor(np.moveaxis(x, -1, 1).copy())).numpy()
    assert np.isnan(expected).sum() == 9
    np.testing.assert_array_equal(
        np.isnan(ours), np.isnan(np.moveaxis(expected, 1, -1))
    )
