# SPDX-License-Identifier: Apache-2.0
"""Deep networks whose first call is timed: a file a library, built as it advises."""

import importlib
import importlib.util
from functools import partial
from typing import Any, NamedTuple

import numpy as np

RATE, MOMENTUM = 0.003, 0.9


class Entry(NamedTuple):
    """Where a network is found."""

    module: str  # in this package
    library: str  # as it is imported
    options: dict[str, Any] = {}  # noqa: RUF012


ENTRIES = {
    "jaxnn": Entry("resnet50_jaxnn", "jaxnn"),
    "jaxnn-repeat": Entry("resnet50_jaxnn", "jaxnn", {"repeat": True}),
    "flax": Entry("resnet50_flax", "flax"),
    "haiku": Entry("resnet50_haiku", "haiku"),
}

PARAMETERS = {"resnet50": 25_557_032}


class Deep:
    """A network in training. `__init__` makes its weights, `call` is a step.

    Attributes:
        title: how it trains, in a few words.
        inside: seconds that the library itself counted in the first call, or None.
    """

    title: str
    inside: dict[str, float] | None = None

    def call(self) -> float:
        """One call of training on the same images; gives the loss before it."""
        raise NotImplementedError

    def parameters(self) -> int:
        """How many numbers the network learns."""
        raise NotImplementedError


def is_installed(name: str) -> bool:
    """Whether a library is there."""
    return importlib.util.find_spec(ENTRIES[name].library) is not None


def load(work: str, name: str) -> Any:
    """From (size, batch size, seed) to a `Deep`; its library is imported here."""
    assert work in PARAMETERS
    entry = ENTRIES[name]
    module = importlib.import_module(f"contenders.{entry.module}")
    return partial(module.Contender, **entry.options)


def version(name: str) -> str:
    """The version of a library, once it is loaded."""
    return importlib.import_module(ENTRIES[name].library).__version__


def images(size: int, batch_size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Noise, and classes."""
    rng = np.random.default_rng(seed)
    shape = (batch_size, size, size, 3)
    labels = rng.integers(0, 1000, batch_size, dtype=np.int32)
    return rng.standard_normal(shape, dtype=np.float32), labels
