# SPDX-License-Identifier: Apache-2.0
"""The arrays of both sides: the same values with axes in another order."""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from jaxnn.core import Layer
from jaxnn.layers import ConvTranspose, GRUCell, Recurrent
from jaxnn.torch_weights.parts import Names, Part, join

#: What PyTorch calls our arrays; in its layers each name has only this meaning.
_SUFFIX = {
    "w": "weight",
    "b": "bias",
    "scale": "weight",
    "offset": "bias",
    "mean": "running_mean",
    "var": "running_var",
}


class Slot(NamedTuple):
    """One array of a PyTorch module, and where it is here."""

    torch: str  # its name there
    shape: tuple[int, ...]  # and its shape
    kind: str  # params or state
    path: str
    block: tuple[int, ...]
    part: Part
    zero: bool = False  # the second half of a sum: zero there, added to the first here

    @property
    def leaf(self) -> str:
        """What the array is: `w`, `b`, `scale`, ..."""
        return self.path.rpartition("/")[2]


def find_slots(parts: list[Part], shapes: Mapping, naming: Names) -> list[Slot]:
    """Every array of a network, with its name and shape in PyTorch."""
    slots = []
    for part in parts:
        module = naming.get(part.name, f"({part.name})")
        for leaf, suffix, zero in _leaves(part):
            kind = "state" if leaf in ("mean", "var") else "params"
            path = join(part.path, leaf)
            if (kind, path) in shapes:
                whole = shapes[kind, path].shape
                own = whole[len(part.block) :]
                shape = _their_shape(part.layer, leaf.rpartition("/")[2], own)
                name = f"{module}.{suffix}" if module else suffix
                slots.append(Slot(name, shape, kind, path, part.block, part, zero))
    return slots


def _leaves(part: Part) -> Iterator[tuple[str, str, bool]]:
    """Our arrays, PyTorch's names for them, and whether each is the rest of a sum.

    Its recurrent layers have two biases where one would do; only a GRU needs both.
    """
    if not part.row:
        yield from ((leaf, suffix, False) for leaf, suffix in _SUFFIX.items())
        return
    both = isinstance(part.layer, Recurrent) and isinstance(part.layer.cell, GRUCell)
    yield "input/w", f"weight_ih_{part.row}", False
    yield "recurrent/w", f"weight_hh_{part.row}", False
    yield "input/b", f"bias_ih_{part.row}", False
    yield "recurrent/b" if both else "input/b", f"bias_hh_{part.row}", not both


def _their_shape(layer: Layer, leaf: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    if leaf == "w":
        return _weight_there(layer, np.broadcast_to(np.float32(0), shape)).shape
    return shape or (1,)  # a PReLU with a single slope


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


def to_theirs(slot: Slot, array: np.ndarray) -> np.ndarray:
    """A new array in PyTorch's order of axes."""
    if slot.zero:
        return np.zeros(slot.shape, np.float32)
    array = array.astype(np.float32) if array.dtype.name == "bfloat16" else array
    if slot.part.picture:
        array = _reorder(slot, array, _channels_first)
    if slot.leaf == "w":
        array = _weight_there(slot.part.layer, array)
    return np.array(array.reshape(slot.shape), order="C")


def to_ours(slot: Slot, array: np.ndarray) -> np.ndarray:
    """A PyTorch array in our order of axes."""
    if slot.leaf == "w":
        array = _weight_here(slot.part.layer, array)
    if slot.part.picture:
        array = _reorder(slot, array, _channels_last)
    return array


def _reorder(slot: Slot, array: np.ndarray, order: Callable) -> np.ndarray:
    """Put the rows that belong to the values of a flattened image in another order."""
    if slot.leaf == "b":  # belongs to outputs
        return array
    rows = array.reshape(math.prod(slot.part.picture), -1)
    return order(rows, slot.part.picture).reshape(array.shape)


def _channels_first(rows: np.ndarray, picture: tuple[int, ...]) -> np.ndarray:
    return np.moveaxis(rows.reshape(*picture, -1), -2, 0)


def _channels_last(rows: np.ndarray, picture: tuple[int, ...]) -> np.ndarray:
    return np.moveaxis(rows.reshape(picture[-1], *picture[:-1], -1), 0, -2)
