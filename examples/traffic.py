# SPDX-License-Identifier: Apache-2.0
"""Forecasts that say how sure they are, of series with gaps: traffic and air.

The speed on a road in the next hour, the travel time on another in the next hour, and
the fine dust in Beijing's air in the next 24 hours, each with an interval that is to
hold 80 % of what comes. The median forecast and the interval's ends are three
quantiles; a network learns them with the pinball loss. Beside it stand two others: the
value a day ago (seasonal naive), and a linear function of the same inputs (ridge
regression), which make one number each.

The two roads were measured at odd times, with gaps of hours; Beijing's hours are
regular, but 2,067 are missing. `nn.data.regular` puts a series on a grid, and
`nn.data.fill_forward` fills each gap with the last value known and tells how old it is:
the models see both. What was not measured is never counted as a target, in training or
after it; a window in which no target was measured is left out, and the printout says
how many these are.

No interval is believed before it is tested. On the validation part, which no model was
trained on, one looks how far beyond an end of the interval the truth lies in the worst
tenth of the cases, and moves the end by as much: for each step ahead and each end
(conformalized quantile regression). So all three models have intervals by the same
rule. A month later a road is not as it was: with ends from the validation part alone
the network's intervals of the travel time held 90 % of the test part. So the ends move
on: they come from the latest 500 forecasts whose truth is known by then, the validation
part's at first, and each truth that lies inside narrows the next interval a little,
each outside widens it (adaptive conformal inference). This was decided after that was
seen; the table shows both.

Nothing comes from the future: the series are cut in time, the test last, the scale
comes from the training part, and the weather is that of the hours known. The ridge was
chosen by the validation part; how wide the network is and how long it trains was not
searched, only that the validation loss no longer falls at the end. Travel times and
dust are forecast as logarithms, and a quantile's logarithm is the logarithm's quantile.

References: Romano, Patterson and Candès, Conformalized Quantile Regression, 2019; Gibbs
and Candès, Adaptive Conformal Inference Under Distribution Shift, 2021; Liang et al.,
Assessing Beijing's PM2.5 Pollution, 2015; Lavin and Ahmad, the Numenta Anomaly
Benchmark, 2015.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.figure import Figure

import jaxnn as nn

LEVELS = (0.1, 0.5, 0.9)
LATEST = 500  # forecasts that say how far an end moves: 50 of them lie beyond it
PACE = 0.005  # as Gibbs and Candès; 0.05 held 80 % too, by ends that are far too wide
COLORS = {"seasonal naive": "#8c8c8c", "linear": "#1f77b4", "network": "#d62728"}


class Task(NamedTuple):
    """A series on a regular grid, and how it is forecast."""

    title: str
    unit: str
    times: np.ndarray
    values: np.ndarray  # [T], NaN where missing
    others: np.ndarray  # [T, C], what else is measured
    measured: int  # values before they were put on the grid
    season: int  # steps a day
    length: int  # steps that a forecast knows
    horizon: int
    ends: tuple[int, int]  # of the training and the validation part
    epochs: int
    log: bool = False  # whether the logarithm is forecast


class Part(NamedTuple):
    """What was known `[N, F]`, what came `[N, horizon]`, and whether it was measured.

    Numbers are measured from the last one known, `last`. `first` are the places in the
    series of each window's first target.
    """

    known: np.ndarray
    targets: np.ndarray
    counts: np.ndarray
    last: np.ndarray
    yesterday: np.ndarray
    first: np.ndarray


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Forecast with all methods, draw; returns errors, losses and coverage."""
    args = parse(argv)
    result, names = {}, []
    for task in stand_in() if args.small else real():
        task = task._replace(epochs=args.epochs or task.epochs)
        parts, scale = prepare(task)
        describe(task, parts)
        found = forecast(task, parts, args.members, args.seed)
        once, always = (
            {
                name: scale(conformal(*pair, *parts[1:], *how) + parts[2].last)
                for name, pair in found.items()
            }
            for how in ((None, 0.0), (LATEST, PACE))
        )
        truth = scale(parts[2].targets + parts[2].last[..., 0])
        result |= table(task, once, always, truth, parts[2].counts)
        path = args.out / f"{task.title}.png"
        save_picture(path, task, always, truth, parts[2])
        print(f"wrote {path}\n")
        names.append(task.title)
    told = (f"{name} {result[f'{name} network coverage']:.0%}" for name in names)
    print(f"the network's 80 % intervals hold: {', '.join(told)}")
    return result


def prepare(task: Task) -> tuple[list[Part], "Scale"]:
    """The windows of the three parts, and the way back to the unit."""
    values = np.log(task.values) if task.log else task.values
    begin, middle = task.ends
    scale = Scale(np.nanmean(values[:begin]), np.nanstd(values[:begin]), task.log)
    filled, age = nn.data.fill_forward((values - scale.mean) / scale.deviation)
    train = task.others[:begin]
    others = (task.others - train.mean(0)) / train.std(0)
    places = np.arange(len(values))
    columns = [filled, age == 0, np.log1p(age), *calendar(task.times).T, *others.T]
    series = np.stack([*columns, places], -1).astype(np.float64)
    longest = max(task.length, task.season)
    # Each part reaches back as far as a forecast looks: its first target is its own.
    parts = nn.data.split_in_time(series, begin, middle - begin, context=longest)
    return [cut(task, *nn.data.windows(p, longest, task.horizon)) for p in parts], scale


def cut(task: Task, inputs: np.ndarray, targets: np.ndarray) -> Part:
    """The windows with a target that was measured, as rows of numbers for a model."""
    counts = targets[..., 1] == 1
    kept = counts.any(1)
    inputs, targets, counts = inputs[kept], targets[kept], counts[kept]
    recent, last = inputs[:, -task.length :], inputs[:, -1, 0]
    begin = inputs.shape[1] - task.season
    yesterday = inputs[:, begin : begin + task.horizon, 0] - last[:, None]
    known = [
        recent[:, :-1, 0] - last[:, None],
        recent[..., 2],
        yesterday,
        last[:, None],
        inputs[:, -1, 3:-1],  # the time and what else is measured, now
        recent[..., 3:-1].mean(1),  # and on average
    ]
    return Part(
        np.hstack(known).astype(np.float32),
        (targets[..., 0] - last[:, None]).astype(np.float32),
        counts,
        last[:, None, None],
        yesterday,
        targets[:, 0, -1].astype(int),
    )


def calendar(times: np.ndarray) -> np.ndarray:
    """The time of the day, the week and the year as sine and cosine, `[T, 6]`."""
    seconds = times.astype("datetime64[s]").astype(int)
    angles = [2 * np.pi * seconds / (86_400 * days) for days in (1, 7, 365.25)]
    return np.stack([part(a) for a in angles for part in (np.sin, np.cos)], -1)


class Scale(NamedTuple):
    """The way back to the unit."""

    mean: float
    deviation: float
    log: bool

    def __call__(self, scaled: np.ndarray) -> np.ndarray:
        values = scaled * self.deviation + self.mean
        return np.exp(values) if self.log else values


# ---- the models ----


def forecast(
    task: Task, parts: list[Part], members: int, seed: int
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Quantiles for the validation and test part by each method, `[N, horizon, 3]`."""
    ridge = linear(*parts[:2])
    lines = [thrice(with_one(part.known) @ ridge) for part in parts]
    left = quantiles(task, parts, [line[..., 0] for line in lines], members, seed)
    _, validation, test = parts
    # For each method: of the validation part, of the test part.
    return {
        "seasonal naive": (thrice(validation.yesterday), thrice(test.yesterday)),
        "linear": (lines[1], lines[2]),
        "network": (lines[1] + left[0], lines[2] + left[1]),
    }


def thrice(numbers: np.ndarray) -> np.ndarray:
    """One number as three quantiles."""
    return np.repeat(numbers[..., None], 3, axis=-1)


def conformal(
    before: np.ndarray,
    after: np.ndarray,
    validation: Part,
    test: Part,
    latest: int | None = None,
    pace: float = 0.0,
) -> np.ndarray:
    """The test part's quantiles with ends that held before; the medians stay.

    Each end of each step ahead moves as `moves` says, by the distances of the
    validation part beyond it; or by the `latest` that are known when the forecast is
    made, which the test part goes on adding.
    """
    moved = after.copy()
    for step in range(after.shape[1]):
        distances = []
        for quantiles, part in ((before, validation), (after, test)):
            counts = part.counts[:, step]
            low, _, high = quantiles[counts, step].T
            came = part.targets[counts, step]
            distances.append((low - came, came - high))
        own = np.flatnonzero(test.counts[:, step])
        for end, sign in ((0, -1), (1, 1)):
            old, new = distances[0][end], distances[1][end]
            given = old, new, own, test.first, step, latest, pace
            moved[:, step, 2 * end] += sign * moves(*given)
    return moved


def moves(
    old: np.ndarray,
    new: np.ndarray,
    own: np.ndarray,
    made: np.ndarray,
    step: int,
    latest: int | None,
    pace: float,
) -> np.ndarray:
    """How far an end moves for each forecast, so that 10 % of what comes lies beyond.

    By the ⌈(1 - α) (n + 1)⌉-th smallest of n distances beyond the end, at first with α
    = 0.1. Each forecast whose truth becomes known moves α by pace (0.1 - beyond), where
    beyond is 1 if the truth lay beyond the end: what holds too much is narrowed.

    Args:
        old, new: distances of the validation part and of the test part.
        own: the forecast of each of the new ones.
        made: when each forecast was made.
        step: how many steps later its truth is known.
        latest: how many distances to look at; None for all the old ones alone.
        pace: how fast α moves.
    """
    every, beyond, count = np.concatenate([old, new]), 0.1, 0
    found = np.empty(len(made))
    for i, now in enumerate(made):
        while latest and count < len(new) and made[own[count]] + step < now:
            beyond += pace * (0.1 - (new[count] > found[own[count]]))
            count += 1
        end = len(old) + count
        cases = old if latest is None else every[max(0, end - latest) : end]
        place = int(np.ceil((1 - beyond) * (len(cases) + 1)))
        place = min(max(place, 1), len(cases)) - 1
        found[i] = np.partition(cases, place)[place]
    return found


def linear(train: Part, validation: Part) -> np.ndarray:
    """Least squares on all that is known, `[F + 1, horizon]`; the best of six ridges.

    Each step ahead has its own: its target was measured in windows of its own.
    """
    x, held = (with_one(part.known).astype(np.float64) for part in (train, validation))
    best = []
    for step, (counts, held_counts) in enumerate(
        zip(train.counts.T, validation.counts.T, strict=True)
    ):
        rows, came = x[counts], train.targets[counts, step]
        square, right = rows.T @ rows, rows.T @ came
        ridges = (10.0**power * np.eye(len(square)) for power in range(-1, 5))
        weights = [np.linalg.solve(square + ridge, right) for ridge in ridges]
        held_came = validation.targets[held_counts, step]
        errors = [np.mean((held[held_counts] @ w - held_came) ** 2) for w in weights]
        best.append(weights[int(np.argmin(errors))])
    return np.stack(best, -1)


def with_one(known: np.ndarray) -> np.ndarray:
    """What is known and a one, for the constant."""
    return np.hstack([known, np.ones((len(known), 1), known.dtype)])


def quantiles(
    task: Task, parts: list[Part], lines: list[np.ndarray], members: int, seed: int
) -> list[np.ndarray]:
    """What networks say of the validation and the test part, `[N, horizon, 3]`.

    Three quantiles of what the linear forecast leaves; several networks, averaged.
    """
    net = nn.Sequential(
        nn.Dense(64),
        jax.nn.relu,
        nn.Dropout(0.2),
        nn.Dense(3 * task.horizon, w_init=nn.initializers.zeros()),
        nn.Reshape((task.horizon, 3)),
    )
    bunch = nn.ensemble(net, members)
    scaled = nn.data.standardizer(parts[0].known)
    inputs = [scaled(part.known).astype(np.float32) for part in parts]
    targets = [
        np.stack([part.targets - line, part.counts], -1).astype(np.float32)
        for part, line in zip(parts, lines, strict=True)
    ]
    steps = task.epochs * -(-len(inputs[0]) // 64)
    rate = optax.cosine_decay_schedule(0.001, steps)
    state, _ = nn.fit(
        bunch,
        (inputs[0], targets[0]),
        loss=known_pinball,
        optimizer=optax.adam(rate),
        epochs=task.epochs,
        batch_size=64,
        key=jax.random.key(seed),
        validation=(inputs[1], targets[1]),
        progress=True,
    )
    said = [np.asarray(nn.predict(bunch, state, x), np.float64) for x in inputs[1:]]
    return [np.sort(found, axis=-1) for found in said]  # no two of them cross


def known_pinball(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    """The pinball loss of each window, over the targets that were measured.

    Args:
        outputs: `[N, horizon, 3]`.
        targets: `[N, horizon, 2]`: numbers, and 1 where they were measured, else 0.
    """
    came, counts = targets[..., 0], targets[..., 1]
    each = nn.losses.pinball(outputs.reshape(-1, 3), came.ravel(), levels=LEVELS)
    each = each.reshape(came.shape)
    return (each * counts).sum(1) / jnp.maximum(counts.sum(1), 1)


# ---- data and results ----


def real() -> list[Task]:
    """The three series."""
    return [
        road("speed_7578", "mph", minutes=5, length=24, horizon=12, epochs=10),
        road(
            *("TravelTime_387", "seconds"),
            minutes=10,
            length=24,
            horizon=6,
            epochs=10,
            log=True,
        ),
        dust(),
    ]


def road(name: str, unit: str, *, minutes: int, length: int, **options) -> Task:
    """A series of the Numenta Anomaly Benchmark, on a grid; a fifth each to judge."""
    series = nn.data.nab(name)
    step = np.timedelta64(minutes, "m")
    times, values = nn.data.regular(series.times, series.values, step)
    ends = int(0.6 * len(times)), int(0.8 * len(times))
    others, season = np.zeros((len(times), 0)), 24 * 60 // minutes
    given = times, values, others, len(series.values), season, length
    return Task(name, unit, *given, ends=ends, **options)


def dust() -> Task:
    """Beijing's PM2.5 with the weather: three years, one, and one to judge."""
    times, values = nn.data.beijing_pm25()
    begin = int(np.argmax(~np.isnan(values[:, 0])))
    print(f"PM2.5: the first {begin} hours are missing and cut off")
    times, values = times[begin:], values[begin:]
    others = values[:, 1:].copy()
    others[:, 3] = np.log(others[:, 3])  # the wind's speed
    year = [int(np.searchsorted(times, np.datetime64(y))) for y in ("2013", "2014")]
    measured = int((~np.isnan(values[:, 0])).sum())
    pollution = values[:, 0] + 1  # some are 0, of which there is no logarithm
    return Task(
        *("PM2.5", "µg/m³", times, pollution, others, measured),
        season=24,
        length=48,
        horizon=24,
        ends=(year[0], year[1]),
        epochs=4,
        log=True,
    )


def stand_in() -> list[Task]:
    """Days of 24 steps, a fifth of which are missing, noisier at their height."""
    print("--small: a made-up series, a stand-in for the real ones")
    steps, rng = np.arange(2000), np.random.default_rng(0)
    wave = np.sin(2 * np.pi * steps / 24)
    values = 20 + 5 * wave + rng.normal(0, 0.5 + 0.4 * wave)
    values[rng.random(len(values)) < 0.2], values[0] = np.nan, 20
    values[1000:1040] = np.nan
    times = np.datetime64("2026-01-01", "h") + steps * np.timedelta64(1, "h")
    measured = int((~np.isnan(values)).sum())
    given = times, values, wave[:, None], measured
    return [Task("made-up", "units", *given, 24, 24, 6, (1200, 1600), 8)]


def describe(task: Task, parts: list[Part]) -> None:
    """Print what was measured, what is missing, and what is left out."""
    missing = np.isnan(task.values)
    age = nn.data.fill_forward(task.values)[1]
    step = (task.times[1] - task.times[0]).astype("timedelta64[m]").astype(int)
    print(
        f"{task.title}: {task.measured:,} values measured; on a grid of {step} minutes "
        f"{len(missing):,} steps, {missing.mean():.0%} of them missing, at most "
        f"{age.max():,} in a row; {task.measured - (~missing).sum():,} values share a "
        "step with the one before and are averaged"
    )
    begins = (max(task.length, task.season), *task.ends)
    ends = (*task.ends, len(missing))
    for name, part, a, b in zip(
        ("training", "validation", "test"), parts, begins, ends, strict=True
    ):
        every = b - a - task.horizon + 1
        print(
            f"  {name}: {len(part.known):,} windows; {every - len(part.known):,} left "
            f"out, no target measured; {1 - part.counts.mean():.0%} of the targets in "
            "the others are missing and not counted"
        )


def table(
    task: Task, once: dict, always: dict, truth: np.ndarray, counts: np.ndarray
) -> dict[str, float]:
    """Print how good the forecasts and intervals of the test part are; returns them."""
    print(f"\n{task.title}, {task.horizon} steps ahead, test part, in {task.unit}")
    print(f"{'':16}{'MAE':>9}{'pinball':>9}{'width':>9}{'coverage':>10}{'once':>8}")
    found, came = {}, truth[counts]
    for name, quantiles in always.items():
        each = quantiles[counts].astype(np.float32)
        row = {
            "MAE": np.abs(each[:, 1] - came).mean(),
            "pinball": np.mean(nn.losses.pinball(each, came, levels=LEVELS)),
            "width": np.mean(each[:, 2] - each[:, 0]),
            "coverage": coverage(each, came),
            "once": coverage(once[name][counts], came),
        }
        print(
            f"{name:16}{row['MAE']:9.3f}{row['pinball']:9.3f}{row['width']:9.2f}"
            f"{row['coverage']:10.1%}{row['once']:8.1%}"
        )
        found |= {f"{task.title} {name} {key}": float(v) for key, v in row.items()}
    print("once: the coverage with ends from the validation part alone\n")
    return found


def coverage(quantiles: np.ndarray, came: np.ndarray) -> float:
    """The share of what came that lies in its interval."""
    return float(np.mean((quantiles[:, 0] <= came) & (came <= quantiles[:, 2])))


# ---- pictures ----


def save_picture(
    path: Path, task: Task, forecasts: dict, truth: np.ndarray, part: Part
) -> None:
    """Draw forecasts that follow each other without a gap, from the test's middle."""
    starts = part.first[len(part.first) // 2] + task.horizon * np.arange(-3, 4)
    chosen = np.flatnonzero(np.isin(part.first, starts))
    figure = Figure(figsize=(12, 8), layout="constrained")
    rows = figure.subplots(len(forecasts), 1, sharex=True, sharey=True)
    ahead = np.arange(task.horizon)
    for axes, (name, quantiles) in zip(rows, forecasts.items(), strict=True):
        for i, n in enumerate(chosen):
            times = task.times[part.first[n] + ahead]
            low, median, high = quantiles[n].T
            color, label = COLORS[name], None if i else "80 % interval"
            axes.fill_between(
                times, low, high, color=color, alpha=0.25, lw=0, label=label
            )
            axes.plot(times, median, color=color, label=None if i else "forecast")
            axes.axvline(times[0], color="lightgray", lw=0.8, zorder=0)
            known = part.counts[n]
            axes.plot(times[known], truth[n, known], ".", color="black", ms=4,
                      label=None if i else "came true")  # fmt: skip
        axes.set(title=name, ylabel=task.unit)
        axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
    figure.suptitle(f"{task.title}: each gray line begins a forecast")
    figure.savefig(path, dpi=110)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--small", action="store_true", help="a made-up series: seconds")
    add("--epochs", type=int, help="for all series; by default each has its own")
    add("--members", type=int, default=4, help="networks averaged: %(default)s")
    add("--seed", type=int, default=0, help="default: %(default)s")
    add("--out", type=Path, default=Path("out/traffic"), help="folder to write to")
    args = parser.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    return args


if __name__ == "__main__":
    nn.cache()  # the second run finds its programs compiled
    main()
