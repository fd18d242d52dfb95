# SPDX-License-Identifier: Apache-2.0
"""PyTorch as the oracle of losses: values and gradients, as a trainer averages them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnn import losses
from jaxnn.train.step import loss_weights, weighted_sum

torch = pytest.importorskip("torch")
f = torch.nn.functional
part = functools.partial
rng = np.random.default_rng(0)
N, C = 6, 4
z, zt = rng.normal(size=(N, C)), rng.normal(size=(N, 5, C))
ints, intst = rng.integers(C, size=N), rng.integers(C, size=(N, 5))
bits, signs = rng.integers(2, size=(N, C)), rng.choice([-1, 1], N)
some = np.where(ints == 2, -100, ints)
somet = np.where(intst == 2, -100, intst)
WEIGHTS = (0.5, 3.0, 0.0, 1.0)
w = torch.tensor(WEIGHTS, dtype=torch.float64)
three = tuple(rng.normal(size=(3, N, C)))
pair = (rng.normal(size=(N, C)), np.abs(rng.normal(size=(N, C))).clip(0.1))
pair[1][0, 0] = 1e-9


def channels_second(loss, **options):
    return lambda y, t: loss(y.movedim(-1, 1), t, **options)


entropy, nll = losses.softmax_cross_entropy, losses.negative_log_likelihood
margin, likelihood = losses.triplet_margin, losses.gaussian_negative_log_likelihood
SAME = {
    "ignored": (part(nll, ignore_label=-100), f.nll_loss, z, some),
    "weighted": (
        part(entropy, class_weight=WEIGHTS),
        part(f.cross_entropy, weight=w),
        z,
        ints,
    ),
    "weighted, sequences, ignored": (
        part(entropy, class_weight=WEIGHTS, ignore_label=-100),
        channels_second(f.cross_entropy, weight=w),
        zt,
        somet,
    ),
    "weighted, smoothed": (
        part(entropy, class_weight=(0.5, 3.0, 2.0, 1.0), label_smoothing=0.2),
        part(
            f.cross_entropy,
            weight=torch.tensor([0.5, 3.0, 2.0, 1.0], dtype=torch.float64),
            label_smoothing=0.2,
        ),
        z,
        ints,
    ),
    "weighted, smoothed, sequences, ignored": (
        part(
            entropy,
            class_weight=(0.5, 3.0, 2.0, 1.0),
            label_smoothing=0.2,
            ignore_label=-100,
        ),
        channels_second(
            f.cross_entropy,
            weight=torch.tensor([0.5, 3.0, 2.0, 1.0], dtype=torch.float64),
            label_smoothing=0.2,
        ),
        zt,
        somet,
    ),
    "nll, weighted, ignored": (
        part(nll, class_weight=WEIGHTS, ignore_label=-100),
        part(f.nll_loss, weight=w),
        z,
        some,
    ),
    "pos_weight": (
        part(losses.sigmoid_cross_entropy, pos_weight=WEIGHTS),
        lambda y, t: f.binary_cross_entropy_with_logits(y, t.double(), pos_weight=w),
        z,
        bits,
    ),
    "one pos_weight": (
        part(losses.sigmoid_cross_entropy, pos_weight=3.0),
        lambda y, t: f.binary_cross_entropy_with_logits(
            y, t.double(), pos_weight=torch.tensor(3.0)
        ),
        z,
        bits,
    ),
    "multi_margin": (losses.multi_margin, f.multi_margin_loss, z, ints),
    "multi_margin, squared": (
        part(losses.multi_margin, power=2, margin=0.7),
        part(f.multi_margin_loss, p=2, margin=0.7),
        z,
        ints,
    ),
    "gaussian": (likelihood, lambda y, t: f.gaussian_nll_loss(y[0], t, y[1]), pair, z),
    "gaussian, full": (
        part(likelihood, full=True, eps=0.2),
        lambda y, t: f.gaussian_nll_loss(y[0], t, y[1], full=True, eps=0.2),
        pair,
        z,
    ),
    "poisson": (
        losses.poisson_negative_log_likelihood,
        f.poisson_nll_loss,
        z,
        3.0 * bits,
    ),
    "poisson, rates": (
        part(losses.poisson_negative_log_likelihood, log_input=False),
        part(f.poisson_nll_loss, log_input=False, eps=0.0),
        pair[1],
        3.0 * bits,
    ),
    "poisson, full": (
        part(losses.poisson_negative_log_likelihood, full=True),
        lambda y, t: -torch.distributions.Poisson(y.exp()).log_prob(t).mean(),
        z,
        3.0 * bits,
    ),
    "cosine_distance": (
        losses.cosine_distance,
        lambda y, t: (1 - f.cosine_similarity(y, t)).mean(),
        np.concatenate([np.zeros((1, C)), z[1:]]),
        three[0],
    ),
    "cosine_embedding": (
        part(losses.cosine_embedding, margin=0.1),
        lambda y, t: f.cosine_embedding_loss(*y, t, margin=0.1),
        three[:2],
        signs,
    ),
    "triplet": (margin, lambda y, t: f.triplet_margin_loss(*y), three, z),
    "triplet, swapped, p = 1": (
        part(margin, swap=True, power=1, margin=2.0),
        lambda y, t: f.triplet_margin_loss(*y, swap=True, p=1, margin=2.0),
        three,
        z,
    ),
    "triplet of the same": (
        margin,
        lambda y, t: f.triplet_margin_loss(*y),
        (three[0], three[0], three[1]),
        z,
    ),
}


@pytest.mark.parametrize("name", SAME)
def test_the_trainers_mean_and_its_gradient_are_pytorchs(name):
    loss, theirs, outputs, targets = SAME[name]
    leaves = jax.tree.map(lambda a: torch.tensor(a, requires_grad=True), outputs)
    want = theirs(leaves, torch.tensor(targets))
    want.backward()
    with jax.enable_x64(True):

        @jax.jit
        def mean(y, t):
            total, weight = weighted_sum(loss(y, t), loss_weights(loss, t, None, N))
            return total / weight

        y, t = jax.tree.map(jnp.asarray, (outputs, targets))
        got, slopes = jax.value_and_grad(mean)(y, t)
    np.testing.assert_allclose(got, want.item(), rtol=2e-7)
    for ours, leaf in zip(*map(jax.tree.leaves, (slopes, leaves)), strict=True):
        np.testing.assert_allclose(ours, leaf.grad.numpy(), rtol=2e-7, atol=1e-9)


def test_a_negative_variance_is_nan_for_its_example_alone():
    y = jnp.zeros(2), jnp.array([-1.0, 0.0])
    np.testing.assert_array_equal(jnp.isnan(likelihood(y, y[0])), [True, False])
