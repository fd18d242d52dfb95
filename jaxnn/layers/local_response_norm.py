# SPDX-License-Identifier: Apache-2.0
"""Local response normalization."""

from dataclasses import KW_ONLY

from jaxnn import checks
from jaxnn.core import Layer
from jaxnn.ops.norm import local_response_norm


class LocalResponseNorm(Layer):
    """Damp each element by its neighbors: `y = x / (k + alpha / size · s)^beta`.

    s is the sum of x² over the `size` channels around the element's own, at the same
    position.

    Args:
        size: the number of neighboring channels; if even, one more lies before.
        alpha: the weight of their mean square. (In the paper it is that of their sum:
            its 1e-4 with size 5 is 5e-4 here.)
        beta: the exponent.
        k: the constant term; 2 in the paper.

    Reference: Krizhevsky, Sutskever and Hinton, ImageNet Classification with Deep
    Convolutional Neural Networks, 2012.

    >>> import jax.numpy as jnp, jaxnn as nn
    >>> layer, x = nn.LocalResponseNorm(3, alpha=3.0, beta=1.0), jnp.ones((1, 4))
    >>> y, _ = layer.apply({}, {}, x)
    >>> bool(jnp.allclose(y, jnp.array([[1 / 3, 1 / 4, 1 / 4, 1 / 3]])))
    True
    """

    with_lengths = "each"
    size: int = 5
    _: KW_ONLY
    alpha: float = 1e-4
    beta: float = 0.75
    k: float = 1.0

    def __post_init__(self):
        checks.positive_int("LocalResponseNorm", "size", self.size)
        for name in ("alpha", "beta", "k"):
            checks.positive("LocalResponseNorm", name, getattr(self, name))

    def apply(self, params, state, x, *, key=None, train=False):
        checks.batch("LocalResponseNorm", x)
        constants = {"alpha": self.alpha, "beta": self.beta, "k": self.k}
        return local_response_norm(x, self.size, **constants), state
