# SPDX-License-Identifier: Apache-2.0
"""BERT (Devlin et al., 2019)."""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from jaxnn.core import Composite, Layer
from jaxnn.layers import (
    Dense,
    Dropout,
    Embed,
    LayerNorm,
    LearnedPositions,
    TransformerEncoder,
)
from jaxnn.layers.padding import unpack

_EPS = 1e-12  # of the norms in the published weights


class BERT(Composite):
    """A BERT encoder, as `nn.models.bert` builds it."""

    with_lengths = "uses"
    embed: Layer
    segments: Layer
    positions: Layer
    norm: Layer
    dropout: Layer
    encoder: Layer
    pooler: Layer

    def forward(self, run, x):
        ids, segments, lengths = _parts(x)
        y = run("positions", run("embed", ids) + run("segments", segments))
        y = run("dropout", run("norm", y))
        y = run("encoder", y if lengths is None else (y, lengths))
        return {"steps": y, "pooled": jnp.tanh(run("pooler", y[:, 0]))}


def _parts(x: Any) -> tuple[Any, Any, Any]:
    """The ids, the segment of each, and the lengths or None."""
    if isinstance(x, Mapping):
        ids, lengths = x["ids"], x.get("lengths")
        return ids, x.get("segments", jnp.zeros_like(ids)), lengths
    ids, lengths, _ = unpack(x)
    return ids, jnp.zeros_like(ids), lengths


def bert(
    vocabulary: int = 30522,
    *,
    length: int = 512,
    features: int = 768,
    layers: int = 12,
    heads: int = 12,
    hidden: int | None = None,
    dropout: float = 0.0,
) -> BERT:
    """BERT: a transformer encoder that reads in both directions.

    Token, segment and position vectors are added and normalized; post-norm blocks with
    exact GELU follow. The default is BERT base, with 109,482,240 parameters; BERT large
    has `features=1024, layers=24, heads=16`.

    `nn.io.from_torch` reads the published weights (`model.safetensors`); a head for
    classes goes on top of `pooled`.

    Args:
        vocabulary: the number of token ids.
        length: the most tokens that it reads.
        features: the length of each vector.
        layers: the number of blocks.
        heads: the number of attention heads; they divide `features`.
        hidden: the number of hidden features of each MLP; 4 · features by default.
        dropout: in training, the probability of dropping a feature; 0.1 in the paper.

    Returns:
        A network from ids `[N, T]`, `(ids, lengths)` or a dict with `ids`, `segments`
        (0 or 1 for each token) and `lengths` to a dict with `steps` `[N, T, features]`
        and `pooled` `[N, features]`, a dense layer with tanh over the first step.

    Raises:
        ValueError: an argument is not a positive int, or does not fit the others.

    Reference: Devlin et al., BERT: Pre-training of Deep Bidirectional Transformers for
    Language Understanding, 2019.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> net = nn.models.bert(100, length=16, features=32, layers=2, heads=4)
    >>> x = jnp.array([[5, 20, 7], [9, 3, 0]]), jnp.array([3, 2])
    >>> params, state = net.init(jax.random.key(0), x)
    >>> {name: y.shape for name, y in net.apply(params, state, x)[0].items()}
    {'steps': (2, 3, 32), 'pooled': (2, 32)}
    """
    return BERT(
        embed=Embed(vocabulary, features),
        segments=Embed(2, features),
        positions=LearnedPositions(length),
        norm=LayerNorm(eps=_EPS),
        dropout=Dropout(dropout),
        encoder=TransformerEncoder(
            layers,
            heads,
            hidden=hidden,
            activation=functools.partial(jax.nn.gelu, approximate=False),
            dropout=dropout,
            norm=LayerNorm(eps=_EPS),
            pre_norm=False,
        ),
        pooler=Dense(features),
    )
