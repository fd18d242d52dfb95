# SPDX-License-Identifier: Apache-2.0
"""A replay memory: the last steps of several environments, as arrays."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxnn.keys import Key
from jaxnn.rl.environment import Seen


class Replay(NamedTuple):
    """The last steps of E environments, a ring of T slots."""

    steps: Seen  # [T, E, ...]
    added: jax.Array  # int32 [], steps ever added

    @classmethod
    def empty(cls, seen: Any, slots: int) -> "Replay":
        """A memory of so many slots for steps of this shape `[E, ...]`."""
        steps = jax.tree.map(lambda a: jnp.zeros((slots, *a.shape), a.dtype), seen)
        return cls(steps, jnp.zeros((), jnp.int32))

    def add(self, seen: Seen) -> "Replay":
        """One step of all environments, in place of the oldest."""
        place = self.added % self.slots
        steps = jax.tree.map(lambda a, new: a.at[place].set(new), self.steps, seen)
        return Replay(steps, self.added + 1)

    @property
    def slots(self) -> int:
        """How many steps of each environment fit."""
        return self.steps.reward.shape[0]

    def sample(self, key: Key, batch_size: int, length: int = 1) -> Seen:
        """Pieces of episodes, `[length, batch_size, ...]`, drawn with replacement.

        A piece runs on into the next episode where one ends: look at `ended`.
        """
        slots, envs = self.steps.reward.shape
        held = jnp.minimum(self.added, slots)
        u = jax.random.randint(
            key,
            (2, batch_size),
            0,
            jnp.stack([held - length + 1, jnp.int32(envs)])[:, None],
        )
        first = self.added - held + u[0]
        rows = (first[None] + jnp.arange(length)[:, None]) % slots
        at = rows * envs + u[1][None]  # of all steps of all environments

        def take(a: jax.Array) -> jax.Array:
            flat = a.reshape(slots * envs, *a.shape[2:])
            return flat.at[at].get(mode="promise_in_bounds")

        return jax.tree.map(take, self.steps)
