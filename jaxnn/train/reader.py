# SPDX-License-Identifier: Apache-2.0
"""Prefetching: the next item is prepared in a thread while this one is used."""

import threading
from collections.abc import Callable, Iterator
from functools import partial
from queue import Empty, Queue, SimpleQueue
from typing import Any

#: Seconds between checks of whether to give up while waiting for an item.
POLL = 0.1
#: Seconds that a thread is given to finish its current item.
GRACE = 1.0


class Abandoned(Exception):
    """The run was asked to end while waiting for data."""


class Reader:
    """Calls `next` in a separate thread, one item ahead.

    The thread is a daemon, so that a blocked one does not keep the program from ending;
    otherwise it is waited for.

    Attributes:
        give_up: a function that tells whether to stop waiting.
    """

    def __init__(self) -> None:
        self.give_up: Callable[[], bool] = lambda: False
        self._end: Callable[[], None] = lambda: None

    def __call__(self, items: Iterator[Any]) -> Iterator[Any]:
        """The same items.

        Raises:
            Abandoned: `give_up` returned True while waiting for an item.
        """
        asked: SimpleQueue[bool] = SimpleQueue()
        # (Python's SimpleQueue waits forever if a signal arrives as it times out.)
        made: Queue[tuple[Any, BaseException | None]] = Queue()
        work = (items, asked, made)
        thread = threading.Thread(
            target=_serve, args=work, name="jaxnn-data", daemon=True
        )
        del items, work  # owned by the thread, so that open files close with it
        thread.start()
        self._end = end = partial(_end, asked, thread)
        try:
            asked.put(True)
            while (item := self._wait(made)) is not None:
                asked.put(True)
                yield item
        finally:
            end()

    def _wait(self, made: Queue) -> Any:
        while True:
            try:
                item, error = made.get(timeout=POLL)
            except Empty:
                if self.give_up():
                    raise Abandoned from None
                continue
            if error is not None:
                raise error
            return item

    def close(self) -> None:
        """End the thread, unless it is blocked."""
        self._end()


def _serve(items: Iterator[Any], asked: SimpleQueue, made: Queue) -> None:
    while asked.get():
        try:
            made.put((next(items, None), None))
        except BaseException as error:  # raised again in the caller's thread
            made.put((None, error))


def _end(asked: SimpleQueue, thread: threading.Thread) -> None:
    asked.put(False)
    thread.join(GRACE)
