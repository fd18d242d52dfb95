"""Auto-encoders, variational ones, adversaries and denoisers."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.scipy.stats import norm

import jaxnn as nn
from jaxnn.core import trace

X = np.random.default_rng(0).uniform(size=(12, 4, 4)).astype(np.float32)
LABELS = np.arange(12) % 3
KEY = jax.random.key(0)
models = nn.models


def made(net, x=X):
    return jax.jit(net.init)(KEY, x)


# --- auto-encoders ---


def test_a_tied_decoder_has_the_encoders_weights():
    net = models.autoencoder(3, (4, 4), sizes=(8,), tied=True, activation=jnp.tanh)
    params, state = made(net)
    y, _ = jax.jit(net.apply)(params, state, X)
    params = jax.device_get(params)
    first, second = (params["encoder"][f"dense{i}"] for i in (1, 2))
    code = np.tanh(X.reshape(12, -1) @ first["w"] + first["b"]) @ second["w"]
    biases = params["biases"]
    hidden = np.tanh((code + second["b"]) @ second["w"].T + biases["0"]["b"])
    want = (hidden @ first["w"].T + biases["1"]["b"]).reshape(X.shape)
    np.testing.assert_allclose(y, want, rtol=1e-5, atol=1e-6)
    plain = models.autoencoder(3, (4, 4), sizes=(8,), activation=jnp.tanh)
    saved = nn.trees.count(made(plain)[0]) - nn.trees.count(params)
    assert saved == 3 * 8 + 8 * 16


@pytest.mark.slow
def test_a_linear_one_finds_the_principal_components():
    rng = np.random.default_rng(1)
    data = (rng.normal(size=(200, 2)) * (3, 1)) @ rng.normal(size=(2, 6))
    data = (data + 0.1 * rng.normal(size=(200, 6))).astype(np.float32)
    net = models.autoencoder(2, (6,), sizes=())
    loss = nn.losses.sum_squared_error
    state, _ = nn.fit(
        net, (data, data), loss=loss, optimizer=optax.adam(0.02), epochs=2000,
        batch_size=200, key=KEY,
    )  # fmt: skip
    values = np.linalg.eigvalsh(np.cov(data.T, bias=True))
    found = nn.evaluate(net, state, (data, data), loss=loss)["loss"]
    left = values[:-2].sum()  # of 1.5 in all
    assert 0.999 * left < found < 1.2 * left < 0.1 * values.sum()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: models.autoencoder(0, (4,)), "code must be a positive int"),
        (lambda: models.autoencoder(2, ()), "shape must have an axis"),
        (lambda: models.autoencoder(2, 4), "shape must be a tuple"),
        (lambda: models.autoencoder(2, (4,), sizes=(0,)), "sizes must be a positive"),
        (lambda: models.vae(2, (4,), classes=0), "classes must be a positive int"),
        (lambda: models.NegativeElbo(models.vae(2, (4,)), beta=-1.0), "beta must be"),
        (lambda: models.ImportanceBound(models.vae(2, (4,)), 0), "samples must be"),
        (lambda: models.dcgan(30, 1), "side must be a multiple of 4, got 30"),
        (lambda: models.dcgan(28, 1, width=0), "width must be a positive int"),
        (lambda: models.denoiser(1, multipliers=()), "multipliers must be a tuple"),
        (lambda: models.denoiser(1, width=0), "width must be a positive int"),
    ],
)
def test_sizes_that_do_not_work(make, message):
    with pytest.raises((TypeError, ValueError), match=message):
        make()


# --- variational auto-encoders ---

VAE = models.vae(2, (4, 4), sizes=(8,))


def run_of(net, objective, batch, state=None, key=KEY):
    """An objective's value on a batch, as `evaluate` computes it."""
    state = state or made(net, batch)
    return nn.evaluate(net, state, batch, objective=objective, key=key)


def test_the_bound_is_that_of_its_formula():
    params, state = made(VAE)
    code = jax.jit(VAE.encoder.apply)(params["encoder"], {}, X.reshape(12, -1))[0]
    mean, log_variance = jnp.split(code, 2, -1)
    found = run_of(VAE, models.NegativeElbo(VAE), X, (params, state))
    want = 0.5 * (jnp.exp(log_variance) + mean**2 - 1 - log_variance).sum(-1).mean()
    assert found["kl"] == pytest.approx(float(want), rel=1e-5)
    assert found["loss"] == pytest.approx(found["error"] + found["kl"], rel=1e-6)
    double = run_of(VAE, models.NegativeElbo(VAE, beta=2.0), X, (params, state))
    assert double["loss"] == pytest.approx(found["error"] + 2 * found["kl"], rel=1e-6)


def test_many_draws_approach_the_logarithm_of_the_probability():
    """With a code of one number the integral over it can be computed."""
    net = models.vae(1, (4, 4), sizes=(8,))
    params, state = made(net)
    z = jnp.linspace(-6, 6, 4001)[:, None]
    logits, _ = jax.jit(net.decoder.apply)(params["decoder"], {}, z)
    log_x = -nn.losses.bernoulli_negative_log_likelihood(
        jnp.repeat(logits, 12, 0), jnp.tile(X, (4001, 1, 1))
    ).reshape(4001, 12)
    log_joint = log_x + norm.logpdf(z) + jnp.log(z[1, 0] - z[0, 0])
    exact = -float(jax.nn.logsumexp(log_joint, axis=0).mean())
    one = run_of(net, models.NegativeElbo(net), X, (params, state))["loss"]
    many = run_of(net, models.ImportanceBound(net, 2000), X, (params, state))["loss"]
    assert many == pytest.approx(exact, abs=2e-3)
    assert one > exact - 0.01


def test_pixels_are_drawn_anew():
    objective = models.NegativeElbo(VAE, binarize=True)
    state = made(VAE)
    losses = {
        run_of(VAE, objective, X, state, jax.random.key(i))["loss"] for i in (1, 2)
    }
    assert len(losses) == 2
    assert objective == models.NegativeElbo(VAE, binarize=True)
    assert hash(objective) == hash(models.NegativeElbo(VAE, binarize=True))


def test_a_conditional_one_is_told_the_class():
    net = models.vae(2, (4, 4), sizes=(8,), classes=3)
    state, history = nn.fit(
        net, (X, LABELS), objective=models.NegativeElbo(net), key=KEY,
        optimizer=optax.adam(1e-2), epochs=3, batch_size=6,
    )  # fmt: skip
    assert list(history) == ["loss", "error", "kl"]
    y, other = (nn.predict(net, state, (X, np.full(12, k))) for k in (0, 1))
    assert y.shape == X.shape
    assert not np.allclose(y, other)
    with pytest.raises(TypeError, match=r"inputs must be \(x, label\) with classes"):
        net.init(KEY, X)


@pytest.mark.slow
def test_an_ensemble_of_them_is_separate_runs():
    run = {"objective": models.NegativeElbo(VAE, binarize=True), "epochs": 2}
    run |= {"optimizer": optax.adam(1e-2), "batch_size": 6}
    state, _ = nn.fit(nn.ensemble(VAE, 4), X, key=KEY, **run)
    for i, key in enumerate(jax.random.split(KEY, 4)):
        one, _ = nn.fit(VAE, X, key=key, **run)
        chex.assert_trees_all_close(
            nn.member(state, i).params, one.params, rtol=1e-5, atol=1e-6
        )


# --- adversaries ---


@pytest.mark.parametrize(
    "options", [{}, {"spectral_norm": True}, {"batch_norm": False}]
)
def test_a_generator_and_a_critic(options):
    net = models.dcgan(8, 2, width=4, **options)
    shapes = jax.eval_shape(net.init, KEY, jnp.ones((3, 5)))
    y, _ = jax.eval_shape(net.apply, *shapes, jnp.ones((3, 5)))
    assert y.shape == (3, 1)
    calls = {call.path: call.y.shape for call in trace(net, jnp.ones((3, 5)))}
    assert calls["generator/image"] == (3, 8, 8, 2)
    assert ("generator/norm0" in calls) == options.get("batch_norm", True)
    critics = [path for path in calls if path.startswith("critic/norm")]
    assert bool(critics) == (not options)
    larger = jax.eval_shape(models.dcgan(64, 3).init, KEY, jnp.ones((1, 8)))[0]
    assert larger["generator"]["dense"]["w"].shape == (8, 8 * 8 * 256)


# --- denoisers ---


def test_a_denoiser_begins_as_zero_and_hears_the_time_and_the_class():
    net = models.denoiser(1, width=8, multipliers=(1, 2), classes=3, heads=2)
    x, t, label = X[:2, ..., None], np.float32([0.1, 0.9]), np.array([0, 3])
    params, state = made(net, (x, t, label))
    apply = jax.jit(net.apply)
    assert not np.asarray(apply(params, state, (x, t, label))[0]).any()
    keys = iter(jax.random.split(KEY, 200))
    params = jax.tree.map(
        lambda w: w + 0.1 * jax.random.normal(next(keys), w.shape), params
    )
    y = apply(params, state, (x, t, label))[0]
    assert y.shape == x.shape
    for other in ((x, t / 2, label), (x, t, np.array([1, 3])), (x[::-1], t, label)):
        assert not np.allclose(apply(params, state, other)[0], y)
    with pytest.raises(TypeError, match=r"inputs must be \(x, t, label\)"):
        net.init(KEY, (x, t))
    with pytest.raises(ValueError, match="sides of images must be divisible by 2"):
        net.init(KEY, (x[:, :3], t, label))


@pytest.mark.slow
def test_a_denoiser_trains_on_a_flow():
    net = models.denoiser(1, width=8, multipliers=(1,), heads=2)
    x = np.ones((16, 4, 4, 1), np.float32)
    state, history = nn.fit(
        net, x, objective=nn.diffusion.flow_objective(), optimizer=optax.adam(3e-3),
        epochs=40, batch_size=16, key=KEY,
    )  # fmt: skip
    assert history["loss"][-1] < 0.6 * history["loss"][0]
    shape = (5, 4, 4, 1)
    made = nn.diffusion.heun(net, state, shape, steps=4, key=KEY)
    assert abs(np.asarray(made) - 1).mean() < 0.6
