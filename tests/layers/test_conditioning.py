# SPDX-License-Identifier: Apache-2.0
"""Layers of generative networks: times, conditions, draws, and how batches differ."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

import jaxnn as nn

KEY = jax.random.key(0)
X = np.random.default_rng(0).normal(size=(8, 3, 2, 4)).astype(np.float32)


def outputs(layer, x, **options):
    return layer.apply(*layer.init(KEY, x), x, **options)[0]


# ---- times ----


@pytest.mark.parametrize("times", [np.arange(0, 1000, 37), np.linspace(0, 1, 30)])
@pytest.mark.parametrize("features", [1, 5, 16])
def test_sinusoids_of_steps_and_of_shares(times, features):
    i = np.arange(features) // 2
    angle = times[:, None] / 500.0 ** (2 * i / features)
    want = np.where(np.arange(features) % 2, np.cos(angle), np.sin(angle))
    layer = nn.TimeEmbedding(features, 500)
    given = times if times.dtype.kind == "i" else times.astype(np.float32)
    got = outputs(layer, given)
    assert got.dtype == jnp.float32
    # (In float32 a product of about 1000 is rounded by up to 3e-5.)
    tight = 1e-4 if times.dtype.kind == "i" else 3e-7
    np.testing.assert_allclose(got, want, atol=tight)
    with jax.enable_x64(True):
        got = outputs(layer, times)
        assert got.dtype == jnp.float64
        np.testing.assert_allclose(got, want, atol=1e-12)


def test_times_are_the_positions_of_a_sequence():
    zeros, steps = jnp.zeros((1, 6, 8)), jnp.arange(6)
    want = outputs(nn.SinusoidalPositions(), zeros)[0]
    np.testing.assert_array_equal(outputs(nn.TimeEmbedding(8), steps), want)


# ---- conditions ----


def test_a_condition_scales_and_shifts_each_channel():
    layer = nn.FiLM(w_init=nn.initializers.normal(1.0))
    condition = jax.random.normal(jax.random.key(1), (8, 5))
    params, _ = layer.init(KEY, (X, condition))
    got, _ = layer.apply(params, {}, (X, condition))
    scale, shift = np.split(np.asarray(condition) @ np.asarray(params["w"]), 2, -1)
    want = X * (1 + scale[:, None, None]) + shift[:, None, None]
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


def test_it_begins_as_the_identity_and_learns():
    condition = jnp.ones((8, 5))
    params, _ = nn.FiLM().init(KEY, (X, condition))

    def loss(params):
        y, _ = nn.FiLM().apply(params, {}, (X, condition))
        return jnp.square(y).sum(), y

    slope, y = jax.grad(loss, has_aux=True)(params)
    np.testing.assert_array_equal(y, X)
    assert jnp.abs(slope["w"]).min() > 0


def test_films_and_cosines_of_torch():
    torch = pytest.importorskip("torch")
    x, c = X[:, 0, 0], X[:, 1, 1, :3]
    linear = torch.nn.Linear(3, 8)
    with torch.no_grad():
        scale, shift = linear(torch.tensor(c)).chunk(2, 1)
        want = torch.tensor(x) * (1 + scale) + shift
    variables = nn.io.from_torch(nn.FiLM(), (x, c), linear.state_dict())
    np.testing.assert_allclose(
        nn.FiLM().apply(*variables, (x, c))[0], want, rtol=1e-5, atol=1e-6
    )
    f, weight = torch.nn.functional, torch.randn(6, 4)
    layer = nn.CosineLogits(6)
    variables = nn.io.from_torch(layer, x, {"weight": weight})
    want = f.linear(f.normalize(torch.tensor(x)), f.normalize(weight))
    np.testing.assert_allclose(layer.apply(*variables, x)[0], want, atol=1e-6)


# ---- draws ----


def test_a_draw_has_the_mean_and_the_variance():
    shape = (400, 300)
    mean, log_variance = jnp.full(shape, -2.0), jnp.full(shape, 2 * jnp.log(0.5))
    y = outputs(nn.Sample(), (mean, log_variance), key=KEY, train=True)
    np.testing.assert_allclose([y.mean(), y.std()], [-2, 0.5], atol=0.01)


def test_the_gradient_of_a_draw_is_that_of_its_formula(double):
    mean, log_variance = jnp.zeros((3, 2)), jnp.full((3, 2), -1.0)

    def draw(mean, log_variance):
        return outputs(nn.Sample(), (mean, log_variance), key=KEY, train=True)

    noise = draw(mean, log_variance) / jnp.exp(-0.5)
    slopes = jax.grad(lambda *x: draw(*x).sum(), (0, 1))(mean, log_variance)
    np.testing.assert_array_equal(slopes[0], 1)
    np.testing.assert_allclose(slopes[1], noise * jnp.exp(-0.5) / 2, rtol=1e-12)


# ---- how a batch differs ----


def of_the_paper(x, size):
    """StyleGAN's code in NumPy, for groups of neighbors."""
    groups = x.reshape(-1, size, *x.shape[1:])
    std = np.sqrt(groups.var(1) + 1e-8).reshape(len(groups), -1).mean(1)
    channel = np.repeat(std, size)[:, None, None, None] * np.ones_like(x[..., :1])
    return np.concatenate([x, channel], -1)


@pytest.mark.parametrize(("group", "size"), [(4, 4), (2, 2), (8, 8), (99, 8), (1, 1)])
def test_one_more_channel_has_the_deviation_of_the_group(group, size):
    got = outputs(nn.MinibatchStd(group), X)
    np.testing.assert_allclose(got, of_the_paper(X, size), rtol=1e-5)


def test_all_alike_have_a_finite_gradient(double):
    x = jnp.ones((4, 3))
    value, slope = jax.value_and_grad(lambda x: outputs(nn.MinibatchStd(), x).sum())(x)
    assert value == pytest.approx(12 + 4e-4) and jnp.isfinite(slope).all()
    np.testing.assert_allclose(slope, 1)
    check_grads(
        lambda x: outputs(nn.MinibatchStd(), x),
        (x + X[:4, :, 0, 0].astype(float),),
        2,
        rtol=1e-4,
    )


def test_a_network_begins_from_any_number_of_examples():
    net = nn.Sequential(nn.MinibatchStd(4), nn.Dense(1))
    params, _ = net.init(KEY, jnp.ones((5, 3)))
    assert params["dense_1"]["w"].shape == (4, 1)
    with pytest.raises(ValueError, match="whole groups of 4 examples, got 5: float32"):
        net.apply(params, {}, jnp.ones((5, 3)))


# ---- angles ----


def test_cosines_are_those_of_the_angles():
    x = X[:, 0, 0]
    layer = nn.CosineLogits(6)
    params, _ = layer.init(KEY, x)
    w = np.asarray(params["w"])
    want = (x @ w) / np.linalg.norm(x, axis=1)[:, None] / np.linalg.norm(w, axis=0)
    np.testing.assert_allclose(layer.apply(params, {}, 9 * x)[0], want, rtol=1e-5)


def test_a_vector_of_zeros_has_a_finite_gradient():
    layer, x = nn.CosineLogits(3), jnp.zeros((2, 4))
    params, _ = layer.init(KEY, x)
    slopes = jax.grad(lambda p, x: layer.apply(p, {}, x)[0].sum(), (0, 1))(params, x)
    assert all(jnp.isfinite(a).all() for a in jax.tree.leaves(slopes))


# ---- refusals ----


@pytest.mark.parametrize(
    ("layer", "x", "message"),
    [
        (nn.TimeEmbedding(4), X, r"one number for each example, \[N\], got float32"),
        (nn.TimeEmbedding(4), X[:, 0, 0, :1], r"write x\[:, 0\]"),
        (nn.TimeEmbedding(4), X[:, 0, 0, 0] > 0, "must be times, floats or integers"),
        (nn.FiLM(), X, r"FiLM: x must be \(x, condition\), two arrays, got float32"),
        (nn.FiLM(), (X, jnp.arange(8)), "must hold floating-point numbers"),
        (nn.FiLM(), (X, X[:4, 0, 0]), "one vector for each example of x"),
        (nn.FiLM(), (X, X), "one vector for each example of x"),
        (nn.Sample(), X, r"becomes two by jnp.split\(x, 2, -1\)"),
        (nn.Sample(), (X, X[:, 0]), "mean and log_variance must have one shape"),
    ],
)
def test_inputs_that_do_not_fit(layer, x, message):
    with pytest.raises((TypeError, ValueError), match=message):
        layer.init(KEY, x)


def test_a_condition_of_another_width():
    params, _ = nn.FiLM().init(KEY, (X, jnp.ones((8, 5))))
    with pytest.raises(ValueError, match="FiLM: condition must have 5 features, as at"):
        nn.FiLM().apply(params, {}, (X, jnp.ones((8, 6))))
    with pytest.raises(ValueError, match="FiLM: x must have 4 channels"):
        nn.FiLM().apply(params, {}, (X[..., :3], jnp.ones((8, 5))))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: nn.TimeEmbedding(0), "TimeEmbedding: features must be a positive int"),
        (lambda: nn.TimeEmbedding(4, 0.0), "TimeEmbedding: max_period must be a numb"),
        (lambda: nn.MinibatchStd(0), "MinibatchStd: group must be a positive int"),
        (lambda: nn.CosineLogits(0), "CosineLogits: classes must be a positive int"),
    ],
)
def test_hyperparameters_are_checked_when_built(build, message):
    with pytest.raises(ValueError, match=message):
        build()
