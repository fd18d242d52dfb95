# SPDX-License-Identifier: Apache-2.0
"""Deep convolutional generative adversarial networks (Radford et al., 2016)."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxnn import checks
from jaxnn.core import Composite, Layer
from jaxnn.initializers import normal
from jaxnn.layers import (
    BatchNorm,
    Conv,
    ConvTranspose,
    Dense,
    Flatten,
    Reshape,
    Sequential,
    SpectralNorm,
)

#: The published standard deviation of all initial weights.
START = normal(0.02)


class Game(Composite):
    """A generator and a critic: `y = critic(generator(z))`.

    Args:
        generator: from noise `[N, code]` to images.
        critic: from images to one score each, `[N, 1]`; larger for real ones.
    """

    generator: Layer
    critic: Layer

    def forward(self, run, x):
        return run("critic", run("generator", x))


def dcgan(
    side: int,
    channels: int,
    *,
    width: int = 64,
    spectral_norm: bool = False,
    batch_norm: bool = True,
) -> Game:
    """A generator and a critic of strided convolutions, for images from −1 to 1.

    The images double in size from layer to layer of the generator, and halve in the
    critic. `nn.train.players` trains the two. Changed from the paper: kernels of 4, not
    5, which overlap evenly, and the first size is a quarter or an eighth of `side`.

    Args:
        side: the height and width of the images, a multiple of 4; above 32 one more
            layer is added, and `side` must be a multiple of 8.
        channels: those of an image.
        width: features next to the images; each layer further in has twice as many.
        spectral_norm: whether the critic's weights have spectral norm 1 (Miyato et al.,
            2018), in place of its batch norm.
        batch_norm: whether the generator has batch norm, and the critic too, unless it
            has spectral norm. With a gradient penalty give False: it asks that a score
            depend on its own image alone.

    Returns:
        A `Game`; the noise is `[N, code]` of any size, usually 64 to 128 standard
        normal numbers.

    Raises:
        ValueError: a size is not a positive int or does not divide.

    Reference: Radford, Metz, Chintala, Unsupervised Representation Learning with Deep
    Convolutional Generative Adversarial Networks, 2016.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> net = nn.models.dcgan(28, 1, width=8)
    >>> params, state = net.init(jax.random.key(0), jnp.ones((2, 16)))
    >>> images, _ = net.generator.apply(
    ...     params["generator"], state["generator"], jnp.ones((2, 16)))
    >>> images.shape, net.apply(params, state, jnp.ones((2, 16)))[0].shape
    ((2, 28, 28, 1), (2, 1))
    """
    for name, value in (("side", side), ("channels", channels), ("width", width)):
        checks.positive_int("dcgan", name, value)
    checks.switches("dcgan", spectral_norm=spectral_norm, batch_norm=batch_norm)
    layers = 2 if side <= 32 else 3
    if side % 2**layers:
        raise ValueError(
            f"dcgan: side must be a multiple of {2**layers}, got {side}; pad the images"
        )
    sizes = [width * 2**i for i in range(layers)]
    generator = _generator(side, channels, sizes, batch_norm)
    norm = batch_norm and not spectral_norm
    return Game(generator, _critic(sizes, spectral_norm, norm))


def _generator(side: int, channels: int, sizes: list[int], norm: bool) -> Sequential:
    small, *others = side // 2 ** len(sizes), *reversed(sizes)
    options = {"stride": 2, "padding": "SAME", "w_init": START}
    layers: dict[str, Any] = {
        "dense": Dense(small * small * others[0], bias=not norm, w_init=START),
        "reshape": Reshape((small, small, others[0])),
        **_after("0", norm, jax.nn.relu),
    }
    for i, features in enumerate(others[1:], 1):
        layers[f"conv{i}"] = ConvTranspose(features, 4, bias=not norm, **options)
        layers |= _after(str(i), norm, jax.nn.relu)
    layers["image"] = ConvTranspose(channels, 4, **options)
    return Sequential(**layers, tanh=jnp.tanh)


def _critic(sizes: list[int], spectral_norm: bool, norm: bool) -> Sequential:
    def limited(layer: Layer) -> Layer:
        return SpectralNorm(layer) if spectral_norm else layer

    layers: dict[str, Any] = {}
    for i, features in enumerate(sizes, 1):
        own = norm and i > 1  # none next to the images, as published
        conv = Conv(features, 4, stride=2, padding="SAME", bias=not own, w_init=START)
        layers[f"conv{i}"] = limited(conv)
        layers |= _after(str(i), own, _leaky_relu)
    score = limited(Dense(1, w_init=START))
    return Sequential(**layers, flatten=Flatten(), score=score)


def _after(name: str, norm: bool, activation: Any) -> dict[str, Any]:
    """What follows a convolution."""
    own = {f"norm{name}": BatchNorm()} if norm else {}
    return {**own, f"activation{name}": activation}


def _leaky_relu(x: jax.Array) -> jax.Array:
    return jax.nn.leaky_relu(x, 0.2)
