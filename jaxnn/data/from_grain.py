# SPDX-License-Identifier: Apache-2.0
"""Batches from Grain, which reads files ahead in threads."""

import importlib
from collections.abc import Callable, Iterator
from typing import Any

from jaxnn.data.checks import positive
from jaxnn.messages.arguments import answered


class GrainBatches:
    """Batches of a Grain data set for `nn.fit`; see `from_grain`.

    An iterable with a length, that gives any epoch from any batch on: a run that
    resumes reads nothing again.
    """

    def __init__(self, make: Callable[[int], Any], threads: int):
        self._make, self._threads = make, threads
        self._length = len(_checked(make(0)))

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Any]:
        return self.epoch(0)

    def epoch(self, number: int, start: int = 0) -> Iterator[Any]:
        """The batches of an epoch, read ahead in threads.

        Args:
            number: that of the epoch, from 0.
            start: the first batch to give.
        """
        grain = _needs_grain()
        rest = self._make(number).slice(slice(start, None))
        options = grain.ReadOptions(
            num_threads=self._threads, prefetch_buffer_size=2 * self._threads
        )
        return iter(rest.to_iter_dataset(options))


@answered
def from_grain(make: Callable[[int], Any], *, threads: int = 8) -> GrainBatches:
    """Batches of a Grain data set, for data that are read from disk while training.

    Args:
        make: a function from the number of an epoch to a `grain.MapDataset` of batches,
            such as `(inputs, targets)`. It shuffles by that number, so that each epoch
            has an order of its own, and the same one in a run that resumes.
        threads: how many threads read ahead.

    Returns:
        An iterable for `nn.fit`, which resumes in the middle of an epoch without
        reading again what it has been trained on.

    Raises:
        ImportError: Grain is not installed.
        TypeError: the function gives no `grain.MapDataset`.

    Example:
        >>> import grain, numpy as np  # doctest: +SKIP
        >>> from jaxnn.data import from_grain
        >>> rows = grain.MapDataset.source(np.arange(100.0))  # doctest: +SKIP
        >>> batches = from_grain(
        ...     lambda epoch: rows.shuffle(seed=epoch).batch(32)
        ... )  # doctest: +SKIP
        >>> len(batches)  # doctest: +SKIP
        4

    Reference:
        https://google-grain.readthedocs.io
    """
    _needs_grain()
    if not callable(make):
        raise TypeError(
            "from_grain: make must be a function from the number of an epoch to a "
            "grain.MapDataset, such as lambda epoch: rows.shuffle(seed=epoch)"
            f".batch(32), got {make!r:.60}"
        )
    return GrainBatches(make, positive("from_grain", "threads", threads))


def _needs_grain() -> Any:
    """The package; an error that names it where it is absent."""
    try:
        return importlib.import_module("grain")
    except ImportError as error:
        raise ImportError(
            "from_grain needs Grain: python -m pip install grain"
        ) from error


def _checked(dataset: Any) -> Any:
    """A MapDataset, which has a length and can be cut."""
    if not hasattr(dataset, "slice") or not hasattr(dataset, "to_iter_dataset"):
        raise TypeError(
            "from_grain: make must give a grain.MapDataset of batches, got "
            f"{type(dataset).__name__}"
        )
    return dataset
