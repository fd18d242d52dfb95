# SPDX-License-Identifier: Apache-2.0
"""What a network may take, as far as its parameters tell."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from jaxnn import layers
from jaxnn.core import Layer
from jaxnn.surgery import layer_paths
from jaxnn.torch_weights.counterparts import unwrapped
from jaxnn.torch_weights.parts import join

_SIDES = (32, 28, 64, 96, 128, 224, 256, 299, 512)  # of images, tried in this order


def possible_inputs(net: Layer, given: Mapping) -> Iterator[Any]:
    """The shapes of batches that fit the network's first layer with weights.

    Args:
        net: a network.
        given: its arrays, by kind (params or state) and path.
    """
    for path, layer in {"": net, **layer_paths(net)}.items():
        layer = unwrapped(layer)
        leaf, inputs = _FIRST.get(type(layer), ("", None))
        w = given.get(("params", join(path, leaf)))
        if inputs and w is not None:
            yield from inputs(layer, w)
            return


def _batch(*shape: int, dtype: Any = jnp.float32) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((2, *shape), dtype)


def _rows(layer: Any, w: Any) -> Iterator[Any]:
    yield _batch(w.shape[-2])
    yield _batch(2, w.shape[-2])


def _steps(layer: Any, w: Any) -> Iterator[Any]:
    yield _batch(2, w.shape[-2])


def _positions(layer: Any, w: Any) -> Iterator[Any]:
    yield _batch(*w.shape[-2:])


def _ids(layer: Any, w: Any) -> Iterator[Any]:
    yield _batch(2, dtype=jnp.int32)
    yield _batch(dtype=jnp.int32)


def _images(layer: Any, w: Any) -> Iterator[Any]:
    for side in _SIDES:
        yield _batch(*[side] * (w.ndim - 2), w.shape[-2] * layer.groups)


def _one_step(layer: Any, w: Any) -> Iterator[Any]:
    x = _batch(w.shape[-2])
    yield jax.eval_shape(layer.zero_carry, x), x


#: By kind of layer: its weight, and what it may take if it has this one.
_FIRST: dict[type, tuple[str, Callable[[Any, Any], Iterator[Any]]]] = {
    layers.Dense: ("w", _rows),
    layers.Conv: ("w", _images),
    layers.ConvTranspose: ("w", _images),
    layers.Embed: ("table", _ids),
    layers.LearnedPositions: ("table", _positions),
    layers.Recurrent: ("input/w", _steps),
    layers.MultiHeadAttention: ("query/w", _steps),
    layers.FeedForward: ("up/w", _steps),
    **dict.fromkeys(
        (layers.RNNCell, layers.GRUCell, layers.LSTMCell), ("input/w", _one_step)
    ),
}
