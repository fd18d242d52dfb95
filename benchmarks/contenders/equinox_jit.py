# SPDX-License-Identifier: Apache-2.0
"""Equinox: `filter_jit` over flat leaves, its documented low-overhead loop."""

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

from contenders import Base, equinox_nets, nets, networks, rules


def mean_loss(net, state, x, labels):
    """The mean loss of a batch, and the new state."""
    logits, state = equinox_nets.apply(net, state, x)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    return losses.mean(), state


def make_step(optimizer, tree):
    """A step from leaves to leaves, so that no tree is taken apart between steps."""

    @eqx.filter_jit(donate="all-except-first")
    def step(data, leaves, total):
        inputs, labels, rows = data
        net, state, opt_state = jax.tree.unflatten(tree, leaves)
        value_and_grad = eqx.filter_value_and_grad(mean_loss, has_aux=True)
        (loss, state), grads = value_and_grad(net, state, inputs[rows], labels[rows])
        updates, opt_state = optimizer.update(grads, opt_state)
        net = eqx.apply_updates(net, updates)
        return jax.tree.leaves((net, state, opt_state)), total + loss

    return step


class Contender(Base):
    """Weights and optimizer are donated; the data are the argument that is not."""

    title = "filter_jit over leaves"

    def __init__(self, task):
        super().__init__(task)
        self.data = jnp.array(networks.chw(task.inputs)), jnp.array(task.labels)
        self.optimizer = rules.optimizer(task)
        self.step = make_step(self.optimizer, jax.tree.structure(self.tree()))

    def tree(self):
        """The network with the task's weights, its state and the optimizer's."""
        weights = self.task.weights
        net, state = nets("equinox", weights).network(weights)
        return net, state, self.optimizer.init(eqx.filter(net, eqx.is_array))

    def start(self):
        self.leaves, self.orders = jax.tree.leaves(self.tree()), self.task.orders()

    def epoch(self):
        leaves, total = self.leaves, jnp.zeros(())
        for rows in next(self.orders):
            leaves, total = self.step((*self.data, rows), leaves, total)
        self.leaves = jax.block_until_ready(leaves)
        return float(total) / self.task.steps

    def parameters(self):
        net = eqx.filter(self.tree()[0], eqx.is_array)
        return sum(leaf.size for leaf in jax.tree.leaves(net))
