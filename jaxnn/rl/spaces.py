# SPDX-License-Identifier: Apache-2.0
"""What an action may be: one of so many, or numbers within bounds."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxnn.checks import is_known, positive_int
from jaxnn.keys import Key
from jaxnn.messages.phrases import describe
from jaxnn.spec import Spec


class Discrete(Spec):
    """One of `n` actions, an int from 0.

    Args:
        n: the number of actions.

    >>> import jax
    >>> Discrete(3).sample(jax.random.key(0)).shape
    ()
    """

    n: int

    def __post_init__(self):
        positive_int("Discrete", "n", self.n)

    def sample(self, key: Key) -> jax.Array:
        """A random action, int32 `[]`."""
        return jax.random.randint(key, (), 0, self.n)

    def check(self, owner: str, action: Any) -> jax.Array:
        """The action as an array; raise unless it is one of these, where known."""
        action = jnp.asarray(action)
        if action.shape or not jnp.issubdtype(action.dtype, jnp.integer):
            raise TypeError(
                f"{owner}: action must be one int from 0 to {self.n - 1}, got "
                f"{describe(action)}; map over several with jax.vmap"
            )
        if is_known(action) and not 0 <= int(action) < self.n:
            raise ValueError(
                f"{owner}: action must be from 0 to {self.n - 1}, got {int(action)}"
            )
        return action


class Box(Spec):
    """`size` numbers from `low` to `high`.

    Args:
        low, high: the bounds of each number.
        size: how many there are.

    >>> import jax
    >>> Box(-2.0, 2.0, 1).sample(jax.random.key(0)).shape
    (1,)
    """

    low: float
    high: float
    size: int

    def __post_init__(self):
        positive_int("Box", "size", self.size)
        if not self.low < self.high:
            raise ValueError(
                f"Box: low must be below high, got {self.low!r} and {self.high!r}"
            )

    def sample(self, key: Key) -> jax.Array:
        """A random action, float32 `[size]`."""
        return jax.random.uniform(key, (self.size,), minval=self.low, maxval=self.high)

    def check(self, owner: str, action: Any) -> jax.Array:
        """The action as an array; raise unless it is within the box, where known."""
        action = jnp.asarray(action)
        if action.shape != (self.size,) or jnp.issubdtype(action.dtype, jnp.bool_):
            raise TypeError(
                f"{owner}: action must be {self.size} number"
                f"{'s' if self.size > 1 else ''}, [{self.size}], got {describe(action)}"
            )
        if is_known(action):
            seen = np.asarray(action)
            if not (seen >= self.low).all() or not (seen <= self.high).all():
                raise ValueError(
                    f"{owner}: action must be from {self.low:g} to {self.high:g}, got "
                    f"{seen.tolist()}"
                )
        return action.astype(jnp.float32)


Space = Discrete | Box
