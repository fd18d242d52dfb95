# SPDX-License-Identifier: Apache-2.0
"""Preparing time series for forecasting: windows, splits, and a baseline forecast."""

from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from jaxnn.data.checks import first, integer, map_tree, positive
from jaxnn.inputs.arrays import plain
from jaxnn.messages.arguments import answered

Tree = TypeVar("Tree")


@answered
def windows(
    series: ArrayLike, length: int, horizon: int = 1, stride: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Cuts a series into examples for forecasting: past values and what follows them.

    `inputs[n] = series[n·stride : n·stride + length]`, and targets are the `horizon`
    steps that follow; N = ⌊(T − length − horizon) / stride⌋ + 1.

    Args:
        series: finite numbers [T, ...]: one number per step, [T], or several, [T, C].
            Pass `series[:, None]` for a network that takes inputs [N, T, C].
        length: steps of an input.
        horizon: steps of a target.
        stride: steps from one window to the next.

    Returns:
        `(inputs [N, length, ...], targets [N, horizon, ...])`.

    Raises:
        ValueError: if the series is shorter than a window, or contains a NaN, whose
            position is named.

    Example:
        >>> import numpy as np
        >>> from jaxnn.data import windows
        >>> windows(np.arange(6), 3, horizon=2)
        (array([[0, 1, 2],
               [1, 2, 3]]), array([[3, 4],
               [4, 5]]))
    """
    before = positive("windows", "length", length)
    after = positive("windows", "horizon", horizon)
    step = positive("windows", "stride", stride)
    values = _finite("windows", series)
    if len(values) < before + after:
        raise ValueError(
            f"windows: series must be at least length + horizon = {before} + {after} "
            f"steps long, got {len(values)}"
        )
    view = np.lib.stride_tricks.sliding_window_view(values, before + after, axis=0)
    cut = np.moveaxis(view[::step], -1, 1)
    return cut[:, :before].copy(), cut[:, before:].copy()


def _finite(owner: str, series: ArrayLike) -> np.ndarray:
    values = plain(f"{owner}: series", series)
    if not values.ndim or values.dtype.kind not in "biuf":
        raise TypeError(
            f"{owner}: series must be numbers [T, ...], got {values.dtype}"
            f"{list(values.shape)}"
        )
    bad = ~np.isfinite(values)
    if bad.any():
        raise ValueError(
            f"{owner}: series must be finite, got {first(bad, values, 'series')} "
            f"({bad.sum()} of {bad.size} numbers); fill in or cut out such steps first"
        )
    return values


def split_in_time(data: Tree, *sizes: float, context: int = 0) -> tuple[Tree, ...]:
    """Splits series into consecutive parts, so that no part contains its own future.

    Args:
        data: arrays [T, ...] with a common first axis, in tuples, lists and dicts.
        *sizes: the size of each part except the last, which takes the rest: a number of
            steps, or a share of T if below 1.
        context: steps by which each later part reaches back into the one before, so
            that the target of its first window (of that length) is its own first step.

    Returns:
        Parts in the structure of `data`, one more than there are sizes.

    Raises:
        TypeError: if a size is not a number.
        ValueError: if a part would be empty, or lengths differ.

    Example:
        >>> import numpy as np
        >>> from jaxnn.data import split_in_time
        >>> split_in_time(np.arange(10), 0.6, 2)
        (array([0, 1, 2, 3, 4, 5]), array([6, 7]), array([8, 9]))
        >>> split_in_time(np.arange(10), 8, context=3)[1]
        array([5, 6, 7, 8, 9])
    """
    data = map_tree(lambda path, leaf: plain(f"split_in_time: {path}", leaf), data)
    steps = _steps(data)
    ends = np.cumsum([0, *(_size(size, steps) for size in sizes)])
    counts = np.diff([*ends, steps])
    if not sizes or counts.min() < 1:
        raise ValueError(
            f"split_in_time: every part must hold at least one step, got parts of "
            f"{counts.tolist()} steps of {steps}, sizes {sizes}"
        )
    if integer(context) is None or not 0 <= context <= ends[1]:
        raise ValueError(
            f"split_in_time: context must be an int from 0 to the first part's "
            f"{ends[1]} steps, got {context!r}"
        )
    starts = [0, *(int(end) - context for end in ends[1:])]
    return tuple(
        map_tree(lambda _, leaf, a=a, b=int(b): leaf[a:b], data)
        for a, b in zip(starts, [*ends[1:], steps], strict=True)
    )


def _steps(data: Any) -> int:
    shapes: dict[str, tuple[int, ...]] = {}
    map_tree(lambda path, leaf: shapes.update({path: leaf.shape}), data)
    if () in shapes.values():
        raise ValueError(
            f"split_in_time: data must be arrays [T, ...], got {data!r:.60}"
        )
    lengths = {path: shape[0] for path, shape in shapes.items()}
    if len(set(lengths.values())) != 1:
        raise ValueError(
            f"split_in_time: data must be arrays of one length, got {lengths}"
        )
    return next(iter(lengths.values()))


def _size(size: Any, steps: int) -> int:
    """The number of steps in a part, given as steps or as a share."""
    if integer(size) is not None:
        return int(size)
    if not isinstance(size, float | np.floating):
        raise TypeError(f"split_in_time: a size must be a number, got {size!r}")
    if not 0 < size < 1:
        raise ValueError(
            f"split_in_time: a size must be an int of steps or a share between 0 and "
            f"1, got {size!r}"
        )
    return round(float(size) * steps)


def seasonal_naive(inputs: ArrayLike, horizon: int, season: int = 1) -> np.ndarray:
    """The baseline that any forecast must beat: the values of one season ago.

    `y[n, h] = inputs[n, length − season + (h mod season)]`; with season 1, the last
    value is repeated.

    Args:
        inputs: [N, length, ...], as returned by `windows`.
        horizon: steps to forecast.
        season: steps per season, such as 24 for hourly data; at most `length`.

    Returns:
        [N, horizon, ...].

    Raises:
        ValueError: if a season is longer than the inputs.

    Example:
        >>> import numpy as np
        >>> from jaxnn.data import seasonal_naive
        >>> seasonal_naive(np.array([[1, 2, 3, 4]]), 5, season=3)
        array([[2, 3, 4, 2, 3]])
    """
    values = plain("seasonal_naive: inputs", inputs)
    steps = positive("seasonal_naive", "season", season)
    if values.ndim < 2 or values.shape[1] < steps:
        raise ValueError(
            f"seasonal_naive: inputs must be [N, length, ...], length at least season="
            f"{steps}, got {list(values.shape)}"
        )
    ahead = np.arange(positive("seasonal_naive", "horizon", horizon)) % steps
    return values[:, values.shape[1] - steps + ahead]
