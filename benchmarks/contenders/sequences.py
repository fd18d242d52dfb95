# SPDX-License-Identifier: Apache-2.0
"""Language models as weights: each library builds the layers that these belong to.

Both go from ids `[N, T]` to the logits of the id that follows each, `[N, T, V]`.
Gates stand in the order input, forget, cell, output. A transformer's blocks are
`x + attention(norm(x))` and `x + down(gelu(up(norm(x))))`, with GELU by its tanh
formula; attention is causal, and a norm stands in front of the head.
"""

from typing import Any, NamedTuple

import numpy as np

from contenders import networks

HEADS = 4  # of every attention
EPS = 1e-5  # of layer norm

Affine = tuple[np.ndarray, np.ndarray]  # a matrix [C, F], and an offset [F]


class LSTM(NamedTuple):
    """A vector for each id, one recurrent layer of H, a dense layer."""

    table: np.ndarray  # [V, C]
    w: np.ndarray  # [C, 4 H]
    u: np.ndarray  # [H, 4 H]
    b: np.ndarray  # [4 H]
    head: Affine


class Norm(NamedTuple):
    """Of the last axis."""

    scale: np.ndarray
    offset: np.ndarray


class Block(NamedTuple):
    """Attention, and two dense layers for each step by itself."""

    norm1: Norm
    query: Affine
    key: Affine
    value: Affine
    out: Affine
    norm2: Norm
    up: Affine
    down: Affine


class Transformer(NamedTuple):
    """A vector for each id and for each position, blocks, a norm, a dense layer."""

    table: np.ndarray  # [V, C]
    positions: np.ndarray  # [T, C]
    blocks: tuple[Block, ...]
    norm: Norm
    head: Affine


KINDS = LSTM, Transformer


def lstm(vocabulary: int, embed: int, hidden: int, rng: Any) -> LSTM:
    """First weights; the forget gate's bias is 1."""
    b = np.zeros((4, hidden), np.float32)
    b[1] = 1
    return LSTM(
        normal((vocabulary, embed), 1.0, rng),
        normal((embed, 4 * hidden), embed**-0.5, rng),
        normal((hidden, 4 * hidden), hidden**-0.5, rng),
        b.ravel(),
        affine(hidden, vocabulary, rng),
    )


def transformer(
    vocabulary: int, length: int, width: int, hidden: int, layers: int, rng: Any
) -> Transformer:
    """First weights."""

    def block() -> Block:
        query, key, value, out = (affine(width, width, rng) for _ in range(4))
        up, down = affine(width, hidden, rng), affine(hidden, width, rng)
        return Block(norm(width), query, key, value, out, norm(width), up, down)

    return Transformer(
        normal((vocabulary, width), 0.5, rng),
        normal((length, width), 0.1, rng),
        tuple(block() for _ in range(layers)),
        norm(width),
        affine(width, vocabulary, rng),
    )


def affine(channels: int, features: int, rng: Any) -> Affine:
    """Normal weights of variance 1 / fan-in, an offset of 0."""
    w = normal((channels, features), channels**-0.5, rng)
    return w, np.zeros(features, np.float32)


def norm(width: int) -> Norm:
    """A scale of 1 and an offset of 0."""
    return Norm(np.ones(width, np.float32), np.zeros(width, np.float32))


def normal(shape: tuple[int, ...], scale: float, rng: Any) -> np.ndarray:
    """Normal numbers."""
    return (scale * rng.standard_normal(shape)).astype(np.float32)


def flops(weights: LSTM | Transformer, steps: int) -> int:
    """Operations of training on one sequence, a multiply-add as 2.

    Forward and both gradients of all products with weights and of attention's two,
    which count in full, as if steps could see those after them.
    """
    tables = [weights.table]
    attention = 0
    if isinstance(weights, Transformer):
        tables += [weights.positions]
        attention = 2 * len(weights.blocks) * steps * weights.table.shape[1]
    matrices = [leaf for leaf in networks.leaves(weights) if leaf.ndim == 2]
    size = sum(m.size for m in matrices) - sum(table.size for table in tables)
    return 6 * steps * (size + attention)


def by_head(pair: Affine, merge: bool = False) -> Affine:
    """A projection with its heads on an axis of their own: `[C, H, D]`, `[H, D]`.

    With `merge`, the one that puts heads together: `[H, D, C]`, `[C]`.
    """
    w, b = pair
    size = len(w) // HEADS
    if merge:
        return w.reshape(HEADS, size, -1), b
    return w.reshape(-1, HEADS, size), b.reshape(HEADS, size)


def reordered(weights: LSTM, order: str) -> LSTM:
    """The gates in another order than i, f, g, o, such as `"igfo"`."""
    places = ["ifgo".index(gate) for gate in order]

    def turn(a: np.ndarray) -> np.ndarray:
        parts = np.split(a, 4, axis=-1)
        return np.concatenate([parts[i] for i in places], axis=-1)

    return weights._replace(w=turn(weights.w), u=turn(weights.u), b=turn(weights.b))
