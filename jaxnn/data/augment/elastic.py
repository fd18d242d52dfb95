# SPDX-License-Identifier: Apache-2.0
"""Elastic distortion, as if the image were printed on rubber."""

import functools
import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from jaxnn.data.augment.base import number
from jaxnn.data.augment.geometric import Geometric, sample

#: The share of the variance along an axis that may be left out.
LEFT_OUT = 1e-3


@dataclass(frozen=True, repr=False)
class elastic(Geometric):
    """Moves each pixel by a smooth random field: α times Gaussian-filtered noise.

    The noise is uniform from −1 to 1; the filter's standard deviation is σ pixels, and
    the image border does not weaken it. The root mean square displacement along each
    axis is α / (2 √(3π) σ): 1.4 pixels for the paper's α = 34, σ = 4.

    A filtered field is practically normal, and smooth, so that few numbers describe it:
    it is drawn as A Z Bᵀ, where A and B hold the main terms of the field's known
    covariance along each axis (the Karhunen-Loève expansion; they keep 99.9 % of the
    variance). For σ = 4 on 28x28 pixels, this takes 7x7 normal numbers and two small
    matrix products instead of 784 numbers and two filters.

    Args:
        alpha: the noise's strength, in pixels.
        sigma: the filter's standard deviation, in pixels, above 0: a small value tears
            strokes apart, a large one moves the whole image.
        fill: see `Geometric`.
        range: see `Augmentation`.

    Reference: Simard, Steinkraus and Platt, Best Practices for Convolutional Neural
    Networks Applied to Visual Document Analysis, 2003.

    >>> import jax, jax.numpy as jnp
    >>> elastic()(jax.random.key(0), jnp.ones((8, 28, 28, 1))).shape
    (8, 28, 28, 1)
    """

    alpha: float = 34.0
    sigma: float = 4.0

    def __post_init__(self) -> None:
        super().__post_init__()
        number(self.name, "alpha", self.alpha)
        number(self.name, "sigma", self.sigma, low=0.1)

    def draw(self, key: jax.Array, n: int, size: tuple[int, ...]) -> jax.Array:
        """The fields, float32 `[n, 2, H, W]`, in pixels: down and to the right."""
        rows, columns = (terms(length, self.sigma) for length in size)
        z = jax.random.normal(key, (n, 2, rows.shape[1], columns.shape[1]))
        rows, columns = jnp.asarray(rows), jnp.asarray(columns)
        field = jnp.einsum("hi,ncij,wj->nchw", rows, z, columns)
        return self.alpha / math.sqrt(3) * field

    def origins(self, key, points, on_grid):
        field = self.draw(key, len(points), points.shape[2:]).astype(points.dtype)
        if not on_grid:
            field = sample(field.transpose(0, 2, 3, 1), points, "nearest")
            field = field.transpose(0, 3, 1, 2)
        return points + field


@functools.lru_cache
def terms(length: int, sigma: float) -> np.ndarray:
    """A matrix `[length, terms]` from normal numbers to Gaussian-filtered noise."""
    reach = np.arange(-math.ceil(6 * sigma), math.ceil(6 * sigma) + 1)
    window = np.exp(-((reach / sigma) ** 2) / 2)
    window /= window.sum()
    covariance = np.zeros(max(length, 2 * len(reach)))
    covariance[: len(reach)] = np.convolve(window, window)[len(reach) - 1 :]
    apart = np.abs(np.arange(length)[:, None] - np.arange(length))
    values, vectors = np.linalg.eigh(covariance[apart])
    values, vectors = np.maximum(values[::-1], 0), vectors[:, ::-1]
    kept = 1 + np.searchsorted(np.cumsum(values), (1 - LEFT_OUT) * values.sum())
    found = vectors[:, :kept] * np.sqrt(values[:kept])
    # Rescale so that every pixel keeps the variance despite the terms left out.
    found *= np.sqrt(covariance[0] / np.square(found).sum(1, keepdims=True))
    return found.astype(np.float32)
