# SPDX-License-Identifier: Apache-2.0
"""Stages of identical blocks, in sequence or as one `Repeat`, and their trees."""

import re
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp

from jaxnn.core import Layer
from jaxnn.layers.combine import Repeat, Sequential


def check_depth(owner: str, depth: Any, known: Iterable[int]) -> None:
    """Raise unless a network is known with this depth."""
    if isinstance(depth, bool) or depth not in tuple(known):
        raise ValueError(
            f"{owner}: depth must be one of {', '.join(map(str, known))}, got {depth!r}"
        )


def stage(first: Layer, other: Layer, blocks: int, *, repeat: bool) -> Sequential:
    """A first block and identical others: `block1`, `block2`, ... or also `rest`."""
    if repeat and blocks > 1:
        return Sequential(block1=first, rest=Repeat(other, blocks - 1))
    others = {f"block{i}": other for i in range(2, blocks + 1)}
    return Sequential(block1=first, **others)


def stack_blocks(tree: Any) -> Any:
    """Convert parameters or state for the same network with `repeat=True`.

    In every stage, `block2`, `block3`, ... become `rest/block` with a new first axis.

    Args:
        tree: nested dicts of arrays.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> tree = {"stage1": {f"block{i}": {"w": jnp.full(3, i)} for i in (1, 2, 3)}}
    >>> jax.tree.map(jnp.shape, stack_blocks(tree))
    {'stage1': {'block1': {'w': (3,)}, 'rest': {'block': {'w': (2, 3)}}}}
    """
    if not isinstance(tree, dict):
        return tree
    names = [name for name in tree if re.fullmatch(r"block\d+", name)]
    others = sorted((n for n in names if n != "block1"), key=lambda n: int(n[5:]))
    stacked = {n: stack_blocks(part) for n, part in tree.items() if n not in others}
    if others:
        rest = jax.tree.map(lambda *a: jnp.stack(a), *(tree[name] for name in others))
        stacked["rest"] = {"block": rest}
    return stacked


def unstack_blocks(tree: Any) -> Any:
    """Convert parameters or state of a network with `repeat=True` for one without.

    In every stage, `rest/block` becomes `block2`, `block3`, ...: the inverse of
    `stack_blocks`.

    Args:
        tree: nested dicts of arrays.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> tree = {"stage1": {f"block{i}": {"w": jnp.full(3, i)} for i in (1, 2, 3)}}
    >>> list(unstack_blocks(stack_blocks(tree))["stage1"])
    ['block1', 'block2', 'block3']
    """
    if not isinstance(tree, dict):
        return tree
    apart = {n: unstack_blocks(part) for n, part in tree.items() if n != "rest"}
    if "rest" in tree:
        rest = tree["rest"]["block"]
        for i in range(len(jax.tree.leaves(rest)[0])):
            apart[f"block{i + 2}"] = jax.tree.map(lambda a, i=i: a[i], rest)
    return apart
