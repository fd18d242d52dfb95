# SPDX-License-Identifier: Apache-2.0
"""Generative networks as weights: a variational auto-encoder, and two adversaries.

The auto-encoder has ReLU between dense layers, and gives a mean and a logarithm of a
variance for each number of the code. The adversaries are those of `nn.models.dcgan` for
28x28: a generator of a dense layer and two transposed convolutions of stride 2 with
batch norm and ReLU, then tanh; a critic of two convolutions of stride 2, batch norm
after the second, leaky ReLU of 0.2, and a dense layer. Kernels are 4x4.
"""

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from contenders import networks

SLOPE = 0.2  # of leaky ReLU

Affine = tuple[np.ndarray, np.ndarray]  # a matrix or a kernel, and an offset


class Norm(NamedTuple):
    """Batch norm."""

    scale: np.ndarray
    offset: np.ndarray


class VAE(NamedTuple):
    """Dense layers from data to a code and back."""

    encoder: tuple[Affine, ...]
    decoder: tuple[Affine, ...]


class Generator(NamedTuple):
    """From noise to images."""

    dense: np.ndarray  # [Z, side / 4 · side / 4 · 2 C]
    norm0: Norm
    conv1: np.ndarray  # [4, 4, 2 C, C]
    norm1: Norm
    image: Affine  # [4, 4, C, 1]


class Critic(NamedTuple):
    """From images to a score."""

    conv1: Affine  # [4, 4, 1, C]
    conv2: np.ndarray  # [4, 4, C, 2 C]
    norm2: Norm
    score: Affine  # [side / 4 · side / 4 · 2 C, 1]


class DCGAN(NamedTuple):
    """Two adversaries."""

    generator: Generator
    critic: Critic


def vae(pixels: int, sizes: tuple[int, ...], code: int, rng: Any) -> VAE:
    """First weights."""
    there = pairwise((pixels, *sizes, 2 * code))
    back = pairwise((code, *reversed(sizes), pixels))
    return VAE(
        tuple(dense(*shape, rng) for shape in there),
        tuple(dense(*shape, rng) for shape in back),
    )


def dense(channels: int, features: int, rng: Any) -> Affine:
    """He normal weights, halved, and an offset of 0."""
    w = 0.5 * networks.he_normal((channels, features), rng)
    return w.astype(np.float32), np.zeros(features, np.float32)


def dcgan(side: int, width: int, noise: int, rng: Any) -> DCGAN:
    """First weights, of the published deviation of 0.02."""

    def normal(*shape: int) -> np.ndarray:
        return (0.02 * rng.standard_normal(shape)).astype(np.float32)

    def norm(size: int) -> Norm:
        return Norm(np.ones(size, np.float32), np.zeros(size, np.float32))

    def zeros(size: int) -> np.ndarray:
        return np.zeros(size, np.float32)

    small = (side // 4) ** 2 * 2 * width
    generator = Generator(
        *(normal(noise, small), norm(2 * width)),
        *(normal(4, 4, 2 * width, width), norm(width)),
        (normal(4, 4, width, 1), zeros(1)),
    )
    critic = Critic(
        (normal(4, 4, 1, width), zeros(width)),
        *(normal(4, 4, width, 2 * width), norm(2 * width)),
        (normal(small, 1), zeros(1)),
    )
    return DCGAN(generator, critic)


def flops(weights: VAE | DCGAN, side: int) -> int:
    """Operations of a step on one example, a multiply-add as 2.

    The auto-encoder: forward and both gradients. The adversaries: the generator forward
    for the critic's turn and all three for its own; the critic all three on a real and
    on a made image, and all but its own gradients in the generator's turn.
    """
    if isinstance(weights, VAE):
        return 6 * sum(w.size for w, _ in (*weights.encoder, *weights.decoder))
    (dense, _, conv1, _, (image, _)), critic = weights
    half, quarter = (side // 2) ** 2, (side // 4) ** 2
    making = dense.size + quarter * conv1.size + half * image.size
    first, second = half * critic.conv1[0].size, quarter * critic.conv2.size
    judging = first + second + critic.score[0].size
    return 8 * making + 16 * judging


def by_channel(w: np.ndarray, channels: int, axis: int) -> np.ndarray:
    """A dense layer's rows or columns `(y, x, c)` in the order `(c, y, x)`."""
    side = round((w.shape[axis] // channels) ** 0.5)
    order = np.arange(w.shape[axis]).reshape(side, side, channels)
    return w.take(order.transpose(2, 0, 1).ravel(), axis)
