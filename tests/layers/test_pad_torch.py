# SPDX-License-Identifier: Apache-2.0
"""PyTorch as the oracle of padding: outputs and gradients; what `Pad` refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnn as nn

torch = pytest.importorskip("torch")

#: Sizes, and our padding with the pairs that it stands for.
CASES = [
    ((5,), ((2, 1),), [(2, 1)]),
    ((4, 5), 2, [(2, 2)] * 2),
    ((4, 5), (1, (0, 3)), [(1, 1), (0, 3)]),
    ((4, 5), ((-1, 2), (1, -2)), [(-1, 2), (1, -2)]),
    ((4, 5), -1, [(-1, -1)] * 2),
    ((3, 2, 3), (1, 0, (2, 1)), [(1, 1), (0, 0), (2, 1)]),
    ((3, 3, 3), ((0, -1), 1, (-1, 1)), [(0, -1), (1, 1), (-1, 1)]),
]


@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_pad(case, mode):
    sizes, padding, pairs = case
    x = np.random.default_rng(0).standard_normal((2, *sizes, 3))
    options = {"value": 1.5} if mode == "constant" else {}
    layer = nn.Pad(padding, mode=mode, **options)
    with jax.enable_x64(True):
        y, pull = jax.vjp(lambda x: layer.apply({}, {}, x)[0], jnp.asarray(x))
        slopes = jnp.cos(jnp.arange(y.size, dtype=y.dtype)).reshape(y.shape)
        (gradient,) = pull(slopes)
    flat = [cells for pair in reversed(pairs) for cells in pair]
    there = torch.tensor(np.moveaxis(x, -1, 1).copy(), requires_grad=True)
    expected = torch.nn.functional.pad(there, flat, mode=mode, **options)
    expected.backward(torch.tensor(np.moveaxis(np.asarray(slopes), -1, 1).copy()))
    np.testing.assert_array_equal(y, np.moveaxis(expected.detach().numpy(), 1, -1))
    back = np.moveaxis(there.grad.numpy(), 1, -1)
    np.testing.assert_allclose(gradient, back, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: nn.Pad(1.5), "padding must be an int, or for each"),
        (lambda: nn.Pad(((1, 2, 3),)), "padding must be an int, or for each"),
        (lambda: nn.Pad(()), "padding must be an int, or for each"),
        (lambda: nn.Pad(1, mode="reflct"), "nearest: 'reflect'"),
        (lambda: nn.Pad(1, value="0"), "value must be a number"),
        (lambda: nn.Pad(1, mode="reflect", value=1.0), 'value is for mode="constant"'),
    ],
)
def test_hyperparameters_are_checked_when_built(build, message):
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (nn.Pad((1,)), r"numbers for 1 spatial axes, but x has 2: float32\[1,3,2,4\]"),
        (nn.Pad(-1), r"nothing is left of float32\[1,3,2,4\]"),
        (nn.Pad(2, mode="reflect"), r'mode="reflect" adds at most \(2, 1\) cells'),
        (nn.Pad(3, mode="circular"), r'mode="circular" adds at most \(3, 2\) cells'),
    ],
)
def test_images_that_are_too_small_are_refused(layer, message):
    with pytest.raises(ValueError, match=f"Pad: .*{message}"):
        layer.apply({}, {}, jnp.ones((1, 3, 2, 4)))
