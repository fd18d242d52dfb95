# SPDX-License-Identifier: Apache-2.0
"""Layers that vary pictures at random: more data from the data that there are.

Put first into a network, they work in training only, inside the compiled step, and
draw anew for each picture in each epoch. What they do must not change the class.
"""

import jax
import jax.numpy as jnp

import jaxnn as nn


class RandomShift(nn.Layer):
    """In training, move each picture by up to `most` pixels either way; 0 comes in."""

    most: int

    def apply(self, params, state, x, *, key=None, train=False):
        if not train:
            return x, state
        around = (self.most, self.most)
        wider = jnp.pad(x, ((0, 0), around, around, (0, 0)))
        corners = jax.random.randint(key, (len(x), 2), 0, 2 * self.most + 1)

        def cut(picture, corner):
            return jax.lax.dynamic_slice(picture, (*corner, 0), x.shape[1:])

        return jax.vmap(cut)(wider, corners), state


class RandomFlip(nn.Layer):
    """In training, mirror every other picture, left for right."""

    def apply(self, params, state, x, *, key=None, train=False):
        if not train:
            return x, state
        flipped = jax.random.bernoulli(key, 0.5, (len(x), 1, 1, 1))
        return jnp.where(flipped, x[:, :, ::-1], x), state
