# SPDX-License-Identifier: Apache-2.0
"""Losses of two views, against PyTorch and by their limits; angles at their ends."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.test_util import check_grads

import jaxnn as nn
from jaxnn import losses

rng = np.random.default_rng(0)
A, B = rng.normal(size=(2, 5, 3))
BOTH = pytest.mark.parametrize("loss", [losses.info_nce, losses.nt_xent])


def test_both_are_cross_entropies_of_torch(double):
    torch = pytest.importorskip("torch")
    f = torch.nn.functional
    a, b = (f.normalize(torch.tensor(x)) for x in (A, B))
    n, views = torch.arange(5), torch.cat([a, b])
    z = a @ b.T / 0.3
    want = [f.cross_entropy(z, n, reduction="none") for z in (z, z.T)]
    got = losses.info_nce(A, B, 0.3)
    np.testing.assert_allclose(got, sum(want) / 2, rtol=1e-12)
    z = (views @ views.T / 0.3).fill_diagonal_(-torch.inf)
    want = f.cross_entropy(z, torch.cat([n + 5, n]), reduction="none")
    np.testing.assert_allclose(
        losses.nt_xent(A, B, 0.3), want.reshape(2, 5).mean(0), rtol=1e-12
    )


@BOTH
def test_slopes_are_finite_differences(loss, double):
    check_grads(jax.jit(loss), (A, B, 0.3), order=1, atol=1e-5, rtol=1e-4)


@BOTH
def test_views_all_alike_are_told_apart_by_chance(loss):
    a = jnp.ones((5, 3))
    others = 5 if loss is losses.info_nce else 9
    np.testing.assert_allclose(loss(a, 2 * a), math.log(others), rtol=1e-6)
    np.testing.assert_allclose(loss(a[:1], a[:1]), 0, atol=1e-6)


@BOTH
def test_the_length_of_embeddings_does_not_count(loss):
    a, b = jnp.asarray(A, jnp.float32), jnp.asarray(B, jnp.float32)
    np.testing.assert_allclose(loss(9 * a, b / 7), loss(a, b), rtol=1e-5)
    slopes = jax.grad(lambda a: loss(a, b).sum())(a.at[0].set(0))
    assert jnp.isfinite(slopes).all()
    got = loss(a.astype(jnp.bfloat16), b.astype(jnp.bfloat16))
    assert got.dtype == jnp.bfloat16
    np.testing.assert_allclose(got.astype(float), loss(a, b), rtol=0.05)


@BOTH
def test_a_temperature_may_be_learned_and_small(loss):
    a, b = jnp.asarray(A, jnp.float32), jnp.asarray(B, jnp.float32)
    cold = jnp.float32(1e-3)
    value, slope = jax.value_and_grad(lambda t: loss(a, b, t).sum())(cold)
    assert jnp.isfinite(value) and jnp.isfinite(slope)
    for wrong in (0.0, -1.0, cold * 0, "0.1", jnp.ones(2)):
        with pytest.raises(ValueError, match=f"{loss.__name__}: temperature must be"):
            loss(a, b, wrong)


@BOTH
def test_shapes_that_do_not_fit(loss):
    for a, b in ((A, B[:4]), (A[0], B[0]), (A[None], B[None])):
        with pytest.raises(ValueError, match="must be embeddings of one shape, "):
            loss(a, b)
    with pytest.raises(TypeError, match="b must be floating point, got int"):
        loss(A, jnp.ones((5, 3), int))


# ---- the hardest of a batch ----

LABELS = np.array([3, -1, 3, -1, 3])


def hardest(x, labels):
    """A loop over anchors."""
    values = []
    for i, label in enumerate(labels):
        far = np.linalg.norm(x[i] - x + 1e-6, axis=1)
        like = [far[j] for j in range(len(x)) if labels[j] == label and j != i]
        other = [far[j] for j in range(len(x)) if labels[j] != label]
        pairs = like and other
        values.append(max(0, max(like) - min(other) + 1) if pairs else 0)
    return values


@pytest.mark.parametrize("labels", [LABELS, np.arange(5), np.zeros(5, int)])
def test_the_hardest_of_a_batch_are_those_of_a_loop(labels, double):
    loss = jax.jit(losses.triplet_hard)
    np.testing.assert_allclose(loss(A, labels), hardest(A, labels), rtol=1e-10)
    check_grads(lambda x: loss(x, labels), (A,), order=1, atol=1e-6, rtol=1e-5)


def test_embeddings_all_alike_have_a_finite_slope():
    x = jnp.zeros((5, 3))
    value, slope = jax.value_and_grad(lambda x: losses.triplet_hard(x, LABELS).sum())(x)
    assert value == 5 and jnp.isfinite(slope).all()


def test_labels_that_are_none():
    with pytest.raises(TypeError, match="triplet_hard: labels must be integers"):
        losses.triplet_hard(A, A[:, 0])
    with pytest.raises(ValueError, match=r"embeddings must be \[N, D\], and labels"):
        losses.triplet_hard(A, LABELS[:4])
    with pytest.raises(ValueError, match="triplet_hard: margin must be a number"):
        losses.triplet_hard(A, LABELS, margin=0.0)


# ---- angles ----


def test_angles_at_their_ends_have_finite_slopes():
    cosines = jnp.array([[1.0, -1.0], [-1.0, 1.0], [1.0000001, 0.0], [0.0, 0.0]])
    labels = jnp.zeros(4, int)

    def loss(cosines):
        return losses.arc_face(cosines, labels, margin=0.5, scale=64.0)

    value, slope = loss(cosines), jax.grad(lambda c: loss(c).sum())(cosines)
    assert jnp.isfinite(value).all() and jnp.isfinite(slope).all()
    np.testing.assert_allclose(value[0], 0, atol=1e-6)
    rises = 1 + 1 + 0.5 * math.sin(0.5)
    np.testing.assert_allclose(value[1], 64 * rises, rtol=1e-6)


def test_no_margin_is_cross_entropy_and_no_cosine_is_nan():
    cosines, labels = jnp.array([[0.3, -0.2], [3.0, 0.0]]), jnp.array([1, 0])
    got = losses.arc_face(cosines, labels, margin=0.0, scale=4.0)
    want = losses.softmax_cross_entropy(4 * cosines, labels)
    np.testing.assert_allclose(got[0], want[0], rtol=1e-6)
    assert jnp.isnan(got[1])


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"margin": -0.1}, "arc_face: margin must be from 0 to π, got -0.1"),
        ({"margin": 4.0}, "margin must be from 0 to π"),
        ({"scale": 0.0}, "arc_face: scale must be a number above 0"),
    ],
)
def test_options_out_of_range(option, message):
    with pytest.raises(ValueError, match=message):
        losses.arc_face(jnp.zeros((1, 2)), jnp.array([0]), **option)


def test_arc_face_trains_a_network_of_cosines():
    x = np.concatenate([A - 4, B + 4]).astype(np.float32)
    y = np.repeat([0, 1], 5)
    loss = functools.partial(losses.arc_face, scale=8.0)
    net = nn.Sequential(nn.Dense(4), nn.CosineLogits(2))
    _, history = nn.fit(
        net, (x, y), loss=loss, metrics={"accuracy": nn.metrics.accuracy},
        optimizer=optax.adam(0.05), epochs=10, batch_size=5, key=jax.random.key(0),
    )  # fmt: skip
    assert history["accuracy"][-1] == 1 and history["loss"][-1] < history["loss"][0]
