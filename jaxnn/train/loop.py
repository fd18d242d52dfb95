# SPDX-License-Identifier: Apache-2.0
"""The loop around the compiled epoch: chunks, validation, callbacks, and trouble."""

import copy as copying
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import numpy as np

from jaxnn.train import replay
from jaxnn.train.clock import Clock
from jaxnn.train.epoch import (
    AnyStep,
    Stats,
    Totals,
    gather,
    mean_logs,
    mean_names,
    metric_logs,
    run_steps,
    state_is_finite,
    stats_shapes,
    zero_totals,
)
from jaxnn.train.history import History
from jaxnn.train.interrupt import Interrupt
from jaxnn.train.progress import Progress
from jaxnn.train.source import Piece
from jaxnn.train.state import TrainState, copy

#: The first chunk of a run is short: it tells how long a step takes.
FIRST_CHUNK = 8


class Run:
    """One call of `fit`.

    Args:
        step: the step.
        source: where batches come from.
        validate: from the state to the validation's logs, or None.
        callbacks: called after each epoch.
        history: a history to continue in a copy, or None.
        chunk_seconds: about how long a chunk runs.
        keep: whether to keep a copy of the state before each chunk.
    """

    def __init__(
        self,
        step: AnyStep,
        source: Any,
        validate: Callable[[Any], dict] | None,
        callbacks: list,
        history: History | None,
        chunk_seconds: float,
        keep: bool,
    ):
        self.step, self.source, self.validate = step, source, validate
        self.callbacks, self.chunk_seconds, self.keep = callbacks, chunk_seconds, keep
        self.history = History() if history is None else copying.deepcopy(history)
        self.clock, self.chunk = Clock(self.history), FIRST_CHUNK
        self.state: Any = None
        self.stats: dict[Any, Stats] = {}
        self.taken = 0  # steps since the run began, before this call too
        self.whole = True  # False while the state's buffers are given away

    def __call__(
        self, state: Any, epochs: int, show: bool | None
    ) -> tuple[Any, History]:
        """Train until `epochs` epochs are done in all."""
        self.state, self.history.stopped = state, None
        self.taken = int(getattr(state, "step", 0))
        epoch, skip = self.source.position(self.taken)
        steps = self.source.steps
        total = steps * epochs if steps else None
        self.progress = Progress(total, self.taken, epochs, show)
        try:
            with Interrupt() as self.interrupt:
                while epoch < epochs and self.history.stopped is None:
                    self._epoch(epoch, skip)
                    epoch, skip = epoch + 1, 0
        except Exception as error:
            self._hand_over(error)
            raise
        finally:
            self.progress.close()
            self.source.close()
        return self.state, self.history

    def _epoch(self, epoch: int, skip: int) -> None:
        start = time.perf_counter()
        parts, names = [], []
        for piece in self.source.epoch(epoch, skip):
            totals, names, done = self._piece(piece, epoch)
            parts.append(totals)
            if not done:
                self._interrupted(f"in epoch {epoch + 1}")
                return
        logs = mean_logs(names, parts, np) | metric_logs(self.step, parts, np)
        logs = {"loss": logs.pop("loss"), **logs} if "loss" in logs else logs
        if self.validate is not None:
            with self.clock.on("validate"):
                logs |= {f"val_{n}": v for n, v in self.validate(self.state).items()}
        self.history.add(epoch + 1, logs)
        self.progress.epoch(epoch + 1, logs, time.perf_counter() - start)
        self._call_back(epoch + 1)
        if self.interrupt.asked:
            self._interrupted(f"after epoch {epoch + 1}")

    def _piece(self, piece: Piece, epoch: int) -> tuple[Totals, list[str], bool]:
        """Steps `start` to `stop` of a piece, a chunk at a time, unless interrupted."""
        stats = self._stats(piece)
        names = mean_names(self.step, stats)
        totals = zero_totals(self.step, stats, piece.stop)
        size = piece.batch_size
        run = partial(run_steps, step=self.step, batch_size=size)
        label = (size, jax.tree.leaves(piece.data)[0].shape, piece.stop)
        start = piece.start
        while start < piece.stop and not self.interrupt.asked:
            stop = min(piece.stop, start + self.chunk)
            given = (piece.data, piece.order, start, stop)
            self.clock.compile(
                run_steps,
                label,
                self.state,
                totals,
                *given,
                step=self.step,
                batch_size=size,
            )
            before = copy(self.state) if self.keep else None
            clock, self.whole = time.perf_counter(), False
            self.state, totals = jax.block_until_ready(run(self.state, totals, *given))
            self.whole, self.taken = True, self.taken + stop - start
            seconds = time.perf_counter() - clock
            self.history.seconds["run"] += seconds
            means = np.array(totals.means[...])
            self._check(means, names, before, piece, start, stop, epoch)
            self._report(means[start:stop], names, epoch, stop - start)
            self._adapt(seconds / (stop - start))
            start = stop
        taken = _taken(jax.device_get(totals), piece._replace(stop=start))
        return taken, names, start == piece.stop

    def _stats(self, piece: Piece) -> Stats:
        """The shapes of a step's statistics, traced once for each batch shape."""
        size, data = piece.batch_size, piece.data
        label = (size, tuple(a.shape[1:] for a in jax.tree.leaves(data)))
        if label not in self.stats:
            with self.clock.on("trace"):
                self.stats[label] = stats_shapes(self.step, self.state, data, size)
        return self.stats[label]

    def _adapt(self, seconds_per_step: float) -> None:
        self.chunk = max(1, int(self.chunk_seconds / max(seconds_per_step, 1e-7)))

    def _report(
        self, rows: np.ndarray, names: list[str], epoch: int, steps: int
    ) -> None:
        if not names:
            return
        column = names.index("loss") if "loss" in names else 0
        total, weight = rows[:, column, 0], rows[:, column, 1]
        losses = total / np.where(weight == 0, 1, weight)
        self.history.step_losses += losses.tolist()
        self.progress.step(epoch + 1, steps, float(losses[-1]))

    def _check(self, means, names, before, piece, start, stop, epoch) -> None:
        """Stop the run if a loss or a parameter is not finite."""
        columns = [i for i, name in enumerate(names) if name.endswith("loss")]
        bad = ~np.isfinite(means[start:stop, columns]).all((1, 2))
        params_fine = self._params_are_finite(self.state)
        if params_fine and not bad.any():
            return
        seen = int(bad.argmax()) if bad.any() else stop - start
        value = "non-finite"
        if bad.any() and columns:
            losses = means[start + seen, columns, 0]
            value = str(losses[~np.isfinite(losses)][0])
        error = replay.NonFiniteError()
        error.epoch, error.history = epoch + 1, self.history
        error.path, error.examples, error.state = None, [], None
        first, what = seen, "a step that was not kept (replay=False)"
        if before is not None:
            first, error.state, finding = self._replay(before, piece, start, seen)
            error.path, what, error.examples = (
                finding.path,
                finding.what,
                finding.examples,
            )
        error.step = self.taken - (stop - start) + first
        error.args = (replay.describe_error(error, what, value),)
        self.state, self.whole = error.state, error.state is not None
        raise error

    def _replay(self, before: Any, piece: Piece, start: int, seen: int):
        """Run the chunk again up to its last finite state; look into the next step."""

        def run(steps: int) -> Any:
            totals = zero_totals(self.step, self._stats(piece), piece.stop)
            state, _ = run_steps(
                copy(before),
                totals,
                piece.data,
                piece.order,
                start,
                start + steps,
                step=self.step,
                batch_size=piece.batch_size,
            )
            return state

        first, state = replay.last_finite(run, self._params_are_finite, seen)
        place = (start + first) * piece.batch_size
        rows = piece.order[place : place + piece.batch_size]
        batch = jax.tree.map(lambda a: gather(a, rows), piece.data)
        return first, state, replay.find(self.step, state, batch, np.asarray(rows))

    @staticmethod
    def _params_are_finite(state: Any) -> bool:
        return not isinstance(state, TrainState) or bool(state_is_finite(state.params))

    def _call_back(self, epoch: int) -> None:
        for callback in self.callbacks:
            if callback(epoch, copy(self.state), self.history) is True:
                self.history.stopped = f"a callback asked for it after epoch {epoch}"

    def _interrupted(self, where: str) -> None:
        self.history.stopped = f"Ctrl-C {where}, after {self.taken} steps"
        self.progress.say(
            f"fit: {self.history.stopped}; go on with fit(..., state=state)"
        )

    def _hand_over(self, error: Exception) -> None:
        """Hang what was learnt on the exception that ends the run."""
        if isinstance(error, replay.NonFiniteError):
            return
        error.history = self.history  # type: ignore[attr-defined]
        error.state = self.state if self.whole else None  # type: ignore[attr-defined]
        error.add_note("fit: error.state and error.history hold what was learnt before")


def _taken(totals: Totals, piece: Piece) -> Totals:
    """Totals of the steps that were taken."""
    rows = slice(piece.start * piece.batch_size, piece.stop * piece.batch_size)
    stacks = jax.tree.map(lambda a: a[rows], totals.stacks)
    return Totals(totals.means[piece.start : piece.stop], totals.sums, stacks)
