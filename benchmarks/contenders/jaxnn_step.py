# SPDX-License-Identifier: Apache-2.0
"""jaxnn: the step that `fit` scans, as a jitted call a step in a custom loop."""

import jax
import jax.numpy as jnp

import jaxnn as nn
from contenders import jaxnn_fit


def make_step(net, optimizer):
    """A jitted step on some rows of the data, its state donated."""
    step = nn.train_step(net, nn.losses.softmax_cross_entropy, optimizer)

    def on_rows(state, total, inputs, labels, rows):
        state, logs = step(state, (inputs[rows], labels[rows]))
        return state, total + logs["loss"]

    return jax.jit(on_rows, donate_argnames=("state", "total"))


class Contender(jaxnn_fit.Contender):
    """Against `fit` it tells what the scan over an epoch gains or costs."""

    title = "a jitted call a step"

    def __init__(self, task):
        super().__init__(task)
        self.step = make_step(self.net, self.optimizer)

    def start(self):
        super().start()
        key = jax.random.key(self.task.seed)  # one that may be given away
        self.state, self.orders = self.state._replace(key=key), self.task.orders()

    def run(self, epochs):
        return [self.epoch() for _ in range(epochs)]

    def epoch(self):
        state, total = self.state, jnp.zeros(())
        for rows in next(self.orders):
            state, total = self.step(state, total, *self.data, rows)
        self.state = jax.block_until_ready(state)
        return float(total) / self.task.steps
