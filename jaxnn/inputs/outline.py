# SPDX-License-Identifier: Apache-2.0
"""The layers inside a network as a table, for notebooks."""

from collections.abc import Iterator
from typing import Any

from jaxnn.messages import tables
from jaxnn.spec import fields

#: How many layers a notebook shows of a network.
LISTED = 60


def html_table(layer: Any, written: Any) -> str | None:
    """The table of a layer's children; None if it has none.

    Args:
        layer: a layer.
        written: a function from a layer to what is written in code for it.
    """
    inside = list(_inside(layer, written))
    if not inside:
        return None  # the notebook shows the repr
    left = len(inside) - LISTED
    rows = [*inside[:LISTED], *([("...", f"{left} more")] if left > 0 else [])]
    note = "with shapes, parameters and FLOPs: nn.summary(net, x)"
    return tables.html(_outline(layer, written), ("path", "layer"), rows, note)


def _inside(layer: Any, written: Any, above: str = "") -> Iterator[tuple[str, str]]:
    """The path and the text of each layer inside another one, in order."""
    for name, child in layer.children().items():
        yield f"{above}{name}", _outline(child, written)
        yield from _inside(child, written, f"{above}{name}/")


def _outline(layer: Any, written: Any) -> str:
    """A layer as written in code, but without the layers inside."""
    if not layer.children():
        return f"{written(layer):.100}"
    values = {n: v for n, v in fields(layer).items() if isinstance(v, int | float)}
    own = ", ".join(f"{name}={value!r}" for name, value in values.items())
    return type(layer).__name__ + (f"({own})" if own else "")
