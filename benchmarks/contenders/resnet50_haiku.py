# SPDX-License-Identifier: Apache-2.0
"""ResNet-50 as Haiku has it, under `jax.jit`."""

import haiku as hk
import jax
import jax.numpy as jnp
import optax

from contenders import first_call, haiku_jit


class Contender(first_call.Deep):
    """`hk.nets.ResNet50`; weights are made under `jit`."""

    title = "hk.nets.ResNet50, jit"

    def __init__(self, size, batch_size, seed):
        images, labels = first_call.images(size, batch_size, seed)
        self.data = jnp.array(images), jnp.array(labels)
        made = hk.transform_with_state(
            lambda x: hk.nets.ResNet50(1000)(x, is_training=True)
        )
        net = hk.without_apply_rng(made)
        optimizer = optax.sgd(first_call.RATE, first_call.MOMENTUM)

        @jax.jit
        def start(key, x):
            params, state = net.init(key, x)
            return params, state, optimizer.init(params)

        self.state = jax.block_until_ready(start(jax.random.key(seed), self.data[0]))
        self.step = haiku_jit.make_step(net, optimizer)
        self.rows = jnp.arange(batch_size)

    def call(self):
        *state, loss = self.step(*self.state, jnp.zeros(()), *self.data, self.rows)
        self.state = jax.block_until_ready(state)
        return float(loss)

    def parameters(self):
        return sum(leaf.size for leaf in jax.tree.leaves(self.state[0]))
