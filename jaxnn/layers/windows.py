# SPDX-License-Identifier: Apache-2.0
"""Checks of kernels, strides and paddings that convolution and pooling share."""

import functools
import numbers
from typing import Any

from jaxnn import checks
from jaxnn.messages.phrases import describe, nearest
from jaxnn.ops.windows import explicit_pads, extent, output_sizes, spread

AXES = {1: "[N, T, C]", 2: "[N, H, W, C]", 3: "[N, D, H, W, C]"}
_WORDS = {1: "1-tuple", 2: "pair", 3: "triple"}


def spatial_axes(kernel: int | tuple[int, ...]) -> int:
    """How many axes a kernel slides along: an int is a square over two."""
    return len(kernel) if isinstance(kernel, tuple | list) else 2


def check_kernel(owner: str, kernel: Any) -> None:
    """Raise unless a kernel is a positive int or one to three of them."""
    ints = kernel if isinstance(kernel, tuple | list) else (kernel,)
    if not 1 <= len(ints) <= 3 or not all(map(checks.is_positive_int, ints)):
        raise ValueError(
            f"{owner}: kernel must be a positive int or pair, got {kernel!r}; "
            "(3,) slides along one axis, (3, 3, 3) along three"
        )


def check_ints(owner: str, name: str, value: Any, axes: int) -> None:
    """Raise unless a stride or a dilation is a positive int or one for each axis."""
    ints = value if isinstance(value, tuple | list) else (value,) * axes
    if len(ints) != axes or not all(map(checks.is_positive_int, ints)):
        raise ValueError(
            f"{owner}: {name} must be a positive int or {_WORDS[axes]} (the kernel "
            f"slides along {_axes(axes)}), got {value!r}"
        )


def check_padding(owner: str, padding: Any, axes: int, negative: bool = False) -> None:
    """Raise unless a padding is a known word, an int, or one for each axis.

    Args:
        owner: the layer's name.
        padding: what was given.
        axes: how many spatial axes there are.
        negative: whether numbers below 0 are allowed too.
    """
    known = ("SAME", "VALID")
    if isinstance(padding, str) and padding in known:
        return
    each = padding if isinstance(padding, tuple | list) else (padding,) * axes
    fits = functools.partial(is_pad, negative=negative)
    if len(each) != axes or not all(map(fits, each)):
        hint = nearest(padding.upper(), known) if isinstance(padding, str) else ""
        least = "" if negative else " of 0 or more"
        raise ValueError(
            f'{owner}: padding must be "SAME", "VALID", an int{least}, or for '
            f"each spatial axis (there are {axes}) an int or a pair (before, after), "
            f"got {padding!r}{hint}"
        )


def is_pad(value: Any, negative: bool = False) -> bool:
    """Whether this is an int of 0 or more (or any), or a pair of such ints."""
    if isinstance(value, tuple | list):
        return len(value) == 2 and not any(
            isinstance(a, tuple | list) or not is_pad(a, negative) for a in value
        )
    whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    return whole and (negative or int(value) >= 0)


def check_images(owner: str, x: Any, axes: int) -> None:
    """Raise unless `x` is a batch with `axes` spatial axes and channels last."""
    checks.batch(owner, x)
    if len(x.shape) != axes + 2:
        advice = "one channel is added by x[..., None]"
        if axes == 2:
            advice += "; for sequences [N, T, C] write the kernel as (3,)"
        raise ValueError(
            f"{owner}: x must be {AXES[axes]} for a kernel over {_axes(axes)}, "
            f"got {describe(x)}; {advice}"
        )


def place_windows(owner: str, x: Any, kernel, stride, padding, dilation):
    """The padding as pairs, after checking that a window fits along every axis.

    Returns:
        `(kernel, stride, pads, dilation)`, one entry for each spatial axis.
    """
    axes, sizes = spatial_axes(kernel), tuple(x.shape[1:-1])
    kernel, stride = spread(kernel, axes), spread(stride, axes)
    dilation = spread(dilation, axes)
    pads = explicit_pads(padding, sizes, kernel, stride, dilation)
    if min(output_sizes(sizes, kernel, stride, pads, dilation)) < 1:
        spans = tuple(map(extent, kernel, dilation))
        padded = tuple(n + sum(p) for n, p in zip(sizes, pads, strict=True))
        raise ValueError(
            f"{owner}: the kernel spans {_by(spans)} and the padded input is only "
            f"{_by(padded)}, so nothing is left: {describe(x)}; use a larger input, "
            'a smaller kernel, fewer strides before, or padding="SAME"'
        )
    return kernel, stride, pads, dilation


def _axes(count: int) -> str:
    return f"{count} {'axis' if count == 1 else 'axes'}"


def _by(sizes: tuple[int, ...]) -> str:
    return "x".join(map(str, sizes))
