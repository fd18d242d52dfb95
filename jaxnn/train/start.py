# SPDX-License-Identifier: Apache-2.0
"""Where a training run begins."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxnn.core import Layer, as_layer, check_key, fold_in
from jaxnn.train.checks import check_optimizer
from jaxnn.train.early_stopping import EarlyStopping, Plateau, Watch
from jaxnn.train.ensemble import Ensemble
from jaxnn.train.state import TrainState


def train_state(
    net: Layer,
    optimizer: optax.GradientTransformation,
    x: Any,
    *,
    key: jax.Array,
    early_stopping: EarlyStopping | None = None,
    plateau: Plateau | None = None,
) -> TrainState:
    """The initial state of training.

    Args:
        net: a network.
        optimizer: an Optax optimizer.
        x: an example batch, or just its `jax.ShapeDtypeStruct`.
        key: the run's random key.
        early_stopping, plateau: those of the run, if any, as their memory is part of
            its state: `nn.load(path, like=train_state(...))` then fits its checkpoints.

    Returns:
        A `TrainState` at step 0; a batch of them under `jax.vmap` over keys, and for an
        `ensemble`.

    >>> import jax, jax.numpy as jnp, jaxnn as nn, optax
    >>> keys = jax.random.split(jax.random.key(0), 8)
    >>> start = lambda key: nn.train_state(nn.Dense(2), optax.sgd(0.1), x, key=key)
    >>> x = jnp.ones((1, 3))
    >>> jax.vmap(start)(keys).params["w"].shape
    (8, 3, 2)
    """
    check_key(key, "train_state")
    check_optimizer(optimizer)
    net = as_layer(net, "train_state")
    if isinstance(net, Ensemble):
        keys = jax.random.split(key, net.members)
        one = partial(train_state, net.net, optimizer, x)
        start = partial(one, early_stopping=early_stopping, plateau=plateau)
        return net.place(jax.vmap(lambda key: start(key=key))(keys))
    params, state = net.init(fold_in(key, "init"), x)
    opt_state = optimizer.init(params)
    made = TrainState(params, state, opt_state, jnp.zeros((), jnp.int32), key)
    return Watch(early_stopping, plateau).begin(jax.tree.map(_strong, made))


def _strong(x: Any) -> jax.Array:
    """The array with a strong dtype: a weak one would change after one step."""
    x = jnp.asarray(x)
    return jax.lax.convert_element_type(x, x.dtype)
