# SPDX-License-Identifier: Apache-2.0
"""Elastic distortion: as if the paper were rubber."""

import functools
import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from jaxnn.data.augment.base import number
from jaxnn.data.augment.geometric import Geometric, sample

#: Of the variance along an axis, what the smallest terms may leave out.
LEFT_OUT = 1e-3


@dataclass(frozen=True, repr=False)
class elastic(Geometric):
    """Each pixel moved by a smooth random field: α times Gaussian-filtered noise.

    The noise is uniform from −1 to 1; the filter's standard deviation is σ pixels, and
    the picture's border does not weaken it. A pixel moves by α / (2 √(3π) σ) in root
    mean square along each axis: 1.4 pixels for the paper's α = 34, σ = 4.

    A filtered field is normal in effect, and smooth, so that few numbers describe it:
    it is drawn as A Z Bᵀ, in which A and B hold the main terms of the field's known
    covariance along either axis (the Karhunen-Loève expansion; they keep 99.9 % of the
    variance). For σ = 4 on 28x28 pixels that is 7x7 normal numbers and two small
    products, in place of 784 numbers and two filters.

    Args:
        alpha: the noise's strength, in pixels.
        sigma: the filter's standard deviation, in pixels, above 0: with a small one the
            strokes tear, with a large one the whole picture moves.
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
    """`[length, terms]`: times normal numbers, white noise after a Gaussian filter."""
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
    # What is left out must weaken no pixel: each has the filter's own variance.
    found *= np.sqrt(covariance[0] / np.square(found).sum(1, keepdims=True))
    return found.astype(np.float32)
