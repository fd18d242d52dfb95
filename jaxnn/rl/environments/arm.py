# SPDX-License-Identifier: Apache-2.0
"""Arm: two links in a plane that reach for a point, moved by torques."""

from dataclasses import KW_ONLY
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxnn.rl.environment import Environment
from jaxnn.rl.spaces import Box

LINK, MASS = 0.5, 1.0  # m, kg; each link is a uniform rod
FRICTION = 0.2  # N m s
SECONDS, PARTS = 0.05, 4
NEAREST, FARTHEST = 0.2, 0.95  # m, of targets from the shoulder

_OWN = MASS * LINK**2 / 12  # inertia of a rod about its center
_FAR = _OWN + MASS * (LINK / 2) ** 2  # of the second link about the elbow
_BOTH = 2 * _OWN + MASS * ((LINK / 2) ** 2 + LINK**2 + (LINK / 2) ** 2)
_COUPLED = MASS * LINK * LINK / 2


class ArmPlace(NamedTuple):
    """An arm and its target."""

    angles: jax.Array  # [2], of the shoulder, and of the elbow to it
    speeds: jax.Array  # [2], rad/s
    target: jax.Array  # [2], m


class Arm(Environment):
    """Reach for a point with the tip of an arm of two links, by two torques.

    The links are rods of 0.5 m and 1 kg in a horizontal plane; the torques of shoulder
    and elbow are from -1 to 1 N m. The observation `[12]`: the cosines and sines of
    both angles, their speeds, the target, the way from the tip to the target, and tanh
    of it in units of 5 cm. The reward is exp(−d / 5 cm) + exp(−d / 1 cm) − d / m − 0.01
    |torque|², for a tip at a distance d. Episodes, of 5 seconds, end by time alone.

    Args:
        max_steps: an episode of this many steps is truncated.

    Reference: Spong, Hutchinson and Vidyasagar, Robot modeling and control, 2005,
    section 7.3.

    >>> import jax, jaxnn as nn
    >>> state, observation = nn.rl.Arm().reset(jax.random.key(0))
    >>> observation.shape, nn.rl.Arm().distance(state.place).shape
    ((12,), ())
    """

    _: KW_ONLY
    max_steps: int = 100
    actions = Box(-1.0, 1.0, 2)

    def start(self, key):
        angle, far, joints = jax.random.split(key, 3)
        angle = jax.random.uniform(angle, (), minval=-jnp.pi, maxval=jnp.pi)
        # (uniform over the area: the square of the distance is)
        far = jax.random.uniform(far, (), minval=NEAREST**2, maxval=FARTHEST**2) ** 0.5
        target = far * jnp.stack([jnp.cos(angle), jnp.sin(angle)])
        joints = jax.random.uniform(joints, (2,), minval=-jnp.pi, maxval=jnp.pi)
        return ArmPlace(joints, jnp.zeros(2), target)

    def move(self, place, action, key):
        torque = jnp.clip(action, -1.0, 1.0)
        angles, speeds = place.angles, place.speeds
        for _ in range(PARTS):
            speeds += SECONDS / PARTS * _acceleration(angles, speeds, torque)
            angles += SECONDS / PARTS * speeds
        place = place._replace(angles=angles, speeds=speeds)
        far = self.distance(place)
        near = jnp.exp(-far / 0.05) + jnp.exp(-far / 0.01)
        reward = near - far - 0.01 * (torque**2).sum()
        return place, reward, False

    def observe(self, place):
        turns = jnp.concatenate([jnp.cos(place.angles), jnp.sin(place.angles)])
        way = place.target - self.joints(place)[-1]
        fine = jnp.tanh(way / 0.05)  # the last centimetres at a scale of their own
        return jnp.concatenate([turns, place.speeds, place.target, way, fine])

    def joints(self, place: ArmPlace) -> jax.Array:
        """The places of shoulder, elbow and tip, `[3, 2]`, in m."""
        turned = jnp.cumsum(place.angles)
        links = LINK * jnp.stack([jnp.cos(turned), jnp.sin(turned)], 1)
        return jnp.concatenate([jnp.zeros((1, 2)), jnp.cumsum(links, 0)])

    def distance(self, place: ArmPlace) -> jax.Array:
        """The distance of the tip from the target, in m."""
        way = place.target - self.joints(place)[-1]
        return jnp.sqrt((way**2).sum())


def _acceleration(angles, speeds, torque):
    """The angular accelerations: M(q) q̈ = τ − C(q, q̇) − friction, for two rods."""
    cos, sin = jnp.cos(angles[1]), jnp.sin(angles[1])
    w1, w2 = speeds
    turning = _COUPLED * sin * jnp.stack([-w2 * (2 * w1 + w2), w1**2])
    first, second = torque - turning - FRICTION * speeds
    a, b, d = _BOTH + 2 * _COUPLED * cos, _FAR + _COUPLED * cos, _FAR
    return jnp.stack([d * first - b * second, a * second - b * first]) / (a * d - b**2)
