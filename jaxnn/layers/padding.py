# SPDX-License-Identifier: Apache-2.0
"""Sequences with their lengths: what layers take, and what past the end means."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxnn import checks
from jaxnn.trees import describe


def unpack(x: Any) -> tuple[Any, Any, Callable[[Any], Any]]:
    """The array of an input, its lengths or None, and how to put another array back.

    Args:
        x: an array, a pair `(x, lengths)`, or a NamedTuple with a field `x`.
    """
    if hasattr(x, "_fields") and "x" in x._fields:
        return x.x, getattr(x, "lengths", None), lambda y: x._replace(x=y)
    if isinstance(x, tuple) and len(x) == 2:
        return x[0], x[1], lambda y: (y, x[1])
    return x, None, lambda y: y


def check_integers(owner: str, name: str, x: Any) -> None:
    """Raise unless `x` is an array of integers."""
    if not hasattr(x, "dtype") or not jnp.issubdtype(x.dtype, jnp.integer):
        raise TypeError(f"{owner}: {name} must be integers, got {describe(x):.100}")


def check_lengths(owner: str, lengths: Any, x: Any, name: str = "lengths") -> None:
    """Raise unless there is one length from 1 to T for each example of `x`, `[N, T]`.

    The values are looked at where they are known, or left to `fit`.
    """
    if lengths is None:
        return
    check_integers(owner, name, lengths)
    n = x.shape[0]
    if lengths.shape != (n,):
        raise ValueError(
            f"{owner}: {name} must be one number for each of the {n} examples, "
            f"[{n}], got {describe(lengths)} for {describe(x)}"
        )
    checks.values(functools.partial(_check_range, owner, name), lengths, x)


def _check_range(owner: str, name: str, lengths: Any, x: Any) -> None:
    lengths, steps = np.asarray(lengths), x.shape[1]
    wrong = np.flatnonzero((lengths < 1) | (lengths > steps))
    if wrong.size:
        row = int(wrong[0])
        raise ValueError(
            f"{owner}: {name} must be from 1 to {steps}, the padded length, got "
            f"{int(lengths[row])} for example {row}"
        )


def within(lengths: jax.Array, steps: int) -> jax.Array:
    """Which steps are real, `[N, T]`."""
    lengths = jnp.asarray(lengths, jnp.int32)
    return jnp.arange(steps, dtype=jnp.int32)[None] < lengths[:, None]


def blank(x: jax.Array, lengths: jax.Array | None) -> jax.Array:
    """`x`, `[N, T, C]`, with zeros past each example's end, whatever stood there."""
    if lengths is None:
        return x
    real = within(lengths, x.shape[1])[..., None]
    return jnp.where(real, x, jnp.zeros((), x.dtype))


class Attend(NamedTuple):
    """What attention takes when there is more than `x` and its lengths.

    Attributes:
        x: `[N, T, C]`, whose steps ask.
        memory: `[N, S, M]`, which is asked; `x` itself by default.
        lengths: `[N]` integers, how many steps of `x` are real; all by default.
        memory_lengths: the same of the memory.
        mask: booleans, which steps of the memory (or of `x`) each step of `x` may see:
            `[T, S]`, `[N, T, S]` or `[N, heads, T, S]`. A step that may see nothing
            gets zeros.
    """

    x: Any
    memory: Any = None
    lengths: Any = None
    memory_lengths: Any = None
    mask: Any = None
