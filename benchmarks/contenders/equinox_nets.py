# SPDX-License-Identifier: Apache-2.0
"""The networks in Equinox: of one example, with its channels first."""

import equinox as eqx
import jax
import jax.numpy as jnp

from contenders import networks

BATCH = "batch"  # the axis over which batch norm takes its statistics


def network(weights):
    """`(net, state)` that belong to some weights; no state for a plain one."""
    if isinstance(weights, networks.Residual):
        return eqx.nn.make_with_state(Residual)(weights)
    return plain(networks.of_chw(weights)), None


def apply(net, state, x):
    """Logits of a batch, and the new state."""
    if state is None:
        return jax.vmap(net)(x), None
    return jax.vmap(net, axis_name=BATCH, in_axes=(0, None), out_axes=(0, None))(
        x, state
    )


def plain(weights):
    """Convolutions with ReLU and pooling, then dense layers."""
    relu, layers, pictures = eqx.nn.Lambda(jax.nn.relu), [], weights[0][0].ndim == 4
    for w, b in weights:
        if w.ndim == 4:
            layers += [conv(w, b=b[:, None, None]), relu, eqx.nn.MaxPool2d(2, 2)]
            continue
        if pictures:
            layers, pictures = [*layers, eqx.nn.Lambda(jnp.ravel)], False
        layers += [dense(w, b), relu]
    return eqx.nn.Sequential(layers[:-1])


class Residual(eqx.Module):
    """A ResNet with projections where the width grows."""

    stem: "Unit"
    blocks: list["Block"]
    head: eqx.nn.Linear

    def __init__(self, weights):
        self.stem = Unit(weights.stem)
        self.blocks = [Block(block) for block in weights.blocks]
        w, b = weights.head
        self.head = dense(w.T, b)

    def __call__(self, x, state):
        x, state = self.stem(x, state)
        x = jax.nn.relu(x)
        for block in self.blocks:
            x, state = block(x, state)
        return self.head(x.mean((1, 2))), state


class Block(eqx.Module):
    """Two units around which the input goes."""

    first: "Unit"
    second: "Unit"
    around: "Unit | None"

    def __init__(self, block):
        stride = networks.stride(block)
        self.first, self.second = Unit(block.first, stride), Unit(block.second)
        self.around = Unit(block.shortcut, stride) if block.shortcut else None

    def __call__(self, x, state):
        y, state = self.first(x, state)
        y, state = self.second(jax.nn.relu(y), state)
        if self.around is not None:
            x, state = self.around(x, state)
        return jax.nn.relu(y + x), state


class Unit(eqx.Module):
    """A convolution and its batch norm."""

    conv: eqx.nn.Conv2d
    norm: eqx.nn.BatchNorm

    def __init__(self, part, stride=1):
        self.conv = conv(networks.oihw(part.w), stride)
        norm = eqx.nn.BatchNorm(
            len(part.scale),
            BATCH,
            eps=networks.EPS,
            momentum=networks.MOMENTUM,
            mode="batch",
        )
        self.norm = with_weights(norm, part.scale, part.offset)

    def __call__(self, x, state):
        return self.norm(self.conv(x), state)


def conv(w, stride=1, b=None):
    """A convolution."""
    f, c, kernel, _ = w.shape
    pad, bias, key = (kernel - 1) // 2, b is not None, jax.random.key(0)
    layer = eqx.nn.Conv2d(c, f, kernel, stride, pad, use_bias=bias, key=key)
    return with_weights(layer, w, b)


def dense(w, b):
    """A dense layer."""
    f, c = w.shape
    return with_weights(eqx.nn.Linear(c, f, key=jax.random.key(0)), w, b)


def with_weights(layer, w, b):
    """The layer with these weights."""
    layer = eqx.tree_at(lambda layer: layer.weight, layer, jnp.array(w))
    if b is None:
        return layer
    return eqx.tree_at(lambda layer: layer.bias, layer, jnp.array(b))
