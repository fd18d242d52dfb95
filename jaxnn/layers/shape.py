# SPDX-License-Identifier: Apache-2.0
"""Layers that compute nothing: identity, flatten, reshape."""

import math
import numbers

from jaxnn.core import Layer
from jaxnn.messages.phrases import describe


class Identity(Layer):
    """The identity, `y = x`."""

    with_lengths = "carries"

    def apply(self, params, state, x, *, key=None, train=False):
        return x, state


class Flatten(Layer):
    """Flatten all axes but the batch axis: `[N, ...]` to `[N, F]`.

    >>> import jax.numpy as jnp, jaxnn as nn
    >>> nn.Flatten().apply({}, {}, jnp.ones((2, 28, 28, 1)))[0].shape
    (2, 784)
    """

    with_lengths = "mixes"

    def apply(self, params, state, x, *, key=None, train=False):
        if not getattr(x, "shape", ()):
            raise ValueError(
                f"Flatten: x must be an array [N, ...], got {describe(x):.100}"
            )
        return x.reshape(x.shape[0], math.prod(x.shape[1:])), state


class Reshape(Layer):
    """Reshape each example: `[N, ...]` to `[N, *shape]`.

    Args:
        shape: the new shape of one example; one axis may be -1.

    >>> import jax.numpy as jnp, jaxnn as nn
    >>> nn.Reshape((8, 8, -1)).apply({}, {}, jnp.ones((2, 64)))[0].shape
    (2, 8, 8, 1)
    """

    with_lengths = "mixes"
    shape: tuple[int, ...]

    def __post_init__(self):
        shape = self.shape
        whole = isinstance(shape, tuple | list) and all(
            isinstance(n, numbers.Integral) for n in shape
        )
        if not whole or any(n < -1 for n in shape) or list(shape).count(-1) > 1:
            raise ValueError(
                "Reshape: shape must be a tuple of ints with at most one -1, "
                f"got {shape!r}"
            )

    def apply(self, params, state, x, *, key=None, train=False):
        size, known = math.prod(x.shape[1:]), math.prod(n for n in self.shape if n >= 0)
        fits = size % max(known, 1) == 0 if -1 in self.shape else size == known
        if not fits:
            raise ValueError(
                f"Reshape: an example of {describe(x)} has {size} numbers, which do "
                f"not make {self.shape}"
            )
        # (An empty batch does not tell the size of an axis of -1.)
        shape = [size // max(known, 1) if n == -1 else n for n in self.shape]
        return x.reshape(x.shape[0], *shape), state
