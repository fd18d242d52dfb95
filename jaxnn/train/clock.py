# SPDX-License-Identifier: Apache-2.0
"""Seconds by kind of work; programs are compiled ahead, to time that separately."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from jaxnn.train.history import History
from jaxnn.train.programs import Program


class Clock:
    """Adds the seconds of a run to its history."""

    def __init__(self, history: History):
        self.history = history
        self._ready: set = set()

    @property
    def compiling(self) -> float:
        """Seconds of tracing and compiling so far."""
        return self.history.seconds["trace"] + self.history.seconds["compile"]

    @contextmanager
    def on(self, kind: str) -> Iterator[None]:
        """Count the time spent inside as `kind`."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.history.seconds[kind] += time.perf_counter() - start

    def compile(self, program: Program, label: Any, *args: Any, **static: Any) -> None:
        """Trace and compile a program for these arguments, once per label.

        The call that follows finds it ready.
        """
        if label in self._ready:
            return
        self._ready.add(label)
        prepared = program.prepare(*args, on=self.on, **static)
        self.history.memory = max(self.history.memory, prepared.memory)
        self.history.programs += 1
