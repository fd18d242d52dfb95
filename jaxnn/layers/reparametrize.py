# SPDX-License-Identifier: Apache-2.0
"""Wrappers that reparametrize a layer's weight."""

from dataclasses import KW_ONLY
from typing import Any

import jax

from jaxnn import checks
from jaxnn.core import Layer, Wrapper, fold_in
from jaxnn.messages.phrases import describe, nearest
from jaxnn.ops.reparametrize import (
    lengths,
    power_iteration,
    spectral_norm,
    weight_norm,
)

#: For the first estimate of a weight's largest singular value, as in PyTorch.
FIRST_ITERATIONS = 15


class WeightNorm(Wrapper):
    """A layer whose weight is stored as length and direction, `w = scale · v / ‖v‖`.

    The norm is over all axes but the last, so every output has its own length.
    Parameters are those of the layer, whose weight is v, plus `scale` `[F]`, initially
    ‖v‖, so that the layer at first computes what it would without the wrapper. If all
    weights of an output are zero, they stay zero.

    Args:
        layer: a layer with a weight, such as `Dense` or `Conv`.
        name: the name of the weight among the layer's parameters.

    Raises:
        ValueError: if the layer has no weight of that name.

    Reference: Salimans and Kingma, Weight Normalization, 2016.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> layer, x = nn.WeightNorm(nn.Dense(3)), jnp.ones((2, 4))
    >>> params, state = layer.init(jax.random.key(0), x)
    >>> sorted(params), params["scale"].shape
    (['b', 'scale', 'w'], (3,))
    """

    _: KW_ONLY
    name: str = "w"

    def init(self, key, x):
        params, state = self.layer.init(key, x)
        check_weight("WeightNorm", self.layer, params, self.name)
        check_free("WeightNorm", self.layer, params, "scale")
        return {**params, "scale": lengths(params[self.name])}, state

    def apply(self, params, state, x, *, key=None, train=False):
        own = {name: a for name, a in params.items() if name != "scale"}
        own[self.name] = weight_norm(own[self.name], params["scale"])
        return self.layer.apply(own, state, x, key=key, train=train)


class SpectralNorm(Wrapper):
    """A layer whose weight is divided by its largest singular value, `w / σ`.

    The weight is viewed as a matrix W `[K, F]`, where F is its last axis; `σ = vᵀ W u`
    with unit vectors u `[F]` and v `[K]` from power iteration, `u = Wᵀ v / ‖Wᵀ v‖`,
    `v = W u / ‖W u‖`. They are kept in the state, next to the layer's own, and updated
    in training only; no gradient flows through them. A weight of zeros stays zero.

    Args:
        layer: a layer with a weight, such as `Dense` or `Conv`.
        iterations: the number of power iterations in each training step.
        name: the name of the weight among the layer's parameters.

    Raises:
        ValueError: if the layer has no weight of that name.

    Reference: Miyato et al., Spectral Normalization for Generative Adversarial
    Networks, 2018.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> layer, x = nn.SpectralNorm(nn.Dense(3, bias=False)), jnp.eye(4)
    >>> params, state = layer.init(jax.random.key(0), x)
    >>> params["w"] *= 100
    >>> w, state = layer.apply(params, state, x, train=True)
    >>> jnp.linalg.norm(w, 2).round(3).item()
    1.0
    """

    iterations: int = 1
    _: KW_ONLY
    name: str = "w"

    def __post_init__(self):
        super().__post_init__()
        checks.positive_int("SpectralNorm", "iterations", self.iterations)

    def init(self, key, x):
        params, state = self.layer.init(key, x)
        check_weight("SpectralNorm", self.layer, params, self.name)
        for name in ("u", "v"):
            check_free("SpectralNorm", self.layer, state, name)
        w = params[self.name]
        u = jax.random.normal(fold_in(key, "u"), w.shape[-1:], w.dtype)
        v = jax.random.normal(fold_in(key, "v"), (w[..., 0].size,), w.dtype)
        u, v = power_iteration(w, u, v, FIRST_ITERATIONS)
        return params, {**state, "u": u, "v": v}

    def apply(self, params, state, x, *, key=None, train=False):
        own = {name: a for name, a in state.items() if name not in ("u", "v")}
        w, u, v = params[self.name], state["u"], state["v"]
        if train:
            u, v = power_iteration(jax.lax.stop_gradient(w), u, v, self.iterations)
        params = {**params, self.name: spectral_norm(w, u, v)}
        y, own = self.layer.apply(params, own, x, key=key, train=train)
        return y, {**own, "u": u, "v": v}


def check_weight(owner: str, layer: Layer, params: Any, name: str) -> None:
    """Raise unless a layer has a weight of this name with two axes or more."""
    if name not in params:
        has = ", ".join(params) or "none"
        raise ValueError(
            f"{owner}: name must be that of a weight of {layer!r:.100}, got {name!r}; "
            f"it has {has}{nearest(name, params)}; wrap the layer that owns the weight"
        )
    if len(getattr(params[name], "shape", ())) < 2:
        raise ValueError(
            f"{owner}: the weight {name!r} must be an array of two axes or more, "
            f"[..., F], got {describe(params[name]):.100}"
        )


def check_free(owner: str, layer: Layer, tree: Any, name: str) -> None:
    """Raise if a layer already has an entry under a name that its wrapper uses."""
    if name in tree:
        raise ValueError(
            f"{owner}: {layer!r:.100} has a {name!r} of its own, the name that "
            f"{owner} keeps its own under; wrap the layer inside it"
        )
