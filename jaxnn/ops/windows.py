# SPDX-License-Identifier: Apache-2.0
"""The arithmetic of sliding windows that convolution and pooling share."""

Pads = tuple[tuple[int, int], ...]


def spread(value: int | tuple[int, ...], axes: int) -> tuple[int, ...]:
    """One number for each spatial axis.

    >>> spread(3, 2), spread((3, 1), 2)
    ((3, 3), (3, 1))
    """
    return tuple(value) if isinstance(value, tuple | list) else (value,) * axes


def extent(kernel: int, dilation: int = 1) -> int:
    """How many inputs a dilated kernel spans: (kernel - 1) · dilation + 1."""
    return (kernel - 1) * dilation + 1


def explicit_pads(padding, sizes, kernel, stride, dilation) -> Pads:
    """A padding as (before, after) for every spatial axis.

    `"VALID"` pads nothing.  `"SAME"` gives ceil(size / stride) outputs; what it adds is
    halved, and the extra cell of an odd total goes at the end.

    Args:
        padding: "SAME", "VALID", an int, or for each axis an int or a pair.
        sizes, kernel, stride, dilation: one int for each spatial axis.

    >>> explicit_pads("SAME", (5, 5), (3, 2), (1, 1), (1, 1))
    ((1, 1), (0, 1))
    >>> explicit_pads((1, (0, 2)), (5, 5), (3, 3), (1, 1), (1, 1))
    ((1, 1), (0, 2))
    """
    if padding == "VALID":
        return ((0, 0),) * len(kernel)
    if padding == "SAME":
        each = zip(sizes, kernel, stride, dilation, strict=True)
        return tuple(_same(*numbers) for numbers in each)
    each = spread(padding, len(kernel))
    return tuple(spread(p, 2) for p in each)  # type: ignore


def _same(size: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    outputs = -(-size // stride)
    total = max((outputs - 1) * stride + extent(kernel, dilation) - size, 0)
    return total // 2, total - total // 2


def output_sizes(sizes, kernel, stride, pads, dilation) -> tuple[int, ...]:
    """How many windows fit along every spatial axis; 0 or less where none does.

    >>> output_sizes((28, 28), (3, 3), (2, 2), ((1, 1), (0, 0)), (1, 1))
    (14, 13)
    """
    each = zip(sizes, kernel, stride, pads, dilation, strict=True)
    return tuple((n + sum(p) - extent(k, d)) // s + 1 for n, k, s, p, d in each)
