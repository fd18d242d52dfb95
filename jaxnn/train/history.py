# SPDX-License-Identifier: Apache-2.0
"""The record of a run: numbers by epoch, and where the time went."""

import copy
import csv
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

import jax
import numpy as np

from jaxnn.files import tree_files
from jaxnn.files.figures import finish, new_figure, read_log_scale
from jaxnn.files.places import place, replacing
from jaxnn.messages import tables
from jaxnn.spec import show
from jaxnn.train.console import duration, is_number, measured, said

_SECONDS = ("trace", "compile", "run", "validate")


class History:
    """The record of a training run; a dict-like of lists, one number per epoch.

    Attributes:
        epochs: the number of each epoch, from 1.
        logs: a dict from names (`loss`, `val_loss`, `accuracy`, ...) to values.
        step_losses: the loss of every step, in order.
        first_step: the step that the first of those belongs to, from 0.
        seconds: where the time went: `trace`, `compile`, `run` (steps) and `validate`.
        programs: how many compiled programs the run called.
        memory: the most bytes that one of them takes on a device, as XLA planned it:
            data, state, results and temporaries. Beside it, `fit` keeps a copy of the
            state unless `replay=False`. 0 if unknown, and in a history from a file.
        stopped: why the run ended early, or None.
        settings: the run's `net`, `loss`, `optimizer`, `metrics`, `augment`,
            `batch_size` and `epochs`, and its `objective` if it has one; empty for a
            custom step, and in a history from a file. When pickled, values that cannot
            be pickled become text.
        unfinished: what is known of an interrupted epoch, or None.

    >>> history = History()
    >>> history.add(1, {"loss": 0.5, "val_loss": 0.6})
    >>> history["val_loss"]
    [0.6]
    """

    def __init__(self) -> None:
        self.epochs: list[int] = []
        self.logs: dict[str, list[float]] = {}
        self.step_losses: list[float] = []
        self.first_step = 0
        self.seconds: dict[str, float] = dict.fromkeys(_SECONDS, 0.0)
        self.programs = 0
        self.memory = 0
        self.stopped: str | None = None
        self.settings: dict[str, Any] = {}
        self.unfinished: dict[str, Any] | None = None

    def add(self, epoch: int, logs: dict[str, Any]) -> None:
        """Append one epoch's numbers."""
        self.epochs.append(epoch)
        for name, value in logs.items():
            values = self.logs.setdefault(name, [])
            values += [float("nan")] * (len(self.epochs) - 1 - len(values))
            values.append(_as_logged(value))
        for values in self.logs.values():  # those no longer logged
            values += [float("nan")] * (len(self.epochs) - len(values))

    def cut(self, epoch: int, steps: int) -> None:
        """Drop everything after an epoch and a step: a run resumes from there."""
        keep = sum(number <= epoch for number in self.epochs)
        del self.epochs[keep:]
        for values in self.logs.values():
            del values[keep:]
        if not self.step_losses or steps < self.first_step:
            self.step_losses, self.first_step = [], steps
        del self.step_losses[steps - self.first_step :]
        missing = steps - self.first_step - len(self.step_losses)
        self.step_losses += [float("nan")] * missing

    def __getitem__(self, name: str) -> list[float]:
        if name not in self.logs:
            ending = ""
            if str(name).startswith("val_") and self.logs:
                ending = "; fit(validation=(x, y)) adds those that begin with val_"
            raise KeyError(
                f"History: no value is named {name!r}; it has "
                f"{', '.join(self.logs) or 'no epochs yet'}{ending}"
            )
        return self.logs[name]

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> NoReturn:
            text = f"History has no attribute {name!r}"
            logs = self.__dict__.get("logs", {})
            if name in logs or name == "history":  # (the second is Keras's)
                text += f"; write history[{name if name in logs else 'loss'!r}]"
            raise AttributeError(text, name=name, obj=self)

    def __contains__(self, name: object) -> bool:
        return name in self.logs

    def __iter__(self) -> Iterator[str]:
        return iter(self.logs)

    def __len__(self) -> int:
        return len(self.epochs)

    def keys(self) -> list[str]:
        """The names of the recorded values."""
        return list(self.logs)

    def last(self) -> dict[str, float]:
        """The last epoch's numbers."""
        return {name: values[-1] for name, values in self.logs.items() if values}

    def __repr__(self) -> str:
        lines = [self._title()]
        for i in sorted({0, len(self) - 1} if len(self) else ()):
            lines.append(f"  epoch {self.epochs[i]}  {said(self._row(i))}")
        if len(self) > 2:
            lines.insert(2, "  ...")
        return "\n".join(lines + ([f"  {self._end()}"] if self._end() else []))

    def _repr_html_(self) -> str:
        shown = np.unique(np.linspace(0, len(self) - 1, 10).astype(int))
        rows = [self._row(i) for i in (shown if len(self) else ())]
        names = [n for n in self.logs if any(is_number(row[n]) for row in rows)]
        cells = [
            [str(self.epochs[i]), *(measured(n, row[n]) for n in names)]
            for i, row in zip(shown, rows, strict=False)
        ]
        note = "; ".join(filter(None, [self._end(), "history.plot() draws the curves"]))
        return tables.html(self._title(), ["epoch", *names], cells, note)

    def _title(self) -> str:
        """How long the run was."""
        times = [f"{name} {duration(s)}" for name, s in self.seconds.items() if s]
        count = f"{len(self)} epoch{'' if len(self) == 1 else 's'}"
        size = [tables.memory(self.memory)] if self.memory else []
        return f"History of {', '.join([count, *times, *size])}"

    def _row(self, i: int) -> dict[str, Any]:
        return {name: values[i] for name, values in self.logs.items()}

    def _end(self) -> str:
        return f"stopped: {self.stopped}" if self.stopped else ""

    def to_csv(self, path: str | Path) -> None:
        """Write one line per epoch; the file is replaced atomically."""
        with (
            replacing(path, "history.to_csv") as beside,
            beside.open("w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.writer(file)
            writer.writerow(["epoch", *self.logs])
            writer.writerows(zip(self.epochs, *self.logs.values(), strict=True))

    @classmethod
    def from_csv(cls, path: str | Path) -> "History":
        """Read a file written by `to_csv`, to resume a run with `fit(history=...)`.

        The numbers of the epochs are restored bit for bit; values that are not numbers
        (a confusion matrix) are left out, and so are the losses of the steps and the
        seconds. A checkpoint file has all of them; see `History.load`.

        Raises:
            ValueError: `to_csv` did not write this file.

        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp(), "history.csv")
        >>> history = History()
        >>> history.add(1, {"loss": 0.5})
        >>> history.to_csv(file)
        >>> History.from_csv(file)["loss"]
        [0.5]
        """
        target = place(path, "History.from_csv")
        with target.open(newline="", encoding="utf-8") as file:
            rows = [row for row in csv.reader(file) if row]
        if any(len(row) != len(rows[0]) for row in rows):
            rows = []
        columns = {name: words for name, *words in zip(*rows, strict=True)}
        epochs = columns.pop("epoch", None)
        if epochs is None or not all(epoch.isdigit() for epoch in epochs):
            raise ValueError(
                "History.from_csv: path must be a file that history.to_csv wrote, with "
                f"a column epoch and a number for each name in each line; {path} is not"
            )
        history = cls()
        history.epochs = [int(epoch) for epoch in epochs]
        found = {name: _numbers(words) for name, words in columns.items()}
        history.logs = {name: column for name, column in found.items() if column}
        return history

    @classmethod
    def load(cls, path: str | Path) -> "History":
        """Load the history that a checkpoint holds beside the state.

        Everything is restored except the settings, which are objects rather than data,
        and the memory, which is that of a machine.

        Args:
            path: a file that `nn.callbacks.checkpoint` wrote.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file holds no history, or is damaged.

        >>> import jax.numpy as jnp, jaxnn as nn, optax, tempfile
        >>> file, x = Path(tempfile.mkdtemp(), "run.safetensors"), jnp.ones((8, 1))
        >>> state, history = nn.fit(
        ...     nn.Dense(1), (x, x), loss=nn.losses.mean_squared_error,
        ...     optimizer=optax.sgd(0.1), epochs=2, batch_size=4, key=jax.random.key(0),
        ...     callbacks=[nn.callbacks.checkpoint(file)])
        >>> nn.History.load(file)["loss"] == history["loss"]
        True
        """
        with tree_files.open_file(path) as file:
            record = tree_files.read(file).record
        if record is None:
            raise ValueError(
                f"History.load: {path} holds no history; nn.callbacks.checkpoint "
                "writes one, nn.save does not"
            )
        return cls.from_record(record, path)

    def record(self) -> dict[str, Any]:
        """Everything but settings and memory, as lists, dicts, numbers and arrays."""
        names = vars(History()).keys() - {"settings", "memory"}
        return {name: getattr(self, name) for name in sorted(names)}

    @classmethod
    def from_record(cls, record: Any, path: str | Path) -> "History":
        """Rebuild a history from what `record` returned.

        Args:
            record: the lists, dicts, numbers and arrays.
            path: the file that they come from, for the error message.

        Raises:
            ValueError: this is not such a record.
        """
        history = cls()
        try:
            for name in history.record():
                setattr(history, name, record[name])
            good = _is_whole(history)
        except (TypeError, KeyError, AttributeError):
            good = False
        if not good:
            raise ValueError(f"History.load: the history in {path} is damaged")
        return history

    def __copy__(self) -> "History":
        return self._with(vars(self))

    def __deepcopy__(self, memo: Any) -> "History":
        own = {n: v for n, v in vars(self).items() if n != "settings"}
        # The settings are shared: they may hold objects that cannot be copied.
        return self._with(copy.deepcopy(own, memo) | {"settings": dict(self.settings)})

    def __getstate__(self) -> dict[str, Any]:
        settings = {name: _portable(value) for name, value in self.settings.items()}
        return vars(self) | {"settings": settings}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__()
        vars(self).update(state)

    def _with(self, values: dict[str, Any]) -> "History":
        new = type(self)()
        vars(new).update(values)
        return new

    def plot(self, path: str | Path | None = None) -> Any:
        """Plot the learning curves: a panel for the loss and one for each metric.

        Args:
            path: an image file to write, or None.

        Returns:
            The matplotlib figure.

        Raises:
            ImportError: matplotlib is not installed.
            ValueError: there are no epochs yet.
        """
        return finish(_plot(self), path)


def scalars(logs: dict[str, Any]) -> dict[str, float]:
    """The logs that are single numbers.

    >>> scalars({"loss": np.float32(0.5), "confusion": np.eye(2)})
    {'loss': 0.5}
    """
    return {name: float(value) for name, value in logs.items() if is_number(value)}


def _numbers(words: list[str]) -> list[float]:
    """The numbers in a column; empty if a word is not a number."""
    try:
        return [float(word) for word in words]
    except ValueError:
        return []


def _as_logged(value: Any) -> Any:
    """A number as a Python float; arrays as copies."""
    if is_number(value):
        return float(value)
    return jax.tree.map(lambda a: np.array(a) if hasattr(a, "shape") else a, value)


def _is_whole(history: History) -> bool:
    """Whether all parts of a history have the right type and equal lengths."""
    whole = all(type(number) is int for number in history.epochs)
    whole &= all(len(values) == len(history) for values in history.logs.values())
    whole &= all(type(loss) is float for loss in history.step_losses)
    whole &= type(history.first_step) is type(history.programs) is int
    whole &= all(type(history.seconds[name]) is float for name in _SECONDS)
    whole &= history.stopped is None or isinstance(history.stopped, str)
    return whole and isinstance(history.unfinished, dict | None)


def _portable(value: Any) -> Any:
    """A setting, or its text if it cannot be pickled."""
    try:
        pickle.dumps(value)
    except Exception:  # whatever a user's own object raises
        return show(value)
    return value


def _plot(history: History) -> Any:
    curves = {n: v for n, v in history.logs.items() if v and is_number(v[-1])}
    panels = [name for name in curves if not name.startswith("val_")]
    if not panels:
        raise ValueError("history.plot: there are no epochs to draw yet")
    figure = new_figure("history.plot", 4.8 * len(panels), 3.6)
    marker = "o" if len(history) < 20 else ""
    for axes, name in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True
    ):
        axes.plot(history.epochs, curves[name], marker=marker, label="training")
        if f"val_{name}" in curves:
            curve = curves[f"val_{name}"]
            axes.plot(history.epochs, curve, marker=marker, label="validation")
        axes.set(xlabel="epoch", title=name.replace("_", " "))
        drawn = [v for line in axes.lines for v in line.get_ydata()]
        if "loss" in name and 0 < 10 * min(drawn) < max(drawn):
            axes.set(yscale="log", title=f"{name.replace('_', ' ')} (log scale)")
            read_log_scale(axes.yaxis)
        axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        axes.grid(alpha=0.3)
        axes.legend()
    return figure


class Callback(Protocol):
    """Called after each epoch, once validation is done; returns True to stop the run.

    The state is a copy of the run's, safe to keep; with early stopping it has the last
    weights, not the best.

    A callback may have three more methods: `interrupted(epoch, state, history)` is
    called when Ctrl-C or SIGTERM ends a run, during epoch `epoch` or after it,
    `earlier(state)` returns the history up to a state from which a run resumes, and
    `written()`, called when a run ends, however it ends, returns once all that the
    callback writes in the background is written.
    """

    def __call__(self, epoch: int, state: Any, history: History, /) -> bool | None:
        """Called after epoch `epoch`, counted from 1."""
        ...
