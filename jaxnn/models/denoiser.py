# SPDX-License-Identifier: Apache-2.0
"""The U-Net of diffusion models (Ho et al., 2020)."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxnn import checks
from jaxnn.core import Composite, Layer
from jaxnn.initializers import zeros
from jaxnn.layers import (
    Conv,
    Dense,
    Embed,
    FiLM,
    GroupNorm,
    MultiHeadAttention,
    Sequential,
    TimeEmbedding,
    Upsample,
)
from jaxnn.layers.combine import Listed
from jaxnn.messages.phrases import describe

#: Times from 0 to 1 are multiplied by this, for the sinusoids to tell them apart.
STEPS = 1000.0


class DenoiserBlock(Composite):
    """A residual block of two convolutions, which is told the time.

    The second normalization is scaled and shifted by what the block is told (Dhariwal
    and Nichol, 2021), and the last convolution begins at zero: the block as its skip.
    """

    norm1: Layer
    conv1: Layer
    norm2: Layer
    film: Layer
    conv2: Layer
    skip: Layer

    def forward(self, run, x):
        x, told = x
        h = run("conv1", jax.nn.silu(run("norm1", x)))
        h = run("film", (run("norm2", h), told))
        return run("skip", x) + run("conv2", jax.nn.silu(h))


class AttentionBlock(Composite):
    """Self-attention among all pixels, around a skip connection."""

    norm: Layer
    attention: Layer

    def forward(self, run, x):
        h = run("norm", x).reshape(len(x), -1, x.shape[-1])
        return x + run("attention", h).reshape(x.shape)


class Denoiser(Listed):
    """A U-Net told a time and perhaps a class; see `denoiser`.

    Args:
        levels: the number of sizes of the image.
        classes: the number of classes, or None.
        layers: `told`, `label`, `first`, `down1`, ..., `bottom`, ..., `up1`, `last`.
    """

    levels: int
    classes: int | None

    def __init__(self, levels: int, classes: int | None, **layers: Any):
        object.__setattr__(self, "levels", levels)
        object.__setattr__(self, "classes", classes)
        self._list((), layers)

    def forward(self, run, x):
        x, told = self._told(run, x)
        x = run("first", x)
        bridges = []
        for level in range(1, self.levels + 1):
            x = run(f"down{level}", (x, told))
            bridges.append(x)
            if level < self.levels:
                x = run(f"half{level}", x)
        x = run("bottom", (run("attend", run("middle", (x, told))), told))
        for level in range(self.levels, 0, -1):
            x = run(f"up{level}", (jnp.concatenate([x, bridges.pop()], -1), told))
            if level > 1:
                x = run(f"double{level}", x)
        return run("last", x)

    def _told(self, run: Any, x: Any) -> tuple[Any, Any]:
        """The image, and a vector of the time and the class."""
        parts = 2 if self.classes is None else 3
        if not isinstance(x, tuple | list) or len(x) != parts:
            names = "(x, t)" if parts == 2 else "(x, t, label)"
            raise TypeError(f"denoiser: inputs must be {names}, got {describe(x):.100}")
        image, t, *label = x
        _check_sides(image, self.levels)
        told = run("told", STEPS * t.astype(image.dtype))
        if label:
            told = told + run("label", label[0])
        return image, jax.nn.silu(told)

    def __repr__(self) -> str:
        given = [str(self.levels), str(self.classes), *self._arguments()]
        return f"Denoiser({', '.join(given)})"


def _check_sides(x: Any, levels: int) -> None:
    factor = 2 ** (levels - 1)
    if any(side % factor for side in x.shape[1:-1]):
        raise ValueError(
            f"denoiser: the sides of images must be divisible by {factor}, got "
            f"{describe(x)}; pad them, or give fewer multipliers"
        )


def denoiser(
    channels: int,
    *,
    width: int = 64,
    multipliers: Sequence[int] = (1, 2, 2),
    classes: int | None = None,
    heads: int = 4,
    groups: int = 8,
) -> Denoiser:
    """The U-Net of diffusion models: from `(x, t)` to what `x` is made of.

    Residual blocks that are told the time, one on the way down and one on the way up at
    each size of the image, with skip connections between them; and attention among all
    pixels at the smallest size. `nn.diffusion` trains it and draws from it.

    Args:
        channels: those of the images, and of the output.
        width: features at the full size.
        multipliers: for each size of the image, full, half, a quarter, ..., how many
            times `width` features it has.
        classes: for a conditional one, the number of classes K; inputs are then
            `(x, t, label)`, where the label K says nothing, for guidance.
        heads: those of the attention.
        groups: those of the normalizations; they must divide the features.

    Returns:
        A network from `(x [N, H, W, channels], t [N])`, with times from 0 to 1, to
        `[N, H, W, channels]`. It begins as zero.

    Raises:
        ValueError: a size is not a positive int or does not divide.

    Reference: Ho, Jain and Abbeel, Denoising Diffusion Probabilistic Models, 2020;
    Dhariwal and Nichol, Diffusion Models Beat GANs on Image Synthesis, 2021.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> net = nn.models.denoiser(1, width=8, multipliers=(1, 2), heads=2)
    >>> x = jax.ShapeDtypeStruct((2, 28, 28, 1), jnp.float32)
    >>> given = x, jax.ShapeDtypeStruct((2,), jnp.float32)
    >>> params, state = jax.eval_shape(net.init, jax.random.key(0), given)
    >>> jax.eval_shape(net.apply, params, state, given)[0].shape
    (2, 28, 28, 1)
    """
    sizes = {"channels": channels, "width": width, "heads": heads, "groups": groups}
    for name, value in sizes.items():
        checks.positive_int("denoiser", name, value)
    if not isinstance(multipliers, tuple | list) or not multipliers:
        raise TypeError(
            "denoiser: multipliers must be a tuple of positive ints, got "
            f"{multipliers!r:.60}"
        )
    for multiplier in multipliers:
        checks.positive_int("denoiser", "multipliers", multiplier)
    if classes is not None:
        checks.positive_int("denoiser", "classes", classes)
    features = [width * multiplier for multiplier in multipliers]
    return Denoiser(
        len(features),
        classes,
        **_told(4 * width, width, classes),
        first=Conv(width, 3),
        **_down(features, groups),
        middle=_block(features[-1], features[-1], groups),
        attend=_attention(heads, groups),
        bottom=_block(features[-1], features[-1], groups),
        **_up(features, groups),
        last=Sequential(GroupNorm(groups), jax.nn.silu, _zero_conv(channels)),
    )


def _told(features: int, width: int, classes: int | None) -> dict[str, Layer]:
    """What makes a vector of the time, and of the class."""
    time = TimeEmbedding(width)
    told = Sequential(time, Dense(features), jax.nn.silu, Dense(features))
    label = {} if classes is None else {"label": Embed(classes + 1, features)}
    return {"told": told, **label}


def _down(features: list[int], groups: int) -> dict[str, Layer]:
    layers: dict[str, Layer] = {}
    before = features[0]
    for level, own in enumerate(features, 1):
        layers[f"down{level}"] = _block(before, own, groups)
        if level < len(features):
            layers[f"half{level}"] = Conv(own, 3, stride=2)
        before = own
    return layers


def _up(features: list[int], groups: int) -> dict[str, Layer]:
    layers: dict[str, Layer] = {}
    for level in range(len(features), 0, -1):
        own = features[level - 1]
        layers[f"up{level}"] = _block(None, own, groups)
        if level > 1:
            layers[f"double{level}"] = Sequential(
                Upsample(2), Conv(features[level - 2], 3)
            )
    return layers


def _block(before: int | None, features: int, groups: int) -> DenoiserBlock:
    """A residual block; its skip is a convolution where the features change."""
    skip = _same if before == features else Conv(features, 1)
    return DenoiserBlock(
        *(GroupNorm(groups), Conv(features, 3)),
        *(GroupNorm(groups, scale=False, offset=False), FiLM()),
        *(_zero_conv(features), skip),  # type: ignore[arg-type]
    )


def _same(x: Any) -> Any:
    return x


def _zero_conv(features: int) -> Conv:
    return Conv(features, 3, w_init=zeros())


def _attention(heads: int, groups: int) -> AttentionBlock:
    return AttentionBlock(GroupNorm(groups), MultiHeadAttention(heads))
