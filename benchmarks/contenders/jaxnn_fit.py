# SPDX-License-Identifier: Apache-2.0
"""jaxnn: one call of `fit`, from data to a history, with all its checks."""

import jax
import jax.numpy as jnp
import optax

import jaxnn as nn
from contenders import Base


class Contender(Base):
    """The clock runs over the whole call: checks, shuffling and history too."""

    title = "nn.fit"

    def __init__(self, task):
        super().__init__(task)
        layers = []
        for _, b in task.weights:
            layers += [nn.Dense(len(b)), jax.nn.relu]
        self.net = nn.Sequential(*layers[:-1])
        self.optimizer = optax.sgd(task.learning_rate)
        self.key = jax.random.key(task.seed)
        self.data = jnp.array(task.images), jnp.array(task.labels)

    def start(self):
        params = {
            f"dense_{i}": {"w": jnp.array(w), "b": jnp.array(b)}
            for i, (w, b) in enumerate(self.task.weights, 1)
        }
        zero = jnp.zeros((), jnp.int32)
        opt_state = self.optimizer.init(params)
        self.state = nn.TrainState(params, {}, opt_state, zero, self.key)

    def run(self, epochs):
        state, history = nn.fit(
            self.net,
            self.data,
            loss=nn.losses.softmax_cross_entropy,
            optimizer=self.optimizer,
            epochs=epochs,
            batch_size=self.task.batch_size,
            state=self.state,
            progress=False,
        )
        jax.block_until_ready(state)
        self.inside = history.seconds["run"]
        return history["loss"]
