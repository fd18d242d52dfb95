# SPDX-License-Identifier: Apache-2.0
"""ResNet-50 in Flax NNX, trained as its guide on performance has it."""

from functools import partial

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from contenders import first_call, flax_nnx


class ResNet50(nnx.Module):
    """Stages of 3, 4, 6 and 3 bottlenecks, a bottleneck's stride in its 3x3."""

    def __init__(self, rngs):
        self.stem = Unit(3, 64, 7, 2, rngs)
        blocks, channels = [], 64
        for i, count in enumerate((3, 4, 6, 3)):
            for j in range(count):
                stride = 2 if i and not j else 1
                blocks.append(Bottleneck(channels, 64 * 2**i, stride, rngs))
                channels = 4 * 64 * 2**i
        self.blocks = nnx.List(blocks)
        self.head = nnx.Linear(channels, 1000, rngs=rngs)

    def __call__(self, x):
        x = nnx.relu(self.stem(x))
        x = nnx.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean((1, 2)))


class Bottleneck(nnx.Module):
    """Three units, the middle one narrow, and a way around them."""

    def __init__(self, channels, width, stride, rngs):
        self.first = Unit(channels, width, 1, 1, rngs)
        self.second = Unit(width, width, 3, stride, rngs)
        self.third = Unit(width, 4 * width, 1, 1, rngs)
        same = channels == 4 * width
        self.around = None if same else Unit(channels, 4 * width, 1, stride, rngs)

    def __call__(self, x):
        y = nnx.relu(self.second(nnx.relu(self.first(x))))
        return nnx.relu(self.third(y) + (self.around(x) if self.around else x))


class Unit(nnx.Module):
    """A convolution without bias, and its batch norm."""

    def __init__(self, channels, features, kernel, stride, rngs):
        self.conv = nnx.Conv(
            channels,
            features,
            (kernel, kernel),
            strides=stride,
            padding=(kernel - 1) // 2,
            use_bias=False,
            kernel_init=nnx.initializers.he_normal(),
            rngs=rngs,
        )
        self.norm = nnx.BatchNorm(features, momentum=0.9, rngs=rngs)

    def __call__(self, x):
        return self.norm(self.conv(x))


class Contender(first_call.Deep):
    """The objects are made under `jit`, which is the faster way to begin."""

    title = "jit with split and merge"

    def __init__(self, size, batch_size, seed):
        images, labels = first_call.images(size, batch_size, seed)
        self.data = jnp.array(images), jnp.array(labels)
        optimizer = optax.sgd(first_call.RATE, first_call.MOMENTUM)

        @partial(nnx.jit, static_argnums=0)
        def start(seed):
            net = ResNet50(nnx.Rngs(seed))
            return net, nnx.Optimizer(net, optimizer, wrt=nnx.Param)

        graph, self.state = nnx.split(start(seed))
        jax.block_until_ready(self.state)
        self.step = flax_nnx.make_step(graph)
        self.rows = jnp.arange(batch_size)
        self.count = sum(p.size for p in jax.tree.leaves(self.learned(graph)))

    def learned(self, graph):
        """The parameters."""
        return nnx.state(nnx.merge(graph, self.state)[0], nnx.Param)

    def call(self):
        self.state, loss = self.step(self.state, jnp.zeros(()), *self.data, self.rows)
        jax.block_until_ready(self.state)
        return float(loss)

    def parameters(self):
        return self.count
