# SPDX-License-Identifier: Apache-2.0
"""The networks in Haiku."""

from itertools import count

import haiku as hk
import jax
import jax.numpy as jnp

from contenders import networks


def network(weights):
    """The network that belongs to some weights, transformed."""
    residual = isinstance(weights, networks.Residual)
    forward = residual_of(weights) if residual else plain_of(weights)
    return hk.without_apply_rng(hk.transform_with_state(forward))


def plain_of(weights):
    """Convolutions with ReLU and pooling, then Haiku's own MLP."""
    kernels = [w for w, _ in weights if w.ndim == 4]
    widths = [len(b) for w, b in weights if w.ndim == 2]

    def forward(x):
        for i, w in enumerate(kernels):
            x = hk.Conv2D(w.shape[-1], w.shape[0], name=f"conv_{i}")(x)
            x = hk.max_pool(jax.nn.relu(x), (2, 2, 1), (2, 2, 1), "VALID")
        return hk.nets.MLP(widths, name="mlp")(x.reshape(len(x), -1))

    return forward


def residual_of(weights):
    """A ResNet with projections where the width grows."""

    def forward(x):
        number = count()

        def unit(part, x, stride=1):
            i, (kernel, _, _, features) = next(number), part.w.shape
            pad = [((kernel - 1) // 2,) * 2] * 2
            conv = hk.Conv2D(
                features, kernel, stride, padding=pad, with_bias=False, name=f"conv_{i}"
            )
            norm = hk.BatchNorm(
                True, True, networks.MOMENTUM, networks.EPS, name=f"norm_{i}"
            )
            return norm(conv(x), is_training=True)

        x = jax.nn.relu(unit(weights.stem, x))
        for block in weights.blocks:
            stride = networks.stride(block)
            y = jax.nn.relu(unit(block.first, x, stride))
            y = unit(block.second, y)
            x = unit(block.shortcut, x, stride) if block.shortcut else x
            x = jax.nn.relu(y + x)
        return hk.Linear(len(weights.head[1]), name="head")(x.mean((1, 2)))

    return forward


def with_weights(weights):
    """The parameters and the state in Haiku's names."""
    if isinstance(weights, networks.Residual):
        return residual_weights(weights)
    kernels = [pair for pair in weights if pair[0].ndim == 4]
    names = [f"conv_{i}" for i in range(len(kernels))]
    names += [f"mlp/~/linear_{i}" for i in range(len(weights) - len(kernels))]
    return {n: pair(*wb) for n, wb in zip(names, weights, strict=True)}, {}


def residual_weights(weights):
    """Of a residual network; a moving average has a counter and a hidden value."""
    params, state = {"head": pair(*weights.head)}, {}
    for i, (w, scale, offset) in enumerate(networks.units(weights)):
        scale, offset = (jnp.array(a.reshape(1, 1, 1, -1)) for a in (scale, offset))
        params[f"conv_{i}"] = {"w": jnp.array(w)}
        params[f"norm_{i}"] = {"scale": scale, "offset": offset}
        for name in ("mean_ema", "var_ema"):
            state[f"norm_{i}/~/{name}"] = {
                "counter": jnp.zeros((), jnp.int32),
                "hidden": jnp.zeros_like(scale),
                "average": jnp.zeros_like(scale),
            }
    return params, state


def pair(w, b):
    """Weights and biases as Haiku has them."""
    return {"w": jnp.array(w), "b": jnp.array(b)}
