# SPDX-License-Identifier: Apache-2.0
"""Schedules: the course's numbers, Optax's where it has them, traced rates, errors."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxnn as nn

STEPS = np.arange(12)


def rates(schedule):
    return np.asarray(jax.vmap(schedule)(jnp.asarray(STEPS, jnp.int32)))


def test_inverse_sqrt_is_the_course_formula():
    expected = 0.5 / np.sqrt(STEPS + 1)
    np.testing.assert_allclose(rates(nn.schedules.inverse_sqrt(0.5)), expected, 1e-6)
    by_epoch = 0.5 / np.sqrt(STEPS // 4 + 1)
    schedule = nn.schedules.inverse_sqrt(0.5, every=4)
    np.testing.assert_allclose(rates(schedule), by_epoch, 1e-6)
    assert float(schedule(11)) == rates(schedule)[11]  # a plain int as well


def test_step_decay_is_the_staircase_of_optax():
    schedule = nn.schedules.step_decay(0.8, 0.5, every=5)
    np.testing.assert_allclose(rates(schedule), 0.8 * 0.5 ** (STEPS // 5), 1e-6)
    theirs = optax.exponential_decay(0.8, 5, 0.5, staircase=True)
    np.testing.assert_allclose(rates(schedule), rates(theirs), 1e-6)


def test_rates_may_be_traced():
    """A sweep of schedules in one program gives each member its own."""
    schedules = nn.schedules

    def run(alpha, factor):
        w = ones = {"w": jnp.ones(())}
        for make in (
            schedules.inverse_sqrt(alpha, every=2),
            schedules.step_decay(alpha, factor, every=2),
        ):
            optimizer = optax.sgd(make)
            opt_state = optimizer.init(w)
            for _ in range(3):
                updates, opt_state = optimizer.update(ones, opt_state, w)
                w = optax.apply_updates(w, updates)
        return w["w"]

    alphas, factors = jnp.array([0.1, 0.2]), jnp.array([0.5, 0.1])
    found = jax.jit(jax.vmap(run))(alphas, factors)
    expected = 1 - alphas * (2 + 1 / np.sqrt(2)) - alphas * (2 + factors)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_run_resumes_on_its_schedule():
    x, t = jnp.ones((6, 1)), jnp.full((6, 1), -100.0)
    options = {
        "loss": nn.losses.mean_absolute_error,
        "optimizer": optax.sgd(nn.schedules.step_decay(1.0, 0.5, every=3)),
        "batch_size": 2,
        "key": jax.random.key(0),
    }
    net = nn.Dense(1, bias=False, w_init=nn.initializers.zeros())
    whole, _ = nn.fit(net, (x, t), epochs=4, **options)
    half, _ = nn.fit(net, (x, t), epochs=2, **options)
    again, _ = nn.fit(net, (x, t), epochs=4, state=half, **options)
    assert float(whole.params["w"][0, 0]) == -3 * (1 + 0.5 + 0.25 + 0.125)
    assert float(again.params["w"][0, 0]) == float(whole.params["w"][0, 0])


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda s: s.inverse_sqrt(0.0), "inverse_sqrt: alpha must be a number above 0"),
        (lambda s: s.inverse_sqrt("0.1"), "alpha must be a number above 0, got '0.1'"),
        (lambda s: s.inverse_sqrt(True), "alpha must be a number above 0, got True"),
        (lambda s: s.inverse_sqrt([1.0]), "alpha must be a number above 0"),
        (lambda s: s.inverse_sqrt(0.1, every=0), "every must be a positive int, got 0"),
        (lambda s: s.step_decay(-1.0, 0.5, 2), "step_decay: alpha must be a number"),
        (lambda s: s.step_decay(1.0, 0.0, 2), "factor must be a number above 0"),
        (lambda s: s.step_decay(1.0, 0.5, 2.5), "every must be a positive int"),
        (lambda s: s.step_decay(float("nan"), 0.5, 2), "alpha must be a number above"),
    ],
)
def test_what_is_wrong_is_said(make, message):
    with pytest.raises(ValueError, match=message):
        make(nn.schedules)
