# SPDX-License-Identifier: Apache-2.0
"""A sweep: train, rank, and let the best continue."""

import math
from typing import Any

import jax
import numpy as np

from jaxnn.search.groups import Group
from jaxnn.search.program import Outcome, Program, Task, Unit, take
from jaxnn.search.rungs import Rung
from jaxnn.search.space import Range, Settings, add_note
from jaxnn.search.splits import Split
from jaxnn.spec import show
from jaxnn.train.progress import Progress
from jaxnn.train.state import TrainState
from jaxnn.train.step import in_order


class Trial:
    """One run: settings, a seed and a fold, and its results so far.

    Attributes:
        settings: a dict from names to values, including the seed if it is swept.
        fold: the fold that it holds out, from 0, or None.
        epochs: how many epochs it has run.
        score: the monitored value at the epoch that its state's weights are from.
        diverged: whether a training loss, the score or a parameter was not finite.
        logs: a dict from names to the values of each epoch.
    """

    def __init__(self, row: int, unit: Unit, fold: int | None):
        self.row, self.fold = row, fold
        own = {} if unit.seed is None else {"seed": unit.seed}
        self.settings: Settings = unit.settings | own
        self.epochs, self.shown, self.score = 0, 0, math.nan
        self.diverged = False
        self.logs: dict[str, np.ndarray] = {}
        self.outcome: Outcome | None = None
        self.place = (0, 0)

    def add(self, outcome: Outcome, place: tuple[int, int], monitor: str) -> None:
        """Add a program's results, at one of its folds and units."""
        self.outcome, self.place = outcome, place
        self.epochs, self.shown = int(outcome.ran[place]), int(outcome.shown[place])
        for name, values in outcome.logs.items():
            parts = [self.logs[name]] if name in self.logs else []
            self.logs[name] = np.concatenate([*parts, values[place]])
        self.score = float(self.value(monitor))
        losses = self.logs["loss"][: self.epochs]
        sound = outcome.finite[place] and np.isfinite(losses).all()
        self.diverged = not (sound and math.isfinite(self.score))

    def value(self, name: str) -> Any:
        """The value of a log at the epoch that the state's weights are from."""
        return self.logs[name][self.shown - 1]

    def __repr__(self) -> str:
        said = ", ".join(f"{name}={value!r}" for name, value in self.settings.items())
        fold = "" if self.fold is None else f", fold={self.fold}"
        end = "diverged" if self.diverged else f"score={self.score:.4g}"
        return f"Trial({said}{fold}, epochs={self.epochs}, {end})"


class Search:
    """A sweep in progress.

    Args:
        task: what all trials share.
        over: the lists and ranges, without seeds.
        rows: the settings, without seeds.
        seeds: the seeds, or `[None]`.
        groups: which settings share a program.
        parts: the folds by size.
        batch_sizes: the batch size of each of the settings.
        stages: how many settings train up to how many epochs.
        monitor, mode: what ranks them, and whether `min` or `max` is better.
        progress: where progress is reported.
    """

    def __init__(
        self,
        task: Task,
        over: dict[str, list | Range],
        rows: list[Settings],
        seeds: list[int | None],
        groups: list[Group],
        parts: list[Split],
        batch_sizes: list[int],
        stages: list[Rung],
        monitor: str,
        mode: str,
        progress: Progress,
    ):
        self.task, self.rows, self.groups, self.parts = task, rows, groups, parts
        self.over, self.stages = over, stages
        self.monitor, self.sign = monitor, 1 if mode == "min" else -1
        self.progress = progress
        self.units = [[Unit(a, s, row) for s in seeds] for a, row in enumerate(rows)]
        self.folds = sorted((f for part in parts for f in part.folds), key=_number)
        self.trials = {
            (unit.row, unit.seed, fold): Trial(unit.row, unit, fold)
            for units in self.units
            for unit in units
            for fold in self.folds
        }
        width = self._width()
        self.programs = [
            [
                Program(task, g.fixed, g.traced, part, batch_sizes[g.members[0]], width)
                for part in parts
            ]
            for g in groups
        ]
        self.stage = [0] * len(rows)

    def _width(self) -> int | None:
        """How many units train at once in every stage; None for all of them.

        On a CPU, training many in parallel gains little and a program takes seconds to
        compile: with as many as the last stage has, one program serves all stages. On
        other devices, more of them cost almost nothing.
        """
        if len(self.stages) == 1 or jax.default_backend() != "cpu":
            return None
        last = self.stages[-1].settings * len(self.units[0])
        return math.ceil(last / len(self.groups))

    def __call__(self) -> list[int]:
        """Train through all stages; return the settings in order, best first."""
        alive, begun = list(range(len(self.rows))), 0
        for number, stage in enumerate(self.stages):
            alive = self.ranking(alive)[: stage.settings]
            for row in alive:
                self.stage[row] = number
            for group, programs in zip(self.groups, self.programs, strict=True):
                self._train(group, programs, set(alive), begun, stage.epochs)
            begun = stage.epochs
        return self.ranking(range(len(self.rows)))

    def done(self) -> list[int]:
        """The settings that have been trained on all folds with all seeds."""
        every = range(len(self.rows))
        return [row for row in every if all(trial.epochs for trial in self.of(row))]

    def of(self, row: int) -> list[Trial]:
        """The trials of one of the settings."""
        found = [(u.row, u.seed, f) for u in self.units[row] for f in self.folds]
        return [self.trials[label] for label in found]

    def ranking(self, rows: Any) -> list[int]:
        """Settings, best first: by fewest diverged, latest stage, best mean."""
        return sorted(rows, key=self._rank)

    def _rank(self, row: int) -> tuple:
        trials = self.of(row)
        if not trials[0].epochs:
            return (row,)
        scores = [t.score for t in trials if not t.diverged]
        mean = self.sign * float(np.mean(scores)) if scores else math.inf
        return (len(trials) - len(scores), -self.stage[row], mean)

    def _train(
        self, group: Group, programs: list, alive: set[int], begun: int, epochs: int
    ) -> None:
        units = [u for row in group.members if row in alive for u in self.units[row]]
        if not units:
            return
        given = ["loss", *(self.task.metrics or {})]
        given += [f"val_{name}" for name in given]
        before = dict(self.task.cost.seconds)
        for part, program in zip(self.parts, programs, strict=True):
            states = self._states(units, part) if begun else None
            try:
                outcome = program(units, states, begun, epochs)
            except Exception as error:
                add_note(error, units[0].settings)
                raise
            outcome = outcome._replace(logs=in_order(outcome.logs, given))
            for u, unit in enumerate(units):
                for f, fold in enumerate(part.folds):
                    trial = self.trials[unit.row, unit.seed, fold]
                    trial.add(outcome, (f, u), self.monitor)
        self._say(group, units, begun, epochs, before)

    def _states(self, units: list[Unit], part: Split) -> TrainState:
        """The states of units, which have been in the same program so far."""
        trials = [self.trials[unit.row, unit.seed, part.folds[0]] for unit in units]
        outcome = trials[0].outcome
        assert outcome is not None
        return take(outcome.states, np.array([trial.place[1] for trial in trials]))

    def _say(
        self, group: Group, units: list[Unit], begun: int, epochs: int, before: dict
    ) -> None:
        seconds = {name: s - before[name] for name, s in self.task.cost.seconds.items()}
        fixed = ", ".join(f"{name}={show(v)}" for name, v in group.fixed.items())
        best = self.ranking({unit.row for unit in units})[0]
        scores = [t.score for t in self.of(best) if not t.diverged]
        came = f"{float(np.mean(scores)):.4g}" if scores else "diverged"
        span = "" if epochs == begun + 1 else f"s {begun + 1} to"
        compiling = seconds["trace"] + seconds["compile"]
        what = f"best {self.monitor}" if len(self.rows) > 1 else self.monitor
        self.progress.say(
            f"{self.task.owner}: {len(units) * len(self.folds)} trials"
            f"{fixed and f' ({fixed})'}, epoch{span} {epochs}: {what} {came}  "
            f"({seconds['run']:.1f} s and {compiling:.1f} s of compiling)"
        )


def _number(fold: int | None) -> int:
    return -1 if fold is None else fold
