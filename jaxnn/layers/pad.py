# SPDX-License-Identifier: Apache-2.0
"""Padding and cropping as a layer."""

import numbers
from dataclasses import KW_ONLY
from typing import Any

from jaxnn import checks
from jaxnn.core import Layer
from jaxnn.layers.windows import is_pad
from jaxnn.messages.phrases import describe, nearest
from jaxnn.ops.pad import MODES, pad
from jaxnn.ops.windows import Pads, spread


class Pad(Layer):
    """Continue an image beyond its edges, or crop it.

    Args:
        padding: how many cells to add: an int for all sides of every spatial axis, or
            for each axis an int or a pair (before, after). A negative number crops,
            before anything is added.
        mode: what the cells hold: "constant" (`value`), "reflect" (mirrored without
            repeating the edge), "replicate" (the edge repeated) or "circular".
        value: the constant.

    Raises:
        ValueError: at construction, for an invalid option; at `apply`, if `x` has
            another number of axes, nothing of it is left, or "reflect" or "circular"
            would need more of it than there is.

    >>> import jax.numpy as jnp, jaxnn as nn
    >>> x = jnp.arange(3.0).reshape(1, 3, 1)
    >>> for mode in ("constant", "reflect", "replicate", "circular"):
    ...     print(nn.Pad(2, mode=mode).apply({}, {}, x)[0].ravel())
    [0. 0. 0. 1. 2. 0. 0.]
    [2. 1. 0. 1. 2. 1. 0.]
    [0. 0. 0. 1. 2. 2. 2.]
    [1. 2. 0. 1. 2. 0. 1.]
    >>> nn.Pad(((0, -1), (2, 0))).apply({}, {}, jnp.ones((1, 8, 8, 3)))[0].shape
    (1, 7, 10, 3)
    """

    with_lengths = "mixes"
    padding: int | tuple
    _: KW_ONLY
    mode: str = "constant"
    value: float = 0.0

    def __post_init__(self):
        each = self.padding
        each = each if isinstance(each, tuple | list) else (each,)
        if not each or not all(is_pad(p, negative=True) for p in each):
            raise ValueError(
                "Pad: padding must be an int, or for each spatial axis an int or a "
                f"pair (before, after), got {self.padding!r}"
            )
        if self.mode not in MODES:
            raise ValueError(
                f"Pad: mode must be one of {', '.join(MODES)}, got "
                f"{self.mode!r}{nearest(str(self.mode), list(MODES))}"
            )
        if not isinstance(self.value, numbers.Real):
            raise ValueError(f"Pad: value must be a number, got {self.value!r}")
        if self.mode != "constant" and self.value:
            raise ValueError(
                f'Pad: value is for mode="constant", got value={self.value} with '
                f"mode={self.mode!r}"
            )

    def apply(self, params, state, x, *, key=None, train=False):
        checks.batch("Pad", x, axes=3)
        pads = self._pads(x)
        check_reach("Pad", x, pads, self.mode)
        return pad(x, pads, self.mode, self.value), state

    def _pads(self, x: Any) -> Pads:
        """`(before, after)` for each spatial axis, which leave something of `x`."""
        axes = len(x.shape) - 2
        each = spread(self.padding, axes)
        if len(each) != axes:
            raise ValueError(
                f"Pad: padding has numbers for {len(each)} spatial axes, but x has "
                f"{axes}: {describe(x)}"
            )
        pads: Any = tuple(spread(p, 2) for p in each)
        if min(_cropped(x, pads)) < 1:
            raise ValueError(
                f"Pad: nothing is left of {describe(x)} with padding={self.padding!r}; "
                "crop less, or use a larger input"
            )
        return pads


def check_reach(
    owner: str, x: Any, pads: Pads, mode: str, option: str = "mode"
) -> None:
    """Raise if an image is too small to be mirrored or repeated that far."""
    if mode not in ("reflect", "circular"):
        return
    most = tuple(n - (mode == "reflect") for n in _cropped(x, pads))
    if any(max(p) > n for n, p in zip(most, pads, strict=True)):
        raise ValueError(
            f'{owner}: {option}="{mode}" adds at most {most} cells to {describe(x)}, '
            f"got {pads}; use less padding, a larger input, or another {option}"
        )


def _cropped(x: Any, pads: Pads) -> list[int]:
    """The spatial sizes of an image once negative pads have cropped it."""
    each = zip(x.shape[1:-1], pads, strict=True)
    return [n + min(a, 0) + min(b, 0) for n, (a, b) in each]
