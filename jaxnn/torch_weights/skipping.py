# SPDX-License-Identifier: Apache-2.0
"""Arrays that are not loaded: a network's new head keeps its own initialization."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from jaxnn import trees
from jaxnn.messages.phrases import nearest


class Skip(NamedTuple):
    """The patterns of the paths that are not loaded."""

    patterns: tuple[str, ...] = ()

    def has(self, path: str) -> bool:
        """Whether the array at a path is not loaded."""
        return trees.matches_any(self.patterns, path)

    def has_all(self, paths: Iterable[str]) -> bool:
        """Whether none of these arrays, at least one, are loaded."""
        return bool(paths := [*paths]) and all(map(self.has, paths))

    def ignored(self, naming: Mapping[str, str], kept: list[str]) -> Callable:
        """Whether a name of a state_dict stands for what is not loaded.

        Args:
            naming: what modules are called, by layer.
            kept: the layers among them that are loaded.
        """
        modules = {f"{module}." for path, module in naming.items() if path not in kept}

        def ignored(name: str) -> bool:
            of_module = name.startswith(tuple(modules)) and bool(self.patterns)
            return of_module or self.has(name.replace(".", "/"))

        return ignored


def as_skip(skip: Any, key: Any, paths: Iterable[str]) -> Skip:
    """The user's pattern or patterns, checked.

    Raises:
        TypeError: `skip` is no pattern and no tuple of patterns.
        ValueError: a pattern matches nothing, or there is no key for initialization.
    """
    patterns = (skip,) if isinstance(skip, str) else skip or ()
    if not all(isinstance(pattern, str) for pattern in patterns):
        raise TypeError(
            "from_torch: skip must be a path pattern or a tuple of them, got "
            f"{skip!r:.60}"
        )
    for pattern in patterns:
        if not any(trees.matches(pattern, path) for path in paths):
            layers = dict.fromkeys(path.rpartition("/")[0] for path in paths)
            raise ValueError(
                f"from_torch: skip must match paths of the network, got {pattern!r}"
                f"{nearest(pattern, layers)}"
            )
    if patterns and key is None:
        raise ValueError(
            f"from_torch: key is needed to initialize what skip={skip!r:.60} leaves "
            "out; pass key=jax.random.key(0)"
        )
    return Skip(tuple(patterns))
