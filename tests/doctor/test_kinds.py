# SPDX-License-Identifier: Apache-2.0
"""The right word for targets, splits and dtypes of every kind.

The networks are solved for rather than trained: what counts is what they put out.
"""

from functools import partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from runs import blobs

import jaxnn as nn
from jaxnn.doctor import memory, sets
from jaxnn.doctor.diagnose import _case
from jaxnn.doctor.features import _told
from jaxnn.doctor.quality import quality, told
from jaxnn.doctor.tries import takes_scores

SQUARES = nn.losses.mean_squared_error
CROSS_ENTROPY = nn.losses.softmax_cross_entropy
LOGITS = nn.losses.sigmoid_cross_entropy


def case_of(net, params, train, validation=None, loss=SQUARES, state=None):
    """A run of one epoch that ended in these parameters, for the checks to look at."""
    history = nn.History()
    history.add(1, {"loss": 1.0})
    given = (params, state or {}), history, train, validation
    return _case(net, *given, loss, None, 512)


def diagnosed(net, params, train, validation=None, loss=SQUARES, state=None):
    case = case_of(net, params, train, validation, loss, state)
    return nn.diagnose(net, (case.params, case.state), case.history, train, validation,
                       loss=loss)  # fmt: skip


def solved(x, targets):
    """The parameters of the dense layer of least squares."""
    x = np.asarray(x, np.float64).reshape(len(x), -1)
    columns = np.concatenate([x, np.ones((len(x), 1))], 1)
    w = np.linalg.lstsq(columns, targets, rcond=None)[0].astype(np.float32)
    return {"w": jnp.asarray(w[:-1]), "b": jnp.asarray(w[-1])}


def yes_or_no(examples, seed=0):
    """A column of numbers and whether they are above 0."""
    x = np.random.default_rng(seed).uniform(0.5, 1.2, (examples, 1))
    x[::2] *= -1
    return x.astype(np.float32), (x > 0).astype(np.float32)


# Yes or no.


def test_validation_of_the_other_label_differs():
    """All yes there and all no here, and a network that always says no."""
    params = {"w": jnp.zeros((1, 1)), "b": jnp.full(1, -5.0)}
    x, y = yes_or_no(200)
    train, validation = (x[::2], y[::2]), (x[1::2], y[1::2])
    report = diagnosed(nn.Dense(1), params, train, validation, LOGITS)
    assert report.names[0] == "sets that differ"
    assert "differ by 100%" in report["sets that differ"].words
    words = report["overfitting"].words
    assert "accuracy 1.000 on training, 0.000 on validation" in words


def test_one_label_only():
    ones, x = np.ones(20, int), np.random.default_rng(0).normal(size=(20, 2))
    assert not _told(x, ones, numbers=False).any()  # no feature tells it
    assert quality("classes", 0 * ones, ones) == 0 == quality("binary", 0 * ones, ones)
    assert quality("classes", ones, ones) == 1 == told("classes", 1.0, ones)
    assert quality("classes", ones, -ones) is None  # all are left out


@pytest.mark.parametrize("loss", [SQUARES, nn.losses.huber])
def test_squares_on_0_and_1_decide_at_a_half(loss):
    """Of outputs from -0.1 to 0.2 and from 0.8 to 1.1, a few leave 0 to 1."""
    (x, y), params = yes_or_no(120), {"w": jnp.full((1, 1), 0.5), "b": jnp.full(1, 0.5)}
    report = diagnosed(nn.Dense(1), params, (x, y), yes_or_no(60, 1), loss)
    assert report.healthy, str(report)


def own_hinge(y, t):
    return jnp.maximum(0, 1 - (2 * t - 1) * y).mean(-1)


def own_logits(y, t):
    return optax.sigmoid_binary_cross_entropy(y, t).mean(-1)


def own_squares(y, t):
    return jnp.square(y - t).mean(-1)


def own_entropy(y, t):
    return -(t * jnp.log(y) + (1 - t) * jnp.log(1 - y)).mean(-1)


@pytest.mark.parametrize(
    "loss, threshold",
    [
        *((LOGITS, 0), (nn.losses.hinge, 0), (own_hinge, 0), (own_logits, 0)),
        *((SQUARES, 0.5), (own_squares, 0.5), (own_entropy, 0.5)),
    ],
)
def test_the_loss_tells_where_yes_begins(loss, threshold):
    params = {"w": jnp.full((1, 1), 2.0), "b": jnp.zeros(1)}
    assert case_of(nn.Dense(1), params, yes_or_no(20), loss=loss).threshold == threshold
    assert takes_scores(loss, (1, 1), np.float32) is (threshold == 0)


def test_a_copy_of_0_and_1_is_no_achievement():
    x = (np.random.default_rng(0).uniform(size=(100, 12)) > 0.5).astype(np.float32)
    half = {"w": jnp.eye(12).at[:, 6:].set(0), "b": jnp.zeros(12)}
    case = case_of(nn.Dense(12), half, (x, x))
    assert case.task == "binary" and case.reference is None and not case.bad


# How well a network does, in words.


def test_an_accuracy_is_that_of_its_own_set():
    """Half of the training labels are 1, and a tenth of those in validation."""
    params = {"w": jnp.array([[-5.0, 5.0]]), "b": jnp.zeros(2)}
    x, y = yes_or_no(100)
    seen, wrong = np.full((100, 1), -1.0, np.float32), np.arange(100) % 10 < 3
    seen[wrong] = 1.0
    there = (np.arange(100) % 10 == 0).astype(np.int32)
    train = x, y[:, 0].astype(np.int32)
    words = diagnosed(nn.Dense(2), params, train, (seen, there), CROSS_ENTROPY)[
        "overfitting"
    ].words
    assert "accuracy 1.000 on training, 0.800 on validation" in words


@pytest.mark.parametrize("seed", [1, 4])
def test_a_gap_by_chance_is_no_overfitting(seed):
    """A plane through 100 noisy rows, checked on 40; R² differs by 0.26 and 0.17."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(140, 2)).astype(np.float32)
    y = x[:, :1] + 0.5 * x[:, 1:] + 1.1 * rng.normal(size=(140, 1))
    train, validation = (x[:100], y[:100]), (x[100:], y[100:])
    train, validation = ((a, b.astype(np.float32)) for a, b in (train, validation))
    report = diagnosed(nn.Dense(1), solved(*train), train, validation)
    assert report["overfitting"] is None, str(report)


# Labels that are left out.


@pytest.mark.parametrize(("ignored", "dtype"), [(-1, "int32"), (255, "uint8")])
def test_labels_that_the_loss_ignores_do_not_count(ignored, dtype):
    train, (u, v) = blobs(300)
    x, y = train[0], train[1].astype(dtype)
    params = solved(x, 8 * np.eye(3)[y])
    loss = partial(CROSS_ENTROPY, ignore_label=ignored)
    case = case_of(nn.Dense(3), params, (x, y), (u, v), loss)
    expected = case.qualities[0], case.losses[0]
    full = np.concatenate([x, 9 * x]), np.concatenate([y, np.full_like(y, ignored)])
    case = case_of(nn.Dense(3), params, full, (u, v), loss)
    assert (*case.qualities, case.losses[0]) == pytest.approx(
        (expected[0], case.qualities[1], expected[1])
    )
    assert set(case.labels(full[1]).tolist()) == {-1, 0, 1, 2}
    few = y.copy()
    few[::5] = ignored
    report = diagnosed(nn.Dense(3), params, (x, few), (u, v), loss)
    assert report.healthy, str(report)


def test_labels_that_are_all_left_out():
    x, y = np.ones((9, 2), np.float32), np.full(9, -1)
    loss = partial(CROSS_ENTROPY, ignore_label=-1)
    params = {"w": jnp.zeros((2, 3)), "b": jnp.zeros(3)}
    case = case_of(nn.Dense(3), params, (x, y), (x, y), loss)
    assert case.qualities == (None, None) and case.reference is None
    diagnosed(nn.Dense(3), params, (x, y), (x, y), loss)


# The two sets.


def copies(x, u):
    """Whether copies are found between inputs to train and to validate on."""
    return bool(list(sets.check_overlap(SimpleNamespace(all_x=x, all_u=u))))  # type: ignore


@pytest.mark.parametrize(
    ("values", "n", "m"), [(10_000, 1000, 200), (6**5, 640, 160), (256, 100, 50)]
)
def test_values_that_recur_are_no_copies(values, n, m):
    alarms, found = 0, 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        x, u = rng.integers(values, size=(n, 1)), rng.integers(values, size=(m, 1))
        alarms += copies(x, u)
        u[: m // 2] = x[: m // 2]
        found += copies(x, u)
    assert alarms <= 2 and found >= 32


def test_validation_sequences_may_be_longer():
    net = nn.Sequential(lambda x: x.mean(1), nn.Dense(2))
    rng = np.random.default_rng(0)

    def drawn(n, length):
        x = rng.normal(size=(n, length, 2)).astype(np.float32)
        return x, (x[..., 0].mean(1) > 0).astype(np.int32)

    train, validation = drawn(60, 10), drawn(30, 14)
    params = {"dense_1": {"w": jnp.array([[-9.0, 9.0], [0, 0]]), "b": jnp.zeros(2)}}
    report = diagnosed(net, params, train, validation, CROSS_ENTROPY)
    assert report.healthy, str(report)
    rigid = nn.Sequential(nn.Flatten(), nn.Dense(2))
    params = {"dense_1": {"w": jnp.zeros((20, 2)), "b": jnp.zeros(2)}}
    with pytest.raises(ValueError, match="validation inputs must have the shape"):
        diagnosed(rigid, params, train, validation, CROSS_ENTROPY)
    short = validation[0], validation[1][:, None]
    params = {"dense_1": {"w": jnp.zeros((2, 2)), "b": jnp.zeros(2)}}
    with pytest.raises(ValueError, match="validation targets must have the shape"):
        diagnosed(net, params, train, short, CROSS_ENTROPY)


# Outputs against losses.


def test_the_first_targets_are_not_all_targets():
    """Sorted, the first ones are all 0: numbers to predict all the same."""
    rng = np.random.default_rng(0)
    x = np.sort(rng.normal(size=(200, 1)), 0).astype(np.float32)
    net, y = nn.Sequential(nn.Dense(1), jax.nn.sigmoid), np.clip(x, 0, 1)
    params = {"dense_1": {"w": jnp.full((1, 1), 4.0), "b": jnp.full(1, -2.0)}}
    assert diagnosed(net, params, (x, y))["wrong output/loss pair"] is None
    rows = np.eye(3, dtype=np.float32)[np.arange(200) % 3]
    rows[8:] = rng.normal(size=(192, 3))
    params = {"w": jnp.zeros((1, 3)), "b": jnp.zeros(3)}
    report = diagnosed(nn.Dense(3), params, (x, rows))
    assert report["wrong output/loss pair"] is None


# Numbers of 16 bits.


def test_inputs_of_16_bits_are_looked_at():
    (x, y), (u, v) = blobs(200)
    for a, labels in ((x, y), (u, v)):
        a[:, 2], a[:, 3], a[:, 4] = 3.0, labels, 99 * a[:, 4]
    u[:, 5] += 8
    train, validation = (jnp.asarray(x, jnp.bfloat16), y), (u.astype(jnp.bfloat16), v)
    params = solved(x, 8 * np.eye(3)[y])
    report = diagnosed(nn.Dense(3), params, train, validation, CROSS_ENTROPY)
    assert {
        *("inputs not scaled", "constant features"),
        *("leaking features", "sets that differ"),
    } <= set(report.names), str(report)
    assert "2 (always 3)" in report["constant features"].words
    features = case_of(nn.Dense(3), params, train, loss=CROSS_ENTROPY).features
    assert features.dtype == np.float64


# How many examples are looked at at once.


def test_a_gradient_of_many_examples_is_that_of_fewer(monkeypatch):
    """The statistics of a batch are good, the running ones say nothing of it."""
    (x, y), _ = blobs(400)
    net = nn.Sequential(nn.BatchNorm(), nn.Dense(3))
    _, state = net.init(jax.random.key(0), x)
    norm = {"scale": jnp.ones(8), "offset": jnp.zeros(8)}
    params = {"batch_norm_1": norm, "dense_1": solved(x, 8 * np.eye(3)[y])}
    given = net, params, (x + 4, y), None, CROSS_ENTROPY, state
    whole = diagnosed(*given)
    assert whole.names[0] == "stale batch statistics"
    assert len(case_of(*given).inside.outputs) == 300
    monkeypatch.setattr(memory, "MEMORY", 1)
    case = case_of(*given)
    assert len(case.inside.outputs) == 32  # a batch, as far as is known
    assert diagnosed(*given).names == whole.names
    case = case_of(*given)
    case.history.settings["batch_size"] = 50
    assert len(case.probed) == 50


def test_memory_counts_every_block(key):
    """Each keeps at least its input, 1024 numbers of 4 bytes."""
    x, rows = jax.ShapeDtypeStruct((1, 1024), jnp.float32), []
    for blocks in (8, 16):
        block = nn.Residual(nn.Sequential(nn.Dense(1024), jax.nn.relu))
        net = nn.Repeat(block, blocks)
        start = jax.eval_shape(net.init, key, x)
        rows.append(memory.rows_that_fit(net, start, x, 32))
    assert rows[0] == pytest.approx(2 * rows[1], rel=0.1)
    assert rows[0] < memory.MEMORY / (8 * 4096)
