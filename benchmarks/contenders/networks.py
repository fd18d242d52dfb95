# SPDX-License-Identifier: Apache-2.0
"""The networks as weights: each library builds the layers that these belong to.

A plain network is a list of `(w, b)`: a kernel `[3, 3, C, F]` is a convolution, ReLU
and 2x2 max pooling, a matrix `[C, F]` a dense layer; ReLU stands between dense layers.
A residual one is a `Residual`. Convolutions have a padding of `(kernel - 1) / 2`.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

EPS = 1e-5  # of batch norm
MOMENTUM = 0.9  # the share of the running statistics that a step keeps


class Unit(NamedTuple):
    """A convolution without bias, and its batch norm."""

    w: np.ndarray  # [K, K, C, F]
    scale: np.ndarray  # [F]
    offset: np.ndarray  # [F]


class Block(NamedTuple):
    """Two units around which the input goes; with a shortcut, of stride 2."""

    first: Unit
    second: Unit
    shortcut: Unit | None


class Residual(NamedTuple):
    """A stem, blocks, the mean over the picture, a dense layer (He et al., 2015)."""

    stem: Unit
    blocks: tuple[Block, ...]
    head: tuple[np.ndarray, np.ndarray]


def stride(block: Block) -> int:
    """The first unit's, and the shortcut's."""
    return 1 if block.shortcut is None else 2


def units(net: Residual) -> Iterator[Unit]:
    """The units in the order in which they are called."""
    yield net.stem
    for block in net.blocks:
        yield from (unit for unit in block if unit is not None)


def plain(
    image: tuple[int, int, int],
    maps: tuple[int, ...],
    widths: tuple[int, ...],
    rng: Any,
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Weights of a plain network: convolutions of `maps`, dense layers of `widths`."""
    height, width, channels = image
    shrink = 2 ** len(maps)
    flat = (height // shrink) * (width // shrink) * maps[-1]
    shapes = [(3, 3, c, f) for c, f in pairwise((channels, *maps))]
    *dense, (last, classes) = pairwise((flat, *widths))
    layers = [(he_normal(s, rng), np.zeros(s[-1], np.float32)) for s in shapes + dense]
    return [*layers, head(last, classes, rng)]


def residual(
    channels: int, width: int, blocks: int, classes: int, rng: Any
) -> Residual:
    """Weights of a ResNet for small pictures: three stages, each twice as wide."""
    stem, last, rest = unit(3, channels, width, rng), width, []
    for features in (width, 2 * width, 4 * width):
        for _ in range(blocks):
            new = None if last == features else unit(1, last, features, rng)
            first, second = (
                unit(3, last, features, rng),
                unit(3, features, features, rng),
            )
            rest.append(Block(first, second, new))
            last = features
    return Residual(stem, tuple(rest), head(last, classes, rng))


def unit(kernel: int, channels: int, features: int, rng: Any) -> Unit:
    """He normal weights, a scale of 1 and an offset of 0."""
    w = he_normal((kernel, kernel, channels, features), rng)
    return Unit(w, np.ones(features, np.float32), np.zeros(features, np.float32))


def head(channels: int, classes: int, rng: Any) -> tuple[np.ndarray, np.ndarray]:
    """Small weights, so that the first loss is about the logarithm of the classes."""
    w = 0.3 * he_normal((channels, classes), rng)
    return w.astype(np.float32), np.zeros(classes, np.float32)


def he_normal(shape: tuple[int, ...], rng: Any) -> np.ndarray:
    """Normal numbers of variance 2 / fan-in."""
    scale = (2 / np.prod(shape[:-1])) ** 0.5
    return (scale * rng.standard_normal(shape)).astype(np.float32)


def leaves(weights: Any) -> list[np.ndarray]:
    """All arrays, in the order in which they are used."""
    if weights is None:
        return []
    if isinstance(weights, np.ndarray):
        return [weights]
    return [leaf for part in weights for leaf in leaves(part)]


def parameters(weights: Any) -> int:
    """How many numbers are learned."""
    return sum(leaf.size for leaf in leaves(weights))


def flops(weights: Any, image: tuple[int, int, int]) -> int:
    """Operations of one example's step in products with weights, a multiply-add as 2.

    Forward, gradient to the weights and, but for the first layer, to the input.
    """
    products = macs(weights, image[0] * image[1])
    return 2 * (3 * sum(products) - products[0])


def macs(weights: Any, pixels: int) -> list[int]:
    """The multiply-adds of every layer's forward pass on a picture of some pixels."""
    if isinstance(weights, Residual):
        found = [pixels * weights.stem.w.size]
        for block in weights.blocks:
            pixels //= stride(block) ** 2
            found += [pixels * unit.w.size for unit in block if unit is not None]
        return [*found, weights.head[0].size]
    found = []
    for w, _ in weights:
        found.append(w.size * (pixels if w.ndim == 4 else 1))
        pixels //= 4
    return found


def oihw(w: np.ndarray) -> np.ndarray:
    """A kernel with the channels first, as PyTorch and Equinox have it."""
    return np.ascontiguousarray(w.transpose(3, 2, 0, 1))


def chw(images: np.ndarray) -> np.ndarray:
    """Pictures with the channels first; vectors stay."""
    return images.transpose(0, 3, 1, 2) if images.ndim == 4 else images


def of_chw(weights: list) -> list:
    """A plain network whose flattened pictures have their channels first.

    All matrices are `[F, C]` and all kernels `[F, C, K, K]`.
    """
    turned, maps = [], 0
    for w, b in weights:
        if w.ndim == 4:
            turned, maps = [*turned, (oihw(w), b)], w.shape[-1]
            continue
        if maps:  # of the first dense layer after pictures, which are squares
            side = round((len(w) // maps) ** 0.5)
            rows = np.arange(len(w)).reshape(side, side, maps).transpose(2, 0, 1)
            w, maps = w[rows.ravel()], 0
        turned.append((np.ascontiguousarray(w.T), b))
    return turned
