# SPDX-License-Identifier: Apache-2.0
"""Raw JAX: a jitted call a step, its state donated."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from contenders import Base, nets


class Rule(NamedTuple):
    """What stays the same in training."""

    net: Any
    rate: float
    momentum: float
    adam: bool


class Carry(NamedTuple):
    """What training changes."""

    params: Any
    state: Any  # running statistics, where there are any
    memory: Any  # the velocity where there is momentum, the `Moments` of Adam


class Moments(NamedTuple):
    """Moving means of gradients and of their squares."""

    mean: Any
    squares: Any
    count: Any


def begin(weights, rule):
    """Where training begins."""
    params = jax.tree.map(jnp.array, weights)
    state = nets("raw", weights).first_state(weights)
    return Carry(params, state, first_memory(params, rule))


def first_memory(params, rule):
    """What the rule remembers before the first step."""

    def zeros():
        return jax.tree.map(jnp.zeros_like, params)

    if rule.adam:
        return Moments(zeros(), zeros(), jnp.zeros(()))
    return zeros() if rule.momentum else ()


def mean_loss(params, state, net, x, labels):
    """The mean softmax cross-entropy of a batch, and the new state."""
    logits, state = net(params, state, x)
    log_p = jax.nn.log_softmax(logits)
    return -jnp.take_along_axis(log_p, labels[..., None], axis=-1).mean(), state


def descend(rule, carry, x, labels):
    """One step of gradient descent: what it changed, and the loss before it."""
    params = carry.params
    value_and_grad = jax.value_and_grad(mean_loss, has_aux=True)
    (loss, state), grads = value_and_grad(params, carry.state, rule.net, x, labels)
    direction, memory = turn(rule, carry.memory, grads)
    params = jax.tree.map(lambda p, d: p - rule.rate * d, params, direction)
    return Carry(params, state, memory), loss


def turn(rule, memory, grads):
    """The direction of a step, and what the rule remembers of it."""
    if rule.adam:
        return adam(memory, grads)
    if rule.momentum:
        memory = jax.tree.map(lambda v, g: rule.momentum * v + g, memory, grads)
        return memory, memory
    return grads, memory


def adam(memory, grads, keep=0.9, keep_squares=0.999, eps=1e-8):
    """Adam's direction (Kingma and Ba, 2015), with its usual constants."""
    count = memory.count + 1
    mean = jax.tree.map(lambda m, g: keep * m + (1 - keep) * g, memory.mean, grads)
    squares = jax.tree.map(
        lambda s, g: keep_squares * s + (1 - keep_squares) * g * g,
        memory.squares,
        grads,
    )
    fix, fix_squares = 1 - keep**count, 1 - keep_squares**count
    direction = jax.tree.map(
        lambda m, s: m / fix / (jnp.sqrt(s / fix_squares) + eps), mean, squares
    )
    return direction, Moments(mean, squares, count)


@partial(jax.jit, static_argnames="rule", donate_argnames=("carry", "total"))
def step(carry, total, inputs, labels, rows, rule):
    """A step on some rows of the data, which stay on the device."""
    carry, loss = descend(rule, carry, inputs[rows], labels[rows])
    return carry, total + loss


class Contender(Base):
    """The loss adds up on the device, so that Python never waits within an epoch."""

    title = "a jitted call a step"

    def __init__(self, task):
        super().__init__(task)
        self.data = jnp.array(task.inputs), jnp.array(task.labels)
        net = nets("raw", task.weights).network(task.weights)
        self.rule = Rule(net, task.learning_rate, task.momentum, task.adam)

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
