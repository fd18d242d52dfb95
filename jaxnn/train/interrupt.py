# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C as a polite request: the run ends where its state is whole."""

import signal
import sys
import threading
from typing import Any


class Interrupt:
    """Inside it the first Ctrl-C only sets `asked`; a second one interrupts."""

    def __init__(self) -> None:
        self.asked = False
        self._before: Any = None

    def __enter__(self) -> "Interrupt":
        if threading.current_thread() is threading.main_thread():
            before = signal.getsignal(signal.SIGINT)
            if (
                before is not None
            ):  # None: not installed from Python, not ours to replace
                signal.signal(signal.SIGINT, self._ask)
                self._before = before
        return self

    def __exit__(self, *error: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def _ask(self, number: int, frame: Any) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        print("\nfit: ends after this chunk; Ctrl-C again ends it now", file=sys.stderr)
