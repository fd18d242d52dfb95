"""Reading ahead in a thread: the same items, the same errors, and no thread left."""

import os
import signal
import threading
import time

import numpy as np
import pytest
from common import X, Y, fit

from jaxnn.train.reader import POLL, Abandoned, Reader

pytestmark = pytest.mark.quick


def readers():
    return [t for t in threading.enumerate() if t.name == "jaxnn-data"]


def test_the_items_come_in_order_and_the_thread_goes():
    reader = Reader()
    for count in (0, 1, 5):
        assert list(reader(iter(range(1, count + 1)))) == list(range(1, count + 1))
    assert not readers()


def test_one_item_is_made_ahead_and_no_more():
    made = []

    def items():
        for i in range(1, 9):
            made.append(i)
            yield i

    reader = Reader()
    seen = reader(items())
    assert next(seen) == 1
    time.sleep(0.2)
    assert made == [1, 2]
    reader.close()
    assert not readers()


@pytest.mark.parametrize(
    "error", [ValueError("odd"), SystemExit(3), KeyboardInterrupt()]
)
def test_errors_arise_where_the_items_are_used(error):
    def items():
        yield 1
        raise error

    seen = []
    with pytest.raises(type(error)) as caught:
        seen.extend(Reader()(items()))
    assert caught.value is error and not readers()


def test_what_blocks_is_given_up_when_asked():
    reader, go_on = Reader(), threading.Event()

    def items():
        yield 1
        go_on.wait()
        yield 2

    seen = reader(items())
    assert next(seen) == 1
    reader.give_up = lambda: True
    with pytest.raises(Abandoned):
        next(seen)
    (thread,) = readers()
    assert thread.daemon
    go_on.set()
    thread.join(20)
    assert not readers()


def test_a_signal_whose_handler_takes_long_does_not_stop_the_looks():
    """Longer than the wait has left."""
    reader, go_on, asked = Reader(), threading.Event(), []

    def items():
        yield 1
        go_on.wait(20)  # seconds; a reader that hangs fails the test
        yield 2

    def handler(number, frame):
        time.sleep(3 * POLL)
        asked.append(number)

    seen = reader(items())
    assert next(seen) == 1
    reader.give_up = lambda: bool(asked)
    before = signal.signal(signal.SIGUSR1, handler)
    try:
        threading.Timer(POLL / 2, os.kill, (os.getpid(), signal.SIGUSR1)).start()
        with pytest.raises(Abandoned):
            next(seen)
    finally:
        signal.signal(signal.SIGUSR1, before)
        go_on.set()


def test_a_generator_is_closed_when_the_run_ends_early():
    closed = []

    def batches():
        try:
            for _ in range(100):
                yield X[:8], Y[:8]
        finally:
            closed.append(threading.current_thread().name)

    def stop(epoch, state, history):
        raise RuntimeError

    with pytest.raises(RuntimeError):
        fit(batches, epochs=2, callbacks=[stop])
    data = [(X[:8], Y[:8])] * 40 + [(X[:8], np.full(8, 9))]
    with pytest.raises(ValueError, match="batch 40"):
        fit(data, epochs=1)
    assert closed and not readers()
