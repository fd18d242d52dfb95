# SPDX-License-Identifier: Apache-2.0
"""Acrobot: two links that hang, swung up by the joint between them."""

from dataclasses import KW_ONLY

import jax
import jax.numpy as jnp

from jaxnn.rl.environment import Environment
from jaxnn.rl.spaces import Discrete

GRAVITY, SECONDS = 9.8, 0.2
CENTER = 0.5  # m, from a joint to the center of mass of its link; links are 1 m, 1 kg
FASTEST = jnp.array([4 * jnp.pi, 9 * jnp.pi])


class Acrobot(Environment):
    """Swing the tip of two hanging links above a bar, by the torque between them.

    Actions are torques of -1 (0), 0 (1) and 1 (2). The observation `[6]` is the cosine
    and sine of both angles and the angular speeds. Each step costs 1, until the tip is
    1 m above the upper joint. Equal to Gymnasium's `Acrobot-v1`.

    Args:
        max_steps: an episode of this many steps is truncated.

    Reference: Sutton, Generalization in reinforcement learning: successful examples
    using sparse coarse coding, 1996.

    >>> import jax, jaxnn as nn
    >>> nn.rl.Acrobot().reset(jax.random.key(0))[1].shape
    (6,)
    """

    _: KW_ONLY
    max_steps: int = 500
    actions = Discrete(3)

    def start(self, key):
        return jax.random.uniform(key, (4,), minval=-0.1, maxval=0.1)

    def move(self, place, action, key):
        place = _runge_kutta(place, action.astype(jnp.float32) - 1)
        angles = (place[:2] + jnp.pi) % (2 * jnp.pi) - jnp.pi
        place = jnp.concatenate([angles, jnp.clip(place[2:], -FASTEST, FASTEST)])
        up = -jnp.cos(place[0]) - jnp.cos(place[0] + place[1]) > 1
        return place, jnp.where(up, 0.0, -1.0), up

    def observe(self, place):
        cos, sin = jnp.cos(place[:2]), jnp.sin(place[:2])
        return jnp.concatenate([jnp.stack([cos, sin], 1).ravel(), place[2:]])


def _runge_kutta(place, torque):
    """The place after one step of the classic Runge-Kutta method, of order 4."""
    a = _slope(place, torque)
    b = _slope(place + SECONDS / 2 * a, torque)
    c = _slope(place + SECONDS / 2 * b, torque)
    d = _slope(place + SECONDS * c, torque)
    return place + SECONDS / 6 * (a + 2 * b + 2 * c + d)


def _slope(place, torque):
    """Speeds and accelerations of both angles; both moments of inertia are 1."""
    first, second, w1, w2 = place
    cos, sin = jnp.cos(second), jnp.sin(second)
    inertia = 2 * CENTER**2 + 1 + 2 * CENTER * cos + 2
    coupling = CENTER**2 + CENTER * cos + 1
    weight = CENTER * GRAVITY * jnp.cos(first + second - jnp.pi / 2)
    load = (
        -CENTER * w2**2 * sin
        - 2 * CENTER * w2 * w1 * sin
        + (CENTER + 1) * GRAVITY * jnp.cos(first - jnp.pi / 2)
        + weight
    )
    a2 = (torque + coupling / inertia * load - CENTER * w1**2 * sin - weight) / (
        CENTER**2 + 1 - coupling**2 / inertia
    )
    return jnp.stack([w1, w2, -(coupling * a2 + load) / inertia, a2])
