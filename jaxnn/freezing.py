# SPDX-License-Identifier: Apache-2.0
"""What trains and what rests: optimizers by path pattern, and frozen statistics.

The optimizers that `freeze` and `partition` make keep the patterns of what is frozen in
their state, without an array, so that they are found inside any other optimizer.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import optax

from jaxnn import trees
from jaxnn.core import Layer, State
from jaxnn.surgery import edit, layer_paths


@jax.tree_util.register_static
@dataclass(frozen=True)
class Frozen:
    """The state of an optimizer that moves nothing: which patterns it is for."""

    patterns: tuple[str, ...]


def _at_rest(*patterns: str) -> optax.GradientTransformation:
    """`optax.set_to_zero()`, which says in its state what it freezes."""

    def init(params: Any) -> Any:
        return Frozen(patterns)

    return optax.GradientTransformation(init, optax.set_to_zero().update)


def partition(
    groups: Mapping[str, optax.GradientTransformation],
    default: optax.GradientTransformation | None = None,
) -> optax.GradientTransformation:
    """One optimizer for each group of parameters, by path pattern.

    Args:
        groups: from a pattern (`head/*`, `*/b`, or a path and all below it) to the
            optimizer of the parameters that match.
        default: the optimizer of all others; without one every parameter must match.

    A group of `optax.set_to_zero()` is frozen, its running statistics too: see
    `freeze`.

    Raises:
        ValueError: when the optimizer is initialized, if a parameter matches two
            patterns or none, or a pattern matches nothing.

    >>> import jax, jaxnn as nn, optax
    >>> optimizer = nn.partition({"head": optax.adam(1e-3)}, default=optax.sgd(0.1))
    """
    optimizers = {
        str(i): _at_rest(pattern) if _moves_nothing(optimizer) else optimizer
        for i, (pattern, optimizer) in enumerate(groups.items())
    }
    labels = {pattern: str(i) for i, pattern in enumerate(groups)}
    rest = {} if default is None else {"default": default}
    return optax.partition(
        {**optimizers, **rest},
        lambda params: trees.labels(params, labels, *rest),
    )


def _moves_nothing(optimizer: Any) -> bool:
    code = getattr(getattr(optimizer, "update", None), "__code__", None)
    return code is optax.set_to_zero().update.__code__  # type: ignore[attr-defined]


def freeze(
    optimizer: optax.GradientTransformation, *patterns: str
) -> optax.GradientTransformation:
    """The optimizer, leaving alone what matches a pattern: parameters and statistics.

    In a training step, layers whose state matches a pattern (`BatchNorm`,
    `SpectralNorm`) compute as in evaluation: `BatchNorm` normalizes by its running
    statistics and keeps them. What the rest learns from is then what a frozen body puts
    out in evaluation too, in any batches. Dropout in a frozen body still drops, and a
    memory goes on. For a loop of one's own see `freeze_statistics`.

    Args:
        optimizer: what trains the other parameters.
        patterns: paths (and all below them) or patterns, as in `partition`.

    >>> import jaxnn as nn, optax
    >>> optimizer = nn.freeze(optax.sgd(0.1), "body", "head/b")
    """
    if not patterns or not all(isinstance(p, str) for p in patterns):
        raise ValueError(
            "freeze: name at least one pattern, each a string, as in "
            f"freeze(optimizer, 'body', 'head/b'), got {patterns!r:.60}"
        )
    if not hasattr(optimizer, "update"):
        raise TypeError(
            f"freeze: the first argument must be an optimizer, got {optimizer!r:.60}"
        )

    def groups(params):
        frozen = [trees.labels(params, {p: "frozen"}, "trained") for p in patterns]
        return jax.tree.map(lambda *names: min(names), *frozen)  # by any, then frozen

    return optax.partition(
        {"frozen": _at_rest(*patterns), "trained": optimizer}, groups
    )


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
    """A layer that computes in training as in evaluation."""

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
    """The network, in which layers whose statistics match a pattern are at rest.

    Such a layer computes in training as in evaluation, and keeps its state.
    `train_step` does this for what `freeze` and `partition` freeze; a loop of one's own
    does `net = freeze_statistics(net, state, "body")` for its training calls.

    Args:
        net: a network.
        state: its state, which tells where statistics are.
        patterns: paths (and all below them) or patterns, as in `freeze`. The memory of
            a `stateful` network, under `carry`, is none of the statistics.

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
    """The innermost layer that a path of the state lies in; "" for the network."""
    parts = path.split("/")
    above = ("/".join(parts[:i]) for i in range(len(parts) - 1, 0, -1))
    return next((name for name in above if name in layers), "")
