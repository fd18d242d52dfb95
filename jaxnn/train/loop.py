# SPDX-License-Identifier: Apache-2.0
"""The loop around the compiled epoch: chunks, validation, callbacks and failures."""

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxnn.layout import Layout
from jaxnn.messages.phrases import describe
from jaxnn.messages.tracebacks import warn
from jaxnn.train import processes, replay, unfinished
from jaxnn.train.clock import Clock
from jaxnn.train.early_stopping import Watch, rate_scale, show_best
from jaxnn.train.epoch import (
    AnyStep,
    Stats,
    Totals,
    given_names,
    mean_logs,
    mean_names,
    metric_logs,
    run_steps,
    zero_totals,
)
from jaxnn.train.history import History
from jaxnn.train.interrupt import Interrupt
from jaxnn.train.progress import Progress
from jaxnn.train.reader import Abandoned
from jaxnn.train.source import Piece
from jaxnn.train.state import copy, steps_taken
from jaxnn.train.step import TrainStep, in_order

#: The first chunk of a run is one step, to measure how long a step takes.
FIRST_CHUNK = 1


class Fit:
    """One call of `fit`.

    Args:
        step: the step.
        stats: the shapes of its statistics.
        source: where batches come from.
        validate: a function from the state to the validation logs, or None.
        watch: what is watched after each epoch.
        callbacks: functions called after each epoch.
        history: the history to write to; not shared.
        chunk_seconds: about how long a chunk runs.
        keep: whether to keep a copy of the state before each chunk.
        layout: where batches and parameters lie on several devices, or None.
    """

    def __init__(
        self,
        step: AnyStep,
        stats: Stats,
        source: Any,
        validate: Callable[[Any], dict] | None,
        watch: Watch,
        callbacks: list,
        history: History,
        chunk_seconds: float,
        keep: bool,
        layout: Layout | None = None,
    ):
        self.step, self.stats, self.layout = step, stats, layout
        self.source, self.validate, self.watch = source, validate, watch
        self.callbacks, self.chunk_seconds, self.keep = callbacks, chunk_seconds, keep
        self.history = history
        self.clock, self.chunk = Clock(self.history), FIRST_CHUNK
        self.state: Any = None
        self.taken = 0  # steps since the run began, including earlier calls
        self.whole = True  # False while the state's buffers are donated
        self.before: Any = None  # a copy of the state at the start of a chunk
        self.interrupt = Interrupt()
        self.shared = processes.are_shared(layout)

    def __call__(
        self, state: Any, epochs: int, show: bool | None
    ) -> tuple[Any, History]:
        """Train until `epochs` epochs have been completed in total."""
        self.state, self.history.stopped = state, None
        self.taken = int(steps_taken(state))
        epoch, skip, parts = self._place()
        self.history.cut(epoch, self.taken)
        if epoch >= epochs:
            seen = f"{epoch} epoch{'s' if epoch > 1 else ''}"
            self.history.stopped = f"the state has seen {seen} already"
            each = f" (of {self.source.steps} steps)" if self.source.steps else ""
            warn(
                f"fit: {self.history.stopped}{each}, and "
                f"epochs={epochs} is the total: nothing is left to do",
            )
        elif bool(self.watch.stops(state).any()):
            self.history.stopped = self.watch.why(state)
        steps = self.source.steps
        total = steps * epochs if steps else None
        show = show if processes.is_first() or not self.shared else False
        self.progress = Progress(total, self.taken, epochs, show)
        if self.taken:
            of = f" of {steps}" if steps else ""
            more = f" and {skip}{of} steps" if skip else ""
            self.progress.say(f"fit: goes on after epoch {epoch}{more}")
        try:
            with self.interrupt:
                self.source.reader.give_up = lambda: self.interrupt.asked
                while epoch < epochs and self.history.stopped is None:
                    self._epoch(epoch, skip, parts)
                    epoch, skip, parts = epoch + 1, 0, []
                self._finish()
        except BaseException as error:
            self._finish(error)
            self._hand_over(error)
            raise
        finally:
            self.progress.close()
            self.source.close()
        return show_best(self.state), self.history

    def _place(self) -> tuple[int, int, list[Totals]]:
        """The epoch to continue, its steps so far, and their totals."""
        epoch, skip = self.source.position(self.taken)
        noted = self.history.unfinished
        parts = unfinished.parts(noted, self.taken, self.step, self.stats)
        if noted and parts and noted["epoch"] < epoch:
            return epoch - 1, self.source.steps, parts  # only validation etc. is left
        return epoch, skip, parts

    def _epoch(self, epoch: int, skip: int, parts: list[Totals]) -> None:
        start, compiling = time.perf_counter(), self.clock.compiling
        parts, done = self._steps(epoch, skip, parts)
        if not done:
            self._interrupted(f"in epoch {epoch + 1}", epoch + 1)
            return
        if not parts:
            raise ValueError(
                f"fit: data must give a batch, got none in epoch {epoch + 1}"
            )
        names = mean_names(self.step, self.stats)
        logs = mean_logs(names, parts, np) | metric_logs(self.step, parts, np)
        logs = in_order(logs, given_names(self.step, self.stats))
        if isinstance(self.step, TrainStep) and np.isnan(logs["loss"]):
            warn(
                "fit: no example counts in an epoch, each having weight 0 or no label "
                "but ignored ones: its loss is NaN",
            )
        if self.validate is not None:
            with self.clock.on("validate"):
                found = self.validate(self.state)
            if not isinstance(found, Mapping):
                raise TypeError(
                    "fit: validation must give a dict of numbers by name, got "
                    f"{describe(found):.100}"
                )
            logs |= {f"val_{name}": value for name, value in found.items()}
        logs |= self._look(logs, epoch + 1)
        self.history.add(epoch + 1, logs)
        self.history.unfinished = None
        seconds, compiling = (
            time.perf_counter() - start,
            self.clock.compiling - compiling,
        )
        self.progress.epoch(epoch + 1, logs, seconds - compiling, compiling)
        self._call_back(epoch + 1)
        if self.history.stopped is not None:
            self.progress.say(f"fit: stopped: {self.history.stopped}")
        if self._agreed()[1]:
            self._interrupted(f"after epoch {epoch + 1}", epoch + 1)

    def _steps(
        self, epoch: int, skip: int, parts: list[Totals]
    ) -> tuple[list[Totals], bool]:
        """Run an epoch's steps from `skip` on; return totals, and whether all ran."""
        if parts and skip == self.source.steps:
            return parts, True
        parts, sums = unfinished.split(parts)
        noted = unfinished.note(epoch, sorted(self.stats), parts)
        try:
            for piece in self.source.epoch(epoch, skip):
                totals, done = self._piece(piece, epoch, sums, noted)
                parts.append(totals)
                sums = None
                unfinished.add(noted, self.taken, totals)
                self.history.unfinished = noted
                if not done:
                    return parts, False
        except Abandoned:
            return parts, False
        self._agreed()  # that the epoch has ended
        return parts, True

    def _look(self, logs: dict, epoch: int) -> dict:
        """Update the watch with the epoch's numbers; return what it logs."""
        if not self.watch.watches:
            return {}
        self.watch.check("fit", logs)
        seen = {one.monitor: logs[one.monitor] for one in self.watch.watches.values()}
        self.state = _look(self.state, seen, epoch, watch=self.watch)
        if self.layout is not None:
            self.state = self.layout.place(self.state)
        if bool(self.watch.stops(self.state).any()):
            self.history.stopped = self.watch.why(self.state)
        scale = rate_scale(self.state)
        return {} if scale is None else {"rate_scale": float(scale.ravel()[0])}

    def _piece(
        self, piece: Piece, epoch: int, sums: Any, noted: dict[str, Any]
    ) -> tuple[Totals, bool]:
        """Run the steps of a piece, one chunk at a time, unless interrupted."""
        names, start = mean_names(self.step, self.stats), piece.start
        steps, asked = self._agreed(piece)  # before the processes do anything together
        totals = zero_totals(self.step, self.stats, piece.room, piece.batch_size)
        if sums is not None:
            totals = totals._replace(sums=jax.tree.map(jnp.array, sums))
        if self.layout is not None:
            totals = self.layout.replicate(totals)
        while start < piece.stop and not asked:
            stop = min(piece.stop, start + steps, start + self._steps_to_save())
            chunk = piece._replace(start=start, stop=stop)
            self.before = replay.start(self.state) if self.keep else None
            self.keep = self.before is not None
            totals, finite = self._chunk(chunk, totals)
            means = np.array(totals.means)[chunk.start : chunk.stop]
            self._check(means, names, finite, chunk, epoch)
            self._report(means, names, epoch)
            start = chunk.stop
            self._save(epoch, noted, totals, piece._replace(stop=start))
            if start < piece.stop:
                steps, asked = self._agreed(piece)
        taken = _taken(jax.device_get(totals), piece._replace(stop=start))
        return taken, start == piece.stop

    def _agreed(self, piece: Piece | None = None) -> tuple[int, bool]:
        """How many steps to take next, and whether the run was asked to end.

        Of several processes the first chooses the steps, and any of them can ask.

        Raises:
            ValueError: another process has batches of another size, or more of them.
        """
        if not self.shared:
            return self.chunk, self.interrupt.asked
        given = [0, 0] if piece is None else [piece.stop, piece.batch_size]
        every = processes.numbers_of_all([self.chunk, self.interrupt.asked, *given])
        if (every[:, 2:] != every[0, 2:]).any():
            raise ValueError(
                "fit: every process must give as many batches an epoch as the others, "
                "of the same size; the next that they have, as [batches, examples in "
                f"each], are {', '.join(map(str, every[:, 2:].tolist()))}"
            )
        if every[:, 1].any() and not self.interrupt.asked:
            self.interrupt.by.append("another process")
        return int(every[0, 0]), bool(every[:, 1].any())

    def _steps_to_save(self) -> int:
        """The steps to the next save in the middle of an epoch."""
        paces = [n for n in map(_pace, self.callbacks) if n]
        return min((n - self.taken % n for n in paces), default=2**31)

    def _save(self, epoch: int, noted: dict, totals: Totals, piece: Piece) -> None:
        """Let callbacks with `every_steps` save what a run can continue from."""
        due = [c for c in self.callbacks if _pace(c) and self.taken % _pace(c) == 0]
        if not due:
            return
        known, so_far = self.history.unfinished, noted | {"parts": [*noted["parts"]]}
        unfinished.add(so_far, self.taken, _taken(jax.device_get(totals), piece))
        self.history.unfinished = so_far
        for callback in due:
            callback.at_step(epoch + 1, copy(self.state), self.history)
        self.history.unfinished = known

    def _chunk(self, chunk: Piece, totals: Totals) -> tuple[Totals, bool]:
        """Run a chunk; size the next one to take about `chunk_seconds`."""
        shapes = tuple((a.shape, a.dtype) for a in jax.tree.leaves(chunk.data))
        label = (chunk.batch_size, chunk.room, shapes)
        size = self._static(chunk)
        given = (self.state, totals, *chunk[:4])
        self.clock.compile(run_steps, label, *given, **size)
        start, self.whole = time.perf_counter(), False
        self.state, totals, finite = jax.block_until_ready(run_steps(*given, **size))
        seconds, steps = time.perf_counter() - start, chunk.stop - chunk.start
        self.whole, self.taken = True, self.taken + steps
        self.history.seconds["run"] += seconds
        wanted = self.chunk_seconds * steps / max(seconds, 1e-7)
        self.chunk = max(1, int(min(wanted, 2**31)))
        return totals, bool(finite)

    def _static(self, chunk: Piece) -> dict[str, Any]:
        """What a chunk's program is compiled for."""
        own = {} if self.layout is None else {"layout": self.layout}
        return {"step": self.step, "batch_size": chunk.batch_size} | own

    def _report(self, rows: np.ndarray, names: list[str], epoch: int) -> None:
        """Record the losses of a chunk in the history and show the last one."""
        losses = self._losses(rows, names)
        self.history.step_losses += losses
        self.before = None  # from here on the state and the history agree
        if losses:
            self.progress.step(epoch + 1, len(rows), losses[-1])

    def _losses(self, rows: np.ndarray, names: list[str]) -> list[float]:
        if not names:
            return []
        column = names.index("loss") if "loss" in names else 0
        total, weight = rows[:, column, 0], rows[:, column, 1]
        return (total / np.where(weight == 0, np.nan, weight)).tolist()

    def _check(
        self,
        rows: np.ndarray,
        names: list[str],
        finite: bool,
        chunk: Piece,
        epoch: int,
    ) -> None:
        """Stop the run if a loss or a parameter is not finite."""
        # (a custom step may log several losses; a network's step has only one)
        alone = isinstance(self.step, TrainStep)
        shown = [n == "loss" if alone else n.endswith("loss") for n in names]
        losses = rows[:, shown, 0]
        bad = ~np.isfinite(losses).all(1)
        if finite and not bad.any():
            return
        seen = int(bad.argmax()) if bad.any() else len(rows)
        value = next(
            (str(v) for v in losses[bad].ravel() if not np.isfinite(v)), "infinite"
        )
        first, self.state, finding = seen, None, replay.UNKNOWN
        if self.before is not None:
            first, self.state, finding = self._replay(self.before, chunk, seen)
        self.whole = self.state is not None
        step = self.taken - len(rows) + first
        self.history.stopped = f"training became {value} in epoch {epoch + 1}"
        raise replay.NonFiniteError(
            epoch + 1, step, value, finding, self.state, self.history
        )

    def _replay(self, before: Any, chunk: Piece, seen: int):
        """Rerun the chunk up to its last finite state; inspect the next step."""

        def run(steps: int) -> tuple[Any, bool]:
            part = chunk._replace(stop=chunk.start + steps)
            totals = zero_totals(self.step, self.stats, chunk.room, chunk.batch_size)
            given = (copy(before), totals, *part[:4])
            state, _, finite = run_steps(*given, **self._static(chunk))
            return state, bool(finite)

        first, state = replay.last_finite(run, seen)
        if self.shared:  # whose arrays no process has whole
            return first, state, replay.SHARED
        step = chunk.start + first
        batch, numbers = chunk.batch(step), chunk.numbers(step)
        return first, state, replay.find(self.step, state, batch, numbers)

    def _call_back(self, epoch: int) -> None:
        answers = [c(epoch, copy(self.state), self.history) for c in self.callbacks]
        asked = any(map(_is_true, answers))
        if self.shared:  # once: a process may have callbacks of its own
            asked = bool(processes.numbers_of_all([asked])[0, 0])
        if asked:
            self.history.stopped = f"a callback asked for it after epoch {epoch}"

    def _interrupted(self, where: str, epoch: int) -> None:
        by = self.interrupt.reason()
        self.history.stopped = f"{by} {where}, after {self.taken} steps"
        for callback in self.callbacks:
            if hasattr(callback, "interrupted"):
                callback.interrupted(epoch, copy(self.state), self.history)
        self.progress.say(
            f"fit: {self.history.stopped}; go on with fit(..., state=state)"
        )

    def _finish(self, error: BaseException | None = None) -> None:
        """Wait for what callbacks write in the background; an error may end the run."""
        for callback in self.callbacks:
            try:
                if hasattr(callback, "written"):
                    callback.written()
            except Exception as failure:
                if error is None:
                    raise
                error.add_note(f"{failure}")

    def _hand_over(self, error: BaseException) -> None:
        """Attach what was learned to the exception that ends the run."""
        if isinstance(error, replay.NonFiniteError):
            return
        last = self.state if self.whole else None
        error.history = self.history  # type: ignore[attr-defined]
        # Inside a chunk: the state it began with, which matches the history.
        error.state = last if self.before is None else self.before  # type: ignore[attr-defined]
        error.add_note(
            "fit: error.state and error.history hold what was learned before"
        )


@partial(jax.jit, static_argnames="watch")
def _look(state: Any, logs: dict, epoch: Any, *, watch: Watch) -> Any:
    return watch.look(state, logs, epoch)


def _taken(totals: Totals, piece: Piece) -> Totals:
    """The totals of the steps that were actually taken."""

    def rows(a):
        size = len(a) // piece.room
        return a[piece.start * size : piece.stop * size]

    stacks = jax.tree.map(rows, totals.stacks)
    return Totals(totals.means[piece.start : piece.stop], totals.sums, stacks)


def _pace(callback: Any) -> int:
    """After how many steps a callback saves in the middle of an epoch, or 0."""
    return getattr(callback, "every_steps", None) or 0


def _is_true(answer: Any) -> bool:
    """Whether a value is True (Python, NumPy or JAX), and not merely truthy."""
    array = isinstance(answer, np.ndarray | np.generic | jax.Array)
    one = array and answer.shape == () and answer.dtype == bool
    return bool(answer) if one else answer is True
