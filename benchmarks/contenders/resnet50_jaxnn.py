# SPDX-License-Identifier: Apache-2.0
"""ResNet-50 in jaxnn: every call is one of `fit`, with all its checks."""

import jax
import jax.numpy as jnp
import optax

import jaxnn as nn
from contenders import first_call


class Contender(first_call.Deep):
    """Each `fit` goes on from the state of the one before."""

    title = "nn.fit"

    def __init__(self, size, batch_size, seed, *, repeat=False):
        images, labels = first_call.images(size, batch_size, seed)
        self.data = jnp.array(images), jnp.array(labels)
        self.title = "nn.fit, repeat=True" if repeat else "nn.fit"
        self.net = nn.models.resnet(50, repeat=repeat)
        self.optimizer = optax.sgd(first_call.RATE, first_call.MOMENTUM)
        key, x = jax.random.key(seed), self.data[0]
        start = nn.train_state(self.net, self.optimizer, x, key=key)
        self.state, self.epochs = jax.block_until_ready(start), 0

    def call(self):
        self.epochs += 1
        self.state, history = nn.fit(
            self.net,
            self.data,
            loss=nn.losses.softmax_cross_entropy,
            optimizer=self.optimizer,
            epochs=self.epochs,
            batch_size=len(self.data[1]),
            state=self.state,
            progress=False,
        )
        jax.block_until_ready(self.state)
        self.inside = self.inside or history.seconds
        return history["loss"][-1]

    def parameters(self):
        return sum(leaf.size for leaf in jax.tree.leaves(self.state.params))
