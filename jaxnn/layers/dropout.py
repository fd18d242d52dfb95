# SPDX-License-Identifier: Apache-2.0
"""Dropout."""

import jax.numpy as jnp

from jaxnn import checks
from jaxnn.core import Layer, needed_key
from jaxnn.ops.dropout import alpha_dropout, dropout


class Dropout(Layer):
    """In training, zero random elements and scale up the rest to compensate.

    `y = x · m / (1 - rate)`, with a new random mask m in each call; outside training,
    `y = x`.

    Args:
        rate: the probability of dropping an element, 0 to 1.

    Raises:
        TypeError: in training without a key.

    Reference: Srivastava et al., Dropout, 2014.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> layer, x = nn.Dropout(0.5), jnp.ones((1, 100))
    >>> y, _ = layer.apply({}, {}, x, key=jax.random.key(1), train=True)
    >>> sorted(set(y[0].tolist()))
    [0.0, 2.0]
    >>> bool((layer.apply({}, {}, x)[0] == x).all())
    True
    """

    with_lengths = "each"
    rate: float

    def __post_init__(self):
        checks.probability("Dropout", "rate", self.rate)

    def apply(self, params, state, x, *, key=None, train=False):
        checks.batch("Dropout", x, axes=1)
        if not train or checks.is_zero(self.rate):
            return x, state
        return dropout(x, needed_key("Dropout", key), self.rate), state


class AlphaDropout(Layer):
    """Dropout for networks of `jax.nn.selu`, which keeps their mean and variance.

    In training, random elements become the value that SELU tends to on the left, −λα,
    about −1.758; then `y = a x + b` gives all of them mean 0 and variance 1 again, if
    `x` had those. Outside training, `y = x`.

    Args:
        rate: the probability of dropping an element, 0 to 1; at 1, `y = 0`.

    Raises:
        TypeError: in training without a key.

    Reference: Klambauer et al., Self-Normalizing Neural Networks, 2017.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> layer, x = nn.AlphaDropout(0.5), jnp.ones((1, 100))
    >>> y, _ = layer.apply({}, {}, x, key=jax.random.key(1), train=True)
    >>> print(jnp.unique(y).round(2))
    [-0.78  1.67]
    """

    with_lengths = "each"
    rate: float

    def __post_init__(self):
        checks.probability("AlphaDropout", "rate", self.rate)

    def apply(self, params, state, x, *, key=None, train=False):
        checks.batch("AlphaDropout", x, axes=1)
        if not train or checks.is_zero(self.rate):
            return x, state
        return alpha_dropout(x, needed_key("AlphaDropout", key), self.rate), state


class SpatialDropout(Layer):
    """In training, zero random channels of each example and scale up the rest.

    Neighboring positions carry nearly the same information, so dropping single ones
    would drop little. Here `y = x · m / (1 - rate)`, with the same m for all positions
    of a channel, drawn anew for each example in each call; outside training, `y = x`.

    Args:
        rate: the probability of dropping a channel, 0 to 1.

    Raises:
        TypeError: in training without a key.

    Reference: Tompson et al., Efficient Object Localization Using Convolutional
    Networks, 2015.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> layer, x = nn.SpatialDropout(0.5), jnp.ones((1, 2, 50))
    >>> y, _ = layer.apply({}, {}, x, key=jax.random.key(1), train=True)
    >>> sorted(set(y[0, 0].tolist())), bool((y[0, 0] == y[0, 1]).all())
    ([0.0, 2.0], True)
    """

    with_lengths = "each"
    rate: float

    def __post_init__(self):
        checks.probability("SpatialDropout", "rate", self.rate)

    def apply(self, params, state, x, *, key=None, train=False):
        checks.batch("SpatialDropout", x, axes=3)
        if not train or checks.is_zero(self.rate):
            return x, state
        one_a_channel = (x.shape[0], *(1,) * (x.ndim - 2), x.shape[-1])
        ones, key = jnp.ones(one_a_channel, x.dtype), needed_key("SpatialDropout", key)
        return x * dropout(ones, key, self.rate), state
