# SPDX-License-Identifier: Apache-2.0
"""Upsampling and pixel shuffles against PyTorch and loops; what they refuse."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads
from oracles.pictures import compare

import jaxnn as nn
from jaxnn.ops import resize

SIZES = [((5,), (3,)), ((3, 4), 2), ((4, 3), (1, 3)), ((1, 2), (4, 5)), ((2, 3, 2), 2)]
NAMES = {1: "linear", 2: "bilinear", 3: "trilinear"}


def picture(sizes, dtype, channels=3):
    x = np.random.default_rng(0).standard_normal((2, *sizes, channels))
    return x.astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("method", ["nearest", "bilinear"])
@pytest.mark.parametrize(("sizes", "factor"), SIZES, ids=str)
def test_upsample(sizes, factor, method, dtype):
    torch = pytest.importorskip("torch")
    factor = (factor,) * len(sizes) if isinstance(factor, int) else factor
    linear = method == "bilinear"
    theirs = torch.nn.Upsample(
        scale_factor=factor,
        mode=NAMES[len(sizes)] if linear else "nearest",
        align_corners=False if linear else None,
    )
    compare(nn.Upsample(factor, method=method), theirs, picture(sizes, dtype))


#: Sizes, and a new size or a factor.
RESIZED = [
    ((5, 4), dict(size=(8, 3))),
    ((5, 4), dict(size=(5, 1))),
    ((3, 4), dict(size=6)),
    ((1, 3), dict(size=(4, 7))),
    ((3, 4), dict(factor=(2, 3))),
]
METHODS = [
    ("nearest", False),
    ("bilinear", False),
    ("bilinear", True),
    ("bicubic", False),
    ("bicubic", True),
]


@pytest.mark.parametrize(("method", "align_corners"), METHODS)
@pytest.mark.parametrize(("sizes", "new"), RESIZED, ids=str)
def test_upsample_to_a_size_and_with_aligned_corners(sizes, new, method, align_corners):
    torch = pytest.importorskip("torch")
    theirs = torch.nn.Upsample(
        size=new.get("size"),
        scale_factor=new.get("factor"),
        mode=method,
        align_corners=None if method == "nearest" else align_corners,
    )
    layer = nn.Upsample(**new, method=method, align_corners=align_corners)
    compare(layer, theirs, picture(sizes, np.float64))


@pytest.mark.parametrize(("sizes", "size"), [((5,), (7,)), ((3, 4, 2), (4, 3, 5))])
@pytest.mark.parametrize("align_corners", [False, True])
def test_upsample_to_a_size_along_one_and_three_axes(sizes, size, align_corners):
    torch = pytest.importorskip("torch")
    options = dict(size=size, align_corners=align_corners)
    theirs = torch.nn.Upsample(mode=NAMES[len(sizes)], **options)
    layer = nn.Upsample(method="bilinear", **options)
    compare(layer, theirs, picture(sizes, np.float64))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("factor", [1, 2, 3])
def test_pixel_shuffles(factor, dtype):
    torch = pytest.importorskip("torch")
    many, large = (2, 3, 2 * factor**2), (2 * factor, 3 * factor, 2)
    x = picture(many[:2], dtype, many[2])
    compare(nn.PixelShuffle(factor), torch.nn.PixelShuffle(factor), x)
    x = picture(large[:2], dtype)
    compare(nn.PixelUnshuffle(factor), torch.nn.PixelUnshuffle(factor), x)


@settings(deadline=None, max_examples=8)
@given(
    axes=st.lists(
        st.tuples(st.integers(1, 5), st.integers(1, 4)), min_size=1, max_size=3
    )
)
def test_upsampling_is_interpolation_along_each_axis(axes):
    """NumPy's `interp` holds the outermost values beyond the outermost centers."""
    sizes, factor = zip(*axes, strict=True)
    x = picture(sizes, np.float32)
    linear, near = x, x
    for axis, (size, times) in enumerate(axes, 1):
        centers = np.arange(size)
        places = (np.arange(size * times) + 0.5) / times - 0.5

        def along(line, places=places, centers=centers):
            return np.interp(places, centers, line)

        linear = np.apply_along_axis(along, axis, linear)
        near = near.repeat(times, axis)

    @jax.jit
    def upsample(x):
        return resize.upsample_nearest(x, factor), resize.upsample_linear(x, factor)

    np.testing.assert_array_equal(upsample(x)[0], near)
    np.testing.assert_allclose(upsample(x)[1], linear, atol=1e-5)


@settings(deadline=None, max_examples=10)
@given(st.tuples(*[st.integers(1, 3)] * 4))
def test_the_documented_order_of_channels(sizes):
    h, w, c, factor = sizes
    x = picture((h, w), np.float32, c * factor**2)
    y = np.asarray(resize.pixel_shuffle(jnp.asarray(x), factor))
    assert y.shape == (2, h * factor, w * factor, c)
    for row, column, channel in np.ndindex(y.shape[1:]):
        i, j = row % factor, column % factor
        source = (channel * factor + i) * factor + j
        expected = x[:, row // factor, column // factor, source]
        np.testing.assert_array_equal(y[:, row, column, channel], expected)
    np.testing.assert_array_equal(resize.pixel_unshuffle(jnp.asarray(y), factor), x)


@pytest.mark.parametrize("method", ["nearest", "bilinear"])
def test_derivatives_of_first_and_second_order(method):
    with jax.enable_x64(True):
        x = jnp.asarray(picture((2, 3), np.float64))
        layer = nn.Upsample(2, method=method)
        check_grads(lambda x: jnp.sin(layer.apply({}, {}, x)[0]), (x,), 2, eps=1e-6)


def test_half_precision_is_interpolated_in_float32():
    x = jnp.asarray(picture((4, 4), np.float32), jnp.bfloat16)
    layer = nn.Upsample(3, method="bilinear")
    y = layer.apply({}, {}, x)[0]
    expected = layer.apply({}, {}, x.astype(jnp.float32))[0].astype(jnp.bfloat16)
    np.testing.assert_array_equal(y, expected, strict=True)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: nn.Upsample(0), r"Upsample: factor must be a positive int or pair"),
        (lambda: nn.Upsample(1.5), "factor must be a positive int or pair, got 1.5"),
        (lambda: nn.Upsample((2, -1)), r"got \(2, -1\)"),
        (lambda: nn.Upsample(2, method="linear"), "bicubic, got 'linear'"),
        (lambda: nn.Upsample(2, size=4), "give a factor or a size, got factor=2"),
        (lambda: nn.Upsample(size=(0, 4)), "size must be a positive int or pair"),
        (lambda: nn.Upsample(align_corners=True), "align_corners is for method"),
        (lambda: nn.PixelShuffle(0), "PixelShuffle: factor must be a positive int"),
        (lambda: nn.PixelUnshuffle(-2), "PixelUnshuffle: factor must be a positive"),
    ],
)
def test_hyperparameters_are_checked_when_built(build, message):
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        (nn.Upsample(2), (1, 8, 3), r"Upsample: x must be \[N, H, W, C\]"),
        (nn.Upsample((2,)), (1, 8, 8, 3), r"Upsample: x must be \[N, T, C\]"),
        (nn.PixelShuffle(2), (1, 8, 4), r"PixelShuffle: x must be \[N, H, W, C\]"),
        (nn.PixelShuffle(2), (1, 8, 8, 6), "multiple of factor x factor = 4, got 6"),
        (nn.PixelUnshuffle(2), (1, 8, 7, 6), "multiples of factor = 2, got 8x7"),
    ],
    ids=str,
)
def test_other_shapes_are_refused(layer, shape, message):
    with pytest.raises(ValueError, match=message):
        layer.apply({}, {}, jnp.ones(shape))
