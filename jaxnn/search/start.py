# SPDX-License-Identifier: Apache-2.0
"""Initial states of trials: if possible made once per seed, as `fit` makes them."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxnn.search.parts import Maker
from jaxnn.search.space import Settings
from jaxnn.search.tracing import stacked
from jaxnn.train.early_stopping import Watch
from jaxnn.train.start import train_state
from jaxnn.train.state import TrainState


def starts(
    maker: Maker,
    every: list[Settings],
    traced: list[str],
    keys: list[Any],
    x: Any,
    watch: Watch,
) -> TrainState:
    """The initial states of trials, leaves `[trials, ...]`, without their keys.

    Args:
        maker: builds a trial's network and optimizer.
        every: the settings of each trial; they differ only in `traced`.
        traced: names whose values go into a program as data.
        keys: the key of each trial.
        x: an example batch.
        watch: what is watched of each trial.
    """

    def start(values: Settings, key: jax.Array) -> TrainState:
        parts = maker(every[0] | values)
        made = train_state(parts.net, parts.optimizer, x, key=key)
        return watch.begin("sweep", made)._replace(key=None)  # type: ignore[arg-type]

    values = stacked(every, traced)
    if not _alike(start, values, keys[0]):
        return jax.jit(jax.vmap(start))(values, jnp.stack(keys))
    # One by one: what `fit` has already compiled is reused, and whole programs that
    # draw random numbers are slow to compile.
    places: dict[int, int] = {}
    index = [places.setdefault(id(key), len(places)) for key in keys]
    first = {id(key): key for key in keys}
    made = [start({}, first[place]) for place in places]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves)[np.array(index)], *made)


def _alike(start: Any, values: Settings, key: jax.Array) -> bool:
    """Whether trials start alike whatever the values; an optimizer may hold them."""
    if not values:
        return True
    try:
        jax.eval_shape(jax.vmap(start, (0, None), out_axes=None), values, key)
    except ValueError:  # vmap has mapped outputs where one was requested
        return False
    return True
