# SPDX-License-Identifier: Apache-2.0
"""The cosine to each class, for losses of angles."""

from dataclasses import KW_ONLY

from jaxnn import checks, initializers
from jaxnn.core import Layer
from jaxnn.ops.norm import unit, wide


class CosineLogits(Layer):
    """The cosine of the angle to a learned vector of each class, `[N, K]`.

    `y = x · w_k / (‖x‖ ‖w_k‖)`, over the last axis, where a norm below 1e-6 is treated
    as 1e-6. `nn.losses.arc_face` takes these cosines; `softmax_cross_entropy` takes a
    multiple, such as 16 of them. Parameter: `w`, `[C, K]`.

    Args:
        classes: K.
        w_init: initializer of `w`.

    Raises:
        ValueError: if `x` has a different width than at `init`.

    Reference: Wang et al., NormFace: L2 Hypersphere Embedding for Face Verification,
    2017.

    >>> import jax.numpy as jnp, jaxnn as nn
    >>> params = {"w": jnp.array([[3.0, 0.0], [0.0, 2.0]])}
    >>> y, _ = nn.CosineLogits(2).apply(params, {}, jnp.array([[3.0, 4.0]]))
    >>> (100 * y).round().tolist()
    [[60.0, 80.0]]
    """

    with_lengths = "each"
    classes: int
    _: KW_ONLY
    w_init: initializers.InitializerFunction = initializers.glorot_uniform()

    def __post_init__(self):
        checks.positive_int("CosineLogits", "classes", self.classes)

    def init(self, key, x):
        checks.batch("CosineLogits", x, axes=1)
        shape = (x.shape[-1], self.classes)
        return {"w": self.w_init(key, shape, checks.param_dtype(x))}, {}

    def apply(self, params, state, x, *, key=None, train=False):
        checks.batch("CosineLogits", x, axes=1)
        checks.width("CosineLogits", x, params["w"].shape[0])
        units, classes = unit(wide(x)), unit(params["w"], 0)
        return (units @ classes.astype(units.dtype)).astype(x.dtype), state
