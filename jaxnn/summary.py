# SPDX-License-Identifier: Apache-2.0
"""A table of a network's layers with their outputs, parameters and FLOPs."""

import html
import shutil
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.extend

from jaxnn import trees
from jaxnn.core import Call, Composite, Layer, as_layer, trace, tracing, written
from jaxnn.flops import CONVENTION, Flops, flops
from jaxnn.messages.arguments import answered
from jaxnn.messages.phrases import describe

_COLUMNS = ("path", "layer", "output", "parameters", "FLOPs")


class Row(NamedTuple):
    """One layer in a summary; sizes are for the whole example batch."""

    path: str
    layer: str
    output: str
    parameters: int
    flops: int
    bytes: int
    shapes: str = ""  # of the parameters
    known: bool = True  # False: a loop of unknown length counts as one step


class Summary(NamedTuple):
    """The result of `summary`: rows as data, and a table when printed."""

    rows: list[Row]
    #: Bytes that a forward pass in training keeps for the backward pass, before XLA's
    #: own savings; None where a layer has no gradient.
    activations: int | None = None

    @property
    def parameters(self) -> int:
        """The number of parameters of the network."""
        return sum(row.parameters for row in self.rows)

    @property
    def flops(self) -> int:
        """Floating-point operations of a forward pass over the example batch."""
        return sum(row.flops for row in self.rows)

    @property
    def bytes(self) -> int:
        """The memory that the parameters take."""
        return sum(row.bytes for row in self.rows)

    def __str__(self) -> str:
        rows = [_COLUMNS, *_by_parent([*self.rows, self._total()])]
        widths = _widths([row for row in rows if len(row) > 1])
        lines = [_line(row, widths) for row in rows]
        rule = "-" * len(lines[0])
        table = [lines[0], rule, *lines[1:-1], rule, lines[-1]]
        return "\n".join([*table, *self._notes()])

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        """The table for notebooks, which also has the shapes of the parameters."""
        body = [
            _html("td", (*row[:3], row.shapes, *_numbers(row))) for row in self.rows
        ]
        head = (*_COLUMNS[:3], "shapes of parameters", *_COLUMNS[3:])
        total = ("total", "", "", "", *_numbers(self._total()))
        lines = [_html("th", head), *body, _html("th", total)]
        notes = "<br>".join(map(html.escape, self._notes()))
        return "\n".join(["<table>", *lines, "</table>", f"<p>{notes}</p>"])

    def _total(self) -> Row:
        known = all(row.known for row in self.rows)
        size, memory = self.parameters, self.bytes
        return Row("total", "", "", size, self.flops, memory, known=known)

    def _notes(self) -> list[str]:
        notes = [f"The parameters take {self.bytes:,} bytes."]
        if self.activations is not None:
            notes.append(
                f"The backward pass keeps {self.activations:,} bytes of activations."
            )
        if not self._total().known:
            notes.append("+: a loop whose number of steps is unknown counts as one.")
        return [*notes, f"FLOPs: {CONVENTION}."]


@answered
def summary(net: Layer, x: Any) -> Summary:
    """Summarize a network: path, layer, output shape, parameters, FLOPs and bytes.

    Training needs the memory of the parameters several times over, for gradients and
    the optimizer's moments (Adam has two), and that of the activations which the
    backward pass reads: these grow with the batch, and `Remat` makes them fewer.
    `history.memory` has what a run took in all.

    FLOPs are those of a forward pass in training over the whole batch, by formula: 2
    for each multiply-add of a matrix product or a convolution, whatever computes it, in
    loops once a step. Products with padding and with masked attention scores count in
    full. Nothing else counts: biases, activations, norms, pooling (except of bins of
    unequal length, by a product), lookups. For a loop whose number of steps depends on
    data, one step counts, and the number is marked by `+`.

    Args:
        net: a network.
        x: an example batch, or just its `jax.ShapeDtypeStruct`.

    Returns:
        A `Summary` to print or to show in a notebook, where it also lists the shapes of
        the parameters. A row `(forward)` has what composites compute beside their
        layers, such as logits from tied weights, or in loops around them. Long
        descriptions of layers are cut to fit the terminal.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> net = nn.Sequential(nn.Dense(3), jax.nn.relu)
    >>> print(nn.summary(net, jnp.ones((2, 4))))
    path     layer        output        parameters  FLOPs
    -----------------------------------------------------
    dense_1  Dense(3)     float32[2,3]          15     48
    relu_1   jax.nn.relu  float32[2,3]           0      0
    -----------------------------------------------------
    total                                       15     48
    The parameters take 60 bytes.
    The backward pass keeps 30 bytes of activations.
    FLOPs: 2 per multiply-add of matrix products and convolutions, 0 for the rest.
    """
    net = as_layer(net, "summary")
    calls = trace(net, x)
    rows = [_row(call) for call in calls]
    return Summary(rows + _beside(net, calls, rows, x), _activations(net, x))


def _row(call: Call) -> Row:
    params = call.params if call.first else {}
    size, memory = trees.count(params), trees.nbytes(params)
    leaves = trees.paths(params).items()
    shapes = ", ".join(f"{path} {describe(leaf)}" for path, leaf in leaves)
    name, output = written(call.layer), describe(call.y)
    number, known = _flops(call.layer, call.params, call.state, call.x)
    return Row(call.path, name, output, size, number, memory, shapes, known)


def _flops(layer: Layer, params: Any, state: Any, x: Any) -> Flops:
    def apply(params, state, x, key):
        return layer.apply(params, state, x, key=key, train=True)[0]

    with tracing():
        return flops(apply, params, state, x, jax.eval_shape(lambda: jax.random.key(0)))


def _beside(net: Layer, calls: list[Call], rows: list[Row], x: Any) -> list[Row]:
    """What the whole network does beside its layers, if it does anything."""
    if not isinstance(net, Composite):
        return []
    params, state = {}, {}
    for call in calls:
        if call.first:
            trees.put(params, call.path, call.params)
            trees.put(state, call.path, call.state)
    whole = _flops(net, params, state, x)
    own = whole.number - sum(row.flops for row in rows)
    known = whole.known or not all(row.known for row in rows)
    return [Row("(forward)", "", "", 0, own, 0, known=known)] if own else []


def _activations(net: Layer, x: Any) -> int | None:
    """The bytes of what a forward pass computes and its backward pass reads."""

    def kept(params, state, x, key):
        def forward(params):
            return net.apply(params, state, x, key=key, train=True)

        return jax.tree.leaves(jax.vjp(forward, params, has_aux=True)[1])

    key = jax.eval_shape(lambda: jax.random.key(0))
    try:
        with tracing():
            variables = jax.eval_shape(net.init, key, x)
            program = jax.make_jaxpr(kept)(*variables, x, key).jaxpr
    except Exception:  # a user's layer without a gradient
        return None
    given = {*program.invars, *program.constvars}
    made = {v for v in program.outvars if isinstance(v, jax.extend.core.Var)} - given
    return sum(v.aval.size * v.aval.dtype.itemsize for v in made)  # type: ignore


def _by_parent(rows: list[Row]) -> Iterator[tuple[str, ...]]:
    """The cells, with the common beginning of paths in a line of its own."""
    above = ""
    for row in rows:
        parent, _, name = row.path.rpartition("/")
        if parent and parent != above:
            yield (parent,)
        above = parent
        yield ("  " * bool(parent) + name, row.layer, row.output, *_numbers(row))


def _numbers(row: Row) -> tuple[str, str]:
    return f"{row.parameters:,}", f"{row.flops:,}{'' if row.known else '+'}"


def _widths(rows: list[tuple[str, ...]]) -> list[int]:
    """Those of the columns; layers get what the terminal leaves, or 12 at least."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    room = shutil.get_terminal_size().columns - sum(widths) - 2 * (len(widths) - 1)
    widths[1] = min(widths[1], max(widths[1] + room, 12))
    return widths


def _line(cells: tuple[str, ...], widths: list[int]) -> str:
    """Left-align words and right-align numbers; a path alone stands as it is."""
    if len(cells) == 1:
        return cells[0]
    pairs = list(zip(cells, widths, strict=True))
    words = [_cut(cell, width).ljust(width) for cell, width in pairs[:3]]
    return "  ".join(words + [cell.rjust(width) for cell, width in pairs[3:]])


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 3]}..."


def _html(tag: str, cells: tuple[str, ...]) -> str:
    aligned = zip(["left"] * 4 + ["right"] * 2, cells, strict=True)
    inside = (
        f'<{tag} style="text-align: {side}">{html.escape(cell)}</{tag}>'
        for side, cell in aligned
    )
    return f"<tr>{''.join(inside)}</tr>"
