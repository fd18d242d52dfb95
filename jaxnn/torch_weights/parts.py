# SPDX-License-Identifier: Apache-2.0
"""The layers of a network that have arrays, and what PyTorch calls them."""

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import jax

from jaxnn import trees
from jaxnn.core import Call, Composite, Layer, abstract, trace
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
from jaxnn.layers.combine import Remat, Repeat
from jaxnn.surgery import layer_paths
from jaxnn.torch_weights.torchvision import NAMINGS

Names = Mapping[str, str]
Picture = tuple[int, ...]
_NORMS = (BatchNorm, GroupNorm, InstanceNorm, LayerNorm, RMSNorm)
_KNOWN = (Dense, Conv, ConvTranspose, SeparableConv, PReLU, Recurrent, *_NORMS)
_PREFIXES = 4  # names of modules around a network
_CELLS = (RNNCell, GRUCell, LSTMCell)


class Part(NamedTuple):
    """A layer with arrays of its own.

    The blocks of a `Repeat` are counted in its name, `rest/block2/conv1`, and share a
    path in the trees, `rest/block/conv1`, where `block` tells them apart.
    """

    name: str
    path: str
    block: tuple[int, ...]
    layer: Layer
    picture: Picture  # [..., C] where its features were flattened, or ()
    row: str = ""  # of a recurrent layer in PyTorch's module: l0, l0_reverse, l1, ...


def find_parts(net: Layer, x: Any, name="", path="", index=()) -> list[Part]:
    """Every layer with arrays of its own, in the order of calls."""
    parts, pictures = [], _Pictures(x)
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
            picture = pictures.before(call, at)
            above, row = _module_and_row(net, own) if _is_rnn(call.layer) else (own, "")
            for step in _steps(call.layer):
                names = join(name, above, step), join(at, step)
                parts.append(Part(*names, index, call.layer, picture, row))
        pictures.after(call)
    return parts


class _Pictures:
    """Which arrays are flattened images, channels last here and first in PyTorch."""

    def __init__(self, inputs: Any):
        shapes = [a.shape for a in jax.tree.leaves(abstract(inputs))]
        self._whole = {-i: shape for i, shape in enumerate(shapes, 1) if len(shape) > 2}
        self._flat: dict[int, Picture] = {}
        self._seen: set[int] = set()  # outputs of calls
        self._used: set[int] = set()  # inputs of calls
        self._in_rows = False  # sequences flatten step by step, there as here

    def before(self, call: Call, path: str) -> Picture:
        """The image that a layer with weights sees flattened, or ()."""
        shape = getattr(call.x, "shape", ())
        if call.takes in self._seen or len(shape) != 2:
            return self._flat.get(call.takes, ())
        # Something that `forward` made; only its width tells from what.
        for taken, picture in self._flat.items():
            if picture and math.prod(picture) == shape[1]:
                if taken in self._used:
                    raise _unclear(call, path, "what is done to it")
                return picture
        for taken, (_, *rest) in self._whole.items():
            mixed = rest[-1] > 1 and math.prod(rest[:-1]) > 1
            if mixed and math.prod(rest) == shape[1] and taken not in self._used:
                raise _unclear(call, path, "nn.Flatten()")
        return ()

    def after(self, call: Call) -> None:
        """Record the input and the output of a call."""
        before, after = getattr(call.x, "shape", ()), getattr(call.y, "shape", ())
        self._in_rows = _is_rnn(call.layer) if call.params else self._in_rows
        self._seen.add(call.gives)
        self._used.add(call.takes)
        if (
            before in self._whole.values()
        ):  # perhaps an input, whose number is not known
            self._used |= {n for n, shape in self._whole.items() if shape == before}
        if len(after) > 2 and not self._in_rows:
            self._whole[call.gives] = after
        if self._in_rows:
            return
        if len(before) > 2 and after == (before[0], math.prod(before[1:])):
            self._flat[call.gives] = tuple(before[1:])
        elif before == after and not isinstance(call.layer, Dense):
            self._flat[call.gives] = self._flat.get(call.takes, ())


def _unclear(call: Call, path: str, child: str) -> ValueError:
    return ValueError(
        f"torch weights: in which order {path!r} gets the {call.x.shape[1]} numbers of "
        f"a picture is not clear, as forward itself works on them; make {child} a "
        "child layer of its own, called by run"
    )


def _is_rnn(layer: Layer) -> bool:
    return isinstance(layer, Recurrent)


def _module_and_row(net: Layer, path: str) -> tuple[str, str]:
    """The outermost layer that is one module in PyTorch with a recurrent layer.

    There, a stack is one module with all its layers and directions.
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
    """The prefixes of a layer's own arrays: some layers are two modules in PyTorch."""
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


def own_namings(parts: list[Part]) -> Iterator[Names]:
    """What modules may be called: as in torchvision, or by path with dots."""
    paths = [part.name for part in parts]
    yield from filter(None, (naming(paths) for naming in NAMINGS))
    yield {path: path.replace("/", ".") for path in paths}


def prefixed(naming: Names, given: Iterable[str]) -> Iterator[Names]:
    """A naming, and the same naming after a common prefix, such as `model.`."""
    yield naming
    modules = [name.split(".")[:-1][:_PREFIXES] for name in given]
    start = ""
    for words in zip(*modules, strict=False):
        if len(set(words)) > 1:
            return
        start += f"{words[0]}."
        yield {path: (start + name).rstrip(".") for path, name in naming.items()}


def with_names(parts: list[Part], naming: Names, names: Names | None) -> Names:
    """A naming overridden by the user's own names."""
    paths = [part.name for part in parts]
    for path in names or {}:
        if path not in paths:
            raise ValueError(
                f"names: no layer with arrays at {path!r}{trees.nearest(path, paths)}"
            )
    return {**naming, **(names or {})}
