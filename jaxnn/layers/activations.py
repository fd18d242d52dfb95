# SPDX-License-Identifier: Apache-2.0
"""Activations with parameters; the others are functions: `jax.nn.relu`, `nn.step`."""

from dataclasses import KW_ONLY

import jax
import jax.numpy as jnp

from jaxnn import checks, initializers
from jaxnn.core import Layer
from jaxnn.ops.activations import prelu
from jaxnn.ops.dense import dense


class PReLU(Layer):
    """A ReLU whose slope for negative inputs is learned (He et al., 2015).

    `y = x` where x > 0, `scale · x` elsewhere.

    Args:
        slope: the initial value of `scale`.
        per_channel: whether to learn one slope per channel (last axis) instead of a
            single one.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> x = jnp.array([[-2.0, 4.0]])
    >>> params, _ = nn.PReLU().init(jax.random.key(0), x)
    >>> nn.PReLU().apply(params, {}, x)[0].tolist()
    [[-0.5, 4.0]]
    """

    with_lengths = "each"
    slope: float = 0.25
    _: KW_ONLY
    per_channel: bool = False

    def init(self, key, x):
        checks.batch("PReLU", x, axes=1)
        shape = x.shape[-1:] if self.per_channel else ()
        return {"scale": jnp.full(shape, self.slope, checks.param_dtype(x))}, {}

    def apply(self, params, state, x, *, key=None, train=False):
        checks.batch("PReLU", x, axes=1)
        if self.per_channel:
            checks.width("PReLU", x, params["scale"].shape[0])
        return prelu(x, params["scale"]), state


class Maxout(Layer):
    """The largest of several affine maps, `y = max_k (x w_k + b_k)`.

    Args:
        features: the number of outputs, F.
        pieces: the number of affine maps, K.
        w_init: initializer of `w`; each piece is drawn separately, as a `[C, F]`.

    Reference: Goodfellow et al., Maxout Networks, 2013.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> params, _ = nn.Maxout(3, pieces=2).init(jax.random.key(0), jnp.ones((1, 5)))
    >>> params["w"].shape, params["b"].shape
    ((2, 5, 3), (2, 3))
    """

    with_lengths = "each"
    features: int
    _: KW_ONLY
    pieces: int = 2
    w_init: initializers.InitializerFunction = initializers.glorot_uniform()

    def __post_init__(self):
        checks.positive_int("Maxout", "features", self.features)
        checks.positive_int("Maxout", "pieces", self.pieces)

    def init(self, key, x):
        checks.batch("Maxout", x, axes=1)
        shape, dtype = (x.shape[-1], self.features), checks.param_dtype(x)
        keys = jax.random.split(key, self.pieces)
        w = jnp.stack([self.w_init(k, shape, dtype) for k in keys])
        return {"w": w, "b": jnp.zeros((self.pieces, self.features), dtype)}, {}

    def apply(self, params, state, x, *, key=None, train=False):
        checks.batch("Maxout", x, axes=1)
        checks.width("Maxout", x, params["w"].shape[1])
        pieces = zip(params["w"], params["b"], strict=True)
        return jnp.stack([dense(x, w, b) for w, b in pieces]).max(0), state
