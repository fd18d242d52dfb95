# SPDX-License-Identifier: Apache-2.0
"""Dropout."""

from jaxnn import checks
from jaxnn.core import Layer
from jaxnn.keys import check_key
from jaxnn.ops.dropout import dropout


class Dropout(Layer):
    """In training, zero each number at random; the rest grows to make up for it.

    `y = x · m / (1 - rate)` with m drawn anew at each call; outside training `y = x`.

    Args:
        rate: probability of dropping, 0 to 1.

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

    rate: float

    def __post_init__(self):
        checks.probability("Dropout", "rate", self.rate)

    def apply(self, params, state, x, *, key=None, train=False):
        checks.batch("Dropout", x, axes=1)
        if not train or self.rate == 0:
            return x, state
        if key is None:
            raise TypeError(
                "Dropout: training needs a random key and none was given; "
                "pass net.apply(..., key=jax.random.key(seed), train=True)"
            )
        check_key(key, "Dropout")
        return dropout(x, key, self.rate), state
