# SPDX-License-Identifier: Apache-2.0
"""Convolution, its input gradient and its filter gradient.

The three are one trilinear form, `sum g · (x conv w)`, with one of x, w, g left open:
each is linear in both of its arguments, and the transposes of each are the other two.
As primitives of their own they differentiate to any order, forwards and backwards, and
each back end computes them in its own way: by XLA's convolution, whose patterns GPU and
TPU compilers know, and on the CPU as `conv_cpu.py` found to be fast.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jax.sharding import NamedSharding, PartitionSpec

from jaxnn.ops import conv_cpu
from jaxnn.ops.windows import Pads, output_sizes


class Window(NamedTuple):
    """All but the arrays: one entry for each spatial axis."""

    sizes: tuple[int, ...]  # of the input
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    pads: Pads
    dilation: tuple[int, ...]
    groups: int


def conv(x, w, *, stride, pads, dilation, groups: int = 1) -> jax.Array:
    """Slide `w` over `x`, multiply and add (a cross-correlation, as networks have it).

    `y[n, i, f] = Σ over k, c of x[n, i · stride + k · dilation - before, c] w[k, c, f]`

    Args:
        x: `[N, *sizes, C]`, one to three spatial axes.
        w: `[*kernel, C / groups, F]`.
        stride, dilation: an int for each spatial axis.
        pads: (before, after) for each spatial axis, in zeros.
        groups: how many blocks the channels fall into; block j of C makes block j of F.

    Returns:
        `[N, *outputs, F]` in the dtype of `x`.

    >>> import jax.numpy as jnp
    >>> x, w = jnp.arange(5.0).reshape(1, 5, 1), jnp.ones((3, 1, 1))
    >>> conv(x, w, stride=(1,), pads=((1, 1),), dilation=(1,))[0, :, 0].tolist()
    [1.0, 3.0, 6.0, 9.0, 7.0]
    """
    window = Window(x.shape[1:-1], w.shape[:-2], stride, pads, dilation, groups)
    return _conv_p.bind(*_alike(x, w.astype(x.dtype)), window=window)


def conv_transpose(x, w, *, sizes, stride, pads, dilation, groups: int = 1):
    """The transpose of `conv`: every number of `x` adds a scaled copy of `w` to `y`.

    `y[n, i · stride + k · dilation - before, f] += Σ over c of x[n, i, c] w[k, c, f]`

    Args:
        x: `[N, *outputs, C]`, what a convolution over `sizes` gives.
        w: `[*kernel, C / groups, F]`.
        sizes: of the output.
        stride, pads, dilation, groups: of the convolution that this transposes.

    Returns:
        `[N, *sizes, F]` in the dtype of `x`.
    """
    window = Window(sizes, w.shape[:-2], stride, pads, dilation, groups)
    w = _swap_channels(w.astype(x.dtype), groups)
    return _input_p.bind(*_alike(x, w), window=window)


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


# What XLA is asked for by default: its convolution and that one's own transposes.


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


def _lax_filter(x, g, *, window: Window):
    w = jax.ShapeDtypeStruct(_filter_shape(x, g, window), x.dtype)
    return jax.linear_transpose(lambda w: _lax_conv(x, w, window=window), w)(g)[0]


def _output_shape(x, w, window: Window):
    _, kernel, stride, pads, dilation, _ = window
    outputs = output_sizes(window.sizes, kernel, stride, pads, dilation)
    return x.shape[0], *outputs, w.shape[-1]


def _input_shape(g, w, window: Window):
    return g.shape[0], *window.sizes, w.shape[-2] * window.groups


def _filter_shape(x, g, window: Window):
    return *window.kernel, x.shape[-1] // window.groups, g.shape[-1]


# Three primitives.


def _primitive(name, shape, default, cpu, merge, keeps_batch=True) -> Primitive:
    """A bilinear primitive of two arrays and a window."""
    primitive = Primitive(name)

    @primitive.def_abstract_eval
    def abstract(a, b, *, window):
        sharding = a.sharding if keeps_batch else _unsharded(a)
        return a.update(shape=shape(a, b, window), sharding=sharding, weak_type=False)

    @primitive.def_impl
    @functools.partial(jax.jit, static_argnames="window")
    def compiled(a, b, *, window):
        return primitive.bind(a, b, window=window)

    mlir.register_lowering(primitive, _lowering(default))
    mlir.register_lowering(primitive, _lowering(cpu), platform="cpu")
    batching.primitive_batchers[primitive] = functools.partial(_batched, merge)
    return primitive


def _lowering(function):
    """How a function is lowered: jitted, so that equal convolutions are traced once."""
    function = jax.jit(function, static_argnames="window")
    return mlir.lower_fun(function, multiple_results=False)


def _unsharded(a):
    """For explicit meshes: a sum over the batch is whole on every device."""
    return NamedSharding(a.sharding.mesh, PartitionSpec(*[None] * a.ndim))


def _batched(merge, args, dims, *, window: Window):
    """`vmap`: examples join the batch, sets of weights become groups."""
    size = next(a.shape[d] for a, d in zip(args, dims, strict=True) if d is not None)
    moved = [
        None if d is None else jnp.moveaxis(a, d, 0)
        for a, d in zip(args, dims, strict=True)
    ]
    return merge(*args, *moved, size, window), 0


def _examples(a):
    """`[B, N, ...]` to `[B · N, ...]`."""
    return a.reshape(-1, *a.shape[2:])


def _into_channels(a):
    """`[B, ..., C]` to `[..., B · C]`."""
    a = jnp.moveaxis(a, 0, -2)
    return a.reshape(*a.shape[:-2], -1)


def _out_of_channels(a, size):
    """`[..., B · C]` to `[B, ..., C]`."""
    return jnp.moveaxis(a.reshape(*a.shape[:-1], size, -1), -2, 0)


def _wide(moved, a, size):
    """The batched form, or every member the same."""
    return jnp.broadcast_to(a, (size, *a.shape)) if moved is None else moved


def _merge(primitive, a, b, moved_a, moved_b, size, window: Window, by_example: bool):
    if by_example and moved_b is None:  # weights are shared: a larger batch
        y = primitive().bind(_examples(moved_a), b, window=window)
        return y.reshape(size, -1, *y.shape[1:])
    window = window._replace(groups=window.groups * size)
    a, b = _wide(moved_a, a, size), _wide(moved_b, b, size)
    y = primitive().bind(_into_channels(a), _into_channels(b), window=window)
    return _out_of_channels(y, size)


_conv_p = _primitive(
    "conv",
    _output_shape,
    _lax_conv,
    conv_cpu.conv,
    functools.partial(_merge, lambda: _conv_p, by_example=True),
)
_input_p = _primitive(
    "conv_input_gradient",
    _input_shape,
    _lax_input,
    conv_cpu.input_gradient,
    functools.partial(_merge, lambda: _input_p, by_example=True),
)
_filter_p = _primitive(
    "conv_filter_gradient",
    _filter_shape,
    _lax_filter,
    conv_cpu.filter_gradient,
    functools.partial(_merge, lambda: _filter_p, by_example=False),
    keeps_batch=False,
)


def _defbilinear(primitive, to_first, to_second) -> None:
    """The transposes by the first and by the second argument, as other primitives."""

    def first(cotangent, a, b, *, window):
        return to_first(cotangent, b, window)

    def second(cotangent, a, b, *, window):
        return to_second(cotangent, a, window)

    ad.defbilinear(primitive, first, second)


_defbilinear(
    _conv_p,
    lambda g, w, window: _input_p.bind(g, w, window=window),
    lambda g, x, window: _filter_p.bind(x, g, window=window),
)
_defbilinear(
    _input_p,  # of (g, w), its cotangent is an x
    lambda x, w, window: _conv_p.bind(x, w, window=window),
    lambda x, g, window: _filter_p.bind(x, g, window=window),
)
_defbilinear(
    _filter_p,  # of (x, g), its cotangent is a w
    lambda w, g, window: _input_p.bind(g, w, window=window),
    lambda w, x, window: _conv_p.bind(x, w, window=window),
)
