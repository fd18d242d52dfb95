# SPDX-License-Identifier: Apache-2.0
"""The innermost layers of a network that compute something, in order."""

from typing import Any, NamedTuple

import numpy as np

from jaxnn.core import Composite, Layer, as_layer, written
from jaxnn.layers import Mixed, Remat, Repeat
from jaxnn.train.ensemble import Ensemble


class Unit(NamedTuple):
    """A layer that is not composed of others.

    `repeats` are the paths of the blocks of every `Repeat` it is in: its arrays have
    one leading axis for each.
    """

    layer: Layer
    repeats: tuple[str, ...]


def units(net: Layer, path: str = "", repeats: tuple[str, ...] = ()) -> dict[str, Unit]:
    """A dict from paths to layers; a network of one layer has the path `""`."""
    if not isinstance(net, Composite | Repeat | Remat | Mixed) or not net.children():
        return {path: Unit(net, repeats)}
    found = {}
    for name, child in net.children().items():
        at = f"{path}/{name}".lstrip("/")
        inside = (*repeats, at) if isinstance(net, Repeat) else repeats
        found |= units(child, at, inside)
    return found


def owner(path: str, found: dict[str, Unit]) -> str:
    """The unit that the parameter at `path` belongs to; its parent path if none."""
    above = [unit for unit in found if not unit or path.startswith(f"{unit}/")]
    return max(above, key=len, default=path.rpartition("/")[0])


def single(net: Any, owner: str) -> Layer:
    """The network to inspect; raise for an ensemble, whose members to look at."""
    if isinstance(net, Ensemble):
        raise TypeError(
            f"{owner}: look at one member of an ensemble: its network, net.net, with "
            "its part of the state, nn.member(state, 0)"
        )
    return as_layer(net, owner)


class Part(NamedTuple):
    """One repetition's part of a unit; `order` sorts parts by execution order."""

    order: tuple[int, ...]
    name: str
    array: Any


def parts(path: str, found: dict[str, Unit], array: Any) -> list[Part]:
    """Split an array of a unit by repetition: `stack/block[0]/conv` and so on.

    The leading axes are those of the repetitions; an array that is not repeated comes
    back whole.
    """
    unit, places = found[path], list(found)
    firsts = [_first(block, found) for block in unit.repeats]
    made = []
    for index in np.ndindex(array.shape[: len(firsts)]):
        order = [i for pair in zip(firsts, index, strict=True) for i in pair]
        name = title(path, unit)
        for block, i in reversed([*zip(unit.repeats, index, strict=True)]):
            name = f"{name[: len(block)]}[{i}]{name[len(block) :]}"
        made.append(Part((*order, places.index(path)), name, array[index]))
    return made


def _first(block: str, found: dict[str, Unit]) -> int:
    """The index of the first unit inside a repeated block."""
    return next(i for i, unit in enumerate(found.values()) if block in unit.repeats)


def title(path: str, unit: Unit) -> str:
    """The label of a unit: its path, or its code if it is the whole network."""
    return path or written(unit.layer)[:40]
