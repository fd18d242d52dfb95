# SPDX-License-Identifier: Apache-2.0
"""Convolutional layers."""

from dataclasses import KW_ONLY

import jax.numpy as jnp

from jaxnn import checks, initializers
from jaxnn.core import Layer
from jaxnn.layers import windows
from jaxnn.ops.conv import conv


class Conv(Layer):
    """A convolution."""

    features: int
    kernel: int | tuple[int, ...]
    _: KW_ONLY
    stride: int | tuple[int, ...] = 1
    padding: str | int | tuple = "SAME"
    padding_mode: str = "zeros"
    dilation: int | tuple[int, ...] = 1
    groups: int = 1
    bias: bool = True
    w_init: initializers.InitializerFunction = initializers.he_normal()
    b_init: initializers.InitializerFunction = initializers.zeros()

    def __post_init__(self):
        checks.positive_int("Conv", "features", self.features)
        windows.check_kernel("Conv", self.kernel)
        axes = windows.spatial_axes(self.kernel)
        windows.check_ints("Conv", "stride", self.stride, axes)
        windows.check_ints("Conv", "dilation", self.dilation, axes)
        windows.check_padding("Conv", self.padding, axes)

    def init(self, key, x):
        windows.check_images("Conv", x, windows.spatial_axes(self.kernel))
        dtype = checks.param_dtype(x)
        kernel = windows.spread(self.kernel, windows.spatial_axes(self.kernel))
        shape = (*kernel, x.shape[-1] // self.groups, self.features)
        params = {"w": self.w_init(key, shape, dtype)}
        if self.bias:
            params["b"] = self.b_init(key, (self.features,), dtype)
        return params, {}

    def apply(self, params, state, x, *, key=None, train=False):
        windows.check_images("Conv", x, windows.spatial_axes(self.kernel))
        _, stride, pads, dilation = windows.place_windows(
            "Conv", x, self.kernel, self.stride, self.padding, self.dilation
        )
        y = conv(
            x,
            params["w"],
            stride=stride,
            pads=pads,
            dilation=dilation,
            groups=self.groups,
        )
        if self.bias:
            y = y + jnp.broadcast_to(params["b"].astype(y.dtype), y.shape)
        return y, state
