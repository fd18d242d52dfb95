# SPDX-License-Identifier: Apache-2.0
"""How many examples can be probed at once: a gradient keeps a pass in memory."""

from typing import Any

import jax

from jaxnn.core import Layer

#: What a pass with gradients may keep, in bytes: 220 examples for a ResNet-20 on
#: CIFAR-10, and all 512 for smaller networks.
MEMORY = 2**29


def rows_that_fit(net: Layer, start: Any, x: Any, least: int) -> int:
    """How many examples to probe at once: a batch of the run always fits.

    Args:
        net: a network.
        start: its `(params, state)`.
        x: the shapes of one example, `[1, ...]`.
        least: a number that training has shown to fit.
    """
    one = (_kept(net, start, x, 4) - _kept(net, start, x, 2)) / 2
    return max(least, int(MEMORY // max(one, 1.0)))


def _kept(net: Layer, start: Any, x: Any, rows: int) -> int:
    """The bytes that a pass over this many rows keeps for its gradient."""

    def residuals(params, state, x, key):
        def forward(params):
            return net.apply(params, state, x, key=key, train=True)[0]

        return jax.vjp(forward, params)[1]  # a tree of the backward pass's residuals

    def batch(a: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((rows, *a.shape[1:]), a.dtype)

    key = jax.eval_shape(lambda: jax.random.key(0))
    leaves = jax.tree.leaves(
        jax.eval_shape(residuals, *start, jax.tree.map(batch, x), key)
    )
    return sum(a.size * a.dtype.itemsize for a in leaves)
