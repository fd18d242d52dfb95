# SPDX-License-Identifier: Apache-2.0
"""Which arrays are flattened images: channels last here, channels first in PyTorch."""

import math
from typing import Any

import jax

from jaxnn import layers
from jaxnn.core import Call, Layer
from jaxnn.surgery import layer_paths
from jaxnn.torch_weights.counterparts import unwrapped
from jaxnn.trees import abstract

Picture = tuple[int, ...]  # [..., C] of an image that was flattened, or ()

#: Layers whose inputs have their channels last in PyTorch too, and first there.
_LAST = (
    layers.Embed,
    layers.LearnedPositions,
    layers.MultiHeadAttention,
    layers.Recurrent,
)
_FIRST = (
    layers.BatchNorm,
    layers.Conv,
    layers.ConvTranspose,
    layers.GroupNorm,
    layers.InstanceNorm,
    layers.SeparableConv,
)
#: Layers whose outputs are as wide as their inputs, but are other features.
_MIXING = (layers.Dense, layers.FeedForward)


class Pictures:
    """What is known of the arrays of a network, call by call.

    Args:
        owner: the function that was called, for the error messages.
        inputs: the network's inputs.
    """

    def __init__(self, owner: str, inputs: Any):
        self._owner = owner
        shapes = [a.shape for a in jax.tree.leaves(abstract(inputs))]
        self._inputs = shapes
        self._whole = {-i: shape for i, shape in enumerate(shapes, 1) if len(shape) > 2}
        self._flat: dict[int, Picture] = {}
        self._seen: set[int] = set()  # outputs of calls
        self._used: set[int] = set()  # inputs of calls
        # Sequences, which flatten step by step, there as here: by array, by shape.
        self._last: dict[Any, bool] = {}
        self._latest = False

    def before(self, call: Call, path: str) -> Picture:
        """The image that a layer with weights sees flattened, or ()."""
        shape = getattr(call.x, "shape", ())
        if call.takes in self._seen or len(shape) != 2:
            return self._flat.get(call.takes, ())
        # Something that `forward` made; only its width tells from what.
        for taken, picture in self._flat.items():
            if picture and math.prod(picture) == shape[1]:
                if taken in self._used:
                    raise _unclear(self._owner, call, path, "what is done to it")
                return picture
        for taken, (_, *rest) in self._whole.items():
            mixed = rest[-1] > 1 and math.prod(rest[:-1]) > 1
            if mixed and math.prod(rest) == shape[1] and taken not in self._used:
                raise _unclear(self._owner, call, path, "nn.Flatten()")
        return ()

    def after(self, call: Call) -> None:
        """Record the input and the output of a call."""
        before, after = getattr(call.x, "shape", ()), getattr(call.y, "shape", ())
        layer = unwrapped(call.layer)
        last = self._latest = self._channels_last(layer, call.takes, before)
        self._last |= {a.shape: last for a in jax.tree.leaves(call.y)}
        if call.gives:
            self._last[call.gives] = last
        self._seen.add(call.gives)
        self._used.add(call.takes)
        if before in self._whole.values():  # perhaps an input, whose number is unknown
            self._used |= {n for n, shape in self._whole.items() if shape == before}
        if last:
            return
        if len(after) > 2:
            self._whole[call.gives] = after
        if len(before) > 2 and after == (before[0], math.prod(before[1:])):
            self._flat[call.gives] = tuple(before[1:])
        elif before == after and not isinstance(layer, _MIXING):
            self._flat[call.gives] = self._flat.get(call.takes, ())

    def _channels_last(self, layer: Layer, taken: int, shape: tuple[int, ...]) -> bool:
        """Whether the output of a layer has its channels last in PyTorch too."""
        inside = map(unwrapped, [layer, *layer_paths(layer).values()])
        known = [isinstance(a, _LAST) for a in inside if isinstance(a, _LAST + _FIRST)]
        if known:
            return known[-1]
        # What `forward` made is like the latest output of its shape, if there is one.
        unknown = self._latest and shape not in self._inputs
        return self._last.get(taken, self._last.get(shape, unknown))


def _unclear(owner: str, call: Call, path: str, child: str) -> ValueError:
    return ValueError(
        f"{owner}: in which order {path!r} gets the {call.x.shape[1]} numbers of "
        f"a picture is not clear, as forward itself works on them; make {child} a "
        "child layer of its own, called by run"
    )
