# SPDX-License-Identifier: Apache-2.0
"""Mirrored images, and images with a masked square."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from jaxnn.data.augment.base import Augmentation, each, number, whole


@dataclass(frozen=True, repr=False)
class flip(Augmentation):
    """Mirrors left and right with probability `rate`.

    Args:
        rate: from 0 to 1.
        vertical: flip upside down instead.
        range: see `Augmentation`.

    >>> import jax, jax.numpy as jnp
    >>> flip(1.0)(jax.random.key(0), jnp.array([[[[1.0], [2.0]]]])).ravel().tolist()
    [2.0, 1.0]
    """

    rate: float = 0.5
    vertical: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        number(self.name, "rate", self.rate, high=1)

    def draw(self, key: jax.Array, n: int) -> jax.Array:
        """Which images to flip, bool `[n]`."""
        return jax.random.bernoulli(key, float(self.rate), (n,))

    def change(self, key, images):
        mirrored = jnp.flip(images, 1 if self.vertical else 2)
        return jnp.where(each(self.draw(key, len(images))), mirrored, images)


@dataclass(frozen=True, repr=False)
class cutout(Augmentation):
    """Fills a random square with one value, with probability `rate`.

    Its center is any pixel, so that less of it is visible at the borders.

    Args:
        size: the side in pixels, an int of at least 1.
        rate: from 0 to 1.
        fill: the value.
        range: see `Augmentation`.

    Reference: DeVries and Taylor, Improved Regularization of Convolutional Neural
    Networks with Cutout, 2017 (size 16 on CIFAR-10).

    >>> import jax, jax.numpy as jnp
    >>> cutout(8)(jax.random.key(0), jnp.ones((4, 28, 28, 1))).shape
    (4, 28, 28, 1)
    """

    size: int
    rate: float = 1.0
    fill: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        whole(self.name, "size", self.size, low=1)
        number(self.name, "rate", self.rate, high=1)
        number(self.name, "fill", self.fill, low=-float("inf"))

    def change(self, key, images):
        key, rate_key = jax.random.split(key)
        hidden = square(key, images.shape, jnp.full(len(images), self.size))
        drawn = jax.random.bernoulli(rate_key, float(self.rate), (len(images),))
        return jnp.where(hidden & each(drawn), self.fill, images)


def square(key: jax.Array, shape: tuple[int, ...], sides: jax.Array) -> jax.Array:
    """Whether a pixel lies in the image's random square, bool `[N, H, W, 1]`.

    Args:
        key: a random key.
        shape: the shape of the images, `[N, H, W, C]`.
        sides: int32 `[N]` in pixels, or `[N, 2]`: height and width.
    """
    inside = []
    sides = jnp.broadcast_to(sides.reshape(len(sides), -1), (len(sides), 2))
    for axis, axis_key in zip((1, 2), jax.random.split(key), strict=True):
        n, length, side = shape[0], shape[axis], sides[:, axis - 1 : axis]
        start = jax.random.randint(axis_key, (n, 1), 0, length) - side // 2
        place = jnp.broadcast_to(jnp.arange(length), (n, length))
        inside.append((place >= start) & (place < start + side))
    return (inside[0][:, :, None] & inside[1][:, None, :])[..., None]
