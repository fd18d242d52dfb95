# SPDX-License-Identifier: Apache-2.0
"""Work on a network by paths: replace a layer, tap an output, summarize."""

from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import jax

from jaxnn import trees
from jaxnn.core import Layer, as_layer, trace, written


def layer_paths(net: Layer) -> dict[str, Layer]:
    """Every layer inside a network by its path, outer ones first.

    >>> import jaxnn as nn
    >>> list(nn.layer_paths(nn.Sequential(body=nn.Sequential(fc=nn.Dense(2)))))
    ['body', 'body/fc']
    """
    found = {}
    for name, child in net.children().items():
        found[name] = child
        found |= {f"{name}/{path}": c for path, c in layer_paths(child).items()}
    return found


def edit(net: Layer, path: str, change: Callable[[Layer], Any]) -> Layer:
    """The network with the layers at `path` replaced by `change(layer)`.

    Parameters keep their paths, so those of the other layers fit the new network.

    Args:
        net: a network; it is left as it is.
        path: a path such as `stage1/conv2`, or a pattern such as `*/relu_?`.
        change: from the old layer to the new one (or to a function); or a layer.

    Raises:
        KeyError: if nothing is there; names the nearest path.

    >>> import jax, jaxnn as nn
    >>> net = nn.Sequential(nn.Dense(8), jax.nn.relu, nn.Dense(2))
    >>> nn.edit(net, "relu_1", lambda layer: jax.nn.tanh)
    Sequential(Dense(8), relu_1=jax.nn.tanh, dense_2=Dense(2))
    """
    if not isinstance(net, Layer):
        raise TypeError(f"edit: the first argument must be a network, got {net!r:.60}")
    if isinstance(change, Layer):
        change = _always(change)
    if not callable(change):
        raise TypeError(
            f"edit: change must be a function of a layer, got {change!r:.60}"
        )
    everything = layer_paths(net)
    found = [p for p in everything if p == path or fnmatchcase(p, path)]
    if not found:
        raise KeyError(
            f"edit: no layer at {path!r}{trees.nearest(path, everything)}; "
            f"the network has {', '.join(everything) or 'no children'}"
        )
    for p in reversed(found):  # inner ones first: their outer layers still exist then
        net = _replace(net, p.split("/"), change)
    return net


def _always(layer: Layer) -> Callable[[Layer], Layer]:
    return lambda _: layer


def _replace(net: Layer, names: list[str], change: Callable[[Layer], Any]) -> Layer:
    name, *rest = names
    child = net.children()[name]
    new = _replace(child, rest, change) if rest else change(child)
    return net.with_child(name, as_layer(new, "edit"))


class _Probed(NamedTuple):
    """The state of a probed layer: its own, and its outputs, one a call."""

    state: Any
    outputs: tuple


class _Probe(Layer):
    """A layer that leaves its outputs in its state: any transform carries them on."""

    layer: Layer

    def children(self):
        return self.layer.children()

    def with_child(self, name, layer):
        return _Probe(self.layer.with_child(name, layer))

    def init(self, key, x):
        return self.layer.init(key, x)

    def apply(self, params, state, x, *, key=None, train=False):
        before = ()
        if isinstance(state, _Probed):  # the second call of a shared layer
            state, before = state
        y, state = self.layer.apply(params, state, x, key=key, train=train)
        return y, _Probed(state, (*before, y))


def _probe(layer: Layer) -> Layer:
    """The layer probed; once, also where several patterns match it."""
    return layer if isinstance(layer, _Probe) else _Probe(layer)


class Tap(Layer):
    """A network that also gives what layers inside it put out.

    `apply` gives `(y, {path: output})` in place of `y`.  Parameters, state and paths
    are those of the network, so that a tap reads a trained one.  A layer that is called
    several times gives a tuple; one inside a `Repeat` has the new first axis.

    Args:
        net: a network.
        paths: a path or pattern, or several, as in `edit`.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> net, x = nn.Sequential(nn.Dense(8), jax.nn.relu, nn.Dense(2)), jnp.ones((3, 4))
    >>> params, state = net.init(jax.random.key(0), x)
    >>> (y, taps), _ = nn.Tap(net, "relu_1").apply(params, state, x)
    >>> taps["relu_1"].shape
    (3, 8)
    """

    net: Layer
    paths: str | tuple[str, ...]

    def __post_init__(self):
        patterns = (self.paths,) if isinstance(self.paths, str) else self.paths
        if not isinstance(patterns, tuple | list) or not all(
            isinstance(path, str) for path in patterns
        ):
            raise TypeError(
                f"Tap: paths must be a path or a tuple of them, got {self.paths!r:.60}"
            )
        probed = self.net
        for path in patterns:
            probed = edit(probed, path, _probe)
        object.__setattr__(self, "_probed", probed)

    def children(self):
        return self.net.children()

    def with_child(self, name, layer):
        return Tap(self.net.with_child(name, layer), self.paths)

    def init(self, key, x):
        return self.net.init(key, x)

    def apply(self, params, state, x, *, key=None, train=False):
        probed: Layer = self._probed  # type: ignore[attr-defined]
        y, state = probed.apply(params, state, x, key=key, train=train)
        taps: dict[str, Any] = {}
        state = _collect(probed, state, "", taps)
        return (y, taps), state


def _collect(layer: Layer, state: Any, path: str, taps: dict[str, Any]) -> Any:
    """Move the outputs out of a probed network's state."""
    if isinstance(layer, _Probe) and isinstance(state, _Probed):
        (state, outputs), layer = state, layer.layer
        taps[path] = outputs[0] if len(outputs) == 1 else outputs
    if not layer.children():
        return state
    below = {}
    for name, part in state.items():
        inside = layer.children().get(name)
        at = f"{path}/{name}".lstrip("/")
        part = part if inside is None else _collect(inside, part, at, taps)
        below |= {name: part} if part else {}
    return below


class Row(NamedTuple):
    """One layer in a summary; sizes are for the whole example batch."""

    path: str
    layer: str
    output: str
    parameters: int
    flops: int
    bytes: int


class Summary(NamedTuple):
    """What `summary` gives: rows as data, and a table as text."""

    rows: list[Row]

    @property
    def parameters(self) -> int:
        """How many parameters the network has."""
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
    """A table of a network: path, layer, output shape, parameters, FLOPs, bytes.

    Args:
        net: a network.
        x: an example batch, or only its `jax.ShapeDtypeStruct`.

    Returns:
        A `Summary`; print it. FLOPs are XLA's count for a forward pass over the whole
        batch, bytes those of the parameters.

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
    """XLA's own count, from the program before it is compiled."""
    state = jax.eval_shape(lambda x: call.layer.init(jax.random.key(0), x)[1], call.x)

    def apply(params, state, x):
        return call.layer.apply(params, state, x)[0]

    cost = jax.jit(apply).lower(call.params, state, call.x).cost_analysis()
    return int((cost or {}).get("flops", 0))


def _cell(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def _line(cells: list[str], widths: list[int]) -> str:
    """Words to the left, numbers to the right."""
    pairs = list(zip(cells, widths, strict=True))
    words = [cell.ljust(width) for cell, width in pairs[:3]]
    return "  ".join(words + [cell.rjust(width) for cell, width in pairs[3:]])
