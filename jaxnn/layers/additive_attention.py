# SPDX-License-Identifier: Apache-2.0
"""Additive attention, and a recurrent layer that attends at every step."""

from dataclasses import KW_ONLY
from typing import Any

import jax
import jax.numpy as jnp

from jaxnn import checks, initializers
from jaxnn.core import Layer, fold_in, place, unknown_child
from jaxnn.inputs.steps import blank, within
from jaxnn.layers.attention import check_attend
from jaxnn.layers.padding import Attend
from jaxnn.layers.recurrent import is_cell
from jaxnn.messages.phrases import describe
from jaxnn.ops.attention import additive_attention
from jaxnn.ops.dense import dense
from jaxnn.ops.recurrent import keep
from jaxnn.trees import abstract


class AdditiveAttention(Layer):
    """Additive attention, with scores `tanh(query w₁ + memory w₂ + b) · w₃`.

    The input is an `nn.Attend` with the query as `x`, `[N, T, Q]` (or `[N, Q]` for one
    step), and a memory `[N, S, M]`. The output is `(context, weights)`: the average of
    the memory, weighted by the `softmax` of the scores, `[N, T, M]`, and the weights,
    `[N, T, S]` (both without T for one step). Parameters: `query/w`, `[Q, F]`,
    `memory/w`, `[M, F]`, `memory/b`, `score/w`, `[F, 1]`.

    Args:
        features: the number of hidden features, F.
        w_init: initializer of every `w`.

    Raises:
        ValueError: there is no memory, or shapes do not match each other or those at
            `init`.

    Reference: Bahdanau, Cho and Bengio, Neural Machine Translation by Jointly Learning
    to Align and Translate, 2014.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> layer, query = nn.AdditiveAttention(8), jnp.ones((2, 4))
    >>> x = nn.Attend(query, jnp.ones((2, 3, 6)), memory_lengths=jnp.array([3, 1]))
    >>> params, state = layer.init(jax.random.key(0), x)
    >>> (context, weights), _ = layer.apply(params, state, x)
    >>> context.shape, weights.round(2).tolist()[1]
    ((2, 6), [1.0, 0.0, 0.0])
    """

    with_lengths = "uses"
    features: int
    _: KW_ONLY
    w_init: initializers.InitializerFunction = initializers.glorot_uniform()

    def __post_init__(self):
        checks.positive_int("AdditiveAttention", "features", self.features)

    def init(self, key, x):
        given = self._check(x)
        dtype = checks.param_dtype(given.x)
        shapes = {
            "query": (given.x.shape[-1], self.features),
            "memory": (given.memory.shape[-1], self.features),
            "score": (self.features, 1),
        }
        params: dict[str, Any] = {
            name: {"w": self.w_init(fold_in(key, name), shape, dtype)}
            for name, shape in shapes.items()
        }
        params["memory"]["b"] = jnp.zeros(self.features, dtype)
        return params, {}

    def apply(self, params, state, x, *, key=None, train=False):
        given = self._check(x)
        if given.x.ndim == 2:
            given = given._replace(x=given.x[:, None])
            both, state = self.apply(params, state, given)
            return jax.tree.map(lambda a: a[:, 0], both), state
        query = blank(given.x, given.lengths)
        return self.attend(params, query, self.prepare(params, given)), state

    def prepare(self, params: Any, given: Attend) -> tuple[Any, Any, Any]:
        """What all queries share: the projected memory, the memory, and its mask."""
        checks.width("AdditiveAttention", given.memory, params["memory"]["w"].shape[0])
        lengths = given.memory_lengths
        memory = blank(given.memory, lengths)
        mask = None if lengths is None else within(lengths, memory.shape[1])
        return dense(memory, **params["memory"]), memory, mask

    def attend(self, params: Any, query: jax.Array, prepared: Any) -> tuple[Any, Any]:
        """`(context, weights)` for queries `[N, T, Q]`."""
        checks.width("AdditiveAttention", query, params["query"]["w"].shape[0])
        projected = dense(query, **params["query"])
        keys, memory, mask = prepared
        v = params["score"]["w"][:, 0]
        return additive_attention(projected, keys, memory, v, mask)

    def _check(self, x: Any) -> Attend:
        return _with_memory("AdditiveAttention", x)


class AttentiveRecurrent(Layer):
    """A recurrent cell that attends to a memory before every step.

    `c[t] = attention(y[t-1], memory)`, `y[t] = cell([x[t], c[t]])`, output
    `[y[t], c[t]]`; all steps run in one scan, and the first query is zero.

    The input is an `nn.Attend`: `x` `[N, T, C]`, a memory `[N, S, M]`, and optionally
    lengths of either. The output is `[N, T, H + M]`, with zeros past each end.
    Parameters are those of its children, `cell` and `attention`. The attention weights
    are those of `attention` for the queries `y[t-1]`.

    Args:
        cell: a recurrent cell, such as `nn.GRUCell(256)`.
        attention: an `nn.AdditiveAttention`.

    Raises:
        TypeError: `cell` is not a recurrent cell.
        ValueError: there is no memory.

    Reference: Bahdanau, Cho and Bengio, Neural Machine Translation by Jointly Learning
    to Align and Translate, 2014.

    A decoder for translation; `nn.decode` runs it with `context=(memory, lengths)`:

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> class Decoder(nn.Composite):
    ...     embed: nn.Layer
    ...     attend: nn.Layer
    ...     head: nn.Layer
    ...     def forward(self, run, x):
    ...         ids, (memory, lengths) = x
    ...         x = nn.Attend(run("embed", ids), memory, memory_lengths=lengths)
    ...         return run("head", run("attend", x))
    >>> attend = nn.AttentiveRecurrent(nn.LSTMCell(8), nn.AdditiveAttention(8))
    >>> net = Decoder(nn.Embed(9, 4), attend, nn.Dense(9))
    >>> x = (jnp.ones((2, 5), int), (jnp.ones((2, 3, 6)), jnp.array([3, 1])))
    >>> params, state = net.init(jax.random.key(0), x)
    >>> net.apply(params, state, x)[0].shape
    (2, 5, 9)
    """

    with_lengths = "uses"
    cell: Any
    attention: Any

    def __post_init__(self):
        if not is_cell(self.cell):
            raise TypeError(
                "AttentiveRecurrent: cell must be a layer with a method zero_carry(x), "
                f"such as nn.LSTMCell(64), got {self.cell!r:.100}"
            )
        if not hasattr(self.attention, "prepare"):
            raise TypeError(
                "AttentiveRecurrent: attention must be an nn.AdditiveAttention, got "
                f"{self.attention!r:.100}"
            )

    def children(self):
        return {"cell": self.cell, "attention": self.attention}

    def with_child(self, name, layer):
        if name not in self.children():
            raise KeyError(unknown_child(self, name))
        return AttentiveRecurrent(**{**self.children(), name: layer})

    def init(self, key, x):
        given = _with_memory("AttentiveRecurrent", x)
        query = abstract(self.start(given)["output"])
        seen = {
            "cell": self._step(given),
            "attention": Attend(query, given.memory, None, given.memory_lengths),
        }
        params, state = {}, {}
        for name, child in self.children().items():
            with place(name, child, seen[name]):
                params[name], own = child.init(fold_in(key, name), seen[name])
            state |= {name: own} if own else {}
        return params, state

    def apply(self, params, state, x, *, key=None, train=False):
        given = _with_memory("AttentiveRecurrent", x)
        return self.run(params, state, given, self.start(given), key, train)[:2]

    def run(self, params, state, given: Attend, carry: Any, key, train: bool) -> Any:
        """`(outputs, state, carry)`, starting from a carry."""
        with place("attention", self.attention, given.memory):
            prepared = self.attention.prepare(params["attention"], given)
        xs = jnp.swapaxes(blank(given.x, given.lengths), 0, 1)
        real = None
        if given.lengths is not None:
            real = within(given.lengths, xs.shape[0]).T

        def step(both, part):
            carry, own = both
            x, real, index = part
            query = carry["output"][:, None]
            context, _ = self.attention.attend(params["attention"], query, prepared)
            x = jnp.concatenate([x, context[:, 0].astype(x.dtype)], -1)
            options = {"key": _fold(key, index), "train": train}
            with place("cell", self.cell, x):
                (after, y), own = self.cell.apply(
                    params["cell"], own, (carry["cell"], x), **options
                )
            after = keep(real, {"cell": after, "output": y}, carry)
            return (after, own), jnp.concatenate([y, context[:, 0].astype(y.dtype)], -1)

        parts = (xs, real, jnp.arange(xs.shape[0]))
        (carry, own), ys = jax.lax.scan(step, (carry, state.get("cell", {})), parts)
        y = blank(jnp.swapaxes(ys, 0, 1), given.lengths)
        return y, {**state, "cell": own} if own else state, carry

    def start(self, given: Attend) -> dict[str, Any]:
        """The carry before the first step: the cell's, and zeros for the output."""

        def output(step):
            return self.cell.apply(*self.cell.init(jax.random.key(0), step), step)[0][1]

        step = self._step(given)
        y = jax.eval_shape(output, step)
        zero = self.cell.zero_carry(step[1])
        return {"cell": zero, "output": jnp.zeros(y.shape, y.dtype)}

    def _step(self, given: Attend) -> tuple[Any, Any]:
        """The shapes of the cell's `(carry, x)`."""
        width = given.x.shape[-1] + given.memory.shape[-1]
        x = jax.ShapeDtypeStruct((given.x.shape[0], width), given.x.dtype)
        return abstract(self.cell.zero_carry(x)), x

    def as_stateful(self, length: int | None) -> Layer:
        """The same layer with its carry in the state."""
        del length
        return _Continued(self)


class _Continued(Layer):
    """An `AttentiveRecurrent` that continues from call to call; see stateful.py."""

    with_lengths = "uses"
    layer: AttentiveRecurrent

    def init(self, key, x):
        params, state = self.layer.init(key, x)
        given = _with_memory("AttentiveRecurrent", x)
        return params, {**state, "carry": self.layer.start(given)}

    def apply(self, params, state, x, *, key=None, train=False):
        given = _with_memory("AttentiveRecurrent", x)
        own = {name: part for name, part in state.items() if name != "carry"}
        y, own, carry = self.layer.run(params, own, given, state["carry"], key, train)
        return y, {**own, "carry": carry}


def _fold(key: Any, index: Any) -> Any:
    return None if key is None else jax.random.fold_in(key, index)


def _with_memory(owner: str, x: Any) -> Attend:
    """Check that `x` is an `Attend` with a memory, and check its shapes."""
    if not isinstance(x, Attend) or x.memory is None:
        raise ValueError(
            f"{owner}: takes a memory, nn.Attend(x, memory), got {describe(x):.100}"
        )
    one_step = getattr(x.x, "shape", None) is not None and len(x.x.shape) == 2
    if one_step and owner == "AdditiveAttention":
        shape = (x.x.shape[0], 1, x.x.shape[1])
        check_attend(owner, x._replace(x=jax.ShapeDtypeStruct(shape, x.x.dtype)))
        return x
    return check_attend(owner, x)
