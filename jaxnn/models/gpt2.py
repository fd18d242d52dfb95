# SPDX-License-Identifier: Apache-2.0
"""GPT-2 (Radford et al., 2019)."""

from jaxnn.layers import (
    Dropout,
    Embed,
    LearnedPositions,
    Sequential,
    TiedOutput,
    TransformerEncoder,
)


def gpt2(
    vocabulary: int = 50257,
    *,
    length: int = 1024,
    features: int = 768,
    layers: int = 12,
    heads: int = 12,
    dropout: float = 0.0,
) -> TiedOutput:
    """GPT-2: a causal transformer that predicts the next token.

    Token and position vectors are added; pre-norm blocks with causal attention and
    GELU follow; the output layer shares the table of the token vectors. The default is
    the small GPT-2, with 124,439,808 parameters; the medium one has `features=1024,
    layers=24, heads=16`.

    `nn.io.from_torch` reads the published weights (`model.safetensors`), and
    `nn.stateful` with `nn.decode` writes text with a cache.

    Args:
        vocabulary: the number of token ids.
        length: the most tokens that it reads.
        features: the length of each vector.
        layers: the number of blocks.
        heads: the number of attention heads; they divide `features`.
        dropout: in training, the probability of dropping a feature.

    Returns:
        A network from ids `[N, T]` to logits `[N, T, vocabulary]`.

    Raises:
        ValueError: an argument is not a positive int, or does not fit the others.

    Reference: Radford et al., Language Models are Unsupervised Multitask Learners,
    2019.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> net = nn.models.gpt2(100, length=16, features=32, layers=2, heads=4)
    >>> ids = jnp.array([[5, 20, 7]])
    >>> params, state = net.init(jax.random.key(0), ids)
    >>> net.apply(params, state, ids)[0].shape
    (1, 3, 100)
    """
    return TiedOutput(
        embed=Embed(vocabulary, features),
        body=Sequential(
            positions=LearnedPositions(length),
            dropout=Dropout(dropout),
            encoder=TransformerEncoder(layers, heads, dropout=dropout, causal=True),
        ),
    )
