# SPDX-License-Identifier: Apache-2.0
"""Reading ahead: the next item is made in a thread while this one is used."""

import threading
from collections.abc import Callable, Iterator
from functools import partial
from queue import Empty, Queue, SimpleQueue
from typing import Any

#: Seconds between two looks at whether to give up, while an item is waited for.
POLL = 0.1
#: Seconds that a thread is given to end what it is making.
GRACE = 1.0


class Abandoned(Exception):
    """The run was asked to end while it waited for data."""


class Reader:
    """Calls `next` in a thread of its own, one item ahead.

    The thread is a daemon, so that one that blocks keeps no program from ending; one
    that does not is waited for.

    Attributes:
        give_up: whether waiting is to end.
    """

    def __init__(self) -> None:
        self.give_up: Callable[[], bool] = lambda: False
        self._end: Callable[[], None] = lambda: None

    def __call__(self, items: Iterator[Any]) -> Iterator[Any]:
        """The same items.

        Raises:
            Abandoned: `give_up` said so while an item was waited for.
        """
        asked: SimpleQueue[bool] = SimpleQueue()
        # (Python's SimpleQueue waits for ever if a signal comes as it times out.)
        made: Queue[tuple[Any, BaseException | None]] = Queue()
        work = (items, asked, made)
        thread = threading.Thread(
            target=_serve, args=work, name="jaxnn-data", daemon=True
        )
        del items, work  # the thread's own: what holds files is closed with it
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
        """End the thread, unless it blocks."""
        self._end()


def _serve(items: Iterator[Any], asked: SimpleQueue, made: Queue) -> None:
    while asked.get():
        try:
            made.put((next(items, None), None))
        except BaseException as error:  # the caller's, in the caller's thread
            made.put((None, error))


def _end(asked: SimpleQueue, thread: threading.Thread) -> None:
    asked.put(False)
    thread.join(GRACE)
