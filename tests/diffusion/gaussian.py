"""Gaussian data, for which the best model is known; a small network with labels."""

import jax
import jax.numpy as jnp

import jaxnn as nn
from jaxnn.diffusion import cosine_schedule, flow

MEAN, STD = 1.5, 0.4
SCHEDULE = cosine_schedule(200)
START = jax.random.normal(jax.random.key(5), (6, 2))
KEY = jax.random.key(7)


def parts(path, x, t):
    """E[x | x_t] and E[ε | x_t] of data N(MEAN, STD²)."""
    a, b = path.signal(t)[:, None], path.noise(t)[:, None]
    a, b = a.astype(x.dtype), b.astype(x.dtype)
    scaled = (x - a * MEAN) / (a**2 * STD**2 + b**2)
    return MEAN + a * STD**2 * scaled, b * scaled


def noise(x, t):
    return parts(SCHEDULE, x, t)[1]


def velocity(x, t):
    data, noise = parts(SCHEDULE, x, t)
    a, b = SCHEDULE.signal(t)[:, None], SCHEDULE.noise(t)[:, None]
    return a * noise - b * data


def flowing(x, t):
    data, noise = parts(flow, x, t)
    return noise - data


class Velocity(nn.Composite):
    """A small network of x, t and a label from 0 to 2."""

    label: nn.Layer = nn.Embed(4, 3)
    body: nn.Layer = nn.Sequential(nn.Dense(8), jax.nn.tanh, nn.Dense(2))

    def forward(self, run, inputs):
        x, t, label = inputs
        parts = [x, t[:, None], run("label", label)]
        return run("body", jnp.concatenate(parts, axis=1))


NET = Velocity()
LABELS = jnp.array([0, 1, 2, 0, 1, 2])
VARIABLES = NET.init(KEY, (START, START[:, 0], LABELS))
