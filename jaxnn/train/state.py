# SPDX-License-Identifier: Apache-2.0
"""Everything that training changes, as one record."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxnn.core import Layer, Params, State, as_layer
from jaxnn.keys import check_key, fold_in
from jaxnn.train.ensemble import Ensemble


class TrainState(NamedTuple):
    """The state of a training run; with the data it determines all that follows."""

    params: Params  # the network's parameters
    state: State  # the network's state: running statistics and the like
    opt_state: Any  # the optimizer's state
    step: jax.Array  # int32 [], steps taken so far
    key: jax.Array  # the run's random key; it never changes
    watch: dict[str, Any] = {}  # noqa: RUF012  what early stopping and plateaus remember


def train_state(
    net: Layer, optimizer: optax.GradientTransformation, x: Any, *, key: jax.Array
) -> TrainState:
    """The state in which training begins.

    Args:
        net: a network.
        optimizer: an Optax optimizer.
        x: an example batch, or only its `jax.ShapeDtypeStruct`.
        key: the run's random key.

    Returns:
        A `TrainState` at step 0; under `jax.vmap` over keys a batch of them, as for an
        `ensemble`.

    >>> import jax, jax.numpy as jnp, jaxnn as nn, optax
    >>> keys = jax.random.split(jax.random.key(0), 8)
    >>> start = lambda key: nn.train_state(nn.Dense(2), optax.sgd(0.1), x, key=key)
    >>> x = jnp.ones((1, 3))
    >>> jax.vmap(start)(keys).params["w"].shape
    (8, 3, 2)
    """
    check_key(key, "train_state")
    net = as_layer(net, "train_state")
    if isinstance(net, Ensemble):
        keys = jax.random.split(key, net.members)
        start = partial(train_state, net.net, optimizer, x)
        return net.place(jax.vmap(lambda key: start(key=key))(keys))
    params, state = net.init(fold_in(key, "init"), x)
    opt_state = optimizer.init(params)
    made = TrainState(params, state, opt_state, jnp.zeros((), jnp.int32), key)
    return jax.tree.map(_strong, made)


def _strong(x: Any) -> jax.Array:
    """The array with a dtype of its own: a weak one would change after one step."""
    x = jnp.asarray(x)
    return jax.lax.convert_element_type(x, x.dtype)


def steps_taken(state: Any) -> Any:
    """How many steps a state has seen; all members of an ensemble as many."""
    step: Any = getattr(state, "step", 0)
    return step[0] if jnp.ndim(step) else step


@jax.jit
def copy(tree: Any) -> Any:
    """The same arrays in new buffers."""

    def one(a):
        if jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
            data = jnp.copy(jax.random.key_data(a))
            return jax.random.wrap_key_data(data, impl=jax.random.key_impl(a))
        return jnp.copy(a)

    return jax.tree.map(one, tree)
