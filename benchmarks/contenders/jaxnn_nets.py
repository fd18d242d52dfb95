# SPDX-License-Identifier: Apache-2.0
"""The networks in jaxnn."""

import jax
import jax.numpy as jnp

import jaxnn as nn
from contenders import networks


def network(weights):
    """The network that belongs to some weights."""
    return (residual if isinstance(weights, networks.Residual) else plain)(weights)


def plain(weights):
    """Convolutions with ReLU and pooling, then dense layers."""
    layers, pictures = [], weights[0][0].ndim == 4
    for w, b in weights:
        if w.ndim == 4:
            layers += [nn.Conv(len(b), w.shape[0]), jax.nn.relu, nn.MaxPool(2)]
            continue
        if pictures:
            layers, pictures = [*layers, nn.Flatten()], False
        layers += [nn.Dense(len(b)), jax.nn.relu]
    return nn.Sequential(*layers[:-1])


def residual(weights):
    """A ResNet with projections where the width grows."""
    depth, classes = 2 * len(weights.blocks) + 2, len(weights.head[1])
    width = len(weights.stem.scale)
    return nn.models.cifar_resnet(depth, classes, width, shortcut="projection")


def with_weights(net, weights):
    """The parameters and the state of a network, by the order of its layers."""
    params, state, left = {}, {}, iter(networks.leaves(weights))
    for path, layer in nn.layer_paths(net).items():
        if isinstance(layer, nn.Conv | nn.Dense):
            names = ["w", "b"] if layer.bias else ["w"]
            hang(params, path, {name: jnp.array(next(left)) for name in names})
        elif isinstance(layer, nn.BatchNorm):
            scale, offset = jnp.array(next(left)), jnp.array(next(left))
            hang(params, path, {"scale": scale, "offset": offset})
            hang(state, path, {"mean": jnp.zeros_like(scale), "var": scale * 0 + 1})
    if (extra := next(left, None)) is not None:
        raise ValueError(f"a layer is missing for weights {extra.shape} and all after")
    return params, state


def hang(tree, path, leaves):
    """Put leaves into a tree of dicts."""
    *outer, last = path.split("/")
    for name in outer:
        tree = tree.setdefault(name, {})
    tree[last] = leaves
