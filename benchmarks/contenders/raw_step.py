# SPDX-License-Identifier: Apache-2.0
"""Raw JAX: a jitted call a step, its state donated."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from contenders import Base, raw_nets


class Rule(NamedTuple):
    """What stays the same in training."""

    net: Any
    rate: float
    momentum: float


class Carry(NamedTuple):
    """What training changes."""

    params: Any
    state: Any  # running statistics, where there are any
    velocity: Any  # where there is momentum


def begin(weights, rule):
    """Where training begins."""
    params = jax.tree.map(jnp.array, weights)
    velocity = jax.tree.map(jnp.zeros_like, params) if rule.momentum else ()
    return Carry(params, raw_nets.first_state(weights), velocity)


def mean_loss(params, state, net, x, labels):
    """The mean softmax cross-entropy of a batch, and the new state."""
    logits, state = net(params, state, x)
    log_p = jax.nn.log_softmax(logits)
    return -jnp.take_along_axis(log_p, labels[:, None], axis=1).mean(), state


def descend(rule, carry, x, labels):
    """One step of gradient descent: what it changed, and the loss before it."""
    params, velocity = carry.params, carry.velocity
    value_and_grad = jax.value_and_grad(mean_loss, has_aux=True)
    (loss, state), grads = value_and_grad(params, carry.state, rule.net, x, labels)
    if rule.momentum:
        velocity = jax.tree.map(lambda v, g: rule.momentum * v + g, velocity, grads)
        grads = velocity
    params = jax.tree.map(lambda p, g: p - rule.rate * g, params, grads)
    return Carry(params, state, velocity), loss


@partial(jax.jit, static_argnames="rule", donate_argnames=("carry", "total"))
def step(carry, total, images, labels, rows, rule):
    """A step on some rows of the data, which stay on the device."""
    carry, loss = descend(rule, carry, images[rows], labels[rows])
    return carry, total + loss


class Contender(Base):
    """The loss adds up on the device, so that Python never waits within an epoch."""

    title = "a jitted call a step"

    def __init__(self, task):
        super().__init__(task)
        self.data = jnp.array(task.images), jnp.array(task.labels)
        net = raw_nets.network(task.weights)
        self.rule = Rule(net, task.learning_rate, task.momentum)

    def start(self):
        self.carry = begin(self.task.weights, self.rule)
        self.orders = self.task.orders()

    def epoch(self):
        carry, total = self.carry, jnp.zeros(())
        for rows in next(self.orders):
            carry, total = step(carry, total, *self.data, rows, self.rule)
        self.carry = jax.block_until_ready(carry)
        return float(total) / self.task.steps

    def parameters(self):
        return sum(leaf.size for leaf in jax.tree.leaves(self.carry.params))
