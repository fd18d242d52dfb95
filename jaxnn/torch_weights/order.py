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
from collections.abc import Iterable
from itertools import pairwise, zip_longest

from jaxnn.torch_weights.arrays import Slot
from jaxnn.torch_weights.parts import Names, Part
from jaxnn.torch_weights.problems import by

Pair = tuple[str, str]  # a layer, and the module that it would get


def in_order(parts: list[Part], given: Iterable[str], names: Names | None) -> Names:
    """Match the n-th layer to the n-th module, of those not settled by `names`."""
    names = names or {}
    settled = set(names.values())
    modules = dict.fromkeys(name.rpartition(".")[0] for name in given)
    layers = dict.fromkeys(part.name for part in parts)
    rest = [layer for layer in layers if layer not in names]
    return dict(zip(rest, (m for m in modules if m not in settled), strict=False))


def check_order(slots: list[Slot], names: Names | None) -> None:
    """Raise if modules of equal shapes are told apart by their order alone."""
    groups = _alike(slots, names or {}).items()
    unclear = [(arrays, pairs) for arrays, pairs in groups if not _all_told(pairs)]
    if not unclear:
        return
    lines = [
        f"{', '.join(layer for layer, _ in pairs)} may be any of "
        f"{', '.join(module for _, module in pairs)} ({arrays})"
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


def _alike(slots: list[Slot], settled: Names) -> dict[str, list[Pair]]:
    """Layers and modules grouped by equal arrays, each group in order."""
    arrays: dict[Pair, list[str]] = {}
    for slot in slots:
        module, _, leaf = slot.torch.rpartition(".")
        if slot.part.name not in settled:
            pair = slot.part.name, module
            arrays.setdefault(pair, []).append(f"{leaf} {by(slot.shape)}")
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
