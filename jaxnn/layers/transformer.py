# SPDX-License-Identifier: Apache-2.0
"""Transformers (Vaswani et al., 2017): encoder and decoder, and their blocks."""

from collections.abc import Callable
from dataclasses import KW_ONLY, replace
from typing import Any

import jax

from jaxnn import checks
from jaxnn.core import Composite, Layer, as_layer, unknown_child
from jaxnn.inputs.steps import blank
from jaxnn.layers.attention import MultiHeadAttention, check_attend
from jaxnn.layers.combine import Repeat
from jaxnn.layers.dense import Dense
from jaxnn.layers.dropout import Dropout
from jaxnn.layers.norm import LayerNorm
from jaxnn.layers.padding import Attend
from jaxnn.ops.materialize import materialize


class FeedForward(Layer):
    """Two dense layers, applied to each step separately, `y = f(x w₁ + b₁) w₂ + b₂`.

    The output is as wide as the input, C. Parameters: `up/w`, `[C, hidden]`, `up/b`,
    `down/w`, `[hidden, C]`, `down/b`.

    Args:
        hidden: the number of hidden features; 4 C by default.
        activation: the activation f.
        dropout: in training, the probability of dropping a hidden feature.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> layer, x = nn.FeedForward(), jnp.ones((2, 5, 8))
    >>> layer.init(jax.random.key(0), x)[0]["up"]["w"].shape
    (8, 32)
    """

    with_lengths = "each"
    hidden: int | None = None
    _: KW_ONLY
    activation: Callable[[Any], Any] = jax.nn.gelu
    dropout: float = 0.0

    def __post_init__(self):
        if self.hidden is not None:
            checks.positive_int("FeedForward", "hidden", self.hidden)
        checks.probability("FeedForward", "dropout", self.dropout)

    def init(self, key, x):
        checks.batch("FeedForward", x)
        return self._body(x.shape[-1]).init(key, x)

    def apply(self, params, state, x, *, key=None, train=False):
        checks.batch("FeedForward", x)
        body = self._body(x.shape[-1])
        return body.apply(params, state, x, key=key, train=train)

    def _body(self, features: int) -> Layer:
        hidden = self.hidden or 4 * features
        activation = as_layer(self.activation, "FeedForward")
        dropout = Dropout(self.dropout)
        return _UpDown(Dense(hidden), activation, dropout, Dense(features))


class _UpDown(Composite):
    up: Layer
    activation: Layer
    dropout: Layer
    down: Layer

    def forward(self, run, x):
        for name in ("up", "activation", "dropout", "down"):
            x = run(name, x)
        return x


class EncoderBlock(Composite):
    """A transformer encoder block: attention and feed-forward, with skip connections.

    Pre-norm: `x ← x + attention(norm(x))`, `x ← x + mlp(norm(x))`. Post-norm:
    `x ← norm(x + attention(x))`, `x ← norm(x + mlp(x))`.

    The input is `x`, `[N, T, C]`, or `(x, lengths)`, and the output `[N, T, C]`. For an
    `nn.Attend` the output is an `nn.Attend` with a new `x`, so that blocks can be
    chained.

    Args:
        attention: a `MultiHeadAttention`.
        mlp: a `FeedForward`.
        norm1, norm2: the normalization of each branch.
        dropout: the `Dropout` of each residual branch.
        pre_norm: whether norms come before each layer (the usual choice today) or after
            each sum.

    Reference: Vaswani et al., Attention Is All You Need, 2017; Xiong et al., On Layer
    Normalization in the Transformer Architecture, 2020 (pre-norm).

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> net, x = nn.EncoderBlock(nn.MultiHeadAttention(2)), jnp.ones((2, 5, 8))
    >>> params, state = net.init(jax.random.key(0), x)
    >>> net.apply(params, state, (x, jnp.array([5, 3])))[0].shape
    (2, 5, 8)
    """

    with_lengths = "uses"
    attention: Layer
    mlp: Layer = FeedForward()
    norm1: Layer = LayerNorm()
    norm2: Layer = LayerNorm()
    dropout: Layer = Dropout(0.0)
    pre_norm: bool = True

    def forward(self, run, x):
        given = _blank(check_attend("EncoderBlock", x))
        around = _Around(run, self.pre_norm)

        def attend(x):
            return run("attention", given._replace(x=x))

        y = around("norm1", attend, given.x)
        y = around("norm2", lambda x: run("mlp", x), y)
        return given._replace(x=y) if isinstance(x, Attend) else y


class DecoderBlock(Composite):
    """A transformer decoder block: causal attention, cross-attention, feed-forward.

    Each has a norm and a skip connection, as in `EncoderBlock`. The input is an
    `nn.Attend` with a memory, the output an `nn.Attend` with a new `x`.

    Args:
        attention: a causal `MultiHeadAttention`.
        cross: the `MultiHeadAttention` over the memory.
        mlp: a `FeedForward`.
        norm1, norm2, norm3: the normalization of each branch.
        dropout: the `Dropout` of each residual branch.
        pre_norm: as for `EncoderBlock`.

    Reference: Vaswani et al., Attention Is All You Need, 2017.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> cross = nn.MultiHeadAttention(2)
    >>> net = nn.DecoderBlock(nn.MultiHeadAttention(2, causal=True), cross)
    >>> x = nn.Attend(jnp.ones((2, 5, 8)), memory=jnp.ones((2, 3, 8)))
    >>> net.apply(*net.init(jax.random.key(0), x), x)[0].x.shape
    (2, 5, 8)
    """

    with_lengths = "uses"
    attention: Layer
    cross: Layer
    mlp: Layer = FeedForward()
    norm1: Layer = LayerNorm()
    norm2: Layer = LayerNorm()
    norm3: Layer = LayerNorm()
    dropout: Layer = Dropout(0.0)
    pre_norm: bool = True

    def forward(self, run, x):
        given = _blank(_needs_memory("DecoderBlock", x))
        around = _Around(run, self.pre_norm)

        def attend(x):
            return run("attention", Attend(x, lengths=given.lengths, mask=given.mask))

        def cross(x):
            return run("cross", given._replace(x=x, mask=None))

        y = around("norm1", attend, given.x)
        y = around("norm2", cross, y)
        y = around("norm3", lambda x: run("mlp", x), y)
        return given._replace(x=y)


class _Around:
    """A layer with norm, dropout and a skip connection."""

    def __init__(self, run, pre_norm: bool):
        self.run, self.pre_norm = run, pre_norm

    def __call__(self, norm: str, body: Callable, x: Any) -> Any:
        x = materialize(x)
        if self.pre_norm:
            return x + self.run("dropout", body(self.run(norm, x)))
        return self.run(norm, x + self.run("dropout", body(x)))


def _needs_memory(owner: str, x: Any) -> Attend:
    given = check_attend(owner, x)
    if given.memory is None:
        raise ValueError(
            f"{owner}: needs a memory, nn.Attend(x, memory=...), got {x!r:.60}; "
            "without one, use nn.TransformerEncoder(..., causal=True)"
        )
    return given


def _blank(given: Attend) -> Attend:
    """Zeros past the end, so that nothing there, not even NaN, reaches a product."""
    return given._replace(x=blank(given.x, given.lengths))


class TransformerEncoder(Composite):
    """A transformer encoder: a stack of blocks of self-attention.

    The input is `x`, `[N, T, C]`, or `(x, lengths)`, or an `nn.Attend` with a mask; the
    output is `[N, T, C]`, with zeros past each end. Children: `block1`, `block2`, ...,
    each an `EncoderBlock`, or `blocks` for all with `repeat`; and, with `pre_norm`, a
    final `norm` after the last block. With `causal=True` it is the core of a language
    model; `nn.stateful` and `nn.decode` run it with a cache.

    Args:
        layers: the number of blocks.
        heads: the number of attention heads in each block.
        hidden: the number of hidden features of each `FeedForward`; 4 C by default.
        activation: the activation of each `FeedForward`.
        dropout: in training, the probability of dropping an attention weight, a hidden
            feature of a `FeedForward`, or an output of a residual branch.
        causal, kv_heads, rotary: as for `MultiHeadAttention`.
        norm: the normalization.
        pre_norm: whether norms come before each layer or after each sum.
        repeat: whether the blocks run as one `nn.Repeat`, so that compile time does not
            grow with their number; each parameter then has a new first axis.
        edited: blocks and layers that `nn.edit` has replaced, by name.

    Reference: Vaswani et al., Attention Is All You Need, 2017.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> net, x = nn.TransformerEncoder(2, heads=4, causal=True), jnp.ones((2, 5, 8))
    >>> params, state = net.init(jax.random.key(0), x)
    >>> list(params), net.apply(params, state, (x, jnp.array([5, 3])))[0].shape
    (['block1', 'block2', 'norm'], (2, 5, 8))
    """

    with_lengths = "uses"
    layers: int
    heads: int
    _: KW_ONLY
    hidden: int | None = None
    activation: Callable[[Any], Any] = jax.nn.gelu
    dropout: float = 0.0
    causal: bool = False
    kv_heads: int | None = None
    rotary: bool | float = False
    norm: Layer = LayerNorm()
    pre_norm: bool = True
    repeat: bool = False
    edited: tuple[tuple[str, Layer], ...] = ()

    def __post_init__(self):
        _check_sizes(self)

    def block(self) -> Layer:
        """One of its blocks, as built."""
        attention = _attention(self, causal=self.causal, rotary=self.rotary)
        return EncoderBlock(attention, _mlp(self), self.norm, self.norm, **_ways(self))

    def children(self):
        return _blocks(self)

    def with_child(self, name, layer):
        return _exchanged(self, name, layer)

    def forward(self, run, x):
        given = check_attend("TransformerEncoder", x)
        return _run_blocks(self, run, given)


class TransformerDecoder(Composite):
    """A transformer decoder: blocks of causal attention and of cross-attention.

    The input is an `nn.Attend`: `x` `[N, T, C]`, `memory` `[N, S, M]` (the output of an
    encoder), and optionally lengths of either. The output is `[N, T, C]`, with zeros
    past each end. Children: `block1`, `block2`, ..., each a `DecoderBlock`, or `blocks`
    for all with `repeat`; and, with `pre_norm`, a final `norm`.

    Args:
        heads: the number of heads in both attentions of each block.
        rotary: for the causal attention, as for `MultiHeadAttention`.
        layers, hidden, activation, dropout, kv_heads, norm, pre_norm, repeat, edited:
            as for `TransformerEncoder`.

    Raises:
        ValueError: there is no memory.

    Reference: Vaswani et al., Attention Is All You Need, 2017.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> net = nn.TransformerDecoder(2, heads=4)
    >>> x = nn.Attend(jnp.ones((2, 5, 8)), memory=jnp.ones((2, 3, 8)))
    >>> params, state = net.init(jax.random.key(0), x)
    >>> net.apply(params, state, x)[0].shape
    (2, 5, 8)
    """

    with_lengths = "uses"
    layers: int
    heads: int
    _: KW_ONLY
    hidden: int | None = None
    activation: Callable[[Any], Any] = jax.nn.gelu
    dropout: float = 0.0
    kv_heads: int | None = None
    rotary: bool | float = False
    norm: Layer = LayerNorm()
    pre_norm: bool = True
    repeat: bool = False
    edited: tuple[tuple[str, Layer], ...] = ()

    def __post_init__(self):
        _check_sizes(self)

    def block(self) -> Layer:
        """One of its blocks, as built."""
        own = _attention(self, causal=True, rotary=self.rotary)
        norms: dict[str, Any] = {f"norm{i}": self.norm for i in (1, 2, 3)}
        return DecoderBlock(own, _attention(self), _mlp(self), **norms, **_ways(self))

    def children(self):
        return _blocks(self)

    def with_child(self, name, layer):
        return _exchanged(self, name, layer)

    def forward(self, run, x):
        return _run_blocks(self, run, _needs_memory("TransformerDecoder", x))


_Transformer = TransformerEncoder | TransformerDecoder


def _check_sizes(net: _Transformer) -> None:
    owner = type(net).__name__
    checks.positive_int(owner, "layers", net.layers)
    checks.probability(owner, "dropout", net.dropout)
    checks.switches(owner, pre_norm=net.pre_norm, repeat=net.repeat)
    net.block()  # checks the other options where they belong


def _attention(net: _Transformer, **options: Any) -> Layer:
    shared: dict[str, Any] = {"dropout": net.dropout, "kv_heads": net.kv_heads}
    return MultiHeadAttention(net.heads, **shared, **options)


def _mlp(net: _Transformer) -> Layer:
    return FeedForward(net.hidden, activation=net.activation, dropout=net.dropout)


def _ways(net: _Transformer) -> dict[str, Any]:
    return {"dropout": Dropout(net.dropout), "pre_norm": net.pre_norm}


def _blocks(net: _Transformer) -> dict[str, Layer]:
    """The children as built, with the edited ones in their places."""
    if net.repeat:
        built: dict[str, Layer] = {"blocks": Repeat(net.block(), net.layers)}
    else:
        built = {f"block{i}": net.block() for i in range(1, net.layers + 1)}
    if net.pre_norm:
        built["norm"] = net.norm
    return built | dict(net.edited)


def _exchanged(net: Any, name: str, layer: Any) -> Layer:
    if name not in net.children():
        raise KeyError(unknown_child(net, name))
    new = {**dict(net.edited), name: as_layer(layer, type(net).__name__)}
    return replace(net, edited=tuple(new.items()))


def _run_blocks(net: _Transformer, run, given: Attend) -> Any:
    given = _blank(given)
    for name in net.children():
        if name != "norm":
            given = run(name, given)
    y = run("norm", given.x) if net.pre_norm else given.x
    return blank(y, given.lengths)
