"""Training in float16: tiny gradients survive, overflows are left out."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxnn as nn
from jaxnn.train import loss_scale
from jaxnn.train.loss_scale import LossScale

X = jax.random.normal(jax.random.key(3), (64, 6))
Y = X[:, :3].argmax(1)
BODY = nn.Sequential(nn.Dense(16), nn.BatchNorm(), jax.nn.relu, nn.Dense(3))
HALF = nn.Mixed(BODY, jnp.float16)
LOSS = nn.losses.softmax_cross_entropy
ADAM = optax.adam(1e-2)


def started(net=HALF, optimizer=ADAM):
    return nn.train_state(net, optimizer, X, key=jax.random.key(0))


def tiny(outputs, targets):
    """A loss whose gradients are zero in float16 unless they are scaled."""
    return 1e-9 * LOSS(outputs, targets)


def test_a_fit_learns_what_float32_learns_and_shows_its_loss():
    kw = dict(loss=LOSS, optimizer=ADAM, epochs=20, batch_size=16)
    kw |= dict(key=jax.random.key(0), metrics={"accuracy": nn.metrics.accuracy})
    _, plain = nn.fit(BODY, (X, Y), **kw)
    state, half = nn.fit(HALF, (X, Y), **kw)
    np.testing.assert_allclose(half["loss"], plain["loss"], rtol=0.05)
    assert isinstance(state.opt_state, LossScale)
    assert all(a.dtype == jnp.float32 for a in jax.tree.leaves(state.params))


def test_gradients_too_small_for_float16_arrive():
    sgd = optax.sgd(1e9)
    plain, _ = jax.jit(nn.train_step(BODY, tiny, sgd))(started(BODY, sgd), (X, Y))
    half, _ = jax.jit(nn.train_step(HALF, tiny, sgd))(started(HALF, sgd), (X, Y))
    chex.assert_trees_all_close(half.params, plain.params, rtol=0.05, atol=0.01)
    unscaled = started(HALF, sgd)
    no_scale = unscaled.opt_state._replace(scale=jnp.float32(1))
    flat, _ = nn.train_step(HALF, tiny, sgd)(
        unscaled._replace(opt_state=no_scale), (X, Y)
    )
    w = flat.params["dense_1"]["w"]
    assert jnp.array_equal(w, unscaled.params["dense_1"]["w"])


def test_a_step_that_overflows_is_left_out_and_halves_the_scale():
    state = started()
    huge = state.opt_state._replace(scale=jnp.float32(2.0**40))
    step = jax.jit(nn.train_step(HALF, LOSS, ADAM))
    after, logs = step(state._replace(opt_state=huge), (X, Y))
    chex.assert_trees_all_equal(after.params, state.params)
    chex.assert_trees_all_equal(after.opt_state.inner, state.opt_state.inner)
    assert after.opt_state.scale == 2.0**39 and after.opt_state.good == 0
    _, plain = nn.train_step(BODY, LOSS, ADAM)(started(BODY), (X, Y))
    assert float(logs["loss"]) == pytest.approx(float(plain["loss"]), rel=0.01)


def test_good_steps_double_the_scale(monkeypatch):
    monkeypatch.setattr(loss_scale, "PATIENCE", 3)
    state, step = started(), nn.train_step(HALF, LOSS, ADAM)
    scales = []
    for _ in range(4):
        state, _ = step(state, (X, Y))
        scales.append(float(state.opt_state.scale) / loss_scale.FIRST)
    assert scales == [1, 1, 2, 2] and int(state.opt_state.good) == 1


def test_a_part_in_float16_is_enough_and_bfloat16_needs_none():
    inside = nn.Sequential(nn.Remat(nn.Mixed(nn.Dense(4), jnp.float16)), nn.Dense(3))
    assert isinstance(started(inside).opt_state, LossScale)
    for net in (BODY, nn.Mixed(BODY), nn.Sequential(nn.Mixed(nn.Dense(4)))):
        assert not isinstance(started(net).opt_state, LossScale)


def test_files_ensembles_players_and_microbatches_work(tmp_path):
    kw = dict(loss=LOSS, epochs=2, batch_size=16, key=jax.random.key(0))
    state, _ = nn.fit(HALF, (X, Y), optimizer=ADAM, **kw)
    nn.save(tmp_path / "state", state)
    chex.assert_trees_all_equal(nn.load(tmp_path / "state", like=started()), state)
    both, _ = nn.fit(nn.ensemble(HALF, 2), (X, Y), optimizer=ADAM, **kw)
    assert both.opt_state.scale.shape == (2,)
    pieces = nn.train_step(HALF, LOSS, optax.sgd(0.1), microbatches=2)
    after, _ = jax.jit(pieces)(started(optimizer=optax.sgd(0.1)), (X, Y))
    assert int(after.step) == 1

    def objective(run, batch):
        return LOSS(run(batch[0]), batch[1])

    step = nn.train.players(HALF, one=nn.train.Player(objective, ADAM))
    state = step.start(X, key=jax.random.key(0))
    state, history = nn.fit(step, (X, Y), state=state, epochs=3, batch_size=16)
    assert history["one_loss"][-1] < history["one_loss"][0]
    assert isinstance(state.opt_state["one"], LossScale)
