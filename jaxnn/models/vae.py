# SPDX-License-Identifier: Apache-2.0
"""Variational auto-encoders (Kingma and Welling, 2014), also conditional ones."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxnn import checks, losses
from jaxnn.core import Composite, Layer
from jaxnn.layers import Reshape, Sequential
from jaxnn.messages.phrases import describe
from jaxnn.models.autoencoder import check_sizes, dense
from jaxnn.spec import Spec


class VAE(Composite):
    """An encoder to a normal distribution over codes, and a decoder to logits.

    Args:
        encoder: from `[N, D]` to means and logarithms of variances, `[N, 2 code]`.
        decoder: from codes `[N, code]` to logits `[N, ...]`.
        classes: with K classes, inputs are `(x, label)`, and both children get the
            label as K more numbers; None for none.
    """

    encoder: Layer
    decoder: Layer
    classes: int | None = None

    def forward(self, run, x):
        x, label = _parts(x, self.classes)
        mean, _ = encoded(run, x, label, self.classes)
        return decoded(run, mean, label, self.classes)


def vae(
    code: int,
    shape: Sequence[int],
    *,
    sizes: Sequence[int] = (512, 256),
    activation: Callable[..., Any] = jax.nn.relu,
    classes: int | None = None,
) -> VAE:
    """A dense variational auto-encoder of data from 0 to 1; `NegativeElbo` trains it.

    p(x, z) = N(z; 0, I) Bernoulli(x; decoder(z)),  q(z | x) = N(z; mean(x), var(x))

    As a network it gives the logits of the mean code: `jax.nn.sigmoid` of them is the
    reconstruction.

    Args:
        code: the size of z.
        shape: the shape of an example, such as `(28, 28, 1)`.
        sizes: the sizes of the hidden layers of the encoder; the decoder has them in
            reverse.
        activation: the function after each hidden layer.
        classes: for a conditional one, the number of classes; inputs are then
            `(x, label)`.

    Returns:
        A network with the children `encoder` and `decoder`.

    Reference: Kingma and Welling, Auto-Encoding Variational Bayes, 2014; Sohn et al.,
    Learning Structured Output Representation using Deep Conditional Generative Models,
    2015.

    >>> import jax, jax.numpy as jnp, jaxnn as nn, optax
    >>> net, x = nn.models.vae(2, (4, 4), sizes=(8,)), jnp.ones((20, 4, 4))
    >>> state, history = nn.fit(
    ...     net, x, objective=nn.models.NegativeElbo(net), optimizer=optax.adam(1e-2),
    ...     epochs=2, batch_size=10, key=jax.random.key(0))
    >>> list(history), nn.predict(net, state, x).shape
    (['loss', 'error', 'kl'], (20, 4, 4))
    """
    check_sizes("vae", code, shape, sizes)
    if classes is not None:
        checks.positive_int("vae", "classes", classes)
    encoder = Sequential(**dense([*sizes, 2 * code], activation))
    back = [*reversed(sizes), math.prod(shape)]
    decoder = Sequential(**dense(back, activation), reshape=Reshape(tuple(shape)))
    return VAE(encoder, decoder, classes)


class NegativeElbo(Spec):
    """The objective of a VAE: the negative evidence lower bound, in nats per example.

    −log p(x) ≤ E_q[−log p(x | z)] + beta KL(q(z | x) ‖ p(z)), with one draw of z.

    Its batches are `x`, or `(x, label)` if the network has classes; its logs are
    `error` and `kl`, the two terms.

    Args:
        net: the `vae`.
        binarize: whether to draw each pixel as 0 or 1 with its value as probability,
            anew in each step: the usual task of "dynamically binarized" digits.
        beta: the weight of the second term (Higgins et al., beta-VAE, 2017).

    Reference: Kingma and Welling, Auto-Encoding Variational Bayes, 2014.
    """

    net: VAE
    binarize: bool = False
    beta: float = 1.0

    def __post_init__(self):
        checks.switches("NegativeElbo", binarize=self.binarize)
        checks.not_negative("NegativeElbo", "beta", self.beta)

    def __call__(self, run: Any, batch: Any) -> tuple[jax.Array, dict[str, Any]]:
        """The bound of each example, and its two terms."""
        classes = self.net.classes
        x, label = _pixels(run, batch, classes, self.binarize)
        mean, log_variance = encoded(run, x, label, classes)
        noise = jax.random.normal(run.key, mean.shape, mean.dtype)
        z = mean + jnp.exp(log_variance / 2) * noise
        logits = decoded(run, z, label, classes)
        error = losses.bernoulli_negative_log_likelihood(logits, x)
        kl = losses.normal_kl(mean, log_variance)
        return error + self.beta * kl, {"error": error, "kl": kl}


class ImportanceBound(Spec):
    """A tighter bound of −log p(x), in nats per example, to evaluate a VAE with.

    −log (1/K) Σ_k p(x, z_k) / q(z_k | x),  with K draws z_k of q

    Args:
        net: the `vae`.
        samples: K, 1 or more; the draws are made one after the other.
        binarize: as for `NegativeElbo`.

    Reference: Burda et al., Importance Weighted Autoencoders, 2016.
    """

    net: VAE
    samples: int
    binarize: bool = False

    def __post_init__(self):
        checks.positive_int("ImportanceBound", "samples", self.samples)
        checks.switches("ImportanceBound", binarize=self.binarize)

    def __call__(self, run: Any, batch: Any) -> jax.Array:
        """The bound of each example."""
        classes = self.net.classes
        x, label = _pixels(run, batch, classes, self.binarize)
        mean, log_variance = encoded(run, x, label, classes)

        def log_weight(key):
            noise = jax.random.normal(key, mean.shape, mean.dtype)
            z = mean + jnp.exp(log_variance / 2) * noise
            logits = decoded(run, z, label, classes)
            log_x = -losses.bernoulli_negative_log_likelihood(logits, x)
            log_q = -(log_variance + noise**2).sum(-1) / 2
            return log_x - (z**2).sum(-1) / 2 - log_q

        keys = jax.random.split(run.key, self.samples)
        weights = jax.lax.map(log_weight, keys)
        return jnp.log(float(self.samples)) - jax.nn.logsumexp(weights, axis=0)


def encoded(run: Any, x: Any, label: Any, classes: int | None) -> tuple[Any, Any]:
    """The mean and the logarithm of the variance of q(z | x), `[N, code]` each."""
    x = _beside(x.reshape(len(x), -1), label, classes)
    mean, log_variance = jnp.split(run("encoder", x), 2, axis=-1)
    return mean, log_variance


def decoded(run: Any, z: Any, label: Any, classes: int | None) -> Any:
    """The logits of p(x | z)."""
    return run("decoder", _beside(z, label, classes))


def _beside(x: Any, label: Any, classes: int | None) -> Any:
    """Numbers `[N, C]` with the label as K more."""
    if classes is None:
        return x
    return jnp.concatenate([x, jax.nn.one_hot(label, classes, dtype=x.dtype)], axis=-1)


def _parts(x: Any, classes: int | None) -> tuple[Any, Any]:
    """The data and the labels (or None) in a batch."""
    if classes is None:
        return x, None
    if not isinstance(x, tuple) or len(x) != 2:
        raise TypeError(
            f"vae: inputs must be (x, label) with classes, got {describe(x):.100}"
        )
    return x


def _pixels(run: Any, batch: Any, classes: int | None, binarize: bool) -> Any:
    """The data, drawn as 0 or 1 if asked, and the labels."""
    x, label = _parts(batch, classes)
    if binarize:
        key = jax.random.fold_in(run.key, 1)
        x = jax.random.bernoulli(key, x).astype(x.dtype)
    return x, label
