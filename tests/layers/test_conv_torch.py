# SPDX-License-Identifier: Apache-2.0
"""PyTorch as the oracle of convolution: outputs and gradients by x, w and b."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnn as nn
from jaxnn import trees

torch = pytest.importorskip("torch")
functional = torch.nn.functional

MODES = {
    "zeros": "constant",
    "reflect": "reflect",
    "replicate": "replicate",
    "circular": "circular",
}
dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["f32", "f64"])


# --- the oracle, on arrays laid out as ours: [N, *sizes, C], [*kernel, C / groups, F]


def torch_conv(x, w, b=None, *, padding=0, mode="zeros", **options):
    """A convolution; `padding` is "same", a number, or (before, after) of each axis."""
    x, w = torch.movedim(x, -1, 1), torch.movedim(w, (-1, -2), (0, 1))
    if isinstance(padding, list):  # the last axis comes first
        flat = [cells for pair in reversed(padding) for cells in pair]
        x, padding = functional.pad(x, flat, mode=MODES[mode]), 0
    convolve = getattr(functional, f"conv{x.ndim - 2}d")
    return torch.movedim(convolve(x, w, b, padding=padding, **options), 1, -1)


def torch_conv_transpose(x, w, b=None, *, groups=1, **options):
    """A transposed convolution; PyTorch's kernel is [C, F / groups, *kernel]."""
    axes = x.ndim - 2
    *kernel, c, f = w.shape
    w = w.reshape(*kernel, c, groups, f // groups)
    w = torch.movedim(w, (-2, -3, -1), (0, 1, 2))
    w = w.reshape(groups * c, f // groups, *kernel)
    transpose = getattr(functional, f"conv_transpose{axes}d")
    y = transpose(torch.movedim(x, -1, 1), w, b, groups=groups, **options)
    return torch.movedim(y, 1, -1)


def arrays(layer, sizes, channels, dtype):
    """Parameters by path, a bias that is not zero, and an input."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, *sizes, channels)).astype(dtype)
    shape = jax.ShapeDtypeStruct(x.shape, dtype)
    shapes, _ = jax.eval_shape(layer.init, jax.random.key(0), shape)
    params = jax.tree.map(lambda p: rng.standard_normal(p.shape).astype(dtype), shapes)
    assert {p.dtype for p in jax.tree.leaves(shapes)} == {np.dtype(dtype)}
    return params, x


def compare(layer, theirs, sizes, channels, dtype):
    """Outputs, and the gradients of an uneven sum of them.

    `theirs(x, **params)` has the parameters by their paths, with _ for /.
    """
    with jax.enable_x64(dtype == np.float64):
        params, x = arrays(layer, sizes, channels, dtype)

        @jax.jit
        def run(params, x):
            y, pull = jax.vjp(lambda p, x: layer.apply(p, {}, x)[0], params, x)
            slopes = jnp.cos(jnp.arange(y.size, dtype=y.dtype)).reshape(y.shape)
            return y, slopes, *pull(slopes)

        y, slopes, by_params, by_x = jax.tree.map(np.array, run(params, x))
    tensors = {
        path.replace("/", "_"): torch.tensor(p, requires_grad=True)
        for path, p in trees.paths(params).items()
    }
    x = torch.tensor(x, requires_grad=True)
    expected = theirs(x, **tensors)
    expected.backward(torch.tensor(slopes))
    wide = dtype == np.float64
    exact = dict(rtol=1e-12, atol=1e-11) if wide else dict(rtol=1e-5, atol=2e-5)
    assert y.dtype == by_x.dtype == dtype
    np.testing.assert_allclose(y, expected.detach().numpy(), **exact)
    np.testing.assert_allclose(by_x, x.grad.numpy(), **exact)
    ours = trees.paths(by_params).values()
    for gradient, tensor in zip(ours, tensors.values(), strict=True):
        assert gradient.dtype == dtype
        np.testing.assert_allclose(gradient, tensor.grad.numpy(), **exact)


# --- Conv ---

# Sizes, channels, features, kernel, our padding, PyTorch's, and what both call alike.
CONV = [
    ((6, 5), 4, 6, 3, "SAME", "same", {}),
    ((6, 5), 1, 4, 3, "SAME", "same", {}),
    ((6, 5), 3, 2, 4, "SAME", "same", {}),
    ((6, 7), 2, 3, (2, 3), "SAME", "same", dict(dilation=(3, 2))),
    ((6, 5), 5, 4, 1, "VALID", 0, {}),
    ((7, 6), 5, 4, 1, "VALID", 0, dict(stride=2)),
    ((8, 7), 4, 3, 3, 1, 1, dict(stride=2)),
    ((8, 7), 8, 32, 3, 1, 1, {}),
    ((11, 12), 3, 8, 7, 3, 3, dict(stride=2)),
    ((7, 6), 3, 4, (3, 2), (2, 0), (2, 0), dict(stride=(1, 3))),
    ((6, 8), 2, 4, 3, ((0, 1), (2, 1)), [(0, 1), (2, 1)], dict(stride=2)),
    ((9, 8), 2, 3, 3, (1, (0, 2)), [(1, 1), (0, 2)], dict(dilation=2)),
    ((6, 5), 4, 6, 3, "SAME", "same", dict(groups=2)),
    ((7, 7), 6, 9, 2, 1, 1, dict(groups=3, stride=2, dilation=2)),
    ((6, 5), 4, 4, 3, "SAME", "same", dict(groups=4)),
    ((7, 8), 3, 6, (3, 5), (1, 2), (1, 2), dict(groups=3, stride=2)),
    ((5, 5), 2, 3, 5, "VALID", 0, {}),
    ((2, 3), 2, 3, 3, 2, 2, {}),  # more padding than input
    ((2, 2), 8, 4, 3, "SAME", "same", {}),
    ((5, 6), 4, 3, 5, 2, 2, dict(stride=2)),
    ((4, 4), 8, 8, 4, 5, 5, dict(stride=2)),  # more outputs than inputs
    ((8,), 3, 5, (3,), "SAME", "same", {}),
    ((9,), 4, 6, (4,), 2, 2, dict(stride=3, groups=2)),
    ((12,), 2, 2, (3,), (((3, 1)),), [(3, 1)], dict(dilation=3)),
    ((9,), 3, 3, (3,), 1, 1, dict(groups=3, stride=2)),
    ((4, 5, 3), 2, 3, (3, 2, 3), "SAME", "same", {}),
    ((5, 4, 6), 2, 4, (2, 3, 1), 1, 1, dict(stride=2, groups=2)),
    ((5, 5, 4), 2, 3, (2, 2, 2), (1, 0, (0, 1)), [(1, 1), (0, 0), (0, 1)], {}),
    ((5, 5, 5), 3, 3, (3, 3, 3), 1, 1, dict(groups=3, dilation=(1, 1, 2))),
]


@dtypes
@pytest.mark.filterwarnings("ignore:Using padding='same' with even")
@pytest.mark.parametrize("case", CONV, ids=str)
def test_conv(case, dtype):
    sizes, channels, features, kernel, ours, theirs, options = case
    layer = nn.Conv(features, kernel, padding=ours, **options)

    def oracle(x, w, b):
        return torch_conv(x, w, b, padding=theirs, **options)

    compare(layer, oracle, sizes, channels, dtype)


# Sizes, kernel, our padding, (before, after) of each axis, and other options.
MODE_CASES = [
    ((5, 4), 3, "SAME", [(1, 1), (1, 1)], {}),
    ((6, 5), (4, 3), "SAME", [(1, 2), (1, 1)], {}),
    ((5, 6), 3, (2, (0, 3)), [(2, 2), (0, 3)], dict(stride=2)),
    ((6, 6), 2, 3, [(3, 3), (3, 3)], dict(dilation=2, groups=2)),
    ((7,), (3,), ((2, 1),), [(2, 1)], {}),
    ((3, 4, 3), (2, 3, 1), ((0, 1), 1, 2), [(0, 1), (1, 1), (2, 2)], {}),
]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("case", MODE_CASES, ids=str)
def test_padding_modes(case, mode):
    sizes, kernel, padding, pads, options = case
    layer = nn.Conv(4, kernel, padding=padding, padding_mode=mode, **options)

    def oracle(x, w, b):
        return torch_conv(x, w, b, padding=pads, mode=mode, **options)

    compare(layer, oracle, sizes, 2, np.float64)


@pytest.mark.parametrize("mode", MODES)
def test_a_padding_mode_has_the_meaning_of_the_torch_layer(mode):
    """In float32, through the layer that a user would have written."""
    options = dict(stride=2, padding=2, padding_mode=mode)
    theirs = torch.nn.Conv2d(3, 4, 3, **options)

    def oracle(x, w, b):
        w = torch.movedim(w, (-1, -2), (0, 1))
        params = {"weight": w, "bias": b}
        call = torch.func.functional_call
        return torch.movedim(call(theirs, params, torch.movedim(x, -1, 1)), 1, -1)

    compare(nn.Conv(4, 3, **options), oracle, (6, 5), 3, np.float32)


@pytest.mark.parametrize("groups", [1, 2])
def test_conv_without_bias(groups):
    layer = nn.Conv(4, 3, bias=False, groups=groups)

    def oracle(x, w):
        return torch_conv(x, w, padding="same", groups=groups)

    compare(layer, oracle, (4, 5), 2, np.float32)


# --- ConvTranspose ---

# Sizes, channels, features, kernel, padding, and what both call alike.
TRANSPOSE = [
    ((4, 3), 3, 4, 2, 0, dict(stride=2)),
    ((4, 3), 3, 4, 3, 1, {}),
    ((4, 5), 2, 3, 4, 1, dict(stride=2)),
    ((3, 4), 2, 3, (3, 2), (1, 0), dict(stride=(3, 1))),
    ((4, 3), 2, 3, 3, 2, dict(stride=2, dilation=(2, 3))),
    ((4, 3), 5, 2, 1, 0, dict(stride=2)),
    ((4, 3), 4, 6, 3, 1, dict(stride=2, groups=2)),
    ((4, 3), 3, 3, 3, 1, dict(stride=2, groups=3)),
    ((3, 3), 3, 6, 2, 0, dict(groups=3)),
    ((5, 4), 8, 32, 3, 1, {}),
    ((5,), 3, 2, (4,), 2, dict(stride=3)),
    ((5,), 4, 4, (3,), 0, dict(stride=2, groups=2, dilation=2)),
    ((3, 2, 3), 2, 3, (2, 3, 2), (0, 1, 1), dict(stride=(2, 1, 2))),
]


@dtypes
@pytest.mark.parametrize("case", TRANSPOSE, ids=str)
def test_conv_transpose(case, dtype):
    sizes, channels, features, kernel, padding, options = case
    layer = nn.ConvTranspose(features, kernel, padding=padding, **options)

    def oracle(x, w, b):
        return torch_conv_transpose(x, w, b, padding=padding, **options)

    compare(layer, oracle, sizes, channels, dtype)


# Sizes, kernel, stride, padding, output padding, dilation.
OUTPUT_PADDING = [
    ((4, 3), 3, 2, 1, 1, 1),
    ((4, 3), 2, 2, 0, 1, 1),
    ((3, 4), 3, (3, 2), (0, 1), (2, 0), 1),
    ((5,), (2,), (1,), (0,), (2,), 3),
    ((2, 3, 2), 2, 2, 0, 1, 1),
]


@pytest.mark.parametrize("case", OUTPUT_PADDING, ids=str)
def test_conv_transpose_output_padding(case):
    sizes, kernel, stride, padding, more, dilation = case
    spread = lambda a: a if isinstance(a, tuple) else (a,) * len(sizes)  # noqa: E731
    pads = tuple((p, p - q) for p, q in zip(spread(padding), spread(more), strict=True))
    options = dict(stride=spread(stride), dilation=dilation)
    layer = nn.ConvTranspose(3, spread(kernel), padding=pads, **options)

    def oracle(x, w, b):
        return torch_conv_transpose(
            x, w, b, padding=padding, output_padding=more, **options
        )

    compare(layer, oracle, sizes, 2, np.float64)


def cropped(size, kernel, stride, dilation):
    """Which of all outputs "SAME" keeps, and how many have to be put behind them."""
    span = (kernel - 1) * dilation + 1
    before = max(span - stride, 0) // 2
    return slice(before, before + size * stride), max(stride - span, 0)


@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("kernel", [1, 2, 3, 4, 5])
def test_conv_transpose_same_is_size_times_stride(kernel, stride, dilation):
    layer = nn.ConvTranspose(2, (kernel,), stride=stride, dilation=dilation)
    options = dict(stride=stride, dilation=dilation)
    kept, behind = cropped(4, kernel, stride, dilation)

    def oracle(x, w, b):
        y = torch_conv_transpose(x, w, b, output_padding=behind, **options)[:, kept]
        assert y.shape == (2, 4 * stride, 2)
        return y

    compare(layer, oracle, (4,), 3, np.float64)


@pytest.mark.parametrize(("kernel", "stride"), [(4, 2), (2, 2), (3, 1), ((3, 6), 3)])
def test_conv_transpose_valid_and_uneven_padding(kernel, stride):
    def valid(x, w, b):
        return torch_conv_transpose(x, w, b, stride=stride)

    def uneven(x, w, b):
        return valid(x, w, b)[:, 2:, 1:-1]

    layer = nn.ConvTranspose(3, kernel, stride=stride, padding="VALID")
    compare(layer, valid, (4, 3), 2, np.float64)
    layer = nn.ConvTranspose(3, kernel, stride=stride, padding=((2, 0), 1))
    compare(layer, uneven, (4, 3), 2, np.float64)


# --- SeparableConv ---

# Sizes, kernel, our padding, PyTorch's, multiplier, and what both call alike.
SEPARABLE = [
    ((6, 5), 3, "SAME", "same", 1, {}),
    ((7, 6), (3, 2), 1, 1, 2, dict(stride=2)),
    ((7, 6), 3, "VALID", 0, 3, dict(dilation=2)),
    ((8,), (3,), "SAME", "same", 2, {}),
    ((4, 5, 4), (2, 3, 3), (0, 1, 1), (0, 1, 1), 1, dict(stride=(1, 2, 1))),
]


@dtypes
@pytest.mark.parametrize("case", SEPARABLE, ids=str)
def test_separable_conv(case, dtype):
    sizes, kernel, ours, theirs, multiplier, options = case
    layer = nn.SeparableConv(4, kernel, padding=ours, multiplier=multiplier, **options)

    def oracle(x, depthwise_w, pointwise_b, pointwise_w):
        middle = torch_conv(x, depthwise_w, groups=3, padding=theirs, **options)
        return torch_conv(middle, pointwise_w, pointwise_b)

    compare(layer, oracle, sizes, 3, dtype)
