# SPDX-License-Identifier: Apache-2.0
"""Losses against closed forms, NumPy loops, finite differences and PyTorch."""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from jax.test_util import check_grads

from jaxnn import losses

few = settings(max_examples=20, deadline=None)
rng = np.random.default_rng(0)


def softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


class Case(NamedTuple):
    """A loss, a batch for it, and the value of one example in float64 NumPy."""

    loss: Callable
    outputs: np.ndarray
    targets: np.ndarray
    oracle: Callable


def rows(labels, classes):
    return labels if labels.dtype.kind == "f" else np.eye(classes)[labels]


def crossed(log):
    """Oracle −Σ t log p, the mean over positions, from log(outputs)."""

    def oracle(y, t):
        t = rows(t, y.shape[-1])
        return np.mean([-(a @ log(b)) for a, b in zip(t.reshape(-1, t.shape[-1]),
                        y.reshape(-1, y.shape[-1]), strict=True)])  # fmt: skip

    return oracle


def huber_2(y, t):
    e = np.abs(y - t)
    return np.mean(np.where(e <= 0.5, e**2 / 2, 0.5 * (e - 0.25)))


def smoothed(y, t):
    t = 0.8 * np.eye(y.shape[-1])[t] + 0.2 / y.shape[-1]
    return -(t * np.log(softmax(y))).sum()


def divergence(y, t):
    return np.mean((t * (np.log(t) - y)).sum(-1))


def bernoulli(y, t):
    return np.mean(-t * np.log(y) - (1 - t) * np.log(1 - y))


def focal(y, t):
    p = np.where(t, sigmoid(y), sigmoid(-y))
    return np.mean(-np.where(t, 0.25, 0.75) * (1 - p) ** 1.5 * np.log(p))


def overlaps(y, t):
    """IoU and generalized IoU of two boxes."""
    both = (min(y[2], t[2]) - max(y[0], t[0]), min(y[3], t[3]) - max(y[1], t[1]))
    shared = max(both[0], 0) * max(both[1], 0)
    union = (y[2] - y[0]) * (y[3] - y[1]) + (t[2] - t[0]) * (t[3] - t[1]) - shared
    wide, high = max(y[2], t[2]) - min(y[0], t[0]), max(y[3], t[3]) - min(y[1], t[1])
    return shared / union, shared / union - (wide * high - union) / (wide * high)


def of_boxes(i):
    return lambda y, t: np.mean(
        [1 - overlaps(*pair)[i] for pair in zip(y, t, strict=True)]
    )


def margins(y, t):
    return np.mean([0 if c == t else max(0, 1 - y[t] + y[c]) for c in range(4)])


def poisson(y, t):
    return np.mean(np.exp(y) - t * y)


def quantiles(y, t):
    levels, e = np.array([0.2, 0.5, 0.95]), np.expand_dims(t, -1) - y
    return np.mean(np.maximum(levels * e, (levels - 1) * e))


def normal(y, t):
    return np.mean(np.log(y[1]) / 2 + (t - y[0]) ** 2 / (2 * y[1]))


def cosine(a, b):
    return np.mean((a * b).sum(-1) / np.sqrt((a**2).sum(-1) * (b**2).sum(-1)))


def triplet(y, t):
    near, far = (np.linalg.norm(y[0] - y[i] + 1e-6) for i in (1, 2))
    return max(0, near - far + 1)


def angles(y, t):
    angle = np.arccos(y[t])
    turned = np.cos(angle + 0.6) if angle < np.pi - 0.6 else y[t] - 0.6 * np.sin(0.6)
    return -np.log(softmax(8 * np.where(np.arange(4) == t, turned, y))[t])


def of_parts(loss):
    """A loss of several outputs, as one of an array of them, [N, parts, ...]."""
    return lambda y, t: loss(tuple(jnp.moveaxis(y, 1, 0)), t)


y1, y3 = rng.normal(size=6), rng.normal(size=(6, 2, 3))
t1, t3 = rng.normal(size=6), rng.normal(size=(6, 2, 3))
z, zt = rng.normal(size=(6, 4)), rng.normal(size=(6, 5, 4))
far = np.cos(np.linspace(0.1, 3.1, 24)).reshape(6, 4)
ints, intst = rng.integers(4, size=6), rng.integers(4, size=(6, 5))
soft, softt = softmax(rng.normal(size=z.shape)), softmax(rng.normal(size=zt.shape))
corners = rng.uniform(0, 4, size=(2, 6, 2, 2))
by, bt = np.concatenate([corners, corners + rng.uniform(1, 3, corners.shape)], -1)
bits1, bits3 = rng.integers(2, size=6), rng.integers(2, size=(6, 2, 3))
part = functools.partial
smooth = part(losses.softmax_cross_entropy, label_smoothing=0.2)

CASES = {
    "mse": Case(losses.mean_squared_error, y3, t3, lambda y, t: np.mean((y - t) ** 2)),
    "mse of numbers": Case(
        losses.mean_squared_error, y1, t1, lambda y, t: (y - t) ** 2
    ),
    "sse": Case(losses.sum_squared_error, y3, t3, lambda y, t: np.sum((y - t) ** 2)),
    "mae": Case(losses.mean_absolute_error, y3, t3, lambda y, t: np.mean(abs(y - t))),
    "sae": Case(losses.sum_absolute_error, y3, t3, lambda y, t: np.sum(abs(y - t))),
    "rmse": Case(
        losses.root_mean_squared_error,
        y3,
        t3,
        lambda y, t: np.sqrt(np.mean((y - t) ** 2)),
    ),
    "rmse of numbers": Case(
        losses.root_mean_squared_error, y1, t1, lambda y, t: abs(y - t)
    ),
    "huber": Case(part(losses.huber, delta=0.5), y3, t3, huber_2),
    "log_cosh": Case(
        losses.log_cosh, y3, t3, lambda y, t: np.mean(np.log(np.cosh(y - t)))
    ),
    "softmax, integers": Case(
        losses.softmax_cross_entropy, z, ints, crossed(lambda y: np.log(softmax(y)))
    ),
    "softmax, sequences": Case(
        losses.softmax_cross_entropy, zt, intst, crossed(lambda y: np.log(softmax(y)))
    ),
    "softmax, soft": Case(
        losses.softmax_cross_entropy, z, soft, crossed(lambda y: np.log(softmax(y)))
    ),
    "softmax, smoothed": Case(smooth, z, ints, smoothed),
    "cross_entropy": Case(losses.cross_entropy, softmax(z), ints, crossed(np.log)),
    "cross_entropy, soft": Case(
        losses.cross_entropy, softmax(zt / 2), softt, crossed(np.log)
    ),
    "nll": Case(
        losses.negative_log_likelihood, np.log(softmax(z)), ints, crossed(lambda y: y)
    ),
    "kl": Case(losses.kl_divergence, np.log(softmax(zt)), softt, divergence),
    "kl, integers": Case(
        losses.kl_divergence, np.log(softmax(z)), ints, crossed(lambda y: y)
    ),
    "likelihood": Case(losses.likelihood, softmax(z), ints, lambda y, t: y[t]),
    "likelihood, binary": Case(
        losses.likelihood, sigmoid(y1), bits1, lambda y, t: y if t else 1 - y
    ),
    "sigmoid": Case(
        losses.sigmoid_cross_entropy, y3, bits3, lambda y, t: bernoulli(sigmoid(y), t)
    ),
    "sigmoid, soft": Case(
        losses.sigmoid_cross_entropy, z, soft, lambda y, t: bernoulli(sigmoid(y), t)
    ),
    "sigmoid_focal": Case(
        part(losses.sigmoid_focal, gamma=1.5, alpha=0.25), y3, bits3, focal
    ),
    "iou": Case(losses.iou, by, bt, of_boxes(0)),
    "generalized_iou": Case(losses.generalized_iou, by, bt, of_boxes(1)),
    "binary_cross_entropy": Case(
        losses.binary_cross_entropy, sigmoid(y1), bits1, bernoulli
    ),
    "bernoulli": Case(
        losses.bernoulli_negative_log_likelihood,
        y3,
        sigmoid(t3),
        lambda y, t: y.size * bernoulli(sigmoid(y), t),
    ),
    "normal": Case(
        part(losses.normal_negative_log_likelihood, log_variance=0.5),
        y3,
        t3,
        lambda y, t: np.sum((np.log(2 * np.pi) + 0.5 + (t - y) ** 2 / np.exp(0.5)) / 2),
    ),
    "hinge": Case(
        losses.hinge,
        y3,
        bits3,
        lambda y, t: np.mean(np.maximum(0, 1 - np.where(t, 1, -1) * y)),
    ),
    "sigmoid, positive ones weighted": Case(
        part(losses.sigmoid_cross_entropy, pos_weight=(0.5, 3.0, 1.0)),
        y3,
        bits3,
        lambda y, t: np.mean(
            -t * np.array([0.5, 3, 1]) * np.log(sigmoid(y))
            - (1 - t) * np.log(sigmoid(-y))
        ),
    ),
    "softmax, sequences, classes weighted": Case(
        part(losses.softmax_cross_entropy, class_weight=(0.5, 3.0, 0.0, 1.0)),
        zt,
        intst,
        lambda y, t: np.average(
            -np.log(softmax(y))[np.arange(5), t],
            weights=np.array([0.5, 3, 0, 1])[t],
        ),
    ),
    "multi_margin": Case(losses.multi_margin, 2 * z, ints, margins),
    "arc_face": Case(part(losses.arc_face, margin=0.6, scale=8.0), far, ints, angles),
    "poisson": Case(losses.poisson_negative_log_likelihood, y3, bits3, poisson),
    "gaussian": Case(
        of_parts(losses.gaussian_negative_log_likelihood), softmax(y3), t3[:, 0], normal
    ),
    "pinball": Case(
        part(losses.pinball, levels=(0.2, 0.5, 0.95)), y3, t3[..., 0], quantiles
    ),
    "pinball of numbers": Case(
        part(losses.pinball, levels=(0.2, 0.5, 0.95)), y3[:, 0], t1, quantiles
    ),
    "cosine_distance": Case(
        losses.cosine_distance, y3, t3, lambda y, t: 1 - cosine(y, t)
    ),
    "cosine_embedding": Case(
        of_parts(part(losses.cosine_embedding, margin=-0.9)),
        y3,
        bits1,
        lambda y, t: 1 - cosine(*y) if t else max(0, cosine(*y) + 0.9),
    ),
    "triplet_margin": Case(of_parts(losses.triplet_margin), zt[:, :3], t1, triplet),
}
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


@every_case
def test_agrees_with_a_loop_in_numpy(case):
    got = case.loss(case.outputs, case.targets)
    pairs = zip(case.outputs, case.targets, strict=True)
    want = [case.oracle(y, t) for y, t in pairs]
    assert got.shape == (6,) and got.dtype == jnp.float32
    np.testing.assert_allclose(got, want, rtol=2e-5, atol=1e-6)


@every_case
def test_float64_keeps_its_precision(case):
    with jax.enable_x64(True):
        got = case.loss(case.outputs, case.targets)
        assert got.dtype == jnp.float64
    pairs = zip(case.outputs, case.targets, strict=True)
    want = [case.oracle(y, t) for y, t in pairs]
    np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-14)


@every_case
def test_gradient_is_the_finite_difference(case):
    with jax.enable_x64(True):
        y, t = jnp.asarray(case.outputs), jnp.asarray(case.targets)
        loss = jax.jit(lambda y: case.loss(y, t))
        options = {"atol": 1e-5, "rtol": 1e-4}
        check_grads(loss, (y,), order=2, modes=["rev"], **options)
        check_grads(loss, (y,), order=1, modes=["fwd"], **options)


@every_case
def test_jit_and_vmap_agree_with_eager(case):
    # (atol: two units in the last place of 1, which a loss such as 1 − cos starts from)
    y, t = jnp.asarray(case.outputs, jnp.float32), jnp.asarray(case.targets)
    want = case.loss(y, t)
    np.testing.assert_allclose(jax.jit(case.loss)(y, t), want, rtol=1e-6, atol=3e-7)
    stacked = jax.vmap(case.loss)(jnp.stack([y, y[::-1]]), jnp.stack([t, t[::-1]]))
    np.testing.assert_allclose(stacked[0], want, rtol=1e-6, atol=3e-7)
    np.testing.assert_allclose(stacked[1], want[::-1], rtol=1e-6, atol=3e-7)


@every_case
def test_bfloat16_stays_and_is_computed_in_float32(case):
    y = jnp.asarray(case.outputs, jnp.bfloat16)
    t = jnp.asarray(case.targets)  # float32 or integers: cast to fit, not refused
    got, grad = case.loss(y, t), jax.grad(lambda y: case.loss(y, t).sum())(y)
    assert got.dtype == grad.dtype == jnp.bfloat16
    want = case.loss(y.astype(jnp.float32), t).astype(jnp.bfloat16)
    np.testing.assert_array_equal(got.astype(jnp.float32), want.astype(jnp.float32))


# ---- the numbers of a first course ----


def test_mean_squared_error_and_cross_entropy_of_a_course():
    y, t = jnp.array([[0.4, 0.6]]), jnp.array([[0.0, 1.0]])
    np.testing.assert_allclose(losses.mean_squared_error(y, t), [0.16], rtol=1e-6)
    nats = losses.cross_entropy(y, t)
    np.testing.assert_allclose(nats, [0.5108], atol=5e-5)
    np.testing.assert_allclose(nats / math.log(2), [0.7370], atol=5e-5)
    one = jnp.array([1])
    for same in (
        losses.cross_entropy(y, one),
        losses.softmax_cross_entropy(jnp.log(y), t),
        losses.softmax_cross_entropy(jnp.log(y), one),
        losses.negative_log_likelihood(jnp.log(y), one),
        losses.binary_cross_entropy(y[:, 1], one),
        -jnp.log(losses.likelihood(y, one)),
    ):
        np.testing.assert_allclose(same, nats, rtol=1e-6)


def test_likelihood_of_the_balls_and_its_maximum():
    drawn = jnp.array([1, 0, 1, 0, 0])  # red, blue, red, blue, blue

    def product(red):
        return losses.likelihood(jnp.broadcast_to(red, (5,)), drawn).prod()

    np.testing.assert_allclose(product(jnp.float32(4 / 5)), 0.8**2 * 0.2**3, rtol=1e-6)
    np.testing.assert_allclose(product(jnp.float32(1 / 2)), 0.5**5, rtol=1e-6)
    red = jnp.linspace(0, 1, 101)
    assert red[jax.vmap(product)(red).argmax()] == pytest.approx(2 / 5)
    assert jax.grad(product)(jnp.float32(2 / 5)) == pytest.approx(0, abs=1e-7)


def test_softmax_numbers_of_a_course():
    for scores, probabilities in [
        ([2.0, 1.0, 0.1], [0.659, 0.242, 0.099]),
        ([1.2, 0.9, 0.4], [0.456, 0.338, 0.205]),
    ]:
        logits = jnp.array([scores] * 3)
        got = jnp.exp(-losses.softmax_cross_entropy(logits, jnp.arange(3)))
        np.testing.assert_allclose(got, probabilities, atol=6e-4)


def test_gradient_of_cross_entropy_is_prediction_minus_target():
    z, labels = jnp.asarray(CASES["softmax, integers"].outputs), jnp.asarray(ints)
    got = jax.grad(lambda z: losses.softmax_cross_entropy(z, labels).sum())(z)
    np.testing.assert_allclose(got, softmax(np.asarray(z)) - np.eye(4)[ints], atol=1e-6)
    got = jax.grad(lambda z: losses.sigmoid_cross_entropy(z, labels % 2).sum())(z[:, 0])
    np.testing.assert_allclose(got, sigmoid(np.asarray(z[:, 0])) - ints % 2, atol=1e-6)


# ---- numerics at the edges ----


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_large_logits(dtype):
    z = jnp.array([[1e4, -1e4, 0.0], [1e4, 9999.0, -1e4]], dtype)
    for labels in (jnp.array([1, 0]), jnp.array([[0, 1, 0], [1, 0, 0]])):
        loss = losses.softmax_cross_entropy(z, labels)
        grad = jax.grad(lambda z, t=labels: losses.softmax_cross_entropy(z, t).sum())(z)
        gap = float(z[0, 0]) - float(z[0, 1])
        near = math.log1p(math.exp(float(z[1, 1]) - float(z[1, 0])))
        np.testing.assert_allclose(
            loss.astype(jnp.float32),
            [gap, near],
            rtol=1e-6 if z.itemsize == 4 else 4e-3,
        )
        np.testing.assert_array_equal(grad[0].astype(jnp.float32), [1, -1, 0])
    z, t = jnp.array([1e4, -1e4, 1e4, -1e4], dtype), jnp.array([1, 0, 0, 1])
    loss = losses.sigmoid_cross_entropy(z, t)
    np.testing.assert_array_equal(loss, jnp.array([0, 0, 1e4, 1e4], dtype))
    grad = jax.grad(lambda z: losses.sigmoid_cross_entropy(z, t).sum())(z)
    np.testing.assert_array_equal(grad.astype(jnp.float32), [0, 0, 1, -1])


def test_the_small_loss_of_large_logits_is_exact():
    # As log-sum-exp minus the logit it would be a difference of two numbers near 1e4.
    z = jnp.array([[10000.0, 9990.0]])
    got = losses.softmax_cross_entropy(z, jnp.array([0]))
    np.testing.assert_allclose(got, [math.log1p(math.exp(-10))], rtol=1e-2)


@pytest.mark.parametrize(
    "labels", [jnp.array([0, 2]), jnp.array([[1.0, 0, 0], [0.5, 0, 0.5]])]
)
@pytest.mark.parametrize(
    "loss",
    [
        losses.softmax_cross_entropy,
        losses.negative_log_likelihood,
        losses.kl_divergence,
    ],
)
def test_masked_classes_leave_value_and_gradient_alone(loss, labels):
    z = jnp.array([[1.0, -jnp.inf, 0.5], [0.1, -jnp.inf, 0.3]])
    kept = np.array([0, 2])
    narrow = labels // 2 if labels.ndim == 1 else labels[:, kept]
    value = lambda z: loss(z, labels).sum()  # noqa: E731
    want = lambda z: loss(z, narrow).sum()  # noqa: E731
    np.testing.assert_allclose(value(z), want(z[:, kept]), rtol=1e-6)
    grad = jax.grad(value)(z)
    np.testing.assert_allclose(grad[:, kept], jax.grad(want)(z[:, kept]), rtol=1e-6)
    np.testing.assert_array_equal(grad[:, 1], 0)


def test_masked_outputs_of_a_sigmoid():
    z, t = jnp.array([-jnp.inf, jnp.inf, 0.0]), jnp.array([0, 1, 1])
    loss = losses.sigmoid_cross_entropy(z, t)
    np.testing.assert_allclose(loss, [0, 0, math.log(2)], rtol=1e-6)
    grad = jax.grad(lambda z: losses.sigmoid_cross_entropy(z, t).sum())(z)
    np.testing.assert_allclose(grad, [0, 0, -0.5])


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_probabilities_of_0_and_1_are_clipped(dtype):
    p, t = jnp.array([0.0, 1.0, 0.0, 1.0], dtype), jnp.array([1, 0, 0, 1])
    rows = jnp.stack([1 - p, p], -1)
    for loss, outputs in [
        (losses.binary_cross_entropy, p),
        (losses.cross_entropy, rows),
    ]:
        value = loss(outputs, t).astype(jnp.float32)
        np.testing.assert_array_equal(value[2:], 0)
        assert (value[:2] > 80).all() and jnp.isfinite(value).all()
        grad = jax.grad(lambda y, loss=loss: loss(y, t).sum())(outputs)
        assert jnp.isfinite(grad).all()


@pytest.mark.parametrize(
    "loss",
    [
        losses.root_mean_squared_error,
        losses.mean_absolute_error,
        losses.sum_absolute_error,
        losses.mean_squared_error,
        losses.huber,
        losses.log_cosh,
    ],
)
@pytest.mark.parametrize("shape", [(3,), (3, 2)])
def test_no_error_no_gradient(loss, shape):
    y = jnp.ones(shape)
    np.testing.assert_allclose(loss(y, y), 0, atol=1e-7)
    grad = jax.grad(lambda y: loss(y, jnp.ones(shape)).sum())(y)
    np.testing.assert_array_equal(grad, 0)


@pytest.mark.parametrize("level", [0.05, 0.5, 0.8])
def test_pinball_is_lowest_at_the_quantile(level):
    """And there is no slope where an output is met exactly."""
    targets = jnp.arange(101.0)

    def slope(y):
        outputs = jnp.broadcast_to(y, (101, 1))
        return losses.pinball(outputs, targets, levels=(level,)).mean()

    at = 100 * level
    assert jax.grad(slope)(at - 0.5) < 0 < jax.grad(slope)(at + 0.5)
    met = jax.grad(lambda y: losses.pinball(y, jnp.zeros(2)).sum())(jnp.zeros((2, 3)))
    np.testing.assert_array_equal(met, 0)


def test_pinball_of_the_median_is_half_the_absolute_error():
    y, t = jnp.asarray(y3), jnp.asarray(t3)
    got = losses.pinball(y[..., None], t, levels=[0.5])
    np.testing.assert_allclose(got, losses.mean_absolute_error(y, t) / 2, rtol=1e-6)


def test_pinball_keeps_a_nan():
    got = losses.pinball(jnp.zeros((2, 3)), jnp.array([jnp.nan, 1.0]))
    np.testing.assert_array_equal(jnp.isnan(got), [True, False])


@pytest.mark.parametrize(
    ("outputs", "targets", "levels", "message"),
    [
        ((4, 3), (4, 3), (0.1, 0.5, 0.9), r"outputs must be \[N, ..., Q\].*\[4,3\]"),
        ((4, 2), (4,), (0.1, 0.5, 0.9), r"outputs .*Q = 3 levels, got .*32\[4,2\]"),
        ((3,), (), (0.1, 0.5, 0.9), "outputs must be"),
        ((4, 2), (4,), (0.1, 1.0), r"levels must be .* 0 and 1.*got \(0.1, 1.0\)"),
        ((4, 0), (4,), (), "levels must be"),
    ],
)
def test_pinball_refuses(outputs, targets, levels, message):
    with pytest.raises(ValueError, match=f"pinball: {message}"):
        losses.pinball(jnp.ones(outputs), jnp.ones(targets), levels=levels)


def test_huber_and_log_cosh_far_away():
    y, t = jnp.array([1e4, -1e4]), jnp.zeros(2)
    np.testing.assert_allclose(losses.huber(y, t, delta=2.0), 2 * (1e4 - 1), rtol=1e-6)
    np.testing.assert_allclose(losses.log_cosh(y, t), 1e4 - math.log(2), rtol=1e-6)
    grad = jax.grad(lambda y: losses.log_cosh(y, t).sum())(y)
    np.testing.assert_allclose(grad, [1, -1])


def test_hinge_takes_0_and_1_or_minus_1_and_1():
    y, t = jnp.array([0.3, -2.0, 1.5]), jnp.array([1, 0, 0])
    np.testing.assert_array_equal(losses.hinge(y, t), losses.hinge(y, 2 * t - 1))


# ---- labels ----

CLASS_LOSSES = [
    losses.softmax_cross_entropy,
    losses.cross_entropy,
    losses.negative_log_likelihood,
    losses.kl_divergence,
    losses.likelihood,
    losses.multi_margin,
    losses.arc_face,
]
every_class_loss = pytest.mark.parametrize("loss", CLASS_LOSSES)


@every_class_loss
@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int32, np.int64, np.uint32])
def test_label_dtypes_and_one_hot_rows_agree(loss, dtype):
    p, labels = jnp.asarray(softmax(z), jnp.float32), ints.astype(dtype)
    want = loss(p, jnp.asarray(ints))
    np.testing.assert_array_equal(loss(p, labels), want)
    for one_hot in (np.eye(4)[ints], np.eye(4)[ints].astype(dtype)):
        np.testing.assert_allclose(loss(p, one_hot), want, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(loss(p, np.eye(4)[ints] > 0), want, rtol=1e-5, atol=1e-6)


@every_class_loss
def test_a_label_out_of_range_is_nan_for_its_example_alone(loss):
    p = jnp.asarray(softmax(z), jnp.float32)
    labels = jnp.array([0, -1, 3, 4, 1, 1000])
    got = jax.jit(loss)(p, labels)
    np.testing.assert_array_equal(jnp.isnan(got), [0, 1, 0, 1, 0, 1])
    right = jnp.array([0, 2, 4])
    want = loss(p[right], labels[right])
    np.testing.assert_allclose(got[right], want, rtol=1e-6, atol=1e-7)
    grad = jax.grad(lambda p: loss(p, labels)[1])(p)
    assert jnp.isnan(grad[1]).any() and not jnp.isnan(grad[0]).any()


@pytest.mark.parametrize(
    "loss",
    [losses.sigmoid_cross_entropy, losses.binary_cross_entropy, losses.likelihood],
)
def test_an_integer_binary_target_out_of_range_is_nan(loss):
    got = loss(jnp.full(4, 0.25), jnp.array([0, 1, -1, 2]))
    np.testing.assert_array_equal(jnp.isnan(got), [0, 0, 1, 1])


def test_label_smoothing_of_rows_and_of_integers_agree():
    smooth = part(losses.softmax_cross_entropy, label_smoothing=0.3)
    got = smooth(jnp.asarray(z), np.eye(4)[ints])
    np.testing.assert_allclose(got, smooth(jnp.asarray(z), ints), rtol=1e-5)


@few
@given(labels=hnp.arrays(np.int32, (4, 5), elements=st.integers(-1, 3)))
def test_ignored_labels_count_nowhere(labels):
    logits = jnp.asarray(zt[:4], jnp.float32)
    loss = part(losses.softmax_cross_entropy, ignore_label=-1, label_smoothing=0.2)
    got, weights = loss(logits, labels), losses.example_weights(loss, labels)
    grad = jax.grad(lambda z: loss(z, labels).sum())(logits)
    np.testing.assert_array_equal(grad[labels == -1], 0)
    for n, kept in enumerate(labels != -1):
        assert float(weights[n]) == kept.sum()
        pairs = zip(zt[n][kept], labels[n][kept], strict=True)
        want = [smoothed(z, t) for z, t in pairs] or [0]
        np.testing.assert_allclose(got[n], np.mean(want), rtol=1e-5)


@pytest.mark.parametrize(
    "loss", [losses.softmax_cross_entropy, losses.negative_log_likelihood]
)
def test_a_label_out_of_range_has_no_class_weight(loss):
    loss = part(loss, class_weight=(0.0, 1.0, 1.0, 1.0), ignore_label=-1)
    labels = jnp.array([0, -1, 3, 4, -2, 1000])
    got = loss(jnp.asarray(np.log(softmax(z))), labels)
    np.testing.assert_array_equal(jnp.isnan(got), [0, 0, 0, 1, 1, 1])
    got = losses.example_weights(loss, labels)
    np.testing.assert_array_equal(got[:3], [0, 0, 1])
    assert jnp.isnan(got[3:]).all()


def test_labels_that_do_not_count_may_have_any_outputs():
    sigmoids = part(losses.sigmoid_cross_entropy, ignore_label=-1)
    for loss, y, t in [
        (part(losses.softmax_cross_entropy, class_weight=(0, 1)), jnp.eye(2), [0, 1]),
        (part(losses.negative_log_likelihood, ignore_label=0), jnp.eye(2), [0, 1]),
        (sigmoids, jnp.ones(2), [-1, 1]),
        (sigmoids, jnp.ones(2), [-1.0, 0.5]),
    ]:
        value = lambda y, loss=loss, t=t: loss(y, jnp.array(t)).sum()  # noqa: E731
        broken = y.at[0].set(jnp.nan)
        np.testing.assert_array_equal(value(broken), value(y))
        assert not jax.grad(value)(broken)[0].any()


def test_unknown_labels_of_several_are_left_out_of_the_mean():
    logits, targets = jnp.asarray(y3[:3, 0]), jnp.array([[1, -1, 0], [-1] * 3, [0] * 3])
    loss = part(losses.sigmoid_cross_entropy, ignore_label=-1)
    got, weights = loss(logits, targets), losses.example_weights(loss, targets)
    np.testing.assert_array_equal(weights, [2, 0, 3])
    want = losses.sigmoid_cross_entropy(logits[:1, ::2], targets[:1, ::2])
    np.testing.assert_allclose(got[:2], [*want, 0], rtol=1e-6)
    np.testing.assert_array_equal(losses.example_weights(loss, targets > 0), [3] * 3)


def test_ignored_labels_still_leave_others_checked():
    loss = part(losses.softmax_cross_entropy, ignore_label=-1)
    got = loss(jnp.asarray(z), jnp.array([0, -1, -2, 4, 1, 255]))
    np.testing.assert_array_equal(jnp.isnan(got), [0, 0, 1, 1, 0, 1])
    loss = part(losses.softmax_cross_entropy, ignore_label=255)
    labels = np.array([0, 255, 1, 2, 3, 255], np.uint8)
    np.testing.assert_array_equal(loss(jnp.asarray(z), labels)[jnp.array([1, 5])], 0)
    np.testing.assert_array_equal(
        losses.example_weights(loss, labels), [1, 0, 1, 1, 1, 0]
    )


def test_narrow_labels_compare_with_many_classes_and_with_minus_1():
    labels, logits = np.array([0, 255], np.uint8), jnp.zeros((2, 300))
    loss = part(losses.softmax_cross_entropy, ignore_label=-1)
    np.testing.assert_allclose(loss(logits, labels), math.log(300), rtol=1e-6)
    np.testing.assert_array_equal(losses.example_weights(loss, labels), [1, 1])


def test_example_weights_of_losses_that_ignore_nothing():
    weights = part(losses.example_weights, targets=jnp.array([0, -1]))
    assert weights(losses.softmax_cross_entropy) is None
    assert weights(part(losses.softmax_cross_entropy, ignore_label=None)) is None
    assert weights(part(losses.huber, delta=2.0)) is None
    unknown = lambda y, t, ignore_label: y  # noqa: E731
    assert weights(part(unknown, ignore_label=-1)) is None
    nested = part(part(losses.softmax_cross_entropy, ignore_label=-1))
    got = jax.jit(lambda t: losses.example_weights(nested, t))(jnp.array([0, -1]))
    assert got.dtype == jnp.float32
    np.testing.assert_array_equal(got, [1, 0])


# ---- contracts ----

CONTRACTS = {
    "any numbers": """mean_squared_error sum_squared_error mean_absolute_error
        sum_absolute_error root_mean_squared_error huber log_cosh
        normal_negative_log_likelihood iou generalized_iou""",
    "any none": "detection",
    "logits classes": "softmax_cross_entropy multi_margin arc_face",
    "probabilities classes": "cross_entropy likelihood",
    "log probabilities classes": "negative_log_likelihood kl_divergence",
    "binary logits binary": """sigmoid_cross_entropy sigmoid_focal
        bernoulli_negative_log_likelihood""",
    "binary logits signs": "hinge",
    "binary probabilities binary": "binary_cross_entropy",
    "distribution numbers": """gaussian_negative_log_likelihood
        poisson_negative_log_likelihood pinball""",
    "embeddings numbers": "cosine_distance",
    "embeddings signs": "cosine_embedding",
    "embeddings none": "triplet_margin",
}


@pytest.mark.parametrize("contract", CONTRACTS)
def test_contracts(contract):
    for name in CONTRACTS[contract].split():
        loss = getattr(losses, name)
        outputs, targets = losses.contract_of(loss)
        assert f"{outputs} {targets}" == contract
        assert losses.contract_of(part(part(loss), outputs=0)) == (outputs, targets)
        assert name in losses.__doc__


def test_contract_of_unknown_callables():
    assert losses.contract_of(lambda y, t: y) is None
    assert losses.contract_of(part(max, key=abs)) is None
    odd = lambda y, t: y  # noqa: E731
    odd.contract = "logits"
    assert losses.contract_of(odd) is None


def test_a_contract_of_unknown_words_offers_the_nearest():
    with pytest.raises(ValueError, match=r"outputs must be.*'logit'.*'logits'\)"):
        losses.expects(outputs="logit", targets="classes")
    with pytest.raises(ValueError, match=r"targets must be.*'class'.*'classes'\)"):
        losses.expects(outputs="logits", targets="class")


# ---- refusals ----

PAIR_LOSSES = [
    losses.mean_squared_error,
    losses.sum_squared_error,
    losses.mean_absolute_error,
    losses.sum_absolute_error,
    losses.root_mean_squared_error,
    losses.huber,
    losses.log_cosh,
    losses.sigmoid_cross_entropy,
    losses.sigmoid_focal,
    losses.binary_cross_entropy,
    losses.hinge,
    losses.poisson_negative_log_likelihood,
    losses.cosine_distance,
    losses.normal_negative_log_likelihood,
    losses.bernoulli_negative_log_likelihood,
]


@pytest.mark.parametrize("loss", PAIR_LOSSES)
def test_nothing_broadcasts(loss):
    column, flat = jnp.ones((4, 1)), jnp.ones(4)
    name = loss.__name__
    with pytest.raises(
        ValueError, match=rf"{name}.*float32\[4,1\].*float32\[4\].*targets\[:, None\]"
    ):
        loss(column, flat)
    with pytest.raises(
        ValueError, match=rf"{name}.*float32\[4\].*float32\[4,1\].*targets\[:, 0\]"
    ):
        jax.jit(loss)(flat, column)
    with pytest.raises(TypeError, match=rf"{name}: outputs must be floating.*int32"):
        loss(jnp.ones(4, jnp.int32), flat)
    with pytest.raises(ValueError, match=name):
        loss(jnp.float32(1), jnp.float32(1))


shapes = hnp.array_shapes(min_dims=1, max_dims=3, max_side=3)


@few
@given(outputs=shapes, targets=shapes)
def test_shapes_are_averaged_or_refused(outputs, targets):
    y = np.arange(math.prod(outputs), dtype=np.float32).reshape(outputs)
    t = np.ones(targets, np.float32)
    if outputs != targets:
        with pytest.raises(ValueError, match="one shape"):
            losses.mean_squared_error(y, t)
        return
    each = np.square(y - t).reshape(outputs[0], -1)
    got = losses.mean_squared_error(y, t)
    np.testing.assert_allclose(got, each.mean(1), rtol=1e-6)
    np.testing.assert_allclose(losses.sum_squared_error(y, t), each.sum(1), rtol=1e-6)


@few
@given(outputs=shapes, labels=shapes)
def test_class_shapes_are_fitting_or_refused(outputs, labels):
    y, t = np.zeros(outputs, np.float32), np.zeros(labels, np.int32)
    fits = len(outputs) > 1 and outputs[-1] > 1 and labels in (outputs, outputs[:-1])
    if not fits:
        with pytest.raises(ValueError, match="softmax_cross_entropy"):
            losses.softmax_cross_entropy(y, t)
        return
    want = math.log(outputs[-1]) if labels != outputs else 0  # rows of zeros: no mass
    got = losses.softmax_cross_entropy(y, t)
    np.testing.assert_allclose(got, np.full(outputs[0], want), rtol=1e-5)


@every_class_loss
def test_labels_that_do_not_fit_are_named(loss):
    p = jnp.full((4, 3), 1 / 3)
    with pytest.raises(TypeError, match=r"labels are float.*float32\[4\].*astype\(int"):
        loss(p, jnp.ones(4))
    with pytest.raises(ValueError, match=r"int32\[4,1\].*write labels\[:, 0\]"):
        loss(p, jnp.ones((4, 1), jnp.int32))
    with pytest.raises(ValueError, match=r"float32\[4,3\].*int32\[3\]"):
        loss(p, jnp.ones(3, jnp.int32))
    with pytest.raises(TypeError, match="outputs must be floating"):
        loss(jnp.ones((4, 3), jnp.int32), jnp.ones(4, jnp.int32))


@pytest.mark.parametrize(
    "loss", [loss for loss in CLASS_LOSSES if loss is not losses.likelihood]
)
def test_a_single_output_has_no_classes(loss):
    with pytest.raises(ValueError, match="at least 2 classes"):
        loss(jnp.ones((4, 1)), jnp.ones(4, jnp.int32))
    with pytest.raises(ValueError, match="at least 2 classes"):
        loss(jnp.ones(4), jnp.ones(4, jnp.int32))


def test_options_out_of_range():
    p, t = jnp.full((4, 3), 1 / 3), jnp.ones(4, jnp.int32)
    for s in (-0.1, 1.0, math.nan):
        with pytest.raises(ValueError, match="label_smoothing"):
            losses.softmax_cross_entropy(p, t, label_smoothing=s)
    with pytest.raises(ValueError, match=r"ignore_label.*float32\[4,3\]"):
        losses.softmax_cross_entropy(p, p, ignore_label=0)
    for weights in ((1.0, 2.0), (1.0, -1.0, 1.0), (1.0, math.nan, 1.0), {0: 1.0}, 2.0):
        with pytest.raises(ValueError, match="class_weight"):
            losses.softmax_cross_entropy(p, t, class_weight=weights)
    for weights in ((1.0, 2.0), -1.0, "2"):
        with pytest.raises(ValueError, match="pos_weight"):
            losses.sigmoid_cross_entropy(p, p, pos_weight=weights)
    with pytest.raises(ValueError, match=r"class_weight.*float32\[4,3\]"):
        losses.softmax_cross_entropy(p, p, class_weight=(1.0, 1.0, 1.0))
    with pytest.raises(ValueError, match="power must be 1 or 2"):
        losses.multi_margin(p, t, power=3)
    with pytest.raises(ValueError, match="power must be 1 or more"):
        losses.triplet_margin((p, p, p), power=0.5)
    with pytest.raises(ValueError, match="margin must be from -1 to 1"):
        losses.cosine_embedding((p, p), t, margin=2.0)
    for delta in (0, -1.0, math.nan):
        with pytest.raises(ValueError, match="delta must be positive"):
            losses.huber(t.astype(jnp.float32), t, delta=delta)


def test_losses_of_several_outputs_say_what_they_take():
    p = jnp.ones((4, 3))
    for loss, parts in [
        (losses.gaussian_negative_log_likelihood, "mean, variance"),
        (losses.cosine_embedding, "a, b"),
        (losses.triplet_margin, "anchor, positive, negative"),
    ]:
        with pytest.raises(TypeError, match=f"{loss.__name__}: outputs.*{parts}"):
            loss(p, p)
    with pytest.raises(ValueError, match=r"one for each pair.*float32\[4,3\]"):
        losses.cosine_embedding((p, p), p)
    with pytest.raises(ValueError, match=r"embeddings must be \[N, ..., D\]"):
        losses.cosine_distance(jnp.ones(4), jnp.ones(4))


# ---- PyTorch ----


def torch_losses(torch):
    f = torch.nn.functional
    none = {"reduction": "none"}
    last = lambda y: y.movedim(-1, 1)  # noqa: E731 (classes come second in torch)
    per_example = lambda values: values.flatten(1).mean(1)  # noqa: E731
    return {
        "mse": lambda y, t: per_example(f.mse_loss(y, t, **none)),
        "mae": lambda y, t: per_example(f.l1_loss(y, t, **none)),
        "huber": lambda y, t: per_example(f.huber_loss(y, t, delta=0.5, **none)),
        "softmax, integers": lambda y, t: f.cross_entropy(y, t, **none),
        "softmax, soft": lambda y, t: f.cross_entropy(y, t, **none),
        "softmax, sequences": lambda y, t: f.cross_entropy(last(y), t, **none).mean(1),
        "softmax, smoothed": part(f.cross_entropy, label_smoothing=0.2, **none),
        "nll": lambda y, t: f.nll_loss(y, t, **none),
        "kl": lambda y, t: f.kl_div(y, t, **none).sum(-1).mean(1),
        "sigmoid": lambda y, t: per_example(
            f.binary_cross_entropy_with_logits(y, t.double(), **none)
        ),
        "binary_cross_entropy": lambda y, t: f.binary_cross_entropy(
            y, t.double(), **none
        ),
    }


@pytest.mark.parametrize(
    "name",
    "mse|mae|huber|softmax, integers|softmax, soft|softmax, sequences"
    "|softmax, smoothed|nll|kl|sigmoid|binary_cross_entropy".split("|"),
)
def test_agrees_with_pytorch_in_value_and_gradient(name):
    torch = pytest.importorskip("torch")
    case = CASES[name]
    y = torch.tensor(case.outputs, requires_grad=True)
    want = torch_losses(torch)[name](y, torch.tensor(case.targets))
    want.sum().backward()
    with jax.enable_x64(True):
        t = jnp.asarray(case.targets)
        got, pull = jax.vjp(lambda y: case.loss(y, t), jnp.asarray(case.outputs))
        (grad,) = pull(jnp.ones_like(got))
    np.testing.assert_allclose(got, want.detach().numpy(), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(grad, y.grad.numpy(), rtol=1e-9, atol=1e-12)


def test_ignored_labels_as_in_pytorch():
    torch = pytest.importorskip("torch")
    labels = np.where(ints == 2, -100, ints)
    loss = part(losses.softmax_cross_entropy, ignore_label=-100)
    got, weights = loss(z, labels), losses.example_weights(loss, labels)
    want = torch.nn.functional.cross_entropy(torch.tensor(z), torch.tensor(labels))
    np.testing.assert_allclose(got.sum() / weights.sum(), want.numpy(), rtol=1e-5)
