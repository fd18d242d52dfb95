"""Programs are found again by what they compute, and forgotten when not used."""

import gc
import weakref
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxnn as nn
from jaxnn.spec import Spec, comparable
from jaxnn.train import programs
from jaxnn.train.programs import Program

X = np.linspace(-1, 1, 24, dtype=np.float32).reshape(12, 2)
NET = nn.Dense(1)


def fit(optimizer, loss=nn.losses.mean_squared_error, **options):
    return nn.fit(
        *(NET, (X, X[:, :1])),
        **{"loss": loss, "optimizer": optimizer, "epochs": 1, "batch_size": 4},
        **{"key": jax.random.key(0), "progress": False, **options},
    )


def slower():
    return optax.adam(nn.schedules.step_decay(0.1, 0.5, 2))


MADE_ANEW = {
    "sgd": lambda: optax.sgd(0.1),
    "nesterov": lambda: optax.sgd(0.1, momentum=0.9, nesterov=True),
    "schedule": lambda: optax.adam(optax.cosine_decay_schedule(0.1, 9)),
    "chain": lambda: optax.chain(optax.clip(1.0), optax.adamw(0.1)),
    "hyperparameters": lambda: optax.inject_hyperparams(optax.adam)(learning_rate=0.1),
    "masked": lambda: optax.masked(optax.rmsprop(0.1), {"w": True, "b": False}),
    "by path": lambda: nn.partition({"w": optax.sgd(0.1), "*": optax.adam(0.1)}),
    "weight decay": lambda: nn.optimizers.weight_decay(optax.adam(0.1), 1e-4),
    "average": lambda: nn.optimizers.ema(
        optax.adam(optax.exponential_decay(0.1, 9, 0.5)), 0.9
    ),
}


@pytest.mark.parametrize("make", MADE_ANEW.values(), ids=MADE_ANEW)
def test_an_optimizer_written_twice_is_one(make):
    assert comparable(make()) == comparable(make())


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (optax.sgd(0.1), optax.sgd(0.2)),
        (optax.sgd(0.1), optax.sgd(0.1, momentum=0.9)),
        (optax.adam(0.1), optax.adamw(0.1)),
        (
            optax.sgd(optax.linear_schedule(1, 0, 5)),
            optax.sgd(optax.linear_schedule(1, 0, 6)),
        ),
    ],
    ids=["rate", "momentum", "decay", "schedule"],
)
def test_optimizers_that_differ_are_not(a, b):
    assert comparable(a) != comparable(b)


def test_a_function_of_the_users_own_is_itself_and_no_other():
    """It may depend on more than what it was made with: on globals, on files."""

    class Holds(Spec):
        loss: object

    def make(scale):
        return lambda outputs, targets: scale * (outputs - targets)[:, 0] ** 2

    loss = make(1.0)
    assert Holds(loss) == Holds(loss) != Holds(make(1.0))


def test_an_optimizer_made_anew_compiles_nothing(compiled):
    fit(MADE_ANEW["chain"]())
    compiled.clear()
    fit(MADE_ANEW["chain"]())
    assert compiled == []
    fit(optax.sgd(0.3))
    assert any("run_steps" in name for name in compiled)


def test_what_was_not_used_for_long_is_forgotten(monkeypatch):
    kept = Program(lambda x, *, scale: scale.value * x)

    class Scale:
        def __init__(self, value):
            self.value = value

    monkeypatch.setattr(programs, "KEPT", 2)
    few = Program(kept.function)
    seen = []
    for value in range(6):
        scale = Scale(float(value))
        assert few(jnp.ones(2), scale=scale).tolist() == [value, value]
        seen.append(weakref.ref(scale))
        del scale
    gc.collect()
    assert [ref() is None for ref in seen] == [True] * 4 + [False] * 2


def test_inside_another_program_it_is_the_plain_function():
    double = Program(lambda x, *, scale: scale * x)
    x = jnp.arange(3.0)
    assert jax.jit(lambda x: double(x, scale=2.0))(x).tolist() == [0, 2, 4]
    assert jax.jit(lambda y: y + double(x, scale=2.0))(x).tolist() == [0, 3, 6]
    assert jax.vmap(lambda x: double(x, scale=2.0))(x).tolist() == [0, 2, 4]
    assert jax.grad(lambda x: double(x, scale=2.0).sum())(x).tolist() == [2, 2, 2]
    assert jax.eval_shape(lambda: double(x, scale=2.0)).shape == (3,)


def test_donated_buffers_are_given_away():
    add = Program(lambda x, y: x + y, donate=(0,))
    x = jnp.ones(4)
    assert add(x, 1.0).tolist() == [2.0] * 4
    assert x.is_deleted()


@pytest.mark.slow
def test_memory_stays_flat_over_many_fits_with_losses_made_anew():
    def used():
        pages = Path("/proc/self/statm").read_text().split()[1]
        return int(pages) * 4096 / 2**20

    def many(count):
        for _ in range(count):
            fit(optax.sgd(0.1), lambda y, t: ((y - t) ** 2)[:, 0])
        gc.collect()
        return used()

    full = many(40)  # all that is kept is there
    assert many(60) - full < 60  # 4 MB a call would be 240
