# SPDX-License-Identifier: Apache-2.0
"""Where a training run begins."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxnn import trees
from jaxnn.core import Layer, Params, State, as_layer, check_key, fold_in
from jaxnn.inputs.entry import on_device
from jaxnn.messages.arguments import answered
from jaxnn.messages.phrases import describe, listed, nearest
from jaxnn.train.checks import check_optimizer
from jaxnn.train.early_stopping import EarlyStopping, Plateau, checked_watch
from jaxnn.train.ensemble import Ensemble
from jaxnn.train.loss_scale import optimizer_for
from jaxnn.train.state import TrainState


@answered
def train_state(
    net: Layer,
    optimizer: optax.GradientTransformation,
    x: Any,
    *,
    key: jax.Array,
    params: Params | None = None,
    state: State | None = None,
    early_stopping: EarlyStopping | None = None,
    plateau: Plateau | None = None,
) -> TrainState:
    """The initial state of training.

    Args:
        net: a network.
        optimizer: an Optax optimizer.
        x: an example batch, or just its `jax.ShapeDtypeStruct`.
        key: the run's random key.
        params, state: parameters and state to start from, such as those of another run
            or pretrained ones. A layer that they leave out altogether, such as a new
            head, is initialized. The step count and the optimizer start anew.
        early_stopping, plateau: those of the run, if any, as what they keep is part of
            its state: `nn.load(path, like=train_state(...))` then fits its checkpoints.

    Returns:
        A `TrainState` at step 0; a batch of them under `jax.vmap` over keys, and for an
        `ensemble`.

    Raises:
        ValueError: `params` or `state` are not those of this network.

    >>> import jax, jax.numpy as jnp, jaxnn as nn, optax
    >>> keys = jax.random.split(jax.random.key(0), 8)
    >>> start = lambda key: nn.train_state(nn.Dense(2), optax.sgd(0.1), x, key=key)
    >>> x = jnp.ones((1, 3))
    >>> jax.vmap(start)(keys).params["w"].shape
    (8, 3, 2)

    Go on from trained weights with another optimizer and a new head:

    >>> body = start(keys[0]).params
    >>> net = nn.Sequential(body=nn.Dense(2), head=nn.Dense(5))
    >>> key = jax.random.key(1)
    >>> state = nn.train_state(net, optax.adam(1e-3), x, key=key, params={"body": body})
    >>> bool((state.params["body"]["w"] == body["w"]).all())
    True
    """
    check_key(key, "train_state")
    check_optimizer("train_state", optimizer)
    net = as_layer(net, "train_state")
    if isinstance(net, Ensemble):
        keys = jax.random.split(key, net.members)
        one = partial(train_state, net.net, optimizer, x)
        start = partial(one, early_stopping=early_stopping, plateau=plateau)

        def member(key, params, state):
            return start(key=key, params=params, state=state)

        return net.place(jax.vmap(member)(keys, params, state))
    own_params, own_state = net.init(fold_in(key, "init"), x)
    own_params = _filled("params", own_params, params)
    own_state = _filled("state", own_state, state)
    opt_state = optimizer_for(optimizer, net).init(own_params)
    step = jnp.zeros((), jnp.int32)
    made = TrainState(own_params, own_state, opt_state, step, key)
    watch = checked_watch("train_state", early_stopping, plateau)
    return watch.begin("train_state", jax.tree.map(_strong, made))


def _filled(kind: str, own: Any, given: Any) -> Any:
    """The network's own tree with the given leaves in place, layer by layer."""
    if given is None:
        return own
    if not isinstance(given, Mapping):
        raise TypeError(
            f"train_state: {kind} must be a dict as init returns it, got "
            f"{describe(given):.100}"
        )
    given = on_device(f"train_state: {kind}", given)
    wants, has = trees.paths(own), trees.paths(given)
    problems = _misfits(
        {p: describe(a) for p, a in has.items()},
        {p: describe(a) for p, a in wants.items()},
    )
    if problems:
        raise ValueError(
            "\n  ".join(
                [
                    f"train_state: {kind} must be those of the network, where a whole "
                    "layer may be left out to be initialized; got",
                    *problems,
                ]
            )
        )
    return trees.map_paths(lambda path, leaf: has.get(path, leaf), own)


def _misfits(has: dict[str, str], wants: dict[str, str]) -> list[str]:
    """A line for each leaf that does not fit the network, or lacks in a layer given."""
    layers = {_layer(path) for path in has}
    missing, unexpected, different = trees.difference(has, wants)
    lacking = [path for path in missing if _layer(path) in layers]

    def contrast(path):
        return f"{path} is {has[path]}, in the network {wants[path]}"

    return [
        *listed("missing", lacking, str),
        *listed("unexpected", unexpected, lambda p: p + nearest(p, wants)),
        *listed("different", different, contrast),
    ]


def _layer(path: str) -> str:
    return path.rpartition("/")[0]


def _strong(x: Any) -> jax.Array:
    """The array with a strong dtype: a weak one would change after one step."""
    x = jnp.asarray(x)
    return jax.lax.convert_element_type(x, x.dtype)
