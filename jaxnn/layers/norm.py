# SPDX-License-Identifier: Apache-2.0
"""Normalization within each example: by layer, group, instance, or root mean square."""

import math
from dataclasses import KW_ONLY
from typing import Any

import jax.numpy as jnp

from jaxnn import checks
from jaxnn.core import Layer, Params
from jaxnn.inputs.steps import blank, check_lengths, real
from jaxnn.layers.padding import unpack
from jaxnn.messages.phrases import describe
from jaxnn.ops import norm


def affine(x: Any, *, scale: bool, offset: bool) -> Params:
    """The parameters of `y = scale · x + offset`, per channel, initially 1 and 0."""
    shape, dtype = x.shape[-1:], checks.param_dtype(x)
    params = {"scale": jnp.ones(shape, dtype)} if scale else {}
    return params | ({"offset": jnp.zeros(shape, dtype)} if offset else {})


def check_channels(owner: str, x: Any, params: Params) -> None:
    """Raise unless `x` has as many channels as the parameters."""
    for a in params.values():
        checks.width(owner, x, a.shape[0])


def array_and_lengths(owner: str, x: Any, axes: int = 2) -> tuple[Any, Any]:
    """The array of a batch, and the lengths of its sequences or None.

    Args:
        owner: the caller's name, for messages.
        x: an array `[N, ..., C]`, or a pair `(x, lengths)` of at least `[N, T, C]`.
        axes: the smallest number of axes that the array may have.
    """
    x, lengths, _ = unpack(x)
    checks.batch(owner, x, axes=axes if lengths is None else 3)
    check_lengths(owner, lengths, x)
    return x, lengths


class LayerNorm(Layer):
    """Normalize over the last axis: `y = (x - m) / √(v + eps) · scale + offset`.

    m and v are the mean and the variance of each row of C values.

    Args:
        eps: a small number that prevents division by zero.
        scale: whether to learn a `scale`, `[C]`, initially 1.
        offset: whether to learn an `offset`, `[C]`, initially 0.

    Raises:
        ValueError: if `x` has a different width than at `init`.

    Reference: Ba, Kiros and Hinton, Layer Normalization, 2016.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> layer, x = nn.LayerNorm(), jnp.array([[1.0, 3.0], [-7.0, 7.0]])
    >>> params, state = layer.init(jax.random.key(0), x)
    >>> layer.apply(params, state, x)[0].round(3).tolist()
    [[-1.0, 1.0], [-1.0, 1.0]]
    """

    with_lengths = "each"
    _: KW_ONLY
    eps: float = 1e-5
    scale: bool = True
    offset: bool = True

    def __post_init__(self):
        checks.positive("LayerNorm", "eps", self.eps)
        checks.switches("LayerNorm", scale=self.scale, offset=self.offset)

    def init(self, key, x):
        checks.batch("LayerNorm", x)
        return affine(x, scale=self.scale, offset=self.offset), {}

    def apply(self, params, state, x, *, key=None, train=False):
        checks.batch("LayerNorm", x)
        check_channels("LayerNorm", x, params)
        return norm.layer_norm(x, **params, eps=self.eps), state


class GroupNorm(Layer):
    """Normalize groups of channels: `y = (x - m) / √(v + eps) · scale + offset`.

    m and v are the mean and the variance of C / groups neighboring channels of one
    example over all positions; for `(x, lengths)`, over the real steps of the sequence.

    Args:
        groups: the number of groups; it must divide the number of channels. With one,
            this is layer normalization over a whole image.
        eps: a small number that prevents division by zero.
        scale: whether to learn a `scale`, `[C]`, initially 1.
        offset: whether to learn an `offset`, `[C]`, initially 0.

    Raises:
        ValueError: if `groups` does not divide the channels, or `x` has a different
            number of channels than at `init`.

    Reference: Wu and He, Group Normalization, 2018.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> layer, x = nn.GroupNorm(2), jnp.array([[1.0, 3.0, 50.0, 70.0]])
    >>> params, state = layer.init(jax.random.key(0), x)
    >>> layer.apply(params, state, x)[0].round(3).tolist()
    [[-1.0, 1.0, -1.0, 1.0]]
    """

    with_lengths = "uses"
    groups: int
    _: KW_ONLY
    eps: float = 1e-5
    scale: bool = True
    offset: bool = True

    def __post_init__(self):
        checks.positive_int("GroupNorm", "groups", self.groups)
        checks.positive("GroupNorm", "eps", self.eps)
        checks.switches("GroupNorm", scale=self.scale, offset=self.offset)

    def init(self, key, x):
        x, _ = self._check(x)
        return affine(x, scale=self.scale, offset=self.offset), {}

    def apply(self, params, state, x, *, key=None, train=False):
        x, lengths = self._check(x)
        check_channels("GroupNorm", x, params)
        x, options = blank(x, lengths), {"eps": self.eps, "where": real(x, lengths)}
        return norm.group_norm(x, self.groups, **params, **options), state

    def _check(self, x):
        x, lengths = array_and_lengths("GroupNorm", x)
        channels = x.shape[-1]
        if 0 in x.shape[1:-1]:
            raise ValueError(f"GroupNorm: x must have positions, got {describe(x)}")
        if channels % self.groups:
            fit = [n for n in range(1, channels + 1) if channels % n == 0]
            raise ValueError(
                f"GroupNorm: groups must divide the channels, got groups={self.groups} "
                f"for {channels} channels: {describe(x)}; {channels} can be split into "
                f"{', '.join(map(str, fit))}"
            )
        return x, lengths


class InstanceNorm(Layer):
    """Normalize each channel of each example over its positions.

    `y = (x - m) / √(v + eps) · scale + offset`; there are no running statistics, so
    training and evaluation are the same. For `(x, lengths)`, only the real steps of
    each sequence count.

    Args:
        eps: a small number that prevents division by zero.
        scale: whether to learn a `scale`, `[C]`, initially 1.
        offset: whether to learn an `offset`, `[C]`, initially 0.

    Raises:
        ValueError: if `x` has a single position, or a different number of channels than
            at `init`.

    Reference: Ulyanov, Vedaldi and Lempitsky, Instance Normalization, 2016.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> layer, x = nn.InstanceNorm(), jnp.array([[[1.0, 50.0], [3.0, 70.0]]])
    >>> params, state = layer.init(jax.random.key(0), x)
    >>> layer.apply(params, state, x)[0].round(3).tolist()
    [[[-1.0, -1.0], [1.0, 1.0]]]
    """

    with_lengths = "uses"
    _: KW_ONLY
    eps: float = 1e-5
    scale: bool = True
    offset: bool = True

    def __post_init__(self):
        checks.positive("InstanceNorm", "eps", self.eps)
        checks.switches("InstanceNorm", scale=self.scale, offset=self.offset)

    def init(self, key, x):
        x, _ = self._check(x)
        return affine(x, scale=self.scale, offset=self.offset), {}

    def apply(self, params, state, x, *, key=None, train=False):
        x, lengths = self._check(x)
        check_channels("InstanceNorm", x, params)
        x, options = blank(x, lengths), {"eps": self.eps, "where": real(x, lengths)}
        return norm.instance_norm(x, **params, **options), state

    def _check(self, x):
        x, lengths = array_and_lengths("InstanceNorm", x, axes=3)
        if math.prod(x.shape[1:-1]) < 2:
            raise ValueError(
                "InstanceNorm: x must have more than one position per channel, got "
                f"{describe(x)}: every output would be the offset; use larger pictures "
                "or nn.LayerNorm()"
            )
        return x, lengths


class RMSNorm(Layer):
    """Divide by the root mean square of the last axis: `y = x / √(s + eps) · scale`.

    s is the mean of x² over each row of C values; no mean is subtracted.

    Args:
        eps: a small number that prevents division by zero.
        scale: whether to learn a `scale`, `[C]`, initially 1.

    Raises:
        ValueError: if `x` has a different width than at `init`.

    Reference: Zhang and Sennrich, Root Mean Square Layer Normalization, 2019.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> layer, x = nn.RMSNorm(), jnp.array([[3.0, -3.0, 3.0]])
    >>> params, state = layer.init(jax.random.key(0), x)
    >>> layer.apply(params, state, x)[0].round(3).tolist()
    [[1.0, -1.0, 1.0]]
    """

    with_lengths = "each"
    _: KW_ONLY
    eps: float = 1e-6
    scale: bool = True

    def __post_init__(self):
        checks.positive("RMSNorm", "eps", self.eps)
        checks.switches("RMSNorm", scale=self.scale)

    def init(self, key, x):
        checks.batch("RMSNorm", x)
        return affine(x, scale=self.scale, offset=False), {}

    def apply(self, params, state, x, *, key=None, train=False):
        checks.batch("RMSNorm", x)
        check_channels("RMSNorm", x, params)
        return norm.rms_norm(x, **params, eps=self.eps), state
