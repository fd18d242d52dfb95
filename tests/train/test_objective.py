"""Objectives: the same numbers as a loss, and everything around a loss works."""

import pickle
import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from common import CROSS_ENTROPY, KEY, NET, SGD, X, Y, fit

import jaxnn as nn

same = chex.assert_trees_all_equal
MSE = nn.losses.mean_squared_error


def cross_entropy(run, batch):
    x, y = batch
    return CROSS_ENTROPY(run(x), y)


def logged(run, batch):
    """The same with an accuracy beside it."""
    x, y = batch
    outputs = run(x)
    logs = {"accuracy": nn.metrics.accuracy(outputs, y), "two": 2.0}
    return CROSS_ENTROPY(outputs, y), logs


def by_objective(objective=cross_entropy, **options):
    return fit(loss=None, objective=objective, **options)


class Code(nn.Composite):
    """A small auto-encoder with noise and statistics, whose children are called."""

    encoder: nn.Layer = nn.Sequential(nn.Dense(3), nn.BatchNorm())
    noise: nn.Layer = nn.Dropout(0.3)
    decoder: nn.Layer = nn.Dense(X.shape[-1])

    def forward(self, run, x):
        return run("decoder", run("noise", run("encoder", x)))


def rebuild(run, x):
    """The body of `Code`, with random numbers and a penalty."""
    code = run("noise", run("encoder", x))
    code += 0.1 * jax.random.normal(run.key, code.shape)
    return MSE(run("decoder", code), x), {"size": jnp.square(code).mean(-1)}


RUN = {"optimizer": SGD, "epochs": 2, "batch_size": 32, "key": KEY}


@pytest.mark.quick
def test_a_loss_as_an_objective_gives_the_same_bits():
    options = {"validation": (X[:21], Y[:21])}
    state, history = fit(**options)
    found, logs = by_objective(**options)
    same(found, state)
    assert list(logs) == list(history)
    assert dict(logs) == dict(history)


def test_statistics_and_noise_too():
    net = Code()
    state, history = nn.fit(net, (X, X), loss=MSE, **RUN)
    found, logs = nn.fit(net, X, objective=lambda run, x: MSE(run(x), x), **RUN)
    same(found, state)
    assert history["loss"] == logs["loss"]


@pytest.mark.quick
def test_logs_are_beside_the_loss_in_history_and_evaluation():
    metrics = {"accuracy": nn.metrics.accuracy}
    state, history = fit(metrics=metrics, validation=(X, Y))
    found, logs = by_objective(logged, validation=(X, Y))
    same(found, state)
    names = ["loss", "accuracy", "two", "val_loss", "val_accuracy", "val_two"]
    assert list(logs) == names
    for name in history:
        np.testing.assert_allclose(logs[name], history[name], rtol=1e-6)
    assert logs["two"] == logs["val_two"] == [2.0] * 3
    told = nn.evaluate(NET, state, (X, Y), objective=logged)
    want = nn.evaluate(NET, state, (X, Y), loss=CROSS_ENTROPY, metrics=metrics)
    assert told == pytest.approx(want | {"two": 2.0})


def test_a_step_logs_what_the_objective_logs():
    step = nn.train_step(NET, objective=logged, optimizer=SGD)
    state = nn.train_state(NET, SGD, X, key=KEY)
    after, logs = jax.jit(step)(state, (X, Y))
    options = {"key": step.key(state), "train": True}
    outputs, _ = NET.apply(state.params, state.state, X, **options)
    assert set(logs) == {"loss", "accuracy", "two"}
    assert logs["loss"] == pytest.approx(float(CROSS_ENTROPY(outputs, Y).mean()))
    assert step == nn.train_step(NET, objective=logged, optimizer=SGD)
    assert int(after.step) == 1


def test_weights_count_as_with_a_loss():
    weights = np.linspace(0, 1, len(X), dtype=np.float32)
    state, history = fit(sample_weight=weights, class_weight="balanced")
    found, logs = by_objective(sample_weight=weights, class_weight="balanced")
    same(found, state)
    assert history["loss"] == logs["loss"]


def test_augmentation_takes_the_inputs():
    def shift(key, x):
        return x + jax.random.normal(key, (len(x), 1))

    state, _ = fit(augment=shift)
    same(by_objective(augment=shift)[0], state)
    plain = nn.fit(Code(), X, objective=rebuild, augment=shift, **RUN)[0]
    assert not np.allclose(
        plain.params["decoder"]["w"],
        nn.fit(Code(), X, objective=rebuild, **RUN)[0].params["decoder"]["w"],
    )


def test_children_are_called_and_the_parameters_are_those_of_the_network():
    net = Code()
    state, history = nn.fit(net, X, objective=rebuild, **RUN)
    want = nn.train_state(net, SGD, X, key=KEY)
    chex.assert_trees_all_equal_shapes(state.params, want.params)
    assert set(history) == {"loss", "size"}
    assert not np.allclose(state.state["encoder"]["batch_norm_1"]["mean"], 0)
    first = nn.fit(net, X, objective=rebuild, state=want, **RUN)[0]
    same(first, state)  # the start too
    assert nn.predict(net, state, X).shape == X.shape


@pytest.mark.parametrize(
    "batches", [X, lambda: iter([X[:32], X[32:64]]), {"a": X, "b": Y}]
)
def test_a_batch_is_any_tree(batches):
    def objective(run, batch):
        x = batch["a"] if isinstance(batch, dict) else batch
        return rebuild(run, x)

    size = None if callable(batches) else 32
    _, history = nn.fit(
        Code(), batches, objective=objective, **RUN | {"batch_size": size}
    )
    assert history["loss"][1] < history["loss"][0]


def test_a_run_resumes_bit_for_bit(tmp_path):
    full, history = nn.fit(Code(), X, objective=rebuild, **RUN | {"epochs": 4})
    half, _ = nn.fit(Code(), X, objective=rebuild, **RUN)
    nn.save(tmp_path / "half", half)
    half = nn.load(tmp_path / "half", like=half)
    rest, logs = nn.fit(Code(), X, objective=rebuild, **RUN | {"epochs": 4}, state=half)
    same(rest, full)
    assert logs["loss"] == history["loss"][2:]


def test_whole_runs_and_epochs_as_pure_functions():
    step = nn.train_step(Code(), objective=rebuild, optimizer=SGD)
    state = nn.train_state(Code(), SGD, X, key=KEY)
    full, history = nn.fit(Code(), X, objective=rebuild, validation=X, **RUN)
    found, logs = nn.train.run(step, state, X, epochs=2, batch_size=32, validation=X)
    chex.assert_trees_all_close(found.params, full.params, rtol=1e-5, atol=1e-6)
    for name in history:
        np.testing.assert_allclose(logs[name], history[name], rtol=1e-4)


def test_an_ensemble_is_separate_runs():
    keys = jax.random.split(KEY, 3)
    state, history = nn.fit(nn.ensemble(Code(), 3), X, objective=rebuild, **RUN)
    alone = [nn.fit(Code(), X, objective=rebuild, **RUN | {"key": k}) for k in keys]
    for i, (one, _) in enumerate(alone):
        chex.assert_trees_all_close(
            nn.member(state, i).params, one.params, rtol=1e-5, atol=1e-6
        )
    mean = np.mean([logs["loss"] for _, logs in alone], 0)
    np.testing.assert_allclose(history["loss"], mean, rtol=1e-5)
    told = nn.evaluate(nn.ensemble(Code(), 3), state, X, objective=rebuild)
    assert set(told) == {"loss", "size"}


@pytest.mark.slow
def test_a_sweep_over_what_the_objective_takes():
    def weighed(weight):
        def objective(run, x):
            values, logs = rebuild(run, x)
            return values + weight * logs["size"], logs

        return objective

    result = nn.sweep(
        *(Code(), X), over={"weight": [0.0, 1.0]}, objective=weighed, monitor="loss",
        **RUN,
    )  # fmt: skip
    for trial in result.trials:
        objective = weighed(trial.settings["weight"])
        _, history = nn.fit(Code(), X, objective=objective, **RUN)
        assert trial.score == pytest.approx(history["loss"][-1], rel=1e-4)


def test_the_rate_finder_takes_one():
    options = {"batch_size": 32, "key": KEY, "steps": 40}
    test = nn.find_learning_rate(NET, (X, Y), objective=cross_entropy, **options)
    want = nn.find_learning_rate(NET, (X, Y), loss=CROSS_ENTROPY, **options)
    np.testing.assert_array_equal(test.losses, want.losses)


def test_an_inner_gradient_leaves_the_statistics_whole():
    def penalized(run, x):
        slope = jax.grad(lambda x: run("encoder", x).sum())(x)
        return jnp.square(slope).sum(-1) + MSE(run(x), x)

    state, history = nn.fit(Code(), X, objective=penalized, **RUN)
    assert np.isfinite(history["loss"]).all()
    assert not np.allclose(state.state["encoder"]["batch_norm_1"]["mean"], 0)


def test_random_numbers_are_fresh_and_differ_between_calls():
    seen = []

    def objective(run, x):
        a, b = run("noise", x), run("noise", x)
        jax.debug.callback(lambda *found: seen.append(found), a, b, run.key)
        return MSE(run(x), x)

    nn.fit(Code(), X, objective=objective, **RUN | {"epochs": 1, "batch_size": 64})
    jax.effects_barrier()
    (a, b, key), (_, _, other) = seen[:2]
    assert not np.array_equal(a, b)
    assert not np.array_equal(jax.random.key_data(key), jax.random.key_data(other))


def test_evaluation_draws_the_same_numbers_unless_given_a_key():
    state = nn.train_state(Code(), SGD, X, key=KEY)
    one, two = (nn.evaluate(Code(), state, X, objective=rebuild) for _ in range(2))
    other = nn.evaluate(Code(), state, X, objective=rebuild, key=jax.random.key(5))
    assert one == two != other
    assert one["loss"] == pytest.approx(other["loss"], rel=0.2)


def test_a_value_that_is_not_finite_names_its_layer():
    def objective(run, x):
        return MSE(run("decoder", jnp.log(run("encoder", x))), x)

    with pytest.raises(nn.NonFiniteError, match=r"output of decoder: Dense") as caught:
        nn.fit(Code(), X, objective=objective, **RUN)
    assert caught.value.path == "decoder"


def test_the_history_says_what_the_run_was_and_pickles():
    _, history = by_objective(logged)
    assert history.settings["net"] == NET and history.settings["objective"] is logged
    bunch = nn.ensemble(NET, 2, average="softmax")
    assert by_objective(net=bunch, epochs=1)[1].settings["net"] == bunch
    copy = pickle.loads(pickle.dumps(history))
    assert dict(copy) == dict(history)
    assert copy.settings["objective"] is logged


def test_a_checkpoint_holds_the_network_without_its_objective(tmp_path):
    path = tmp_path / "run.safetensors"
    state, _ = by_objective(callbacks=[nn.callbacks.checkpoint(path)])
    assert nn.io.network(path) == NET
    assert nn.evaluate(NET, nn.load(path), (X, Y), objective=cross_entropy) == (
        nn.evaluate(NET, state, (X, Y), loss=CROSS_ENTROPY)
    )


# --- what it refuses ---

BAD = {
    "one number": (lambda run, x: MSE(run(x), x).mean(), "one value per example"),
    "integers": (lambda run, x: jnp.zeros(len(x), int), "floating-point values"),
    "a log of another shape": (
        lambda run, x: (MSE(run(x), x), {"size": x}),
        r"logs\['size'\] must be one number",
    ),
    "a log called loss": (
        lambda run, x: (MSE(run(x), x), {"loss": 1.0}),
        "names of their own, got 'loss'",
    ),
    "logs without names": (lambda run, x: (MSE(run(x), x), 3.0), "must be a dict"),
    "a child that is not there": (
        lambda run, x: MSE(run("decode", x), x),
        "no child 'decode'.*nearest: 'decoder'",
    ),
    "too many inputs": (lambda run, x: run(x, x), r"run\(x\), or the name of a child"),
}


@pytest.mark.parametrize("case", BAD)
def test_an_objective_is_refused_before_compiling(case, compiled):
    objective, message = BAD[case]
    with pytest.raises((TypeError, ValueError, KeyError), match=message):
        nn.fit(Code(), X, objective=objective, **RUN)
    assert not [name for name in compiled if "run_steps" in name]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": MSE}, "objective must stand in place of loss"),
        ({"metrics": {"mae": MSE}}, "metrics belong to the objective"),
        ({"objective": "elbo"}, r"a function objective\(run, batch\), got 'elbo'"),
        ({"objective": None}, "loss is needed"),
    ],
)
def test_arguments_that_do_not_go_together(options, message):
    with pytest.raises(TypeError, match=message):
        nn.fit(Code(), X, **{"objective": rebuild, **RUN, **options})


@pytest.mark.slow
def test_the_doctor_says_what_it_can():
    state, history = nn.fit(Code(), X, objective=rebuild, **RUN)
    assert nn.diagnose(Code(), state, history, X, X[:30]).healthy
    slow = {**RUN, "optimizer": optax.sgd(1e-6)}
    state, history = nn.fit(Code(), X, objective=rebuild, **slow)
    report = nn.diagnose(Code(), state, history, X)
    assert "learning rate too small" in report.names
    given = {"objective": rebuild, "optimizer": slow["optimizer"]}
    assert nn.diagnose(Code(), state, history, X, **given).names == report.names


@pytest.mark.parametrize("members", [1, 2])
def test_a_child_that_the_network_lacks_is_missed_in_the_users_class(members):
    net = nn.Sequential(body=nn.Dense(3))
    net = nn.ensemble(net, 2) if members == 2 else net
    with pytest.raises(KeyError, match="Sequential has no child 'bod'; it has body"):
        fit(X, net, loss=None, objective=lambda run, x: run("bod", x).mean(-1))


@pytest.mark.parametrize("around", [nn.Mixed, lambda net: nn.Remat(nn.Mixed(net))])
def test_a_child_alone_computes_in_the_precision_of_the_network(around):
    net = around(Code())

    def whole(run, x):
        return MSE(run(x), x)

    def by_parts(run, x):
        return MSE(run("decoder", run("encoder", x)), x)

    options = {"optimizer": SGD, "key": KEY, "epochs": 1, "batch_size": 32}
    state = nn.train_state(net, SGD, X, key=KEY)
    programs = []
    for objective in (whole, by_parts):
        step = nn.train_step(net, objective=objective, optimizer=SGD)
        programs.append(str(jax.make_jaxpr(step)(state, X)))
    for program in programs:
        products = re.findall(r":(\w+)\[[\d,]*\] = dot_general", program)
        assert products and set(products) == {"bf16"}
    assert ("remat" in programs[1]) == isinstance(net, nn.Remat)
    found, _ = nn.fit(net, X, objective=by_parts, **options)
    assert {a.dtype.name for a in jax.tree.leaves(found.params)} == {"float32"}
