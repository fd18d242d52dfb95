# SPDX-License-Identifier: Apache-2.0
"""The layers of a network that have arrays, and what PyTorch calls them."""

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from jaxnn import trees
from jaxnn.combine import Remat, Repeat
from jaxnn.core import Call, Composite, Layer, trace
from jaxnn.layers import (
    BatchNorm,
    Bidirectional,
    Conv,
    ConvTranspose,
    Dense,
    GroupNorm,
    GRUCell,
    InstanceNorm,
    LayerNorm,
    LSTMCell,
    PReLU,
    Recurrent,
    RecurrentStack,
    RMSNorm,
    RNNCell,
    SeparableConv,
)
from jaxnn.surgery import layer_paths

Names = Mapping[str, str]
_NORMS = (BatchNorm, GroupNorm, InstanceNorm, LayerNorm, RMSNorm)
_KNOWN = (Dense, Conv, ConvTranspose, SeparableConv, PReLU, Recurrent, *_NORMS)
_CELLS = (RNNCell, GRUCell, LSTMCell)


class Part(NamedTuple):
    """A layer with arrays of its own.

    The blocks of a `Repeat` are counted in its name, `rest/block2/conv1`, and share a
    path in the trees, `rest/block/conv1`, where an index tells them apart.
    """

    name: str
    path: str
    index: tuple[int, ...]
    layer: Layer
    picture: tuple[int, ...]  # [..., C] where its features were flattened, or ()
    row: str = ""  # of a recurrent layer in PyTorch's module: l0, l0_reverse, l1, ...


def find_parts(net: Layer, x: Any, name="", path="", index=()) -> list[Part]:
    """Every layer with arrays of its own, in the order of calls."""
    parts, picture = [], ()
    in_rows = False  # sequences flatten step by step, there as here
    for call in trace(net, x):
        own = call.path if isinstance(net, Composite) else ""
        at, called = join(path, own), join(name, own)
        if not call.first:
            pass
        elif isinstance(call.layer, Repeat):
            for i in range(call.layer.n):
                block = join(called, f"block{i + 1}")
                where = join(at, "block")
                parts += find_parts(call.layer.block, call.x, block, where, (*index, i))
        elif isinstance(call.layer, Remat):
            parts += find_parts(call.layer.layer, call.x, called, at, index)
        elif call.params or isinstance(call.layer, _KNOWN):
            _check_known(call.layer, at)
            above, row = _module_and_row(net, own) if _is_rnn(call.layer) else (own, "")
            for step in _steps(call.layer):
                names = join(name, above, step), join(at, step)
                parts.append(Part(*names, index, call.layer, picture, row))
        in_rows = _is_rnn(call.layer) if call.params else in_rows
        picture = () if in_rows else _flattened(call, picture)
    return parts


def _is_rnn(layer: Layer) -> bool:
    return isinstance(layer, Recurrent)


def _module_and_row(net: Layer, path: str) -> tuple[str, str]:
    """The outermost layer that is PyTorch's one module with a recurrent layer.

    There a stack is one module, all layers and directions in it.
    """
    layers, row, turn = {"": net, **layer_paths(net)}, 0, ""
    above, _, last = path.rpartition("/")
    if path and isinstance(layers[above], Bidirectional):
        path, turn = above, "_reverse" if last == "backward" else ""
        above, _, last = path.rpartition("/")
    if path and isinstance(layers[above], RecurrentStack):
        path, row = above, int(last.removeprefix("layer")) - 1
    return path, f"l{row}{turn}"


def _steps(layer: Layer) -> tuple[str, ...]:
    """What a layer's own arrays hang under: two modules stand for one layer there."""
    return ("depthwise", "pointwise") if isinstance(layer, SeparableConv) else ("",)


def join(*names: str) -> str:
    """Names as one path; empty ones are left out."""
    return "/".join(filter(None, names))


def _check_known(layer: Layer, path: str) -> None:
    cell = layer.cell if isinstance(layer, Recurrent) else None
    foreign = cell is not None and not isinstance(cell, _CELLS)
    if foreign or not isinstance(layer, _KNOWN) or getattr(cell, "peepholes", False):
        known = ", ".join(kind.__name__ for kind in (*_KNOWN, *_CELLS))
        name = type(layer).__name__ if cell is None else f"{cell!r:.60}"
        raise TypeError(
            f"torch weights: {name} at {path!r} has no counterpart in "
            f"PyTorch that is known here; known are {known}"
        )


def _flattened(call: Call, picture: tuple[int, ...]) -> tuple[int, ...]:
    """The picture whose numbers the next layer sees in a row, if it does."""
    before, after = getattr(call.x, "shape", ()), getattr(call.y, "shape", ())
    if len(before) > 2 and after == (before[0], math.prod(before[1:])):
        return tuple(before[1:])
    same = before == after and not isinstance(call.layer, Dense)
    return picture if same else ()


def own_namings(parts: list[Part]) -> Iterator[Names]:
    """What modules may be called going by the network: as in torchvision, or alike."""
    from jaxnn.models import TORCH_NAMES  # lazy: models stand above

    paths = [part.name for part in parts]
    yield from filter(None, (naming(paths) for naming in TORCH_NAMES))
    yield {path: path.replace("/", ".") for path in paths}


def all_namings(parts: list[Part], given: Iterable[str]) -> Iterator[Names]:
    """What modules may be called: by the network, or in the order of a state_dict."""
    yield from own_namings(parts)
    modules = dict.fromkeys(name.rpartition(".")[0] for name in given)
    names = dict.fromkeys(part.name for part in parts)
    yield dict(zip(names, modules, strict=False))


def with_names(parts: list[Part], naming: Names, names: Names | None) -> Names:
    """A naming with the user's own names in place."""
    paths = [part.name for part in parts]
    for path in names or {}:
        if path not in paths:
            raise ValueError(
                f"names: no layer with arrays at {path!r}{trees.nearest(path, paths)}"
            )
    return {**naming, **(names or {})}
