# SPDX-License-Identifier: Apache-2.0
"""Random brightness, contrast and noise."""

from dataclasses import dataclass

import jax

from jaxnn.data.augment.base import Augmentation, each, number


@dataclass(frozen=True, repr=False)
class brightness(Augmentation):
    """Adds a number from −amount to amount to all values of an image.

    Args:
        amount: a share of the range's width (of 1 without a range).
        range: see `Augmentation`; without it, values that are too light or too dark are
            not clipped.

    >>> import jax, jax.numpy as jnp
    >>> lighter = brightness(0.2, range=(0, 1))
    >>> lighter(jax.random.key(0), jnp.ones((4, 28, 28, 1))).max() <= 1
    Array(True, dtype=bool)
    """

    amount: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        number(self.name, "amount", self.amount)

    def draw(self, key: jax.Array, n: int) -> jax.Array:
        """The numbers to add, float32 `[n]`, in shares of the range's width."""
        return jax.random.uniform(key, (n,), minval=-self.amount, maxval=self.amount)

    def change(self, key, images):
        drawn = self.draw(key, len(images)).astype(images.dtype)
        return images + self.width * each(drawn)


@dataclass(frozen=True, repr=False)
class contrast(Augmentation):
    """Scales differences from the mean by a factor from 1 − amount to 1 + amount.

    Each channel has its own mean; all channels of an image share one factor.

    Args:
        amount: from 0 to 1.
        range: see `Augmentation`; without it, values that are too light or too dark are
            not clipped.

    >>> import jax, jax.numpy as jnp
    >>> contrast(0.5)(jax.random.key(0), jnp.ones((4, 28, 28, 1))).shape
    (4, 28, 28, 1)
    """

    amount: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        number(self.name, "amount", self.amount, high=1)

    def draw(self, key: jax.Array, n: int) -> jax.Array:
        """Factors, float32 `[n]`."""
        low, high = 1 - self.amount, 1 + self.amount
        return jax.random.uniform(key, (n,), minval=low, maxval=high)

    def change(self, key, images):
        factor = each(self.draw(key, len(images)).astype(images.dtype))
        mean = images.mean((1, 2), keepdims=True)
        return mean + factor * (images - mean)


@dataclass(frozen=True, repr=False)
class noise(Augmentation):
    """Adds Gaussian noise to each value.

    Args:
        amount: its standard deviation, as a share of the range's width (of 1 without a
            range).
        range: see `Augmentation`.

    >>> import jax, jax.numpy as jnp
    >>> noise(0.1)(jax.random.key(0), jnp.ones((4, 28, 28, 1))).shape
    (4, 28, 28, 1)
    """

    amount: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        number(self.name, "amount", self.amount)

    def change(self, key, images):
        drawn = jax.random.normal(key, images.shape, images.dtype)
        return images + self.amount * self.width * drawn
