"""Signals: what ends a run, what is left alone, and that nothing is lost by it."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import chex
import pytest
from common import fit

from jaxnn.train import loop
from jaxnn.train.interrupt import Interrupt

same = chex.assert_trees_all_equal
BOTH = [signal.SIGINT, signal.SIGTERM]


def send(number):
    os.kill(os.getpid(), number)


def script(body, **options):
    """A process of its own that has `fit`, `x` and `y`, and says `ready` when it is."""
    start = """
    import os, signal, sys, threading, time
    import jax, numpy as np, optax, jaxnn as nn
    x = np.ones((40, 3), np.float32)
    y = x[:, :1]
    def fit(data=(x, y), **kw):
        usual = dict(loss=nn.losses.mean_squared_error, optimizer=optax.sgd(0.1),
                     epochs=10**6, key=jax.random.key(0), chunk_seconds=0.01,
                     progress=False)
        usual["batch_size"] = 8 if isinstance(data, tuple) else None
        return nn.fit(nn.Dense(1), data, **{**usual, **kw})
    """
    code = textwrap.dedent(start) + textwrap.dedent(body)
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def ended(process, seconds=60):
    """Its return code, what it printed after `ready`, and its errors."""
    with process:
        try:
            out, err = process.communicate(timeout=seconds)
        finally:
            process.kill()
    return process.returncode, out.split(), err


@pytest.mark.quick
@pytest.mark.parametrize("number", BOTH)
def test_a_first_signal_asks_and_a_second_one_ends(number, capsys):
    with Interrupt() as interrupt:
        send(number)
        assert interrupt.asked and len(interrupt.by) == 1
    assert "ends after this chunk" in capsys.readouterr().err
    usual = {signal.SIGINT: signal.default_int_handler}.get(number, signal.SIG_DFL)
    assert signal.getsignal(number) == usual


@pytest.mark.quick
def test_the_other_signal_does_not_end_at_once():
    with Interrupt() as interrupt:
        send(signal.SIGTERM)
        send(signal.SIGINT)
        assert interrupt.reason() == "SIGTERM and Ctrl-C"
        with pytest.raises(KeyboardInterrupt):
            send(signal.SIGINT)


def test_a_second_sigterm_kills():
    code, out, _ = ended(
        script(
            """
            from jaxnn.train.interrupt import Interrupt
            with Interrupt():
                os.kill(os.getpid(), signal.SIGTERM)
                print("asked", flush=True)
                os.kill(os.getpid(), signal.SIGTERM)
                print("alive")
            """
        )
    )
    assert (code, out) == (-signal.SIGTERM, ["asked"])


@pytest.mark.quick
@pytest.mark.parametrize("number", BOTH)
def test_what_is_ignored_stays_ignored(number):
    before = signal.signal(number, signal.SIG_IGN)
    try:
        with Interrupt() as interrupt:
            send(number)
            assert not interrupt.asked
        assert signal.getsignal(number) == signal.SIG_IGN
    finally:
        signal.signal(number, before)


@pytest.mark.quick
@pytest.mark.parametrize("number", BOTH)
def test_a_handler_of_ones_own_goes_on_being_called(number):
    seen = []
    before = signal.signal(number, lambda *args: seen.append(args[0]))
    try:
        _, history = fit(callbacks=[lambda e, s, h: send(number) if e == 2 else None])
    finally:
        signal.signal(number, before)
    assert seen == [number] and len(history) == 3 and history.stopped is None


def test_a_run_inside_a_run_ends_with_it():
    """In a callback, say: to train something beside it."""
    inner = []

    def callback(epoch, state, history):
        threading.Timer(0.5, send, [signal.SIGTERM]).start()
        inner.append(fit(epochs=10**6, chunk_seconds=0.01)[1].stopped)

    _, history = fit(callbacks=[callback])
    assert inner[0].startswith("SIGTERM in epoch") or "after epoch" in inner[0]
    assert history.stopped == "SIGTERM after epoch 1, after 5 steps"
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


@pytest.mark.parametrize("number", BOTH)
def test_a_process_that_is_forked_meanwhile_ends_as_ever(number):
    """Else the workers of a data loader would not be terminated."""
    code, out, _ = ended(
        script(
            f"""
            import warnings
            from jaxnn.train.interrupt import Interrupt
            warnings.simplefilter("ignore")
            with Interrupt() as interrupt:
                child = os.fork()
                if not child:
                    try:
                        time.sleep(60)
                    except KeyboardInterrupt:
                        os._exit(3)
                    os._exit(4)
                time.sleep(0.3)
                os.kill(child, {int(number)})
                status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
                print(status, interrupt.asked)
            """
        )
    )
    assert code == 0 and out == ["3" if number == signal.SIGINT else "-15", "False"]


# Exceptions of every kind


class Halt(BaseException):
    """Neither an Exception nor a KeyboardInterrupt."""


@pytest.mark.quick
@pytest.mark.parametrize("error", [SystemExit(3), Halt(), KeyboardInterrupt()])
def test_whatever_a_callback_raises_hands_over_the_state(error):
    def callback(epoch, state, history):
        if epoch == 2:
            raise error

    with pytest.raises(type(error)) as caught:
        fit(callbacks=[callback])
    assert len(caught.value.history) == 2
    state, history = fit(state=caught.value.state, history=caught.value.history)
    whole, expected = fit()
    same(state, whole)
    assert history.step_losses == expected.step_losses
    assert history["loss"] == expected["loss"]


@pytest.mark.parametrize("replay", [True, False])
def test_a_handler_that_exits_inside_a_chunk_costs_that_chunk_at_most(replay):
    """The buffers of the chunk were given away; its beginning is handed over."""

    def exits(number, frame):
        raise SystemExit(143)

    before = signal.signal(signal.SIGTERM, exits)
    run_steps, calls = loop.run_steps, []

    class Interrupted:
        prepare = run_steps.prepare

        def __call__(self, *args, **static):
            calls.append(1)
            if len(calls) == 4:
                send(signal.SIGTERM)
            return run_steps(*args, **static)

    try:
        loop.run_steps = Interrupted()
        with pytest.raises(SystemExit) as caught:
            fit(chunk_seconds=0.0, replay=replay)
    finally:
        loop.run_steps = run_steps
        signal.signal(signal.SIGTERM, before)
    state, history = caught.value.state, caught.value.history
    assert (state is not None) == replay
    if replay:
        assert int(state.step) == len(history.step_losses) == 3
        same(fit(state=state)[0], fit()[0])


# Processes of their own


@pytest.mark.parametrize("number", BOTH)
def test_a_real_process_goes_on_and_says_why(number, tmp_path):
    process = script(
        f"""
        def ready(epoch, state, history):
            if epoch == 3:
                print("ready", flush=True)
        path = {str(tmp_path / "run")!r}
        state, history = fit(callbacks=[nn.callbacks.checkpoint(path), ready])
        saved = nn.load(path, like=state)
        print(int(saved.step) == int(state.step), history.stopped.split()[0])
        sys.exit(7)
        """
    )
    process.stdout.readline()
    process.send_signal(number)
    name = "Ctrl-C" if number == signal.SIGINT else "SIGTERM"
    code, out, _ = ended(process)
    assert (code, out) == (7, ["True", name])


@pytest.mark.parametrize("number", BOTH)
def test_a_reader_that_blocks_keeps_nobody(number):
    """Neither the run from ending nor Python from exiting."""
    process = script(
        """
        def batches():
            if started:
                threading.Event().wait()
            for _ in range(4):
                yield x[:8], y[:8]
        def ready(epoch, state, history):
            started.append(1)
            print("ready", flush=True)
        started = []
        state, history = fit(batches, epochs=2, callbacks=[ready])
        print(history.stopped.split()[0], int(state.step), len(history))
        """
    )
    process.stdout.readline()
    time.sleep(0.3)
    process.send_signal(number)
    code, out, err = ended(process)
    assert (code, out[1:]) == (0, ["4", "1"]), err


def test_no_console_ends_no_run():
    """As under pythonw, or with closed streams, where also the signal has a message."""
    code, out, err = ended(
        script(
            """
            said, (read, write) = sys.stdout, os.pipe()
            os.close(read)
            closed, broken = open(os.devnull, "w"), os.fdopen(write, "w")
            closed.close()
            def callback(epoch, state, history):
                if epoch == 3:
                    os.kill(os.getpid(), signal.SIGTERM)
            for stream in (None, closed, broken):
                for progress in (None, True):
                    sys.stdout = sys.stderr = stream
                    state, history = fit(progress=progress, callbacks=[callback])
                    print(len(history), file=said, flush=True)
            os._exit(0)
            """
        )
    )
    assert (code, out) == (0, ["3"] * 6), err
