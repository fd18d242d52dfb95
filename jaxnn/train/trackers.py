# SPDX-License-Identifier: Apache-2.0
"""Send a run's numbers to an experiment tracker, which may fail without harm."""

import inspect
import threading
from collections import deque
from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from typing import Any

from jaxnn import checks
from jaxnn.messages.phrases import describe
from jaxnn.messages.tracebacks import warn
from jaxnn.spec import show
from jaxnn.train.history import Callback, History, scalars

Log = Callable[[dict[str, float], int], Any]


def log_to(run: Any, *, patience: float = 10.0) -> Callback:
    """Send each epoch's numbers to W&B, Trackio, MLflow or a function of yours.

    The step is the epoch's number. A tracker that raises or hangs costs no training:
    one warning says so and the run goes on. Later epochs are sent too, those that
    waited for a tracker that hung as soon as it answers; the history has them all.

    Args:
        run: what has a method `log(numbers, step=epoch)` or `log(numbers)`, such as a
            W&B run, or the module `wandb` or `trackio`; or `log_metrics(numbers,
            step=epoch)`, such as the module `mlflow`, whose run has to be active by
            then; or a function that is called like `log`. One that takes no `step`
            finds it as `numbers["epoch"]`.
        patience: the seconds to wait for the tracker before training goes on.

    Returns:
        A callback for `fit`.

    Raises:
        TypeError: `run` has no such method and is no function.
        ValueError: `patience` is not a number above 0, or MLflow has no active run.

    >>> import jax, jax.numpy as jnp, jaxnn as nn, optax
    >>> x = jnp.linspace(-1, 1, 8)[:, None]
    >>> state, history = nn.fit(
    ...     nn.Dense(1), (x, x), loss=nn.losses.mean_squared_error,
    ...     optimizer=optax.sgd(0.1), epochs=2, batch_size=4, key=jax.random.key(0),
    ...     callbacks=[nn.callbacks.log_to(lambda logs: print(sorted(logs)))])
    ['epoch', 'loss']
    ['epoch', 'loss']
    """
    checks.positive("callbacks.log_to", "patience", patience)
    tracker = _Tracker(_log_of(run), float(patience))

    def write(epoch: int, state: Any, history: History) -> None:
        tracker.send(scalars(history.last()), epoch)

    return write


def _log_of(run: Any) -> Log:
    """The function of numbers and a step by which a tracker logs."""
    if hasattr(run, "log_metrics"):
        return _of_active_run(run)
    log = getattr(run, "log", run)
    if not callable(log) or isinstance(run, type):
        raise TypeError(
            "callbacks.log_to: run must be a function or have a method log or "
            f"log_metrics, got {describe(run):.60}"
        )
    if log is run and not _takes(log, step=1) and not _takes(log):
        raise TypeError(
            "callbacks.log_to: run must take the numbers, log(numbers), or also the "
            f"epoch, log(numbers, step=epoch); got {show(log)}{inspect.signature(log)}"
        )
    return partial(_log, run)


def _log(run: Any, numbers: dict[str, float], epoch: int) -> None:
    """Call a function, or the method `log`, with a step if it takes one.

    It is looked up for each call: the module `wandb` replaces its own at `wandb.init`.
    """
    log = getattr(run, "log", run)
    if _takes(log, step=1):
        log(numbers, step=epoch)
    else:
        log({"epoch": epoch, **numbers})


def _of_active_run(module: Any) -> Log:
    """MLflow's `log_metrics`, for the run that is active in this thread.

    In another thread MLflow knows no active run, and would start one.
    """
    log = module.log_metrics
    if hasattr(module, "active_run"):
        active = module.active_run()
        if active is None:
            raise ValueError(
                "callbacks.log_to: run must have an active run, got none; call "
                "mlflow.start_run() first"
            )
        log = partial(log, run_id=active.info.run_id)
    return lambda numbers, epoch: log(numbers, step=epoch)


def _takes(log: Callable[..., Any], **step: int) -> bool:
    """Whether a function takes a dict, and a step if one is given here."""
    try:
        inspect.signature(log).bind({}, **step)
    except ValueError:  # it has no signature
        return not step
    except TypeError:
        return False
    return True


class _Tracker:
    """Calls a tracker in a thread, which is left behind if the tracker hangs.

    Args:
        log: the function to call.
        patience: the seconds to wait for the thread.
    """

    def __init__(self, log: Log, patience: float):
        self.log, self.patience = log, patience
        self.unsent: deque[tuple[dict[str, float], int]] = deque()
        self.lock, self.busy = threading.Lock(), False
        self.error: BaseException | None = None
        self.warned = False

    def send(self, numbers: dict[str, float], epoch: int) -> None:
        """Send an epoch's numbers, and those that still wait; warn of a failure."""
        with self.lock:
            self.unsent.append((numbers, epoch))
            hangs, self.busy = self.busy, True
        if hangs:
            return
        # (Trackio keeps its run in a context variable; a thread inherits none.)
        work = partial(copy_context().run, self._work)
        thread = threading.Thread(target=work, name="jaxnn log_to", daemon=True)
        thread.start()
        thread.join(self.patience)
        if thread.is_alive():
            self._warn(f"has not answered for {self.patience:g} seconds", epoch)
        elif self.error is not None:
            self._warn(f"raised {self.error!r:.200}", epoch)

    def _work(self) -> None:
        while True:
            with self.lock:
                if not self.unsent:
                    self.busy = False
                    return
                waiting = self.unsent.popleft()
            try:
                self.log(*waiting)
            except BaseException as error:  # SystemExit too: it is the tracker's
                self.error = error

    def _warn(self, what: str, epoch: int) -> None:
        if not self.warned:
            self.warned = True
            warn(
                f"callbacks.log_to: the tracker {what} in epoch {epoch}; training goes "
                "on, and the history has all numbers",
            )
