# SPDX-License-Identifier: Apache-2.0
"""What is trained on text: networks, data and how; the same in every process."""

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from contenders import Task, generate, networks, sequences

VOCABULARY = 65  # the characters of tiny Shakespeare


class Work(NamedTuple):
    """A language model and how it is trained."""

    title: str
    layers: tuple[int, ...]  # (embed, hidden) or (width, hidden, blocks)
    length: int
    batch_size: int
    learning_rate: float

    unit = "tokens"
    rule = "Adam"
    family = ""

    @property
    def units(self) -> int:
        """Tokens of a step."""
        return self.batch_size * self.length

    @property
    def shape(self) -> str:
        """Of an example, in words."""
        return f"{self.length} characters"

    def weights(self, seed: int) -> sequences.LSTM | sequences.Transformer:
        """Where all contenders begin."""
        rng = np.random.default_rng(seed)
        first, second, *blocks = self.layers
        if not blocks:
            return sequences.lstm(VOCABULARY, first, second, rng)
        sizes = self.length, first, second, blocks[0]
        return sequences.transformer(VOCABULARY, *sizes, rng)

    def parameters(self) -> int:
        """How many numbers are learned."""
        return networks.parameters(self.weights(0))

    def flops(self) -> int:
        """Operations of a step."""
        return self.batch_size * sequences.flops(self.weights(0), self.length)

    def data(self, examples: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Pieces of a text, and the same pieces one character further."""
        ids = text(examples * self.length + 1, seed)
        shape = examples, self.length
        return ids[:-1].reshape(shape), ids[1:].reshape(shape)

    def prompt(self, rows: int, seed: int) -> np.ndarray:
        """The beginnings of so many pieces of the text, `[rows, P]`."""
        return self.data(rows, seed)[0][:, : generate.PROMPT]

    def task(self, steps: int, seed: int, shuffle: bool, backend: str) -> Task:
        """An epoch of some steps as a contender's task."""
        return Task(
            *self.data(steps * self.batch_size, seed),
            self.weights(seed),
            self.batch_size,
            self.learning_rate,
            seed,
            shuffle=shuffle,
            backend=backend,
            adam=True,
        )


def text(count: int, seed: int) -> np.ndarray:
    """The first characters of tiny Shakespeare as ids, from the beginning if it ends.

    Where `$JAXNN_DATA/tiny-shakespeare/input.txt` is not there, as many random ids,
    each one of the eight that can follow the one before it.
    """
    if (path := shakespeare()) is None:
        steps = np.random.default_rng(seed).integers(1, 9, count)
        return (np.cumsum(steps) % VOCABULARY).astype(np.int32)
    letters = np.frombuffer(path.read_bytes(), np.uint8)
    ids = np.unique(letters, return_inverse=True)[1]
    return np.resize(ids, count).astype(np.int32)


def shakespeare() -> Path | None:
    """The file, where it is."""
    root = os.environ.get("JAXNN_DATA")
    path = Path(root or "").expanduser() / "tiny-shakespeare" / "input.txt"
    return path if root and path.exists() else None


FULL = {
    "lstm": Work(
        "Character LSTM 64-256-65",
        layers=(64, 256),
        length=64,
        batch_size=64,
        learning_rate=2e-3,
    ),
    "transformer": Work(
        "Transformer of 4 blocks, 256 wide, hidden 1024, 4 heads",
        layers=(256, 1024, 4),
        length=128,
        batch_size=16,
        learning_rate=5e-4,
    ),
}

SMALL = {
    "lstm": FULL["lstm"]._replace(
        title="Character LSTM 8-16-65", layers=(8, 16), length=12, batch_size=8
    ),
    "transformer": FULL["transformer"]._replace(
        title="Transformer of 2 blocks, 16 wide, hidden 32, 4 heads",
        layers=(16, 32, 2),
        length=24,
        batch_size=8,
    ),
}
