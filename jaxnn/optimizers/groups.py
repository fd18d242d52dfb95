# SPDX-License-Identifier: Apache-2.0
"""Which parameters: masks by name and by path, as Optax takes them."""

from collections.abc import Callable
from typing import Any

import jax

from jaxnn import trees

Mask = Callable[[Any], Any]

#: The names of the parameters that multiply what comes in.
KERNELS = ("w", "table")


def kernels(params: Any) -> Any:
    """A mask of the weights that multiply inputs: leaves named `w` or `table`.

    Biases, and the scales and offsets of norms, are left out: a penalty on them costs
    accuracy and hardly regularizes.

    Args:
        params: a tree of parameters.

    Returns:
        A tree of the same structure, True at kernels.

    Raises:
        ValueError: if there are parameters and none is a kernel.

    >>> import jaxnn as nn, optax
    >>> nn.optimizers.kernels({"dense_1": {"w": 1.0, "b": 0.0}})
    {'dense_1': {'b': False, 'w': True}}
    >>> optimizer = optax.adamw(1e-3, weight_decay=0.01, mask=nn.optimizers.kernels)
    """
    names = list(trees.paths(params))
    flags = [name.split("/")[-1] in KERNELS for name in names]
    if names and not any(flags):
        raise ValueError(
            f"kernels: no parameter is named {' or '.join(KERNELS)}, there are "
            f"{', '.join(names[:8])}; name some: nn.optimizers.only({names[0]!r})"
        )
    return jax.tree.unflatten(jax.tree.structure(params), flags)


def only(*patterns: str) -> Mask:
    """A function from parameters to the mask of those that match a pattern.

    Args:
        patterns: paths (and all below them) or patterns, as in `nn.trees.matches`:
            `head`, `head/w`, `*/w`.

    Returns:
        A function for Optax's `mask=`. It raises a ValueError where a pattern matches
        no parameter, and names the nearest path.

    >>> import jaxnn as nn, optax
    >>> head = nn.optimizers.only("head/*")
    >>> head({"body": {"w": 1.0}, "head": {"w": 2.0, "b": 0.0}})
    {'body': {'w': False}, 'head': {'b': True, 'w': True}}
    >>> optimizer = optax.masked(optax.clip(1.0), head)
    """
    if not patterns:
        raise ValueError("only: name at least one pattern, as in only('head/*')")
    return choose("only", patterns)


def choose(owner: str, patterns: tuple[str, ...]) -> Mask:
    """The mask function of patterns; without any, `kernels`."""
    for pattern in patterns:
        if not isinstance(pattern, str):
            raise TypeError(
                f"{owner}: patterns must be strings such as 'head/*', got "
                f"{pattern!r:.60}"
            )
    return (lambda params: _mask(owner, patterns, params)) if patterns else kernels


def _mask(owner: str, patterns: tuple[str, ...], params: Any) -> Any:
    names = list(trees.paths(params))
    for pattern in patterns:
        if names and not any(trees.matches(pattern, name) for name in names):
            near = trees.nearest(pattern, _places(names))
            raise ValueError(f"{owner}: pattern {pattern!r} matches no parameter{near}")
    flags = [any(trees.matches(p, name) for p in patterns) for name in names]
    return jax.tree.unflatten(jax.tree.structure(params), flags)


def _places(names: list[str]) -> list[str]:
    """Every path and all that it lies in."""
    parts = [name.split("/") for name in names]
    every = ("/".join(p[:i]) for p in parts for i in range(1, len(p) + 1))
    return list(dict.fromkeys(every))
