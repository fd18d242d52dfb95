# SPDX-License-Identifier: Apache-2.0
"""The gradient that a training step follows, for inspection."""

from collections.abc import Callable
from typing import Any, cast

import jax
import optax

from jaxnn.core import Layer, Params
from jaxnn.train import checks
from jaxnn.train.ensemble import Ensemble
from jaxnn.train.freezing import frozen_patterns
from jaxnn.train.programs import program
from jaxnn.train.state import TrainState, variables
from jaxnn.train.step import EnsembleStep, TrainStep, make_step

_NONE = optax.identity()  # shared: a new one would mean another program


def loss_gradients(
    net: Layer,
    state: Any,
    batch: Any,
    loss: Callable[..., jax.Array],
    *,
    key: jax.Array | None = None,
    owner: str = "loss_gradients",
) -> Params:
    """The gradient of a batch's mean loss w.r.t. the parameters, as in a training step.

    `∇θ Σ w·loss / Σ w`, with the network in training mode (dropout, batch statistics);
    compiled once for all states of the same shapes.

    Args:
        net: a network.
        state: a `TrainState`, or a pair `(params, state)`.
        batch: `(inputs, targets)` or `(inputs, targets, weights)`, arrays `[N, ...]`.
        loss: `loss(outputs, targets) -> [N]`.
        key: a random key; None takes the key of the `TrainState`'s next step. For a
            pair it means no key, which random layers reject.
        owner: the function that the user called, for messages.

    Returns:
        A tree like the parameters; for an ensemble, each member's own gradient.
    """
    params, net_state = variables(state, owner)
    step = make_step(owner, net, loss, _NONE, None, None)
    batch = checks.checked_data(batch, f"{owner}: batch", pairs=step.takes_pairs)
    about = {"loss": loss, "what": "batch", "rows": None}
    checks.check_together(owner, step.net, (params, net_state), batch, **about)
    batch = checks.on_device(batch, f"{owner}: batch")
    key = _key(step, state) if key is None else _spread(step, key)
    frozen = frozen_patterns(getattr(state, "opt_state", ()))
    return _gradients(params, net_state, batch, key, step=step, frozen=frozen)


def _key(step: TrainStep, state: Any) -> Any:
    """The key of the state's next step, if it has one."""
    if not isinstance(state, TrainState):
        return None
    if isinstance(step, EnsembleStep):
        return jax.vmap(step.one().key)(state)
    return step.key(state)


def _spread(step: TrainStep, key: jax.Array) -> jax.Array:
    """A key, or one for each member of an ensemble."""
    many = isinstance(step, EnsembleStep)
    return jax.random.split(key, step.members) if many else key


@program()
def _gradients(
    params: Any, net_state: Any, batch: Any, key: Any, *, step: TrainStep, frozen: tuple
):
    def slopes(params, net_state, key):
        trained = one.trained(net_state, frozen)

        def objective(params):
            _, _, values = trained.forward(params, net_state, key, batch)
            return one.weighted_mean(values, batch)

        return jax.grad(objective)(params)

    one = step.one() if isinstance(step, EnsembleStep) else step
    each = cast(Ensemble, step.net).each(slopes, params) if one is not step else slopes
    return each(params, net_state, key)
