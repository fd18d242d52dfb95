# SPDX-License-Identifier: Apache-2.0
"""Forecast three series with networks, and see whether that was worth it.

Melbourne's lowest temperature of each of the next 7 days; a transformer's oil
temperature (ETTh1) in each of the next 24 hours; airline passengers in the next 12
months. A forecast is worth something if it beats what costs nothing, and so beside the
networks stand others: it stays as it is (naive); it will be as it was a season ago
(seasonal naive); a linear function of the same inputs (ridge regression), also with
each window divided by what it deviates by (scaled).

Nothing comes from the future. The series are cut in time, the test last; mean and
scale come from the training part; the ridge and everything about the networks were
chosen by the validation part in the middle. ETTh1 has its customary cut at 12, 16 and
20 months. Each number is measured from the last one known, so that a level that
training has not seen is no surprise, and comes with the time of the season, as sine and
cosine: the calendar is known in advance. Passengers grow by so many per cent a year, so
that their logarithm is forecast.

A recurrent network (a GRU) beats both forecasts that cost nothing, and the linear model
beats the GRU on all three series. These have one season and a short memory, which is
all that a linear function needs; it has a single best solution that takes no training,
while a network finds it in many small steps, and fits noise on the way.

So the network is given the linear forecast, and learns what that leaves: eight small
networks, averaged, that begin by adding nothing. The validation part decides which of
the two linear forecasts they begin with, and how much of what they say is added. This
is never far from the linear model, and as good or a little better. Of the passengers,
known by 61 overlapping windows, the networks learn nothing that holds a year later, and
nothing is added. In the test part of ETTh1 the scaled linear model is the best of all,
which the validation part did not foretell.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.figure import Figure

import jaxnn as nn

METHODS = {
    "naive": "#8c8c8c",
    "seasonal naive": "#bcbd22",
    "linear": "#1f77b4",
    "linear, scaled": "#17becf",
    "GRU": "#ff7f0e",
    "linear + network": "#d62728",
}


class Task(NamedTuple):
    """A series, what is to be forecast, and how the network is trained."""

    title: str
    unit: str
    step: str
    values: np.ndarray
    season: int  # steps
    length: int  # steps that a forecast knows
    horizon: int
    ends: tuple[int, int]  # of the training and the validation part
    epochs: int
    batch_size: int
    learning_rate: float = 0.003
    log: bool = False  # whether the logarithm is forecast


class Windows(NamedTuple):
    """What was `[N, T, 3]` (number, sine, cosine) and what came `[N, horizon]`."""

    inputs: np.ndarray
    targets: np.ndarray


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Forecast with all methods, draw; returns the mean absolute errors."""
    args = parse(argv)
    result, tasks, found = {}, stand_in() if args.small else real(), []
    for task in tasks:
        if args.epochs:
            task = task._replace(epochs=args.epochs)
        forecasts, known, truth = forecast(task, args.members, args.seed)
        found.append((task, forecasts, known, truth))
        result |= table(task, forecasts, truth)
    save_forecasts(args.out / "forecasts.png", found)
    save_errors(args.out / "errors.png", found)
    for name in ("forecasts", "errors"):
        print(f"wrote {args.out / name}.png")
    parts = []
    for task in tasks:
        errors = {name: result[f"{task.title} {name}"] for name in METHODS}
        best = min(errors, key=errors.__getitem__)
        parts.append(f"{task.title} {best} ({errors[best]:.4g}")
        parts[-1] += f", linear {errors['linear']:.4g}, GRU {errors['GRU']:.4g})"
    print(f"lowest mean absolute error: {'; '.join(parts)}")
    return result


def forecast(
    task: Task, members: int, seed: int
) -> tuple[dict[str, np.ndarray], Any, Any]:
    """The test part: forecasts by each method, what they knew, and what came."""
    parts, restore = prepare(task)
    test, horizon = parts[2], task.horizon
    numbers = test.inputs[..., 0]
    plain, scaled = (linear(task, parts, by) for by in (False, True))
    forecasts = {
        "naive": nn.data.seasonal_naive(numbers, horizon),
        "seasonal naive": nn.data.seasonal_naive(numbers, horizon, task.season),
        "linear": plain[2],
        "linear, scaled": scaled[2],
        "GRU": recurrent(task, *parts, seed),
        "linear + network": corrected(task, parts, plain, scaled, members, seed),
    }
    restored = {name: restore(values) for name, values in forecasts.items()}
    return restored, restore(numbers), restore(test.targets)


def prepare(task: Task) -> tuple[list[Windows], Callable[..., np.ndarray]]:
    """Windows of the three parts, and how to come back to the unit."""
    values = np.log(task.values) if task.log else task.values
    first, second = task.ends
    mean, scale = values[:first].mean(), values[:first].std()
    angle = 2 * np.pi * np.arange(len(values)) / task.season
    series = np.stack([(values - mean) / scale, np.sin(angle), np.cos(angle)], -1)
    longest = max(task.length, task.season)
    # Each part reaches back as far as a forecast looks: its first target is its own.
    parts = nn.data.split_in_time(
        series.astype(np.float32), first, second - first, context=longest
    )
    cut = [nn.data.windows(part, longest, task.horizon) for part in parts]

    def restore(numbers: np.ndarray) -> np.ndarray:
        numbers = numbers * scale + mean
        return np.exp(numbers) if task.log else numbers

    return [Windows(inputs, targets[..., 0]) for inputs, targets in cut], restore


def changes(
    task: Task, part: Windows, scaled: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Inputs and targets measured from the last number known, that number, the scale.

    The scale is 1, or what the window's numbers deviate by.
    """
    inputs = part.inputs[:, -task.length :].copy()
    last = inputs[:, -1:, 0].copy()
    inputs[..., 0] -= last
    scale = inputs[..., 0].std(1, keepdims=True) if scaled else np.ones_like(last)
    scale = np.maximum(scale, 0.1)
    inputs[..., 0] /= scale
    return inputs, (part.targets - last) / scale, last, scale


# ---- those that learn ----


def linear(task: Task, parts: Sequence[Windows], scaled: bool) -> list[np.ndarray]:
    """Forecasts for each part: least squares on the numbers known and the season.

    The best of four ridges on the validation part.
    """
    ready = [changes(task, part, scaled) for part in parts]
    known = [np.asarray(rows(inputs), np.float64) for inputs, *_ in ready]
    x, y = known[0], ready[0][1]
    ridges = [10.0**power * np.eye(x.shape[1]) for power in (-1, 0, 1, 2)]
    weights = [np.linalg.solve(x.T @ x + ridge, x.T @ y) for ridge in ridges]
    best = min(weights, key=lambda w: np.mean((known[1] @ w - ready[1][1]) ** 2))
    return [
        x @ best * scale + last
        for x, (_, _, last, scale) in zip(known, ready, strict=True)
    ]


def rows(inputs: Any) -> jax.Array:
    """The numbers of a window, the season at its end, and a one: `[N, T + 3]`."""
    season = inputs[:, -1, 1:]
    return jnp.hstack([inputs[..., 0], season, jnp.ones_like(season[:, :1])])


def corrected(
    task: Task,
    parts: Sequence[Windows],
    plain: list[np.ndarray],
    scaled: list[np.ndarray],
    members: int,
    seed: int,
) -> np.ndarray:
    """A linear forecast and what small networks, on average, add to it.

    The better linear one on the validation part; the networks learn what it leaves. How
    much of what they say is added, from nothing to all, the validation part decides.
    """
    base = min(plain, scaled, key=lambda found: squared(found[1], parts[1].targets))
    train, validation, test = (changes(task, part, base is scaled) for part in parts)
    net = nn.Sequential(
        rows,
        nn.Dense(32),
        jax.nn.relu,
        nn.Dropout(0.5),
        nn.Dense(task.horizon, w_init=nn.initializers.zeros()),
    )
    bunch = nn.ensemble(net, members)
    x, _, _, scale = train
    left = (parts[0].targets - base[0]) / scale
    steps = task.epochs * -(-len(x) // task.batch_size)
    rate = optax.cosine_decay_schedule(task.learning_rate / 10, steps)
    state, _ = nn.fit(
        bunch,
        (x, left.astype(np.float32)),
        loss=nn.losses.mean_squared_error,
        optimizer=optax.adam(rate),
        epochs=task.epochs,
        batch_size=task.batch_size,
        key=jax.random.key(seed),
        progress=True,
    )
    added, held = (
        np.asarray(nn.predict(bunch, state, part[0])) * part[3]
        for part in (test, validation)
    )
    shares = (0.0, 0.25, 0.5, 0.75, 1.0)
    errors = [squared(base[1] + share * held, parts[1].targets) for share in shares]
    share = shares[int(np.argmin(errors))]
    which = "scaled" if base is scaled else "plain"
    print(f"{task.title}: the {which} linear forecast, and {share:.0%} of the network")
    return base[2] + share * added


def squared(found: np.ndarray, truth: np.ndarray) -> float:
    """The mean squared error."""
    return float(np.mean((found - truth) ** 2))


def recurrent(
    task: Task, train: Windows, validation: Windows, test: Windows, seed: int
) -> np.ndarray:
    """A GRU reads what is known; a dense layer makes all steps ahead at once."""
    net = nn.Sequential(nn.gru(32), last_step, nn.Dense(task.horizon))
    x, y, _, _ = changes(task, train)
    steps = task.epochs * -(-len(x) // task.batch_size)
    rate = optax.cosine_decay_schedule(task.learning_rate, steps)
    state, _ = nn.fit(
        net,
        (x, y),
        loss=nn.losses.mean_squared_error,
        optimizer=optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate)),
        epochs=task.epochs,
        batch_size=task.batch_size,
        key=jax.random.key(seed),
        validation=changes(task, validation)[:2],
        progress=True,
    )
    inputs, _, last, _ = changes(task, test)
    return np.asarray(nn.predict(net, state, inputs)) + last


def last_step(outputs: jax.Array) -> jax.Array:
    """What came out at the last step."""
    return outputs[:, -1]


# ---- data and results ----


def real() -> list[Task]:
    """The three series."""
    temperatures = nn.data.melbourne_temperatures()[1]
    oil = nn.data.etth1()[1][:14400, -1]
    passengers = nn.data.airline_passengers()[1]
    year, month = 365, 30 * 24
    return [
        Task(
            *("Melbourne", "°C", "day", temperatures),
            season=year,
            length=30,
            horizon=7,
            ends=(6 * year, 8 * year),
            epochs=5,
            batch_size=32,
        ),
        Task(
            *("ETTh1", "°C", "hour", oil),
            season=24,
            length=96,
            horizon=24,
            ends=(12 * month, 16 * month),
            epochs=4,
            batch_size=64,
        ),
        Task(
            *("passengers", "thousands", "month", passengers),
            season=12,
            length=24,
            horizon=12,
            ends=(8 * 12, 10 * 12),
            epochs=60,
            batch_size=8,
            learning_rate=0.01,
            log=True,
        ),
    ]


def stand_in() -> list[Task]:
    """A season of 12 steps, in which every second high is twice as high, and noise."""
    print("--small: a made-up series, a stand-in for the real ones")
    steps, rng = np.arange(900), np.random.default_rng(0)
    wave = np.sin(2 * np.pi * steps / 12) * (1 + steps // 12 % 2)
    values = 20 + 5 * wave + rng.normal(0, 0.3, len(steps))
    return [
        Task("made-up", "units", "step", values, 12, 24, 6, (600, 750), 20, 32, 0.01)
    ]


def table(task: Task, forecasts: dict, truth: np.ndarray) -> dict[str, float]:
    """Print the errors of all methods on the test part; returns the absolute ones."""
    ahead = f"{task.horizon} {task.step}s"
    print(f"\n{task.title}, {ahead} ahead, {len(truth):,} forecasts, in {task.unit}")
    print(f"{'':16}{'MAE':>9}{'RMSE':>9}")
    found = {}
    for name, values in forecasts.items():
        absolute = float(np.abs(values - truth).mean())
        print(f"{name:16}{absolute:9.3f}{np.sqrt(np.mean((values - truth) ** 2)):9.3f}")
        found[f"{task.title} {name}"] = absolute
    print()
    return found


# ---- pictures ----


def save_forecasts(path: Path, found: list) -> None:
    """Draw one forecast of each series, from the middle of its test part."""
    figure = Figure(figsize=(11, 3.4 * len(found) + 0.5), layout="constrained")
    rows = figure.subplots(len(found), 1, squeeze=False)[:, 0]
    for axes, (task, forecasts, known, truth) in zip(rows, found, strict=True):
        which, shown = len(truth) // 2, min(task.length, 3 * task.horizon)
        past, future = np.arange(1 - shown, 1), np.arange(1, task.horizon + 1)
        axes.plot(past, known[which, -shown:], "o-", color="black", ms=3, label="known")
        axes.plot(future, truth[which], "o--", color="black", ms=3, label="came true")
        for name, values in forecasts.items():
            axes.plot(future, values[which], color=METHODS[name], label=name)
        axes.axvline(0.5, color="lightgray", zorder=0)
        axes.set(
            title=task.title,
            xlabel=f"{task.step}s from the last known",
            ylabel=task.unit,
        )
    rows[0].legend(loc="upper left", bbox_to_anchor=(1, 1))
    figure.savefig(path, dpi=110)


def save_errors(path: Path, found: list) -> None:
    """Draw how the error grows with the time ahead."""
    figure = Figure(figsize=(4.6 * len(found) + 2, 4), layout="constrained")
    row = figure.subplots(1, len(found), squeeze=False)[0]
    for axes, (task, forecasts, _, truth) in zip(row, found, strict=True):
        ahead = range(1, task.horizon + 1)
        for name, values in forecasts.items():
            error = np.abs(values - truth).mean(0)
            axes.plot(ahead, error, "o-", ms=3, color=METHODS[name], label=name)
        axes.set(title=task.title, xlabel=f"{task.step}s ahead", ylim=(0, None))
        axes.set_ylabel(f"mean absolute error, {task.unit}")
        axes.grid(alpha=0.3)
    row[-1].legend(loc="upper left", bbox_to_anchor=(1, 1))
    figure.savefig(path, dpi=110)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--small", action="store_true", help="a made-up series: seconds")
    add("--epochs", type=int, help="for all series; by default each has its own")
    add("--members", type=int, default=8, help="networks averaged: %(default)s")
    add("--seed", type=int, default=0, help="default: %(default)s")
    add("--out", type=Path, default=Path("out/forecast"), help="folder to write to")
    args = parser.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    return args


if __name__ == "__main__":
    nn.cache()  # the second run finds its programs compiled
    main()
