# SPDX-License-Identifier: Apache-2.0
"""Frames and columns of pandas are arrays, or the error says the line that helps."""

import jax
import numpy as np
import optax
import pytest

import jaxnn as nn

pandas = pytest.importorskip("pandas")

RNG = np.random.default_rng(0)
FRAME = pandas.DataFrame(RNG.standard_normal((40, 2)), columns=["a", "b"])
FRAME["y"] = 3 * FRAME.a - FRAME.b
FRAME["label"] = (FRAME.y > 0).astype(int)


def fit(data, outputs=1, loss=nn.losses.mean_squared_error, **options):
    return nn.fit(
        nn.Dense(outputs), data, loss=loss, optimizer=optax.sgd(0.1), epochs=2,
        batch_size=8, key=jax.random.key(0), **options,
    )  # fmt: skip


def test_frames_and_columns_train_as_their_arrays():
    frames = FRAME[["a", "b"]], FRAME[["y"]]
    arrays = tuple(frame.to_numpy() for frame in frames)
    state, history = fit(frames, validation=frames)
    expected, wanted = fit(arrays, validation=arrays)
    np.testing.assert_array_equal(state.params["w"], expected.params["w"])
    assert history["val_loss"] == wanted["val_loss"]
    np.testing.assert_array_equal(
        nn.predict(nn.Dense(1), state, frames[0]),
        nn.predict(nn.Dense(1), state, arrays[0]),
    )
    loss = nn.losses.mean_squared_error
    assert nn.evaluate(nn.Dense(1), state, frames, loss=loss) == nn.evaluate(
        nn.Dense(1), state, arrays, loss=loss
    )


def test_a_column_of_classes_is_an_array_of_them():
    entropy = nn.losses.softmax_cross_entropy
    _, history = fit((FRAME[["a", "b"]], FRAME.label), 2, entropy)
    arrays = FRAME[["a", "b"]].to_numpy(), FRAME.label.to_numpy()
    assert history["loss"] == fit(arrays, 2, entropy)[1]["loss"]


def test_a_column_that_allows_missing_numbers_is_an_array_if_none_is_missing():
    entropy = nn.losses.softmax_cross_entropy
    inputs = FRAME[["a", "b"]].to_numpy()
    _, history = fit((inputs, FRAME.label.astype("Int64")), 2, entropy)
    assert history["loss"] == fit((inputs, FRAME.label), 2, entropy)[1]["loss"]


@pytest.mark.parametrize(
    ("column", "said"),
    [
        (["red", "blue"] * 20, r"'color' \((str|object)\)"),
        ([True, False] * 20, r"'color' \(bool\)"),
        (pandas.array([1.0, None] * 20, dtype="Float64"), r"'color' \(Float64\)"),
        (pandas.Categorical(["red", "blue"] * 20), r"'color' \(category\)"),
    ],
)
def test_a_column_without_plain_numbers_is_named_with_the_line_that_helps(column, said):
    frame = FRAME[["a", "b"]].assign(color=column)
    message = rf"data inputs must hold numbers, got a DataFrame with {said}; .*"
    with pytest.raises(TypeError, match=message + r"df\.to_numpy\('float32'\)"):
        fit((frame, FRAME.y))


def test_the_line_that_helps_helps():
    frame = FRAME[["a"]].astype("Float64").assign(flag=[True, False] * 20)
    fit((frame.to_numpy("float32"), FRAME[["y"]]))
    frame = pandas.get_dummies(frame.assign(color=["red", "blue"] * 20))
    assert list(frame) == ["a", "flag", "color_blue", "color_red"]
    fit((frame.to_numpy("float32"), FRAME[["y"]]))


def test_text_labels_say_how_to_number_them():
    label = FRAME.label.map({0: "no", 1: "yes"})
    entropy = nn.losses.softmax_cross_entropy
    with pytest.raises(TypeError, match=r"data targets.*np\.unique\(a, return_inverse"):
        fit((FRAME[["a", "b"]], label), 2, entropy)
    numbers = np.unique(label, return_inverse=True)[1]
    fit((FRAME[["a", "b"]], numbers), 2, entropy)


def test_missing_numbers_are_found():
    frame = FRAME[["a", "b"]].copy()
    frame.iloc[3, 1] = np.nan
    with pytest.raises(ValueError, match=r"must be finite, but \[3, 1\] is nan"):
        fit((frame, FRAME[["y"]]))


def test_a_series_is_scaled_cut_and_brought_back_in_one_line_each():
    days = pandas.date_range("2026-01-01", periods=40)
    series = pandas.Series(20 + RNG.standard_normal(40), index=days)
    scaled = nn.data.standardizer(series[:30])
    inputs, targets = nn.data.windows(scaled(series), 7, horizon=2)
    assert inputs.shape == (32, 7) and targets.shape == (32, 2)
    np.testing.assert_allclose(scaled.inverse(targets[:, 0]), series[7:-1], rtol=1e-12)
    raw, _ = nn.data.windows(series, 7, horizon=2)
    np.testing.assert_array_equal(raw, nn.data.windows(series.to_numpy(), 7, 2)[0])


def test_a_frame_of_series_has_a_scale_for_each():
    frame = FRAME[["a", "b"]] * [1.0, 100.0] + [0.0, 7.0]
    scaled = nn.data.standardizer(frame)
    np.testing.assert_allclose(scaled.mean, frame.mean(), rtol=1e-12)
    inputs, targets = nn.data.windows(scaled(frame), 5)
    assert inputs.shape == (35, 5, 2)
    np.testing.assert_allclose(scaled.inverse(targets[:, 0]), frame[5:], rtol=1e-12)
    train, later = nn.data.split_in_time(frame, 30)
    np.testing.assert_array_equal(later, frame[30:])
    train, held_out = nn.data.split((frame, FRAME.label), 0.25, seed=0)
    assert train[0].shape == (30, 2) and held_out[1].shape == (10,)
