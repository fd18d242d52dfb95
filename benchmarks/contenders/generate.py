# SPDX-License-Identifier: Apache-2.0
"""Language models that write: a file a library, in a way that is natural there."""

import importlib
import importlib.util
from typing import Any, NamedTuple

import numpy as np

PROMPT = 16  # characters that are given
COMPARED = 16  # tokens in which all must agree
BATCH_SIZES = 1, 16


class Entry(NamedTuple):
    """Where a generator is found."""

    module: str  # in this package
    library: str  # as it is imported
    works: tuple[str, ...] = ("lstm", "transformer")


ENTRIES = {
    "jaxnn": Entry("jaxnn_generate", "jaxnn"),
    "raw-scan": Entry("raw_generate", "jax"),
    "flax": Entry("flax_generate", "flax"),
    "equinox": Entry("equinox_generate", "equinox", ("lstm",)),
    "haiku": Entry("haiku_generate", "haiku", ("lstm",)),
    "torch": Entry("torch_generate", "torch"),
}


class Generator:
    """Goes on from a prompt, each time with the likeliest token.

    Attributes:
        title: how it does that, in a few words.
    """

    title: str

    def __init__(self, weights: Any, backend: str):
        raise NotImplementedError

    def generate(self, prompt: np.ndarray, tokens: int) -> np.ndarray:
        """From ids `[N, P]` to the ids that follow, `[N, tokens]`, on the host."""
        raise NotImplementedError


def load(name: str) -> type[Generator]:
    """A generator's class; its library is imported here and not before."""
    return importlib.import_module(f"contenders.{ENTRIES[name].module}").Generator
