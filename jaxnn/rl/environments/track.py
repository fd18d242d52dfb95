# SPDX-License-Identifier: Apache-2.0
"""Track: a car on a random closed road, seen from above as a small picture."""

from dataclasses import KW_ONLY
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxnn.rl.environment import Environment
from jaxnn.rl.spaces import Box

RADIUS, HALF_WIDTH = 25.0, 2.5  # m
WAVES = np.arange(2, 6)  # bends around the lap
SIZE, PIXEL = 32, 0.5  # the picture's side, and a pixel in m
BEHIND = 3.0  # m of it are behind the car
WHEELBASE, STEERING = 2.0, 0.5  # m, rad
SECONDS, FASTEST, PUSH = 0.1, 10.0, 6.0  # s, m/s, m/s²


class TrackPlace(NamedTuple):
    """A car and its road."""

    position: jax.Array  # [2], m
    heading: jax.Array  # []
    speed: jax.Array  # [], m/s
    lap: jax.Array  # [], the angle driven around the center
    bends: jax.Array  # [2, waves], cosine and sine coefficients of the road's radius


class Track(Environment):
    """Drive a car around a random closed road that is seen from above.

    Actions are steering, from -1 (right) to 1 (left), and throttle, from -1 (brake) to
    1. The observation is a picture `[32, 32, 1]` of the 16 m around the car, which
    drives up in it: 1 is road, 0 grass, and the row at the bottom is a bar of the
    speed, full at 10 m/s. The reward is the share of the lap in percent; leaving the
    road costs 10 and ends the episode, and so does a whole lap.

    Args:
        max_steps: an episode of this many steps, of 0.1 s, is truncated.

    >>> import jax, jaxnn as nn
    >>> state, picture = nn.rl.Track().reset(jax.random.key(0))
    >>> picture.shape, nn.rl.Track().expert(state).shape
    ((32, 32, 1), (2,))
    """

    _: KW_ONLY
    max_steps: int = 500
    actions = Box(-1.0, 1.0, 2)

    def start(self, key):
        size = jnp.asarray(0.35 / WAVES, jnp.float32)[None]  # (slopes of alike size)
        bends = size * jax.random.normal(key, (2, len(WAVES)))
        position = jnp.stack([_radius(bends, jnp.array([1.0, 0.0]))[0], 0.0])
        ahead = _center(bends, jnp.array(0.05)) - position
        heading = jnp.arctan2(ahead[1], ahead[0])
        zero = jnp.zeros(())
        return TrackPlace(position, heading, zero, zero, bends)

    def move(self, place, action, key):
        steering, throttle = jnp.clip(action, -1.0, 1.0)
        speed = place.speed + SECONDS * PUSH * throttle
        speed = jnp.clip(speed, 0.0, FASTEST)
        turn = SECONDS * speed / WHEELBASE * jnp.tan(STEERING * steering)
        heading = place.heading + turn
        ahead = jnp.stack([jnp.cos(heading), jnp.sin(heading)])
        position = place.position + SECONDS * speed * ahead
        driven = _angle(place.position, position)
        place = TrackPlace(position, heading, speed, place.lap + driven, place.bends)
        off = self.distance(place) > HALF_WIDTH
        reward = 100 * driven / (2 * jnp.pi) - jnp.where(off, 10.0, 0.0)
        return place, reward, off | self.finished(place)

    def observe(self, place):
        picture = _on_road(place.bends, _pixels(place))
        bar = jnp.arange(SIZE, dtype=jnp.float32) < SIZE * place.speed / FASTEST
        return picture.at[-1].set(bar.astype(picture.dtype))[..., None]

    def finished(self, place: TrackPlace) -> jax.Array:
        """Whether a whole lap is done."""
        return place.lap >= 2 * jnp.pi

    def distance(self, place: TrackPlace) -> jax.Array:
        """The distance from the middle of the road, in m."""
        return _off(place.bends, place.position)

    def road(self, place: TrackPlace) -> jax.Array:
        """The middle of the road, `[256, 2]`, in m."""
        angles = jnp.linspace(0, 2 * jnp.pi, 256)
        return jax.vmap(lambda angle: _center(place.bends, angle))(angles)

    def expert(self, state) -> jax.Array:
        """The action of a driver who sees the road as it is: pure pursuit.

        Reference: Coulter, Implementation of the pure pursuit path tracking algorithm,
        1992.
        """
        place = state.place
        angle = jnp.arctan2(place.position[1], place.position[0])
        far = 3.0 + 0.4 * place.speed

        def seen(metres):
            to = _center(place.bends, angle + metres / RADIUS) - place.position
            turned = jnp.arctan2(to[1], to[0]) - place.heading
            off = (turned + jnp.pi) % (2 * jnp.pi) - jnp.pi
            return off, jnp.sqrt((to**2).sum())

        off, length = seen(far)
        steering = jnp.arctan(2 * WHEELBASE * jnp.sin(off) / length) / STEERING
        bend = abs(seen(far + 5.0)[0]) + abs(off)  # sharper bends, less speed
        throttle = (3.0 + 5.0 * jnp.exp(-2.5 * bend) - place.speed) / 2
        return jnp.clip(jnp.stack([steering, throttle]), -1.0, 1.0)


def _radius(bends, way):
    """The road's radius towards `way` `[..., 2]`, a unit vector, and its slope."""
    c, s = way[..., 0], way[..., 1]
    turned, radius, slope = (c, s), jnp.ones_like(c), jnp.zeros_like(c)
    for i, wave in enumerate(WAVES):  # cos(kφ) and sin(kφ) from those of (k - 1)φ
        turned = turned[0] * c - turned[1] * s, turned[0] * s + turned[1] * c
        a, b = bends[0, i], bends[1, i]
        radius += 0.5 * (a * turned[0] + b * turned[1])
        slope += 0.5 * float(wave) * (b * turned[0] - a * turned[1])
    return RADIUS * radius, RADIUS * slope


def _center(bends, angle):
    way = jnp.stack([jnp.cos(angle), jnp.sin(angle)])
    return _radius(bends, way)[0] * way


def _off(bends, point):
    """About how far points `[..., 2]` are from the middle of the road."""
    far = jnp.maximum(jnp.sqrt((point**2).sum(-1)), 1e-3)
    radius, slope = _radius(bends, point / far[..., None])
    return abs(far - radius) / jnp.sqrt(1 + (slope / radius) ** 2)


def _on_road(bends, points):
    """How much of the pixels at these points is road, from 0 to 1."""
    return jnp.clip((HALF_WIDTH - _off(bends, points)) / PIXEL + 0.5, 0.0, 1.0)


def _pixels(place):
    """Where the pixels of the picture are, `[size, size, 2]`."""
    steps = PIXEL * (np.arange(SIZE, dtype=np.float32) + 0.5)
    ahead, left = steps[::-1, None] - BEHIND, PIXEL * SIZE / 2 - steps[None]
    ahead, left = np.broadcast_arrays(ahead, left)
    cos, sin = jnp.cos(place.heading), jnp.sin(place.heading)
    x = place.position[0] + ahead * cos - left * sin
    return jnp.stack([x, place.position[1] + ahead * sin + left * cos], -1)


def _angle(a, b):
    """The angle from the direction of `a` to that of `b`."""
    return jnp.arctan2(a[0] * b[1] - a[1] * b[0], (a * b).sum())
