# SPDX-License-Identifier: Apache-2.0
"""Convolution, its input gradient and its filter gradient.

The three are one trilinear form, `sum g · (x conv w)`, with one of x, w, g left open:
each is linear in both of its arguments, and the transposes of each are the other two.
As separate primitives, they can be differentiated to any order, forward and backward,
and each backend computes them in its own way: by XLA's convolution, whose patterns GPU
and TPU compilers recognize, and on the CPU in the way that `conv_cpu.py` found fast.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.interpreters import ad, batching, mlir
from jax.sharding import NamedSharding, PartitionSpec

from jaxnn.ops import conv_cpu
from jaxnn.ops.devices import on_several_devices
from jaxnn.ops.portable import is_portable
from jaxnn.ops.windows import Pads, output_sizes


class Window(NamedTuple):
    """Everything but the arrays: one entry for each spatial axis."""

    sizes: tuple[int, ...]  # of the input
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    pads: Pads
    dilation: tuple[int, ...]
    groups: int
    spread: bool = False  # whether the batch lies on several devices


def conv(x, w, *, stride, pads, dilation, groups: int = 1) -> jax.Array:
    """Slide `w` over `x`, multiply and add (a cross-correlation, as in all networks).

    `y[n, i, f] = Σ over k, c of x[n, i · stride + k · dilation - before, c] w[k, c, f]`

    Args:
        x: `[N, *sizes, C]`, one to three spatial axes.
        w: `[*kernel, C / groups, F]`.
        stride, dilation: an int for each spatial axis.
        pads: (before, after) for each spatial axis, in zeros.
        groups: the number of blocks of channels; block j of C makes block j of F.

    Returns:
        `[N, *outputs, F]` in the dtype of `x`.

    >>> import jax.numpy as jnp
    >>> x, w = jnp.arange(5.0).reshape(1, 5, 1), jnp.ones((3, 1, 1))
    >>> conv(x, w, stride=(1,), pads=((1, 1),), dilation=(1,))[0, :, 0].tolist()
    [1.0, 3.0, 6.0, 9.0, 7.0]
    """
    sizes, spread = x.shape[1:-1], on_several_devices()
    window = Window(sizes, w.shape[:-2], stride, pads, dilation, groups, spread)
    return _bind(_CONV, *_alike(x, w.astype(x.dtype)), window)


def conv_transpose(x, w, *, sizes, stride, pads, dilation, groups: int = 1):
    """The transpose of `conv`: every element of `x` adds a scaled copy of `w` to `y`.

    `y[n, i · stride + k · dilation - before, f] += Σ over c of x[n, i, c] w[k, c, f]`

    Args:
        x: `[N, *outputs, C]`, in the shape that a convolution over `sizes` outputs.
        w: `[*kernel, C / groups, F]`.
        sizes: the spatial sizes of the output.
        stride, pads, dilation, groups: those of the convolution that this transposes.

    Returns:
        `[N, *sizes, F]` in the dtype of `x`.
    """
    spread = on_several_devices()
    window = Window(sizes, w.shape[:-2], stride, pads, dilation, groups, spread)
    w = _swap_channels(w.astype(x.dtype), groups)
    return _bind(_INPUT, *_alike(x, w), window)


def _swap_channels(w, groups: int):
    """`[*k, C/groups, F]` to `[*k, F/groups, C]`, block by block."""
    *kernel, c, f = w.shape
    w = w.reshape(*kernel, c, groups, f // groups)
    return jnp.moveaxis(w, -1, -3).swapaxes(-1, -2).reshape(*kernel, f // groups, -1)


def _alike(a, b):
    """Under `shard_map`, let both vary over the same mesh axes, as lax's own do."""
    return _vary(a, _varying(b) - _varying(a)), _vary(b, _varying(a) - _varying(b))


def _varying(a) -> frozenset:
    kind = jax.typeof(a)  # (jax 0.8 has it under another name)
    return kind.mat.varying if hasattr(kind, "mat") else kind.vma


def _vary(a, axes):
    if not axes:
        return a
    if hasattr(lax, "pcast"):
        return lax.pcast(a, tuple(axes), to="varying")
    return lax.pvary(a, tuple(axes))  # type: ignore


# What XLA is asked for by default: its convolution and the transposes of it.


def _lax_conv(x, w, *, window: Window):
    axes = "DHW"[-len(window.kernel) :]
    return lax.conv_general_dilated(
        x,
        w,
        window.stride,
        window.pads,
        rhs_dilation=window.dilation,
        feature_group_count=window.groups,
        dimension_numbers=(f"N{axes}C", f"{axes}IO", f"N{axes}C"),
    )


def _lax_input(g, w, *, window: Window):
    x = jax.ShapeDtypeStruct(_input_shape(g, w, window), g.dtype)
    forward = functools.partial(_lax_conv, w=w, window=window)
    return jax.linear_transpose(forward, x)(g)[0]


def _portable_input(g, w, *, window: Window):
    """The same as a convolution over spread-out inputs, in the usual order of axes."""
    axes = "DHW"[-len(window.kernel) :]
    each = zip(
        *(window.sizes, g.shape[1:-1], window.kernel, window.stride),
        *(window.pads, window.dilation),
        strict=True,
    )
    pads = []
    for size, output, kernel, stride, (before, _), dilation in each:
        reach = (kernel - 1) * dilation
        first = reach - before
        pads.append((first, size + reach - ((output - 1) * stride + 1) - first))
    spatial = tuple(range(len(window.kernel)))
    return lax.conv_general_dilated(
        g,
        jnp.flip(_swap_channels(w, window.groups), spatial),
        (1,) * len(spatial),
        pads,
        lhs_dilation=window.stride,
        rhs_dilation=window.dilation,
        feature_group_count=window.groups,
        dimension_numbers=(f"N{axes}C", f"{axes}IO", f"N{axes}C"),
    )


def _lax_filter(x, g, *, window: Window):
    w = jax.ShapeDtypeStruct(_filter_shape(x, g, window), x.dtype)
    return jax.linear_transpose(lambda w: _lax_conv(x, w, window=window), w)(g)[0]


def _output_shape(x, w, window: Window):
    _, kernel, stride, pads, dilation, *_ = window
    outputs = output_sizes(window.sizes, kernel, stride, pads, dilation)
    return x.shape[0], *outputs, w.shape[-1]


def _input_shape(g, w, window: Window):
    return g.shape[0], *window.sizes, w.shape[-2] * window.groups


def _filter_shape(x, g, window: Window):
    return *window.kernel, x.shape[-1] // window.groups, g.shape[-1]


# Three primitives.


class _Kind(NamedTuple):
    """What defines one of the three primitives."""

    name: str
    shape: Callable[..., tuple]
    default: Callable[..., jax.Array]
    cpu: Callable[..., jax.Array]
    is_sum: bool = False  # over the batch


def _bind(kind: _Kind, a, b, window: Window):
    if is_portable():
        return _PORTABLE.get(kind, kind.default)(a, b, window=window)
    return _primitive(kind).bind(a, b, window=window)


@functools.cache
def _primitive(kind: _Kind):
    """A bilinear primitive of two arrays and a window, made when first needed."""
    from jax.extend.core import Primitive  # (its import takes 20 ms)

    primitive = Primitive(kind.name)

    @primitive.def_abstract_eval
    def abstract(a, b, *, window):
        shape = kind.shape(a, b, window)
        sharding = _unsharded(a) if kind.is_sum else a.sharding
        return a.update(shape=shape, sharding=sharding, weak_type=False)

    @primitive.def_impl
    @functools.partial(jax.jit, static_argnames="window")
    def compiled(a, b, *, window):
        return primitive.bind(a, b, window=window)

    mlir.register_lowering(primitive, _lowering(kind.default))
    mlir.register_lowering(primitive, _lowering(kind.cpu), platform="cpu")
    batching.primitive_batchers[primitive] = functools.partial(_batched, kind)
    ad.defbilinear(primitive, *_TRANSPOSES[kind])
    return primitive


def _lowering(function):
    """How a function is lowered: jitted, so that equal convolutions are traced once."""
    function = jax.jit(function, static_argnames="window")
    return mlir.lower_fun(function, multiple_results=False)


def _unsharded(a):
    """For explicit meshes: a sum over the batch is whole on every device."""
    return NamedSharding(a.sharding.mesh, PartitionSpec(*[None] * a.ndim))


def _batched(kind: _Kind, args, dims, *, window: Window):
    """`vmap`: examples join the batch, sets of weights become groups."""
    size = next(a.shape[d] for a, d in zip(args, dims, strict=True) if d is not None)
    a, b = (
        x if d is None else jnp.moveaxis(x, d, 0)
        for x, d in zip(args, dims, strict=True)
    )
    if dims[1] is None and not kind.is_sum:  # weights are shared: a larger batch
        y = _bind(kind, _examples(a), b, window)
        return y.reshape(size, -1, *y.shape[1:]), 0
    a, b = (
        jnp.broadcast_to(x, (size, *x.shape)) if d is None else x
        for x, d in zip((a, b), dims, strict=True)
    )
    window = window._replace(groups=window.groups * size)
    y = _bind(kind, _into_channels(a), _into_channels(b), window)
    return _out_of_channels(y, size), 0


def _examples(a):
    """`[B, N, ...]` to `[B · N, ...]`."""
    return a.reshape(-1, *a.shape[2:])


def _into_channels(a):
    """`[B, ..., C]` to `[..., B · C]`."""
    a = jnp.moveaxis(a, 0, -2)
    return a.reshape(*a.shape[:-2], a.shape[-2] * a.shape[-1])


def _out_of_channels(a, size):
    """`[..., B · C]` to `[B, ..., C]`."""
    a = a.reshape(*a.shape[:-1], size, a.shape[-1] // size)
    return jnp.moveaxis(a, -2, 0)


_CONV = _Kind("conv", _output_shape, _lax_conv, conv_cpu.conv)
_INPUT = _Kind("conv_input_gradient", _input_shape, _lax_input, conv_cpu.input_gradient)
_FILTER = _Kind(
    "conv_filter_gradient", _filter_shape, _lax_filter, conv_cpu.filter_gradient, True
)

#: How converters of programs want them, if not as XLA does.
_PORTABLE = {_INPUT: _portable_input}

#: By the first and by the second argument, from the cotangent, the arguments (the one
#: sought is undefined) and the window.
_TRANSPOSES = {
    _CONV: (  # of (x, w), its cotangent is a g
        lambda g, x, w, window: _bind(_INPUT, g, w, window),
        lambda g, x, w, window: _bind(_FILTER, x, g, window),
    ),
    _INPUT: (  # of (g, w), its cotangent is an x
        lambda x, g, w, window: _bind(_CONV, x, w, window),
        lambda x, g, w, window: _bind(_FILTER, x, g, window),
    ),
    _FILTER: (  # of (x, g), its cotangent is a w
        lambda w, x, g, window: _bind(_INPUT, g, w, window),
        lambda w, x, g, window: _bind(_CONV, x, w, window),
    ),
}
