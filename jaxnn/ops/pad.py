# SPDX-License-Identifier: Apache-2.0
"""Images continued beyond their edges, or cropped."""

import jax
import jax.numpy as jnp
from jax import lax

from jaxnn.ops.windows import Pads

#: How an image continues beyond its edges, and what `jax.numpy.pad` calls it.
MODES = {
    "constant": "constant",
    "reflect": "reflect",
    "replicate": "edge",
    "circular": "wrap",
}


def pad(
    x: jax.Array, pads: Pads, mode: str = "constant", value: float = 0.0
) -> jax.Array:
    """Continue an image beyond its edges; where a pad is negative, crop it first.

    Args:
        x: `[N, ..., C]`.
        pads: `(before, after)` for each spatial axis.
        mode: "constant", "reflect" (mirrored without repeating the edge), "replicate"
            (the edge repeated) or "circular".
        value: the constant.

    >>> import jax.numpy as jnp
    >>> x = jnp.arange(4.0).reshape(1, 4, 1)
    >>> pad(x, ((2, -1),), "reflect")[0, :, 0].tolist()
    [2.0, 1.0, 0.0, 1.0, 2.0]
    """
    for axis, (before, after) in enumerate(pads, 1):
        ends = max(-before, 0), x.shape[axis] - max(-after, 0)
        x = lax.slice_in_dim(x, *ends, axis=axis)
    added = tuple((max(a, 0), max(b, 0)) for a, b in pads)
    if not any(map(any, added)):
        return x
    constant = {"constant_values": value} if mode == "constant" else {}
    return jnp.pad(x, ((0, 0), *added, (0, 0)), mode=MODES[mode], **constant)
