# SPDX-License-Identifier: Apache-2.0
"""Observations with mean 0 and variance 1, by statistics of all seen so far."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

#: Observations are cut off this many standard deviations from the mean.
FARTHEST = 10.0


class Statistics(NamedTuple):
    """How many numbers were seen, their mean, and their squared distances from it."""

    added: jax.Array  # []
    mean: jax.Array  # [...], of one observation
    squares: jax.Array  # [...]

    @classmethod
    def empty(cls, observation: jax.Array) -> "Statistics":
        """Those of nothing, for observations of this shape."""
        zero = jnp.zeros(observation.shape)
        return cls(jnp.zeros(()), zero, zero)

    def add(self, x: jax.Array) -> "Statistics":
        """With observations `[..., shape]` added (Chan, Golub and LeVeque, 1979)."""
        x = x.reshape(-1, *self.mean.shape)
        own, new = self.added, jnp.float32(len(x))
        mean, count = x.mean(0), own + new
        gap = mean - self.mean
        squares = (
            self.squares + ((x - mean[None]) ** 2).sum(0) + gap**2 * (own * new / count)
        )
        return Statistics(count, self.mean + gap * (new / count), squares)

    def normalized(self, x: jax.Array) -> jax.Array:
        """Observations in units of the standard deviation from the mean."""
        std = jnp.sqrt(self.squares / jnp.maximum(self.added, 1) + 1e-8)
        known = self.added > 1
        lead = (1,) * (x.ndim - self.mean.ndim)
        off = (x - self.mean.reshape(lead + self.mean.shape)) / std.reshape(
            lead + self.mean.shape
        )
        return jnp.where(known, jnp.clip(off, -FARTHEST, FARTHEST), x)
