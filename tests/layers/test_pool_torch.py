# SPDX-License-Identifier: Apache-2.0
"""PyTorch as the oracle of pooling: outputs and gradients, ties included."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles.pictures import compare

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


# Windows that touch, overlap, are spread, or are so wide that `reduce_window` pools.
WITH_NAN = [
    ((6, 6), 2, 2, 0, 1),
    ((6, 7), 3, 2, 1, 1),
    ((7, 7), 3, 1, 0, 2),
    ((12,), (10,), (1,), (4,), 1),
]


@both
@pytest.mark.parametrize("case", WITH_NAN, ids=str)
def test_the_gradient_of_a_window_goes_to_its_nan(case, dtype):
    sizes, kernel, stride, padding, dilation = case
    options = dict(stride=stride, padding=padding, dilation=dilation)
    x = picture(sizes, dtype, ties=True)
    x.reshape(2, -1, 3)[0, 7, 1] = x.reshape(2, -1, 3)[1, 2, 0] = np.nan
    compare(nn.MaxPool(kernel, **options), kind("MaxPool", sizes)(kernel, **options), x)


@pytest.mark.parametrize("ties", [False, True], ids=["distinct", "ties"])
@pytest.mark.parametrize("case", MAX, ids=str)
def test_max_pool_indices(case, ties):
    sizes, kernel, stride, padding, dilation, ceil_mode = case
    options = dict(stride=stride, padding=padding, dilation=dilation)
    x = picture(sizes, np.float32, ties)
    x[0, 1, ..., 2] = np.nan
    layer = nn.MaxPoolIndices(kernel, **options, ceil_mode=ceil_mode)
    (y, indices), _ = jax.jit(layer.apply)({}, {}, jnp.asarray(x))
    theirs = kind("MaxPool", sizes)(
        kernel, **options, ceil_mode=ceil_mode, return_indices=True
    )
    expected = theirs(torch.tensor(np.moveaxis(x, -1, 1).copy()))
    for ours, there in zip((y, indices), expected, strict=True):
        np.testing.assert_array_equal(ours, np.moveaxis(there.numpy(), 1, -1))


def test_a_window_of_minus_infinity_has_its_maximum_in_the_image():
    layer = nn.MaxPoolIndices(3, stride=2, padding=1)
    (_, indices), _ = layer.apply({}, {}, jnp.full((1, 3, 3, 1), -jnp.inf))
    assert indices[0, :, :, 0].tolist() == [[0, 1], [3, 4]]


class Both(nn.Composite):
    pool: nn.Layer
    unpool: nn.Layer

    def forward(self, run, x):
        y, indices = run("pool", x)
        return run("unpool", (y**2, indices))


# Sizes, kernel, stride, padding, and the size to return to.
UNPOOL = [
    ((6, 4), 2, None, 0, None),
    ((7, 5), 2, None, 0, (7, 5)),
    ((7, 8), 3, 2, 1, (7, 8)),
    ((7,), (3,), (3,), (1,), None),
    ((4, 4, 6), (2, 2, 3), None, 0, None),
]


@pytest.mark.parametrize("case", UNPOOL, ids=str)
def test_max_unpool(case):
    sizes, kernel, stride, padding, size = case
    x = picture(sizes, np.float64)
    options = dict(stride=stride, padding=padding)
    net = Both(
        nn.MaxPoolIndices(kernel, **options), nn.MaxUnpool(kernel, **options, size=size)
    )
    there = kind("MaxPool", sizes)(kernel, **options, return_indices=True)
    back = kind("MaxUnpool", sizes)(kernel, **options)

    def theirs(x):
        y, indices = there(x)
        return back(y**2, indices, output_size=size)

    if stride is None or stride == kernel:  # else PyTorch counts shared maxima twice
        return compare(net, theirs, x)
    y, _ = net.apply({}, {}, jnp.asarray(x, jnp.float32))
    expected = theirs(torch.tensor(np.moveaxis(x, -1, 1).copy()).float())
    np.testing.assert_allclose(y, np.moveaxis(expected.numpy(), 1, -1), rtol=1e-6)


def test_same_padding_unpools_to_size_times_stride():
    x = jnp.asarray(picture((6, 9), np.float32))
    maxima, _ = nn.MaxPoolIndices(3, padding="SAME").apply({}, {}, x)
    y, _ = nn.MaxUnpool(3, padding="SAME").apply({}, {}, maxima)
    assert y.shape == x.shape
    np.testing.assert_array_equal(y[y != 0], x[y != 0])


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (jnp.ones((1, 2, 2, 1)), TypeError, r"x must be \(y, indices\)"),
        ((jnp.ones((1, 2, 2, 1)),) * 2, TypeError, "indices must be integers"),
        (
            (jnp.ones((1, 2, 2, 1)), jnp.ones((1, 2, 1, 1), int)),
            ValueError,
            r"y and indices must have one shape, got .* and int32\[1,2,1,1\]",
        ),
        (
            (jnp.ones((1, 2, 2, 1)), jnp.ones((1, 2, 2, 1), int)),
            ValueError,
            r"size must be within a stride of \(4, 4\), got 6",
        ),
    ],
)
def test_what_unpooling_refuses(x, error, message):
    with pytest.raises(error, match=f"MaxUnpool: {message}"):
        nn.MaxUnpool(2, size=6).apply({}, {}, x)
