# SPDX-License-Identifier: Apache-2.0
"""Batch normalization."""

import math
from dataclasses import KW_ONLY
from typing import Any

import jax
import jax.numpy as jnp

from jaxnn import checks
from jaxnn.core import Layer, only_shapes
from jaxnn.inputs.steps import blank, real
from jaxnn.layers.norm import (
    affine,
    array_and_lengths,
)
from jaxnn.messages.phrases import describe
from jaxnn.ops.norm import (
    batch_norm,
    batch_norm_in_training,
    batch_norm_of_real_steps,
)


class BatchNorm(Layer):
    """Normalize each channel: `y = (x - m) / √(v + eps) · scale + offset`.

    In training, m and v are the mean and the variance over the batch and all positions.
    The state keeps running averages of them, which evaluation uses:
    `mean = momentum · mean + (1 - momentum) · m`, and `var` likewise with the unbiased
    v · n / (n - 1). For `(x, lengths)`, `x` `[N, T, ..., C]`, only the real steps
    count.

    Args:
        eps: a small number that prevents division by zero.
        momentum: the fraction of the running statistics kept at each step, 0 to 1.
        scale: whether to learn a `scale`, `[C]`, initially 1.
        offset: whether to learn an `offset`, `[C]`, initially 0.
        axis_name: a mapped axis (of `jax.vmap` or `jax.shard_map`), or several, over
            which the batch is split into equal parts; the statistics are then those of
            the whole batch. A jitted program over sharded arrays needs no name.

    Raises:
        ValueError: if `x` has a different number of channels than at `init`, or a
            single value per channel in training.

    Reference: Ioffe and Szegedy, Batch Normalization, 2015.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> layer, x = nn.BatchNorm(momentum=0.875), jnp.array([[1.0], [3.0]])
    >>> params, state = layer.init(jax.random.key(0), x)
    >>> y, state = layer.apply(params, state, x, train=True)
    >>> y.round(3).tolist(), float(state["mean"][0]), float(state["var"][0])
    ([[-1.0], [1.0]], 0.25, 1.125)
    """

    with_lengths = "uses"
    _: KW_ONLY
    eps: float = 1e-5
    momentum: float = 0.9
    scale: bool = True
    offset: bool = True
    axis_name: str | tuple[str, ...] | None = None

    def __post_init__(self):
        checks.positive("BatchNorm", "eps", self.eps)
        checks.probability("BatchNorm", "momentum", self.momentum)
        checks.switches("BatchNorm", scale=self.scale, offset=self.offset)
        name = self.axis_name
        names = name if isinstance(name, tuple) else (name,)
        if name is not None and not all(isinstance(n, str) for n in names):
            raise TypeError(
                "BatchNorm: axis_name must be a name of a mapped axis, a tuple of "
                f"names or None, got {name!r}"
            )

    def init(self, key, x):
        x, _ = array_and_lengths("BatchNorm", x)
        shape, dtype = x.shape[-1:], checks.param_dtype(x)
        state = {"mean": jnp.zeros(shape, dtype), "var": jnp.ones(shape, dtype)}
        return affine(x, scale=self.scale, offset=self.offset), state

    def apply(self, params, state, x, *, key=None, train=False):
        x, lengths = array_and_lengths("BatchNorm", x)
        checks.width("BatchNorm", x, state["mean"].shape[0])
        x, where = blank(x, lengths), real(x, lengths)
        if not train:
            return batch_norm(x, **state, **params, eps=self.eps), state
        axis_name = self._mapped_axis()
        options = {**params, "eps": self.eps, "axis_name": axis_name}
        count: Any = self._count(x, axis_name)
        if where is None:
            y, mean, var = batch_norm_in_training(x, **options)
        else:
            y, mean, var, count = batch_norm_of_real_steps(x, where, **options)
            count = jnp.maximum(count, 2)  # one step has no variance to correct
        return y, self._running(state, mean, var * (count / (count - 1)))

    def _running(self, state, mean, var):
        """The running statistics after one more batch; they pass no gradient."""

        def mix(old, new):
            new = jax.lax.stop_gradient(new).astype(old.dtype)
            return self.momentum * old + (1 - self.momentum) * new

        return {"mean": mix(state["mean"], mean), "var": mix(state["var"], var)}

    def _mapped_axis(self) -> Any:
        """`axis_name`, after checking that such an axis is mapped around the call."""
        try:
            if self.axis_name is not None:
                jax.lax.psum(1, self.axis_name)
        except NameError:
            if only_shapes():
                return None
            raise ValueError(
                f"BatchNorm: axis_name={self.axis_name!r} must be an axis mapped "
                "around the call, by jax.vmap(..., axis_name=...) or jax.shard_map "
                "over a mesh; here there is none of that name, so leave it out"
            ) from None
        return self.axis_name

    def _count(self, x: Any, axis_name: Any) -> int:
        """The number of values per channel, on all devices together."""
        parts = 1 if axis_name is None else jax.lax.psum(1, axis_name)
        count = math.prod(x.shape[:-1]) * parts
        if count < 2 and not only_shapes():
            raise ValueError(
                "BatchNorm: training needs more than one value per channel, got "
                f"{count}: {describe(x)}; use a larger batch or larger pictures, leave "
                "out a last batch of one example, or apply with train=False"
            )
        return max(count, 2)
