# SPDX-License-Identifier: Apache-2.0
"""Everything that training changes, as one record."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxnn.core import Params, State
from jaxnn.inputs.variables import variables as variables


class TrainState(NamedTuple):
    """The state of a training run; together with the data it determines the rest."""

    params: Params  # the network's parameters
    state: State  # the network's state: running statistics and the like
    opt_state: Any  # the optimizer's state
    step: jax.Array  # int32 [], steps taken so far
    key: jax.Array  # the run's random key; it never changes
    watch: dict[str, Any] = {}  # noqa: RUF012  what early stopping and plateaus remember


def steps_taken(state: Any) -> Any:
    """How many steps a state has seen; the same for all members of an ensemble."""
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
