# SPDX-License-Identifier: Apache-2.0
"""The layers of a network that have arrays, and the modules that hold them there."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from jaxnn.core import Call, Composite, Layer, trace
from jaxnn.layers import (
    Bidirectional,
    DecoderBlock,
    EncoderBlock,
    Frozen,
    Mixed,
    Recurrent,
    RecurrentStack,
    TransformerDecoder,
    TransformerEncoder,
)
from jaxnn.layers.combine import Remat, Repeat
from jaxnn.surgery import layer_paths
from jaxnn.torch_weights.counterparts import (
    Row,
    has_counterpart,
    modules_of,
    unwrapped,
)
from jaxnn.torch_weights.pictures import Picture, Pictures
from jaxnn.torch_weights.skipping import Skip
from jaxnn.torch_weights.torchvision import rename
from jaxnn.trees import paths

Shapes = Mapping[tuple[str, str], Any]  # by kind (params or state) and path

_STACK = ((r"^(blocks/)?block(\d+)", lambda m: f"layers/{int(m[2]) - 1}"),)
_BLOCK = (
    (r"^attention\b", "self_attn"),
    (r"^cross\b", "multihead_attn"),
    (r"^mlp/up\b", "linear1"),
    (r"^mlp/down\b", "linear2"),
)
#: Layers made of layers that are modules of PyTorch: what it calls the parts inside.
_INSIDE = {
    TransformerEncoder: _STACK,
    TransformerDecoder: _STACK,
    EncoderBlock: _BLOCK,
    DecoderBlock: _BLOCK,
}


class Part(NamedTuple):
    """A layer with arrays of its own.

    The blocks of a `Repeat` are counted in its name, `rest/block2/conv1`, and share a
    path in the trees, `rest/block/conv1`, where `block` tells them apart.
    """

    name: str
    path: str
    block: tuple[int, ...]
    unit: str  # the outermost layer around it that is one module in PyTorch, or itself
    inside: str  # what PyTorch calls it inside that module: "layers.0.self_attn", or ""
    layer: Layer
    picture: Picture  # where its features are those of a flattened image
    rows: tuple[Row, ...]

    @property
    def paths(self) -> list[str]:
        """Where its arrays are."""
        return [join(self.path, row.ours) for row in self.rows]


class _At(NamedTuple):
    """A place in a network."""

    name: str = ""
    path: str = ""
    block: tuple[int, ...] = ()
    unit: str | None = None
    inside: str = ""
    owner: str = "from_torch"  # the function that was called, for the error messages

    def below(self, net: Layer, name: str, path: str) -> "_At":
        """A place inside a network that is at this one."""
        unit, inside = _unit(net, name)
        if self.unit is not None:
            unit, inside = self.unit, join(self.inside, unit or "", inside or name)
        elif unit is not None:
            unit = join(self.name, unit)
        names = join(self.name, name), join(self.path, path)
        return _At(*names, self.block, unit, inside, self.owner)


def find_parts(
    owner: str, net: Layer, x: Any, shapes: Shapes, skip: Skip
) -> list[Part]:
    """Every layer with arrays of its own, in the order of calls.

    Args:
        owner: the function that was called, for the error messages.
        net: a network.
        x: an input.
        shapes: its arrays.
        skip: which of them need no counterpart.
    """
    found = []
    for part in _walk(net, x, _At(owner=owner), skip):
        rows = [r for r in part.rows if kind_of(join(part.path, r.ours), shapes)]
        found += [part._replace(rows=tuple(rows))] if rows else []
    return found


def kind_of(path: str, shapes: Shapes) -> str:
    """Whether an array is among the params or in the state; "" if there is none."""
    kinds = ("params", "state")
    return next((kind for kind in kinds if (kind, path) in shapes), "")


def _walk(net: Layer, x: Any, at: _At, skip: Skip) -> Iterator[Part]:
    pictures = Pictures(at.owner, x)
    for call in trace(net, x):
        own = call.path if isinstance(net, Composite) else ""
        here = at.below(net, own, own)
        if not call.first:
            pass
        elif isinstance(call.layer, Repeat):
            for i in range(call.layer.n):
                name, path = join(own, f"block{i + 1}"), join(own, "block")
                inner = at.below(net, name, path)._replace(block=(*at.block, i))
                yield from _walk(call.layer.block, call.x, inner, skip)
        elif isinstance(call.layer, Remat | Frozen | Mixed):
            yield from _walk(call.layer.layer, call.x, here, skip)
        elif call.params or has_counterpart(call.layer):
            arrays = [join(here.path, leaf) for leaf in paths(call.params)]
            try:
                yield from _parts(net, call, own, at, pictures)
            except (TypeError, ValueError):  # no counterpart, or not clear which
                if not skip.has_all(arrays):
                    raise
        pictures.after(call)


def _parts(
    net: Layer, call: Call, own: str, at: _At, pictures: Pictures
) -> Iterator[Part]:
    """The parts of one layer: as many as it is modules in PyTorch."""
    path = join(at.path, own)
    modules = modules_of(at.owner, call.layer, call.params, path)
    picture, layer = pictures.before(call, path), unwrapped(call.layer)
    name, row = own, "l0"
    if isinstance(layer, Recurrent):
        name, row = _module_and_row(net, own)
    for step, rows in modules.items():
        here = at.below(net, join(name, step), join(own, step))
        unit = here.name if here.unit is None else here.unit
        rows = tuple(_in_row(one, row) for one in rows)
        inside = here.inside.replace("/", ".")
        yield Part(*here[:3], unit, inside, layer, picture, rows)
        picture = ()  # the next part sees what this one makes of it


def _unit(net: Layer, path: str) -> tuple[str | None, str]:
    """The outermost layer above a path that is one module, and the path inside it."""
    layers, words = {"": net, **layer_paths(net)}, path.split("/")
    above = ["/".join(words[:n]) for n in range(len(words))]
    units = [at for at in above if type(layers.get(at)) in _INSIDE]
    for at in reversed(units):  # the inner ones first, as long as their paths hold
        inside = path.removeprefix(at).lstrip("/")
        path = join(at, rename(inside, _INSIDE[type(layers[at])]))
    return (units[0], path.removeprefix(units[0]).lstrip("/")) if units else (None, "")


def _in_row(row: Row, name: str) -> Row:
    theirs = tuple(one.replace("_l0", f"_{name}") for one in row.theirs)
    return row._replace(theirs=theirs)


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


def join(*names: str) -> str:
    """Names as one path; empty ones are left out."""
    return "/".join(filter(None, names))


def dotted(*names: str) -> str:
    """Names as PyTorch joins them; empty ones are left out."""
    return ".".join(filter(None, names)).replace("/", ".")
