# SPDX-License-Identifier: Apache-2.0
"""What the modules may be called: by torchvision, by path, by the user."""

from collections.abc import Iterable, Iterator, Mapping

from jaxnn.messages.phrases import nearest
from jaxnn.torch_weights.parts import Part, dotted
from jaxnn.torch_weights.torchvision import NAMINGS

Names = Mapping[str, str]  # of modules, by the names of parts
_PREFIXES = 4  # names of modules around a network


def own_namings(parts: list[Part], kept: list[str]) -> Iterator[Names]:
    """What modules may be called: as in torchvision, or by path with dots.

    Args:
        parts: the parts of a network.
        kept: the names of those that get their arrays from PyTorch; the others may be
            anything in place of torchvision's head.
    """
    paths = [part.name for part in parts]
    for naming in NAMINGS:
        names = naming(paths) or naming([*kept, "head"])
        if names:
            yield names
    yield {part.name: dotted(part.unit, part.inside) for part in parts}


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


def with_names(
    owner: str, parts: list[Part], naming: Names, names: Names | None
) -> Names:
    """A naming overridden by the user's own names, of parts or of whole units."""
    names = names or {}
    known = dict.fromkeys([p.name for p in parts] + [p.unit for p in parts])
    for path in names:
        if path not in known:
            raise ValueError(
                f"{owner}: names must be paths of layers with arrays, got "
                f"{path!r}{nearest(path, known)}"
            )
    own = {p.name: dotted(names[p.unit], p.inside) for p in parts if p.unit in names}
    own |= {p.name: names[p.name] for p in parts if p.name in names}
    return {**naming, **own}
