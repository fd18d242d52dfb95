# SPDX-License-Identifier: Apache-2.0
"""What an optimizer freezes, read from its state, and frozen statistics."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax

from jaxnn import trees
from jaxnn.core import Layer, State
from jaxnn.surgery import edit, layer_paths


@jax.tree_util.register_static
@dataclass(frozen=True)
class Frozen:
    """The state of an optimizer that freezes parameters: the patterns it covers."""

    patterns: tuple[str, ...]


def frozen_patterns(opt_state: Any) -> tuple[str, ...]:
    """The patterns of what an optimizer freezes, read from its state.

    >>> import jax.numpy as jnp, jaxnn as nn, optax
    >>> optimizer = optax.chain(optax.clip(1.0), nn.freeze(optax.sgd(0.1), "body"))
    >>> frozen_patterns(optimizer.init({"body": jnp.ones(2), "head": jnp.ones(2)}))
    ('body',)
    """
    nodes = jax.tree.leaves(opt_state, is_leaf=lambda node: isinstance(node, Frozen))
    found = [node.patterns for node in nodes if isinstance(node, Frozen)]
    return tuple(dict.fromkeys(pattern for patterns in found for pattern in patterns))


class _Still(Layer):
    """A layer that runs in evaluation mode even during training."""

    layer: Layer

    def children(self):
        return self.layer.children()

    def with_child(self, name, layer):
        return _Still(self.layer.with_child(name, layer))

    def init(self, key, x):
        return self.layer.init(key, x)

    def apply(self, params, state, x, *, key=None, train=False):
        return self.layer.apply(params, state, x, key=key, train=False)


def freeze_statistics(net: Layer, state: State, *patterns: str) -> Layer:
    """Freeze the layers of a network whose statistics match a pattern.

    A frozen layer runs in evaluation mode even during training, and keeps its state.
    `train_step` does this for whatever `freeze` and `partition` freeze; a custom loop
    calls `net = freeze_statistics(net, state, "body")` for its training steps.

    Args:
        net: a network.
        state: its state, which shows where the statistics are.
        patterns: paths (including everything below them) or patterns, as in `freeze`.
            The memory of a `stateful` network, under `carry`, does not count as
            statistics.

    Returns:
        A network with the same parameters, state and paths.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> net, x = nn.Sequential(body=nn.BatchNorm(), head=nn.Dense(1)), jnp.ones((4, 2))
    >>> params, state = net.init(jax.random.key(0), x)
    >>> still = nn.freeze_statistics(net, state, "body")
    >>> _, after = still.apply(params, state, x, train=True)
    >>> after["body"]["mean"].tolist()
    [0.0, 0.0]
    """
    layers, owners = layer_paths(net) if patterns else {}, {}
    for path in trees.paths(state):
        if "carry" in path.split("/"):
            continue
        if any(trees.matches(pattern, path) for pattern in patterns):
            owner = _owner(path, layers)
            owners[owner] = None
    if "" in owners:
        return _Still(net)
    for path in owners:
        net = edit(net, path, _still)
    return net


def _still(layer: Layer) -> Layer:
    return layer if isinstance(layer, _Still) else _Still(layer)


def _owner(path: str, layers: Mapping[str, Layer]) -> str:
    """The innermost layer that contains a path of the state; "" for the network."""
    parts = path.split("/")
    above = ("/".join(parts[:i]) for i in range(len(parts) - 1, 0, -1))
    return next((name for name in above if name in layers), "")
