"""Losses of models that know the data, and objectives in training."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from gaussian import KEY, LABELS, NET, START

import jaxnn as nn
from jaxnn import diffusion
from jaxnn.diffusion import flow, flow_loss, noise_loss, velocity_loss

SCHEDULE = diffusion.cosine_schedule(50)
X = 2 + 0 * START
LOSSES = {
    "noise": functools.partial(noise_loss, schedule=SCHEDULE),
    "velocity": functools.partial(velocity_loss, schedule=SCHEDULE),
    "flow": flow_loss,
}


def known(name, x, t):
    """The exact prediction for data that are all 2."""
    path = flow if name == "flow" else SCHEDULE
    a, b = path.signal(t)[:, None], path.noise(t)[:, None]
    noise = (x - 2 * a) / b
    return {"noise": noise, "velocity": a * noise - 2 * b, "flow": noise - 2}[name]


@pytest.mark.parametrize("name", LOSSES)
def test_the_exact_prediction_has_no_loss(name):
    values = LOSSES[name](functools.partial(known, name), X, key=KEY)
    assert values.shape == (6,)
    np.testing.assert_allclose(values, 0, atol=1e-5)

    def off(x, t):
        return known(name, x, t) + jnp.array([1.0, 3.0])[None]

    np.testing.assert_allclose(LOSSES[name](off, X, key=KEY), 5, rtol=1e-3)


def test_every_time_is_drawn():
    seen = []

    def model(x, t):
        seen.append(t)
        return x

    x = jnp.zeros((4000, 1))
    for loss in LOSSES.values():
        loss(model, x, key=KEY)
    for t in seen[:2]:
        steps, counts = np.unique(np.round(t * 50), return_counts=True)
        np.testing.assert_array_equal(steps, np.arange(1, 51))
        assert counts.min() > 40  # of 80 on average
    assert 0 <= seen[2].min() < 0.01 and 0.99 < seen[2].max() < 1
    np.testing.assert_allclose(seen[2].mean(), 0.5, atol=0.02)


@pytest.mark.parametrize("dtype", ["bfloat16", "float64"])
@pytest.mark.parametrize("name", LOSSES)
def test_losses_of_other_dtypes_are_finite_with_their_gradients(name, dtype, double):
    x = X.astype(dtype)

    def total(scale):
        return LOSSES[name](lambda x, t: scale * x, x, key=KEY).sum()

    value, slope = jax.value_and_grad(total)(jnp.ones((), dtype))
    assert jnp.isfinite(value) and jnp.isfinite(slope)
    assert value.dtype == dtype


class FakeRun:
    """What an objective gets, for a function of `(x, t, condition)`."""

    def __init__(self, model, train=True, key=KEY):
        self.model, self.train, self.key = model, train, key

    def __call__(self, inputs):
        return self.model(*inputs)


def seen_labels(drop, train, n=3000):
    seen = []

    def model(x, t, condition):
        seen.append(condition)
        return x

    objective = diffusion.flow_objective(null=7, drop=drop)
    objective(FakeRun(model, train), (jnp.zeros((n, 1)), jnp.arange(n) % 3))
    return np.asarray(seen[0]), np.arange(n) % 3


def test_conditions_are_dropped_in_training_alone():
    labels, given = seen_labels(0.2, train=True)
    gone = labels == 7
    np.testing.assert_allclose(gone.mean(), 0.2, atol=0.03)
    np.testing.assert_array_equal(labels[~gone], given[~gone])
    np.testing.assert_array_equal(*seen_labels(0.2, train=False))
    assert (seen_labels(1.0, train=True)[0] == 7).all()


def test_a_tree_of_conditions_is_dropped_together():
    def model(x, t, condition):
        np.testing.assert_array_equal(
            condition["a"] == 9, (condition["b"] == 0.5).all(1)
        )
        assert 0 < (condition["a"] == 9).sum() < 100
        return x

    condition = {"a": jnp.zeros(100, int), "b": jnp.ones((100, 3))}
    null = {"a": 9, "b": np.full(3, 0.5, np.float32)}
    objective = diffusion.flow_objective(null=null, drop=0.5)
    objective(FakeRun(model), (jnp.zeros((100, 1)), condition))


def test_an_objective_is_its_loss():
    def model(x, t):
        return 0.5 * x

    objectives = {
        "noise": diffusion.noise_objective(SCHEDULE),
        "velocity": diffusion.velocity_objective(SCHEDULE),
        "flow": diffusion.flow_objective(),
    }
    for name, objective in objectives.items():
        np.testing.assert_array_equal(
            objective(FakeRun(model), X), LOSSES[name](model, X, key=KEY)
        )


@pytest.mark.slow
def test_a_conditional_flow_learns_and_is_sampled():
    """Data at a place of each label; the guided samples come out there."""
    places = jnp.array([[-2.0, 0.0], [2.0, 0.0], [0.0, 2.0]])
    labels = np.arange(256) % 3
    x = places[labels] + 0.1 * jax.random.normal(KEY, (256, 2))
    objective = diffusion.flow_objective(null=3, drop=0.1)
    state, history = nn.fit(
        *(NET, (x, labels)),
        **{"objective": objective, "optimizer": optax.adam(0.02), "key": KEY},
        **{"epochs": 40, "batch_size": 64, "progress": False},
    )
    assert history["loss"][-1] < 0.6 * history["loss"][0]
    made = diffusion.heun(
        *(NET, state, (6, 2)),
        **{"steps": 8, "key": KEY, "condition": LABELS, "null": 3, "guidance": 1.5},
    )
    gaps = jnp.linalg.norm(made[:, None] - places[None], axis=-1)
    np.testing.assert_array_equal(gaps.argmin(1), LABELS)
    data = (x, labels)
    scores = [nn.evaluate(NET, state, data, objective=objective) for _ in range(2)]
    assert scores[0] == scores[1] and scores[0]["loss"] < 1.0


def test_equal_objectives_are_one_program(compiled):
    counts = []
    for _ in range(2):
        compiled.clear()
        nn.fit(
            *(NET, (X, LABELS)),
            **{"objective": diffusion.noise_objective(SCHEDULE, null=3, drop=0.1)},
            **{"optimizer": optax.sgd(0.1), "epochs": 1, "batch_size": 3, "key": KEY},
            progress=False,
        )
        counts.append(sum("run_steps" in name for name in compiled))
    assert counts == [1, 0]


@pytest.mark.parametrize(
    "call, kind, message",
    [
        (
            lambda: diffusion.flow_objective(drop=0.1),
            ValueError,
            "flow_objective: drop must come with null",
        ),
        (
            lambda: diffusion.flow_objective(null=3, drop=1.1),
            ValueError,
            "flow_objective: drop must be from 0 to 1, got 1.1",
        ),
        (
            lambda: diffusion.noise_objective(flow),
            TypeError,
            "noise_objective: schedule must be a schedule",
        ),
        (
            lambda: diffusion.velocity_objective(None),
            TypeError,
            "velocity_objective: schedule must be a schedule",
        ),
        (
            lambda: diffusion.flow_objective(null=3, drop=0.1)(FakeRun(None), X),
            ValueError,
            "flow_objective: batch must be .x, condition. where conditions are dropped",
        ),
        (
            lambda: diffusion.flow_objective()(FakeRun(None), (X, X, X)),
            ValueError,
            "flow_objective: batch must be x, or .x, condition., got",
        ),
        (
            lambda: flow_loss(lambda x, t: t, X, key=KEY),
            TypeError,
            "flow_loss: the model must give floats of the shape of its x",
        ),
        (
            lambda: flow_loss(lambda x, t: x, X, key=None),
            TypeError,
            "flow_loss: key must be a random key",
        ),
        (
            lambda: flow_loss(lambda x, t: x, X.astype(int), key=KEY),
            TypeError,
            "flow_loss: x must hold floating-point numbers",
        ),
        (
            lambda: flow_loss(lambda x, t, c: x, X, key=KEY, condition=LABELS[:2]),
            ValueError,
            "flow_loss: condition must have one row per example",
        ),
    ],
)
def test_errors_say_what_to_do(call, kind, message):
    with pytest.raises(kind, match=message):
        call()
