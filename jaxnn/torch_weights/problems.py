# SPDX-License-Identifier: Apache-2.0
"""Descriptions of what does not fit."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from jaxnn import trees
from jaxnn.torch_weights.arrays import Slot
from jaxnn.torch_weights.read import Given

COUNT = "num_batches_tracked"  # nothing here has such a count


class Misfit(NamedTuple):
    """How a state_dict differs from what the network needs."""

    missing: dict[str, Slot]
    misshapen: dict[str, tuple[Slot, tuple[int, ...]]]
    unexpected: list[str]

    @property
    def size(self) -> int:
        """The number of names that do not fit."""
        return sum(map(len, self))

    def __str__(self) -> str:
        def missing(name: str) -> str:
            slot, near = self.missing[name], trees.nearest(name, self.unexpected)
            return f"{name} {by(slot.shape)} for {slot.path}{near}"

        def misshapen(name: str) -> str:
            slot, shape = self.misshapen[name]
            return f"{name} is {by(shape)}, {slot.path} needs {by(slot.shape)}"

        def unexpected(name: str) -> str:
            return name + trees.nearest(name, self.missing)

        lines = [
            *trees.listed("missing", self.missing, missing),
            *trees.listed("misshapen", self.misshapen, misshapen),
            *trees.listed("unexpected", self.unexpected, unexpected),
        ]
        return "\n  ".join(lines)


def misfit(slots: Iterable[Slot], given: Mapping[str, Given]) -> Misfit:
    """What is missing, misshapen and unexpected in a state_dict."""
    wanted = {slot.torch: slot for slot in slots}
    missing = {name: slot for name, slot in wanted.items() if name not in given}
    misshapen = {
        name: (slot, given[name].shape)
        for name, slot in wanted.items()
        if name in given and given[name].shape != slot.shape
    }
    others = [n for n in given if n not in wanted and not n.endswith(COUNT)]
    return Misfit(missing, misshapen, others)


def by(shape: tuple[int, ...]) -> str:
    return str(list(shape)).replace(" ", "")


def check_trees(given: Mapping, shapes: Mapping) -> None:
    """Raise unless params and state are those of the network."""
    wrong = [at for at in {**given, **shapes} if not fits(given, shapes, at)]
    if wrong:
        lines = [
            f"{'/'.join(at)}: got {trees.describe(given.get(at))}, the network has "
            f"{trees.describe(shapes.get(at))}"
            for at in wrong[: trees.LISTED]
        ]
        title = "to_torch: params and state do not fit the network:"
        raise ValueError("\n  ".join([title, *lines]))


def fits(given: Mapping[Any, Any], shapes: Mapping[Any, Any], at: Any) -> bool:
    """Whether there is an array of the right shape at a path."""
    return at in given and at in shapes and np.shape(given[at]) == shapes[at].shape
