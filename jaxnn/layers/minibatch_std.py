# SPDX-License-Identifier: Apache-2.0
"""How much the examples of a batch differ, for a critic to see."""

import jax.numpy as jnp

from jaxnn import checks
from jaxnn.core import Layer, only_shapes
from jaxnn.messages.phrases import describe
from jaxnn.ops.norm import moments, wide


class MinibatchStd(Layer):
    """Append a channel that says how much the examples differ: C + 1 channels.

    `y = [x, avg(√(v + 1e-8))]`, where v is the variance of each feature over a group of
    examples, neighbors in the batch, and the average is over all features and
    positions: one number for each group. A critic thus sees it when all that a
    generator makes is alike. Examples of a group depend on one another, outside
    training too.

    Args:
        group: the number of examples in a group; a smaller batch is one group.

    Raises:
        ValueError: if the batch is larger than a group and not made of whole groups.

    Reference: Karras et al., Progressive Growing of GANs for Improved Quality,
    Stability, and Variation, 2018.

    >>> import jax.numpy as jnp, jaxnn as nn
    >>> x = jnp.array([[1.0], [3.0], [5.0], [5.0]])
    >>> y, _ = nn.MinibatchStd(2).apply({}, {}, x)
    >>> (100 * y).round().tolist()
    [[100.0, 100.0], [300.0, 100.0], [500.0, 0.0], [500.0, 0.0]]
    """

    with_lengths = "mixes"
    group: int = 4

    def __post_init__(self):
        checks.positive_int("MinibatchStd", "group", self.group)

    def apply(self, params, state, x, *, key=None, train=False):
        checks.batch("MinibatchStd", x)
        group = self._size(x)
        groups = wide(x).reshape(x.shape[0] // group, group, *x.shape[1:])
        # (1e-8, as in the paper, keeps the gradient finite where all are alike.)
        std = jnp.sqrt(moments(groups, (1,))[1] + 1e-8)
        std = std.mean(tuple(range(1, std.ndim)))
        std = jnp.repeat(std, group).reshape(-1, *(1,) * (x.ndim - 1))
        channel = jnp.broadcast_to(std.astype(x.dtype), (*x.shape[:-1], 1))
        return jnp.concatenate([x, channel], -1), state

    def _size(self, x) -> int:
        """The number of examples in a group of this batch."""
        examples = x.shape[0]
        group = max(1, min(self.group, examples))
        if examples % group == 0:
            return group
        if only_shapes():
            return examples
        raise ValueError(
            f"MinibatchStd: x must have whole groups of {group} examples, got "
            f"{examples}: {describe(x)}; choose a batch_size that {group} divides"
        )
