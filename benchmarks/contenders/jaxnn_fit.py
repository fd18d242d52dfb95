# SPDX-License-Identifier: Apache-2.0
"""jaxnn: one call of `fit`, from data to a history, with all its checks."""

import jax
import jax.numpy as jnp

import jaxnn as nn
from contenders import Base, nets, rules


class Contender(Base):
    """The clock runs over the whole call: checks, shuffling and history too."""

    title = "nn.fit"

    def __init__(self, task):
        super().__init__(task)
        self.nets = nets("jaxnn", task.weights)
        self.net = self.nets.network(task.weights)
        self.optimizer = rules.optimizer(task)
        self.key = jax.random.key(task.seed)
        self.data = jnp.array(task.inputs), jnp.array(task.labels)

    def start(self):
        params, state = self.nets.with_weights(self.net, self.task.weights)
        opt_state, zero = self.optimizer.init(params), jnp.zeros((), jnp.int32)
        self.state = nn.TrainState(params, state, opt_state, zero, self.key)

    def run(self, epochs):
        state, history = nn.fit(
            self.net,
            self.data,
            loss=nn.losses.softmax_cross_entropy,
            optimizer=self.optimizer,
            epochs=epochs,
            batch_size=self.task.batch_size,
            state=self.state,
            shuffle=self.task.shuffle,
            progress=False,
        )
        jax.block_until_ready(state)
        self.inside = history.seconds["run"]
        return history["loss"]

    def parameters(self):
        return sum(leaf.size for leaf in jax.tree.leaves(self.state.params))
