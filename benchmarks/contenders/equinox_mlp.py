# SPDX-License-Identifier: Apache-2.0
"""Equinox: `filter_jit` over flat leaves, its documented low-overhead loop."""

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

from contenders import Base


def mean_loss(net, x, labels):
    """The mean loss of a batch; an Equinox network takes one example."""
    losses = optax.softmax_cross_entropy_with_integer_labels(jax.vmap(net)(x), labels)
    return losses.mean()


def make_step(optimizer, tree):
    """A step from leaves to leaves, so that no tree is taken apart between steps."""

    @eqx.filter_jit(donate="all-except-first")
    def step(data, leaves, total):
        images, labels, rows = data
        net, opt_state = jax.tree.unflatten(tree, leaves)
        loss, grads = eqx.filter_value_and_grad(mean_loss)(
            net, images[rows], labels[rows]
        )
        updates, opt_state = optimizer.update(grads, opt_state)
        net = eqx.apply_updates(net, updates)
        return jax.tree.leaves((net, opt_state)), total + loss

    return step


class Contender(Base):
    """Weights and optimizer are donated; the data are the argument that is not."""

    title = "filter_jit over leaves"

    def __init__(self, task):
        super().__init__(task)
        self.data = jnp.array(task.images), jnp.array(task.labels)
        self.optimizer = optax.sgd(task.learning_rate)
        self.step = make_step(self.optimizer, jax.tree.structure(self.tree()))

    def tree(self):
        """The network with the task's weights, and the optimizer's state."""
        keys = jax.random.split(jax.random.key(0), len(self.task.weights))
        layers = []
        for key, (w, b) in zip(keys, self.task.weights, strict=True):
            layer = eqx.nn.Linear(*w.shape, key=key)
            where = lambda layer: (layer.weight, layer.bias)  # noqa: E731
            layers += [eqx.tree_at(where, layer, (jnp.array(w.T), jnp.array(b)))]
            layers += [eqx.nn.Lambda(jax.nn.relu)]
        net = eqx.nn.Sequential(layers[:-1])
        return net, self.optimizer.init(eqx.filter(net, eqx.is_array))

    def start(self):
        self.leaves, self.orders = jax.tree.leaves(self.tree()), self.task.orders()

    def epoch(self):
        leaves, total = self.leaves, jnp.zeros(())
        for rows in next(self.orders):
            leaves, total = self.step((*self.data, rows), leaves, total)
        self.leaves = jax.block_until_ready(leaves)
        return float(total) / self.task.steps
