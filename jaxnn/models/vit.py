# SPDX-License-Identifier: Apache-2.0
"""The Vision Transformer (Dosovitskiy et al., 2021)."""

import functools

import jax
import jax.numpy as jnp

from jaxnn import checks, initializers
from jaxnn.core import Composite, Layer
from jaxnn.layers import (
    Conv,
    Dense,
    Dropout,
    LayerNorm,
    LearnedPositions,
    Parameter,
    TransformerEncoder,
)
from jaxnn.messages.phrases import describe

_EPS = 1e-6  # of the norms in the published weights


class ViT(Composite):
    """A Vision Transformer, as `nn.models.vit` builds it."""

    patches: Layer
    token: Layer
    positions: Layer
    dropout: Layer
    encoder: Layer
    head: Layer
    steps: int  # the number of patches

    def forward(self, run, x):
        patches = run("patches", x)
        n, height, width, features = patches.shape
        if height * width != self.steps:
            raise ValueError(
                f"ViT: images must have {self.steps} patches, as many as at the size "
                f"that vit was given, got {height}x{width} of {describe(x)}"
            )
        token = jnp.broadcast_to(run("token", patches), (n, 1, features))
        y = jnp.concatenate([token, patches.reshape(n, self.steps, features)], 1)
        y = run("encoder", run("dropout", run("positions", y)))
        return run("head", y[:, 0])


def vit(
    classes: int = 1000,
    *,
    size: int = 224,
    patch: int = 16,
    features: int = 768,
    layers: int = 12,
    heads: int = 12,
    hidden: int | None = None,
    dropout: float = 0.0,
) -> ViT:
    """A Vision Transformer: an image as a sequence of patches.

    Each patch becomes a vector; a learned token, whose output goes to the head, comes
    first, positions are added, and a pre-norm transformer encoder follows. The default
    is ViT-B/16, with 86,567,656 parameters. ViT-L/16 has `features=1024, layers=24,
    heads=16`.

    `nn.io.from_torch` reads torchvision's weights (`vit_b_16` and the like).

    Args:
        classes: the number of logits.
        size: the side of the images in pixels, a multiple of `patch`.
        patch: the side of a patch in pixels.
        features: the length of each vector.
        layers: the number of blocks.
        heads: the number of attention heads; they divide `features`.
        hidden: the number of hidden features of each MLP; 4 · features by default.
        dropout: in training, the probability of dropping a feature.

    Returns:
        A network from images `[N, size, size, C]` to logits `[N, classes]`.

    Raises:
        ValueError: an argument is not a positive int, or does not fit the others.

    Reference: Dosovitskiy et al., An Image is Worth 16x16 Words, 2021.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> net = nn.models.vit(10, size=32, patch=8, features=32, layers=2, heads=4)
    >>> images = jnp.ones((2, 32, 32, 3))
    >>> params, state = net.init(jax.random.key(0), images)
    >>> net.apply(params, state, images)[0].shape
    (2, 10)
    """
    for name, value in (("classes", classes), ("size", size), ("patch", patch)):
        checks.positive_int("vit", name, value)
    if size % patch:
        raise ValueError(
            f"vit: size must be a multiple of patch, got size={size} and patch={patch}"
        )
    steps = (size // patch) ** 2
    encoder = TransformerEncoder(
        layers,
        heads,
        hidden=hidden,
        activation=functools.partial(jax.nn.gelu, approximate=False),
        dropout=dropout,
        norm=LayerNorm(eps=_EPS),
    )
    return ViT(
        patches=Conv(features, patch, stride=patch, padding="VALID"),
        token=Parameter((1, 1, features), w_init=initializers.normal(0.02)),
        positions=LearnedPositions(steps + 1),
        dropout=Dropout(dropout),
        encoder=encoder,
        head=Dense(classes),
        steps=steps,
    )
