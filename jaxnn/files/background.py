# SPDX-License-Identifier: Apache-2.0
"""Work in a thread, one piece at a time."""

from collections.abc import Callable
from threading import Thread


class Background:
    """Does one piece of work at a time while the program goes on.

    The program does not end before the work is done. An error that the work raises is
    raised by the next call of either method.

    >>> done, background = [], Background()
    >>> background.start(lambda: done.append(1))
    >>> background.wait()
    >>> done
    [1]
    """

    def __init__(self) -> None:
        self._thread: Thread | None = None
        self._error: BaseException | None = None

    def start(self, work: Callable[[], None]) -> None:
        """Begin some work, once the work before it is done."""
        self.wait()
        self._thread = Thread(target=self._do, args=(work,), name="jaxnn background")
        self._thread.start()

    def wait(self) -> None:
        """Return once the work is done."""
        if self._thread is not None:
            self._thread.join()
        error, self._thread, self._error = self._error, None, None
        if error is not None:
            raise error

    def _do(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            self._error = error
