# SPDX-License-Identifier: Apache-2.0
"""Multi-head attention, over a whole sequence or step by step with a cache."""

import numbers
from dataclasses import KW_ONLY
from typing import Any

import jax
import jax.numpy as jnp

from jaxnn import checks, initializers
from jaxnn.core import Key, Layer, Params, fold_in, needed_key
from jaxnn.inputs.steps import blank, check_lengths, check_steps, within
from jaxnn.layers.padding import Attend, unpack
from jaxnn.layers.positions import moved, steps_at, zero_position
from jaxnn.messages.phrases import describe
from jaxnn.ops.attention import (
    attention,
    attention_weights,
    rotary,
    visible,
    write,
)
from jaxnn.ops.dense import dense


class MultiHeadAttention(Layer):
    """Multi-head scaled dot-product attention: `softmax(q kᵀ / √D) v` in each head.

    Queries are projections `x w + b` of `x`; keys and values are projections of the
    memory, or of `x` itself. Each head has width D = features / heads. The outputs of
    the heads are concatenated and projected by `out`. Parameters: `query/w`,
    `[C, features]`, `key/w` and `value/w`, `[M, kv_heads · D]`, `out/w`,
    `[features, features]`, and a bias `b` for each.

    The input is `x`, `[N, T, C]`, or `(x, lengths)`, or an `nn.Attend` with a memory or
    a mask; the output is `[N, T, features]`. A step that the mask allows to attend to
    nothing gets zeros (plus `out/b`) and passes no gradient. `weights(params, x)` gives
    the attention weights.

    Args:
        heads: the number of heads, H.
        features: the total width of the heads, and that of the output; C by default.
        kv_heads: the number of heads of keys and values; H / kv_heads neighboring
            heads share one. H by default; 1 is multi-query attention.
        causal: whether each step attends only to itself and the steps before it.
        bias: whether to add the biases `b`.
        dropout: in training, the probability of dropping an attention weight.
        rotary: whether to rotate queries and keys by their position; True uses base
            10000, and a number is itself the base.
        w_init: initializer of every `w`.

    Raises:
        ValueError: `heads` does not divide `features`, or `kv_heads` does not divide
            `heads`; a mask or lengths have the wrong shape; `x` or the memory has a
            different width than at `init`.

    Reference: Vaswani et al., Attention Is All You Need, 2017; Su et al., RoFormer,
    2021 (rotary); Ainslie et al., GQA, 2023 (grouped heads).

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> layer, x = nn.MultiHeadAttention(4, causal=True), jnp.ones((2, 5, 8))
    >>> params, state = layer.init(jax.random.key(0), x)
    >>> layer.apply(params, state, x)[0].shape
    (2, 5, 8)
    >>> cross = nn.Attend(x, jnp.ones((2, 3, 6)), memory_lengths=jnp.array([3, 1]))
    >>> params, state = nn.MultiHeadAttention(4).init(jax.random.key(0), cross)
    >>> params["key"]["w"].shape
    (6, 8)
    """

    with_lengths = "uses"
    heads: int
    _: KW_ONLY
    features: int | None = None
    kv_heads: int | None = None
    causal: bool = False
    bias: bool = True
    dropout: float = 0.0
    rotary: bool | float = False
    w_init: initializers.InitializerFunction = initializers.glorot_uniform()

    def __post_init__(self):
        owner = "MultiHeadAttention"
        checks.positive_int(owner, "heads", self.heads)
        for name in ("features", "kv_heads"):
            if getattr(self, name) is not None:
                checks.positive_int(owner, name, getattr(self, name))
        checks.switches(owner, causal=self.causal, bias=self.bias)
        checks.probability(owner, "dropout", self.dropout)
        if not isinstance(self.rotary, numbers.Real) or self.rotary < 0:
            raise ValueError(
                f"{owner}: rotary must be True, False or a base above 0, "
                f"got {self.rotary!r}"
            )
        if self.heads % (self.kv_heads or self.heads):
            raise ValueError(
                f"{owner}: kv_heads must divide heads, got kv_heads={self.kv_heads} "
                f"for heads={self.heads}"
            )
        if self.features is not None:
            self._size(self.features)

    def init(self, key, x):
        given = self._check(x)
        width, other = (a.shape[-1] for a in (given.x, seen(given)))
        features = self.features or width
        narrow = self._size(features) * (self.kv_heads or self.heads)
        shapes = {
            "query": (width, features),
            "key": (other, narrow),
            "value": (other, narrow),
            "out": (features, features),
        }
        dtype = checks.param_dtype(given.x)
        return {
            n: self._affine(fold_in(key, n), s, dtype) for n, s in shapes.items()
        }, {}

    def apply(self, params, state, x, *, key=None, train=False):
        given = self._check(x)
        q, k, v = self._turned(params, given)
        dropped = self.dropped(key, train)
        y = attention(q, k, v, mask=allowed(given), causal=self.causal, **dropped)
        return self.merge(params, y), state

    def weights(self, params: Params, x: Any) -> jax.Array:
        """The attention weights of every head, `[N, heads, T, S]`, before dropout.

        Rows sum to 1, or are zeros where nothing may be seen; the mean over axis 1 is
        that of the heads.  In a network, `nn.Tap` reads them where they are used:

        >>> import jax, jax.numpy as jnp, jaxnn as nn
        >>> net, x = nn.TransformerEncoder(2, 4), jnp.ones((2, 5, 8))
        >>> params, state = net.init(jax.random.key(0), x)
        >>> read = nn.MultiHeadAttention.weights
        >>> (y, taps), _ = nn.Tap(net, "*/attention", read).apply(params, state, x)
        >>> {path: a.shape for path, a in taps.items()}
        {'block1/attention': (2, 4, 5, 5), 'block2/attention': (2, 4, 5, 5)}

        Args:
            params: the layer's parameters.
            x: what `apply` takes.
        """
        given = self._check(x)
        q, k, _ = self._turned(params, given)
        return attention_weights(q, k, mask=allowed(given), causal=self.causal)

    def _turned(self, params: Params, given: Attend) -> list[jax.Array]:
        """Queries, keys and values, rotated if they are to be."""
        q, k, v = self.project(params, given)
        if self.rotary:
            q, k = (self.turn(a, jnp.arange(a.shape[2])[None]) for a in (q, k))
        return [q, k, v]

    def project(self, params: Params, given: Attend) -> list[jax.Array]:
        """Queries, keys and values, each `[N, heads, T, D]`."""
        owner, memory = "MultiHeadAttention", seen(given)
        checks.width(owner, given.x, params["query"]["w"].shape[0])
        checks.width(owner, memory, params["key"]["w"].shape[0])
        # (Queries past the end do not count, but NaN there would reach the gradient.)
        x, memory = blank(given.x, given.lengths), blank(memory, seen_lengths(given))
        q = dense(x, **params["query"])
        k, v = (dense(memory, **params[name]) for name in ("key", "value"))
        size = q.shape[-1] // self.heads
        shapes = [(*a.shape[:2], a.shape[2] // size, size) for a in (q, k, v)]
        heads = [a.reshape(s) for a, s in zip((q, k, v), shapes, strict=True)]
        return [a.swapaxes(1, 2) for a in heads]

    def merge(self, params: Params, y: jax.Array) -> jax.Array:
        """Concatenate the heads `[N, heads, T, D]` and project them by `out`."""
        n, heads, t, size = y.shape
        return dense(y.swapaxes(1, 2).reshape(n, t, heads * size), **params["out"])

    def turn(self, x: jax.Array, positions: jax.Array) -> jax.Array:
        """Rotate queries or keys by their positions."""
        return rotary(x, positions, 10000.0 if self.rotary is True else self.rotary)

    def dropped(self, key: Key | None, train: bool) -> dict[str, Any]:
        """The key and the rate for dropping attention weights, if any."""
        if not train or checks.is_zero(self.dropout):
            return {}
        key = needed_key("MultiHeadAttention", key)
        return {"dropout_key": key, "rate": self.dropout}

    def as_stateful(self, length: int | None) -> Layer:
        """This layer with a cache of keys and values in its state."""
        return CachedAttention(self, length)

    def _affine(self, key, shape, dtype) -> Params:
        params = {"w": self.w_init(key, shape, dtype)}
        return params | ({"b": jnp.zeros(shape[-1], dtype)} if self.bias else {})

    def _size(self, features: int) -> int:
        """The width of one head."""
        if features % self.heads:
            raise ValueError(
                f"MultiHeadAttention: heads must divide features, got heads="
                f"{self.heads} for features={features}"
            )
        size = features // self.heads
        if self.rotary and size % 2:
            raise ValueError(
                f"MultiHeadAttention: rotary turns pairs, features / heads must be "
                f"even, got {features} / {self.heads} = {size}"
            )
        return size

    def _check(self, x: Any) -> Attend:
        given = check_attend("MultiHeadAttention", x)
        if given.memory is not None and (self.causal or self.rotary):
            option = "causal" if self.causal else "rotary"
            raise ValueError(
                f"MultiHeadAttention: {option} is for attention to x itself, got a "
                f"memory {describe(given.memory)}; leave {option} out"
            )
        if given.mask is not None:
            check_mask(given, self.heads)
        return given


def as_attend(x: Any) -> Attend:
    """An array, a pair `(x, lengths)` or an `Attend` as an `Attend`."""
    if isinstance(x, Attend):
        return x
    array, lengths, _ = unpack(x)
    return Attend(array, lengths=lengths)


def seen(given: Attend) -> Any:
    """Where keys and values come from: the memory, or `x` itself."""
    return given.x if given.memory is None else given.memory


def seen_lengths(given: Attend) -> Any:
    """The number of real steps of the source of keys and values, or None for all."""
    return given.lengths if given.memory is None else given.memory_lengths


def check_attend(owner: str, x: Any) -> Attend:
    """The input as an `Attend`, with its shapes checked."""
    given = as_attend(x)
    checks.batch(owner, given.x, axes=3)
    check_steps(owner, given.x)
    check_lengths(owner, given.lengths, given.x)
    if given.memory is None:
        if given.memory_lengths is not None:
            raise ValueError(f"{owner}: memory_lengths came without a memory")
        return given
    checks.batch(owner, given.memory, axes=3)
    check_steps(owner, given.memory, "memory")
    check_lengths(owner, given.memory_lengths, given.memory, "memory_lengths")
    if given.x.shape[0] != given.memory.shape[0]:
        raise ValueError(
            f"{owner}: x and memory must have as many examples, got "
            f"{describe(given.x)} and {describe(given.memory)}"
        )
    return given


def check_mask(given: Attend, heads: int) -> None:
    """Raise unless the mask is boolean and has one of the three shapes."""
    mask, (n, t), s = given.mask, given.x.shape[:2], seen(given).shape[1]
    if not jnp.issubdtype(getattr(mask, "dtype", int), jnp.bool_):
        raise TypeError(
            "MultiHeadAttention: mask must hold booleans, True where a step may be "
            f"seen, got {describe(mask)}"
        )
    full = (n, heads, t, s)
    shape = _four(mask.shape)
    if shape is None or any(a not in (1, b) for a, b in zip(shape, full, strict=True)):
        raise ValueError(
            f"MultiHeadAttention: mask must be [{t}, {s}], [{n}, {t}, {s}] or "
            f"[{n}, {heads}, {t}, {s}] (any of them may be 1), got {describe(mask)}"
        )


def _four(shape: tuple[int, ...]) -> tuple[int, ...] | None:
    """The shape of a mask, with axes for examples and heads added."""
    if len(shape) == 3:
        return (shape[0], 1, *shape[1:])
    return {2: (1, 1, *shape), 4: shape}.get(len(shape))


def allowed(given: Attend) -> jax.Array | None:
    """Lengths and mask as one mask, `[N, heads, T, S]`, where any axis may be 1."""
    lengths, mask = seen_lengths(given), given.mask
    if mask is not None:
        mask = mask.reshape(_four(mask.shape))
    if lengths is None:
        return mask
    real = within(lengths, seen(given).shape[1])[:, None, None]
    return real if mask is None else mask & real


class CachedAttention(Layer):
    """Causal attention with a cache; `nn.stateful` makes it of a `MultiHeadAttention`.

    State, under `carry`: `key` and `value`, `[N, kv_heads, length, D]`, and `position`,
    `[N]`, the number of steps seen so far of each example. A call takes any number of
    steps; for `(x, lengths)`, only the real steps count. A step beyond the cache gives
    NaN.

    Args:
        layer: the attention layer.
        length: the number of steps that the cache holds.

    Raises:
        ValueError: the attention is not causal and is not given a memory.
    """

    with_lengths = "uses"
    layer: MultiHeadAttention
    length: int | None

    def init(self, key, x):
        given = self._check(x)
        params, state = self.layer.init(key, x)
        if given.memory is not None:
            return params, state
        narrow = params["key"]["w"].shape[1]
        size = params["query"]["w"].shape[1] // self.layer.heads
        shape = (given.x.shape[0], narrow // size, self.length, size)
        cache = {name: jnp.zeros(shape, given.x.dtype) for name in ("key", "value")}
        return params, {"carry": cache | {"position": zero_position(given.x)}}

    def apply(self, params, state, x, *, key=None, train=False):
        given, layer = self._check(x), self.layer
        if given.memory is not None:
            return layer.apply(params, state, x, key=key, train=train)
        q, k, v = layer.project(params, given)
        carry = state["carry"]
        steps = steps_at(carry["position"], given.x)
        if layer.rotary:
            q, k = (layer.turn(a, steps) for a in (q, k))
        k, v = (write(carry[n], a, steps) for n, a in (("key", k), ("value", v)))
        mask = visible(steps, k.shape[2])
        y = attention(q, k, v, mask=mask, **layer.dropped(key, train))
        inside = (steps < k.shape[2])[:, None, :, None]
        y = jnp.where(inside, y, jnp.full((), jnp.nan, y.dtype))
        position = moved(carry["position"], given.x, given.lengths)
        carry = {"key": k, "value": v, "position": position}
        return layer.merge(params, y), {"carry": carry}

    def _check(self, x: Any) -> Attend:
        given = as_attend(x)
        if given.memory is None and not self.layer.causal:
            raise ValueError(
                "stateful: attention can only go on from call to call if it is causal, "
                f"got {self.layer!r}; it needs the whole sequence at once"
            )
        if given.memory is None and given.mask is not None:
            raise ValueError(
                "stateful: a mask cannot be told apart from call to call; leave it out"
            )
        if given.memory is None and not checks.is_positive_int(self.length):
            raise ValueError(
                "stateful: attention needs a length, how many steps its cache is to "
                f"hold, nn.stateful(net, length=...), got {self.length!r}"
            )
        return check_attend("MultiHeadAttention", x)
