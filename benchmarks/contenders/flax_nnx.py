# SPDX-License-Identifier: Apache-2.0
"""Flax NNX, as its guide on performance has it: `jax.jit` between split and merge."""

from functools import partial

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from contenders import Base, flax_nets


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
        optimizer = optax.sgd(task.learning_rate, task.momentum or None)
        self.net = flax_nets.network(task.weights)
        graph, self.first = nnx.split(
            (self.net, nnx.Optimizer(self.net, optimizer, wrt=nnx.Param))
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

    def parameters(self):
        params = nnx.state(self.net, nnx.Param)
        return sum(leaf.size for leaf in jax.tree.leaves(params))
