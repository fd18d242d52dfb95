# SPDX-License-Identifier: Apache-2.0
"""Losses of critics and generators, and penalties on slopes, against PyTorch."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.test_util import check_grads

import jaxnn as nn
from jaxnn import losses

KEY = jax.random.key(0)
rng = np.random.default_rng(0)
REAL, FAKE = rng.normal(size=(2, 5, 4))
W, V = rng.normal(size=(4, 3)), rng.normal(size=3)


def critic_of(w):
    return lambda x: jnp.tanh(x @ w) @ jnp.asarray(V, x.dtype)


def relu(x):
    return np.maximum(x, 0)


def softplus(x):
    return np.log1p(np.exp(x))


GAMES = {
    "classic": (lambda r, f: softplus(-r) + softplus(f), lambda f: softplus(-f)),
    "hinge": (lambda r, f: relu(1 - r) + relu(1 + f), np.negative),
    "wasserstein": (lambda r, f: f - r, np.negative),
}


WHO = ("critic", "generator")


@pytest.mark.parametrize("game", GAMES)
@pytest.mark.parametrize("dtype", [jnp.float64, jnp.bfloat16])
def test_scores_of_any_shape_are_averaged(game, dtype, double):
    critic, generator = (getattr(losses, f"{who}_{game}") for who in WHO)
    r, f = (jnp.asarray(a, dtype) for a in (REAL, FAKE))
    wide = [np.asarray(a, np.float64) for a in (r, f)]
    wants = [of(*a) for of, a in zip(GAMES[game], (wide, wide[1:]), strict=True)]
    close = 1e-12 if dtype == jnp.float64 else 0.02
    for got, want in ((critic(r, f), wants[0]), (generator(f), wants[1])):
        assert got.dtype == dtype and got.shape == (5,)
        np.testing.assert_allclose(got.astype(float), want.mean(1), close, close)
    np.testing.assert_array_equal(critic(r[:, :1], f[:, :1]), critic(r[:, 0], f[:, 0]))
    np.testing.assert_array_equal(generator(f[:, :1]), generator(f[:, 0]))


@pytest.mark.parametrize("game", GAMES)
def test_slopes_of_scores(game, double):
    critic, generator = (getattr(losses, f"{who}_{game}") for who in WHO)
    check_grads(jax.jit(critic), (REAL, FAKE), order=1)
    check_grads(jax.jit(generator), (FAKE,), order=1)


def test_a_sure_critic_leaves_finite_slopes():
    sure = jnp.array([1e4, -1e4])
    assert losses.critic_classic(sure, -sure).tolist() == [0, 2e4]
    slope = jax.grad(lambda f: losses.generator_classic(f).sum())(sure)
    np.testing.assert_array_equal(slope, [0, -1])


# ---- penalties ----


def penalties(w, real=REAL, fake=FAKE):
    """Both penalties of a critic."""
    critic = critic_of(w)
    gap = losses.gradient_penalty(critic, real, fake, KEY)
    return gap, losses.r1_penalty(critic, real)


def test_penalties_are_those_of_torch(double):
    torch = pytest.importorskip("torch")
    u = np.array(jax.random.uniform(KEY, (5, 1), float))
    wants = []
    for x in (u * REAL + (1 - u) * FAKE, REAL):
        x, w, v = (torch.tensor(a, requires_grad=True) for a in (x, W, V))
        scores = torch.tanh(x @ w) @ v
        (slopes,) = torch.autograd.grad(scores.sum(), x, create_graph=True)
        norms = slopes.norm(dim=1)
        value = (norms - 1) ** 2 if len(wants) == 0 else norms**2
        value.sum().backward()
        wants.append((value.detach().numpy(), w.grad.numpy()))
    for i, (want, by_w) in enumerate(wants):
        np.testing.assert_allclose(penalties(W)[i], want, rtol=1e-12)
        slope = jax.jit(jax.grad(lambda w, i=i: penalties(w)[i].sum()))(W)
        np.testing.assert_allclose(slope, by_w, rtol=1e-10, atol=1e-12)


def test_slopes_of_penalties_are_finite_differences(double):
    check_grads(jax.jit(penalties), (W, REAL, FAKE), order=1, atol=1e-6, rtol=1e-5)


def test_a_flat_critic_has_a_finite_slope():
    value, slope = jax.value_and_grad(lambda w: sum(a.sum() for a in penalties(w)))(
        jnp.zeros((4, 3))
    )
    assert value == 5 and jnp.isfinite(slope).all()


def test_a_penalty_of_images_in_bfloat16():
    images = jnp.ones((3, 4, 4, 2), jnp.bfloat16)
    half = lambda x: x.sum((1, 2, 3))[:, None] / 2  # noqa: E731
    got = losses.gradient_penalty(half, images, 0 * images, KEY)
    assert got.dtype == jnp.bfloat16
    np.testing.assert_allclose(got.astype(float), (np.sqrt(32) / 2 - 1) ** 2, rtol=0.01)
    np.testing.assert_array_equal(losses.r1_penalty(half, images), [8, 8, 8])


class Game(nn.Composite):
    generator: nn.Layer = nn.Dense(2)
    critic: nn.Layer = nn.Sequential(
        nn.SpectralNorm(nn.Dense(8)), nn.MinibatchStd(), jax.nn.silu, nn.Dense(1)
    )

    def forward(self, run, z):
        return run("critic", run("generator", z))


def judge(run, x):
    def critic(x):
        return run("critic", x)

    z_key, u_key = jax.random.split(run.key)
    fake = run("generator", jax.random.normal(z_key, (len(x), 3)))
    penalty = losses.gradient_penalty(critic, x, fake, u_key)
    loss = losses.critic_wasserstein(critic(x), critic(fake))
    return loss + penalty + losses.r1_penalty(critic, x), {"penalty": penalty}


def fool(run, x):
    fake = run("generator", jax.random.normal(run.key, (len(x), 3)))
    return losses.generator_wasserstein(run("critic", fake))


@pytest.mark.slow
def test_players_train_with_penalties():
    adam = optax.adam(1e-2)
    step = nn.train.players(
        Game(),
        critic=nn.train.Player(judge, adam, params="critic"),
        generator=nn.train.Player(fool, adam, params="generator"),
    )
    state = step.start(jnp.ones((1, 3)), key=KEY)
    x = np.random.default_rng(0).normal(3.0, 0.1, (32, 2)).astype(np.float32)
    state, history = nn.fit(step, x, state=state, epochs=2, batch_size=8)
    assert list(history) == ["critic_loss", "critic_penalty", "generator_loss"]
    assert np.isfinite([history[name] for name in history]).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: losses.critic_hinge(jnp.ones((2, 1)), jnp.ones(2)),
            r"critic_hinge: real and fake must be scores of one shape.*\[2,1\].*\[2\]",
        ),
        (lambda: losses.generator_hinge(jnp.ones(())), r"fake must be \[N, ...\]"),
        (
            lambda: losses.generator_hinge(jnp.ones(2, int)),
            "fake must be floating point",
        ),
        (
            lambda: losses.gradient_penalty(critic_of(W), REAL, FAKE, 0),
            "gradient_penalty: key must be a random key",
        ),
        (
            lambda: losses.gradient_penalty(critic_of(W), REAL, FAKE[:2], KEY),
            "gradient_penalty: real and fake must have one shape",
        ),
        (
            lambda: losses.r1_penalty(lambda x: x.sum(), REAL),
            r"r1_penalty: critic must give scores for each example, \[5\], got float",
        ),
    ],
)
def test_arguments_that_do_not_fit(call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call()
