# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C and SIGTERM as requests: the run ends where its state is consistent."""

import os
import signal
import sys
import threading
from typing import Any

from jaxnn.train.console import say

#: The name of each signal, and Python's default handler for it.
_SIGNALS = {
    signal.SIGINT: ("Ctrl-C", signal.default_int_handler),
    signal.SIGTERM: ("SIGTERM", signal.SIG_DFL),
}


class Interrupt:
    """A context in which a first Ctrl-C or SIGTERM is a request; a second interrupts.

    Only Python's default handlers are replaced: a signal that is ignored stays ignored
    (`nohup`, or a background job), and a custom handler continues to be called. A
    nested run ends with the outer one. Processes forked in the meantime, such as those
    of a data loader, end as usual.

    Attributes:
        by: the names of the signals that requested the end, in order.
    """

    def __init__(self) -> None:
        self.by: list[str] = []
        self._process = os.getpid()
        self._before: dict[int, Any] = {}
        self._outer: Interrupt | None = None

    @property
    def asked(self) -> bool:
        """Whether the run has been asked to end."""
        return bool(self.by) or (self._outer is not None and self._outer.asked)

    def __enter__(self) -> "Interrupt":
        if threading.current_thread() is not threading.main_thread():
            return self
        for number, (_, usual) in _SIGNALS.items():
            before = signal.getsignal(number)
            owner = getattr(before, "__self__", None)
            if isinstance(owner, Interrupt):
                self._outer = owner
            elif before == usual:
                signal.signal(number, self._ask)
                self._before[number] = before
        return self

    def __exit__(self, *error: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    def reason(self) -> str:
        """Which signals requested the end, in words."""
        outer = self._outer.by if self._outer is not None else []
        return " and ".join([*outer, *self.by])

    def _ask(self, number: int, frame: Any) -> None:
        name, usual = _SIGNALS[signal.Signals(number)]
        ours = os.getpid() == self._process  # not a worker forked from this process
        if ours and name not in self.by:
            self.by.append(name)
            again = f"{name} again ends it now"
            say(f"\nfit: {name}: ends after this chunk; {again}", sys.stderr)
        elif callable(usual):
            usual(number, frame)
        else:  # the process ends, as it does without `fit`
            signal.signal(number, usual)
            signal.raise_signal(number)
