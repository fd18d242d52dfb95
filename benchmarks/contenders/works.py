# SPDX-License-Identifier: Apache-2.0
"""What is trained on pictures: networks, data and how; the same in every process."""

from typing import Any, NamedTuple

import numpy as np

from contenders import Task, generative_works, networks, sequence_works

CLASSES = 10


class Work(NamedTuple):
    """A network and how it is trained."""

    title: str
    image: tuple[int, int, int]  # height, width, channels
    layers: tuple  # of a plain network (maps, widths), of a residual (width, blocks)
    batch_size: int
    learning_rate: float
    momentum: float

    unit = "images"
    family = ""

    @property
    def rule(self) -> str:
        """How it is trained, in words."""
        return f"SGD of momentum {self.momentum}" if self.momentum else "SGD"

    @property
    def units(self) -> int:
        """Images of a step."""
        return self.batch_size

    @property
    def shape(self) -> str:
        """Of an example, in words."""
        return "x".join(map(str, self.image))

    def parameters(self) -> int:
        """How many numbers are learned."""
        return networks.parameters(self.weights(0))

    def flops(self) -> int:
        """Operations of a step."""
        return self.batch_size * networks.flops(self.weights(0), self.image)

    def weights(self, seed: int) -> Any:
        """Where all contenders begin."""
        rng, (first, second) = np.random.default_rng(seed), self.layers
        if isinstance(first, tuple):
            return networks.plain(self.image, first, (*second, CLASSES), rng)
        return networks.residual(self.image[-1], first, second, CLASSES, rng)

    def data(self, examples: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Pictures of ten patterns under noise, and which pattern it is.

        A fifth of the classes are wrong, so that the loss does not come near 0.
        """
        rng, (height, width, channels) = np.random.default_rng(seed), self.image
        coarse = rng.standard_normal((CLASSES, 4, 4, channels), dtype=np.float32)
        sizes = -(-height // 4), -(-width // 4)
        patterns = coarse.repeat(sizes[0], 1).repeat(sizes[1], 2)[:, :height, :width]
        labels = rng.integers(0, CLASSES, examples, dtype=np.int32)
        images = rng.standard_normal((examples, *self.image), dtype=np.float32)
        images = 0.3 * (images + patterns[labels])
        wrong = rng.random(examples) < 0.2
        labels[wrong] = rng.integers(0, CLASSES, wrong.sum(), dtype=np.int32)
        return images, labels

    def task(self, steps: int, seed: int, shuffle: bool, backend: str) -> Task:
        """An epoch of some steps as a contender's task."""
        return Task(
            *self.data(steps * self.batch_size, seed),
            self.weights(seed),
            self.batch_size,
            self.learning_rate,
            seed,
            self.momentum,
            shuffle,
            backend,
        )


FULL = {
    "cnn": Work(
        "CNN 32c3-pool-64c3-pool-128-10",
        image=(28, 28, 1),
        layers=((32, 64), (128,)),
        batch_size=128,
        learning_rate=0.1,
        momentum=0.0,
    ),
    "resnet20": Work(
        "ResNet-20, projection shortcuts",
        image=(32, 32, 3),
        layers=(16, 3),
        batch_size=64,
        learning_rate=0.05,
        momentum=0.9,
    ),
}

SMALL = {
    "cnn": FULL["cnn"]._replace(
        title="CNN 4c3-pool-8c3-pool-16-10",
        image=(12, 12, 1),
        layers=((4, 8), (16,)),
        batch_size=16,
    ),
    "resnet20": FULL["resnet20"]._replace(
        title="ResNet-8 of width 4, projection shortcuts",
        image=(8, 8, 3),
        layers=(4, 1),
        batch_size=16,
    ),
}


def find(name: str, small: bool) -> Work | sequence_works.Work | generative_works.Work:
    """A work on pictures, on text, or a generative one, by name."""
    if small:
        return (SMALL | sequence_works.SMALL | generative_works.SMALL)[name]
    return (FULL | sequence_works.FULL | generative_works.FULL)[name]
