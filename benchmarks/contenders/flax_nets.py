# SPDX-License-Identifier: Apache-2.0
"""The networks in Flax NNX."""

import jax.numpy as jnp
from flax import nnx

from contenders import networks


def network(weights):
    """The network that belongs to some weights."""
    residual = isinstance(weights, networks.Residual)
    return (Residual if residual else Plain)(weights)


class Plain(nnx.Module):
    """Convolutions with ReLU and pooling, then dense layers."""

    def __init__(self, weights):
        layers = [conv(w, b=b) if w.ndim == 4 else dense(w, b) for w, b in weights]
        self.layers = nnx.List(layers)

    def __call__(self, x):
        *hidden, last = self.layers
        for layer in hidden:
            if isinstance(layer, nnx.Conv):
                x = nnx.max_pool(nnx.relu(layer(x)), (2, 2), (2, 2))
            else:
                x = nnx.relu(layer(flatten(x)))
        return last(flatten(x))


class Residual(nnx.Module):
    """A ResNet with projections where the width grows."""

    def __init__(self, weights):
        self.stem = Unit(weights.stem)
        self.blocks = nnx.List([Block(block) for block in weights.blocks])
        self.head = dense(*weights.head)

    def __call__(self, x):
        x = nnx.relu(self.stem(x))
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean((1, 2)))


class Block(nnx.Module):
    """Two units around which the input goes."""

    def __init__(self, block):
        stride = networks.stride(block)
        self.first, self.second = Unit(block.first, stride), Unit(block.second)
        self.around = Unit(block.shortcut, stride) if block.shortcut else None

    def __call__(self, x):
        y = self.second(nnx.relu(self.first(x)))
        return nnx.relu(y + (x if self.around is None else self.around(x)))


class Unit(nnx.Module):
    """A convolution and its batch norm."""

    def __init__(self, part, stride=1):
        features = len(part.scale)
        self.conv = conv(part.w, stride)
        self.norm = nnx.BatchNorm(
            features,
            epsilon=networks.EPS,
            momentum=networks.MOMENTUM,
            rngs=nnx.Rngs(0),
        )
        self.norm.scale[...] = jnp.array(part.scale)
        self.norm.bias[...] = jnp.array(part.offset)

    def __call__(self, x):
        return self.norm(self.conv(x))


def conv(w, stride=1, b=None):
    """A convolution."""
    kernel, _, c, f = w.shape
    layer = nnx.Conv(
        c,
        f,
        (kernel, kernel),
        strides=stride,
        padding=(kernel - 1) // 2,
        use_bias=b is not None,
        rngs=nnx.Rngs(0),
    )
    return with_weights(layer, w, b)


def dense(w, b):
    """A dense layer."""
    return with_weights(nnx.Linear(*w.shape, rngs=nnx.Rngs(0)), w, b)


def with_weights(layer, w, b=None):
    """The layer, once it has these weights."""
    layer.kernel[...] = jnp.array(w)
    if b is not None:
        layer.bias[...] = jnp.array(b)
    return layer


def flatten(x):
    """One row an example."""
    return x.reshape(len(x), -1)
