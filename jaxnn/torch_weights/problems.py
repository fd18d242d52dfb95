# SPDX-License-Identifier: Apache-2.0
"""Descriptions of what does not fit."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from jaxnn.messages.phrases import LISTED, describe, listed, nearest
from jaxnn.torch_weights.arrays import Slot
from jaxnn.torch_weights.read import Given, address

COUNT = "num_batches_tracked"  # nothing here has such a count


#: Arrays that PyTorch's modules have only with options that nothing here has.
_OPTIONS = {
    "bias_k": "add_bias_kv=True",
    "bias_v": "add_bias_kv=True",
    "weight_hr": "proj_size",
}


class Misfit(NamedTuple):
    """How a state_dict differs from what the network needs."""

    missing: dict[str, Slot]
    misshapen: dict[str, tuple[Slot, tuple[int, ...]]]
    unexpected: list[str]

    @property
    def size(self) -> int:
        """The number of names that do not fit."""
        return sum(map(len, self))

    @property
    def layers(self) -> list[str]:
        """The layers with arrays of other shapes, if nothing else is wrong."""
        if self.missing or self.unexpected:
            return []
        return list(
            dict.fromkeys(slot.part.path for slot, _ in self.misshapen.values())
        )

    def __str__(self) -> str:
        def missing(name: str) -> str:
            slot, near = self.missing[name], nearest(name, self.unexpected)
            return f"{name} {by(slot.shape)} for {slot.path}{near}"

        def misshapen(name: str) -> str:
            slot, shape = self.misshapen[name]
            return f"{name} is {by(shape)}, {slot.path} needs {by(slot.shape)}"

        def unexpected(name: str) -> str:
            array = name.rpartition(".")[2].partition("_l")[0]
            if array in _OPTIONS:
                return f"{name}, of {_OPTIONS[array]}, which no layer here has"
            return name + nearest(name, self.missing)

        lines = [
            *listed("missing", self.missing, missing),
            *listed("misshapen", self.misshapen, misshapen),
            *listed("unexpected", self.unexpected, unexpected),
        ]
        return "\n  ".join(lines)


def misfit(
    slots: Iterable[Slot], given: Mapping[str, Given], ignored: Callable[[str], bool]
) -> Misfit:
    """What is missing, misshapen and unexpected in a state_dict.

    A second name of a wanted array, as that of a tied weight, is not unexpected.
    """
    wanted: dict[str, Slot] = {}
    for slot in slots:
        wanted.setdefault(slot.torch, slot)
    missing = {name: slot for name, slot in wanted.items() if name not in given}
    misshapen = {
        name: (slot, given[name].shape)
        for name, slot in wanted.items()
        if name in given and given[name].shape != slot.shape
    }
    others = [n for n in given if n not in wanted and not n.endswith(COUNT)]
    others = [name for name in others if not ignored(name)]
    if others:
        used = {address(given[name]) for name in wanted if name in given} - {None}
        others = [name for name in others if address(given[name]) not in used]
    return Misfit(missing, misshapen, others)


def by(shape: tuple[int, ...]) -> str:
    return str(list(shape)).replace(" ", "")


def check_trees(given: Mapping, shapes: Mapping) -> None:
    """Raise unless params and state are those of the network."""
    wrong = [at for at in {**given, **shapes} if not fits(given, shapes, at)]
    if wrong:
        lines = [
            f"{'/'.join(at)}: got {describe(given.get(at))}, the network has "
            f"{describe(shapes.get(at))}"
            for at in wrong[:LISTED]
        ]
        title = "to_torch: params and state do not fit the network:"
        raise ValueError("\n  ".join([title, *lines]))


def fits(given: Mapping[Any, Any], shapes: Mapping[Any, Any], at: Any) -> bool:
    """Whether there is an array of the right shape at a path."""
    return at in given and at in shapes and np.shape(given[at]) == shapes[at].shape
