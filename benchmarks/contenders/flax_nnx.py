# SPDX-License-Identifier: Apache-2.0
"""Flax NNX, as its guide on performance has it: `jax.jit` between split and merge."""

from functools import partial
from itertools import pairwise

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from contenders import Base


class Network(nnx.Module):
    """The network."""

    def __init__(self, widths, rngs):
        layers = [nnx.Linear(c, f, rngs=rngs) for c, f in pairwise(widths)]
        self.layers = nnx.List(layers)

    def __call__(self, x):
        *hidden, last = self.layers
        for layer in hidden:
            x = nnx.relu(layer(x))
        return last(x)


def make_step(graph):
    """A jitted step on some rows of the data; objects exist only while it is traced.

    The guide passes `graph` as an argument; closing over it saves a hash a call.
    """

    @partial(jax.jit, donate_argnames=("state", "total"))
    def step(state, total, images, labels, rows):
        net, optimizer = nnx.merge(graph, state)

        def mean_loss(net):
            logits, targets = net(images[rows]), labels[rows]
            losses = optax.softmax_cross_entropy_with_integer_labels(logits, targets)
            return losses.mean()

        loss, grads = nnx.value_and_grad(mean_loss)(net)
        optimizer.update(net, grads)
        return nnx.state((net, optimizer)), total + loss

    return step


class Contender(Base):
    """The graph is split once, outside the clock; the state is donated."""

    title = "jit with split and merge"

    def __init__(self, task):
        super().__init__(task)
        self.data = jnp.array(task.images), jnp.array(task.labels)
        optimizer = optax.sgd(task.learning_rate)
        net = with_weights(task.weights)
        graph, self.first = nnx.split(
            (net, nnx.Optimizer(net, optimizer, wrt=nnx.Param))
        )
        self.step = make_step(graph)

    def start(self):
        self.state = jax.tree.map(jnp.copy, self.first)
        self.orders = self.task.orders()

    def epoch(self):
        state, total = self.state, jnp.zeros(())
        for rows in next(self.orders):
            state, total = self.step(state, total, *self.data, rows)
        self.state = jax.block_until_ready(state)
        return float(total) / self.task.steps


def with_weights(weights):
    """The network with the task's weights."""
    widths = [weights[0][0].shape[0], *(len(b) for _, b in weights)]
    net = Network(widths, nnx.Rngs(0))
    for layer, (w, b) in zip(net.layers, weights, strict=True):
        layer.kernel[...], layer.bias[...] = jnp.array(w), jnp.array(b)
    return net
