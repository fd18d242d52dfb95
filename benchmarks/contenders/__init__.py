# SPDX-License-Identifier: Apache-2.0
"""What is compared: one file a library, each with a class `Contender`."""

import importlib
import importlib.util
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np


class Task(NamedTuple):
    """The work, the same for all: training the network whose weights these are.

    By gradient descent, with momentum or without, or by Adam.
    """

    inputs: np.ndarray  # float32 [N, 784] or [N, H, W, C], or ids, int32 [N, T]
    labels: np.ndarray  # int32 [N] or [N, T]
    weights: Any  # where all begin; networks.py says how they are arranged
    batch_size: int
    learning_rate: float
    seed: int
    momentum: float = 0.0
    shuffle: bool = True  # or take the batches as the data come
    backend: str = ""  # JAX's, as `jax.default_backend()` names it, where it is known
    adam: bool = False

    @property
    def steps(self) -> int:
        """Steps an epoch."""
        return len(self.labels) // self.batch_size

    def orders(self) -> Iterator[np.ndarray]:
        """For each epoch an order of the examples, int32 `[steps, batch_size]`."""
        rng, shape = np.random.default_rng(self.seed), (self.steps, self.batch_size)
        rows = np.arange(len(self.labels), dtype=np.int32)
        while True:
            order = rng.permutation(rows) if self.shuffle else rows
            yield order.reshape(shape)


def nets(library: str, weights: Any) -> Any:
    """The module of a library's networks to which these weights belong."""
    from contenders import sequences

    kind = "sequences" if isinstance(weights, sequences.KINDS) else "nets"
    return importlib.import_module(f"{__name__}.{library}_{kind}")


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

    def parameters(self) -> int:
        """How many numbers the network that it built learns."""
        raise NotImplementedError

    def device_peak(self) -> int | None:
        """The most bytes that the accelerator held at a time; None on a CPU."""
        import jax

        return (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")


class Entry(NamedTuple):
    """Where a contender is found."""

    module: str  # in this package
    library: str  # as it is imported


ENTRIES = {
    "jaxnn": Entry("jaxnn_fit", "jaxnn"),
    "raw-step": Entry("raw_step", "jax"),
    "raw-scan": Entry("raw_scan", "jax"),
    "flax": Entry("flax_nnx", "flax"),
    "equinox": Entry("equinox_jit", "equinox"),
    "haiku": Entry("haiku_jit", "haiku"),
    "keras": Entry("keras_fit", "keras"),
    "torch": Entry("torch_eager", "torch"),
}


MORE = {"jaxnn-step": Entry("jaxnn_step", "jaxnn")}  # only where it is asked for


def entry(name: str) -> Entry:
    """Where this contender is found."""
    return (ENTRIES | MORE)[name]


def is_installed(name: str) -> bool:
    """Whether a contender's library is there."""
    return importlib.util.find_spec(entry(name).library) is not None


def load(name: str, family: str = "") -> type[Base]:
    """A contender's class; its library is imported here and not before.

    Works of another family than classification have contenders of their own.
    """
    module = f"{name}_{family}" if family else entry(name).module
    return importlib.import_module(f"{__name__}.{module}").Contender


def version(name: str) -> str:
    """The version of a contender's library, once it is loaded."""
    return importlib.import_module(entry(name).library).__version__
