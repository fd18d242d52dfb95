# SPDX-License-Identifier: Apache-2.0
"""Epochs of a chosen number of steps: of batches that need not end, or of none."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

import jax.numpy as jnp

from jaxnn.checks import positive_int
from jaxnn.layout import Layout
from jaxnn.messages.phrases import describe
from jaxnn.train.reader import Reader
from jaxnn.train.source import Piece, is_stream, iterate


def check_steps(owner: str, data: Any, steps: Any) -> None:
    """Raise unless the data are of a kind that `steps_per_epoch` is for."""
    if steps is None:
        if data is None:
            raise TypeError(
                f"{owner}: data must be arrays or an iterable of batches, got None; a "
                "step that needs no data takes steps_per_epoch="
            )
        return
    positive_int(owner, "steps_per_epoch", steps)
    if data is not None and not is_stream(data, f"{owner}: data"):
        raise TypeError(
            f"{owner}: steps_per_epoch is for iterables of batches or for data=None; "
            f"an epoch of arrays is all their examples, got {describe(data):.100}"
        )


class Cut:
    """An iterable of batches in epochs of `steps`, one going on where another ended.

    It begins again where it ends, and to resume it reads again what was trained on
    before.
    """

    def __init__(self, batches: Any, steps: int):
        self.batches, self.steps = batches, steps
        self._rest: Iterator[Any] | None = None
        self._taken = 0  # batches of it

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[Any]:
        return self.epoch(0)

    def epoch(self, number: int) -> Iterator[Any]:
        """The batches of an epoch, from 0."""
        start = number * self.steps
        if self._rest is None or start < self._taken:
            self._rest, self._taken = self._all(), 0
        for _ in islice(self._rest, start - self._taken):
            self._taken += 1
        for batch in islice(self._rest, self.steps):
            self._taken += 1
            yield batch

    def _all(self) -> Iterator[Any]:
        once, round_ = hasattr(self.batches, "__next__"), 0
        while True:
            draw = getattr(self.batches, "epoch", None)
            made = self.batches if draw is None else draw(round_)
            batch = None
            for batch in iterate(made, "fit: data", endless=True):
                yield batch
            if batch is None:
                raise ValueError("fit: data must give batches, got none")
            if once:
                raise ValueError(
                    "fit: data must give batches for all epochs, got a "
                    f"{type(self.batches).__name__} that has ended; pass a list, a "
                    "DataLoader, or a function that makes an iterator"
                )
            round_ += 1


class NoData:
    """Steps without data, as those of an agent in its environment."""

    def __init__(self, steps: int):
        self.steps = steps
        self.reader = Reader()  # (unused here)

    def position(self, step: int) -> tuple[int, int]:
        """The epoch of a step, and its position in that epoch."""
        return divmod(step, self.steps)

    def epoch(self, epoch: int, skip: int = 0) -> Iterator[Piece]:
        """An epoch of batches that are None."""
        del epoch
        yield Piece(None, jnp.arange(self.steps, dtype=jnp.int32), skip, self.steps, 1)

    def spread_over(self, layout: Layout) -> None:
        """Do nothing: there are no data to place."""

    def close(self) -> None:
        """Do nothing: there is nothing to release."""
