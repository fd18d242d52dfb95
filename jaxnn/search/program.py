# SPDX-License-Identifier: Apache-2.0
"""Many runs as one compiled program: `nn.train.run`, mapped over trials and folds."""

import math
import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxnn.core import trace
from jaxnn.search.parts import Maker
from jaxnn.search.space import Settings
from jaxnn.search.splits import Split
from jaxnn.search.start import starts
from jaxnn.search.tracing import stacked
from jaxnn.spec import show
from jaxnn.train.batch import rows_of
from jaxnn.train.early_stopping import Watch
from jaxnn.train.epoch import all_finite
from jaxnn.train.objective import unpack
from jaxnn.train.programs import compiled_right
from jaxnn.train.run import run
from jaxnn.train.start import train_state
from jaxnn.train.state import TrainState
from jaxnn.trees import nbytes

#: About how many bytes networks that train together may take, if the device does not
#: report its memory.
BYTES = 2**30


class Cost:
    """What a sweep has cost so far.

    Attributes:
        seconds: where the time went: `trace`, `compile` and `run`.
        programs: a line for each program that was compiled.
    """

    def __init__(self) -> None:
        self.seconds = {"trace": 0.0, "compile": 0.0, "run": 0.0}
        self.programs: list[str] = []


class Task(NamedTuple):
    """What all trials of a sweep have in common."""

    owner: str  # the function that was called
    maker: Maker
    data: Any
    validation: Any
    metrics: Any
    key: jax.Array
    options: dict[str, Any]  # early_stopping, plateau, shuffle
    epochs: int
    at_once: int | None
    cost: Cost

    def key_of(self, seed: int | None) -> jax.Array:
        """The key of a trial's run."""
        return self.key if seed is None else jax.random.fold_in(self.key, seed)

    def keys_of(self, units: list["Unit"]) -> list[jax.Array]:
        """The keys of units; units with the same seed share one key object."""
        found = {seed: self.key_of(seed) for seed in {unit.seed for unit in units}}
        return [found[unit.seed] for unit in units]


class Unit(NamedTuple):
    """Settings and a seed, trained in one program with other units."""

    row: int
    seed: int | None
    settings: Settings


class Outcome(NamedTuple):
    """The results of some units on each fold of a split."""

    states: TrainState  # leaves [folds, units, ...]; without keys
    logs: dict[str, np.ndarray]  # [folds, units, epochs]
    finite: np.ndarray  # bool [folds, units], whether parameters and statistics are
    ran: np.ndarray  # int [folds, units], total epochs
    shown: np.ndarray  # int [folds, units], the epoch the parameters are from


class Program:
    """Trains the trials of one group on the folds of one split.

    Args:
        task: what all trials share.
        fixed: the settings that all units of the group share.
        traced: the names that its units may differ in.
        split: the folds.
        batch_size: examples per step.
        width: a fixed number of units that train at once, so that one program serves
            any number of units; None for all of them, with a program for each number.
    """

    def __init__(
        self,
        task: Task,
        fixed: Settings,
        traced: list[str],
        split: Split,
        batch_size: int,
        width: int | None,
    ):
        self.task, self.fixed, self.traced = task, fixed, traced
        self.split, self.width = split, width
        self.examples = split.examples(task.data)
        self.batch_size = min(batch_size, self.examples)
        self._compiled: dict[int, Any] = {}
        self._room: int | None = task.at_once

    def __call__(
        self, units: list[Unit], states: Any, begun: int, until: int
    ) -> Outcome:
        """Train units until they have seen `until` epochs in total.

        Args:
            units: settings and seeds.
            states: their states after `begun` epochs, as in `Outcome`; or None.
            begun: the epochs they have seen.
            until: the total number of epochs.
        """
        size = self.size(units)
        if size == len(units):
            return self._train(units, states, begun, until)
        parts = []
        for start in range(0, len(units), size):
            # The last part is padded with its last unit, so that one program fits all.
            places = np.minimum(np.arange(start, start + size), len(units) - 1)
            some = None if states is None else take(states, places)
            outcome = self._train([units[i] for i in places], some, begun, until)
            parts.append(_to_host(outcome, min(size, len(units) - start)))
        return jax.tree.map(_join, *parts)

    def size(self, units: list[Unit]) -> int:
        """How many units the program trains at once."""
        room = self.room(units[0])
        if self.width is not None:
            return min(self.width, room)
        return math.ceil(len(units) / math.ceil(len(units) / room))

    def room(self, unit: Unit) -> int:
        """How many units train at once: `at_once` networks, or what memory allows."""
        if self._room is None:
            self._room = _affordable(self.task, unit.settings, self.batch_size)
        return max(1, self._room // len(self.split.folds))

    def _train(self, units: list[Unit], states: Any, begun: int, until: int):
        every = [unit.settings for unit in units]
        keys = self.task.keys_of(units)
        if states is None:
            states = self._begin(every, keys)
        given = (
            stacked(every, self.traced),
            keys[0] if units[0].seed is None else jnp.stack(keys),
            states,
            jnp.int32(begun * self._steps()),
            jnp.int32(until),
            self.split.rows,
            self.split.held_out,
            self.task.data,
            self.task.validation,
        )
        if len(units) not in self._compiled:
            self._compiled[len(units)] = self._compile(given, len(units))
        start = time.perf_counter()
        outcome = jax.block_until_ready(self._compiled[len(units)](*given))
        self.task.cost.seconds["run"] += time.perf_counter() - start
        states, *rest = outcome
        logs, *facts = jax.device_get(rest)
        logs = {name: values[:, :, begun:until] for name, values in logs.items()}
        return Outcome(states, logs, *facts)

    def _begin(self, every: list[Settings], keys: list[Any]) -> TrainState:
        batch = rows_of(self.task.data, self.batch_size)
        x, _, _ = unpack(self.task.maker(every[0]).net, batch)
        options, folds = self.task.options, len(self.split.folds)
        watch = Watch(options["early_stopping"], options["plateau"])
        states = starts(self.task.maker, every, self.traced, keys, x, watch)
        return jax.tree.map(lambda a: jnp.broadcast_to(a, (folds, *a.shape)), states)

    def _steps(self) -> int:
        return -(-self.examples // self.batch_size)

    def _compile(self, given: tuple, size: int) -> Any:
        seconds = self.task.cost.seconds
        folds = len(self.split.folds)
        split = None if self.split.rows is None else 0
        keys = 0 if given[1].shape else None
        mapped = jax.vmap(
            self._one, (0, keys, 0, None, None, None, None, None, None), axis_size=size
        )
        every = jax.vmap(
            mapped,
            (None, None, 0, None, None, split, split, None, None),
            axis_size=folds,
        )
        start = time.perf_counter()
        lowered = jax.jit(every).lower(*given)
        traced = time.perf_counter()
        compiled = compiled_right(lowered)
        seconds["trace"] += traced - start
        seconds["compile"] += time.perf_counter() - traced
        what = ", ".join(f"{name}={show(v)}" for name, v in self.fixed.items())
        self.task.cost.programs.append(
            f"{size * folds} networks at once" + (f": {what}" if what else "")
        )
        return compiled

    def _one(
        self, values, key, state, begun, until, rows, held_out, data, validation
    ) -> tuple:
        """One run on one fold, a pure function."""
        task, options = self.task, self.task.options
        parts = task.maker(self.fixed | values)
        # Where all have taken the same steps they share the count: the order of the
        # examples, and with a single key the batches, are then shared too.
        step = begun if options["early_stopping"] is None else state.step
        state, logs = run(
            parts.step(task.metrics),
            state._replace(key=key, step=step),
            data,
            epochs=task.epochs,
            until=until,
            batch_size=self.batch_size,
            validation=validation if held_out is None else data,
            rows=rows,
            validation_rows=held_out,
            **options,
        )
        ran = state.step // self._steps()
        facts = all_finite((state.params, state.state)), ran, _shown(state, ran)
        return state._replace(key=None), logs, *facts


def _shown(state: TrainState, ran: jax.Array) -> jax.Array:
    """The epoch whose parameters a run ends with: the best with early stopping."""
    if "early_stopping" not in state.watch:
        return ran
    best = state.watch["early_stopping"].best.epoch
    return jnp.where(best > 0, best, ran)


def take(states: Any, places: Any) -> Any:
    """Some units of states `[folds, units, ...]`."""
    return jax.tree.map(lambda a: a[:, places], states)


def _to_host(outcome: Outcome, count: int) -> Outcome:
    """Move the outcome of the first units to the host, to free device memory."""
    return jax.tree.map(lambda a: np.asarray(a)[:, :count], outcome)


def _join(*parts: np.ndarray) -> np.ndarray:
    return np.concatenate(parts, axis=1)


def _affordable(task: Task, settings: Settings, batch_size: int) -> int:
    """How many networks fit into the memory that a sweep may use."""
    parts = task.maker(settings)
    x, _, _ = unpack(parts.net, rows_of(task.data, batch_size))

    def start():
        return train_state(parts.net, parts.optimizer, x, key=jax.random.key(0))

    state, calls = jax.eval_shape(start)._replace(key=None), trace(parts.net, x)
    kernels = any(a.ndim > 3 for a in jax.tree.leaves(state.params))
    if kernels and jax.default_backend() == "cpu":
        return 1  # in turn, in one program; 8 in parallel took 1.8 times as long
    values = sum(nbytes(call.y) for call in calls)
    # The state in, out and during a step; each layer's output, its gradient and one
    # more copy.
    need = 4 * nbytes(state) + 3 * values
    stats = jax.devices()[0].memory_stats() or {}
    room = stats.get("bytes_limit", 4 * BYTES) / 4
    return max(1, int(room // max(need, 1)))
