"""Schedules against the formulas of their papers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnn as nn
from jaxnn import diffusion

LINEAR = diffusion.linear_schedule(1000)
COSINE = diffusion.cosine_schedule(1000)
EVEN = diffusion.linear_schedule(20)
every_schedule = pytest.mark.parametrize(
    "schedule", [LINEAR, COSINE, EVEN, diffusion.flow], ids=str
)


def test_the_linear_schedule_is_the_published_one():
    product, expected = 1.0, [1.0]
    for beta in np.linspace(1e-4, 0.02, 1000):
        product *= 1 - beta
        expected.append(product)
    found = LINEAR.alpha_bar(jnp.arange(1001))
    np.testing.assert_allclose(found, expected, rtol=3e-6)
    np.testing.assert_allclose(
        found[-1], 4.0358e-5, rtol=1e-4
    )  # as in the paper's code


def test_the_cosine_schedule_is_the_published_one():
    def f(step):
        return np.cos((step / 1000 + 0.008) / 1.008 * np.pi / 2) ** 2

    steps = np.arange(990)  # (later ones have a clipped β)
    found = COSINE.alpha_bar(steps)
    np.testing.assert_allclose(found, f(steps) / f(0), rtol=1e-5)
    last = np.exp(np.diff(COSINE.log_alpha_bars)[-1])
    np.testing.assert_allclose(1 - last, 0.999, rtol=1e-9)


def test_any_number_of_steps_ends_in_noise():
    for steps in (1, 20, 100, 4000):
        assert diffusion.linear_schedule(steps).alpha_bar(steps) < 0.01
        assert diffusion.cosine_schedule(steps).alpha_bar(steps) < 0.01


@every_schedule
def test_times_are_shares_of_the_steps(schedule):
    times = jnp.linspace(0, 1, 21)
    a, b = schedule.signal(times), schedule.noise(times)
    assert (a[0], b[0]) == (1, 0)
    assert bool((jnp.diff(a) < 0).all()) and bool((jnp.diff(b) > 0).all())
    if schedule is diffusion.flow:
        np.testing.assert_allclose(a + b, 1, rtol=1e-6)
        return
    np.testing.assert_allclose(a**2 + b**2, 1, rtol=1e-6)
    steps = jnp.arange(21) * schedule.steps // 20
    np.testing.assert_allclose(a, schedule.signal(steps), rtol=2e-5)
    np.testing.assert_allclose(b[1:], schedule.noise(steps)[1:], rtol=2e-4)


def test_between_steps_the_logarithm_is_linear():
    before, half, after = (EVEN.alpha_bar((7 + f) / 20) for f in (0, 0.5, 1))
    np.testing.assert_allclose(half, jnp.sqrt(before * after), rtol=1e-5)


def test_schedules_are_specs_and_trace():
    assert diffusion.cosine_schedule(1000) == COSINE != LINEAR
    assert hash(diffusion.cosine_schedule(1000)) == hash(COSINE)
    names = vars(diffusion)
    assert eval(repr(COSINE), names) == COSINE
    assert eval(repr(diffusion.flow), names) == diffusion.flow
    t = jnp.array([0.2, 0.7])
    np.testing.assert_allclose(jax.jit(COSINE.noise)(t), COSINE.noise(t), rtol=1e-6)
    slope = jax.vmap(jax.grad(COSINE.signal))(t)
    assert bool((slope < 0).all()) and bool(jnp.isfinite(slope).all())


@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "float64"])
def test_noised_keeps_the_dtype(dtype, key, double):
    x = jnp.ones((3, 2, 2), dtype)
    noise = jax.random.normal(key, x.shape, dtype)
    for schedule in (COSINE, diffusion.flow):
        t = jnp.array([0.0, 0.3, 1.0])
        made = diffusion.noised(schedule, noise, x, t)
        assert made.dtype == x.dtype
        a, b = (c(t)[:, None, None] for c in (schedule.signal, schedule.noise))
        expected = a * x.astype("float64") + b * noise.astype("float64")
        np.testing.assert_allclose(
            made.astype("float64"), expected, rtol=1e-2 if dtype == "bfloat16" else 1e-6
        )
        assert bool((made[0] == x[0]).all())


def test_noised_draws_noise_from_a_key(key):
    x = jnp.full((2000, 1), 3.0)
    made = diffusion.noised(diffusion.flow, key, x, 0.25)
    np.testing.assert_allclose(made.mean(), 0.75 * 3, atol=0.03)
    np.testing.assert_allclose(made.std(), 0.25, atol=0.02)


@pytest.mark.parametrize(
    "call, kind, message",
    [
        (
            lambda: diffusion.linear_schedule(0),
            ValueError,
            "Schedule: steps must be a positive int, got 0",
        ),
        (
            lambda: diffusion.Schedule(3, lambda steps: np.ones(steps)),
            ValueError,
            r"Schedule: betas must give \[3\] numbers above 0 and below 1",
        ),
        (
            lambda: diffusion.Schedule(3, [0.1, 0.2, 0.3]),
            TypeError,
            "Schedule: betas must be a function",
        ),
        (
            lambda: LINEAR.alpha_bar(1001),
            ValueError,
            "Schedule: t must be a step from 0 to 1000 or a time .*1001 to 1001",
        ),
        (
            lambda: diffusion.flow.signal(jnp.array([0.5, 1.5])),
            ValueError,
            "Flow: t must be",
        ),
        (
            lambda: LINEAR.noise(True),
            TypeError,
            "Schedule: t must be a step or a time, got bool",
        ),
        (
            lambda: diffusion.noised(None, jnp.ones(2), jnp.ones(2), 0.5),
            TypeError,
            "noised: schedule must be a schedule, .* got None",
        ),
        (
            lambda: diffusion.noised(LINEAR, jnp.ones(3), jnp.ones(2), 0.5),
            ValueError,
            "noised: noise must be a random key, or .* float32.2., got float32.3.",
        ),
        (
            lambda: diffusion.noised(LINEAR, jnp.ones(2), jnp.ones(2), jnp.ones(3)),
            ValueError,
            r"noised: t must be one time, or one per example, \[2\]",
        ),
        (
            lambda: diffusion.noised(LINEAR, jnp.ones(2), jnp.ones(2, int), 0.5),
            TypeError,
            "noised: x must hold floating-point numbers",
        ),
    ],
)
def test_errors_say_what_to_do(call, kind, message):
    with pytest.raises(kind, match=message):
        call()


def test_the_room_is_imported_when_first_asked_for():
    assert "diffusion" in dir(nn) and nn.diffusion is diffusion
