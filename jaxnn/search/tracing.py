# SPDX-License-Identifier: Apache-2.0
"""Hyperparameters as traced values: whether that works, and how to pass them."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxnn.search.groups import Works
from jaxnn.search.parts import Maker
from jaxnn.search.space import Settings
from jaxnn.train.batch import rows_of
from jaxnn.train.objective import unpack
from jaxnn.train.start import train_state


def tracing(maker: Maker, metrics: Any, data: Any, batch_size: int | None) -> Works:
    """A function that tells whether names can be traced, by tracing one step."""

    def works(settings: Settings, names: list[str]) -> bool:
        batch = rows_of(data, settings.get("batch_size", batch_size))

        def step(values, key):
            parts = maker(settings | values)
            x, _, _ = unpack(parts.net, batch)
            state = train_state(parts.net, parts.optimizer, x, key=key)
            y = parts.net.apply(state.params, state.state, zeros(x))
            return y, parts.step(metrics).advance(state, zeros(batch))

        values = stacked([settings], names)
        try:
            jax.eval_shape(jax.vmap(step, (0, None)), values, jax.random.key(0))
        except Exception:  # retried with fewer names traced, down to none
            return False
        return True

    return works


def zeros(tree: Any) -> Any:
    """Arrays of zeros with the shapes of a tree."""
    return jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), tree)


def stacked(every: list[Settings], names: list[str]) -> dict[str, jax.Array]:
    """The values of names as arrays `[settings]`, with the dtype of Python floats."""
    # (Weakly typed: in a bfloat16 network a Python float leaves everything bfloat16.)
    return {
        name: jnp.stack([jnp.asarray(float(s[name])) for s in every]) for name in names
    }
