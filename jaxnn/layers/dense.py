# SPDX-License-Identifier: Apache-2.0
"""The fully connected layer."""

from dataclasses import KW_ONLY

from jaxnn import checks, initializers
from jaxnn.core import Layer
from jaxnn.ops.dense import dense


class Dense(Layer):
    """A fully connected layer, `y = x w + b` over the last axis.

    Args:
        features: the number of outputs, F.
        bias: whether to add a bias `b`.
        w_init: initializer of `w`, `[C, F]`.
        b_init: initializer of `b`, `[F]`.

    Raises:
        ValueError: if `x` has a different width than at `init`.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> layer = nn.Dense(10)
    >>> params, state = layer.init(jax.random.key(0), jnp.ones((2, 64)))
    >>> layer.apply(params, state, jnp.ones((2, 64)))[0].shape
    (2, 10)
    """

    with_lengths = "each"
    features: int
    _: KW_ONLY
    bias: bool = True
    w_init: initializers.InitializerFunction = initializers.glorot_uniform()
    b_init: initializers.InitializerFunction = initializers.zeros()

    def __post_init__(self):
        checks.positive_int("Dense", "features", self.features)

    def init(self, key, x):
        checks.batch("Dense", x, axes=1)
        dtype = checks.param_dtype(x)
        params = {"w": self.w_init(key, (x.shape[-1], self.features), dtype)}
        if self.bias:
            params["b"] = self.b_init(key, (self.features,), dtype)
        return params, {}

    def apply(self, params, state, x, *, key=None, train=False):
        checks.batch("Dense", x, axes=1)
        checks.width("Dense", x, params["w"].shape[0])
        return dense(x, params["w"], params["b"] if self.bias else None), state
