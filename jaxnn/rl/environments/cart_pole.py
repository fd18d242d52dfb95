# SPDX-License-Identifier: Apache-2.0
"""CartPole: balance a pole on a cart."""

from dataclasses import KW_ONLY

import jax
import jax.numpy as jnp

from jaxnn.rl.environment import Environment
from jaxnn.rl.spaces import Discrete

GRAVITY, CART, POLE = 9.8, 1.0, 0.1  # m/s², kg, kg
HALF = 0.5  # m, half the pole
FORCE, SECONDS = 10.0, 0.02
FARTHEST, STEEPEST = 2.4, 12 * 2 * jnp.pi / 360


class CartPole(Environment):
    """Balance a pole on a cart that is pushed left (0) or right (1).

    The observation `[4]` is the cart's position and speed and the pole's angle and
    angular speed. Each step gives a reward of 1; an episode ends when the cart is 2.4 m
    away or the pole leans by 12 degrees. Equal to Gymnasium's `CartPole-v1`.

    Args:
        max_steps: an episode of this many steps is truncated.

    Reference: Barto, Sutton and Anderson, Neuronlike adaptive elements that can solve
    difficult learning control problems, 1983.

    >>> import jax, jaxnn as nn
    >>> state, observation = nn.rl.CartPole().reset(jax.random.key(0))
    >>> observation.shape
    (4,)
    """

    _: KW_ONLY
    max_steps: int = 500
    actions = Discrete(2)

    def start(self, key):
        return jax.random.uniform(key, (4,), minval=-0.05, maxval=0.05)

    def move(self, place, action, key):
        _, x_dot, theta, theta_dot = place
        force = jnp.where(action == 1, FORCE, -FORCE)
        cos, sin = jnp.cos(theta), jnp.sin(theta)
        mass, arm = CART + POLE, POLE * HALF
        pushed = (force + arm * theta_dot**2 * sin) / mass
        theta_acc = (GRAVITY * sin - cos * pushed) / (
            HALF * (4 / 3 - POLE * cos**2 / mass)
        )
        x_acc = pushed - arm * theta_acc * cos / mass
        place = place + SECONDS * jnp.stack([x_dot, x_acc, theta_dot, theta_acc])
        return place, 1.0, (abs(place[0]) > FARTHEST) | (abs(place[2]) > STEEPEST)

    def observe(self, place):
        return place
