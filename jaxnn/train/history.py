# SPDX-License-Identifier: Apache-2.0
"""What a run did: numbers by epoch, and where the time went."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jaxnn.figures import finish, new_figure


class History:
    """The record of a training run; reads like a dict of lists, one number an epoch.

    Attributes:
        epochs: the number of each epoch, from 1.
        logs: from a name (`loss`, `val_loss`, `accuracy`, ...) to its values.
        step_losses: the loss of every step, in order.
        seconds: where the time went: `trace`, `compile`, `run` (steps) and `validate`.
        programs: how many compiled programs the run called.
        stopped: why the run ended early, or None.
        settings: what the run was: `net`, `loss`, `optimizer`, `metrics`, `augment`,
            `batch_size`, `epochs`; empty for a step of one's own.

    >>> history = History()
    >>> history.add(1, {"loss": 0.5, "val_loss": 0.6})
    >>> history["val_loss"]
    [0.6]
    """

    def __init__(self) -> None:
        self.epochs: list[int] = []
        self.logs: dict[str, list[float]] = {}
        self.step_losses: list[float] = []
        self.seconds = {"trace": 0.0, "compile": 0.0, "run": 0.0, "validate": 0.0}
        self.programs = 0
        self.stopped: str | None = None
        self.settings: dict[str, Any] = {}

    def add(self, epoch: int, logs: dict[str, Any]) -> None:
        """Append one epoch's numbers."""
        self.epochs.append(epoch)
        for name, value in logs.items():
            values = self.logs.setdefault(name, [])
            values += [float("nan")] * (len(self.epochs) - 1 - len(values))
            values.append(float(value) if _is_number(value) else value)
        for values in self.logs.values():  # of what is no longer logged
            values += [float("nan")] * (len(self.epochs) - len(values))

    def cut(self, epoch: int, steps: int) -> None:
        """Forget what came after an epoch and a step: a run goes on from there."""
        keep = sum(number <= epoch for number in self.epochs)
        del self.epochs[keep:], self.step_losses[steps:]
        for values in self.logs.values():
            del values[keep:]

    def __getitem__(self, name: str) -> list[float]:
        if name not in self.logs:
            raise KeyError(
                f"history has {', '.join(self.logs) or 'no epochs'}; no {name!r}"
            )
        return self.logs[name]

    def __contains__(self, name: object) -> bool:
        return name in self.logs

    def __iter__(self) -> Iterator[str]:
        return iter(self.logs)

    def __len__(self) -> int:
        return len(self.epochs)

    def keys(self) -> list[str]:
        """The names of what was recorded."""
        return list(self.logs)

    def last(self) -> dict[str, float]:
        """The last epoch's numbers."""
        return {name: values[-1] for name, values in self.logs.items() if values}

    def __repr__(self) -> str:
        last = ", ".join(
            f"{n}={v:.4g}" for n, v in self.last().items() if _is_number(v)
        )
        times = ", ".join(f"{name} {s:.2f} s" for name, s in self.seconds.items())
        end = f"; stopped: {self.stopped}" if self.stopped else ""
        return f"History({len(self)} epochs; last: {last}; {times}{end})"

    def to_csv(self, path: str | Path) -> None:
        """Write one line an epoch."""
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with Path(path).open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["epoch", *self.logs])
            writer.writerows(zip(self.epochs, *self.logs.values(), strict=True))

    @classmethod
    def from_csv(cls, path: str | Path) -> "History":
        """Read what `to_csv` wrote, for a run that goes on: `fit(history=...)`.

        The numbers of the epochs come back, bit for bit; what is no number (a confusion
        matrix) is left out, and so are the losses of the steps and the seconds.

        Raises:
            ValueError: if it is not such a file.

        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp(), "history.csv")
        >>> history = History()
        >>> history.add(1, {"loss": 0.5})
        >>> history.to_csv(file)
        >>> History.from_csv(file)["loss"]
        [0.5]
        """
        with Path(path).open(newline="") as file:
            rows = [row for row in csv.reader(file) if row]
        if any(len(row) != len(rows[0]) for row in rows):
            rows = []
        columns = {name: words for name, *words in zip(*rows, strict=True)}
        epochs = columns.pop("epoch", None)
        if epochs is None or not all(epoch.isdigit() for epoch in epochs):
            raise ValueError(
                "path: must be a file that history.to_csv wrote, with a column epoch "
                f"and a number for each name in each line; {path} is not"
            )
        history = cls()
        history.epochs = [int(epoch) for epoch in epochs]
        numbers = {name: _numbers(words) for name, words in columns.items()}
        history.logs = {name: column for name, column in numbers.items() if column}
        return history

    def plot(self, path: str | Path | None = None) -> Any:
        """Draw the learning curves: a panel for the loss and one for each metric.

        Args:
            path: a picture file to write, or None.

        Returns:
            The matplotlib figure.

        Raises:
            ImportError: without matplotlib.
            ValueError: if there are no epochs yet.
        """
        return finish(_plot(self), path)


def _numbers(words: list[str]) -> list[float]:
    """What a column says; nothing if a word is no number."""
    try:
        return [float(word) for word in words]
    except ValueError:
        return []


def _is_number(value: Any) -> bool:
    return getattr(value, "shape", ()) == () and not isinstance(value, dict | str)


def _plot(history: History) -> Any:
    numbers = {n: v for n, v in history.logs.items() if v and _is_number(v[-1])}
    panels = [name for name in numbers if not name.startswith("val_")]
    if not panels:
        raise ValueError("history.plot: there are no epochs to draw yet")
    figure = new_figure("history.plot", 4.8 * len(panels), 3.6)
    marker = "o" if len(history) < 20 else ""
    for axes, name in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True
    ):
        axes.plot(history.epochs, numbers[name], marker=marker, label="training")
        if f"val_{name}" in numbers:
            curve = numbers[f"val_{name}"]
            axes.plot(history.epochs, curve, marker=marker, label="validation")
        axes.set(xlabel="epoch", title=name.replace("_", " "))
        drawn = [v for line in axes.lines for v in line.get_ydata()]
        if "loss" in name and 0 < 10 * min(drawn) < max(drawn):
            axes.set(yscale="log", title=f"{name.replace('_', ' ')} (log scale)")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        axes.legend()
    return figure
