# SPDX-License-Identifier: Apache-2.0
"""Haiku: a transformed network under `jax.jit`, its state donated."""

from functools import partial

import haiku as hk
import jax
import jax.numpy as jnp
import optax

from contenders import Base


def make_step(net, optimizer):
    """A jitted step on some rows of the data."""

    def mean_loss(params, x, labels):
        logits = net.apply(params, x)
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
        return losses.mean()

    @partial(jax.jit, donate_argnames=("params", "opt_state", "total"))
    def step(params, opt_state, total, images, labels, rows):
        value_and_grad = jax.value_and_grad(mean_loss)
        loss, grads = value_and_grad(params, images[rows], labels[rows])
        updates, opt_state = optimizer.update(grads, opt_state)
        return optax.apply_updates(params, updates), opt_state, total + loss

    return step


class Contender(Base):
    """`hk.nets.MLP`, without random keys, which it does not need."""

    title = "a jitted call a step"

    def __init__(self, task):
        super().__init__(task)
        self.data = jnp.array(task.images), jnp.array(task.labels)
        widths = [len(b) for _, b in task.weights]
        self.net = hk.without_apply_rng(
            hk.transform(lambda x: hk.nets.MLP(widths, name="mlp")(x))
        )
        self.optimizer = optax.sgd(task.learning_rate)
        self.step = make_step(self.net, self.optimizer)

    def start(self):
        params = {
            f"mlp/~/linear_{i}": {"w": jnp.array(w), "b": jnp.array(b)}
            for i, (w, b) in enumerate(self.task.weights)
        }
        self.state = params, self.optimizer.init(params)
        self.orders = self.task.orders()

    def epoch(self):
        state, total = self.state, jnp.zeros(())
        for rows in next(self.orders):
            *state, total = self.step(*state, total, *self.data, rows)
        self.state = jax.block_until_ready(state)
        return float(total) / self.task.steps
