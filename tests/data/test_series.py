# SPDX-License-Identifier: Apache-2.0
"""The regular grid, windows, splits and the naive forecast, against loops."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxnn.data import (
    fill_forward,
    regular,
    seasonal_naive,
    split_in_time,
    windows,
)

few = settings(max_examples=60, deadline=None)
MINUTE = np.timedelta64(1, "m")


def minutes(*numbers):
    return np.datetime64("2026-03-01", "m") + np.array(numbers) * MINUTE


@few
@given(st.sets(st.integers(0, 60), min_size=1), st.integers(1, 9))
def test_the_grid_is_that_of_a_loop(when, step):
    when, rng = sorted(when), np.random.default_rng(0)
    values = rng.normal(size=(len(when), 2))
    values[rng.random(values.shape) < 0.2] = np.nan
    times, got = regular(minutes(*when), values, step * MINUTE)
    assert times[0] == minutes(when[0])[0]
    np.testing.assert_array_equal(np.diff(times), step * MINUTE)
    assert abs(times[-1] - minutes(when[-1])[0]) <= step * MINUTE / 2
    want = np.full(got.shape, np.nan)
    for i in range(len(times)):
        late = 2 * (np.array(when) - when[0] - i * step)
        for column in (0, 1):
            near = values[(late >= -step) & (late < step), column]
            if (~np.isnan(near)).any():
                want[i, column] = np.nanmean(near)
    np.testing.assert_allclose(got, want)
    alone = regular(minutes(*when), values[:, 0], step * MINUTE)[1]
    np.testing.assert_array_equal(alone, got[:, 0])


def test_the_grid_keeps_what_is_regular():
    values = np.arange(7, dtype=np.float32)
    times, got = regular(minutes(*range(0, 35, 5)), values, 5 * MINUTE)
    np.testing.assert_array_equal(times, minutes(*range(0, 35, 5)))
    np.testing.assert_array_equal(got, values, strict=True)
    assert regular(minutes(3), [7], MINUTE)[1].tolist() == [7]


@pytest.mark.parametrize(
    ("times", "values", "step", "error", "message"),
    [
        (minutes(0, 5, 3), [1, 2, 3], MINUTE, ValueError,
         r"in order, got times\[1\] = .*00:05 before times\[2\] = .*00:03; sort both"),
        (minutes(0, 5, 5, 5), np.ones(4), MINUTE, ValueError,
         r"once, got times\[1\] = times\[2\] = 2026-03-01T00:05 \(2 such pairs\)"),
        (np.array(["2026-03", "NaT"], "datetime64[M]"), [1, 2], MINUTE, ValueError,
         r"must be known, got times\[1\] = NaT"),
        ([0, 5], [1, 2], MINUTE, TypeError, r"datetime64 \[T\], got int64\[2\]"),
        (minutes(), [], MINUTE, TypeError, "times must be datetime64"),
        (minutes(0, 5), [1, 2, 3], MINUTE, ValueError, "one for each of the 2 times"),
        (minutes(0, 5), ["a", "b"], MINUTE, ValueError, "values must be numbers"),
        (minutes(0, 5), [1, 2], 5, TypeError, "step must be a timedelta64.*got 5"),
        (minutes(0, 5), [1, 2], 0 * MINUTE, ValueError, "step must be positive"),
    ],
)  # fmt: skip
def test_the_grid_refuses(times, values, step, error, message):
    with pytest.raises(error, match=f"regular: .*{message}"):
        regular(times, values, step)


@few
@given(st.integers(1, 12), st.booleans())
def test_gaps_are_filled_as_by_a_loop(steps, several):
    rng = np.random.default_rng(steps)
    values = rng.normal(size=(steps, 2) if several else steps).astype(np.float32)
    values[rng.random(values.shape) < 0.4] = np.nan
    values[0] = 1
    filled, age = fill_forward(values)
    want, old = values.copy(), np.zeros(values.shape, int)
    for t in range(1, steps):
        missing = np.isnan(values[t])
        want[t] = np.where(missing, want[t - 1], values[t])
        old[t] = np.where(missing, old[t - 1] + 1, 0)
    np.testing.assert_array_equal(filled, want, strict=True)
    np.testing.assert_array_equal(age, old)


def test_a_gap_at_the_beginning_is_named():
    message = r"begin with known ones, got values\[0\] = nan; cut off the first 2"
    with pytest.raises(ValueError, match=f"fill_forward: values must {message}"):
        fill_forward([np.nan, np.nan, 1])
    with pytest.raises(ValueError, match=r"got values\[0, 1\] = nan$"):
        fill_forward([[1, np.nan], [2, np.nan]])
    with pytest.raises(TypeError, match="fill_forward: values must be numbers"):
        fill_forward(["a"])


@few
@given(
    st.integers(1, 20),
    st.integers(1, 6),
    st.integers(1, 4),
    st.integers(1, 4),
    st.booleans(),
)
def test_windows_are_those_of_a_loop(steps, length, horizon, stride, several):
    rng = np.random.default_rng(0)
    series = rng.normal(size=(steps, 3) if several else steps).astype(np.float32)
    if steps < length + horizon:
        with pytest.raises(ValueError, match=r"length \+ horizon = .*, got"):
            windows(series, length, horizon, stride)
        return
    inputs, targets = windows(series, length, horizon, stride)
    starts = range(0, steps - length - horizon + 1, stride)
    assert len(inputs) == len(targets) == (steps - length - horizon) // stride + 1
    for n, start in enumerate(starts):
        np.testing.assert_array_equal(inputs[n], series[start : start + length])
        after = series[start + length : start + length + horizon]
        np.testing.assert_array_equal(targets[n], after)
    assert inputs.dtype == np.float32 and inputs.flags.c_contiguous


def test_a_gap_in_a_series_is_named():
    series = np.ones((9, 3))
    series[4, 2] = series[7, 0] = np.nan
    message = r"windows: .* got series\[4, 2\] = nan \(2 of 27 numbers\)"
    with pytest.raises(ValueError, match=message):
        windows(series, 2)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((np.ones(9), 0), ValueError, "length must be a positive int, got 0"),
        ((np.ones(9), 2.0), TypeError, "length must be a positive int, got 2.0"),
        ((np.ones(9), 2, 0), ValueError, "horizon must be a positive int"),
        ((np.ones(9), 2, 1, -1), ValueError, "stride must be a positive int"),
        ((["a", "b"], 1), TypeError, "series must be numbers"),
        ((np.ones(()), 1), TypeError, "series must be numbers"),
    ],
)
def test_windows_refuse(arguments, error, message):
    with pytest.raises(error, match=f"windows: {message}"):
        windows(*arguments)


@few
@given(st.integers(3, 40), st.integers(0, 5), st.data())
def test_parts_follow_each_other(steps, context, data):
    first = data.draw(st.integers(1, steps - 2))
    second = data.draw(st.integers(1, steps - first - 1))
    context = min(context, first)
    series = {"x": np.arange(steps), "y": (np.arange(steps) * 2, np.arange(steps))}
    parts = split_in_time(series, first, second, context=context)
    ends = [0, first, first + second, steps]
    for part, start, end in zip(parts, ends, ends[1:], strict=False):
        start = max(start - context, 0)
        np.testing.assert_array_equal(part["x"], np.arange(start, end))
        np.testing.assert_array_equal(part["y"][0], np.arange(start, end) * 2)


def test_with_context_every_step_is_a_target_once():
    series = np.arange(30.0)
    parts = split_in_time(series, 0.5, 0.2, context=4)
    targets = [windows(part, 4)[1].ravel() for part in parts]
    np.testing.assert_array_equal(np.concatenate(targets), series[4:])


@pytest.mark.parametrize(
    ("sizes", "options", "error", "message"),
    [
        ((), {}, ValueError, "every part must hold at least one step"),
        ((10,), {}, ValueError, r"got parts of \[10, 0\] steps of 10"),
        ((0.01,), {}, ValueError, r"got parts of \[0, 10\]"),
        ((4, 7), {}, ValueError, r"\[4, 7, -1\]"),
        ((1.5,), {}, ValueError, "share between 0 and 1, got 1.5"),
        (("8",), {}, TypeError, "a size must be a number, got '8'"),
        ((3,), {"context": 4}, ValueError, "context must be an int from 0 to .* 3"),
        ((3,), {"context": -1}, ValueError, "context must be an int"),
    ],
)
def test_splits_refuse(sizes, options, error, message):
    with pytest.raises(error, match=f"split_in_time: .*{message}"):
        split_in_time(np.arange(10), *sizes, **options)


def test_splits_need_one_length():
    with pytest.raises(ValueError, match="arrays of one length, got"):
        split_in_time((np.ones(3), np.ones(4)), 1)


@few
@given(st.integers(1, 6), st.integers(1, 8), st.integers(1, 6))
def test_the_naive_forecast_repeats_a_season(length, horizon, season):
    inputs = np.arange(2 * length * 3).reshape(2, length, 3)
    if season > length:
        with pytest.raises(ValueError, match=f"at least season={season}, got"):
            seasonal_naive(inputs, horizon, season)
        return
    forecast = seasonal_naive(inputs, horizon, season)
    series = inputs
    for _ in range(horizon):  # each step is the one a season before
        series = np.concatenate([series, series[:, -season][:, None]], axis=1)
    np.testing.assert_array_equal(forecast, series[:, length:])


def test_the_naive_forecast_of_a_periodic_series_is_perfect():
    inputs, targets = windows(np.tile([3.0, 1, 4, 1], 10), 6, horizon=5)
    np.testing.assert_array_equal(seasonal_naive(inputs, 5, season=4), targets)
