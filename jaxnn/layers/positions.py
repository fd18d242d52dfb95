# SPDX-License-Identifier: Apache-2.0
"""Position encodings, added to the vector of each step: fixed or learned."""

from dataclasses import KW_ONLY
from typing import Any

import jax
import jax.numpy as jnp

from jaxnn import checks, initializers
from jaxnn.core import Layer
from jaxnn.inputs.steps import check_lengths
from jaxnn.layers.padding import unpack
from jaxnn.messages.phrases import describe
from jaxnn.ops.attention import sinusoids
from jaxnn.ops.embed import embed


class SinusoidalPositions(Layer):
    """Add sinusoids of the position: `y[t] = x[t] + s[t]`, with nothing learned.

    `s[t, 2i] = sin(t / 10000^(2i/C))`, `s[t, 2i+1] = cos(t / 10000^(2i/C))`. Their
    magnitude is about 0.7; the vectors of `nn.Embed` are best not much smaller, as with
    `w_init=initializers.normal(1.0)`. The input is `x`, `[N, T, C]`, or `(x, lengths)`.

    Reference: Vaswani et al., Attention Is All You Need, 2017.

    >>> import jax.numpy as jnp, jaxnn as nn
    >>> y, _ = nn.SinusoidalPositions().apply({}, {}, jnp.zeros((1, 2, 2)))
    >>> (100 * y[0]).round().tolist()
    [[0.0, 100.0], [84.0, 54.0]]
    """

    with_lengths = "carries"

    def init(self, key, x):
        _check("SinusoidalPositions", x)
        return {}, {}

    def apply(self, params, state, x, *, key=None, train=False):
        array = _check("SinusoidalPositions", x)
        return self.at(params, x, jnp.arange(array.shape[1])[None]), state

    def at(self, params: Any, x: Any, positions: jax.Array) -> Any:
        """The outputs for steps at given positions, `[N, T]` or `[1, T]`."""
        x, _, put_back = unpack(x)
        waves = sinusoids(positions, x.shape[-1]).astype(x.dtype)
        return put_back(x + jnp.broadcast_to(waves, x.shape))

    def as_stateful(self, length: int | None) -> Layer:
        """This layer with a count of the steps seen so far in its state."""
        del length
        return Counted(self)


class LearnedPositions(Layer):
    """Add a learned vector for each position: `y[t] = x[t] + table[t]`.

    The input is `x`, `[N, T, C]`, or `(x, lengths)`. Parameter: `table`, `[length, C]`.

    Args:
        length: the number of positions; a longer sequence is an error.
        w_init: initializer of `table`.

    Raises:
        ValueError: `x` has more steps, or a different width than at `init`.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> layer, x = nn.LearnedPositions(128), jnp.ones((2, 5, 8))
    >>> layer.init(jax.random.key(0), x)[0]["table"].shape
    (128, 8)
    """

    with_lengths = "carries"
    length: int
    _: KW_ONLY
    w_init: initializers.InitializerFunction = initializers.normal(0.02)

    def __post_init__(self):
        checks.positive_int("LearnedPositions", "length", self.length)

    def init(self, key, x):
        x = self._check(x)
        shape = (self.length, x.shape[-1])
        return {"table": self.w_init(key, shape, checks.param_dtype(x))}, {}

    def apply(self, params, state, x, *, key=None, train=False):
        array = self._check(x)
        checks.width("LearnedPositions", array, params["table"].shape[1])
        _, _, put_back = unpack(x)
        rows = params["table"][: array.shape[1]].astype(array.dtype)
        return put_back(array + jnp.broadcast_to(rows, array.shape)), state

    def at(self, params: Any, x: Any, positions: jax.Array) -> Any:
        """The outputs for steps at given positions, `[N, T]`; NaN beyond the table."""
        self._check(x)
        x, _, put_back = unpack(x)
        return put_back(x + embed(params["table"], positions).astype(x.dtype))

    def as_stateful(self, length: int | None) -> Layer:
        """This layer with a count of the steps seen so far in its state."""
        del length
        return Counted(self)

    def _check(self, x):
        x = _check("LearnedPositions", x)
        if x.shape[1] > self.length:
            raise ValueError(
                f"LearnedPositions: x must have at most {self.length} steps, as many "
                f"as there are positions, got {x.shape[1]}: {describe(x)}"
            )
        return x


class Counted(Layer):
    """A layer of positions that continues counting from call to call.

    State, under `carry`: `position`, `[N]`, the number of steps seen so far of each
    example; for `(x, lengths)`, only the real steps count. Made by `nn.stateful`.

    Args:
        layer: `SinusoidalPositions` or `LearnedPositions`.
    """

    with_lengths = "carries"
    layer: Any

    def init(self, key, x):
        params, _ = self.layer.init(key, x)
        return params, {"carry": {"position": zero_position(unpack(x)[0])}}

    def apply(self, params, state, x, *, key=None, train=False):
        array, lengths, _ = unpack(x)
        _check(type(self.layer).__name__, x)
        position = state["carry"]["position"]
        y = self.layer.at(params, x, steps_at(position, array))
        return y, {"carry": {"position": moved(position, array, lengths)}}


def zero_position(x: Any) -> jax.Array:
    """The position before anything was seen, for each example of `x`."""
    return jnp.zeros(x.shape[0], jnp.int32)


def steps_at(position: jax.Array, x: Any) -> jax.Array:
    """The positions of the steps of `x`, `[N, T]`, that come after `position`."""
    return position[:, None] + jnp.arange(x.shape[1], dtype=jnp.int32)[None]


def moved(position: jax.Array, x: Any, lengths: Any) -> jax.Array:
    """The position after `x`, or after its real steps."""
    return position + (x.shape[1] if lengths is None else lengths.astype(jnp.int32))


def _check(owner: str, x: Any) -> Any:
    """The array of an input of at least `[N, T, C]`."""
    array, lengths, _ = unpack(x)
    checks.batch(owner, array, axes=3)
    check_lengths(owner, lengths, array)
    return array
