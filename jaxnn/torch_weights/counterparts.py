# SPDX-License-Identifier: Apache-2.0
"""The layers that PyTorch also has, and which arrays its modules hold: one table.

A new counterpart is a row of `_MODULES`, or a function there if the module depends on
how the layer is built.
"""

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, NamedTuple

from jaxnn import layers as ours
from jaxnn import trees
from jaxnn.core import Layer


class Form(Enum):
    """What an array has numbers for, which says how its axes lie in PyTorch."""

    CHANNEL = "each channel, or each row of a table; the same there"
    OUTPUT = "each output of a weight; the same there"
    WEIGHT = "each input and output: a matrix or a kernel"
    LENGTH = "each output, with all axes of the weight there"
    INPUT = "each input of one output of a weight; flat there"


class Row(NamedTuple):
    """One of our arrays, and where it is in PyTorch's module."""

    ours: str  # its path in the layer
    theirs: tuple[str, ...]  # its names there; `to_torch` writes the first; "" for none
    form: Form = Form.CHANNEL
    piece: tuple[int, int] = (0, 1)  # which of how many equal pieces of theirs it is
    zero: bool = False  # the second half of a sum: zero there, added to the first here


Modules = Mapping[str, tuple[Row, ...]]  # by the part of the layer that is a module
Shapes = Mapping[str, tuple[int, ...]]  # of the layer's parameters, by path


def modules_of(owner: str, layer: Layer, params: Any, path: str) -> Modules:
    """PyTorch's modules for a layer: one, or one for each of some parts of it.

    Raises:
        TypeError: PyTorch has no such layer, or not with these options.
    """
    shapes = {name: a.shape for name, a in trees.paths(params).items()}
    found = _MODULES.get(type(layer), _unknown)
    try:
        return found(layer, shapes) if callable(found) else found
    except _NoCounterpart as error:
        skip = f"; from_torch leaves it as initialized with skip={path!r}"
        raise TypeError(
            f"{owner}: {layer!r:.60} at {path!r} has no counterpart in PyTorch"
            f"{error}{skip if path else ''}"
        ) from None


def has_counterpart(layer: Layer) -> bool:
    """Whether PyTorch has this kind of layer."""
    return type(layer) in _MODULES


def unwrapped(layer: Any) -> Layer:
    """The layer inside wrappers with its parameters; any other layer itself."""
    around = (ours.Remat, ours.Frozen, ours.Mixed, ours.WeightNorm, ours.SpectralNorm)
    while isinstance(layer, around):
        layer = layer.layer
    return layer


class _NoCounterpart(Exception):
    """The end of a message: why PyTorch has no such layer."""


def _unknown(layer: Layer, shapes: Shapes) -> Modules:
    known = ", ".join(kind.__name__ for kind in _MODULES)
    raise _NoCounterpart(f" that is known here; known are {known}")


def _rows(*rows: Row) -> Modules:
    return {"": rows}


_BIAS = Row("b", ("bias",), Form.OUTPUT)
_AFFINE = (Row("w", ("weight",), Form.WEIGHT), _BIAS)
_NORM = (Row("scale", ("weight",)), Row("offset", ("bias",)))
_STATISTICS = (Row("mean", ("running_mean",)), Row("var", ("running_var",)))


def _cell(layer: Any, shapes: Shapes) -> Modules:
    return _recurrence(layer, "")


def _recurrent(layer: Any, shapes: Shapes) -> Modules:
    return _recurrence(layer.cell, "_l0")


def _recurrence(cell: Any, suffix: str) -> Modules:
    """The arrays of a cell, alone or over time (in a stack, `l1_reverse` and so on).

    PyTorch's layers have two biases where one would do; only a GRU needs both.
    """
    if type(cell) not in (ours.RNNCell, ours.GRUCell, ours.LSTMCell):
        raise _NoCounterpart(": its cells are RNNCell, GRUCell and LSTMCell")
    if getattr(cell, "peepholes", False):
        raise _NoCounterpart(": its LSTM has no peepholes")
    both = isinstance(cell, ours.GRUCell)
    again = "recurrent/b" if both else "input/b"
    return _rows(
        Row("input/w", (f"weight_ih{suffix}",), Form.WEIGHT),
        Row("recurrent/w", (f"weight_hh{suffix}",), Form.WEIGHT),
        Row("input/b", (f"bias_ih{suffix}",), Form.OUTPUT),
        Row(again, (f"bias_hh{suffix}",), Form.OUTPUT, zero=not both),
    )


def _attention(layer: Any, shapes: Shapes) -> Modules:
    """`MultiheadAttention`: three weights in one if the memory is as wide as `x`."""
    (width, features), (other, narrow) = shapes["query/w"], shapes["key/w"]
    if layer.rotary:
        raise _NoCounterpart(": its attention has no rotary")
    if narrow != features:
        raise _NoCounterpart(": its attention has no kv_heads")
    if width != features:
        raise _NoCounterpart(f": its attention gives as many features as x, {width}")
    rows = [
        Row("out/w", ("out_proj.weight",), Form.WEIGHT),
        Row("out/b", ("out_proj.bias",), Form.OUTPUT),
    ]
    for i, name in enumerate(("query", "key", "value")):
        if other == width:
            weight = Row(f"{name}/w", ("in_proj_weight",), Form.WEIGHT, (i, 3))
        else:
            weight = Row(f"{name}/w", (f"{name[0]}_proj_weight",), Form.WEIGHT)
        bias = Row(f"{name}/b", ("in_proj_bias",), Form.OUTPUT, (i, 3))
        rows += [weight, bias]
    return _rows(*rows)


def _weight_norm(layer: Any, shapes: Shapes) -> Modules:
    """Both APIs; that in `parametrizations` also loads the names of the older one."""
    _check_wrapped(layer)
    new = "parametrizations.weight.original"
    return _rows(
        Row("scale", ("weight_g", f"{new}0"), Form.LENGTH),
        Row("w", ("weight_v", f"{new}1"), Form.WEIGHT),
        _BIAS,
    )


def _spectral_norm(layer: Any, shapes: Shapes) -> Modules:
    """Both APIs, neither of which loads the names of the other."""
    _check_wrapped(layer)
    new = "parametrizations.weight"
    return _rows(
        Row("w", (f"{new}.original", "weight_orig"), Form.WEIGHT),
        Row("u", (f"{new}.0._u", "weight_u"), Form.OUTPUT),
        Row("v", (f"{new}.0._v", "weight_v"), Form.INPUT),
        _BIAS,
    )


def _check_wrapped(layer: Any) -> None:
    inner = layer.layer
    known = isinstance(inner, ours.Dense | ours.Conv | ours.ConvTranspose)
    if not known or layer.name != "w":
        raise _NoCounterpart(
            " that is known here; known is the weight of Dense, Conv and ConvTranspose"
        )
    if isinstance(inner, ours.ConvTranspose) and inner.groups > 1:
        raise _NoCounterpart(
            ": groups of its transposed convolution share what each output has here"
        )


#: By kind of layer: PyTorch's modules, or a function that tells them.
_MODULES: dict[type, Modules | Callable[[Any, Shapes], Modules]] = {
    ours.Dense: _rows(*_AFFINE),
    ours.Conv: _rows(*_AFFINE),
    ours.ConvTranspose: _rows(*_AFFINE),
    ours.SeparableConv: {"depthwise": _AFFINE, "pointwise": _AFFINE},
    ours.SqueezeExcite: {"squeeze": _AFFINE, "excite": _AFFINE},
    ours.FiLM: _rows(*_AFFINE),
    ours.CosineLogits: _rows(Row("w", ("weight",), Form.WEIGHT)),
    ours.PReLU: _rows(Row("scale", ("weight",))),
    ours.BatchNorm: _rows(*_NORM, *_STATISTICS),
    ours.GroupNorm: _rows(*_NORM),
    ours.InstanceNorm: _rows(*_NORM),
    ours.LayerNorm: _rows(*_NORM),
    ours.RMSNorm: _rows(*_NORM),
    ours.WeightNorm: _weight_norm,
    ours.SpectralNorm: _spectral_norm,
    ours.Embed: _rows(Row("table", ("weight",))),
    ours.LearnedPositions: _rows(Row("table", ("weight", ""))),  # or a bare parameter
    ours.Parameter: _rows(Row("w", ("weight", ""))),
    ours.Scale: _rows(Row("scale", ("weight", ""))),
    ours.Bias: _rows(Row("b", ("bias", ""))),
    ours.RNNCell: _cell,
    ours.GRUCell: _cell,
    ours.LSTMCell: _cell,
    ours.Recurrent: _recurrent,
    ours.MultiHeadAttention: _attention,
    ours.FeedForward: {"up": _AFFINE, "down": _AFFINE},
}
