# SPDX-License-Identifier: Apache-2.0
"""A layer that computes in fewer bits than its parameters have."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxnn import checks
from jaxnn.core import Wrapper
from jaxnn.messages.phrases import shown


class Mixed(Wrapper):
    """Mixed precision: computes in bfloat16 or float16, keeps parameters in float32.

    Parameters and inputs are cast for the computation and outputs are cast back, so the
    loss, the gradients, the optimizer and saved files stay in float32. Normalization
    layers compute their statistics in float32, and running statistics are kept so.
    The parameter paths are those of the layer alone.

    It saves time and memory on GPUs and TPUs. CPUs mostly have no bfloat16 arithmetic
    and are slower with it.

    Args:
        layer: any layer or function, usually a whole network.
        dtype: the dtype to compute in, `jnp.bfloat16`, or `jnp.float16`, whose range is
            narrower: training then scales the loss, as `jaxnn/train/loss_scale.py`
            says, and leaves out steps whose gradient overflows.

    Raises:
        ValueError: another dtype.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> net, x = nn.Mixed(nn.Dense(4), jnp.bfloat16), jnp.ones((2, 3))
    >>> params, state = net.init(jax.random.key(0), x)
    >>> y, _ = net.apply(params, state, x)
    >>> str(params["w"].dtype), str(y.dtype)
    ('float32', 'float32')

    Source: Micikevicius et al., Mixed Precision Training, 2018.
    """

    dtype: Any = jnp.bfloat16

    def __post_init__(self):
        super().__post_init__()
        try:
            dtype = jnp.dtype(self.dtype)
        except TypeError:
            dtype = None
        if dtype not in (jnp.bfloat16, jnp.float16):
            raise ValueError(
                "Mixed: dtype must be jnp.bfloat16 or jnp.float16, got "
                f"{shown(self.dtype)}"
            )

    @property
    def needs_loss_scale(self) -> bool:
        """Whether gradients may leave the range of the dtype."""
        return jnp.dtype(self.dtype) == jnp.float16

    def apply(self, params, state, x, *, key=None, train=False):
        own = _dtype_of(params, x)
        low = _cast((params, x), self.dtype)
        y, new = self.layer.apply(low[0], state, low[1], key=key, train=train)
        return _cast(y, own), _as_before(new, state)


def _dtype_of(params: Any, x: Any) -> Any:
    """The dtype of the parameters, or without any that of the inputs."""
    floats = filter(checks.is_float, jax.tree.leaves((params, x)))
    return next((a.dtype for a in floats), jnp.float32)


def _cast(tree: Any, dtype: Any) -> Any:
    """The tree with its floating-point numbers in another dtype."""

    def one(a):
        return a.astype(dtype) if checks.is_float(a) else a

    return jax.tree.map(one, tree)


def _as_before(new: Any, old: Any) -> Any:
    """A new state in the dtypes of the old one."""
    if jax.tree.structure(new) != jax.tree.structure(old):
        return new

    def one(a, b):
        return a.astype(b.dtype) if checks.is_float(a) else a

    return jax.tree.map(one, new, old)
