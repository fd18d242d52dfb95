# SPDX-License-Identifier: Apache-2.0
"""A table of a network's layers with their outputs, parameters and FLOPs."""

from typing import Any, NamedTuple

import jax

from jaxnn import trees
from jaxnn.core import Layer, as_layer, trace, written


class Row(NamedTuple):
    """One layer in a summary; sizes are for the whole example batch."""

    path: str
    layer: str
    output: str
    parameters: int
    flops: int
    bytes: int


class Summary(NamedTuple):
    """The result of `summary`: rows as data, and a table when printed."""

    rows: list[Row]

    @property
    def parameters(self) -> int:
        """The number of parameters of the network."""
        return sum(row.parameters for row in self.rows)

    @property
    def flops(self) -> int:
        """Floating-point operations of one forward pass over the example batch."""
        return sum(row.flops for row in self.rows)

    def __str__(self) -> str:
        total = ("total", "", "", self.parameters, self.flops, self._bytes())
        cells = [[_cell(c) for c in row] for row in (Row._fields, *self.rows, total)]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = [_line(row, widths) for row in cells]
        rule = "-" * len(lines[0])
        return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])

    def __repr__(self) -> str:
        return str(self)

    def _bytes(self) -> int:
        return sum(row.bytes for row in self.rows)


def summary(net: Layer, x: Any) -> Summary:
    """Summarize a network: path, layer, output shape, parameters, FLOPs and bytes.

    Args:
        net: a network.
        x: an example batch, or just its `jax.ShapeDtypeStruct`.

    Returns:
        A `Summary` to print. FLOPs are XLA's count for a forward pass over the whole
        batch; bytes are those of the parameters.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> net = nn.Sequential(nn.Dense(3), jax.nn.relu)
    >>> print(nn.summary(net, jnp.ones((2, 4))))
    path     layer        output        parameters  flops  bytes
    ------------------------------------------------------------
    dense_1  Dense(3)     float32[2,3]          15     54     60
    relu_1   jax.nn.relu  float32[2,3]           0      6      0
    ------------------------------------------------------------
    total                                       15     60     60
    """
    return Summary([_row(call) for call in trace(as_layer(net, "summary"), x)])


def _row(call) -> Row:
    params = call.params if call.first else {}
    size, memory = trees.count(params), trees.nbytes(params)
    name = written(call.layer)
    name = name if len(name) <= 40 else f"{name[:37]}..."
    output = trees.describe(call.y)
    return Row(call.path, name, output, size, _flops(call), memory)


def _flops(call) -> int:
    """XLA's own count, taken from the program before compilation."""
    state = jax.eval_shape(lambda x: call.layer.init(jax.random.key(0), x)[1], call.x)

    def apply(params, state, x):
        return call.layer.apply(params, state, x)[0]

    cost = jax.jit(apply).lower(call.params, state, call.x).cost_analysis()
    return int((cost or {}).get("flops", 0))


def _cell(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def _line(cells: list[str], widths: list[int]) -> str:
    """Left-align words and right-align numbers."""
    pairs = list(zip(cells, widths, strict=True))
    words = [cell.ljust(width) for cell, width in pairs[:3]]
    return "  ".join(words + [cell.rjust(width) for cell, width in pairs[3:]])
