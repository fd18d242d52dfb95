# SPDX-License-Identifier: Apache-2.0
"""Networks that continue where their last call ended.

A layer with a carry has a method `as_stateful(length)`. It returns the same layer, with
the same parameters, that keeps its carry in its state, under `carry`, from call to
call.  `stateful` replaces every such layer of a network.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from jaxnn import checks, trees
from jaxnn.core import Layer, State, as_layer
from jaxnn.layers.combine import Remat
from jaxnn.layers.mixed import Mixed
from jaxnn.messages.tracebacks import entrance


@entrance
def stateful(net: Layer, length: int | None = None) -> Layer:
    """Keep a network's carry in its state: each call continues where the last ended.

    Recurrent layers keep their carry, attention its keys and values, positions their
    count. Parameters and their paths are those of the network, so trained ones fit. A
    call takes any number of steps: a whole prompt at once, one at a time to generate,
    or a chunk of a long sequence for truncated backpropagation through time (train the
    stateful network, without shuffling; gradients end at the edge of the chunk, because
    the incoming state is a constant).

    The state belongs to a batch of N examples; `zero_carry` makes a fresh one.

    Args:
        net: a network.
        length: the maximum number of steps; needed if attention or learned positions
            have a table of that size.

    Returns:
        A network with the same parameters and additional state.

    Raises:
        ValueError: if a layer needs the whole sequence, such as one that runs in
            reverse, or if no layer of the network has a carry.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> net, x = nn.Sequential(nn.lstm(8), nn.Dense(2)), jnp.ones((3, 4, 5))
    >>> params, state = net.init(jax.random.key(0), x)
    >>> whole, _ = net.apply(params, state, x)
    >>> live = nn.stateful(net)
    >>> state = nn.zero_carry(live, x)
    >>> first, state = live.apply(params, state, x[:, :3])
    >>> last, state = live.apply(params, state, x[:, 3:])
    >>> bool(jnp.allclose(whole, jnp.concatenate([first, last], 1), atol=1e-6))
    True
    """
    net = as_layer(net, "stateful")
    if length is not None:
        checks.positive_int("stateful", "length", length)
    live = _convert(net, length)
    if live is net:
        raise ValueError(
            f"stateful: the network has no layer with a carry: {net!r:.200}"
        )
    return live


def _convert(layer: Layer, length: int | None, path: str = "") -> Layer:
    """The layer with those that have a carry replaced; itself if there are none."""
    if hasattr(layer, "as_stateful"):
        try:
            return layer.as_stateful(length)  # type: ignore[attr-defined]
        except ValueError as error:
            error.add_note(f"in {path}: {layer!r:.200}" if path else f"{layer!r:.200}")
            raise
    if isinstance(layer, Remat | Mixed):  # has no child of its own
        new = _convert(layer.layer, length, path)
        return layer if new is layer.layer else dataclasses.replace(layer, layer=new)
    for name, child in layer.children().items():
        new = _convert(child, length, f"{path}/{name}".lstrip("/"))
        if new is not child:
            layer = layer.with_child(name, new)
    return layer


@entrance
def zero_carry(live: Layer, x: Any, state: State | None = None) -> State:
    """The state of a stateful network that has seen nothing yet.

    Args:
        live: a network returned by `stateful`.
        x: an example batch, or just its `jax.ShapeDtypeStruct`; only N matters.
        state: the trained state, if the network has any (running statistics).

    Returns:
        The state for N examples, with zeros under each `carry`.

    Raises:
        ValueError: if the network has state besides its carry and none was given.
    """

    def init(x):
        return live.init(jax.random.key(0), x)[1]

    shapes, given = jax.eval_shape(init, trees.abstract(x)), trees.paths(state or {})

    def start(path, leaf):
        if "carry" in path.split("/"):  # even if training left one
            return jnp.zeros(leaf.shape, leaf.dtype)
        if path not in given:
            raise ValueError(
                f"zero_carry: the network has state at {path!r} that is no carry; "
                "pass the trained one, zero_carry(live, x, state)"
            )
        return given[path]

    return trees.map_paths(start, shapes)
