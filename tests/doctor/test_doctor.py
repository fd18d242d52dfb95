# SPDX-License-Identifier: Apache-2.0
"""What `nn.diagnose` promises beside being right: its report, its errors, its parts."""

import copy

import jax
import numpy as np
import optax
import pytest
from cases import SETS
from runs import blobs, dense, fitted, table

import jaxnn as nn
from jaxnn.doctor.features import _told
from jaxnn.doctor.probe import activation
from jaxnn.doctor.quality import explained, quality, task_of
from jaxnn.doctor.recipe import ILLNESSES
from jaxnn.doctor.reference import _kernel, _leave_one_out, reference
from jaxnn.doctor.report import Report, finding, ordered
from jaxnn.doctor.tries import takes_binary_logits

CROSS_ENTROPY = nn.losses.softmax_cross_entropy


@pytest.fixture(scope="module")
def slow_run():
    """A run whose learning rate is far too small."""
    train, validation = blobs(300)
    return fitted(
        dense(16, 3), train, validation, CROSS_ENTROPY, optax.sgd(1e-4), 6, 50
    )


@pytest.fixture(scope="module")
def report(slow_run):
    return slow_run.diagnose()


# The report.


def test_text_and_data_say_the_same(report):
    text, first = str(report), report.findings[0]
    assert first.name == report.names[0] == "learning rate too small"
    assert text.index("1. learning rate too small (likely)") < text.index("2. underfi")
    assert "follows from: learning rate too small" in text
    assert " ".join(first.remedy.split()[:6]) in " ".join(text.split())
    assert max(map(len, text.splitlines())) <= 80
    assert not report.healthy and repr(report) == text
    assert first.evidence["best_length"] > 10 and 0 < first.likelihood <= 1


def test_findings_by_name(report):
    assert report["underfitting"].cause == "learning rate too small"
    assert report["overfitting"] is None
    with pytest.raises(KeyError, match="nearest: 'overfitting'"):
        report["overfiting"]


def test_an_equal_run_gets_an_equal_report(slow_run, report):
    assert slow_run.diagnose() == report


def test_nothing_is_changed(slow_run):
    before = jax.tree.map(np.array, (slow_run.state.params, slow_run.train))
    logs = copy.deepcopy(slow_run.history.logs)
    slow_run.diagnose()
    after = jax.tree.map(np.array, (slow_run.state.params, slow_run.train))
    jax.tree.map(np.testing.assert_array_equal, before, after)
    assert slow_run.history.logs == logs


def test_causes_come_before_what_follows():
    underfits = finding("underfitting", 0.99, "")
    scale = finding("inputs not scaled", 0.7, "")
    large = finding("learning rate too large", 0.9, "")
    copies = finding("overlapping sets", 0.6, "")
    found = ordered([underfits, large, copies, scale])
    assert [f.name for f in found] == [
        *("inputs not scaled", "overlapping sets"),
        *("underfitting", "learning rate too large"),
    ]
    assert [f.cause for f in found] == [None, None, *["inputs not scaled"] * 2]


def test_the_learning_rate_explains_what_came_later_only():
    large = finding("learning rate too large", 0.8, "")
    for begun in (True, False):
        dead = finding("dead ReLUs", 0.9, "", at_start=begun)
        first = ordered([large, dead])[0]
        assert first.name == ("dead ReLUs" if begun else "learning rate too large")


def test_every_illness_has_a_remedy_and_known_effects():
    for name, illness in ILLNESSES.items():
        assert illness.remedy and name not in illness.causes
        assert set(illness.causes) <= set(ILLNESSES)


def test_healthy_says_so():
    healthy = Report((), ("3 epochs on 10 examples",), ("overfitting",))
    assert healthy.healthy and healthy.names == ()
    assert "healthy: nothing wrong was found" in str(healthy)
    assert "not told: overfitting" in str(healthy)


# What it is given.


def test_the_history_tells_loss_and_optimizer(slow_run, report):
    history = copy.copy(slow_run.history)
    history.settings = {"loss": slow_run.loss, "optimizer": slow_run.optimizer}
    found = nn.diagnose(
        slow_run.net, slow_run.state, history, slow_run.train, slow_run.validation
    )
    assert found == report


def test_without_a_loss_it_says_what_it_cannot_tell(slow_run):
    history = copy.copy(slow_run.history)
    history.settings = {}
    found = nn.diagnose(slow_run.net, slow_run.state, history, slow_run.train)
    assert "gradients" in str(found) and "give validation" in str(found)
    assert "give optimizer=" in str(found)
    assert "underfitting" in found.names


def test_a_pair_of_params_and_state_will_do(slow_run):
    pair = slow_run.state.params, slow_run.state.state
    found = slow_run._replace(state=pair).diagnose()
    assert "underfitting" in found.names and "give a TrainState" in str(found)


def test_the_error_of_a_run_that_turned_nan_is_enough():
    run = next(c for c in SETS["kept"] if c.name == "SGD 3, NaN").run()
    assert isinstance(run.state, nn.NonFiniteError)
    report = run.diagnose()
    assert report.names[0] == "learning rate too large"
    assert f"epoch {run.state.epoch}, step {run.state.step}" in str(report)


def test_parameters_that_are_nan_are_seen(slow_run):
    bad = jax.tree.map(lambda a: a * np.float32("nan"), slow_run.state.params)
    report = slow_run._replace(state=slow_run.state._replace(params=bad)).diagnose()
    assert report.names[0] == "learning rate too large"
    assert "NaN or infinite" in str(report)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            {"history": nn.History()},
            ValueError,
            "^diagnose: history must hold .*NonFiniteError",
        ),
        ({"history": None}, TypeError, "^diagnose: history must be the History"),
        ({"net": nn.ensemble(dense(16, 3), 2)}, ValueError, "nn.member"),
        ({"state": 3}, TypeError, "^diagnose: state must be a TrainState or a"),
        ({"train": np.ones((3, 8))}, TypeError, "^diagnose: train must be a tuple"),
        (
            {"validation": (np.ones((4, 7), np.float32), np.zeros(4, np.int32))},
            ValueError,
            r"^diagnose: validation inputs must have the shape .*float32\[4,7\]",
        ),
        (
            {"validation": (np.ones((4, 8), np.float32), np.zeros((4, 3)))},
            ValueError,
            "^diagnose: validation targets must have the shape",
        ),
        (
            {"train": (np.ones((4, 8), np.float32), np.full(4, 7))},
            ValueError,
            "^diagnose: train targets must be a class from 0 to 2",
        ),
        (
            {"train": (np.full((4, 8), np.nan, np.float32), np.zeros(4, np.int32))},
            ValueError,
            "^diagnose: train inputs must be finite",
        ),
        (
            {"optimizer": optax.adam(1e-3)},
            ValueError,
            "^diagnose: optimizer must be that .* this optimizer ScaleByAdamState",
        ),
        ({"optimizer": optax.adam}, TypeError, "^diagnose: optimizer must be an Optax"),
        (
            {"loss": lambda y, t: CROSS_ENTROPY(y, t).mean()},
            ValueError,
            r"^diagnose: loss must give one value per example, .* got float32\[\]",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_input(slow_run, change, error, message):
    with pytest.raises(error, match=message):
        slow_run._replace(**change).diagnose()


def test_data_that_do_not_fit_the_network(slow_run):
    x, y = slow_run.train
    with pytest.raises(ValueError) as raised:
        slow_run._replace(train=(x[:, :5], y), validation=None).diagnose()
    assert any("what the network was trained on" in n for n in raised.value.__notes__)


def test_the_state_of_an_ensemble_is_known(slow_run):
    trees = nn.ensemble(slow_run.net, 2).init(jax.random.key(0), slow_run.train[0])
    with pytest.raises(
        ValueError,
        match=r"^diagnose: state must be that of a single .* nn\.member\(state, 0",
    ):
        slow_run._replace(state=trees).diagnose()
    assert (
        "underfitting" in slow_run._replace(state=nn.member(trees, 1)).diagnose().names
    )


def test_the_memory_of_one_batch_is_refused(slow_run, key):
    net, x = nn.Sequential(nn.lstm(2), nn.Dense(3)), np.ones((4, 5, 2), np.float32)
    live, train = nn.stateful(net), (x, np.zeros((4, 5), np.int32))
    run = slow_run._replace(train=train, validation=None, optimizer=None)
    with pytest.raises(
        ValueError, match=r"^diagnose: net must not be .* that nn.stateful was"
    ):
        run._replace(net=live, state=live.init(key, x)).diagnose()


def test_examples_must_be_positive(slow_run):
    with pytest.raises(ValueError, match=r"^diagnose: examples must be a positive int"):
        slow_run.diagnose(examples=0)


# Its parts.


def test_leave_one_out_is_leaving_each_one_out():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(12, 3)), rng.normal(size=(12, 1))
    kernel = _kernel(x)
    found = _leave_one_out(kernel, y)
    centered, errors = y - y.mean(0), []
    for ridge in np.logspace(-4, 2, 7):
        said = np.empty_like(y)
        for i in range(12):
            rest = np.delete(np.arange(12), i)
            solved = np.linalg.solve(
                kernel[np.ix_(rest, rest)] + ridge * np.eye(11), centered[rest]
            )
            said[i] = kernel[i, rest] @ solved + y.mean(0)
        errors.append(np.abs(said - found).max())
    assert min(errors) < 1e-8


def test_the_reference_knows_what_can_be_known():
    (x, y), _ = table(300, features=3)
    assert reference(x, y, "numbers").quality > 0.9
    shuffled = np.random.default_rng(0).permutation(y)
    assert reference(x, shuffled, "numbers").quality < 0.1
    assert reference(np.ones((20, 2)), y[:20], "numbers") is None


@pytest.mark.parametrize("noise", [0.0, 0.4])
def test_the_reference_sees_noisy_labels(noise):
    (x, y), _ = blobs(500, classes=4)
    rng = np.random.default_rng(1)
    wrong = rng.uniform(size=len(y)) < noise
    found = reference(x, np.where(wrong, rng.integers(4, size=len(y)), y), "classes")
    assert abs(found.contradicted - 0.75 * noise) < 0.08


def test_overlapping_classes_are_no_noise():
    (x, y), _ = blobs(800, features=10, classes=2, spread=2.5)
    found = reference(x, y, "classes")
    assert found.quality < 0.85 and found.contradicted == 0


@pytest.mark.parametrize("numbers", [True, False])
def test_what_one_feature_tells(numbers):
    rng = np.random.default_rng(2)
    x = rng.normal(size=(400, 3))
    y = x[:, 1] ** 2 if numbers else (np.abs(x[:, 1]) > 0.7).astype(int)
    told = _told(x, y, numbers)
    assert told[1] > 0.97 and np.abs(told[[0, 2]]).max() < 0.2


def test_quality_is_0_for_guessing_and_1_for_perfect():
    y = np.array([0, 0, 0, 1])
    assert quality("classes", np.zeros(4, int), y) == 0 == quality("binary", 0 * y, y)
    assert quality("classes", y, y) == 1 == explained(y, y)
    assert quality("numbers", np.full(4, 0.25), y) == pytest.approx(0)
    assert quality("classes", np.array([0, -1, 1]), np.array([0, -1, 1])) == 1
    assert quality("numbers", np.full(4, np.nan), y) is None


def test_tasks():
    outputs = np.zeros((4, 3), np.float32)
    rows, eye = np.arange(3).repeat(2)[:4], np.eye(3, dtype=np.float32)
    assert task_of(CROSS_ENTROPY, outputs, rows) == "classes"
    assert task_of(None, outputs, eye[rows]) == "classes"
    assert task_of(None, outputs, eye[rows] + eye[0]) == "numbers"
    ones = np.ones((4, 3), np.float32)
    assert task_of(nn.losses.sigmoid_cross_entropy, outputs, ones) == "binary"
    assert task_of(None, outputs, np.zeros(5, np.float32)) is None
    assert task_of(None, (outputs, outputs), rows) is None


def test_activations_are_known_by_what_they_do():
    assert (
        activation(lambda x: jax.numpy.maximum(x, 0.0))
        == "relu"
        == activation(jax.nn.relu)
    )
    assert activation(lambda x: (jax.numpy.tanh(x / 2) + 1) / 2) == "sigmoid"
    assert activation(jax.numpy.tanh) == "tanh"
    assert activation(jax.nn.gelu) is None is activation(lambda x: x[:, -1])
    assert activation(lambda x: x.reshape(7, 5)) is None


def test_losses_on_binary_logits_are_known_by_what_they_do():
    logits = nn.losses.sigmoid_cross_entropy
    assert takes_binary_logits(logits, (4, 1))
    assert takes_binary_logits(optax.sigmoid_binary_cross_entropy, (4, 3))
    assert not takes_binary_logits(nn.losses.binary_cross_entropy, (4, 1))
    assert not takes_binary_logits(nn.losses.mean_squared_error, (4, 1))


def test_gradients_by_layer_are_those_of_jax(slow_run):
    from jaxnn.doctor.diagnose import _case

    run = slow_run
    case = _case(*run[:5], run.loss, run.optimizer, 512)
    grads = jax.grad(
        lambda params: run.loss(
            run.net.apply(params, {}, run.train[0])[0], run.train[1]
        ).mean()
    )(run.state.params)
    seen = case.inside.gradients
    assert list(seen) == ["dense_1", "dense_2"]
    for path, (_, end) in seen.items():
        norm = np.sqrt(sum(float((g**2).sum()) for g in grads[path].values()))
        assert end == pytest.approx(norm, rel=1e-4)


def test_blocks_of_a_repeat_are_told_apart(key):
    from jaxnn.doctor.probe import look_inside

    block = nn.Residual(nn.Sequential(nn.Dense(4), jax.nn.relu))
    net = nn.Sequential(nn.Dense(4), nn.Repeat(block, 3), nn.Dense(2))
    x, y = np.ones((5, 3), np.float32), np.zeros(5, np.int32)
    start = net.init(key, x)
    inside = look_inside(net, CROSS_ENTROPY, None, (start, start, None), (x, y), key)
    names = [path.split("/")[0] for path in inside.gradients]
    assert names == ["dense_1", *["repeat_1"] * 3, "dense_2"]
    assert len(inside.gradients) == 5 and inside.steps == {}
    assert len(inside.units) == 1 and inside.units[0][0].kind == "relu"
