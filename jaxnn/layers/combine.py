# SPDX-License-Identifier: Apache-2.0
"""Layers made of layers: in sequence, in parallel, residual, repeated."""

import functools
import operator
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp

from jaxnn import checks
from jaxnn.core import (
    Composite,
    Layer,
    Wrapper,
    as_layer,
    check_key,
    place,
    unknown_child,
    written,
)
from jaxnn.inputs.steps import Steps, as_pair, handed, plain, regained, said
from jaxnn.layers.shape import Identity
from jaxnn.messages.phrases import describe


class Listed(Composite):
    """The abstract base class of composites that take any number of children.

    Positional children are numbered by kind (`dense_1`, `relu_1`, `dense_2`); keyword
    children are named by their keywords.
    """

    layers: tuple[tuple[str, Layer], ...]

    def _list(self, children: tuple, named: dict[str, Any]) -> None:
        object.__setattr__(self, "layers", _name_children(self, children, named))

    def children(self) -> dict[str, Layer]:
        return dict(self.layers)

    def with_child(self, name: str, layer: Layer) -> Layer:
        if name not in self.children():
            raise KeyError(unknown_child(self, name))
        layers = {**self.children(), name: as_layer(layer, type(self).__name__)}
        return self._with(tuple(layers.items()))

    def _with(self, layers: tuple[tuple[str, Layer], ...]) -> "Listed":
        new = object.__new__(type(self))
        new.__dict__.update({k: v for k, v in vars(self).items() if k != "_identity"})
        new.__dict__["layers"] = layers
        return new

    def __len__(self) -> int:
        return len(self.layers)

    def __bool__(self) -> bool:
        return True  # a network without layers is a network

    def __iter__(self) -> Iterator[Layer]:
        return (layer for _, layer in self.layers)

    def __getitem__(self, index: int | str | slice) -> Any:
        """A child by number or name, or a part of the network under the same names."""
        if isinstance(index, slice):
            return self._with(self.layers[index])
        if isinstance(index, str):
            if index not in self.children():
                raise KeyError(unknown_child(self, index))
            return self.children()[index]
        if not -len(self) <= operator.index(index) < len(self):
            raise IndexError(
                f"{type(self).__name__}: index must be from 0 to {len(self) - 1}, or "
                f"negative from the end, got {index}"
            )
        return self.layers[index][1]

    def _arguments(self) -> list[str]:
        """The children as written in code: by position as long as the numbers fit."""
        counts, shown, positional = Counter(), [], True
        for name, layer in self.layers:
            positional = positional and name == _number(layer, counts)
            code = written(layer)
            shown.append(code if positional else f"{name}={code}")
        return shown

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(self._arguments())})"


def _name_children(owner: Listed, children: tuple, named: dict[str, Any]) -> tuple:
    kind, counts = type(owner).__name__, Counter()
    if len(children) == 1 and isinstance(children[0], list | tuple):
        raise TypeError(
            f"{kind}: layers must be given one by one, {kind}(*layers), got "
            f"a {type(children[0]).__name__} of them"
        )
    layers = [as_layer(child, kind) for child in children]
    pairs = [(_number(layer, counts), layer) for layer in layers]
    pairs += [(name, as_layer(child, kind)) for name, child in named.items()]
    for name, count in Counter(name for name, _ in pairs).items():
        if count > 1:
            raise ValueError(
                f"{kind}: two children are named {name!r}; a name owns its parameters, "
                "so give one of them another"
            )
        if not name or "/" in name:
            raise ValueError(f"{kind}: a child's name must have no '/', got {name!r}")
    return tuple(pairs)


def _number(layer: Layer, counts: Counter) -> str:
    """The next name of this kind: `dense_1`, `relu_1`, `dense_2`."""
    kind = snake_case(type(layer).__name__)
    if kind == "function":
        name = getattr(getattr(layer, "function", None), "__name__", kind)
        kind = name if name.isidentifier() else kind
    counts[kind] += 1
    return f"{kind}_{counts[kind]}"


class Sequential(Listed):
    """Layers applied one after the other.

    For `(x, lengths)`, padded sequences, each layer gets the lengths as long as there
    are steps, and the output is an array. A layer that mixes steps but takes no lengths
    is an error.

    `net[0]` and `net["head"]` are layers; `net[:-1]` is a network under the same names,
    so the parameters of the whole network fit it.

    Args:
        layers: layers or functions, numbered by kind.
        named: more of them, under names that you choose.

    >>> import jax, jaxnn as nn
    >>> net = nn.Sequential(nn.Dense(32), jax.nn.relu, head=nn.Dense(10))
    >>> net
    Sequential(Dense(32), jax.nn.relu, head=Dense(10))
    >>> list(net.init(jax.random.key(0), jax.numpy.ones((1, 64)))[0])
    ['dense_1', 'head']
    >>> net[:-1], len(net)
    (Sequential(Dense(32), jax.nn.relu), 3)
    """

    with_lengths = "carries"

    def __init__(self, *layers: Any, **named: Any):
        self._list(layers, named)

    def forward(self, run, x):
        for name, _ in self.layers:
            x = run(name, x)
        return x


class Concat(Listed):
    """Parallel branches on the same input, their outputs concatenated along an axis.

    Args:
        layers, named: the branches, as in `Sequential`.
        axis: the axis to concatenate along; the last one holds the channels.

    >>> import jax, jaxnn as nn
    >>> net, x = nn.Concat(nn.Dense(3), nn.Identity()), jax.numpy.ones((1, 4))
    >>> net.apply(*net.init(jax.random.key(0), x), x)[0].shape
    (1, 7)
    """

    with_lengths = "carries"
    axis: int = -1

    def __init__(self, *layers: Any, axis: int = -1, **named: Any):
        object.__setattr__(self, "axis", axis)
        self._list(layers, named)

    def forward(self, run, x):
        outputs, lengths = _side_by_side(run, self.children(), x)
        _check_alike("Concat", outputs, x, skip=self.axis)
        y = jnp.concatenate(list(outputs.values()), axis=self.axis)
        if lengths is not None and self.axis % y.ndim < 2:
            raise ValueError(
                f"Concat: axis={self.axis} joins sequences with lengths behind their "
                f"padding, got {said(x)}; join channels, axis=-1"
            )
        return y if lengths is None else Steps(y, lengths)

    def __repr__(self) -> str:
        axis = [] if self.axis == -1 else [f"axis={self.axis}"]
        return f"Concat({', '.join(self._arguments() + axis)})"


class Sum(Listed):
    """Parallel branches on the same input, their outputs added.

    Args:
        layers, named: the branches, as in `Sequential`.

    >>> import jax.numpy as jnp, jaxnn as nn
    >>> nn.Sum(nn.Identity(), jnp.negative).apply({}, {}, jnp.ones((1, 2)))[0].tolist()
    [[0.0, 0.0]]
    """

    with_lengths = "carries"

    def __init__(self, *layers: Any, **named: Any):
        self._list(layers, named)

    def forward(self, run, x):
        outputs, lengths = _side_by_side(run, self.children(), x)
        _check_alike("Sum", outputs, x)
        y = functools.reduce(operator.add, outputs.values())
        return y if lengths is None else Steps(y, lengths)


class Residual(Composite):
    """A body with a skip connection: `y = body(x) + shortcut(x)` (He et al., 2015).

    Args:
        body: a layer.
        shortcut: the skip connection; if the body changes the shape, a layer that
            changes it in the same way.

    >>> import jax, jaxnn as nn
    >>> net, x = nn.Residual(nn.Dense(4)), jax.numpy.ones((2, 4))
    >>> net.apply(*net.init(jax.random.key(0), x), x)[0].shape
    (2, 4)
    """

    with_lengths = "carries"
    body: Layer
    shortcut: Layer = Identity()

    def forward(self, run, x):
        outputs, lengths = _side_by_side(run, ("body", "shortcut"), x)
        _check_alike("Residual", outputs, x)
        y = outputs["body"] + outputs["shortcut"]
        return y if lengths is None else Steps(y, lengths)


def _side_by_side(run, names: Iterable[str], x: Any) -> tuple[dict[str, Any], Any]:
    """The branches' outputs by name, and their lengths, or None."""
    outputs = {name: run(name, x) for name in names}
    lengths = [y.lengths for y in outputs.values() if isinstance(y, Steps)]
    arrays = {n: y.x if isinstance(y, Steps) else y for n, y in outputs.items()}
    return arrays, lengths[0] if lengths else None


def _check_alike(owner: str, outputs: dict[str, Any], x: Any, skip: int | None = None):
    """Raise unless the branches' outputs have the same shape (except axis `skip`)."""
    if not outputs:
        raise ValueError(f"{owner}: needs at least one branch")
    shapes = set()
    for name, y in outputs.items():
        if not hasattr(y, "shape"):
            raise TypeError(
                f"{owner}: branch {name} must give one array, got {describe(y):.60}"
            )
        shape = list(y.shape)
        if skip is not None and -len(shape) <= skip < len(shape):
            shape[skip] = -1
        shapes.add((*shape, str(y.dtype)))
    if len(shapes) > 1:
        got = ", ".join(f"{name} {describe(y)}" for name, y in outputs.items())
        raise ValueError(
            f"{owner}: branches must give the same shape and dtype on {said(x)}, "
            f"got {got}"
        )


class Repeat(Layer):
    """`n` identical blocks in a row, each with its own weights, compiled once.

    `y = block_n(... block_1(x))` by a `lax.scan`: compile time does not grow with `n`.
    Parameters, under `block`, are those of the block with a new first axis `[n, ...]`.

    Args:
        block: a layer whose output has the shape of its input.
        n: the number of blocks.

    >>> import jax, jaxnn as nn
    >>> net, x = nn.Repeat(nn.Dense(4), 3), jax.numpy.ones((2, 4))
    >>> params, state = net.init(jax.random.key(0), x)
    >>> params["block"]["w"].shape
    (3, 4, 4)
    """

    with_lengths = "carries"
    block: Layer
    n: int

    def __post_init__(self):
        checks.positive_int("Repeat", "n", self.n)
        object.__setattr__(self, "block", as_layer(self.block, "Repeat"))

    def children(self):
        return {"block": self.block}

    def with_child(self, name, layer):
        if name != "block":
            raise KeyError(unknown_child(self, name))
        return Repeat(layer, self.n)

    def init(self, key, x):
        check_key(key, "Repeat.init")
        keys = jax.random.split(key, self.n)
        x = jax.eval_shape(lambda x: handed(self.block, self._steps(x)), x)
        with place("block", self.block, x):
            params, state = jax.vmap(lambda key: self.block.init(key, x))(keys)
        return _under("block", params), _under("block", state)

    def apply(self, params, state, x, *, key=None, train=False):
        steps = self._steps(x)
        given = said(steps)

        def body(x, part):
            params, state, index = part
            own = None if key is None else jax.random.fold_in(key, index)
            with place("block", self.block, x):
                seen, options = handed(self.block, x), {"key": own, "train": train}
                y, state = self.block.apply(params, state, seen, **options)
            y = regained(self.block, x, y)
            if said(y) != given:
                raise ValueError(
                    f"Repeat: the block must keep the shape of its input, {given}, "
                    f"got {said(y)}"
                )
            return y, state

        parts = (params.get("block", {}), state.get("block", {}), jnp.arange(self.n))
        y, new = jax.lax.scan(body, steps, parts)
        return y if isinstance(x, Steps) else plain(y), _under("block", new)

    def _steps(self, x: Any) -> Any:
        """A pair as `Steps`, so that every block takes and returns the same type."""
        x = x if self.block.with_lengths == "unknown" else as_pair(x)
        return Steps(*x) if isinstance(x, Steps) else x


def _under(name: str, tree: dict) -> dict:
    return {name: tree} if tree else {}


class Remat(Wrapper):
    """A layer that stores no activations: the backward pass recomputes them.

    The same function and parameter paths as the layer alone, with less memory and more
    arithmetic (Chen et al., 2016).

    Args:
        layer: any layer.

    >>> import jax, jaxnn as nn
    >>> list(nn.Remat(nn.Dense(4)).init(jax.random.key(0), jax.numpy.ones((2, 4)))[0])
    ['w', 'b']
    """

    def apply(self, params, state, x, *, key=None, train=False):
        def apply(params, state, x, key):
            return self.layer.apply(params, state, x, key=key, train=train)

        return jax.checkpoint(apply)(params, state, x, key)


def snake_case(name: str) -> str:
    """A class name in the form used in paths.

    >>> snake_case("BatchNorm"), snake_case("LSTMCell"), snake_case("PReLU")
    ('batch_norm', 'lstm_cell', 'prelu')
    """
    name = name.replace("ReLU", "relu")
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()
