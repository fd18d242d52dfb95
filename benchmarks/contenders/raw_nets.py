# SPDX-License-Identifier: Apache-2.0
"""The networks in raw JAX: functions `(params, state, x) -> (logits, state)`."""

import jax
import jax.numpy as jnp

from contenders import networks


def network(weights):
    """The function that belongs to some weights."""
    return residual if isinstance(weights, networks.Residual) else plain


def first_state(weights):
    """Running means and variances, one pair a unit."""
    if not isinstance(weights, networks.Residual):
        return ()
    widths = [len(unit.scale) for unit in networks.units(weights)]
    return [(jnp.zeros(f), jnp.ones(f)) for f in widths]


def plain(params, state, x):
    """Convolutions with ReLU and pooling, then dense layers."""
    *hidden, (w, b) = params
    for v, c in hidden:
        if v.ndim == 4:
            x = max_pool(jax.nn.relu(conv(x, v) + c))
        else:
            x = jax.nn.relu(flatten(x) @ v + c)
    return flatten(x) @ w + b, state


def residual(params, state, x):
    """A ResNet with projections where the width grows."""
    new, stats = [], iter(state)

    def unit(part, x, stride=1):
        y, after = batch_norm(part, next(stats), conv(x, part.w, stride))
        new.append(after)
        return y

    x = jax.nn.relu(unit(params.stem, x))
    for block in params.blocks:
        stride = networks.stride(block)
        y = jax.nn.relu(unit(block.first, x, stride))
        y = unit(block.second, y)
        x = x if block.shortcut is None else unit(block.shortcut, x, stride)
        x = jax.nn.relu(y + x)
    w, b = params.head
    return x.mean((1, 2)) @ w + b, new


def conv(x, w, stride=1):
    """XLA's convolution, padded so that a stride of 1 keeps the size."""
    pad = (w.shape[0] - 1) // 2
    return jax.lax.conv_general_dilated(
        x,
        w,
        (stride, stride),
        [(pad, pad), (pad, pad)],
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


def batch_norm(part, stats, x):
    """Normalize by the batch; the running variance is unbiased."""
    mean, var = x.mean((0, 1, 2)), x.var((0, 1, 2))
    scale = part.scale * jax.lax.rsqrt(var + networks.EPS)
    count = x.size // x.shape[-1]
    after = mean, var * count / (count - 1)
    keep = networks.MOMENTUM
    kept = [
        keep * old + (1 - keep) * now for old, now in zip(stats, after, strict=True)
    ]
    return (x - mean) * scale + part.offset, tuple(kept)


def max_pool(x):
    """The maximum of every 2x2 window."""
    window = 1, 2, 2, 1
    return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, window, window, "VALID")


def flatten(x):
    """One row an example."""
    return x.reshape(len(x), -1)
