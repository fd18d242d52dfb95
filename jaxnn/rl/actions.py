# SPDX-License-Identifier: Apache-2.0
"""Policies as distributions of actions: drawing from them, and their logarithms.

What a network gives for a `Discrete` space are logits `[..., n]`; for a `Box` they are
means and log standard deviations, `[..., 2 · size]`, of actions in units of the box: -1
is its lower bound and 1 its upper one.
"""

from typing import Any

import jax
import jax.numpy as jnp

from jaxnn.keys import Key
from jaxnn.rl.spaces import Box, Discrete, Space

#: Bounds of log standard deviations: e⁻⁵ of the box's half is as good as no chance.
SMALLEST, LARGEST = -5.0, 2.0


def numbers(space: Space) -> int:
    """How many numbers a network gives for one observation."""
    return space.n if isinstance(space, Discrete) else 2 * space.size


def why(space: Space) -> str:
    """What these numbers are, in words."""
    if isinstance(space, Discrete):
        return "the logits of the actions"
    return "the mean and the log standard deviation of each number of an action"


def draw(space: Space, out: jax.Array, key: Key) -> jax.Array:
    """Random actions: ints, or numbers in units of the box, not yet cut off."""
    if isinstance(space, Discrete):
        return jax.random.categorical(key, out).astype(jnp.int32)
    mean, log_std = split(out)
    return mean + jnp.exp(log_std) * jax.random.normal(key, mean.shape)


def likeliest(space: Space, out: jax.Array) -> jax.Array:
    """The most likely actions, in the same units."""
    if isinstance(space, Discrete):
        return out.argmax(-1).astype(jnp.int32)
    return split(out)[0]


def log_probability(space: Space, out: jax.Array, action: jax.Array) -> jax.Array:
    """log π(a|s), `[...]`."""
    if isinstance(space, Discrete):
        log_p = jax.nn.log_softmax(out)
        return jnp.take_along_axis(log_p, action[..., None], -1)[..., 0]
    mean, log_std = split(out)
    off = (action - mean) * jnp.exp(-log_std)
    return -(0.5 * off**2 + log_std + 0.5 * jnp.log(2 * jnp.pi)).sum(-1)


def entropy(space: Space, out: jax.Array) -> jax.Array:
    """The entropy of the policy, in nats, `[...]`."""
    if isinstance(space, Discrete):
        log_p = jax.nn.log_softmax(out)
        return -(jnp.exp(log_p) * log_p).sum(-1)
    return (split(out)[1] + 0.5 * jnp.log(2 * jnp.pi * jnp.e)).sum(-1)


def in_space(space: Space, action: jax.Array) -> Any:
    """Actions as the environment takes them."""
    return scaled(space, action) if isinstance(space, Box) else action


def scaled(space: Box, action: jax.Array) -> jax.Array:
    """From units of the box, cut off at -1 and 1, to its own."""
    middle, half = (space.high + space.low) / 2, (space.high - space.low) / 2
    # (cut off again, for bounds that the sum would miss by a rounding)
    return jnp.clip(middle + half * jnp.clip(action, -1, 1), space.low, space.high)


def split(out: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Means and log standard deviations."""
    mean, log_std = jnp.split(out, 2, -1)
    return mean, jnp.clip(log_std, SMALLEST, LARGEST)
