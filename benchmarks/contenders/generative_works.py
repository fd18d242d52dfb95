# SPDX-License-Identifier: Apache-2.0
"""What is trained to generate: networks, data and how; the same in every process.

Each example brings its own random numbers, so that all contenders draw the same: the
"labels" of a task are the noise of the code, `[N, Z]`, or of both turns, `[N, 2, Z]`.
"""

from typing import NamedTuple

import numpy as np

from contenders import Task, generative, networks


class Work(NamedTuple):
    """A generative network and how it is trained."""

    title: str
    kind: str
    side: int
    layers: tuple[int, ...]  # dense layers of an auto-encoder; the width of adversaries
    noise: int
    batch_size: int
    learning_rate: float

    unit = "images"
    rule = "Adam"
    family = "generative"

    @property
    def units(self) -> int:
        """Images of a step."""
        return self.batch_size

    @property
    def shape(self) -> str:
        """Of an example, in words."""
        return f"{self.side}x{self.side}"

    def weights(self, seed: int) -> generative.VAE | generative.DCGAN:
        """Where all contenders begin."""
        rng = np.random.default_rng(seed)
        if self.kind == "vae":
            return generative.vae(self.side**2, self.layers, self.noise, rng)
        return generative.dcgan(self.side, *self.layers, self.noise, rng)

    def parameters(self) -> int:
        """How many numbers are learned."""
        return networks.parameters(self.weights(0))

    def flops(self) -> int:
        """Operations of a step."""
        return self.batch_size * generative.flops(self.weights(0), self.side)

    def task(self, steps: int, seed: int, shuffle: bool, backend: str) -> Task:
        """An epoch of some steps as a contender's task.

        The images are blots of random place and width, 0 to 1; -1 to 1 for adversaries.
        """
        rng, n = np.random.default_rng(seed), steps * self.batch_size
        line = np.linspace(-1, 1, self.side)
        middle = rng.uniform(-0.6, 0.6, (n, 2, 1))
        y, x = np.moveaxis((line - middle) ** 2, 1, 0)
        width = rng.uniform(0.05, 0.3, (n, 1, 1))
        images = np.exp(-(y[:, :, None] + x[:, None]) / width).astype(np.float32)
        turns = () if self.kind == "vae" else (2,)
        noise = rng.standard_normal((n, *turns, self.noise)).astype(np.float32)
        if self.kind == "vae":
            images = images.reshape(n, -1)
        else:
            images = 2 * images[..., None] - 1
        weights, rate = self.weights(seed), self.learning_rate
        options = {"shuffle": shuffle, "backend": backend, "adam": True}
        return Task(images, noise, weights, self.batch_size, rate, seed, **options)


VAE = Work(
    "Auto-encoder 784-400-20-400-784",
    kind="vae",
    side=28,
    layers=(400,),
    noise=20,
    batch_size=128,
    learning_rate=1e-3,
)
SMALL_VAE = VAE._replace(
    title="Auto-encoder 64-16-4-16-64", side=8, layers=(16,), noise=4, batch_size=16
)

FULL = {
    "vae": VAE,
    "deep_vae": VAE._replace(
        title="Auto-encoder 784-512-256-32-256-512-784", layers=(512, 256), noise=32
    ),
    "dcgan": Work(
        "DCGAN of width 64",
        kind="dcgan",
        side=28,
        layers=(64,),
        noise=64,
        batch_size=64,
        learning_rate=2e-4,
    ),
}

SMALL = {
    "vae": SMALL_VAE,
    "deep_vae": SMALL_VAE._replace(
        title="Auto-encoder 64-16-8-4-8-16-64", layers=(16, 8)
    ),
    "dcgan": FULL["dcgan"]._replace(
        title="DCGAN of width 4", side=8, layers=(4,), noise=8, batch_size=16
    ),
}
