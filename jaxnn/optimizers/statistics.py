# SPDX-License-Identifier: Apache-2.0
"""Running statistics for weights that were not trained step by step."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from jaxnn import surgery, trees
from jaxnn.core import Layer, as_layer, check_key, fold_in
from jaxnn.layers import BatchNorm
from jaxnn.messages.tracebacks import entrance
from jaxnn.train.batch import length
from jaxnn.train.checks import fitting_batch_size, on_device
from jaxnn.train.epoch import epoch_order, gather
from jaxnn.train.freezing import freeze_statistics, frozen_patterns
from jaxnn.train.programs import program
from jaxnn.train.state import TrainState


@entrance
def refresh_statistics(
    net: Layer, state: TrainState, inputs: Any, *, batch_size: int
) -> TrainState:
    """Recompute the running statistics of every `BatchNorm` for the current weights.

    Averaged weights (`averaged`) were never used in training, so the statistics in the
    state belong to other weights. The inputs pass through the network once, as in
    training; mean and variance become the averages over the batches. Frozen statistics
    do not change.

    Args:
        net: a network.
        state: a `TrainState`, such as `averaged(state)`; for an ensemble, one member.
        inputs: the training inputs `[N, ...]`.
        batch_size: examples per batch, as in training; an incomplete last batch is left
            out, unless it is the only one.

    Returns:
        The state with new running statistics; everything else is unchanged.

    Raises:
        ValueError: if the batch size is not 1 or more.

    Reference: Izmailov et al., Averaging Weights Leads to Wider Optima and Better
    Generalization, 2018 (section 3.2).

    >>> import jax, jax.numpy as jnp, jaxnn as nn, optax
    >>> net, x = nn.BatchNorm(), jnp.array([[1.0], [3.0], [5.0], [7.0]])
    >>> state = nn.train_state(net, optax.sgd(0.1), x, key=jax.random.key(0))
    >>> state = nn.optimizers.refresh_statistics(net, state, x, batch_size=4)
    >>> state.state["mean"].tolist()
    [4.0]
    """
    net = as_layer(net, "refresh_statistics")
    if not isinstance(state, TrainState):
        raise TypeError(
            "refresh_statistics: state must be a TrainState, as nn.fit gives it, got "
            f"{type(state).__name__}"
        )
    check_key(state.key, "refresh_statistics")  # a stack of states has several
    (inputs,) = on_device((inputs,), "refresh_statistics:")
    examples = length(inputs)
    batch_size = fitting_batch_size("refresh_statistics", batch_size, examples)
    net = freeze_statistics(net, state.state, *frozen_patterns(state.opt_state))
    norms = _norms(net)
    given = state.params, state.state, state.key, inputs
    new = _statistics(*given, net=net, norms=norms, batch_size=batch_size)
    return state._replace(state=trees.map_paths(new.get, state.state))


def _norms(net: Layer) -> tuple[str, ...]:
    """The paths of every `BatchNorm`; "" for a network that is one itself."""
    layers = {"": net} | surgery.layer_paths(net)
    return tuple(p for p, layer in layers.items() if isinstance(layer, BatchNorm))


@program()
def _statistics(params, state, key, inputs, *, net, norms, batch_size):
    """The mean over the batches of each statistic, by path."""
    for path in norms:
        net = _forget(net) if path == "" else surgery.edit(net, path, _forget)
    batches = length(inputs) // batch_size
    key = fold_in(key, "statistics")
    order = epoch_order(key, 0, length(inputs))[: batches * batch_size]

    def one(part):
        number, rows = part
        x = jax.tree.map(lambda a: gather(a, rows), inputs)
        own_key = jax.random.fold_in(key, number)
        _, own = net.apply(params, state, x, key=own_key, train=True)
        leaves = trees.paths(own).items()
        return {path: a for path, a in leaves if path.rpartition("/")[0] in norms}

    parts = (jnp.arange(batches), order.reshape(batches, batch_size))
    return jax.tree.map(lambda a: a.mean(0), jax.lax.map(one, parts))


def _forget(norm: Any) -> BatchNorm:
    """The layer with running statistics of the last batch only."""
    return dataclasses.replace(norm, momentum=0.0)
