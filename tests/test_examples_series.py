# SPDX-License-Identifier: Apache-2.0
"""The examples on series and sounds: they run, learn their stand-ins, and draw."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from example import drawn, load

import jaxnn as nn

LOADERS = (
    *("airline_passengers", "beijing_pm25", "etth1", "melbourne_temperatures"),
    *("nab", "spoken_digits"),
)


# ---- remember ----


@pytest.mark.slow
def test_only_the_lstm_remembers(tmp_path, capsys):
    result = load("remember").main(["--small", "--out", str(tmp_path)])
    assert result["baseline"] == pytest.approx(1 / 6)
    assert result["RNN"] > 0.75 * result["baseline"]
    assert result["LSTM"] < 0.1 * result["baseline"]
    assert result["RNN_fades"] < 0.05 < 0.1 < result["LSTM_fades"]
    said = capsys.readouterr().out.splitlines()[-1]
    assert f"RNN {result['RNN']:.4f}, LSTM {result['LSTM']:.4f}" in said
    assert drawn(tmp_path / "learning.png") and drawn(tmp_path / "slopes.png")


def test_adding_marks_one_number_in_either_half():
    example = load("remember")
    x, y = example.adding(3, example.SMALL._replace(steps=10, sequences=500))
    numbers, marks = x[..., 0], x[..., 1]
    assert x.shape == (500, 10, 2) and y.shape == (500, 1)
    assert {*marks.ravel()} == {0, 1}
    np.testing.assert_array_equal(marks[:, :5].sum(1), 1)
    np.testing.assert_array_equal(marks[:, 5:].sum(1), 1)
    np.testing.assert_allclose(y[:, 0], numbers[marks == 1].reshape(-1, 2).sum(1))
    assert np.mean((y - 1) ** 2) == pytest.approx(example.BASELINE, rel=0.15)


def test_slopes_are_those_of_the_steps_by_hand():
    """For a state that is multiplied by a half, the slope halves with every step."""
    example = load("remember")
    cell = nn.RNNCell(1, activation=lambda x: x)
    x, y = np.zeros((4, 6, 2), np.float32), np.ones((4, 1), np.float32)
    params, _ = example.network(cell).init(jax.random.key(0), x)
    params["memory"]["recurrent"]["w"] = jnp.full((1, 1), 0.5)
    params["answer"] = {"w": jnp.full((1, 1), 3.0), "b": jnp.zeros(1)}
    found = example.slopes(cell, params, (x, y))
    last = 2 * 3.0  # of (3 h - 1)² at h = 0
    np.testing.assert_allclose(found, last * 0.5 ** np.arange(5.0, -1, -1), rtol=1e-5)


# ---- spoken digits ----


@pytest.mark.slow
def test_whistles_are_recognized_from_near_and_far(offline, tmp_path, capsys):
    flags = ["--small", "--epochs", "8", "--out", str(tmp_path)]
    result = load("spoken_digits").main(flags)
    said = capsys.readouterr().out.splitlines()
    assert "stand-in" in said[0]
    assert result["official"] > 0.9
    assert result["near"] > 0.6  # ten classes
    assert result["strangers"] == pytest.approx((result["near"] + result["far"]) / 2)
    assert f"accuracy {result['official']:.2%} on the test takes" in said[-1]
    for name in ("spectrograms", "confusion", "speakers"):
        assert drawn(tmp_path / f"{name}.png")


def test_loudness_and_filling_up_change_no_picture():
    example = load("spoken_digits")
    clips, *_ = example.whistles()
    loud = example.whole(clips[:3])
    assert loud.shape == (3, example.LENGTH)
    pictures = np.asarray(example.spectrograms(loud))
    quiet = np.asarray(example.spectrograms(0.1 * loud))
    np.testing.assert_allclose(quiet, pictures, atol=1e-3)
    assert pictures.max() == 1 and pictures.min() == 0
    end = -(-len(clips[0]) // 128) + 1  # frames behind the clip's end
    assert not pictures[0, end:].any()


# ---- forecast ----


@pytest.mark.slow
def test_those_that_learn_beat_those_that_do_not(offline, tmp_path, capsys):
    result = load("forecast").main(["--small", "--out", str(tmp_path)])
    free = min(result["made-up naive"], result["made-up seasonal naive"])
    assert result["made-up linear"] < 0.5 * free
    assert result["made-up GRU"] < 0.5 * free
    both = result["made-up linear"], result["made-up linear, scaled"]
    assert result["made-up linear + network"] < 1.05 * max(both)
    said = capsys.readouterr().out.splitlines()
    assert "stand-in" in said[0] and f"GRU {result['made-up GRU']:.4g}" in said[-1]
    assert drawn(tmp_path / "forecasts.png") and drawn(tmp_path / "errors.png")


def made_up_task(example, *, log=False):
    values = np.exp(np.sin(np.arange(100.0) / 3)) if log else np.arange(100.0)
    options = dict(season=5, length=3, horizon=2, ends=(60, 80), log=log)
    return example.Task("t", "u", "step", values, **options, epochs=1, batch_size=8)


def test_nothing_comes_from_the_future():
    """What comes after a part changes neither its windows nor the scale."""
    example = load("forecast")
    task = made_up_task(example)
    later = task.values.copy()
    later[60:] = 1e6
    (train, *_), _ = example.prepare(task)
    (same, *_), _ = example.prepare(task._replace(values=later))
    np.testing.assert_array_equal(train.inputs, same.inputs)
    np.testing.assert_array_equal(train.targets, same.targets)


@pytest.mark.parametrize("log", [False, True])
def test_parts_meet_and_come_back_to_their_unit(log):
    example = load("forecast")
    task = made_up_task(example, log=log)
    parts, restore = example.prepare(task)
    for part, begin in zip(parts, (task.season, *task.ends), strict=True):
        first = task.values[begin : begin + 2]
        np.testing.assert_allclose(restore(part.targets[0]), first, rtol=1e-4)
    for scaled in (False, True):
        inputs, targets, last, scale = example.changes(task, parts[2], scaled)
        assert inputs.shape[1] == task.length
        np.testing.assert_array_equal(inputs[:, -1, 0], 0)
        back = targets * scale + last
        np.testing.assert_allclose(back, parts[2].targets, atol=1e-5)


def test_linear_forecast_is_exact_where_the_series_is_linear():
    example = load("forecast")
    task = made_up_task(example)
    parts, restore = example.prepare(task)
    for scaled in (False, True):
        found = restore(example.linear(task, parts, scaled)[2])
        np.testing.assert_allclose(found, restore(parts[2].targets), atol=0.1)


@pytest.mark.slow
def test_the_network_adds_nothing_where_nothing_is_left(capsys):
    """Noise alone: what the networks learn of it does not hold later."""
    example = load("forecast")
    noise = np.random.default_rng(0).normal(size=300)
    task = made_up_task(example)._replace(values=noise, ends=(150, 220))
    parts, _ = example.prepare(task)
    plain, scaled = (example.linear(task, parts, by) for by in (False, True))
    found = example.corrected(task, parts, plain, scaled, 2, 0)
    truth = parts[2].targets
    best = min(example.squared(base[2], truth) for base in (plain, scaled))
    assert example.squared(found, truth) < 1.1 * best
    assert "linear forecast, and" in capsys.readouterr().out


# ---- traffic ----


@pytest.mark.slow
def test_intervals_hold_and_gaps_are_counted(offline, tmp_path, capsys):
    result = load("traffic").main(["--small", "--out", str(tmp_path)])
    for name in ("seasonal naive", "linear", "network"):
        assert 0.75 < result[f"made-up {name} coverage"] < 0.85
    naive, linear, network = (
        result[f"made-up {name} pinball"]
        for name in ("seasonal naive", "linear", "network")
    )
    assert network < linear < 0.8 * naive  # the noise changes with the hour
    said = capsys.readouterr().out
    assert "stand-in" in said and "of them missing, at most 40 in a row" in said
    assert "35 left out, no target measured" in said
    told = f"{result['made-up network coverage']:.0%}"
    assert said.splitlines()[-1].endswith(f"hold: made-up {told}")
    assert drawn(tmp_path / "made-up.png")


def test_what_was_not_measured_is_no_target():
    example = load("traffic")
    (task,) = example.stand_in()
    parts, scale = example.prepare(task)
    for part in parts:
        came = scale(part.targets + part.last[..., 0])
        for n in (0, len(part.first) // 2, -1):
            truth = task.values[part.first[n] :][: task.horizon]
            np.testing.assert_array_equal(part.counts[n], ~np.isnan(truth))
            known = part.counts[n]
            np.testing.assert_allclose(came[n, known], truth[known], rtol=1e-5)
        assert part.counts.any(1).all() and np.isfinite(part.known).all()
    firsts = [part.first for part in parts]
    for first, begin in zip(firsts, (24, *task.ends), strict=True):
        assert begin <= first.min() < begin + task.horizon


def test_a_model_of_dust_knows_nothing_of_the_future():
    """What comes after a part changes neither its windows nor the scale."""
    example = load("traffic")
    (task,) = example.stand_in()
    values, others = task.values.copy(), task.others.copy()
    values[1200:], others[1200:] = 1e6, -1e6
    (part, *_), scale = example.prepare(task)
    (same, *_), other = example.prepare(task._replace(values=values, others=others))
    assert scale == other
    for one, two in zip(part, same, strict=True):
        np.testing.assert_array_equal(one, two)


def test_the_loss_leaves_out_what_was_not_measured():
    example = load("traffic")
    outputs = jnp.arange(12.0).reshape(1, 4, 3)
    targets = jnp.array([[[7.0, 1], [1e9, 0], [2, 1], [-1e9, 0]]])
    each = [nn.losses.pinball(outputs[:, step], targets[:, step, 0]) for step in (0, 2)]
    found = example.known_pinball(outputs, targets)
    np.testing.assert_allclose(found, sum(each) / 2, rtol=1e-6)
    targets = targets.at[..., 1].set(0)
    np.testing.assert_array_equal(example.known_pinball(outputs, targets), 0)


def of_noise(example, count, first, deviation, seed):
    """Windows one step ahead of a series of noise about 0, and forecasts of 0."""
    came = np.random.default_rng(seed).normal(0, deviation, (count, 1))
    places = first + np.arange(count)
    part = example.Part(came, came, np.ones((count, 1), bool), came, came, places)
    return part, np.zeros((count, 1, 3))


def test_conformal_ends_hold_as_often_as_they_say():
    example = load("traffic")
    validation, before = of_noise(example, 2000, 0, 1.0, seed=1)
    test, after = of_noise(example, 2000, 2000, 1.0, seed=2)
    for latest in (None, 500):
        moved = example.conformal(before, after, validation, test, latest)[:, 0]
        held = example.coverage(moved, test.targets[:, 0])
        assert held == pytest.approx(0.8, abs=0.03)
        np.testing.assert_array_equal(moved[:, 1], 0)
        np.testing.assert_allclose(moved[0], [-1.28, 0, 1.28], atol=0.2)


def test_ends_that_move_on_follow_a_calmer_series():
    example = load("traffic")
    validation, before = of_noise(example, 1000, 0, 2.0, seed=1)
    test, after = of_noise(example, 4000, 1000, 1.0, seed=2)
    once, always = (
        example.conformal(before, after, validation, test, latest)[:, 0]
        for latest in (None, 500)
    )
    assert example.coverage(once, test.targets[:, 0]) > 0.95
    late = slice(600, None)
    held = example.coverage(always[late], test.targets[late, 0])
    assert held == pytest.approx(0.8, abs=0.04)


def test_no_end_moves_before_its_truth_is_known():
    example = load("traffic")
    validation, before = of_noise(example, 600, 0, 1.0, seed=1)
    test, after = of_noise(example, 300, 600, 1.0, seed=2)
    changed = test._replace(targets=test.targets.copy())
    changed.targets[100:] = 1e6
    found = [
        example.conformal(before, after, validation, part, 500)
        for part in (test, changed)
    ]
    np.testing.assert_array_equal(found[0][:101], found[1][:101])
    assert not np.array_equal(found[0][200:], found[1][200:])


# ---- anomaly ----


@pytest.mark.slow
def test_both_anomalies_of_the_stand_in_are_found(offline, tmp_path, capsys):
    result = load("anomaly").main(["--small", "--out", str(tmp_path)])
    assert result["windows"] == 2 and result["recall"] == 1
    assert result["precision"] > 0.6
    said = capsys.readouterr().out.splitlines()
    assert "stand-in" in said[0] and "recall 1.00" in said[-1]
    assert drawn(tmp_path / "made-up.png")


def test_alarms_and_windows_are_counted_as_stated():
    example = load("anomaly")
    alarms, windows = [(1, 2), (4, 5), (6, 7), (20, 21)], [(2, 4), (7, 9), (30, 40)]
    verdict = example.Verdict("", None, None, 0.0, None, alarms, windows)
    expected = {"alarms": 4, "right": 3, "windows": 3, "found": 2}
    assert verdict.counts() == expected


def test_near_stretches_are_one():
    example = load("anomaly")
    assert example.stretches(np.array([1, 2, 6, 11, 12]), 5) == [(1, 6), (11, 12)]
    assert example.stretches(np.array([]), 5) == []


def test_trailing_mean_looks_back_only():
    found = load("anomaly").trailing_mean(np.array([4.0, 2, 6, 8]), 2)
    np.testing.assert_allclose(found, [4, 3, 4, 7])


def test_an_example_knows_the_past_and_the_calendar():
    """Inputs end a step before the targets."""
    example = load("anomaly")
    times, values, _, _ = example.made_up()
    inputs, targets = example.examples(times, values, 500)
    assert len(inputs) == len(targets) == len(values) - example.LENGTH
    scaled = (values - values[:500].mean()) / values[:500].std()
    for n in (0, 7, len(inputs) - 1):
        at = n + example.LENGTH
        np.testing.assert_allclose(inputs[n, :, 0], scaled[n:at], rtol=1e-5)
        after = scaled[at : at + example.HORIZON]
        np.testing.assert_allclose(targets[n, : len(after)], after, rtol=1e-5)
        angle = 2 * np.pi * (times[at - 1].astype(int) % example.DAY) / example.DAY
        np.testing.assert_allclose(inputs[n, -1, 1], np.sin(angle), atol=1e-5)


def test_a_score_is_of_all_forecasts_of_one_step():
    example = load("anomaly")
    wrong = np.ones((200, example.HORIZON))  # of 248 steps
    step = example.LENGTH + 100  # all its forecasts are off by 5, one by 50
    for ahead in range(example.HORIZON):
        wrong[100 - ahead, ahead] = 50 if ahead == 3 else 5
    found = example.scores(wrong, 150, 200)
    first = example.LENGTH + example.HORIZON - 1
    assert np.isnan(found[:first]).all() and not np.isnan(found[first:]).any()
    expected = (5 * (example.HORIZON - 1) + example.CAP) / example.HORIZON
    assert found[step] == pytest.approx(expected)
    assert found[step - 1] == found[step + 1] == 1


def test_likelihood_compares_the_last_few_with_many():
    example = load("anomaly")
    values = np.tile([0.0, 2.0], 500)
    found = example.likelihood(np.concatenate([values, np.full(example.SHORT, 4.0)]))
    np.testing.assert_allclose(found[20:1000], 0, atol=0.05)
    assert found[-1] == pytest.approx(2.8, abs=0.1)  # (4 - 1.03) / 1.04


# ---- the real data ----


@pytest.mark.slow
@pytest.mark.needs("fsdd")
def test_spoken_digits_are_recognized(tmp_path):
    example = load("spoken_digits")
    _, data = example.load_data(small=False)
    test, net = data.takes < 5, example.network(16)
    state = example.learn(net, data.part(~test), 6, 50, 0)
    assert example.score(net, state, data.part(test)) > 0.93


@pytest.mark.slow
@pytest.mark.needs("time-series")
def test_forecasts_of_passengers_beat_last_year():
    example = load("forecast")
    task = next(task for task in example.real() if task.title == "passengers")
    forecasts, _, truth = example.forecast(task, 8, 0)
    errors = {name: np.abs(f - truth).mean() for name, f in forecasts.items()}
    assert max(errors["linear"], errors["GRU"]) < 0.6 * errors["seasonal naive"]
    assert errors["linear + network"] <= errors["linear"]


@pytest.mark.slow
@pytest.mark.needs("nab")
def test_taxi_anomalies_are_found(tmp_path):
    flags = ["--series", "nyc_taxi", "--out", str(tmp_path)]
    result = load("anomaly").main(flags)
    assert result["windows"] == 5 and result["found"] >= 3
    assert result["precision"] >= 0.5
