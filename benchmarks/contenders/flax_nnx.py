# SPDX-License-Identifier: Apache-2.0
"""Flax NNX, as its guide on performance has it: `jax.jit` between split and merge."""

from functools import partial

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from contenders import Base, nets, rules


def make_step(graph):
    """A jitted step on some rows of the data; objects exist only while it is traced.

    The guide passes `graph` as an argument; closing over it saves a hash a call.
    """

    @partial(jax.jit, donate_argnames=("state", "total"))
    def step(state, total, inputs, labels, rows):
        net, optimizer = nnx.merge(graph, state)

        def mean_loss(net):
            logits, targets = net(inputs[rows]), labels[rows]
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
        self.data = jnp.array(task.inputs), jnp.array(task.labels)
        self.net = nets("flax", task.weights).network(task.weights)
        optimizer = nnx.Optimizer(self.net, rules.optimizer(task), wrt=nnx.Param)
        graph, self.first = nnx.split((self.net, optimizer))
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
