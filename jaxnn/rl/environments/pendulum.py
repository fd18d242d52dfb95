# SPDX-License-Identifier: Apache-2.0
"""Pendulum: swing up and hold, by a torque too weak to lift it at once."""

from dataclasses import KW_ONLY

import jax
import jax.numpy as jnp

from jaxnn.rl.environment import Environment
from jaxnn.rl.spaces import Box

GRAVITY, SECONDS, FASTEST = 10.0, 0.05, 8.0


class Pendulum(Environment):
    """Swing a pendulum up and hold it there, by a torque from -2 to 2.

    The observation `[3]` is the cosine and sine of the angle and the angular speed. The
    cost of a step is angle² + 0.1 speed² + 0.001 torque², with 0 at the top. Episodes
    only end by time. Equal to Gymnasium's `Pendulum-v1`.

    Args:
        max_steps: an episode of this many steps is truncated.

    >>> import jax, jaxnn as nn
    >>> nn.rl.Pendulum().reset(jax.random.key(0))[1].shape
    (3,)
    """

    _: KW_ONLY
    max_steps: int = 200
    actions = Box(-2.0, 2.0, 1)

    def start(self, key):
        most = jnp.array([jnp.pi, 1.0])
        return jax.random.uniform(key, (2,), minval=-most, maxval=most)

    def move(self, place, action, key):
        angle, speed = place
        torque = jnp.clip(action[0], -2.0, 2.0)
        off = (angle + jnp.pi) % (2 * jnp.pi) - jnp.pi
        cost = off**2 + 0.1 * speed**2 + 0.001 * torque**2
        speed += SECONDS * (1.5 * GRAVITY * jnp.sin(angle) + 3 * torque)
        speed = jnp.clip(speed, -FASTEST, FASTEST)
        return jnp.stack([angle + SECONDS * speed, speed]), -cost, False

    def observe(self, place):
        angle, speed = place
        return jnp.stack([jnp.cos(angle), jnp.sin(angle), speed])
