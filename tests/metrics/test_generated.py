"""Yardsticks of generated sets, against the formulas of their papers."""

import tracemalloc

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

import jaxnn as nn
from jaxnn.metrics import frechet_distance, generated, inception_score, precision_recall

RNG = np.random.default_rng(0)
REAL = RNG.normal(size=(60, 5)) @ RNG.normal(size=(5, 5)) + 2
MADE = RNG.normal(size=(40, 5)) @ RNG.normal(size=(5, 5)) - 1


def published_distance(a, b):
    """Heusel's formula by the square root of a product that is not symmetric."""
    s, r = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = scipy.linalg.sqrtm(s @ r).real
    return ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(s + r - 2 * root)


def test_frechet_distance_is_the_published_formula():
    found = frechet_distance(REAL, MADE)
    assert isinstance(found, float)
    np.testing.assert_allclose(found, published_distance(REAL, MADE), rtol=1e-9)
    np.testing.assert_allclose(frechet_distance(MADE, REAL), found, rtol=1e-9)


def test_frechet_distance_of_scaled_sets_is_known():
    # (of S and c² S it is (c − 1)² tr S)
    trace = np.trace(np.cov(REAL, rowvar=False))
    shift = REAL.mean(0)
    found = frechet_distance(REAL - shift, 3 * (REAL - shift))
    np.testing.assert_allclose(found, 4 * trace, rtol=1e-10)


@pytest.mark.parametrize("n", [2, 3, 60])
@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_frechet_distance_of_a_set_and_itself_is_zero(n, scale):
    a = scale * REAL[:n]
    assert frechet_distance(a, a) == 0
    assert frechet_distance(jnp.asarray(a, jnp.float32), np.float32(a)) == 0
    assert 0 <= frechet_distance(a, a[::-1]) < 1e-24 * scale**2 * 1e2


def test_frechet_distance_of_fewer_examples_than_features():
    a, b = RNG.normal(size=(2, 4, 50))
    # Both covariances are singular. By the factors of them, which are 4 × 50:
    (x, y) = ((z - z.mean(0)) / np.sqrt(3) for z in (a, b))
    overlap = np.linalg.svd(x @ y.T, compute_uv=False).sum()
    between = ((a.mean(0) - b.mean(0)) ** 2).sum()
    expected = between + (x**2).sum() + (y**2).sum() - 2 * overlap
    np.testing.assert_allclose(frechet_distance(a, b), expected, rtol=1e-10)


def test_frechet_distance_of_features_that_never_change():
    a = np.column_stack([REAL, np.ones(60)])
    b = np.column_stack([MADE, np.ones(40)])
    np.testing.assert_allclose(
        frechet_distance(a, b), frechet_distance(REAL, MADE), rtol=1e-10
    )
    assert frechet_distance(np.ones((3, 2)), np.zeros((3, 2))) == 2


def test_inception_score_is_the_published_formula():
    p = RNG.dirichlet(np.ones(4), size=50)
    expected = np.exp(np.mean(np.sum(p * (np.log(p) - np.log(p.mean(0))), 1)))
    np.testing.assert_allclose(inception_score(p), expected, rtol=1e-12)
    rounded = jnp.asarray(p, jnp.bfloat16)
    np.testing.assert_allclose(inception_score(rounded), expected, rtol=0.02)


def test_inception_score_at_its_limits():
    sure = np.eye(5)[np.arange(10) % 5]
    np.testing.assert_allclose(inception_score(sure), 5, rtol=1e-12)
    assert inception_score(sure[:1]) == 1
    one_class = np.tile([[1.0, 0.0]], (3, 1))
    assert inception_score(one_class) == 1


def loops(real, made, k):
    """Kynkäänniemi's definition, pair by pair."""

    def share(members, points):
        gaps = np.linalg.norm(members[:, None] - members[None], axis=-1)
        radius = np.sort(gaps, 1)[:, k]
        away = np.linalg.norm(points[:, None] - members[None], axis=-1)
        return np.mean((away <= radius[None]).any(1))

    return share(real, made), share(made, real)


@pytest.mark.parametrize("block", [1, 7, 1024])
@pytest.mark.parametrize("k", [1, 3])
def test_precision_recall_is_the_definition_whatever_the_blocks(monkeypatch, block, k):
    monkeypatch.setattr(generated, "BLOCK", block)
    real, made = REAL, REAL[:30] + RNG.normal(size=(30, 5))
    found = precision_recall(real, made, k=k)
    np.testing.assert_allclose(found, loops(real, made, k))
    assert 0 < found.precision < 1 and 0 < found.recall < 1


def test_precision_recall_never_holds_all_pairs(monkeypatch):
    monkeypatch.setattr(generated, "BLOCK", 50)
    a = RNG.normal(size=(1500, 2))
    tracemalloc.start()
    try:
        precision_recall(a, a + 0.01)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1500 * 1500 * 8 / 4


def test_precision_recall_of_known_sets():
    same = precision_recall(REAL, REAL)
    assert same == (1, 1)
    apart = precision_recall(REAL, REAL + 100)
    assert apart == (0, 0)


def test_repeated_points_lie_among_their_copies():
    """Their radius is 0, and BLAS rounds their distances by the shape of the block."""
    for seed in range(4):
        once = np.random.default_rng(seed).normal(size=(30, 64)) + 3
        repeated = np.repeat(once, 4, axis=0)
        assert precision_recall(repeated, repeated) == (1, 1)
        assert precision_recall(repeated, repeated[[5, 9, 33, 70, 2]]).precision == 1
        assert precision_recall(repeated, repeated + 1e-5) == (0, 0)


def test_a_point_on_the_edge_is_inside():
    line = np.arange(5.0)[:, None] + 1000.5
    assert precision_recall(line, line + 1, k=1).precision == 1
    assert precision_recall(line, line + 1.01, k=1).precision == 0.8


def test_what_is_not_finite_gives_nan():
    bad = MADE.copy()
    bad[3, 1] = np.inf
    assert np.isnan(frechet_distance(REAL, bad))
    assert np.isnan(precision_recall(bad, REAL)).all()
    assert np.isnan(inception_score(np.full((2, 2), np.nan)))


@pytest.mark.parametrize(
    "call, message",
    [
        (
            lambda: frechet_distance(REAL[:1], MADE),
            "frechet_distance: real must be .* at least 2, got float64.1,5.",
        ),
        (
            lambda: frechet_distance(REAL, MADE[:, :2]),
            "frechet_distance: generated must have the 5 features of real, got 2",
        ),
        (
            lambda: frechet_distance(np.ones((4, 2, 2)), MADE),
            r"real must be \[N, D\] .*reshape",
        ),
        (
            lambda: precision_recall(REAL, MADE[:3]),
            "precision_recall: generated must be .* at least 4",
        ),
        (
            lambda: precision_recall(REAL, MADE, k=0),
            "precision_recall: k must be a positive int, got 0",
        ),
        (
            lambda: inception_score(REAL),
            r"inception_score: probabilities must be .*jax.nn.softmax\(logits\)",
        ),
        (
            lambda: inception_score(np.zeros((0, 3))),
            "inception_score: probabilities must be .* at least 1",
        ),
    ],
)
def test_errors_say_what_to_do(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_sets_must_hold_numbers():
    with pytest.raises(TypeError, match="frechet_distance: real must hold numbers"):
        nn.metrics.frechet_distance(np.array([["a"], ["b"]]), MADE)
