# SPDX-License-Identifier: Apache-2.0
"""What a network is told beside its input: a time, or any vector."""

from dataclasses import KW_ONLY
from typing import Any

import jax
import jax.numpy as jnp

from jaxnn import checks, initializers
from jaxnn.core import Layer
from jaxnn.messages.phrases import describe
from jaxnn.ops.attention import sinusoids
from jaxnn.ops.dense import dense


class TimeEmbedding(Layer):
    """Sinusoids of one number for each example: `[N]` to `[N, features]`.

    `y[2i] = sin(t / p^(2i/F))`, `y[2i+1] = cos(t / p^(2i/F))`, with F features and the
    period p. Nothing is learned.

    Args:
        features: the number of sinusoids, F.
        max_period: p, above 0; the slowest sinusoid takes about 2π p to come around,
            the fastest 2π. Times in [0, 1] are best multiplied, as in `1000 * t`.

    Raises:
        ValueError: `x` is not `[N]`.

    Reference: Vaswani et al., Attention Is All You Need, 2017; Ho, Jain and Abbeel,
    Denoising Diffusion Probabilistic Models, 2020.

    >>> import jax.numpy as jnp, jaxnn as nn
    >>> y, _ = nn.TimeEmbedding(2).apply({}, {}, jnp.array([0, 1]))
    >>> (100 * y).round().tolist()
    [[0.0, 100.0], [84.0, 54.0]]
    """

    with_lengths = "each"
    features: int
    max_period: float = 10_000.0

    def __post_init__(self):
        checks.positive_int("TimeEmbedding", "features", self.features)
        checks.positive("TimeEmbedding", "max_period", self.max_period)

    def init(self, key, x):
        _check_times(x)
        return {}, {}

    def apply(self, params, state, x, *, key=None, train=False):
        _check_times(x)
        dtype = x.dtype if checks.is_float(x) else jax.dtypes.canonicalize_dtype(float)
        waves = sinusoids(x.astype(dtype), self.features, self.max_period)
        return waves.astype(dtype), state


def _check_times(x: Any) -> None:
    """Raise unless there is one number for each example."""
    kinds = jnp.integer, jnp.floating
    if not hasattr(x, "dtype") or not any(jnp.issubdtype(x.dtype, k) for k in kinds):
        raise TypeError(
            "TimeEmbedding: x must be times, floats or integers, got "
            f"{describe(x):.100}"
        )
    if len(x.shape) != 1:
        fix = "; write x[:, 0]" if x.shape[1:] == (1,) else ""
        raise ValueError(
            "TimeEmbedding: x must be one number for each example, [N], got "
            f"{describe(x)}{fix}"
        )


class FiLM(Layer):
    """Scale and shift each channel by what a condition says: `y = x · (1 + s) + b`.

    `[s, b] = c w + b₀`, one number for each channel, the same at all positions. The
    input is `(x, c)`: `x` `[N, ..., C]` and the condition `c` `[N, D]`. Parameters: `w`
    `[D, 2C]`, `b` `[2C]`. They begin at 0, and the layer as the identity.

    Args:
        w_init: initializer of `w`.
        b_init: initializer of `b`.

    Raises:
        TypeError: the input is not a pair of arrays.
        ValueError: a shape does not fit, or is not that of `init`.

    Reference: Perez et al., FiLM: Visual Reasoning with a General Conditioning Layer,
    2018.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> x, c = jnp.ones((2, 8, 8, 3)), jnp.ones((2, 16))
    >>> params, state = nn.FiLM().init(jax.random.key(0), (x, c))
    >>> params["w"].shape, params["b"].shape
    ((16, 6), (6,))

    After a normalization it is that of diffusion models, AdaGN (Dhariwal and Nichol,
    Diffusion Models Beat GANs on Image Synthesis, 2021):

    >>> class AdaGN(nn.Composite):
    ...     norm: nn.Layer = nn.GroupNorm(32)
    ...     film: nn.Layer = nn.FiLM()
    ...     def forward(self, run, x):
    ...         x, condition = x
    ...         return run("film", (run("norm", x), jax.nn.silu(condition)))
    """

    with_lengths = "each"
    _: KW_ONLY
    w_init: initializers.InitializerFunction = initializers.zeros()
    b_init: initializers.InitializerFunction = initializers.zeros()

    def init(self, key, x):
        x, condition = _conditioned(x)
        features, dtype = 2 * x.shape[-1], checks.param_dtype(x)
        w_key, b_key = jax.random.split(key)
        w = self.w_init(w_key, (condition.shape[-1], features), dtype)
        return {"w": w, "b": self.b_init(b_key, (features,), dtype)}, {}

    def apply(self, params, state, x, *, key=None, train=False):
        x, condition = _conditioned(x)
        wide, features = params["w"].shape
        checks.channels("FiLM", x, features // 2)
        if condition.shape[-1] != wide:
            raise ValueError(
                f"FiLM: condition must have {wide} features, as at init, got "
                f"{describe(condition)}"
            )
        both = dense(condition.astype(x.dtype), params["w"], params["b"])
        both = jnp.expand_dims(both, tuple(range(1, x.ndim - 1)))
        scale, shift = jnp.split(both, 2, -1)
        return x * (1 + scale) + shift, state


def _conditioned(x: Any) -> tuple[Any, Any]:
    """`(x, condition)`, checked."""
    if not isinstance(x, tuple | list) or len(x) != 2:
        raise TypeError(
            f"FiLM: x must be (x, condition), two arrays, got {describe(x):.100}"
        )
    x, condition = x
    checks.batch("FiLM", x)
    checks.batch("FiLM", condition)
    if condition.ndim != 2 or condition.shape[0] != x.shape[0]:
        raise ValueError(
            "FiLM: condition must be one vector for each example of x, [N, D], got "
            f"{describe(condition)} for {describe(x)}"
        )
    return x, condition
