# SPDX-License-Identifier: Apache-2.0
"""How the lengths of sequences pass through the `forward` of a composite.

A custom `forward` computes with arrays; its children get the lengths with them.
"""

from typing import Any

from jaxnn.inputs.steps import Steps, alike, blank, plain


class Passing:
    """The input of one `forward`, and which arrays inside it are sequences.

    Args:
        layer: the composite.
        x: its input.
    """

    def __init__(self, layer: Any, x: Any = None):
        self._layer, self._x = layer, x
        by_forward = isinstance(x, Steps) and layer.with_lengths == "forward"
        self._given: Any = x if by_forward else None
        self._known = type(self._given) is Steps  # for a pair, only its use decides
        self._seen: dict[int, Steps] = {}  # children's outputs, by array

    def entered(self) -> Any:
        """The input as `forward` receives it: arrays, and pairs as they were given."""
        if self._given is None:
            return self._x
        return blank(*self._given) if self._known else tuple(self._given)

    def with_lengths(self, x: Any) -> Any:
        """`x` as `Steps`, if it is known to be an array of sequences."""
        if id(x) in self._seen:
            return self._seen[id(x)]
        if self._known and alike(x, self._given.x):
            return Steps(x, self._given.lengths)
        return x

    def received(self, y: Any) -> Any:
        """A child's output as `forward` receives it: arrays and pairs."""
        if not isinstance(y, Steps) or self._layer.with_lengths == "carries":
            return y
        if self._given is not None and y.lengths is self._given.lengths:
            self._known = True
        if type(y) is Steps:
            self._seen[id(y.x)] = y
        return plain(y)
