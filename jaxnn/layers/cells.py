# SPDX-License-Identifier: Apache-2.0
"""Recurrent cells: one step of a recurrence, `(carry, x) -> (carry, y)`.

A cell is a layer with an additional method, `zero_carry(x)`: the carry before the
first step, for inputs of one step like `x` `[N, ...]`.  Any such layer, including a
custom `Composite`, runs over time in `nn.Recurrent(cell)`.  The cells here also have a
faster method that takes all steps at once, `over_time`.
"""

from dataclasses import KW_ONLY
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from jaxnn import checks, initializers
from jaxnn.core import Layer, Params
from jaxnn.layers.conv import Conv
from jaxnn.messages.phrases import describe
from jaxnn.ops import cells as ops
from jaxnn.ops.dense import dense, dense_over_time

Init = initializers.InitializerFunction
Carry = dict[str, jax.Array]


class Cell(Layer):
    """The abstract base class of the cells here; one step is a sequence of length 1."""

    carried = ("h",)  # the names of the carry's arrays

    def zero_carry(self, x: Any) -> Carry:
        """Zeros `[N, ..., F]`, in the precision of the parameters."""
        shape = (*x.shape[:-1], self.features)  # type: ignore[attr-defined]
        dtype = checks.param_dtype(x)
        return {name: jnp.zeros(shape, dtype) for name in self.carried}

    def over_time(self, params: Params, carry: Carry, x, mask=None, *, reverse=False):
        """The carry after all steps of `x` `[T, N, ...]`, and the output of each."""
        raise NotImplementedError

    def apply(self, params, state, x, *, key=None, train=False):
        carry, x = one_step(type(self).__name__, x)
        carry = fitting(type(self).__name__, carry, self.zero_carry(x), x)
        carry, y = self.over_time(params, carry, x[None])
        return (carry, y[0]), state


def one_step(owner: str, x: Any) -> tuple[Any, Any]:
    """The carry and the inputs of one step; an error for anything else."""
    if type(x) is tuple and len(x) == 2:
        return x
    raise TypeError(
        f"{owner}: a cell takes one step, (carry, x), got {describe(x):.100}; "
        f"nn.Recurrent(cell) runs it over time"
    )


def fitting(owner: str, carry: Any, zero: Any, x: Any) -> Any:
    """A carry in the dtypes of the zero carry, after checking its structure."""

    def form(carry):
        return jax.tree.structure(carry), [jnp.shape(a) for a in jax.tree.leaves(carry)]

    if form(carry) != form(zero):
        raise ValueError(
            f"{owner}: the carry must be {describe(zero)} for x {describe(x)}, got "
            f"{describe(carry)}"
        )
    return jax.tree.map(lambda a, z: jnp.asarray(a, z.dtype), carry, zero)


def _init(cell: Any, key: jax.Array, x: Any, parts: int) -> Params:
    """The weights of a cell whose pre-activations have `parts` parts of F features."""
    _, x = one_step(type(cell).__name__, x)
    _check_step(type(cell).__name__, x)
    F, dtype = cell.features, checks.param_dtype(x)
    key, *keys = jax.random.split(key, 1 + parts)
    w = cell.w_init(key, (x.shape[-1], parts * F), dtype)
    turns = [cell.recurrent_init(k, (F, F), dtype) for k in keys]
    params = {"input": {"w": w}, "recurrent": {"w": jnp.concatenate(turns, axis=1)}}
    if cell.bias:
        params["input"]["b"] = jnp.zeros(parts * F, dtype)
    return params


def _check_step(owner: str, x: Any, params: Params | None = None) -> None:
    """Raise unless `x` is `[N, C]` and its width matches the weights."""
    checks.batch(owner, x)
    if len(x.shape) != 2:
        raise ValueError(
            f"{owner}: x must be [N, C] at each step ([N, T, C] over time), got "
            f"{describe(x)} at each step"
        )
    if params is not None:
        checks.width(owner, x, params["input"]["w"].shape[0])


def _inputs(owner: str, params: Params, x: jax.Array) -> tuple[Any, Any, Any]:
    """The inputs of all steps times their weights, the bias, the recurrent weights."""
    _check_step(owner, jax.ShapeDtypeStruct(x.shape[1:], x.dtype), params)
    u = dense_over_time(x, params["input"]["w"])
    return u, params["input"].get("b"), params["recurrent"]["w"].astype(x.dtype)


class RNNCell(Cell):
    """One step of a simple recurrent network, `h = f(x w + b + h w')`.

    The output is h, the carry `{"h": [N, F]}`. Parameters: `input/w` `[C, F]`,
    `input/b` `[F]`, `recurrent/w` `[F, F]`.

    Args:
        features: the number of hidden units, F.
        activation: the elementwise function f.
        bias: whether to add a bias `b`.
        w_init: initializer of `input/w`.
        recurrent_init: initializer of `recurrent/w`.

    Reference: Elman, Finding Structure in Time, 1990.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> cell, x = nn.RNNCell(8), jnp.ones((2, 3))
    >>> carry = cell.zero_carry(x)
    >>> params, state = cell.init(jax.random.key(0), (carry, x))
    >>> (carry, y), state = cell.apply(params, state, (carry, x))
    >>> y.shape
    (2, 8)
    """

    features: int
    _: KW_ONLY
    activation: Any = jnp.tanh
    bias: bool = True
    w_init: Init = initializers.glorot_uniform()
    recurrent_init: Init = initializers.orthogonal()

    def __post_init__(self):
        checks.positive_int("RNNCell", "features", self.features)
        if not callable(self.activation) or isinstance(self.activation, Layer):
            raise TypeError(
                "RNNCell: activation must be a function such as jax.numpy.tanh, got "
                f"{self.activation!r:.60}"
            )

    def init(self, key, x):
        return _init(self, key, x, 1), {}

    def over_time(self, params, carry, x, mask=None, *, reverse=False):
        u, b, w = _inputs("RNNCell", params, x)
        f = self.activation
        h, hs = ops.rnn(u, b, w, carry["h"], mask, activation=f, reverse=reverse)
        return {"h": h}, hs


class GRUCell(Cell):
    """One step of a gated recurrent unit (GRU), with the reset after the product.

    With the parts r, z, n of `u = x w + b` and of `v = h w' + b'`:
    `h = (1 - σ(u_z + v_z)) tanh(u_n + σ(u_r + v_r) v_n) + σ(u_z + v_z) h`. The output
    is h, the carry `{"h": [N, F]}`. Parameters, in the order of the parts: `input/w`
    `[C, 3 F]`, `input/b` `[3 F]`, `recurrent/w` `[F, 3 F]`, `recurrent/b`.

    Args:
        features: the number of hidden units, F.
        bias: whether to add the biases `b` and `b'`.
        w_init: initializer of `input/w`.
        recurrent_init: initializer of `recurrent/w`, applied to each part.

    Reference: Cho et al., Learning Phrase Representations using RNN Encoder-Decoder,
    2014. Resetting after the product makes a single product per step possible; it is
    the variant of cuDNN and PyTorch.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> cell, x = nn.GRUCell(8), jnp.ones((2, 3))
    >>> params, _ = cell.init(jax.random.key(0), (cell.zero_carry(x), x))
    >>> params["input"]["w"].shape, params["recurrent"]["b"].shape
    ((3, 24), (24,))
    """

    features: int
    _: KW_ONLY
    bias: bool = True
    w_init: Init = initializers.glorot_uniform()
    recurrent_init: Init = initializers.orthogonal()

    def __post_init__(self):
        checks.positive_int("GRUCell", "features", self.features)

    def init(self, key, x):
        params = _init(self, key, x, 3)
        if self.bias:
            params["recurrent"]["b"] = jnp.zeros_like(params["input"]["b"])
        return params, {}

    def over_time(self, params, carry, x, mask=None, *, reverse=False):
        u, b, w = _inputs("GRUCell", params, x)
        again = params["recurrent"].get("b")
        h, hs = ops.gru(u, b, w, again, carry["h"], mask, reverse=reverse)
        return {"h": h}, hs


class LSTMCell(Cell):
    """One step of a long short-term memory (LSTM).

    With the parts i, f, g, o of `x w + b + h w'`: `c = σ(f) c + σ(i) tanh(g)` and
    `h = σ(o) tanh(c)`. The output is h, the carry `{"c": [N, F], "h": [N, F]}`.
    Parameters, in the order of the parts: `input/w` `[C, 4 F]`, `input/b` `[4 F]`,
    `recurrent/w` `[F, 4 F]`.

    Args:
        features: the number of hidden units, F.
        forget_bias: initial bias of the forget gate; with 1 the cell starts out
            remembering (Jozefowicz et al., 2015).
        peepholes: whether the gates i, f and o also see the cell state c, each through
            its own weights, `peephole/scale` `[3 F]`, initially 0 (Gers and
            Schmidhuber, 2000). Slower, because the fast backward pass does not apply.
        bias: whether to add a bias `b`.
        w_init: initializer of `input/w`.
        recurrent_init: initializer of `recurrent/w`, applied to each part.

    Reference: Hochreiter and Schmidhuber, Long Short-Term Memory, 1997; for the forget
    gate, Gers, Schmidhuber and Cummins, 2000.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> cell, x = nn.LSTMCell(8), jnp.ones((2, 3))
    >>> params, _ = cell.init(jax.random.key(0), (cell.zero_carry(x), x))
    >>> params["input"]["b"].reshape(4, 8)[:, 0].tolist()
    [0.0, 1.0, 0.0, 0.0]
    """

    features: int
    _: KW_ONLY
    forget_bias: float = 1.0
    peepholes: bool = False
    bias: bool = True
    w_init: Init = initializers.glorot_uniform()
    recurrent_init: Init = initializers.orthogonal()

    carried = ("c", "h")

    def __post_init__(self):
        checks.positive_int("LSTMCell", "features", self.features)

    def init(self, key, x):
        params = _remembering(_init(self, key, x, 4), self.forget_bias)
        if self.peepholes:
            w = params["recurrent"]["w"]
            params["peephole"] = {"scale": jnp.zeros(3 * self.features, w.dtype)}
        return params, {}

    def over_time(self, params, carry, x, mask=None, *, reverse=False):
        u, b, w = _inputs("LSTMCell", params, x)
        h, c = carry["h"], carry["c"]
        if self.peepholes:
            sees = params["peephole"]["scale"]
            times = partial(dense, w=w)
            (h, c), hs = ops.lstm_by(times, u, b, h, c, mask, sees, reverse=reverse)
        else:
            (h, c), hs = ops.lstm(u, b, w, h, c, mask, reverse=reverse)
        return {"c": c, "h": h}, hs


def _remembering(params: Params, forget_bias: float) -> Params:
    """Fresh LSTM weights with the forget gate's bias set."""
    if "b" in params["input"]:
        b = params["input"]["b"].reshape(4, -1)
        params["input"]["b"] = b.at[1].set(forget_bias).reshape(-1)
    return params


class ConvLSTMCell(Cell):
    """One step of a convolutional LSTM: convolutions replace the matrix products.

    Like `LSTMCell`, with x `[N, H, W, C]` (any number of spatial axes), and c and h
    `[N, H, W, F]`. Parameters: `input/w` `[*kernel, C, 4 F]`, `input/b` `[4 F]`,
    `recurrent/w` `[*kernel, F, 4 F]`.

    Args:
        features: the number of hidden channels, F.
        kernel: kernel size of both convolutions, as for `Conv`.
        forget_bias: initial bias of the forget gate.
        bias: whether to add a bias `b`.
        w_init: initializer of `input/w` and `recurrent/w`.

    Reference: Shi et al., Convolutional LSTM Network, 2015 (without peepholes here).

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> layer, x = nn.Recurrent(nn.ConvLSTMCell(8, 3)), jnp.ones((2, 4, 6, 5, 3))
    >>> params, state = layer.init(jax.random.key(0), x)
    >>> layer.apply(params, state, x)[0].shape
    (2, 4, 6, 5, 8)
    """

    features: int
    kernel: int | tuple[int, ...]
    _: KW_ONLY
    forget_bias: float = 1.0
    bias: bool = True
    w_init: Init = initializers.glorot_uniform()

    carried = ("c", "h")

    def __post_init__(self):
        checks.positive_int("ConvLSTMCell", "features", self.features)
        self._conv()

    def _conv(self, bias: bool = False) -> Conv:
        return Conv(4 * self.features, self.kernel, bias=bias, w_init=self.w_init)

    def init(self, key, x):
        carry, x = one_step("ConvLSTMCell", x)
        a, b = jax.random.split(key)
        first, _ = self._conv(self.bias).init(a, x)
        again, _ = self._conv().init(b, carry["h"])
        params = {"input": first, "recurrent": again}
        return _remembering(params, self.forget_bias), {}

    def over_time(self, params, carry, x, mask=None, *, reverse=False):
        all_steps = x.reshape(-1, *x.shape[2:])
        u, _ = self._conv().apply({"w": params["input"]["w"]}, {}, all_steps)
        u, b = u.reshape(*x.shape[:2], *u.shape[1:]), params["input"].get("b")

        def times(h):
            return self._conv().apply(params["recurrent"], {}, h)[0]

        h, c = carry["h"], carry["c"]
        (h, c), hs = ops.lstm_by(times, u, b, h, c, mask, reverse=reverse)
        return {"c": c, "h": h}, hs
