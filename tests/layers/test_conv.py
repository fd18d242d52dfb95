# SPDX-License-Identifier: Apache-2.0
"""Convolution against loops in NumPy, how it is lowered, and what it refuses."""

import itertools
import os
import re
import subprocess
import sys

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from oracles.windows import same_pads

import jaxnn as nn

# --- the oracle: slide, multiply, add, one place after the other ---


def cell(i, size, mode):
    """Which of `size` cells stands at place i, also beyond the edges; None for zero."""
    if 0 <= i < size:
        return i
    if mode == "replicate":
        return 0 if i < 0 else size - 1
    if mode == "circular":
        return i % size
    if mode == "reflect":
        return -i if i < 0 else 2 * (size - 1) - i
    return None


def blocks(count, groups):
    """The slice of each group's channels."""
    each = count // groups
    return [slice(j * each, (j + 1) * each) for j in range(groups)]


def meetings(outputs, kernel, stride, pads, dilation):
    """Every (output place, entry of the kernel, input place) that belong together."""
    for out in itertools.product(*map(range, outputs)):
        for entry in itertools.product(*map(range, kernel)):
            each = zip(out, entry, stride, pads, dilation, strict=True)
            yield out, entry, tuple(o * s + k * d - p[0] for o, k, s, p, d in each)


def loop(x, w, g, stride, pads, dilation, groups, mode="zeros"):
    """The convolution, and its gradients by x and w for slopes g of the output."""
    y, dx, dw = np.zeros_like(g), np.zeros_like(x), np.zeros_like(w)
    channels, features = blocks(x.shape[-1], groups), blocks(w.shape[-1], groups)
    where = meetings(g.shape[1:-1], w.shape[:-2], stride, pads, dilation)
    for out, entry, place in where:
        each = zip(place, x.shape[1:-1], strict=True)
        place = tuple(cell(i, n, mode) for i, n in each)
        if None in place:
            continue
        for c, f in zip(channels, features, strict=True):
            y[:, *out, f] += x[:, *place, c] @ w[*entry, :, f]
            dx[:, *place, c] += g[:, *out, f] @ w[*entry, :, f].T
            dw[*entry, :, f] += x[:, *place, c].T @ g[:, *out, f]
    return y, dx, dw


def transposed_loop(x, w, g, stride, pads, dilation, groups):
    """The same of the transposed convolution: each number lays down a kernel."""
    y, dx, dw = np.zeros_like(g), np.zeros_like(x), np.zeros_like(w)
    channels, features = blocks(x.shape[-1], groups), blocks(w.shape[-1], groups)
    where = meetings(x.shape[1:-1], w.shape[:-2], stride, pads, dilation)
    for start, entry, place in where:
        each = zip(place, g.shape[1:-1], strict=True)
        if not all(0 <= i < n for i, n in each):
            continue
        for c, f in zip(channels, features, strict=True):
            y[:, *place, f] += x[:, *start, c] @ w[*entry, :, f]
            dx[:, *start, c] += g[:, *place, f] @ w[*entry, :, f].T
            dw[*entry, :, f] += x[:, *start, c].T @ g[:, *place, f]
    return y, dx, dw


def slopes_like(y):
    return jnp.cos(jnp.arange(y.size, dtype=y.dtype)).reshape(y.shape)


def run(layer, params, x):
    """Outputs, uneven weights of them, and the gradients of their weighted sum."""

    @jax.jit
    def both(params, x):
        y, pull = jax.vjp(lambda p, x: layer.apply(p, {}, x)[0], params, x)
        return y, slopes_like(y), *pull(slopes_like(y))

    return jax.tree.map(np.array, both(params, x))


def check(layer, sizes, channels, oracle):
    """The layer does as `oracle(x, w, slopes)` plus a bias."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, *sizes, channels)).astype(np.float32)
    params, _ = layer.init(jax.random.key(0), x)
    params["b"] = jnp.arange(1.0, layer.features + 1)
    y, slopes, by_params, by_x = run(layer, params, x)
    expected, dx, dw = oracle(x, np.array(params["w"]), slopes)
    db = slopes.sum(tuple(range(y.ndim - 1)))
    ours = (y, by_x, by_params["w"], by_params["b"])
    theirs = (expected + np.array(params["b"]), dx, dw, db)
    chex.assert_trees_all_close(ours, theirs, rtol=1e-4, atol=1e-4)


axis = st.tuples(
    st.integers(1, 6),  # size
    st.integers(1, 4),  # kernel
    st.integers(1, 3),  # stride
    st.integers(1, 2),  # dilation
    st.tuples(st.integers(0, 2), st.integers(0, 2)),
)
some_axes = st.lists(axis, min_size=1, max_size=3)
#: groups, channels and features of each group
some_groups = st.tuples(st.integers(1, 3), st.integers(1, 2), st.integers(1, 2))
few = settings(deadline=None, max_examples=15)


@few
@given(
    axes=some_axes,
    widths=some_groups,
    same=st.booleans(),
    mode=st.sampled_from(["zeros", "zeros", "reflect", "replicate", "circular"]),
)
def test_any_convolution_is_the_loop(axes, widths, same, mode):
    sizes, kernel, stride, dilation, pads = zip(*axes, strict=True)
    groups, c, f = widths
    options = dict(stride=stride, dilation=dilation, groups=groups)
    padding = "SAME" if same else pads
    layer = nn.Conv(groups * f, kernel, padding=padding, padding_mode=mode, **options)
    if same:
        pads = tuple(map(same_pads, sizes, kernel, stride, dilation))
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    most = [n - (mode == "reflect") for n in sizes]
    if any(n + sum(p) < s for n, p, s in zip(sizes, pads, spans, strict=True)):
        wrong = "nothing is left"
    elif mode in ("reflect", "circular") and any(map(np.less, most, map(max, pads))):
        wrong = "adds at most"
    else:
        return check(
            layer,
            sizes,
            groups * c,
            lambda x, w, g: loop(x, w, g, stride, pads, dilation, groups, mode),
        )
    with pytest.raises(ValueError, match=wrong):
        check(layer, sizes, groups * c, None)


@few
@given(axes=some_axes, widths=some_groups, same=st.booleans())
def test_any_transposed_convolution_is_the_loop(axes, widths, same):
    sizes, kernel, stride, dilation, pads = zip(*axes, strict=True)
    groups, c, f = widths
    options = dict(stride=stride, dilation=dilation, groups=groups)
    padding = "SAME" if same else pads
    layer = nn.ConvTranspose(groups * f, kernel, padding=padding, **options)
    if same:
        larger = [n * s for n, s in zip(sizes, stride, strict=True)]
        pads = tuple(map(same_pads, larger, kernel, stride, dilation))
    each = zip(sizes, kernel, stride, dilation, pads, strict=True)
    left = [(n - 1) * s + (k - 1) * d + 1 - sum(p) for n, k, s, d, p in each]
    assume(max(left) < 16)
    if same or min(left) > 0:
        return check(
            layer,
            sizes,
            groups * c,
            lambda x, w, g: transposed_loop(x, w, g, stride, pads, dilation, groups),
        )
    with pytest.raises(ValueError, match="cuts off all"):
        check(layer, sizes, groups * c, None)


# --- numbers by hand ---

PICTURE = [
    [1, 1, 1, 0, 0],
    [0, 1, 1, 1, 0],
    [0, 0, 1, 1, 1],
    [0, 0, 1, 1, 0],
    [0, 1, 1, 0, 0],
]
CROSS = [[1, 0, 1], [0, 1, 0], [1, 0, 1]]


def one_picture(layer, picture, kernel):
    x, w = (jnp.asarray(a, jnp.float32) for a in (picture, kernel))
    y, _ = layer.apply({"w": w[..., None, None]}, {}, x[None, ..., None])
    return y[0, ..., 0].tolist()


def test_slide_multiply_add():
    layer = nn.Conv(1, 3, padding="VALID", bias=False)
    assert one_picture(layer, PICTURE, CROSS) == [[4, 3, 4], [2, 4, 3], [2, 3, 4]]
    same = one_picture(nn.Conv(1, 3, bias=False), PICTURE, CROSS)
    assert [row[1:-1] for row in same[1:-1]] == [[4, 3, 4], [2, 4, 3], [2, 3, 4]]
    assert np.shape(same) == (5, 5)


def test_an_even_kernel_with_same_has_its_odd_cell_behind():
    sums = nn.Conv(1, (2,), bias=False)
    assert one_picture(sums, [1, 2, 3, 4], [1, 1]) == [3, 5, 7, 4]
    sums = nn.Conv(1, (4,), bias=False)  # one zero in front, two behind
    assert one_picture(sums, [1, 2, 3, 4], [1, 10, 100, 1000]) == [
        3210,
        4321,
        432,
        43,
    ]
    strided = nn.Conv(1, (3,), stride=2, bias=False)  # here size and stride are even
    assert one_picture(strided, [1, 2, 3, 4], [1, 10, 100]) == [321, 43]


def test_a_transposed_convolution_lays_down_kernels():
    layer = nn.ConvTranspose(1, (3,), stride=2, padding="VALID", bias=False)
    assert one_picture(layer, [1, 2], [1, 10, 100]) == [1, 10, 102, 20, 200]
    layer = nn.ConvTranspose(1, (3,), stride=2, bias=False)  # "SAME": behind again
    assert one_picture(layer, [1, 2], [1, 10, 100]) == [1, 10, 102, 20]


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("kernel", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("size", [4, 5])
def test_same_gives_ceil_of_size_over_stride_and_back(size, kernel, stride):
    x = jax.ShapeDtypeStruct((1, size, 1), np.float32)

    def shape(layer, x):
        def apply(x):
            params, state = layer.init(jax.random.key(0), x)
            return layer.apply(params, state, x)[0]

        return jax.eval_shape(apply, x)

    smaller = shape(nn.Conv(1, (kernel,), stride=stride), x)
    assert smaller.shape == (1, -(-size // stride), 1)
    larger = shape(nn.ConvTranspose(1, (kernel,), stride=stride), x)
    assert larger.shape == (1, size * stride, 1)


def test_an_empty_batch_and_numpy_ints_and_lists_are_fine(key):
    two = np.int64(2)
    layer = nn.Conv(two, [3, 3], stride=two, padding=(two, [0, 1]), groups=two)
    x = jnp.ones((0, 4, 5, 2))
    params, state = layer.init(key, x)
    assert layer.apply(params, state, x)[0].shape == (0, 3, 2, 2)
    x = jnp.ones((1, 4, 5, 2))
    same = nn.Conv(2, 3, stride=2, padding=(2, (0, 1)), groups=2)
    chex.assert_trees_all_equal(
        layer.apply(params, state, x), same.apply(params, state, x)
    )


# --- dtypes ---

#: Layer, sizes and channels: each goes another way through the CPU's rules.
WAYS = {
    "canonical": (nn.Conv(8, 3), (6, 6), 8),
    "strips": (nn.Conv(32, 3), (6, 6), 32),
    "patches": (nn.Conv(16, 3), (6, 6), 3),
    "pointwise": (nn.Conv(16, 1, stride=2), (6, 6), 16),
    "strides": (nn.Conv(8, 5, stride=2), (8, 8), 8),
    "groups": (nn.Conv(8, 3, groups=2), (6, 6), 8),
    "depthwise": (nn.Conv(8, 7, groups=8), (8, 8), 8),
    "transpose": (nn.ConvTranspose(8, 4, stride=2), (4, 4), 8),
    "separable": (nn.SeparableConv(8, 5), (6, 6), 8),
}
ways = pytest.mark.parametrize("way", WAYS)


def built(way):
    layer, sizes, channels = WAYS[way]
    x = jax.random.normal(jax.random.key(1), (3, *sizes, channels))
    return layer, layer.init(jax.random.key(0), x)[0], x


@ways
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16], ids=["bf16", "f16"])
def test_half_precision_is_summed_in_single(way, dtype):
    """Only the inputs and the result are rounded, so the error is half a last place."""
    layer, params, x = built(way)
    params, x = jax.tree.map(lambda a: a.astype(dtype), (params, x))
    whole = jax.tree.map(lambda a: a.astype(jnp.float32), (params, x))

    @jax.jit
    def gradients(params, x):
        y, pull = jax.vjp(lambda p, x: layer.apply(p, {}, x)[0], params, x)
        slopes = slopes_like(y.astype(jnp.float32)).astype(dtype)
        return y, *pull(slopes.astype(y.dtype))

    ours, single = gradients(params, x), gradients(*whole)
    chex.assert_trees_all_equal_dtypes(ours, jax.tree.map(lambda _: x, ours))
    roundings = 2 if way == "separable" else 1
    for half, exact in zip(*map(jax.tree.leaves, (ours, single)), strict=True):
        error = np.abs(np.float32(half) - exact).max() / np.abs(exact).max()
        assert error < 0.6 * roundings * float(jnp.finfo(dtype).eps)


# --- how it is lowered ---


def gradients(layer):
    """Value and gradients by parameters and inputs, to be jitted or exported."""

    def loss(params, x):
        y = layer.apply(params, {}, x)[0]
        return (slopes_like(y) * y).sum()

    return jax.value_and_grad(loss, (0, 1))


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
@pytest.mark.parametrize("way", [way for way in WAYS if way != "separable"])
def test_accelerators_keep_one_plain_convolution(way, platform):
    """One for the output and one for each gradient, with no product around them."""
    layer, params, x = built(way)
    exported = jax.export.export(jax.jit(gradients(layer)), platforms=[platform])
    text = exported(params, x).mlir_module()
    assert text.count("stablehlo.convolution") == 3
    for foreign in ("while", "dot_general", "optimization_barrier", "concatenate"):
        assert f"stablehlo.{foreign}" not in text


LOOPED = {
    **{way: WAYS[way] for way in ("canonical", "strides", "groups", "transpose")},
    "same_1d": (nn.Conv(8, (9,)), (12,), 4),
    "strides_1d": (nn.Conv(8, (9,), stride=2), (13,), 4),
    "same_3d": (nn.Conv(4, (3, 3, 3)), (4, 4, 4), 4),
    "strides_3d": (nn.Conv(4, (3, 3, 4), stride=2), (5, 5, 6), 2),
    "dilation": (nn.Conv(8, 3, dilation=2), (7, 7), 8),
    "padded": (nn.Conv(8, 4, stride=2, padding=5), (4, 4), 8),
    "small": (nn.Conv(8, 3), (2, 2), 8),  # XLA would exchange image and kernel
}


@pytest.mark.parametrize("way", LOOPED)
def test_a_gradient_in_a_scan_is_the_one_outside_and_is_canonical(way):
    """On the CPU another order of axes than channels last is slow inside loops."""
    layer, sizes, channels = LOOPED[way]
    xs = jax.random.normal(jax.random.key(1), (2, 3, *sizes, channels))
    params, _ = layer.init(jax.random.key(0), xs[0])
    step = gradients(layer)

    def body(carry, x):
        return carry, step(carry, x)

    scan = jax.jit(lambda params, xs: jax.lax.scan(body, params, xs)[1])
    compiled = scan.lower(params, xs).compile()
    looped, outside = compiled(params, xs), jax.jit(step)
    for i, x in enumerate(xs):
        inside = jax.tree.map(lambda a, i=i: a[i], looped)
        close = dict(rtol=1e-4, atol=1e-4)
        chex.assert_trees_all_close(inside, outside(params, x), **close)
    text = compiled.as_text()
    axes = "012"[: len(sizes)]
    labels = set(re.findall(r"dim_labels=([\w>-]+)", text))
    canonical = {f"b{axes}f_{axes}io->b{axes}f"}
    assert labels == (set() if way == "small" else canonical)
    assert "group_count" not in text


@ways
def test_an_ensemble_is_its_members(way):
    layer, _, x = built(way)
    keys = jax.random.split(jax.random.key(2), 3)
    members = jax.vmap(lambda key: layer.init(key, x)[0])(keys)
    ensemble = jax.jit(jax.vmap(gradients(layer), (0, None)))
    lowered = ensemble.lower(members, x)
    groups = re.findall(r"(?:feature|batch)_group_count = (\d+)", lowered.as_text())
    assert set(groups) <= {"1"}  # XLA's grouped convolution is slow on the CPU
    together, alone = lowered.compile()(members, x), jax.jit(gradients(layer))
    for i in range(3):
        member, found = jax.tree.map(lambda a, i=i: a[i], (members, together))
        expected = alone(member, x)
        chex.assert_trees_all_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_exported_for_batches_of_any_size():
    """One program, also where images would be taken some at a time."""
    net = nn.Sequential(
        nn.Conv(4, 3),
        nn.Conv(32, 3, stride=2),
        nn.Conv(4, 3, groups=4),
        nn.ConvTranspose(32, 3, stride=2),
        nn.Conv(1, 3),
    )
    params, _ = net.init(jax.random.key(0), jnp.ones((1, 4, 4, 2)))
    symbol = jax.export.symbolic_shape("n, 4, 4, 2")
    step = jax.jit(lambda x: gradients(net)(params, x))
    exported = jax.export.export(step)(jax.ShapeDtypeStruct(symbol, jnp.float32))
    for size in (1, 3):
        x = jax.random.normal(jax.random.key(1), (size, 4, 4, 2))
        called = jax.jit(exported.call)(x)
        chex.assert_trees_all_close(called, step(x), rtol=1e-4, atol=1e-4)


TWO_DEVICES = """
import jax, chex, jax.numpy as jnp, jaxnn as nn
from jax.sharding import NamedSharding, PartitionSpec as P

assert jax.device_count() == 2
net = nn.Sequential(
    nn.Conv(8, 3), jax.nn.relu, nn.Conv(8, 5, stride=2), nn.Conv(8, 3, groups=2),
    nn.SeparableConv(6, 3), nn.ConvTranspose(33, 3, stride=2), nn.Conv(1, 3),
)
x = jax.random.normal(jax.random.key(1), (4, 6, 6, 3))
params, state = net.init(jax.random.key(0), x)
gradients = jax.grad(lambda p, x: (net.apply(p, state, x)[0] ** 2).sum(), (0, 1))
whole = jax.jit(gradients)(params, x)

mesh = jax.make_mesh((2,), ("batch",), axis_types=(jax.sharding.AxisType.{kind},))
specs = P(), P("batch")
if "{way}" == "shard_map":
    mapped = jax.shard_map(gradients, mesh=mesh, in_specs=specs, out_specs=specs)
    halves = jax.jit(mapped)(params, x)
else:
    with jax.set_mesh(mesh):
        placed = [jax.device_put(a, NamedSharding(mesh, s))
                  for a, s in zip((params, x), specs)]
        halves = jax.jit(gradients)(*placed)
assert len(halves[1].addressable_shards) == 2
halves, whole = jax.device_get((halves, whole))
chex.assert_trees_all_close(halves, whole, rtol=1e-4, atol=1e-4)
print("equal")
"""


@pytest.mark.parametrize(
    ("way", "kind"),
    [pytest.param("shard_map", "Auto", marks=pytest.mark.slow), ("jit", "Auto")],
)
def test_two_devices_have_the_gradients_of_the_whole_batch(way, kind):
    own = os.environ.get("XLA_FLAGS", "")
    flags = f"{own} --xla_force_host_platform_device_count=2"
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            TWO_DEVICES.replace("{way}", way).replace("{kind}", kind),
        ],
        env={**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
    )
    assert done.stdout == "equal\n", done.stderr[-2000:]


# --- bad input ---

KERNEL = "kernel must be a positive int or pair"
PADDING = 'padding must be "SAME", "VALID", an int of 0 or more'
#: The layer's kind, its arguments, and words of the error.
REFUSED_WHEN_BUILT = [
    (nn.Conv, (0, 3), {}, "features must be a positive int, got 0"),
    (nn.Conv, (2.0, 3), {}, "features must be a positive int, got 2.0"),
    (nn.Conv, (8, 0), {}, f"{KERNEL}, got 0"),
    (nn.Conv, (8, 3.0), {}, f"{KERNEL}, got 3.0"),
    (nn.Conv, (8, True), {}, f"{KERNEL}, got True"),
    (nn.Conv, (8, None), {}, f"{KERNEL}, got None"),
    (nn.Conv, (8, "3x3"), {}, f"{KERNEL}, got '3x3'"),
    (nn.Conv, (8, (3, 0)), {}, f"{KERNEL}, got (3, 0)"),
    (nn.Conv, (8, (3, False)), {}, f"{KERNEL}, got (3, False)"),
    (nn.Conv, (8, ()), {}, f"{KERNEL}, got ()"),
    (nn.Conv, (8, (3, 3, 3, 3)), {}, "(3, 3, 3) along three"),
    (nn.Conv, (8, 3), dict(stride=0), "stride must be a positive int or pair"),
    (nn.Conv, (8, 3), dict(stride=(2, 2, 2)), "stride must be a positive int or pair"),
    (nn.Conv, (8, (3,)), dict(stride=0), "or 1-tuple (the kernel slides along 1 axis)"),
    (nn.Conv, (8, (3,)), dict(stride=(1, 1)), "stride must be a positive int or 1-tup"),
    (
        nn.Conv,
        (8, (3, 3, 3)),
        dict(dilation=(1, 1)),
        "int or triple (the kernel slides",
    ),
    (nn.Conv, (8, 3), dict(dilation=0), "dilation must be a positive int or pair"),
    (nn.Conv, (8, 3), dict(dilation=1.5), "dilation must be a positive int or pair"),
    (nn.Conv, (8, 3), dict(padding="same"), "got 'same' (nearest: 'SAME')"),
    (nn.Conv, (8, 3), dict(padding="valid"), "got 'valid' (nearest: 'VALID')"),
    (nn.Conv, (8, 3), dict(padding="full"), f"{PADDING}"),
    (nn.Conv, (8, 3), dict(padding=-1), f"{PADDING}"),
    (nn.Conv, (8, 3), dict(padding=0.0), "got 0.0"),
    (nn.Conv, (8, 3), dict(padding=True), "got True"),
    (nn.Conv, (8, 3), dict(padding=None), "got None"),
    (nn.Conv, (8, 3), dict(padding=(1,)), "each spatial axis (there are 2)"),
    (nn.Conv, (8, 3), dict(padding=(1, (0, -1))), "got (1, (0, -1))"),
    (nn.Conv, (8, 3), dict(padding=(1, (0, 1, 2))), "a pair (before, after), got"),
    (nn.Conv, (8, 3), dict(padding=("SAME", 1)), "got ('SAME', 1)"),
    (nn.Conv, (8, 3), dict(padding=np.array([1, 1])), "got array([1, 1])"),
    (nn.Conv, (8, 3), dict(padding_mode="wrap"), "zeros, reflect, replicate, circular"),
    (nn.Conv, (8, 3), dict(padding_mode="reflection"), "(nearest: 'reflect')"),
    (nn.Conv, (8, 3), dict(padding_mode=None), "padding_mode must be one of"),
    (nn.Conv, (8, 3), dict(groups=0), "groups must be a positive int, got 0"),
    (nn.Conv, (8, 3), dict(groups=3), "groups=3 and 8 features"),
    (nn.ConvTranspose, (8, 0), {}, f"{KERNEL}, got 0"),
    (nn.ConvTranspose, (8, 3), dict(stride=0), "stride must be a positive int"),
    (nn.ConvTranspose, (8, 3), dict(padding="same"), "(nearest: 'SAME')"),
    (nn.ConvTranspose, (8, 3), dict(groups=3), "groups=3 and 8 features"),
    (nn.SeparableConv, (0, 3), {}, "features must be a positive int"),
    (nn.SeparableConv, (8, 3), dict(multiplier=0), "multiplier must be a positive int"),
    (nn.SeparableConv, (8, 3), dict(padding="Same"), "(nearest: 'SAME')"),
]


@pytest.mark.parametrize(("kind", "args", "options", "words"), REFUSED_WHEN_BUILT)
def test_impossible_options_are_refused_when_built(kind, args, options, words):
    with pytest.raises(ValueError, match=re.escape(words)) as caught:
        kind(*args, **options)
    assert str(caught.value).startswith(kind.__name__ + ": ")


#: A layer, an input it cannot take, and words of the error.
REFUSED_AT_INIT = [
    (nn.Conv(8, 3), (4, 28, 28), "x must be [N, H, W, C] for a kernel over 2 axes"),
    (nn.Conv(8, 3), (4, 28, 28), "one channel is added by x[..., None]"),
    (nn.Conv(8, 3), (4, 28, 3), "for sequences [N, T, C] write the kernel as (3,)"),
    (nn.Conv(8, (3,)), (4, 6, 6, 1), "x must be [N, T, C] for a kernel over 1 axis,"),
    (nn.Conv(8, (3, 3, 3)), (4, 6, 6, 1), "x must be [N, D, H, W, C]"),
    (nn.Conv(8, 3), (28,), "x must have at least 2 axes [N, ...]"),
    (
        nn.Conv(8, 3, groups=4),
        (2, 5, 5, 6),
        "groups=4 and 6 channels: float32[2,5,5,6]",
    ),
    (nn.Conv(8, 5, padding="VALID"), (2, 4, 6, 1), "the kernel spans 5x5"),
    (nn.Conv(8, 5, padding=((0, 0), 3)), (2, 4, 6, 1), "padded input is only 4x12"),
    (nn.Conv(8, 3, dilation=3, padding=1), (2, 4, 6, 1), "the kernel spans 7x7"),
    (nn.Conv(8, (3,), padding="VALID"), (2, 2, 1), "use a larger input"),
    (nn.Conv(8, 3), (2, 0, 6, 1), "x must not be empty, got float32[2,0,6,1]"),
    (nn.Conv(8, 3), (2, 6, 6, 0), "x must have features on its last axis, got float32"),
    (nn.Conv(8, 7, padding_mode="reflect"), (2, 3, 9, 1), "at most (2, 8) cells"),
    (nn.Conv(8, 9, padding_mode="circular"), (2, 3, 9, 1), "at most (3, 9) cells"),
    (nn.ConvTranspose(8, 3), (4, 5, 5), "x must be [N, H, W, C]"),
    (nn.ConvTranspose(8, 3, groups=2), (4, 5, 5, 3), "groups=2 and 3 channels"),
    (nn.ConvTranspose(8, 3, stride=2), (4, 0, 5, 3), "x must not be empty"),
    (
        nn.ConvTranspose(8, 3, padding=2),
        (4, 2, 5, 3),
        "cuts off all of the 4x7 outputs",
    ),
    (nn.ConvTranspose(8, 2, padding=((0, 9), 0)), (4, 2, 5, 3), "use less padding"),
    (nn.SeparableConv(8, 3), (4, 5, 5), "x must be [N, H, W, C]"),
    (nn.SeparableConv(8, 3), (4, 5, 5, 0), "x must have features"),
    (nn.SeparableConv(8, 6, padding="VALID"), (4, 5, 5, 2), "the kernel spans 6x6"),
]


@pytest.mark.parametrize(("layer", "shape", "words"), REFUSED_AT_INIT, ids=str)
def test_impossible_inputs_are_refused_at_init_with_the_path(layer, shape, words):
    net = nn.Sequential(stem=nn.Sequential(conv1=layer))
    with pytest.raises(ValueError, match=re.escape(words)) as caught:
        net.init(jax.random.key(0), jnp.ones(shape))
    described = "float32[" + ",".join(map(str, shape)) + "]"
    assert caught.value.__notes__[0] == f"in stem/conv1: {layer} on {described}"


@pytest.mark.parametrize("layer", [nn.Conv, nn.ConvTranspose, nn.SeparableConv])
def test_other_inputs_than_at_init_are_refused(layer, key):
    layer = layer(4, 3)
    params, state = layer.init(key, jnp.ones((2, 5, 5, 3)))
    with pytest.raises(ValueError, match="must have 3 channels on its last axis"):
        layer.apply(params, state, jnp.ones((2, 5, 5, 2)))
    with pytest.raises(ValueError, match="must have 3 channels on its last axis"):
        layer.apply(params, state, jnp.ones((2, 5, 5, 6)))
    with pytest.raises(ValueError, match=r"x must be \[N, H, W, C\]"):
        layer.apply(params, state, jnp.ones((5, 5, 3)))
    with pytest.raises(TypeError, match=r"uint8\[2,5,5,3\].*astype\('float32'\) / 255"):
        layer.apply(params, state, jnp.ones((2, 5, 5, 3), jnp.uint8))
    with pytest.raises(TypeError, match="x must be an array"):
        layer.apply(params, state, [1.0])


def test_a_kernel_outgrown_by_strides_names_its_layer():
    """Twice halved, 8 cells are 2: too few for three without padding."""
    net = nn.Sequential(
        a=nn.Conv(2, 3, stride=2), b=nn.Conv(2, 3, stride=2), c=nn.Conv(2, 3, padding=0)
    )
    with pytest.raises(ValueError, match="padded input is only 2x2") as caught:
        net.init(jax.random.key(0), jnp.ones((1, 8, 8, 1)))
    assert caught.value.__notes__[0].startswith("in c: Conv(2, kernel=3, padding=0)")


def test_every_option_counts_for_equality_and_hash():
    changed = [
        nn.Conv(4, 3),
        nn.Conv(8, 3),
        nn.Conv(4, (3, 3)),
        nn.Conv(4, 3, stride=2),
        nn.Conv(4, 3, padding=1),
        nn.Conv(4, 3, padding_mode="circular"),
        nn.Conv(4, 3, dilation=2),
        nn.Conv(4, 3, groups=2),
        nn.Conv(4, 3, bias=False),
        nn.Conv(4, 3, w_init=nn.initializers.zeros()),
        nn.ConvTranspose(4, 3),
        nn.SeparableConv(4, 3),
    ]
    again = [eval(repr(layer), vars(nn)) for layer in changed]
    assert again == changed
    assert list(map(hash, again)) == list(map(hash, changed))
    assert len(set(changed)) == len(changed)
