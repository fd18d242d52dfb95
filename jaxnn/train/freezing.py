# SPDX-License-Identifier: Apache-2.0
"""Frozen parameters, of an optimizer or of a `Frozen` layer, and frozen statistics."""

import functools
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import optax

from jaxnn import trees
from jaxnn.core import Layer, State, Wrapper
from jaxnn.messages.tracebacks import entrance
from jaxnn.surgery import edit, layer_paths


@jax.tree_util.register_static
@dataclass(frozen=True)
class AtRest:
    """The state of an optimizer that freezes parameters: the patterns it covers."""

    patterns: tuple[str, ...]


def frozen_patterns(opt_state: Any) -> tuple[str, ...]:
    """The patterns of what an optimizer freezes, read from its state.

    >>> import jax.numpy as jnp, jaxnn as nn, optax
    >>> optimizer = optax.chain(optax.clip(1.0), nn.freeze(optax.sgd(0.1), "body"))
    >>> frozen_patterns(optimizer.init({"body": jnp.ones(2), "head": jnp.ones(2)}))
    ('body',)
    """
    nodes = jax.tree.leaves(opt_state, is_leaf=lambda node: isinstance(node, AtRest))
    found = [node.patterns for node in nodes if isinstance(node, AtRest)]
    return tuple(dict.fromkeys(pattern for patterns in found for pattern in patterns))


def at_rest(*patterns: str) -> optax.GradientTransformation:
    """`optax.set_to_zero()` that records in its state what it freezes."""

    def init(params: Any) -> Any:
        return AtRest(patterns)

    return optax.GradientTransformation(init, optax.set_to_zero().update)


def resting(
    optimizer: optax.GradientTransformation,
    patterns: tuple[str, ...],
    labels: Callable[[Any], Any],
) -> optax.GradientTransformation:
    """The optimizer for all parameters but those labelled "frozen", which rest."""
    groups: dict[Hashable, Any] = {"frozen": at_rest(*patterns), "trained": optimizer}
    return optax.partition(groups, labels)


def without_frozen(
    optimizer: optax.GradientTransformation, net: Layer
) -> optax.GradientTransformation:
    """The optimizer for all of a network's parameters but those in `Frozen` layers."""
    patterns = _frozen_layers(net)
    if not patterns:
        return optimizer

    def label(path: str, _: Any) -> str:
        frozen = trees.matches_any(patterns, path)
        return "frozen" if frozen else "trained"

    return resting(optimizer, patterns, functools.partial(trees.map_paths, label))


def _frozen_layers(net: Layer) -> tuple[str, ...]:
    if net.at_rest:
        return ("*",)
    return tuple(path for path, layer in layer_paths(net).items() if layer.at_rest)


class _Still(Wrapper):
    """A layer that runs in evaluation mode even during training."""

    def apply(self, params, state, x, *, key=None, train=False):
        return self.layer.apply(params, state, x, key=key, train=False)


@entrance
def freeze_statistics(net: Layer, state: State, *patterns: str) -> Layer:
    """Freeze the layers of a network whose statistics match a pattern.

    A frozen layer runs in evaluation mode even during training, and keeps its state.
    `train_step` does this for whatever `freeze` and `partition` freeze; a custom loop
    calls `net = freeze_statistics(net, state, "body")` for its training steps.

    Args:
        net: a network.
        state: its state, which shows where the statistics are.
        patterns: paths (including everything below them) or patterns, as in `freeze`.
            The `carry` of a `stateful` network does not count as statistics.

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
        if trees.matches_any(patterns, path):
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
