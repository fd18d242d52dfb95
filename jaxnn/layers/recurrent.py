# SPDX-License-Identifier: Apache-2.0
"""Recurrent layers: cells over time, in one direction, in both, and in stacks."""

from dataclasses import KW_ONLY
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxnn import checks
from jaxnn.core import Composite, Layer, Wrapper, as_layer, unknown_child
from jaxnn.layers.cells import GRUCell, LSTMCell, RNNCell, fitting
from jaxnn.layers.dropout import Dropout
from jaxnn.layers.sequences import Sequences, pack, unpack
from jaxnn.messages.arguments import answered
from jaxnn.messages.tracebacks import warn
from jaxnn.ops.devices import gathered
from jaxnn.ops.recurrent import keep, real_steps
from jaxnn.trees import abstract

#: More recurrent layers than anybody stacks: the size of the inputs came first.
MANY = 16


class Recurrent(Layer):
    """A cell run over time: `carry, y[t] = cell(carry, x[t])`, from the first step on.

    Takes `x` `[N, T, ...]`, `(x, lengths)` or `Sequences`, and returns the outputs of
    all steps, or `Sequences` for `Sequences`. Padding changes nothing: past the end of
    an example, its carry is kept, its outputs are zero, and no gradient flows.
    Parameters and children are those of the cell.

    Args:
        cell: a layer that maps `(carry, x)` to `(carry, y)` and has a method
            `zero_carry(x)`.
        reverse: whether to run from the last step (of each example) to the first.

    Raises:
        ValueError: if lengths are not from 1 to T, the carry has the wrong shape, or
            there are no steps.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> layer, x = nn.Recurrent(nn.LSTMCell(8)), jnp.ones((2, 5, 3))
    >>> params, state = layer.init(jax.random.key(0), x)
    >>> layer.apply(params, state, (x, jnp.array([5, 2])))[0].shape
    (2, 5, 8)
    """

    with_lengths = "uses"
    cell: Any
    _: KW_ONLY
    reverse: bool = False

    def __post_init__(self):
        if not is_cell(self.cell):
            raise TypeError(
                "Recurrent: cell must be a layer with a method zero_carry(x), such as "
                f"nn.LSTMCell(64), got {self.cell!r:.100}"
            )

    def children(self):
        return self.cell.children()

    def with_child(self, name, layer):
        return Recurrent(self.cell.with_child(name, layer), reverse=self.reverse)

    def as_stateful(self, length: int | None = None) -> Layer:
        """The same layer with its carry in the state."""
        del length
        if self.reverse:
            raise ValueError(
                "stateful: a layer that runs in reverse needs the whole sequence and "
                "cannot go on from step to step"
            )
        return _Continued(self)

    def start(self, x):
        """The carry before the first step, for inputs like `x`."""
        return self.cell.zero_carry(_one_step(unpack("Recurrent", x).x))

    def init(self, key, x):
        x = unpack("Recurrent", x).x
        return self.cell.init(key, (abstract(self.start(x)), _one_step(x)))

    def apply(self, params, state, x, *, key=None, train=False):
        given, params = unpack("Recurrent", x), gathered(params)
        carry = self._first_carry(given)
        xs, mask = jnp.swapaxes(given.x, 0, 1), None
        if given.lengths is not None:
            mask = real_steps(given.lengths, xs.shape[0])
            xs = _zero_past_the_end(xs, mask)
        if hasattr(self.cell, "over_time"):
            carry, ys = self.cell.over_time(
                params, carry, xs, mask, reverse=self.reverse
            )
        else:
            loop = _Loop(self.cell, params, state, key, train)
            carry, ys, state = loop(carry, xs, mask, self.reverse)
        if mask is not None:
            ys = _zero_past_the_end(ys, mask)
        return pack(x, jnp.swapaxes(ys, 0, 1), given, carry), state

    def _first_carry(self, given: Sequences) -> Any:
        zero = self.start(given.x)
        if given.carry is None:
            return zero
        return fitting("Recurrent", given.carry, zero, given.x)


class _Loop(NamedTuple):
    """Any cell over time: a loop over its `apply`."""

    cell: Any
    params: Any
    state: Any
    key: Any
    train: bool

    def __call__(self, carry, xs, mask, reverse):
        """The carry and the outputs of all steps, and the state after them.

        The state of a cell is passed from step to step. If it has none but returns
        some nevertheless (from a tap inside), that of all steps is returned.
        """

        def body(both, part):
            carry, state = both
            x, real, t = part
            own = None if self.key is None else jax.random.fold_in(self.key, t)
            (after, y), new = self.cell.apply(
                self.params, state, (carry, x), key=own, train=self.train
            )
            kept, seen = (new, {}) if self.state else ({}, new)
            return (keep(real, after, carry), kept), (y, seen)

        parts = (xs, mask, jnp.arange(xs.shape[0]))
        (carry, state), (ys, seen) = jax.lax.scan(
            body, (carry, self.state), parts, reverse=reverse
        )
        return carry, ys, state or seen


def is_cell(layer: Any) -> bool:
    """Whether a layer is one step of a recurrence."""
    return isinstance(layer, Layer) and hasattr(layer, "zero_carry")


def _one_step(x: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((x.shape[0], *x.shape[2:]), x.dtype)


def _zero_past_the_end(xs: jax.Array, mask: jax.Array) -> jax.Array:
    """Zero the steps that are not real, so that NaN there does not reach a product."""
    real = mask.reshape(mask.shape + (1,) * (xs.ndim - 2))
    return jnp.where(real, xs, jnp.zeros_like(xs))


class _Continued(Wrapper):
    """A recurrent layer that continues where its last call ended; see stateful.py."""

    layer: Any

    def init(self, key, x):
        params, state = self.layer.init(key, x)
        return params, {**state, "carry": self.layer.start(x)}

    def apply(self, params, state, x, *, key=None, train=False):
        own = {name: part for name, part in state.items() if name != "carry"}
        given = unpack("Recurrent", x)
        if given.carry is None:
            given = given._replace(carry=state["carry"])
        after, own = self.layer.apply(params, own, given, key=key, train=train)
        return pack(x, after.x, given, after.carry), {**own, "carry": after.carry}


class Bidirectional(Composite):
    """A cell run over time in both directions, with outputs `[N, T, 2 F]`.

    The outputs of both directions are concatenated. Takes and returns what `Recurrent`
    does; the carry is `{"forward": ..., "backward": ...}`, as are the parameters.

    Args:
        cell: a cell; each direction has its own weights.
        backward: the cell for the backward direction, if it is a different one.

    Reference: Schuster and Paliwal, Bidirectional Recurrent Neural Networks, 1997.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> layer, x = nn.Bidirectional(nn.GRUCell(8)), jnp.ones((2, 5, 3))
    >>> params, state = layer.init(jax.random.key(0), x)
    >>> layer.apply(params, state, x)[0].shape
    (2, 5, 16)
    """

    with_lengths = "uses"
    cell: Any
    backward: Any = None

    def children(self):
        back = self.cell if self.backward is None else self.backward
        return {"forward": _over_time(self.cell), "backward": _over_time(back, True)}

    def with_child(self, name, layer):
        both = self.children()
        if name not in both:
            raise KeyError(unknown_child(self, name))
        return Bidirectional(*{**both, name: layer}.values())

    def forward(self, run, x):
        given = unpack("Bidirectional", x)
        if not isinstance(x, Sequences):
            parts = [run(name, (given.x, given.lengths)) for name in self.children()]
            return jnp.concatenate(parts, axis=-1)
        carry, outputs, after = given.carry or {}, [], {}
        for name in self.children():
            y, _, after[name] = run(name, given._replace(carry=carry.get(name)))
            outputs.append(y)
        return pack(x, jnp.concatenate(outputs, axis=-1), given, after)


def _over_time(layer: Any, reverse: bool = False) -> Layer:
    """A cell as a layer over time; such a layer as it is, but reversed if needed."""
    if isinstance(layer, Recurrent):
        layer = layer.cell if reverse else layer
    return Recurrent(layer, reverse=reverse) if is_cell(layer) else layer


class RecurrentStack(Composite):
    """A stack of recurrent layers, with dropout between them.

    Takes and returns what `Recurrent` does; the carry is a dict by layer name,
    `{"layer1": ..., "layer2": ...}`, as are the parameters.

    Args:
        layers: cells, or layers such as `Recurrent` and `Bidirectional`.
        dropout: in training, the probability of dropping each output of a layer
            before the next one sees it, 0 to 1.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> net = nn.RecurrentStack(nn.GRUCell(8), nn.Bidirectional(nn.GRUCell(4)))
    >>> params, _ = net.init(jax.random.key(0), jnp.ones((2, 5, 3)))
    >>> params["layer1"]["input"]["w"].shape, list(params["layer2"])
    ((3, 24), ['forward', 'backward'])
    """

    with_lengths = "uses"
    layers: tuple[Layer, ...]
    dropout: Any = 0.0

    def __init__(self, *layers: Any, dropout: float | Layer = 0.0):
        if not layers:
            raise ValueError("RecurrentStack: needs at least one layer")
        if not isinstance(dropout, Layer):
            checks.probability("RecurrentStack", "dropout", dropout)
        layers = tuple(as_layer(layer, "RecurrentStack") for layer in layers)
        object.__setattr__(self, "layers", layers)
        object.__setattr__(self, "dropout", dropout)

    def _names(self) -> list[str]:
        return [f"layer{i + 1}" for i in range(len(self.layers))]

    def children(self):
        found = dict(zip(self._names(), map(_over_time, self.layers), strict=True))
        if not checks.is_zero(self.dropout) and len(self.layers) > 1:
            found["dropout"] = _dropout(self.dropout)
        return found

    def with_child(self, name, layer):
        children = self.children()
        if name not in children:
            raise KeyError(unknown_child(self, name))
        children[name] = as_layer(layer, "RecurrentStack")
        dropout = children.pop("dropout", self.dropout)
        return RecurrentStack(*children.values(), dropout=dropout)

    def forward(self, run, x):
        given = unpack("RecurrentStack", x)
        carry, y, after = given.carry or {}, given.x, {}
        for name in self._names():
            if name != "layer1" and "dropout" in self.children():
                y = run("dropout", y)
            if isinstance(x, Sequences):
                y, _, after[name] = run(
                    name, given._replace(x=y, carry=carry.get(name))
                )
            else:
                y = run(name, (y, given.lengths))
        return pack(x, y, given, after)

    def __repr__(self) -> str:
        shown = [repr(layer) for layer in self.layers]
        if not checks.is_zero(self.dropout):
            shown.append(f"dropout={self.dropout!r}")
        return f"RecurrentStack({', '.join(shown)})"


def _dropout(rate: float | Layer) -> Layer:
    return rate if isinstance(rate, Layer) else Dropout(rate)


@answered
def rnn(
    features: int, layers: int = 1, bidirectional: bool = False, dropout: float = 0.0
) -> RecurrentStack:
    """A stack of simple recurrent layers, `[N, T, C]` to `[N, T, F]`; see `lstm`."""
    return _stack("rnn", RNNCell(features), layers, bidirectional, dropout)


@answered
def gru(
    features: int, layers: int = 1, bidirectional: bool = False, dropout: float = 0.0
) -> RecurrentStack:
    """A stack of GRU layers, `[N, T, C]` to `[N, T, F]`; see `lstm`."""
    return _stack("gru", GRUCell(features), layers, bidirectional, dropout)


@answered
def lstm(
    features: int, layers: int = 1, bidirectional: bool = False, dropout: float = 0.0
) -> RecurrentStack:
    """A stack of long short-term memory (LSTM) layers, `[N, T, C]` to `[N, T, F]`.

    Takes `x`, `(x, lengths)` or `nn.Sequences`; see `nn.Recurrent`. Parameters are
    those of the cell under `layer1`, `layer2`, ..., or, if bidirectional, under
    `layer1/forward` and `layer1/backward`.

    Args:
        features: the number of hidden units of each layer, F; a bidirectional stack
            outputs 2 F.
        layers: the number of layers.
        bidirectional: whether each layer also runs backward.
        dropout: in training, the probability of dropping an output between layers.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> net, x = nn.lstm(8, layers=2, bidirectional=True), jnp.ones((2, 5, 3))
    >>> params, state = net.init(jax.random.key(0), x)
    >>> net.apply(params, state, (x, jnp.array([5, 2])))[0].shape
    (2, 5, 16)
    >>> params["layer2"]["backward"]["input"]["w"].shape
    (16, 32)
    """
    return _stack("lstm", LSTMCell(features), layers, bidirectional, dropout)


def _stack(owner, cell, layers, bidirectional, dropout) -> RecurrentStack:
    checks.positive_int(owner, "layers", layers)
    if layers > MANY:
        warn(
            f"{owner}: layers is {layers}, and features {cell.features}; the size of "
            f"the inputs is found by init: for {layers} units write {owner}({layers})"
        )
    checks.probability(owner, "dropout", dropout)
    one = Bidirectional(cell) if bidirectional else cell
    return RecurrentStack(*[one] * layers, dropout=dropout)
