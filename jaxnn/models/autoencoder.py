# SPDX-License-Identifier: Apache-2.0
"""Auto-encoders (Hinton and Salakhutdinov, 2006)."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax

from jaxnn import checks
from jaxnn.core import Composite, Layer
from jaxnn.layers import Bias, Dense, Flatten, Reshape, Sequential


class AutoEncoder(Composite):
    """An encoder to a code and a decoder back: `y = decoder(encoder(x))`."""

    encoder: Layer
    decoder: Layer

    def forward(self, run, x):
        return run("decoder", run("encoder", x))


class TiedAutoEncoder(Composite):
    """An auto-encoder whose decoder has the encoder's weights, transposed.

    Args:
        encoder: a `Sequential` of `flatten`, `dense1`, `activation1`, `dense2`, ...
        biases: those of the decoder's layers, from the code to the outputs.
        activation: the function between the decoder's layers.
        shape: the shape of an output.
    """

    encoder: Layer
    biases: tuple[Layer, ...]
    activation: Layer
    shape: tuple[int, ...]

    def forward(self, run, x):
        y, layers = run("encoder", x), len(self.biases)
        for i in range(layers):
            w = run.params["encoder"][f"dense{layers - i}"]["w"]
            y = run(f"biases/{i}", y @ w.T.astype(y.dtype))
            y = run("activation", y) if i < layers - 1 else y
        return y.reshape(-1, *self.shape)


def autoencoder(
    code: int,
    shape: Sequence[int],
    *,
    sizes: Sequence[int] = (512, 256),
    activation: Callable[..., Any] = jax.nn.relu,
    tied: bool = False,
) -> AutoEncoder | TiedAutoEncoder:
    """A dense auto-encoder: from `[N, *shape]` to a code `[N, code]` and back.

    The outputs are numbers: train it with a squared error, or with
    `sigmoid_cross_entropy` for values from 0 to 1. A linear one (`sizes=()`) learns the
    subspace of the first `code` principal components.

    Args:
        code: the size of the code.
        shape: the shape of an example, such as `(28, 28, 1)`.
        sizes: the sizes of the hidden layers of the encoder; the decoder has them in
            reverse.
        activation: the function after each hidden layer.
        tied: whether the decoder's weights are the encoder's, transposed.

    Returns:
        A network with the children `encoder` and `decoder`; tied, with `encoder` and
        `biases`. `nn.Tap(net, "encoder")` gives the code too.

    Reference: Hinton and Salakhutdinov, Reducing the Dimensionality of Data with Neural
    Networks, 2006.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> net = nn.models.autoencoder(2, (28, 28, 1), sizes=(64,))
    >>> params, state = net.init(jax.random.key(0), jnp.ones((1, 28, 28, 1)))
    >>> net.apply(params, state, jnp.ones((5, 28, 28, 1)))[0].shape
    (5, 28, 28, 1)
    >>> params["encoder"]["dense2"]["w"].shape
    (64, 2)
    """
    check_sizes("autoencoder", code, shape, sizes)
    checks.switches("autoencoder", tied=tied)
    encoder = Sequential(flatten=Flatten(), **dense([*sizes, code], activation))
    back = [*reversed(sizes), math.prod(shape)]
    if tied:
        biases = tuple(Bias() for _ in back)
        return TiedAutoEncoder(encoder, biases, activation, tuple(shape))  # type: ignore
    decoder = Sequential(**dense(back, activation), reshape=Reshape(tuple(shape)))
    return AutoEncoder(encoder, decoder)


def dense(sizes: Sequence[int], activation: Callable[..., Any]) -> dict[str, Any]:
    """Dense layers of these sizes by name, with an activation after all but the last.

    >>> list(dense([3, 2], jax.nn.relu))
    ['dense1', 'activation1', 'dense2']
    """
    layers: dict[str, Any] = {}
    for i, size in enumerate(sizes, 1):
        layers[f"dense{i}"] = Dense(size)
        if i < len(sizes):
            layers[f"activation{i}"] = activation
    return layers


def check_sizes(owner: str, code: Any, shape: Any, sizes: Any) -> None:
    """Raise unless a code, a shape and hidden layers have positive sizes."""
    checks.positive_int(owner, "code", code)
    for name, values in (("shape", shape), ("sizes", sizes)):
        if not isinstance(values, tuple | list):
            raise TypeError(
                f"{owner}: {name} must be a tuple of positive ints, got {values!r:.60}"
            )
        for value in values:
            checks.positive_int(owner, name, value)
    if not shape:
        raise ValueError(f"{owner}: shape must have an axis at least, got ()")
