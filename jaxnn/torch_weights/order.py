# SPDX-License-Identifier: Apache-2.0
"""Which module is which layer when only their order tells.

PyTorch lists modules in the order of their definition; here layers come in the order of
their calls.  The two may differ, and between layers of equal shapes no check would
notice.  So the order is trusted only where names agree with it: modules of equal shapes
are numbered in this order (`0`, `2`; `fc1`, `fc2`; `block.0.conv`, `block.1.conv`), or
the words in which their names differ also appear in the names of the layers, or a
module and its layer share a name that no other has (`norm`).
"""

import re
from collections.abc import Iterable, Iterator
from itertools import pairwise, zip_longest

from jaxnn.torch_weights.arrays import Slot
from jaxnn.torch_weights.naming import Names, with_names
from jaxnn.torch_weights.parts import Part, dotted
from jaxnn.torch_weights.problems import COUNT, by

Pair = tuple[str, str]  # a layer, and the module that it would get
_LONG = 200  # most letters that a message says of the arrays of one module


def orders(
    parts: list[Part], given: Iterable[str], names: Names | None
) -> Iterator[tuple[list[Part], Names]]:
    """Parts in the units that are matched by order, and what each then is called.

    What is one module in PyTorch is one unit; but a module of one's own, such as a
    transformer block with other names, may match layer by layer.
    """
    settled = with_names("from_torch", parts, {}, names)
    yield parts, _in_order(parts, given, settled)
    alone = [part._replace(unit=part.name, inside="") for part in parts]
    if alone != parts:
        yield alone, _in_order(alone, given, settled)


def _in_order(parts: list[Part], given: Iterable[str], settled: Names) -> Names:
    """Match the n-th unit to the n-th module, of those that are not settled."""
    naming = dict(settled)
    left = [name for name in given if not name.endswith(COUNT)]
    units: dict[str, list[Part]] = {}
    for part in parts:
        if part.name in settled:
            left = _without(left, [part._replace(inside="")], settled[part.name])
        else:
            units.setdefault(part.unit, []).append(part)
    for unit in units.values():
        if left:
            module = _module(left[0], _inside(unit))
            naming |= {part.name: dotted(module, part.inside) for part in unit}
            left = _without(left, unit, module)
    return naming


def _inside(unit: list[Part]) -> list[str]:
    """What arrays may be called inside a module."""
    return [
        dotted(part.inside, name)
        for part in unit
        for row in part.rows
        for name in row.theirs
    ]


def _module(name: str, inside: list[str]) -> str:
    """The module of an array that has one of these names inside it, if any."""
    for own in sorted(inside, key=len, reverse=True):
        if own and f".{name}".endswith(f".{own}"):
            return name.removesuffix(own).removesuffix(".")
    return name if "" in inside else name.rpartition(".")[0]


def _without(left: list[str], unit: list[Part], module: str) -> list[str]:
    """The names of arrays that are not those of a module."""
    own = {dotted(module, name) for name in _inside(unit)}
    return [n for n in left if n not in own and n.rpartition(".")[0] != module]


def check_order(slots: list[Slot], names: Names | None) -> None:
    """Raise if modules of equal shapes are told apart by their order alone."""
    groups = _alike(slots, names or {}).items()
    unclear = [(arrays, pairs) for arrays, pairs in groups if not _all_told(pairs)]
    if not unclear:
        return
    lines = [
        f"{', '.join(layer for layer, _ in pairs)} may be any of "
        f"{', '.join(module for _, module in pairs)} ({_brief(arrays)})"
        for arrays, pairs in unclear
    ]
    guess = dict(pair for _, pairs in unclear for pair in pairs)
    title = (
        "from_torch: the names do not say which module is which layer, and by shape "
        "more than one assignment fits:"
    )
    raise ValueError(
        "\n  ".join([title, *lines])
        + "\nPass names=, the module of each of these layers. If the modules were "
        f"defined in the order in which they are called, that is\n  names={guess}"
    )


def _brief(arrays: str) -> str:
    """The arrays of a module, or as many as can be read at a glance."""
    return arrays if len(arrays) < _LONG else f"{arrays[:_LONG]}..."


def _alike(slots: list[Slot], settled: Names) -> dict[str, list[Pair]]:
    """Layers and modules grouped by equal arrays, each group in order."""
    arrays: dict[Pair, dict[str, None]] = {}
    for slot in slots:
        if slot.part.name not in settled and slot.part.unit not in settled:
            leaf = slot.torch.removeprefix(slot.module).removeprefix(".")
            pair = slot.part.unit, slot.module
            arrays.setdefault(pair, {})[f"{leaf} {by(slot.shape)}"] = None
    groups: dict[str, list[Pair]] = {}
    for pair, kinds in arrays.items():
        groups.setdefault(", ".join(kinds), []).append(pair)
    return groups


def _all_told(pairs: list[Pair]) -> bool:
    """Whether names agree with the order of these layers and modules."""
    ours = [layer.rpartition("/")[2] for layer, _ in pairs]
    theirs = [module.rpartition(".")[2] for _, module in pairs]
    named = list(zip(ours, theirs, strict=True))
    if any(its in ours and its != mine for mine, its in named):
        return False
    rest = [
        pair
        for pair, (mine, its) in zip(pairs, named, strict=True)
        if mine != its or ours.count(mine) > 1 or theirs.count(its) > 1
    ]
    return all(_told(*two) for two in pairwise(rest))


def _told(one: Pair, other: Pair) -> bool:
    """Whether names say that the first of two modules belongs to the first layer."""
    layer, module = map(_words, one)
    next_layer, next_module = map(_words, other)
    for word, next_word in zip_longest(module, next_module, fillvalue=""):
        if next_word.isdecimal() and (word.isdecimal() or not word):
            if word != next_word:  # `0` and `2`; `fc` and `fc2` as well
                return int(word or -1) < int(next_word)
        elif word != next_word:
            first = word in layer and word not in next_layer
            return first and next_word in next_layer and next_word not in layer
    return False


def _words(name: str) -> list[str]:
    """A name's words and numbers: `layer1.fc_2` has `layer`, `1`, `fc` and `2`."""
    return re.findall(r"[0-9]+|[^\W\d_]+", name.lower())
