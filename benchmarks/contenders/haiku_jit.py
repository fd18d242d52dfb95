# SPDX-License-Identifier: Apache-2.0
"""Haiku: a transformed network under `jax.jit`, its state donated."""

from functools import partial

import jax
import jax.numpy as jnp
import optax

from contenders import Base, nets, rules


def make_step(net, optimizer):
    """A jitted step on some rows of the data."""

    def mean_loss(params, state, x, labels):
        logits, state = net.apply(params, state, x)
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
        return losses.mean(), state

    @partial(jax.jit, donate_argnames=("params", "state", "opt_state", "total"))
    def step(params, state, opt_state, total, inputs, labels, rows):
        value_and_grad = jax.value_and_grad(mean_loss, has_aux=True)
        (loss, state), grads = value_and_grad(params, state, inputs[rows], labels[rows])
        updates, opt_state = optimizer.update(grads, opt_state)
        return optax.apply_updates(params, updates), state, opt_state, total + loss

    return step


class Contender(Base):
    """Without random keys, which these networks do not need."""

    title = "a jitted call a step"

    def __init__(self, task):
        super().__init__(task)
        self.data = jnp.array(task.inputs), jnp.array(task.labels)
        self.nets = nets("haiku", task.weights)
        self.net = self.nets.network(task.weights)
        self.optimizer = rules.optimizer(task)
        self.step = make_step(self.net, self.optimizer)

    def start(self):
        params, state = self.nets.with_weights(self.task.weights)
        self.state = params, state, self.optimizer.init(params)
        self.orders = self.task.orders()

    def epoch(self):
        state, total = self.state, jnp.zeros(())
        for rows in next(self.orders):
            *state, total = self.step(*state, total, *self.data, rows)
        self.state = jax.block_until_ready(state)
        return float(total) / self.task.steps

    def parameters(self):
        return sum(leaf.size for leaf in jax.tree.leaves(self.state[0]))
