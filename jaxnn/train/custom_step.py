# SPDX-License-Identifier: Apache-2.0
"""Steps that are not a network's with its loss: those of users, players and agents."""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp

from jaxnn.messages.phrases import describe
from jaxnn.messages.tracebacks import entrance
from jaxnn.spec import Spec
from jaxnn.train.batch import length
from jaxnn.train.state import TrainState
from jaxnn.train.step import Logs, as_means, check_names


class CustomStep(Spec):
    """A pure step of its own kind, such as that of several players or of an agent.

    A subclass has `advance(state, batch) -> (state, stats)`, with statistics `{"total",
    "weight"}` that add up over steps. If it has `find(state) -> Finding`, that
    tells where a step became non-finite.
    """

    metrics = ()  # (not fields)
    layout = None
    members = 1
    takes_pairs = False

    @entrance
    def __call__(self, state: TrainState, batch: Any = None) -> tuple[TrainState, Logs]:
        state, stats = self.advance(state, batch)
        return state, as_means(stats)

    def advance(self, state: TrainState, batch: Any) -> tuple[TrainState, Logs]:
        """The step, returning statistics that add up over steps instead of means."""
        raise NotImplementedError


class FunctionStep(Spec):
    """Wraps any function `step(state, batch) -> (state, logs)` for the trainer."""

    function: Callable[..., Any]
    metrics: tuple = ()
    members = 1  # (not fields)
    layout = None
    takes_pairs = False

    def advance(self, state: Any, batch: Any) -> tuple[Any, Logs]:
        """The step; each logged value counts once for every example of its batch."""
        state, logs = self.function(state, batch)
        if not isinstance(logs, Mapping):
            raise TypeError(f"step: logs must be a dict, got {describe(logs):.100}")
        check_names("step: logs", logs)
        for name, value in logs.items():
            if jnp.shape(value) != ():
                raise ValueError(
                    f"step: logs[{name!r}] must be one number, got {describe(value)}"
                )
        weight = jnp.float32(1 if batch is None else length(batch))
        totals = {n: jnp.asarray(v, jnp.float32) * weight for n, v in logs.items()}
        stats = {n: {"total": t, "weight": weight} for n, t in totals.items()}
        return state, OrderedDict(stats)  # (jit sorts the keys of a plain dict)
