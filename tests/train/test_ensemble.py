# SPDX-License-Identifier: Apache-2.0
"""Ensembles: members are separate runs, predictions are averages."""

import os
import subprocess
import sys

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from common import CROSS_ENTROPY, KEY, NET, SGD, X, Y, fit

import jaxnn as nn

BUNCH = nn.ensemble(NET, 8)
METRICS = {"accuracy": nn.metrics.accuracy, "confusion": nn.metrics.ConfusionMatrix(3)}
OPTIONS = dict(
    metrics=METRICS,
    validation=(X[:11], (Y[:11] + 1) % 3),
    plateau=nn.Plateau(patience=1, monitor="loss"),
    augment=lambda key, x: x + 0.1 * jax.random.normal(key, x.shape),
)


def close(a, b, **tolerances):
    """States agree, their keys to the bit."""
    chex.assert_trees_all_equal(a.key, b.key)
    a, b = a._replace(key=0), b._replace(key=0)
    chex.assert_trees_all_close(a, b, **tolerances)


@pytest.fixture(scope="module")
def trained():
    return fit(net=BUNCH, **OPTIONS)


@pytest.mark.quick
def test_members_are_separate_runs(trained):
    state, history = trained
    losses = []
    for i, key in enumerate(jax.random.split(KEY, 8)):
        alone, own = fit(**{**OPTIONS, "validation": None, "key": key})
        member = nn.member(state, i)
        close(member._replace(watch={}), alone._replace(watch={}), rtol=1e-4, atol=1e-6)
        losses.append(own["loss"])
    np.testing.assert_allclose(history["loss"], np.mean(losses, 0), rtol=1e-5)
    starts = state.params["dense_1"]["w"]
    assert len({a.tobytes() for a in np.asarray(starts)}) == 8


def test_validation_is_of_the_average(trained):
    state, history = trained
    own = nn.evaluate(BUNCH, state, OPTIONS["validation"], loss=CROSS_ENTROPY)
    assert history["val_loss"][-1] == pytest.approx(own["loss"])
    assert history["confusion"][-1].sum() == 8 * len(X)
    assert history["val_confusion"][-1].sum() == 11


@pytest.mark.parametrize("average", ["outputs", "softmax", "sigmoid"])
def test_predictions_are_averages(trained, average):
    state, _ = trained
    turn, back = {
        "outputs": (lambda y: y, lambda p: p),
        "softmax": (jax.nn.softmax, jnp.log),
        "sigmoid": (jax.nn.sigmoid, lambda p: jnp.log(p) - jnp.log1p(-p)),
    }[average]
    members = [nn.predict(NET, nn.member(state, i), X[:5]) for i in range(8)]
    expected = back(sum(map(turn, members)) / 8)
    bunch = nn.ensemble(NET, 8, average=average)
    outputs = nn.predict(bunch, state, X[:5])
    np.testing.assert_allclose(outputs, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("average", ["softmax", "sigmoid"])
def test_averages_of_extreme_logits_are_finite(average):
    bunch = nn.ensemble(nn.PReLU(), 2, average=average)
    params, state = bunch.init(KEY, X)

    def total(x):
        return bunch.apply(params, state, x)[0].sum()

    value, slope = jax.value_and_grad(total)(jnp.array([[800.0, -800.0, 0.0]]))
    assert jnp.isfinite(value) and jnp.isfinite(slope).all()


def test_a_resumed_ensemble_is_the_uninterrupted_one(trained, tmp_path):
    part, _ = fit(net=BUNCH, epochs=1, **OPTIONS)
    nn.save(tmp_path / "part", part)
    part = nn.load(tmp_path / "part", like=part)
    state, _ = fit(net=BUNCH, state=part, **OPTIONS)
    chex.assert_trees_all_equal(state, trained[0])


def test_early_stopping_looks_at_the_average():
    validation = OPTIONS["validation"]
    stop = nn.EarlyStopping(patience=2)
    state, history = fit(
        net=BUNCH, epochs=30, validation=validation, early_stopping=stop
    )
    best = int(np.argmin(history["val_loss"]))
    assert len(history) == best + 3 < 30
    now = nn.evaluate(BUNCH, state, validation, loss=CROSS_ENTROPY)["loss"]
    assert now == pytest.approx(history["val_loss"][best], rel=1e-6)


def test_an_epoch_and_a_run_of_an_ensemble():
    step = nn.train_step(BUNCH, CROSS_ENTROPY, SGD)
    start = nn.train_state(BUNCH, SGD, X, key=KEY)
    expected, history = fit(net=BUNCH, epochs=2, validation=(X, Y))
    state, logs = nn.train.run(
        step, start, (X, Y), epochs=2, batch_size=16, validation=(X, Y)
    )
    close(state, expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(logs["val_loss"], history["val_loss"], rtol=1e-5)


@pytest.mark.parametrize("on_device", [False, None])
def test_batches_from_elsewhere_are_the_same_for_all(on_device):
    data = (X, Y) if on_device is False else [(X[:16], Y[:16]), (X[16:30], Y[16:30])]
    state, history = fit(data=data, net=BUNCH, epochs=2, on_device=on_device)
    assert int(nn.member(state, 2).step) == 2 * (5 if on_device is False else 2)
    assert history["loss"][1] < history["loss"][0]


def test_a_member_that_diverges_is_named():
    x = X.copy()
    x[13] = 1e30
    with pytest.raises(nn.NonFiniteError, match=r"member \d") as caught:
        fit(data=(x, Y), net=BUNCH)
    assert caught.value.state.step.shape == (8,)


MESH = """
import jax, jax.numpy as jnp, jaxnn as nn, optax
mesh = jax.make_mesh((4,), ("members",))
x = jnp.linspace(-1, 1, 32).reshape(8, 4)
def train(mesh):
    return nn.fit(
        nn.ensemble(nn.Dense(2), 8, mesh=mesh), (x, x[:, :2]), key=jax.random.key(0),
        loss=nn.losses.mean_squared_error, optimizer=optax.adam(0.1), epochs=3,
        batch_size=3, validation=(x, x[:, :2]))
state, history = train(mesh)
w = state.params["w"]
assert {s.data.shape for s in w.addressable_shards} == {(2, 4, 2)}, w.sharding
plain, other = train(None)
assert jnp.allclose(w, plain.params["w"], rtol=1e-5), "other numbers"
assert jnp.allclose(jnp.array(history["val_loss"]), jnp.array(other["val_loss"]))
"""


def test_a_mesh_spreads_members_over_devices():
    own = os.environ.get("XLA_FLAGS", "")
    flags = {"XLA_FLAGS": f"{own} --xla_force_host_platform_device_count=4"}
    run = subprocess.run(
        [sys.executable, "-c", MESH],
        env={**os.environ, **flags},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr[-2000:]


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: nn.ensemble(NET, 0), ValueError, "ensemble: n must be a positive int"),
        (lambda: nn.ensemble(nn.ensemble(NET, 2), 3), TypeError, r"ensemble\(net, 6\)"),
        (lambda: nn.ensemble(NET, 2.0), ValueError, "ensemble: n must be a positive"),
        (lambda: nn.ensemble(3, 2), TypeError, "ensemble: a layer must be an nn.Layer"),
        (lambda: nn.ensemble(NET, 2, average="mean"), ValueError, "average must be"),
        (lambda: nn.ensemble(NET, 2, mesh=4), TypeError, "mesh must be a jax.sharding"),
        (
            lambda: nn.member({"w": jnp.ones((3, 2))}, 3),
            IndexError,
            "3 members, 0",
        ),
        (lambda: nn.member({"w": jnp.ones(())}, 0), ValueError, "axis of members"),
    ],
)
def test_wrong_arguments_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_an_ensemble_is_a_layer_like_others():
    again = nn.ensemble(nn.Sequential(nn.Dense(8), jax.nn.relu, nn.Dense(3)), 2)
    assert again == nn.ensemble(nn.Sequential(nn.Dense(8), jax.nn.relu, nn.Dense(3)), 2)
    names = {name: getattr(nn, name) for name in dir(nn)}
    assert eval(repr(again), names | {"jax": jax}) == again
    params, _ = again.init(KEY, X)
    assert params["dense_1"]["w"].shape == (2, 6, 8)
    assert nn.summary(again, X).parameters == nn.trees.count(params)
    frozen = nn.freeze(optax.sgd(0.1), "dense_1")
    trained, _ = fit(net=again, optimizer=frozen, epochs=1)
    start = nn.train_state(again, frozen, X, key=KEY)
    chex.assert_trees_all_equal(
        trained.params["dense_1"]["w"], start.params["dense_1"]["w"]
    )


@pytest.mark.parametrize("backend", ["cpu", "another"])
def test_convolutions_in_turn_and_at_once(monkeypatch, backend):
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    net = nn.Sequential(nn.Conv(2, 3), nn.BatchNorm(), jax.nn.relu, nn.GlobalAvgPool())
    images = jnp.asarray(X[:12]).reshape(12, 3, 2, 1)
    data = images, Y[:12] % 2
    state, history = fit(data, nn.ensemble(net, 2), batch_size=6, validation=data)
    for i, key in enumerate(jax.random.split(KEY, 2)):
        alone, _ = fit(data, net, batch_size=6, key=key)
        close(nn.member(state, i), alone, rtol=1e-4, atol=1e-5)
    assert np.isfinite(history["val_loss"]).all()
