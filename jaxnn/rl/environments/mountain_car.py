# SPDX-License-Identifier: Apache-2.0
"""MountainCar: a car too weak for its hill, which has to swing."""

from dataclasses import KW_ONLY

import jax
import jax.numpy as jnp

from jaxnn.rl.environment import Environment
from jaxnn.rl.spaces import Box, Discrete

LEFT, RIGHT, FASTEST = -1.2, 0.6, 0.07
GRAVITY = 0.0025


class MountainCar(Environment):
    """Drive a weak car up a hill: push left (0), not at all (1) or right (2).

    The observation `[2]` is position and speed. Each step costs 1, until the car has
    reached the top, at 0.5. Equal to Gymnasium's `MountainCar-v0`.

    Args:
        max_steps: an episode of this many steps is truncated.

    Reference: Moore, Efficient memory-based learning for robot control, 1990.

    >>> import jax, jaxnn as nn
    >>> nn.rl.MountainCar().reset(jax.random.key(0))[1].shape
    (2,)
    """

    _: KW_ONLY
    max_steps: int = 200
    actions = Discrete(3)

    def start(self, key):
        return _start(key)

    def move(self, place, action, key):
        place = _rolled(place, (action - 1).astype(jnp.float32) * 0.001)
        return place, -1.0, (place[0] >= 0.5) & (place[1] >= 0)

    def observe(self, place):
        return place


class MountainCarContinuous(Environment):
    """`MountainCar` with a force from -1 to 1, of which less is cheaper.

    Each step costs 0.1 times the force squared; the top, at 0.45, gives 100. Equal to
    Gymnasium's `MountainCarContinuous-v0`.

    Args:
        max_steps: an episode of this many steps is truncated.

    Reference: Moore, Efficient memory-based learning for robot control, 1990.

    >>> import jax, jaxnn as nn
    >>> nn.rl.MountainCarContinuous().actions
    Box(-1.0, high=1.0, size=1)
    """

    _: KW_ONLY
    max_steps: int = 999
    actions = Box(-1.0, 1.0, 1)

    def start(self, key):
        return _start(key)

    def move(self, place, action, key):
        place = _rolled(place, jnp.clip(action[0], -1.0, 1.0) * 0.0015)
        top = (place[0] >= 0.45) & (place[1] >= 0)
        return place, jnp.where(top, 100.0, 0.0) - 0.1 * action[0] ** 2, top

    def observe(self, place):
        return place


def _start(key):
    return jnp.stack([jax.random.uniform(key, (), minval=-0.6, maxval=-0.4), 0.0])


def _rolled(place, push):
    """Position and speed a step later; the wall on the left stops the car."""
    x, speed = place
    speed = jnp.clip(speed + push - GRAVITY * jnp.cos(3 * x), -FASTEST, FASTEST)
    x = jnp.clip(x + speed, LEFT, RIGHT)
    return jnp.stack([x, jnp.where((x == LEFT) & (speed < 0), 0.0, speed)])
