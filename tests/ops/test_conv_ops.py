"""The convolution's own primitives against lax's convolution, in float64."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxnn.ops import conv_cpu
from jaxnn.ops.conv import Window, conv
from jaxnn.ops.windows import explicit_pads, spread

pytestmark = pytest.mark.usefixtures("double")


def reference(x, w, *, stride, pads, dilation, groups=1):
    axes = "DHW"[-(x.ndim - 2) :]
    return lax.conv_general_dilated(
        x,
        w,
        stride,
        pads,
        rhs_dilation=dilation,
        feature_group_count=groups,
        dimension_numbers=(f"N{axes}C", f"{axes}IO", f"N{axes}C"),
    )


#: sizes, kernel, stride, padding, dilation, groups
CASES = [
    ((6, 5), (3, 3), 1, "SAME", 1, 1),
    ((6, 5), (3, 2), (2, 1), "VALID", 1, 1),
    ((7, 8), (3, 3), 2, "SAME", 1, 1),
    ((7, 8), (2, 3), 3, ((0, 3), (2, 1)), 1, 1),
    ((9, 8), (3, 2), 1, 2, (2, 3), 1),
    ((9, 9), (3, 3), (2, 3), 1, 2, 1),
    ((6, 6), (1, 1), 1, 0, 1, 1),
    ((6, 5), (1, 1), 2, 0, 1, 1),
    ((6, 5), (1, 1), 2, 1, 1, 1),
    ((12, 11), (7, 7), 2, 3, 1, 1),
    ((5, 5), (5, 5), 1, "VALID", 1, 1),
    ((6, 5), (3, 3), 1, "SAME", 1, 2),
    ((6, 5), (3, 3), 2, "SAME", 1, 4),
    ((6, 5), (3, 3), (1, 2), 2, 2, 4),
    ((8,), (3,), 1, "SAME", 1, 1),
    ((9,), (4,), 3, 2, 2, 2),
    ((4, 5, 3), (3, 2, 3), 1, "SAME", 1, 1),
    ((5, 4, 6), (2, 3, 1), 2, 1, 1, 2),
    ((4, 4), (3, 3), 1, 3, 1, 1),  # more padding than kernel
]


def arrays(case, channels=4, features=8, batch=3, dtype=np.float64):
    sizes, kernel, stride, padding, dilation, groups = case
    n = len(sizes)
    stride, dilation = spread(stride, n), spread(dilation, n)
    options = {
        "stride": stride,
        "pads": explicit_pads(padding, sizes, kernel, stride, dilation),
        "dilation": dilation,
        "groups": groups,
    }
    rng = np.random.default_rng(0)
    x = rng.standard_normal((batch, *sizes, channels)).astype(dtype)
    w = rng.standard_normal((*kernel, channels // groups, features)).astype(dtype)
    return jnp.asarray(x), jnp.asarray(w), options


close = functools.partial(chex.assert_trees_all_close, rtol=1e-10, atol=1e-10)
each = pytest.mark.parametrize("case", CASES, ids=str)


def both(function, case, **options):
    """The same function of our convolution and of lax's, jitted."""
    x, w, window = arrays(case, **options)

    def of(convolution):
        f = functools.partial(convolution, **window)
        return jax.jit(lambda x, w: function(f, x, w))(x, w)

    return of(conv), of(reference)


def value_and_gradients(f, x, w):
    y, back = jax.vjp(f, x, w)
    return y, back(jnp.cos(jnp.arange(y.size, dtype=y.dtype)).reshape(y.shape))


@each
def test_value_and_gradients(case):
    close(*both(value_and_gradients, case))


@each
def test_forward_mode_and_second_order(case):
    def all_orders(f, x, w):
        def loss(x, w):
            return (jnp.tanh(f(x, w)) ** 2).sum()

        slopes = jax.grad(loss, (0, 1))
        return jax.jvp(slopes, (x, w), (jnp.sin(x), jnp.cos(w)))

    close(*both(all_orders, case))


@each
def test_vmap_of_either_and_of_both(case):
    def mapped(f, x, w):
        xs, ws = jnp.stack([x, 2 * x, jnp.sin(x)]), jnp.stack([w, jnp.cos(w), -w])

        def gradients(x, w):
            return jax.grad(lambda x, w: (f(x, w) ** 3).sum(), (0, 1))(x, w)

        def both(f, in_axes):
            some_x = x if in_axes[0] is None else xs
            return jax.vmap(f, in_axes)(some_x, w if in_axes[1] is None else ws)

        return [both(gradients, axes) for axes in ((0, 0), (0, None), (None, 0))]

    close(*both(mapped, case))


@pytest.mark.parametrize("pieces", [1, 2, 3])
@each
def test_pieces_of_every_size_give_the_same(case, pieces, monkeypatch):
    """Images at a time: all, some with a rest, each alone."""
    x, w, window = arrays(case, batch=5)
    if window["groups"] > 1:
        pytest.skip("every group goes through the same code")
    full = Window(x.shape[1:-1], w.shape[:-2], *window.values())
    numbers = conv_cpu._PRODUCT // pieces
    monkeypatch.setattr(conv_cpu, "_patch_numbers", lambda *_: numbers)
    monkeypatch.setattr(conv_cpu, "_strip_numbers", lambda *_: numbers)

    def in_pieces(x, w, y):
        yield conv_cpu.conv(x, w, window=full)
        yield conv_cpu.input_gradient(y, w, window=full)
        yield conv_cpu.filter_gradient(x, y, window=full)

    def at_once(x, w):
        y, back = jax.vjp(functools.partial(reference, **window), x, w)
        return y, *back(y)

    want = jax.jit(at_once)(x, w)
    close(jax.jit(lambda *given: tuple(in_pieces(*given)))(x, w, want[0]), want)
