# SPDX-License-Identifier: Apache-2.0
"""The arrays of both sides: the same values with axes in another order."""

import math
from collections.abc import Callable, Container, Iterable, Mapping
from typing import NamedTuple

import numpy as np

from jaxnn.core import Layer
from jaxnn.layers import ConvTranspose
from jaxnn.torch_weights.counterparts import Form, Row
from jaxnn.torch_weights.parts import Part, Shapes, dotted, join, kind_of
from jaxnn.torch_weights.read import Given

Names = Mapping[str, str]  # of modules, by the names of parts
Shape = tuple[int, ...]
_OF_WEIGHTS = (Form.WEIGHT, Form.LENGTH, Form.INPUT)
_OF_OUTPUTS = (Form.OUTPUT, Form.LENGTH)


class Slot(NamedTuple):
    """One of our arrays, or a part of it, and where it is in PyTorch."""

    torch: str  # the name of an array there
    shape: Shape  # and its shape
    module: str  # the name of the module with all of the unit
    kind: str  # params or state
    path: str
    part: Part
    row: Row
    view: Shape  # the shape in which our array has the axes of a weight, or its own


def find_slots(
    parts: list[Part], shapes: Shapes, naming: Names, given: Mapping[str, Given]
) -> list[Slot]:
    """Every array of a network, with its name and shape in PyTorch."""
    slots = []
    for part in parts:
        own = naming.get(part.name, f"({part.name})")
        module = own.removesuffix(part.inside).rstrip(".") if part.inside else own
        for row in part.rows:
            path = join(part.path, row.ours)
            kind = kind_of(path, shapes)
            view = _view(part, row, shapes[kind, path].shape, shapes)
            name = _first([dotted(own, name) for name in row.theirs], given)
            shape = _their_shape(part.layer, row, view)
            if name == own and name in given and given[name].shape == (1, *shape):
                shape = (1, *shape)  # a bare parameter, ready to be added to a batch
            slots.append(Slot(name, shape, module, kind, path, part, row, view))
    return slots


def _first(names: list[str], given: Container[str]) -> str:
    return next((name for name in names if name in given), names[0])


def _view(part: Part, row: Row, whole: Shape, shapes: Shapes) -> Shape:
    """The axes of a weight: the length of each output has 1 for those it lacks."""
    if row.form not in (Form.LENGTH, Form.INPUT):
        return whole[len(part.block) :]
    weight = shapes["params", join(part.path, "w")].shape[len(part.block) :]
    if row.form is Form.INPUT:
        return (*weight[:-1], 1)
    return (*(1 for _ in weight[:-1]), weight[-1])


def _their_shape(layer: Layer, row: Row, view: Shape) -> Shape:
    shape = _shape_there(layer, row, view)
    if row.form is Form.INPUT:
        shape = (math.prod(shape),)
    first, *rest = shape or (1,)  # a PReLU with a single slope
    return (first * row.piece[1], *rest)


def _shape_there(layer: Layer, row: Row, view: Shape) -> Shape:
    if row.form in _OF_WEIGHTS:
        return _weight_there(layer, np.broadcast_to(np.float32(0), view)).shape
    return view


def _weight_there(layer: Layer, w: np.ndarray) -> np.ndarray:
    """`[*kernel, C / groups, F]` as `[F, C / groups, *kernel]`; a matrix transposed.

    For a transposed convolution, `[C, F / groups, *kernel]`.
    """
    w = np.moveaxis(w, (-1, -2), (0, 1))
    if not isinstance(layer, ConvTranspose):
        return w
    blocks = np.split(w, layer.groups)
    return np.concatenate([block.swapaxes(0, 1) for block in blocks])


def _weight_here(layer: Layer, w: np.ndarray) -> np.ndarray:
    """The inverse of `_weight_there`."""
    if isinstance(layer, ConvTranspose):
        blocks = np.split(w, layer.groups)
        w = np.concatenate([block.swapaxes(0, 1) for block in blocks])
    return np.moveaxis(w, (0, 1), (-1, -2))


def to_theirs(slots: Iterable[Slot], arrays: Mapping) -> np.ndarray:
    """One array of PyTorch, from those of ours that are its pieces."""
    pieces = {}
    for slot in slots:
        whole = np.asarray(arrays[slot.kind, slot.path])
        pieces[slot.row.piece] = _piece(slot, whole[slot.part.block])
    return np.ascontiguousarray(np.concatenate([pieces[i] for i in sorted(pieces)]))


def _piece(slot: Slot, array: np.ndarray) -> np.ndarray:
    shape = (slot.shape[0] // slot.row.piece[1], *slot.shape[1:])
    if slot.row.zero:
        return np.zeros(shape, np.float32)
    array = array.astype(np.float32) if array.dtype.name == "bfloat16" else array
    array = _reordered(slot, array.reshape(slot.view), _channels_first)
    if slot.row.form in _OF_WEIGHTS:
        array = _weight_there(slot.part.layer, array)
    return array.reshape(shape)


def to_ours(slot: Slot, array: np.ndarray) -> np.ndarray:
    """A PyTorch array, or the piece of it that is ours, in our order of axes."""
    at, count = slot.row.piece
    array = np.split(array, count)[at]
    if slot.row.form in _OF_WEIGHTS:
        there = _shape_there(slot.part.layer, slot.row, slot.view)
        array = _weight_here(slot.part.layer, array.reshape(there))
    return _reordered(slot, array.reshape(slot.view), _channels_last)


def _reordered(slot: Slot, array: np.ndarray, order: Callable) -> np.ndarray:
    """Put the rows that belong to the values of a flattened image in another order."""
    picture = slot.part.picture
    if not picture or slot.row.form in _OF_OUTPUTS or not array.ndim:
        return array
    rows = array.reshape(math.prod(picture), -1)
    return order(rows, picture).reshape(array.shape)


def _channels_first(rows: np.ndarray, picture: tuple[int, ...]) -> np.ndarray:
    return np.moveaxis(rows.reshape(*picture, -1), -2, 0)


def _channels_last(rows: np.ndarray, picture: tuple[int, ...]) -> np.ndarray:
    return np.moveaxis(rows.reshape(picture[-1], *picture[:-1], -1), 0, -2)
