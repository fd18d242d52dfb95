# SPDX-License-Identifier: Apache-2.0
"""Pooling against loops in NumPy, its gradients, and what it refuses."""

import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads
from oracles.windows import same_pads

import jaxnn as nn
from jaxnn.ops import pool

# --- the oracle: every window visited by a loop ---


def windows_of(sizes, kernel, stride, pads, dilation):
    """`(output place, [input places in row-major order])` of every window."""
    counts = [
        (n + sum(p) - (k - 1) * d - 1) // s + 1
        for n, k, s, p, d in zip(sizes, kernel, stride, pads, dilation, strict=True)
    ]
    for output in itertools.product(*map(range, counts)):
        starts = [o * s - p[0] for o, s, p in zip(output, stride, pads, strict=True)]
        steps = itertools.product(*map(range, kernel))
        places = [
            tuple(b + i * d for b, i, d in zip(starts, step, dilation, strict=True))
            for step in steps
        ]
        inside = [
            p for p in places if all(0 <= i < n for i, n in zip(p, sizes, strict=True))
        ]
        yield output, inside


def loop(x, g, pick, windows):
    """Outputs and gradient: `pick(values)` gives weights of the values of a window."""
    y, gradient = np.zeros_like(g), np.zeros_like(x)
    for n, c in itertools.product(range(x.shape[0]), range(x.shape[-1])):
        for output, places in windows:
            values = np.array([x[n, *p, c] for p in places])
            for place, value, weight in zip(places, values, pick(values), strict=True):
                y[n, *output, c] += value * weight
                gradient[n, *place, c] += g[n, *output, c] * weight
    return y, gradient


def first_maximum(values):
    return np.eye(len(values))[np.argmax(values)]


def mean(values):
    return np.full(len(values), 1 / len(values))


def run(layer, x):
    """Outputs, uneven weights of them, and the gradient of their weighted sum."""

    @jax.jit
    def both(x):
        y, pull = jax.vjp(lambda x: layer.apply({}, {}, x)[0], x)
        slopes = jnp.cos(jnp.arange(y.size, dtype=y.dtype)).reshape(y.shape)
        return y, slopes, pull(slopes)[0]

    return jax.tree.map(np.asarray, both(jnp.asarray(x)))


axis = st.tuples(
    st.integers(1, 6),  # size
    st.integers(1, 4),  # kernel
    st.integers(1, 3),  # stride
    st.integers(1, 2),  # dilation
    st.tuples(st.integers(0, 2), st.integers(0, 2)),
)


@settings(deadline=None, max_examples=25)
@given(
    axes=st.lists(axis, min_size=1, max_size=3),
    maximum=st.booleans(),
    same=st.booleans(),
    seed=st.integers(0, 9),
)
def test_any_window_is_the_loop(axes, maximum, same, seed):
    sizes, kernel, stride, dilation, pads = zip(*axes, strict=True)
    if not maximum:
        dilation = (1,) * len(sizes)
    if same:
        pads = tuple(map(same_pads, sizes, kernel, stride, dilation))
    windows = list(windows_of(sizes, kernel, stride, pads, dilation))
    options = dict(stride=stride, padding="SAME" if same else pads)
    if maximum:
        options["dilation"] = dilation
    kind = nn.MaxPool if maximum else nn.AvgPool
    noise = np.random.default_rng(seed).standard_normal((2, *sizes, 2))
    x = np.round(noise, seed % 2).astype(np.float32)  # ties in half of the examples
    if not windows or any(not inside for _, inside in windows):
        with pytest.raises(ValueError, match=r"nothing (is left|but padding)"):
            run(kind(kernel, **options), x)
        return
    try:
        layer = kind(kernel, **options)
    except ValueError as error:  # refused when built, however few windows there are
        assert "smaller than the window" in str(error)
        return
    y, slopes, gradient = run(layer, x)
    expected = loop(x, slopes, first_maximum if maximum else mean, windows)
    chex.assert_trees_all_close((y, gradient), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size", [5, 6, 7])
@pytest.mark.parametrize(("kernel", "stride"), [(2, 1), (2, 2), (3, 2), (3, 1), (3, 3)])
def test_same_gives_ceil_of_size_over_stride(size, kernel, stride):
    x = jnp.ones((1, size, 1))
    for kind in (nn.MaxPool, nn.AvgPool):
        layer = kind((kernel,), stride=(stride,), padding="SAME")
        y = layer.apply({}, {}, x)[0]
        np.testing.assert_array_equal(y, np.ones((1, -(-size // stride), 1)))


# --- both ways of computing it, derivatives, transformations ---

CASES = {
    "2x2/2": dict(kernel=(2, 2), stride=(2, 2), pads=((0, 0), (0, 0))),
    "3x3/2": dict(kernel=(3, 3), stride=(2, 2), pads=((1, 1), (0, 1))),
    "3x2/1": dict(kernel=(3, 2), stride=(1, 1), pads=((1, 1), (1, 0))),
}
each = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def maximum(x, case):
    return pool.max_pool(x, **case, dilation=(1, 1))


def average(x, case):
    return pool.avg_pool(x, **case)


@each
@pytest.mark.parametrize("op", [maximum, average])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16], ids=["f32", "bf16"])
def test_the_cpus_way_is_the_others_way(op, case, dtype, monkeypatch):
    """Outputs, derivatives in both modes, second order, and gradients among ties."""
    x, dx = jax.random.normal(jax.random.key(0), (2, 2, 6, 5, 3)).astype(dtype)
    ties = jnp.maximum(jnp.round(x), 0)

    def everything(x, dx, ties):
        def loss(x):
            y = op(x, case)
            return (jnp.sin(y) * jnp.arange(y.size, dtype=dtype).reshape(y.shape)).sum()

        forward = jax.jvp(lambda x: op(x, case), (x,), (dx,))
        second = jax.jvp(jax.grad(loss), (x,), (dx,))
        # (only reverse: XLA's forward mode may take another of the equal maxima)
        return *forward, *second, op(ties, case), jax.grad(loss)(ties)

    here = jax.jit(everything)(x, dx, ties)
    monkeypatch.setattr(pool, "MOST_SLICES", 0)  # now reduce_window, as on a GPU
    there = jax.jit(lambda *given: everything(*given))(x, dx, ties)
    single = dtype == jnp.float32
    close = dict(rtol=1e-5, atol=1e-5) if single else dict(rtol=0.05, atol=0.5)
    chex.assert_trees_all_close(here, there, **close)
    if op is maximum:
        chex.assert_trees_all_equal(here[0], there[0])


def test_forward_and_reverse_mode_agree_among_ties():
    """On the CPU's way, of first and of second order: all go by the first maximum."""
    x = jnp.ones((1, 2, 1))

    def f(x):
        return maximum_of_pairs(x)[0, 0, 0] ** 2

    def maximum_of_pairs(x):
        return nn.MaxPool((2,)).apply({}, {}, x)[0]

    np.testing.assert_array_equal(jax.grad(f)(x).ravel(), [2, 0])
    np.testing.assert_array_equal(jax.jacfwd(f)(x).ravel(), [2, 0])
    for hessian in (jax.hessian(f), jax.jacrev(jax.jacfwd(f)), jax.jacrev(jax.grad(f))):
        np.testing.assert_array_equal(hessian(x).reshape(2, 2), [[2, 0], [0, 0]])


@each
@pytest.mark.parametrize("op", [maximum, average])
def test_derivatives_of_first_and_second_order(op, case):
    with jax.enable_x64(True):
        x = jax.random.normal(jax.random.key(0), (2, 6, 5, 2), jnp.float64)
        check_grads(lambda x: jnp.sin(op(x, case)), (x,), order=2, eps=1e-6)


def test_the_gradient_of_equal_maxima_goes_to_the_first():
    x = jnp.zeros((1, 2, 4, 1))
    gradient = jax.grad(lambda x: nn.MaxPool(2).apply({}, {}, x)[0].sum())(x)
    assert gradient[0, :, :, 0].tolist() == [[1, 0, 1, 0], [0, 0, 0, 0]]
    shared = jax.grad(lambda x: nn.GlobalMaxPool().apply({}, {}, x)[0].sum())(x)
    np.testing.assert_array_equal(shared, np.full_like(x, 1 / 8))


@pytest.mark.parametrize("steps", [2, 3])
def test_a_maximum_that_xla_rounds_twice_has_the_right_gradient(steps):
    """`jnp.max` gives inf here, where only one of two programs fuses `x * s + b`."""
    with jax.enable_x64(True):
        x, w = jax.random.normal(jax.random.key(3), (2, 1, steps, 24))
        c, film = x[:, 0], nn.FiLM(w_init=nn.initializers.normal(0.5))
        params, _ = film.init(jax.random.key(1), (x, c))

        def loss(b):
            y, _ = film.apply({**params, "b": b}, {}, (x, c))
            return (nn.GlobalMaxPool().apply({}, {}, y)[0] * w[:, 0]).sum()

        gradient = jax.jit(jax.grad(loss))(params["b"])
        np.testing.assert_array_equal(gradient[24:], w[0, 0])


@pytest.mark.parametrize("low", [-1e30, -np.inf], ids=str)
def test_padding_is_never_the_largest(low):
    layer = nn.MaxPool(3, stride=1, padding=1)
    x = jnp.full((1, 4, 4, 1), low)
    y, slopes, gradient = run(layer, x)
    np.testing.assert_array_equal(y, x)
    assert np.isfinite(gradient).all()
    if np.isfinite(low):
        np.testing.assert_allclose(gradient.sum(), slopes.sum(), rtol=1e-5)


def test_vmap_scan_and_remat_agree_with_the_plain_gradient():
    layer = nn.Sequential(nn.MaxPool(3, stride=2), nn.AvgPool(2, stride=1))
    xs = jax.random.normal(jax.random.key(0), (3, 2, 8, 8, 2))

    def slope(x):
        return jax.grad(lambda x: (layer.apply({}, {}, x)[0] ** 2).sum())(x)

    def again(x):
        f = jax.checkpoint(lambda x: (layer.apply({}, {}, x)[0] ** 2).sum())
        return jax.grad(f)(x)

    @jax.jit
    def ways(xs):
        scanned = jax.lax.scan(lambda c, x: (c, slope(x)), None, xs)[1]
        return jax.vmap(slope)(xs), scanned, jax.vmap(again)(xs)

    expected = jnp.stack([slope(x) for x in xs])
    for found in ways(xs):
        chex.assert_trees_all_close(found, expected, rtol=1e-6)


def test_windows_beyond_slices_are_right_too():
    x = jax.random.normal(jax.random.key(0), (2, 12, 1))
    wide = pool.MOST_SLICES + 1
    y, slopes, gradient = run(nn.MaxPool((wide,), stride=(1,)), x)
    windows = list(windows_of((12,), (wide,), (1,), ((0, 0),), (1,)))
    expected = loop(np.asarray(x), slopes, first_maximum, windows)
    chex.assert_trees_all_close((y, gradient), expected, rtol=1e-6)


# --- bins ---


@settings(deadline=None, max_examples=200)
@given(size=st.integers(1, 40), count=st.integers(1, 50))
def test_bins_cover_an_axis_evenly(size, count):
    starts, ends = pool.bins(size, count)
    exact = [(i * size / count, (i + 1) * size / count) for i in range(count)]
    for start, end, (low, high) in zip(starts, ends, exact, strict=True):
        assert start <= low + 1e-9 < start + 1 and end - 1 < high - 1e-9 <= end
    assert starts[0] == 0 and ends[-1] == size and (starts[1:] <= ends[:-1]).all()


@pytest.mark.parametrize("name", ["Max", "Avg"])
def test_one_bin_is_global_pooling(name):
    x = jax.random.normal(jax.random.key(0), (2, 5, 4, 3))
    bins = getattr(nn, f"Adaptive{name}Pool")(1).apply({}, {}, x)[0]
    whole = getattr(nn, f"Global{name}Pool")().apply({}, {}, x)[0]
    chex.assert_trees_all_close(bins[:, 0, 0], whole, rtol=1e-6)


# --- bad input ---


def test_hyperparameters_are_checked_when_built():
    bad = [
        (lambda k: k(0), "kernel must be a positive int"),
        (lambda k: k((2, 2, 2, 2)), "kernel must be a positive int"),
        (lambda k: k(2, stride=0), "stride must be a positive int or pair"),
        (lambda k: k((2,), stride=(1, 1)), "stride must be a positive int or 1-tuple"),
        (lambda k: k(2, padding="same"), "padding must be"),
        (lambda k: k(2, padding=-1), "padding must be"),
        (lambda k: k(2, padding=2), r"smaller than the window.*padding=2.* 2x2"),
        (lambda k: k((3, 1), padding=((0, 0), (0, 1))), r"smaller than .* 3x1"),
    ]
    for kind, (build, message) in itertools.product((nn.MaxPool, nn.AvgPool), bad):
        with pytest.raises(ValueError, match=f"{kind.__name__}: .*{message}"):
            build(kind)
    with pytest.raises(ValueError, match="MaxPool: dilation must be a positive int"):
        nn.MaxPool(2, dilation=0)
    with pytest.raises(TypeError, match="ceil_mode must be True or False, got 1"):
        nn.MaxPool(2, ceil_mode=1)
    with pytest.raises(TypeError, match="count_padding must be True or False"):
        nn.AvgPool(2, count_padding="no")
    for kind in (nn.AdaptiveAvgPool, nn.AdaptiveMaxPool):
        for size in (0, -1, 2.0, True, (), (1, 2, 3, 4)):
            with pytest.raises(ValueError, match="size must be a positive int or pair"):
                kind(size)
    nn.MaxPool(2, dilation=2, padding=2)  # the window spans three


@pytest.mark.parametrize("layer", [nn.MaxPool(3), nn.AvgPool(3)], ids=str)
def test_a_picture_that_shrinks_to_nothing_names_the_layer(layer):
    net = nn.Sequential(first=layer, second=layer, third=layer)
    with pytest.raises(ValueError, match="nothing is left") as caught:
        net.apply({}, {}, jnp.ones((1, 9, 9, 1)))
    assert any(note.startswith("in third") for note in caught.value.__notes__)


def test_a_window_of_nothing_but_padding_is_refused():
    # the only value lies between the first window's two places
    layer = nn.MaxPool((2,), dilation=(4,), padding=(2,))
    with pytest.raises(ValueError, match=r"nothing but padding: float32.*use less"):
        layer.apply({}, {}, jnp.ones((1, 1, 1)))


@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        (nn.MaxPool(2), (8, 8, 1), r"MaxPool: x must be \[N, H, W, C\]"),
        (nn.AvgPool((2,)), (1, 8, 8, 1), r"AvgPool: x must be \[N, T, C\]"),
        (
            nn.AdaptiveAvgPool(2),
            (8, 8, 1),
            r"Pool: x must be \[N, H, W, C\]",
        ),
        (nn.AdaptiveMaxPool(2), (1, 0, 8, 1), "no values to pool"),
        (nn.GlobalAvgPool(), (8, 1), "at least 3 axes"),
        (nn.GlobalMaxPool(), (8, 0, 1), "no values to pool"),
    ],
    ids=str,
)
def test_other_ranks_and_empty_pictures_are_refused(layer, shape, message):
    with pytest.raises(ValueError, match=message):
        layer.apply({}, {}, jnp.ones(shape))
    with pytest.raises(TypeError, match="floating-point"):
        layer.apply({}, {}, jnp.ones((1, 8, 8, 1), jnp.int32))
