"""fit: the same run however it is cut, watched, fed or interrupted."""

import gc
import os
import signal
import threading

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from common import CROSS_ENTROPY, KEY, NET, SGD, X, Y, by_hand, fit

import jaxnn as nn
from jaxnn.train.state import copy

same = chex.assert_trees_all_equal


def test_fit_is_the_loop_one_would_write():
    state, history = fit()
    expected, losses = by_hand(3)
    chex.assert_trees_all_close(state.params, expected.params, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(history["loss"], losses, rtol=1e-5)
    assert int(state.step) == 15


@pytest.mark.quick
def test_fit_learns():
    state, history = fit(epochs=40, metrics={"accuracy": nn.metrics.accuracy})
    assert history["accuracy"][-1] > 0.85 > history["accuracy"][0]
    assert nn.evaluate(NET, state, (X, Y), loss=CROSS_ENTROPY)["loss"] < 0.3


@pytest.mark.quick
def test_the_key_alone_decides():
    a, _ = fit()
    b, _ = fit()
    c, _ = fit(key=jax.random.key(4))
    same(a, b)
    assert not np.array_equal(a.params["dense_1"]["w"], c.params["dense_1"]["w"])


@pytest.mark.parametrize(
    "options",
    [
        {"chunk_seconds": 0.0},
        {"chunk_seconds": 1e9},
        {"progress": True},
        {"progress": False},
        {"validation": (X[:7], Y[:7])},
        {"replay": False},
        {"callbacks": [lambda epoch, state, history: None]},
        {"metrics": {"accuracy": nn.metrics.accuracy}},
    ],
    ids=lambda options: " ".join(options),
)
def test_watching_a_run_changes_nothing(options):
    plain, history = fit()
    watched, its_history = fit(**options)
    same(plain, watched)
    assert its_history["loss"] == history["loss"]
    assert its_history.step_losses == history.step_losses


def test_a_donated_state_is_used_up_and_changes_nothing():
    whole, _ = fit(epochs=4)
    half, first = fit(epochs=2)
    given = copy(half)
    rest, _ = fit(epochs=4, state=given, history=first, donate=True)
    same(whole, rest)
    assert all(a.is_deleted() for a in jax.tree.leaves(given._replace(key=())))
    assert not any(a.is_deleted() for a in jax.tree.leaves((given.key, half, rest)))


def test_a_donated_state_may_hold_an_array_twice():
    state = nn.train_state(NET, optax.sgd(0.1, momentum=0.9), X, key=KEY)
    (trace, rest) = state.opt_state
    shared = state._replace(opt_state=(trace._replace(trace=state.params), rest))
    given = dict(optimizer=optax.sgd(0.1, momentum=0.9), epochs=2)
    expected, _ = fit(**given, state=copy(shared))
    found, _ = fit(**given, state=shared, donate=True)
    same(expected, found)


def test_a_refused_run_leaves_a_donated_state_as_it_is():
    state, _ = fit(epochs=1)
    with pytest.raises(ValueError, match="batch_size"):
        fit(state=state, donate=True, batch_size=0)
    assert not any(a.is_deleted() for a in jax.tree.leaves(state))


@pytest.mark.parametrize("replay, donate, copies", [(0, 1, 1), (0, 0, 2), (1, 1, 2)])
def test_a_run_holds_no_more_copies_of_the_state_than_it_needs(replay, donate, copies):
    net = nn.Sequential(nn.Dense(64), nn.Dense(64), nn.Dense(1))
    x, found = jnp.ones((8, 64)), []

    def advance(state, batch):
        jax.debug.callback(lambda: found.append(held()))
        return step(state, batch)

    def held():
        gc.collect()
        return sum(a.nbytes for a in jax.live_arrays() if a.shape == (64, 64))

    before, optimizer = held(), optax.adam(1e-3)
    step = nn.train_step(net, nn.losses.mean_squared_error, optimizer)
    state = nn.train_state(net, optimizer, x, key=KEY)
    size = held() - before
    assert size == 3 * 2 * 64 * 64 * 4  # two layers, each with two moments
    more = dict(replay=bool(replay), donate=bool(donate), progress=False)
    nn.fit(advance, (x, x[:, :1]), state=state, epochs=2, batch_size=8, **more)
    # (What a running program writes to is not among the live arrays.)
    assert max(found) - before == (copies - 1) * size


def test_a_device_without_room_for_a_copy_is_warned_of(monkeypatch):
    def full(tree):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory")

    expected, _ = fit()
    monkeypatch.setattr("jaxnn.train.replay.copy", full)
    with pytest.warns(UserWarning, match="no room for a second copy of the state"):
        found, _ = fit()
    same(expected, found)


@pytest.mark.quick
def test_resume_is_the_uninterrupted_run(tmp_path):
    whole, history = fit(epochs=5)
    half, first = fit(epochs=2)
    nn.save(tmp_path / "state", half)
    back = nn.load(tmp_path / "state", like=half)
    rest, second = fit(epochs=5, state=back, history=first)
    same(whole, rest)
    assert second["loss"] == history["loss"]
    assert len(first) == 2  # the given history is not written to


@pytest.mark.parametrize("steps", [1, 4, 5, 7, 9, 14])
def test_resume_from_any_step(steps):
    """Mid-epoch, at the smaller last batch, at an epoch's end."""
    whole, _ = fit()
    stopped = run_for(steps)
    assert int(stopped.step) == steps
    rest, _ = fit(state=stopped)
    same(whole, rest)


def run_for(steps, **options):
    """The state of a run that failed after so many steps."""
    from jaxnn.train import loop

    class Stop(Exception):
        pass

    seen, keep = [0], []
    original = loop.Fit._report

    def report(self, rows, names, epoch):
        original(self, rows, names, epoch)
        seen[0] += len(rows)
        if seen[0] == steps:
            keep.append(copy(self.state))
            raise Stop

    loop.Fit._report = report
    try:
        with pytest.raises(Stop) as caught:
            fit(chunk_seconds=0.0, **options)
    finally:
        loop.Fit._report = original
    same(caught.value.state, keep[0])  # a failure hands over what was learned
    return caught.value.state


def test_epochs_is_the_total():
    state, _ = fit(epochs=2)
    with pytest.warns(UserWarning, match="2 is the total: nothing is left to do"):
        again, history = fit(epochs=2, state=state)
    same(state, again)
    assert len(history) == 0


def test_the_callers_arrays_stay_alive():
    state, _ = fit(epochs=1)
    x, y = jnp.asarray(X), jnp.asarray(Y)
    more, _ = fit((x, y), state=state, epochs=2)
    fit((x, y), state=more, epochs=3)
    for leaf in jax.tree.leaves((state, more, x, y, KEY)):
        assert not leaf.is_deleted()


def test_ctrl_c_returns_what_was_learnt():
    """A real SIGINT in the main thread, while the run is going on."""
    threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT)).start()
    before = signal.getsignal(signal.SIGINT)
    state, history = fit(epochs=10**6, chunk_seconds=0.02)
    assert "Ctrl-C" in history.stopped
    assert signal.getsignal(signal.SIGINT) is before
    steps = int(state.step)
    assert steps > 0
    assert len(history) == steps // 5
    whole, _ = fit(epochs=steps // 5 + 1)
    rest, _ = fit(epochs=steps // 5 + 1, state=state)
    same(whole, rest)


def test_a_second_ctrl_c_interrupts_at_once():
    from jaxnn.train.interrupt import Interrupt

    with pytest.raises(KeyboardInterrupt), Interrupt() as interrupt:
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupt.asked
        os.kill(os.getpid(), signal.SIGINT)


def test_fit_works_outside_the_main_thread():
    results = []
    thread = threading.Thread(target=lambda: results.append(fit()[0]))
    thread.start()
    thread.join()
    same(results[0], fit()[0])


def test_a_callback_may_stop_the_run():
    seen = []

    def callback(epoch, state, history):
        seen.append((epoch, int(state.step), len(history)))
        return epoch == 2

    state, history = fit(epochs=9, callbacks=[callback])
    assert seen == [(1, 5, 1), (2, 10, 2)]
    assert int(state.step) == 10
    assert "callback" in history.stopped


def test_a_callbacks_state_is_its_to_keep():
    kept = []
    fit(callbacks=[lambda epoch, state, history: kept.append(state)])
    same(kept[0], fit(epochs=1)[0])
    same(kept[1], fit(epochs=2)[0])


def test_a_callback_that_fails_costs_nothing():
    def callback(epoch, state, history):
        if epoch == 2:
            raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full") as caught:
        fit(callbacks=[callback])
    assert len(caught.value.history) == 2
    same(fit(state=caught.value.state)[0], fit()[0])


def test_checkpoints_resume(tmp_path):
    path = tmp_path / "run-{epoch}"
    fit(epochs=4, callbacks=[nn.callbacks.checkpoint(path, every=2)])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run-2", "run-4"]
    shape = nn.train_state(NET, SGD, X[:1], key=KEY)
    back = nn.load(tmp_path / "run-2", like=shape)
    same(fit(epochs=4, state=back)[0], fit(epochs=4)[0])
    with pytest.raises(ValueError, match="every"):
        nn.callbacks.checkpoint(path, every=0)


def test_no_second_compilation_for_an_equal_run():
    events = []
    fit(epochs=1)

    def listen(name, seconds, fun_name="", **_):
        if "backend_compile" in name and "run_steps" in fun_name:
            events.append(fun_name)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        net = eval(repr(NET), {**vars(nn), "jax": jax})
        fit(epochs=2, net=net, chunk_seconds=0.0)
        assert events == []
        fit(epochs=1, batch_size=8)
        assert events  # the listener hears compilations
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


def test_history_tells_where_the_time_went():
    net = nn.Sequential(nn.Dense(11), jax.nn.relu, nn.Dense(3))
    _, history = fit(net=net, validation=(X, Y))
    assert history.programs == 2  # the full batch's program and the last one's
    assert all(seconds > 0 for seconds in history.seconds.values())


@pytest.mark.parametrize(
    "optimizer",
    [
        optax.adam(1e-2),
        optax.adagrad(0.1),
        optax.lbfgs(),
        optax.contrib.reduce_on_plateau(),
    ],
    ids=["adam", "adagrad", "lbfgs", "plateau"],
)
def test_optax_optimizers_of_every_kind_train(optimizer):
    if hasattr(optimizer, "update") and "plateau" in str(optimizer):
        optimizer = optax.chain(optax.sgd(0.1), optimizer)
    _, history = fit(optimizer=optimizer, epochs=4)
    assert history["loss"][-1] < history["loss"][0]


def test_any_step_trains_and_resumes():
    """A perceptron with a rule of its own: no loss, no gradient, no optimizer."""
    x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
    y = np.array([0, 0, 0, 1], np.float32)

    def step(state, batch):
        x, t = batch
        miss = t - nn.step(x @ state.params["w"] + state.params["b"])
        params = {
            "w": state.params["w"] + miss @ x,
            "b": state.params["b"] + miss.sum(),
        }
        new = state._replace(params=params, step=state.step + 1)
        return new, {"errors": jnp.abs(miss).mean()}

    start = nn.TrainState(
        {"w": jnp.zeros(2), "b": jnp.zeros(())}, {}, (), jnp.int32(0), KEY
    )
    whole, history = nn.fit(step, (x, y), epochs=10, batch_size=1, state=start)
    assert history["errors"][-1] == 0
    half, _ = nn.fit(step, (x, y), epochs=4, batch_size=1, state=start)
    rest, _ = nn.fit(step, (x, y), epochs=10, batch_size=1, state=half)
    same(whole, rest)


def test_a_train_step_is_fitted_with_its_own_loss():
    step = nn.train_step(NET, CROSS_ENTROPY, SGD)
    start = nn.train_state(NET, SGD, X[:1], key=KEY)
    kw = {"epochs": 3, "batch_size": 16, "validation": (X, Y)}
    state, history = nn.fit(step, (X, Y), state=start, **kw)
    expected, its_history = fit(validation=(X, Y))
    same(state, expected)
    assert history["val_loss"] == its_history["val_loss"]


def test_a_bare_function_is_a_network():
    y = np.tanh(X).astype(np.float32)
    state, history = fit(
        (X, y), net=jnp.tanh, loss=nn.losses.mean_squared_error, epochs=1
    )
    assert history["loss"][0] < 1e-6
    assert nn.predict(jnp.tanh, state, X).shape == X.shape
    assert nn.evaluate(jnp.tanh, state, (X, y), loss=nn.losses.mean_squared_error)


@pytest.mark.parametrize("given", [lambda f: iter([f]), lambda f: (g for g in (f, f))])
def test_callbacks_may_come_from_an_iterator(given):
    seen = []
    fit(callbacks=given(lambda epoch, state, history: seen.append(epoch)))
    assert set(seen) == {1, 2, 3}
    assert len(fit(callbacks=None)[1]) == 3


def test_epochs_may_be_counted_anew_for_other_data():
    state, _ = fit(epochs=2)
    state = state._replace(step=0 * state.step)
    again, history = fit((X[:30], Y[:30]), epochs=3, batch_size=7, state=state)
    assert history.epochs == [1, 2, 3] and int(again.step) == 15


def test_a_run_says_where_it_goes_on(capsys):
    state, _ = fit(epochs=1)
    fit(epochs=2, state=state._replace(step=state.step + 2), progress=True)
    assert "fit: goes on after epoch 1 and 2 of 5 steps" in capsys.readouterr().out


@pytest.mark.parametrize("answer", [jnp.float32(0.5), jnp.ones(3), np.ones(2), 1, "x"])
def test_only_true_ends_a_run(answer):
    assert len(fit(callbacks=[lambda epoch, state, history: answer])[1]) == 3


def test_a_callback_may_answer_with_jax():
    _, history = fit(epochs=9, callbacks=[lambda e, s, h: jnp.bool_(e == 2)])
    assert len(history) == 2


def test_a_callback_may_answer_with_numpy():
    _, history = fit(epochs=9, callbacks=[lambda e, s, h: np.mean(h["loss"]) < 100])
    assert len(history) == 1


def test_history_goes_on_without_what_is_no_longer_logged(tmp_path):
    state, first = fit(validation=(X, Y))
    _, history = fit(state=state, history=first, epochs=4)
    assert np.isnan(history["val_loss"][-1])
    history.to_csv(tmp_path / "h.csv")
    history.plot(tmp_path / "h.png")


def test_a_step_of_ones_own_is_checked():
    with pytest.raises(TypeError, match="state="):
        nn.fit(lambda s, b: (s, {}), (X, Y), epochs=1, batch_size=4, key=KEY)
    with pytest.raises(TypeError, match="loss belongs to the step"):
        nn.fit(lambda s, b: (s, {}), (X, Y), epochs=1, batch_size=4, key=KEY, loss=max)
    with pytest.raises(ValueError, match="must be one number"):
        bad = lambda s, b: (s, {"loss": jnp.ones(3)})  # noqa: E731
        nn.fit(bad, (X, Y), epochs=1, batch_size=4, state={"a": jnp.ones(2)}, key=KEY)


def test_streaming_metrics_in_training_equal_those_over_the_epoch():
    metrics = {
        "f1": nn.metrics.F1(3),
        "matrix": nn.metrics.ConfusionMatrix(3),
        "accuracy": nn.metrics.accuracy,
    }
    frozen = optax.set_to_zero()  # the network stays, so that an epoch is an evaluation
    net = nn.Sequential(nn.Dense(8), jax.nn.relu, nn.Dense(3))
    state, history = fit(net=net, optimizer=frozen, metrics=metrics, epochs=1)
    expected = nn.evaluate(net, state, (X, Y), loss=CROSS_ENTROPY, metrics=metrics)
    assert history["matrix"][0].sum() == 70
    same(history["matrix"][0], expected["matrix"])
    for name in ("f1", "accuracy", "loss"):
        np.testing.assert_allclose(history[name][0], expected[name], rtol=1e-5)


def test_stacked_metrics_in_training():
    y = (Y == 0).astype(np.float32)[:, None]
    net = nn.Sequential(nn.Dense(8), jax.nn.relu, nn.Dense(1))
    loss, metrics = nn.losses.sigmoid_cross_entropy, {"auc": nn.metrics.RocAuc()}
    kw = {
        "net": net,
        "loss": loss,
        "optimizer": optax.set_to_zero(),
        "metrics": metrics,
    }
    state, history = fit((X, y), epochs=1, **kw)
    expected = nn.evaluate(net, state, (X, y), metrics=metrics)["auc"]
    np.testing.assert_allclose(history["auc"][0], expected, rtol=1e-6)


def test_learning_goes_on_in_float64_and_bfloat16():
    with jax.enable_x64(True):
        state, _ = fit((X.astype(np.float64), Y), epochs=1, key=jax.random.key(0))
        assert state.params["dense_1"]["w"].dtype == jnp.float64
    x = jnp.asarray(X, jnp.bfloat16)
    state, history = fit((x, Y), epochs=20)
    assert state.params["dense_1"]["w"].dtype == jnp.float32
    assert history["loss"][-1] < history["loss"][0]
    assert nn.predict(NET, state, x).dtype == jnp.bfloat16
