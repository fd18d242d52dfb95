"""Samplers on Gaussian data, for which the best model and the result are known."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gaussian import (
    KEY,
    LABELS,
    MEAN,
    NET,
    SCHEDULE,
    START,
    STD,
    VARIABLES,
    Velocity,
    flowing,
    noise,
    velocity,
)

import jaxnn as nn
from jaxnn.diffusion import ddim, ddpm, euler, flow, heun
from jaxnn.keys import fold_in

ddim20 = functools.partial(ddim, schedule=SCHEDULE, steps=20)
ddpm20 = functools.partial(ddpm, schedule=SCHEDULE, steps=20, key=KEY)
SAMPLERS = {
    "ddpm": (ddpm20, noise),
    "ddim": (ddim20, noise),
    "ddim anew": (functools.partial(ddim20, eta=0.5, key=KEY), noise),
    "euler": (functools.partial(euler, steps=8), flowing),
    "heun": (functools.partial(heun, steps=8), flowing),
}
every_sampler = pytest.mark.parametrize("name", SAMPLERS)


def test_ddpm_reproduces_mean_and_variance():
    x = ddpm(noise, None, (20000, 1), schedule=SCHEDULE, key=KEY)
    np.testing.assert_allclose(x.mean(), MEAN, atol=0.015)  # (5 standard errors)
    np.testing.assert_allclose(x.std(), STD, rtol=0.03)


def test_ddpm_is_the_published_recursion():
    x = np.asarray(START, np.float64)
    alpha_bars = np.exp(SCHEDULE.log_alpha_bars)
    for i, t in enumerate(range(200, 0, -1)):
        alpha = alpha_bars[t] / alpha_bars[t - 1]
        a, b = np.sqrt(alpha_bars[t]), np.sqrt(1 - alpha_bars[t])
        seen = b * (x - a * MEAN) / (a**2 * STD**2 + b**2)
        x = (x - (1 - alpha) / np.sqrt(1 - alpha_bars[t]) * seen) / np.sqrt(alpha)
        variance = (1 - alpha) * (1 - alpha_bars[t - 1]) / (1 - alpha_bars[t])
        z = jax.random.normal(jax.random.fold_in(fold_in(KEY, "noise"), i), x.shape)
        x = x + np.sqrt(variance) * np.asarray(z)
    found = ddpm(noise, None, START, schedule=SCHEDULE, key=KEY)
    np.testing.assert_allclose(found, x, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("steps", [20, 200])
def test_ddim_with_all_noise_anew_is_ddpm(steps):
    options = {"schedule": SCHEDULE, "steps": steps, "key": KEY}
    one = ddpm(noise, None, START, **options)
    other = ddim(noise, None, START, eta=1.0, **options)
    np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-3)


def ddim_limit(start):
    """Where the probability flow of the schedule takes a start."""
    a, b = SCHEDULE.signal(200), SCHEDULE.noise(200)
    return MEAN + STD * (start - a * MEAN) / jnp.sqrt(a**2 * STD**2 + b**2)


def test_ddim_is_deterministic_and_converges_to_the_flow():
    runs = [ddim20(noise, None, START, key=key) for key in (None, KEY)]
    np.testing.assert_array_equal(*runs)
    exact = ddim_limit(START)
    errors = [
        float(abs(ddim(noise, None, START, schedule=SCHEDULE, steps=n) - exact).max())
        for n in (25, 50, 100)
    ]
    assert errors[0] > 1.6 * errors[1] > 2.56 * errors[2]
    assert errors[2] < 0.03


def test_velocity_and_noise_are_two_ways_to_say_the_same():
    for sampler in (ddim20, ddpm20):
        one = sampler(noise, None, START)
        other = sampler(velocity, None, START, predicts="velocity")
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-3)


def test_steps_of_flows_have_their_orders(double):
    """Halving the steps halves the error of Euler and quarters that of Heun."""
    start = START.astype("float64")
    exact = MEAN + STD * start
    for sampler, order in ((euler, 2), (heun, 4)):
        errors = [
            float(abs(sampler(flowing, None, start, steps=n) - exact).max())
            for n in (40, 80, 160)
        ]
        ratios = np.divide(errors[:-1], errors[1:])
        np.testing.assert_allclose(ratios, order, rtol=0.1)


def test_a_flow_transports_a_gaussian_exactly():
    """Of data that are all alike, the lines are straight: one step is enough."""

    def to_two(x, t):
        return (x - 2) / t[:, None]

    np.testing.assert_allclose(euler(to_two, None, START, steps=1), 2, rtol=1e-6)
    np.testing.assert_allclose(
        heun(flowing, None, START, steps=100), MEAN + STD * START, rtol=1e-3
    )


def test_clip_bounds_the_data_that_is_predicted():
    def wild(x, t):
        return 100 * x

    for sampler in (ddim20, ddpm20):
        free = sampler(wild, None, START)
        assert abs(free).max() > 1
        assert abs(sampler(wild, None, START, clip=1.0)).max() <= 1
        exact = sampler(noise, None, START)
        loose = sampler(noise, None, START, clip=50.0)
        np.testing.assert_allclose(loose, exact, rtol=1e-3, atol=1e-3)


def programs(compiled):
    """How many of the programs that were compiled are a sampler's."""
    return sum("_generate" in name for name in compiled)


@every_sampler
def test_jit_and_vmap_are_eager(name):
    sampler, model = SAMPLERS[name]

    def sample(start):
        return sampler(model, None, start)

    eager = sample(START)
    np.testing.assert_allclose(jax.jit(sample)(START), eager, rtol=1e-5, atol=1e-5)
    pair = jax.vmap(sample)(jnp.stack([START, 2 * START]))
    np.testing.assert_allclose(pair[0], eager, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(pair[1], sample(2 * START), rtol=1e-5, atol=1e-5)


@every_sampler
def test_gradients_are_finite(name):
    sampler, model = SAMPLERS[name]
    slope = jax.grad(lambda start: sampler(model, None, start).sum())(START)
    assert bool(jnp.isfinite(slope).all()) and bool((slope > 0).all())


def test_the_gradient_for_eta_is_finite():
    slope = jax.grad(lambda eta: ddim20(noise, None, START, eta=eta, key=KEY).sum())
    assert jnp.isfinite(slope(1.0)) and jnp.isfinite(slope(0.0))


@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "float64"])
@pytest.mark.parametrize("name", ["ddpm", "heun"])
def test_samples_have_the_dtype_of_the_start(name, dtype, double):
    sampler, model = SAMPLERS[name]

    def strict(x, t):
        assert x.dtype == dtype
        assert t.dtype == ("float64" if dtype == "float64" else "float32")
        return model(x, t)

    made = sampler(strict, None, START.astype(dtype))
    assert made.dtype == dtype
    assert abs(made.mean() - MEAN) < 0.5


def test_a_shape_is_noise_from_the_key():
    drawn = jax.random.normal(fold_in(KEY, "start"), START.shape)
    for name, (sampler, model) in SAMPLERS.items():
        made = sampler(model, None, START.shape, **{"key": KEY})
        expected = sampler(model, None, drawn, **{"key": KEY})
        np.testing.assert_allclose(made, expected, rtol=1e-5, err_msg=name)
    other = heun(flowing, None, START.shape, steps=8, key=jax.random.key(8))
    assert not np.allclose(other, made)


def test_guidance_of_one_is_none_and_of_zero_is_the_null_label():
    sample = functools.partial(euler, NET, VARIABLES, START, steps=4)
    plain = sample(condition=LABELS)
    one = sample(condition=LABELS, null=3, guidance=1.0)
    np.testing.assert_allclose(one, plain, rtol=1e-5, atol=1e-6)
    zero = sample(condition=LABELS, null=3, guidance=0.0)
    null = sample(condition=jnp.full(6, 3))
    np.testing.assert_allclose(zero, null, rtol=1e-5, atol=1e-6)
    assert not np.allclose(one, zero, atol=1e-3)


@pytest.mark.parametrize("name", SAMPLERS)
def test_guidance_is_one_call_of_a_doubled_batch(name):
    sampler, model = SAMPLERS[name]
    seen = []

    def conditional(x, t, condition):
        seen.append(len(x))
        return model(x, t) + condition["shift"][:, None]

    condition = {"shift": jnp.linspace(0, 1, 6)}
    options = {"condition": condition, "null": {"shift": 0.0}}
    guided = sampler(conditional, None, START, guidance=3.0, **options)
    assert set(seen) == {12}
    tripled = {"shift": 3 * condition["shift"]}
    expected = sampler(conditional, None, START, condition=tripled)
    np.testing.assert_allclose(guided, expected, rtol=1e-4, atol=1e-4)


def test_null_may_be_an_array():
    def conditional(x, t, condition):
        return x + condition

    null = np.array([0.5, -0.5], np.float32)
    zeros = jnp.zeros((6, 2))
    made = euler(
        conditional, None, START, steps=1, condition=zeros, null=null, guidance=0.0
    )
    np.testing.assert_allclose(made, jnp.tile(-null, (6, 1)), atol=1e-6)


def test_a_sampler_compiles_one_program(compiled):
    sampled = functools.partial(heun, NET, condition=LABELS, null=3, steps=3, key=KEY)
    sampled(VARIABLES, (6, 2), guidance=2.0)
    assert programs(compiled) == 1
    again = jax.tree.map(lambda a: 2 * a, VARIABLES)
    compiled.clear()
    heun(
        *(Velocity(), again, (6, 2)),
        **{"condition": LABELS[::-1], "null": 2, "steps": 3, "key": jax.random.key(1)},
        guidance=7.0,
    )
    assert programs(compiled) == 0


def test_another_schedule_of_as_many_steps_compiles_nothing(compiled):
    ddim20(noise, None, START)
    compiled.clear()
    linear = nn.diffusion.linear_schedule(50)
    ddim(noise, None, 2 * START, schedule=linear, steps=20)
    assert programs(compiled) == 0


def test_guidance_is_swept_by_vmap():
    def sample(guidance):
        return euler(
            *(NET, VARIABLES, START),
            **{"steps": 3, "condition": LABELS, "null": 3, "guidance": guidance},
        )

    several = jax.vmap(sample)(jnp.array([1.0, 4.0]))
    np.testing.assert_allclose(several[1], sample(4.0), rtol=1e-4, atol=1e-5)


EULER = functools.partial(euler, flowing, None)
GUIDED = {"condition": LABELS, "null": 3, "guidance": 2.0}


@pytest.mark.parametrize(
    "call, kind, message",
    [
        (
            lambda: EULER(START, steps=0),
            ValueError,
            "euler: steps must be a positive int, got 0",
        ),
        (
            lambda: ddim(noise, None, START, schedule=SCHEDULE, steps=201),
            ValueError,
            "ddim: steps must be at most the 200 of the schedule, got 201",
        ),
        (
            lambda: ddpm(noise, None, START, schedule=SCHEDULE, steps=-1, key=KEY),
            ValueError,
            "ddpm: steps must be a positive int, got -1",
        ),
        (
            lambda: EULER(START, steps=2, guidance=2.0),
            ValueError,
            "euler: guidance must come with condition and .* got no condition",
        ),
        (
            lambda: EULER(START, steps=2, condition=LABELS, guidance=2.0),
            ValueError,
            "euler: guidance must come with condition and .* got no null",
        ),
        (
            lambda: EULER(START, steps=2, **{**GUIDED, "guidance": float("nan")}),
            ValueError,
            "euler: guidance must be a finite number, got",
        ),
        (
            lambda: EULER(START, steps=2, **{**GUIDED, "null": 0.5}),
            ValueError,
            "euler: null must be a label of one example of condition, .*, got 0.5",
        ),
        (
            lambda: EULER(START, steps=2, **{**GUIDED, "null": {"a": 3}}),
            ValueError,
            "euler: null must be what stands for no condition",
        ),
        (
            lambda: EULER(START, steps=2, condition=LABELS[:4]),
            ValueError,
            r"euler: condition must have one row per example, \[6, ...\], got int32.4.",
        ),
        (
            lambda: ddim(noise, None, START, schedule=flow, steps=2),
            TypeError,
            r"ddim: schedule must be .* got Flow\(\); euler and heun sample a flow",
        ),
        (
            lambda: ddpm(noise, None, START, schedule=1000, key=KEY),
            TypeError,
            "ddpm: schedule must be a schedule, such as .* got 1000",
        ),
        (
            lambda: ddim20(noise, None, START, eta=1.5, key=KEY),
            ValueError,
            "ddim: eta must be from 0 to 1, got 1.5",
        ),
        (
            lambda: ddim20(noise, None, START, eta=0.5),
            TypeError,
            "ddim: key must be a random key, since steps add noise, got None",
        ),
        (
            lambda: EULER((6, 2), steps=2),
            TypeError,
            "euler: key must be a random key, since start is a shape",
        ),
        (
            lambda: EULER((6, 0), steps=2, key=KEY),
            ValueError,
            r"euler: start must be a shape .* got \(6, 0\)",
        ),
        (
            lambda: EULER(LABELS, steps=2),
            TypeError,
            "euler: start must be a shape .* or noise, .* got int32.6.",
        ),
        (
            lambda: ddim20(noise, None, START, predicts="velocty"),
            ValueError,
            "ddim: predicts must be .* got 'velocty' .nearest: 'velocity'",
        ),
        (
            lambda: ddim20(noise, None, START, clip=0),
            ValueError,
            "ddim: clip must be a number above 0, got 0",
        ),
        (
            lambda: euler(lambda x, t: x[:, :1], None, START, steps=2),
            TypeError,
            "euler: the model must give floats of the shape of its x, float32.6,2.",
        ),
        (
            lambda: euler(NET, None, START, steps=2),
            TypeError,
            "euler: state must be a TrainState or a pair",
        ),
        (
            lambda: euler(flowing, VARIABLES, START, steps=2),
            TypeError,
            "euler: a function has no variables",
        ),
    ],
)
def test_errors_come_before_compiling(call, kind, message, compiled):
    with pytest.raises(kind, match=message):
        call()
    assert programs(compiled) == 0
