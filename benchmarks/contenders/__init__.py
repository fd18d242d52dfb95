# SPDX-License-Identifier: Apache-2.0
"""What is compared: one file a library, each with a class `Contender`."""

import importlib
import importlib.util
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np


class Task(NamedTuple):
    """The work, the same for all: SGD on an MLP with ReLU between its layers."""

    images: np.ndarray  # float32 [N, 784]
    labels: np.ndarray  # int32 [N]
    weights: list[tuple[np.ndarray, np.ndarray]]  # where all begin: w [C, F], b [F]
    batch_size: int
    learning_rate: float
    seed: int

    @property
    def steps(self) -> int:
        """Steps an epoch."""
        return len(self.labels) // self.batch_size

    def orders(self) -> Iterator[np.ndarray]:
        """For each epoch a new order of the examples, int32 `[steps, batch_size]`."""
        rng, shape = np.random.default_rng(self.seed), (self.steps, self.batch_size)
        while True:
            yield rng.permutation(len(self.labels)).astype(np.int32).reshape(shape)


class Base:
    """One way to train. `__init__` and `start` are outside the clock, `run` is inside.

    Attributes:
        title: how it trains, in a few words.
        inside: seconds that the library itself counted in the last run, or None.
    """

    title: str
    inside: float | None = None

    def __init__(self, task: Task):
        self.task = task

    def start(self) -> None:
        """Go back to the first weights and the first order."""
        raise NotImplementedError

    def epoch(self) -> float:
        """Train for one epoch; gives its mean loss when all of it is done."""
        raise NotImplementedError

    def run(self, epochs: int) -> list[float]:
        """Train for some epochs; gives the mean loss of each."""
        return [self.epoch() for _ in range(epochs)]


class Entry(NamedTuple):
    """Where a contender is found."""

    module: str  # in this package
    library: str  # as it is imported


ENTRIES = {
    "jaxnn": Entry("jaxnn_fit", "jaxnn"),
    "raw-step": Entry("raw_step", "jax"),
    "raw-scan": Entry("raw_scan", "jax"),
    "flax": Entry("flax_nnx", "flax"),
    "equinox": Entry("equinox_mlp", "equinox"),
    "haiku": Entry("haiku_mlp", "haiku"),
    "keras": Entry("keras_fit", "keras"),
    "torch": Entry("torch_eager", "torch"),
}


def is_installed(name: str) -> bool:
    """Whether a contender's library is there."""
    return importlib.util.find_spec(ENTRIES[name].library) is not None


def load(name: str) -> type[Base]:
    """A contender's class; its library is imported here and not before."""
    return importlib.import_module(f"{__name__}.{ENTRIES[name].module}").Contender


def version(name: str) -> str:
    """The version of a contender's library, once it is loaded."""
    return importlib.import_module(ENTRIES[name].library).__version__
