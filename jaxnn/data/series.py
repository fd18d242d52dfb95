# SPDX-License-Identifier: Apache-2.0
"""Preparing time series for forecasting: a grid, windows, splits, and a baseline."""

from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from jaxnn.data.checks import first, integer, map_tree, positive
from jaxnn.inputs.arrays import plain
from jaxnn.messages.arguments import answered

Tree = TypeVar("Tree")


@answered
def regular(
    times: ArrayLike, values: ArrayLike, step: np.timedelta64
) -> tuple[np.ndarray, np.ndarray]:
    """A series on a regular grid of times, NaN wherever nothing was measured.

    The grid begins at the first time; a value counts for the nearest time of the grid,
    at most half a step away (the later one of two); several for one are averaged.

    Args:
        times: datetime64 [T], each later than the one before.
        values: numbers [T, ...]; a NaN is a value that is missing.
        step: of the grid, such as `np.timedelta64(5, "m")`.

    Returns:
        `(times, values)`: datetime64 [S], a step apart; floats [S, ...].

    Raises:
        TypeError: if the times are not datetime64, or the step is not a timedelta64.
        ValueError: if the times are not in order, or one occurs twice; the first such
            time is named.

    Example:
        >>> import numpy as np
        >>> from jaxnn.data import regular
        >>> times = np.array(["2026-01-01T00:00", "2026-01-01T00:09"], "datetime64[m]")
        >>> grid, values = regular(times, [3.0, 4.0], np.timedelta64(5, "m"))
        >>> str(grid[-1]), values
        ('2026-01-01T00:10', array([ 3., nan,  4.]))
    """
    when, what = _increasing(times), plain("regular: values", values)
    if what.dtype.kind not in "biuf" or what.shape[:1] != when.shape:
        raise ValueError(
            f"regular: values must be numbers [T, ...], one for each of the "
            f"{len(when)} times, got {what.dtype}{list(what.shape)}"
        )
    if not isinstance(step, np.timedelta64):
        raise TypeError(
            'regular: step must be a timedelta64, as in np.timedelta64(5, "m"), got '
            f"{step!r}"
        )
    if not step > np.timedelta64(0):
        raise ValueError(f"regular: step must be positive, got {step!r}")
    place = np.floor((when - when[0]) / step + 0.5).astype(int)
    what = what.astype(np.result_type(what, np.float32))
    sums = np.zeros((place[-1] + 1, *what.shape[1:]))
    counts = np.zeros(sums.shape, int)
    np.add.at(sums, place, np.where(np.isnan(what), 0, what))
    np.add.at(counts, place, ~np.isnan(what))
    means = np.where(counts, sums / np.maximum(counts, 1), np.nan)
    return when[0] + np.arange(len(sums)) * step, means.astype(what.dtype)


def _increasing(times: ArrayLike) -> np.ndarray:
    """The times, checked to follow each other."""
    when = plain("regular: times", times)
    if when.dtype.kind != "M" or when.ndim != 1 or not len(when):
        raise TypeError(
            f"regular: times must be datetime64 [T], got {when.dtype}"
            f"{list(when.shape)}; write times.astype('datetime64[s]')"
        )
    if np.isnat(when).any():
        at = int(np.argmax(np.isnat(when)))
        raise ValueError(f"regular: times must be known, got times[{at}] = NaT")
    apart = np.diff(when).astype(int)
    if (apart < 0).any():
        at = int(np.argmax(apart < 0))
        raise ValueError(
            f"regular: times must be in order, got times[{at}] = {when[at]} before "
            f"times[{at + 1}] = {when[at + 1]}; sort both: order = np.argsort(times)"
        )
    if (apart == 0).any():
        at = int(np.argmax(apart == 0))
        raise ValueError(
            f"regular: each time must occur once, got times[{at}] = times[{at + 1}] = "
            f"{when[at]} ({(apart == 0).sum()} such pairs); keep one of them, or their "
            "mean"
        )
    return when


@answered
def fill_forward(values: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """A series without gaps: a missing value is the last known one, and how old it is.

    Nothing comes from the future. Given its age as a further input, a network can trust
    a value less the older it is; an age of 0 marks what was measured.

    Args:
        values: numbers [T, ...], NaN where missing, as returned by `regular`.

    Returns:
        `(filled, age)`, each [T, ...]: the values, and for how many steps (int) each
        has been known; 0 where it was not missing.

    Raises:
        ValueError: if nothing is known at the first step.

    Example:
        >>> import numpy as np
        >>> from jaxnn.data import fill_forward
        >>> fill_forward([3.0, np.nan, np.nan, 5.0])
        (array([3., 3., 3., 5.]), array([0, 1, 2, 0]))
    """
    series = plain("fill_forward: values", values)
    if not series.ndim or series.dtype.kind not in "biuf":
        raise TypeError(
            f"fill_forward: values must be numbers [T, ...], got {series.dtype}"
            f"{list(series.shape)}"
        )
    missing = np.isnan(series)
    if missing[:1].any():
        known = np.argmax(~missing.reshape(len(series), -1).any(1))
        hint = f"; cut off the first {known}" if known else ""
        raise ValueError(
            f"fill_forward: values must begin with known ones, got "
            f"{first(missing, series, 'values')}{hint}"
        )
    steps = np.arange(len(series)).reshape(-1, *[1] * (series.ndim - 1))
    source = np.maximum.accumulate(np.where(missing, 0, steps), axis=0)
    return np.take_along_axis(series, source, axis=0), steps - source


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
