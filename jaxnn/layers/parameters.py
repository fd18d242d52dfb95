# SPDX-License-Identifier: Apache-2.0
"""Parameters on their own: an array, a factor, an offset."""

from dataclasses import KW_ONLY
from typing import Any

import jax
import jax.numpy as jnp

from jaxnn import checks, initializers
from jaxnn.core import Layer
from jaxnn.messages.phrases import describe


class Parameter(Layer):
    """An array of parameters, as a child of a custom layer: `w = run("w")`.

    Args:
        shape: the shape of the array, `w`; `()` for a single number.
        w_init: its initializer.

    `run("w")` returns the array, in the dtype of the parameters; `run("w", x)` returns
    it in the dtype of `x`, which is float32 or, in a bfloat16 network, bfloat16.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> class Affine(nn.Composite):
    ...     w: nn.Layer = nn.Parameter((3,), w_init=nn.initializers.ones())
    ...     b: nn.Layer = nn.Parameter((3,))
    ...     def forward(self, run, x):
    ...         return x * run("w", x) + run("b", x)
    >>> net, x = Affine(), jnp.ones((2, 3))
    >>> params, state = net.init(jax.random.key(0), x)
    >>> params["w"]["w"].tolist(), net.apply(params, state, x)[0].shape
    ([1.0, 1.0, 1.0], (2, 3))
    """

    with_lengths = "carries"
    shape: tuple[int, ...]
    _: KW_ONLY
    w_init: initializers.InitializerFunction = initializers.zeros()

    def __post_init__(self):
        sizes = self.shape if isinstance(self.shape, tuple | list) else (0,)
        if not all(map(checks.is_positive_int, sizes)):
            raise ValueError(
                "Parameter: shape must be a tuple of positive ints, such as (3,) or () "
                f"for a single number, got {self.shape!r:.60}"
            )

    def init(self, key, x):
        given = getattr(x, "x", x)  # sequences with lengths
        dtype = checks.param_dtype(given) if hasattr(given, "dtype") else jnp.float32
        return {"w": self.w_init(key, self.shape, dtype)}, {}

    def apply(self, params, state, x, *, key=None, train=False):
        w, given = params["w"], getattr(x, "x", x)
        if w.shape != tuple(self.shape):
            raise ValueError(
                f"Parameter: w must be {list(self.shape)}, as shape says, got "
                f"{describe(w)}"
            )
        as_given = hasattr(given, "dtype") and checks.is_float(given)
        return w.astype(given.dtype) if as_given else w, state


class Scale(Layer):
    """A learned factor for each feature or channel: `y = scale · x`.

    Args:
        scale_init: the initializer of `scale`, `[C]` for `x` `[N, ..., C]`.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> params, _ = nn.Scale().init(jax.random.key(0), jnp.ones((2, 3)))
    >>> params["scale"].tolist()
    [1.0, 1.0, 1.0]
    """

    with_lengths = "each"
    scale_init: initializers.InitializerFunction = initializers.ones()

    def init(self, key, x):
        return {"scale": _one_per_channel("Scale", self.scale_init, key, x)}, {}

    def apply(self, params, state, x, *, key=None, train=False):
        return x * _broadcast("Scale", params["scale"], x), state


class Bias(Layer):
    """A learned offset for each feature or channel: `y = x + b`.

    Args:
        b_init: the initializer of `b`, `[C]` for `x` `[N, ..., C]`.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> params, _ = nn.Bias().init(jax.random.key(0), jnp.ones((2, 3)))
    >>> params["b"].tolist()
    [0.0, 0.0, 0.0]
    """

    with_lengths = "each"
    b_init: initializers.InitializerFunction = initializers.zeros()

    def init(self, key, x):
        return {"b": _one_per_channel("Bias", self.b_init, key, x)}, {}

    def apply(self, params, state, x, *, key=None, train=False):
        return x + _broadcast("Bias", params["b"], x), state


def _one_per_channel(owner: str, make: Any, key: jax.Array, x: Any) -> jax.Array:
    checks.batch(owner, x)
    return make(key, x.shape[-1:], checks.param_dtype(x))


def _broadcast(owner: str, values: jax.Array, x: jax.Array) -> jax.Array:
    """One value for each channel, in the shape and dtype of `x`."""
    checks.batch(owner, x)
    checks.channels(owner, x, values.shape[0])
    return jnp.broadcast_to(values.astype(x.dtype), x.shape)
