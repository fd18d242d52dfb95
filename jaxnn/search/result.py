# SPDX-License-Identifier: Apache-2.0
"""The result of a sweep: a table, the best settings, and their trained state."""

import math
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxnn.files.figures import finish
from jaxnn.messages import tables
from jaxnn.search.search import Search, Trial
from jaxnn.search.space import Settings
from jaxnn.spec import show
from jaxnn.train.console import number
from jaxnn.train.state import TrainState

#: `str(result)` shows this many settings.
SHOWN = 20


class Row(NamedTuple):
    """One combination of settings, over all its seeds and folds."""

    settings: Settings  # without a seed
    score: float  # the mean over trials that did not diverge; NaN if all did
    spread: float  # the standard deviation over them; NaN for fewer than two
    diverged: int  # how many trials diverged
    epochs: int  # the most epochs that one of them ran
    logs: dict[str, float]  # the mean of every log at the epoch of the score
    trials: list[Trial]

    def __repr__(self) -> str:
        count = _count(len(self.trials), "trial")
        return f"Row({_said(self.settings)}: {_score(self)}, {count})"


class Best(NamedTuple):
    """The winning settings."""

    settings: Settings  # of the best trial, including its seed
    score: float  # the mean over seeds and folds
    net: Any
    optimizer: Any
    loss: Any
    trial: Trial

    def __repr__(self) -> str:
        return f"Best({_said(self.settings)}: {number(self.score)}, {self.net!r:.60})"


class SweepResult:
    """The result of `sweep`; `str` shows it as a table, best first.

    Attributes:
        best: the winning settings, the score, the network and the optimizer.
        state: the `TrainState` of the best trial of the winning settings, ready for
            `nn.predict`, `nn.evaluate` and, with the same data, `nn.fit(..., state=)`.
            With folds it has not seen the fold held out: to train on all data, start
            over with `nn.fit(result.best.net, ...)`.
        rows: the settings, best first, with mean and spread over seeds and folds.
        over: the lists and ranges, without the seeds.
        trials: every run, in the order of the settings.
        logs: a dict from names to values, `[trials, epochs]`; NaN for epochs not run.
        monitor, mode: what ranked the settings.
        rungs: how many settings trained up to how many epochs.
        epochs: the total number of epochs trained, over all trials.
        programs: a line for each program that was compiled.
        seconds: where the time went: `trace`, `compile` and `run`.
        traced: the names whose values shared programs.
    """

    def __init__(self, search: Search, order: list[int], mode: str):
        task = search.task
        self.monitor, self.mode, self.rungs = search.monitor, mode, search.stages
        self.over = search.over
        self.trials = [trial for trial in search.trials.values() if trial.epochs]
        self.rows = [_row(search.rows[row], search.of(row)) for row in order]
        self.logs = _logs(self.trials)
        self.epochs = sum(trial.epochs for trial in self.trials)
        self.programs, self.seconds = task.cost.programs, task.cost.seconds
        self.traced = sorted({n for group in search.groups for n in group.traced})
        self._folds = len(search.folds)
        self._seeds = len(search.units[0])
        finite = [t for t in self.rows[0].trials if not t.diverged]
        if not finite:
            raise FloatingPointError(_all_diverged(self))
        trial = min(finite, key=lambda t: search.sign * t.score)
        settings = {n: v for n, v in trial.settings.items() if n != "seed"}
        parts = task.maker(settings)
        self.best = Best(trial.settings, self.rows[0].score, *parts[:3], trial)
        self.state = state_of(trial, task.key_of(trial.settings.get("seed")))

    def __str__(self) -> str:
        return f"{self.summary()}\n\n{self.table()}"

    def __repr__(self) -> str:
        return f"SweepResult: {self.summary()}\nprint(result) shows a table of them"

    def _repr_html_(self) -> str:
        head, *rows = self._cells(SHOWN)
        left = len(self.rows) - len(rows)
        note = f"{left} more: print(result.table(None))" if left else ""
        return tables.html(self.summary(), head, rows, note)

    def summary(self) -> str:
        """A summary of the sweep in a few lines."""
        seconds, compiling = self.seconds["run"], self.seconds["trace"]
        compiling += self.seconds["compile"]
        counts = [_count(len(self.rows), "setting")]
        counts += [_count(self._seeds, "seed")] if self._seeds > 1 else []
        counts += [_count(self._folds, "fold")] if self._folds > 1 else []
        lines = [
            f"sweep of {' x '.join(counts)}: {_count(self.epochs, 'epoch')} in "
            f"{_count(len(self.programs), 'program')}, {seconds:.1f} s and "
            f"{compiling:.1f} s of compiling",
        ]
        if len(self.rungs) > 1:
            full = len(self.trials) * self.rungs[-1].epochs
            said = ", ".join(f"{n} to epoch {epochs}" for n, epochs in self.rungs)
            lines.append(f"halving: {said}; {full:,} epochs without it")
        lines.append(
            f"best {self.monitor} {self.best.score:.4g}: {_said(self.best.settings)}"
        )
        return "\n".join(lines)

    def table(self, rows: int | None = SHOWN) -> str:
        """The settings as a table, best first.

        Args:
            rows: the largest number of rows to show; None for all.
        """
        cells = self._cells(rows)
        left = len(self.rows) - len(cells) + 1
        more = f"\n... {left} more: result.table(None)" if left else ""
        return tables.text(cells) + more

    def _cells(self, rows: int | None) -> list[list[str]]:
        """The cells of the table, the names of its columns first."""
        others = [n for n in self.rows[0].logs if n != self.monitor]
        others = [n for n in others if n.startswith("val_")] or others
        head = ["", *self.over, self.monitor, *others]
        same = len({row.epochs for row in self.rows}) == 1
        lines = [[*head, *([] if same else ["epochs"])]]
        for place, row in enumerate(self.rows[:rows], 1):
            cells = [str(place), *(_value(v) for v in row.settings.values())]
            cells += [_score(row), *(number(row.logs[n]) for n in others)]
            lines.append(cells + ([] if same else [str(row.epochs)]))
        return lines

    def plot(self, path: str | Path | None = None) -> Any:
        """Plot the scores: a line for one name, a map for two, else parallel axes.

        Args:
            path: an image file to write, or None.

        Returns:
            The matplotlib figure.

        Raises:
            ImportError: matplotlib is not installed.
            ValueError: no name except the seed varies.
        """
        from jaxnn.search.picture import draw

        return finish(draw(self), path)


def _row(settings: Settings, trials: list[Trial]) -> Row:
    sound = [trial for trial in trials if not trial.diverged]
    scores = [trial.score for trial in sound]
    logs = {
        name: float(np.mean([trial.value(name) for trial in sound or trials]))
        for name, values in trials[0].logs.items()
        if values.ndim == 1
    }
    return Row(
        settings,
        float(np.mean(scores)) if scores else math.nan,
        float(np.std(scores, ddof=1)) if len(scores) > 1 else math.nan,
        len(trials) - len(sound),
        max(trial.epochs for trial in trials),
        logs,
        trials,
    )


def _logs(trials: list[Trial]) -> dict[str, np.ndarray]:
    """The logs of all trials, padded with NaN to the same length."""
    found = {}
    for name, first in trials[0].logs.items():
        if first.ndim == 1:
            length = max(len(trial.logs[name]) for trial in trials)
            found[name] = np.full((len(trials), length), np.nan, np.float32)
            for row, trial in zip(found[name], trials, strict=True):
                row[: trial.epochs] = trial.logs[name][: trial.epochs]
    return found


def state_of(trial: Trial, key: jax.Array) -> TrainState:
    """The state of one trial, extracted from those trained with it."""
    assert trial.outcome is not None
    states = jax.tree.map(lambda a: jnp.asarray(a[trial.place]), trial.outcome.states)
    return states._replace(key=key)


def _all_diverged(result: SweepResult) -> str:
    numbers = {
        name: [row.settings[name] for row in result.rows] for name in result.traced
    }
    least = [f"{name} {min(values):.3g}" for name, values in numbers.items()]
    tried = f"; the smallest values tried were {', '.join(least)}" if least else ""
    return (
        f"sweep: all {_count(len(result.trials), 'trial')} diverged: a loss or a "
        f"parameter became NaN or infinite{tried}. Try smaller learning rates, or clip "
        "gradients with optax.chain(optax.clip_by_global_norm(1.0), ...); nn.fit with "
        "one of the settings names the layer where it begins"
    )


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _said(settings: Settings) -> str:
    return (
        ", ".join(f"{name}={_value(v)}" for name, v in settings.items()) or "as given"
    )


def _value(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else f"{show(value):.24}"


def _score(row: Row) -> str:
    count = len(row.trials)
    diverged = f"{row.diverged} of {count} diverged" if count > 1 else "diverged"
    if row.diverged == count:
        return "diverged"
    spread = "" if math.isnan(row.spread) else f" ± {number(row.spread)}"
    return f"{number(row.score)}{spread}" + (f", {diverged}" if row.diverged else "")
