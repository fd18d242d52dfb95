# SPDX-License-Identifier: Apache-2.0
"""The inputs of sequence layers: an array, a pair with lengths, or named parts."""

from collections.abc import Callable
from typing import Any, NamedTuple


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


class Attend(NamedTuple):
    """The input of attention when there is more than `x` and its lengths.

    Attributes:
        x: `[N, T, C]`, from which the queries come.
        memory: `[N, S, M]`, from which keys and values come; `x` itself by default.
        lengths: `[N]` integers, the number of real steps of `x`; all by default.
        memory_lengths: the same for the memory.
        mask: booleans, which steps of the memory (or of `x`) each step of `x` may
            attend to: `[T, S]`, `[N, T, S]` or `[N, heads, T, S]`. A step that may
            attend to nothing gets zeros.
    """

    x: Any
    memory: Any = None
    lengths: Any = None
    memory_lengths: Any = None
    mask: Any = None
