# SPDX-License-Identifier: Apache-2.0
"""run: a whole training run as one function, and fit's numbers."""

from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from common import CROSS_ENTROPY, KEY, NET, SGD, X, Y, fit

import jaxnn as nn

STEP = nn.train_step(NET, CROSS_ENTROPY, SGD, metrics={"auc": nn.metrics.accuracy})
WRONG = (X[:11], (Y[:11] + 1) % 3)
OPTIONS = dict(
    validation=WRONG,
    early_stopping=nn.EarlyStopping(patience=3),
    plateau=nn.Plateau(patience=2),
)


def close(a, b, **tolerances):
    """States agree, but for the runs' keys, which are the same to the bit."""
    if isinstance(a, nn.TrainState):
        chex.assert_trees_all_equal(a.key, b.key)
        a, b = a._replace(key=0), b._replace(key=0)
    chex.assert_trees_all_close(a, b, **tolerances)


def begin(key=KEY, net=NET, optimizer=SGD):
    return nn.train_state(net, optimizer, X, key=key)


@pytest.fixture(scope="module")
def whole():
    run = jax.jit(
        partial(nn.train.run, STEP, data=(X, Y), epochs=30, batch_size=16, **OPTIONS)
    )
    return run(begin())


@pytest.mark.quick
def test_run_gives_the_numbers_of_fit(whole):
    state, logs = whole
    expected, history = fit(epochs=30, metrics={"auc": nn.metrics.accuracy}, **OPTIONS)
    close(state, expected, rtol=1e-5, atol=1e-6)
    done = len(history)
    assert done < 30
    for name in ("loss", "val_loss", "auc", "val_auc", "rate_scale"):
        np.testing.assert_allclose(logs[name][:done], history[name], rtol=1e-5)
        assert np.isnan(logs[name][done:]).all()


def test_run_goes_on_from_where_it_was(whole):
    def train(state, epochs):
        return nn.train.run(
            STEP, state, (X, Y), epochs=epochs, batch_size=16, **OPTIONS
        )

    part, _ = train(begin(), 2)
    state, logs = train(part, 30)
    close(state, whole[0], rtol=1e-6)
    assert np.isnan(logs["loss"][:2]).all() and np.isfinite(logs["loss"][2])


def test_mapped_runs_stop_each_at_its_own_time():
    keys = jax.random.split(KEY, 3)

    def train(key):
        return nn.train.run(
            STEP, begin(key), (X, Y), epochs=12, batch_size=16, **OPTIONS
        )

    states, logs = jax.jit(jax.vmap(train))(keys)
    for i, key in enumerate(keys):
        alone, own = train(key)
        close(jax.tree.map(lambda a, i=i: a[i], states), alone, rtol=1e-4, atol=1e-6)
        same_end = np.isnan(logs["loss"][i]) == np.isnan(own["loss"])
        assert same_end.all()


def test_hyperparameters_may_be_traced():
    def train(rate, drop):
        net = nn.Sequential(nn.Dense(4), nn.Dropout(0.5), nn.Dense(3))
        step = nn.train_step(net, CROSS_ENTROPY, optax.sgd(rate))
        state = begin(net=net, optimizer=optax.sgd(rate))
        return nn.train.run(step, state, (X, Y), epochs=2, batch_size=16)

    rates = jnp.array([0.01, 0.3])
    states, _ = jax.jit(jax.vmap(train, (0, None)))(rates, 0)
    net = nn.Sequential(nn.Dense(4), nn.Dropout(0.5), nn.Dense(3))
    for i, rate in enumerate((0.01, 0.3)):
        alone, _ = nn.fit(
            net,
            (X, Y),
            loss=CROSS_ENTROPY,
            optimizer=optax.sgd(rate),
            epochs=2,
            batch_size=16,
            key=KEY,
        )
        close(
            jax.tree.map(lambda a, i=i: a[i], states.params),
            alone.params,
            rtol=1e-4,
            atol=1e-6,
        )


def test_rows_choose_the_examples():
    rows = jnp.array([3, 1, 4, 15, 9, 2, 6, 5])
    some, _ = nn.train.run(
        STEP, begin(), (X, Y), epochs=2, batch_size=4, rows=rows, validation=(X, Y)
    )
    alone, _ = nn.train.run(
        STEP, begin(), (X[rows], Y[rows]), epochs=2, batch_size=4, validation=(X, Y)
    )
    close(some, alone, rtol=1e-6)
    picked = nn.train.run(
        *(STEP, begin(), (X, Y)),
        **dict(epochs=1, batch_size=16, validation=(X, Y), validation_rows=rows),
    )[1]
    direct = nn.train.run(
        STEP, begin(), (X, Y), epochs=1, batch_size=16, validation=(X[rows], Y[rows])
    )[1]
    np.testing.assert_allclose(picked["val_loss"], direct["val_loss"], rtol=1e-6)


def test_an_own_step_runs_too():
    def seen(state):
        return {"n": state.step.astype(float)}

    def step(state, batch):
        x, _ = batch
        return state._replace(step=state.step + 1), {"loss": x.mean()}

    state, logs = nn.train.run(
        *(step, begin(), (X, Y)),
        **dict(
            epochs=2,
            batch_size=len(X),
            validation=lambda s: {"n": s.step.astype(float)},
        ),
    )
    assert int(state.step) == 2 and logs["val_n"].tolist() == [1, 2]
    with pytest.raises(TypeError, match=r"^run: validation must be a function"):
        nn.train.run(step, state, (X, Y), epochs=1, batch_size=16, validation=(X, Y))


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match=r"^run: epochs must"):
        nn.train.run(STEP, begin(), (X, Y), epochs=0, batch_size=16)
    with pytest.raises(ValueError, match=r"^run: batch_size must"):
        nn.train.run(STEP, begin(), (X, Y), epochs=1, batch_size=0)
    with pytest.raises(ValueError, match=r"^run: early_stopping must monitor"):
        watched = dict(early_stopping=nn.EarlyStopping())
        nn.train.run(STEP, begin(), (X, Y), epochs=1, batch_size=16, **watched)
