# SPDX-License-Identifier: Apache-2.0
"""The learning-rate range test: its suggestions train well; it says if it has none."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from common import CROSS_ENTROPY, KEY, NET, X, Y

import jaxnn as nn
from jaxnn.train import range_test

MLP = nn.Sequential(nn.Flatten(), nn.Dense(32), jax.nn.relu, nn.Dense(10))
CNN = nn.Sequential(
    nn.Conv(8, 3),
    nn.BatchNorm(),
    jax.nn.relu,
    nn.MaxPool(2),
    nn.Flatten(),
    nn.Dense(10),
)


def find(data=(X, Y), net=NET, **options):
    usual = {"loss": CROSS_ENTROPY, "batch_size": 16, "key": KEY, "steps": 60}
    return nn.find_learning_rate(net, data, **(usual | options))


def momentum(rate):
    return optax.sgd(rate, momentum=0.9)


def sweep(net, optimizer, train, test, rates, epochs):
    """The test accuracy after a run with each rate, all in one program."""

    def run(rate):
        step = nn.train_step(net, CROSS_ENTROPY, optimizer(rate))
        state = nn.train_state(net, optimizer(rate), train[0][:1], key=KEY)

        def epoch(state, _):
            return nn.train_epoch(step, state, train, batch_size=32)

        state, _ = jax.lax.scan(epoch, state, length=epochs)
        outputs, _ = net.apply(state.params, state.state, jnp.asarray(test[0]))
        return jnp.mean(outputs.argmax(-1) == test[1])

    return np.asarray(jax.jit(lambda r: jax.lax.map(run, r))(jnp.float32(rates)))


def check_against_a_sweep(net, optimizer, epochs, tolerance=0.02):
    """About as good as the best of eight rates, which lie on both sides of it."""
    train, test = nn.data.digits()
    found = nn.find_learning_rate(
        net, train, loss=CROSS_ENTROPY, optimizer=optimizer, batch_size=32, key=KEY
    )
    rates = [found.suggestion, *np.geomspace(1e-4, 1, 8)]
    own, *others = sweep(net, optimizer, train, test, rates, epochs)
    assert own >= max(others) - tolerance
    assert min(others) < max(others) - 0.2  # it does matter
    return found


def test_suggestion_trains_as_well_as_the_best_of_a_sweep(tmp_path):
    found = check_against_a_sweep(MLP, optax.adam, epochs=5)
    assert str(found) == found.reason
    title = "RangeTest of 200 learning rates from 1e-06 to 10"
    assert repr(found) == f"{title}\n  {found.reason}"
    shown = found._repr_html_()
    assert title in shown and shown.count("<tr>") == 9 and "1e-06" in shown
    assert f"learning rate {found.suggestion:.2g}" in found.reason
    figure = found.plot(tmp_path / "new" / "range.png")
    (axes,) = figure.axes
    assert axes.get_xscale() == "log"
    assert found.suggestion in axes.lines[-1].get_xdata()
    assert axes.get_title() == (
        f"suggested rate {found.suggestion:.2g}: a tenth of the largest at which the "
        "loss stays low"
    )
    assert (tmp_path / "new" / "range.png").stat().st_size > 5000


@pytest.mark.quick
@pytest.mark.slow
@pytest.mark.parametrize("optimizer", [optax.sgd, momentum, optax.adam])
@pytest.mark.parametrize("net", [MLP, CNN], ids=["mlp", "cnn"])
def test_suggestions_for_other_networks_and_optimizers(net, optimizer):
    check_against_a_sweep(net, optimizer, 20 if net is MLP else 10, tolerance=0.03)


def test_a_step_is_a_step_of_training():
    """The losses are those of plain steps with each rate, in the order of `fit`."""
    found = find(optimizer=optax.adam, steps=20, low=1e-3, high=1.0)
    np.testing.assert_allclose(found.rates, np.geomspace(1e-3, 1, 20), rtol=1e-6)
    state = nn.train_state(NET, optax.adam(1.0), X[:1], key=KEY)
    losses = []

    @jax.jit
    def step(state, batch, rate):
        return nn.train_step(NET, CROSS_ENTROPY, optax.adam(rate))(state, batch)

    for i, rate in enumerate(found.rates):
        order = np.asarray(nn.train.epoch_order(KEY, i // 4, 70))
        rows = order[i % 4 * 16 :][:16]
        state, logs = step(state, (X[rows], Y[rows]), rate)
        losses.append(float(logs["loss"]))
    np.testing.assert_allclose(found.losses, losses, rtol=1e-4)


def test_smoothing_is_a_debiased_average():
    losses = np.array([3.0, 1.0, 2.0])
    kept = range_test.KEPT
    expected = [3, (3 * kept + 1) / (kept + 1), None]
    expected[2] = (3 * kept**2 + kept + 2) / (kept**2 + kept + 1)
    np.testing.assert_allclose(range_test._smooth(losses), expected)


def conclude(losses):
    return range_test._conclude(np.geomspace(1e-4, 1, len(losses)), np.array(losses))


def test_reading_of_a_textbook_curve():
    """Flat, falling, good for a while, rising: a tenth of the last good rate."""
    rates = np.geomspace(1e-4, 1, 401)
    losses = np.interp(np.log10(rates), [-4, -3, -2, -1, 0], [2, 2, 1, 1, 9])
    found = range_test._conclude(rates, losses)
    assert 0.009 < found.suggestion < 0.012
    assert len(found.smoothed) < 401  # it was cut where the loss was far above its best
    assert found.smoothed.max() <= 4 * found.smoothed.min()


@pytest.mark.parametrize(
    "losses, reason",
    [
        ([np.nan] * 40, "diverges at the lowest rate, 0.0001"),
        ([1.0] * 40, "does not fall at any rate from 0.0001 to 1"),
        ([1.0] * 20 + [2.0, np.inf] * 10, "does not fall before it diverges at"),
        (
            1 + 0.1 * np.random.default_rng(0).standard_normal(200),
            "does not fall at any",
        ),
        ([0.0] * 40, "does not fall at any rate"),
    ],
)
def test_no_suggestion_is_explained(losses, reason, tmp_path):
    found = conclude(losses)
    assert found.suggestion is None
    assert found.reason.startswith("no suggestion: ") and reason in found.reason
    found.plot(tmp_path / "none.png")


def test_a_loss_that_never_rises_asks_for_a_higher_rate():
    found = conclude(np.linspace(2, 0.1, 50))
    assert found.suggestion == 0.1
    assert "it has not risen at 1, more may do (high=)" in found.reason


def test_everything_diverges_and_nothing_learns_in_earnest():
    net = nn.Dense(1)
    data = (1e18 * X, X[:, :1])
    options = {"net": net, "loss": nn.losses.mean_squared_error}
    assert find(data, **options).suggestion is None
    constant = nn.Sequential(jnp.zeros_like, nn.Dense(3, bias=False))
    assert find(net=constant).suggestion is None


def test_augmentation_is_applied():
    def blind(key, x):
        return jnp.zeros_like(x)

    net = nn.Dense(3, bias=False)
    losses = find(net=net, augment=blind, steps=20).losses
    np.testing.assert_allclose(losses, np.log(3), rtol=1e-6)


@pytest.mark.parametrize(
    "options, error, message",
    [
        ({"low": 0.0}, ValueError, "low must be a number above 0, got 0.0"),
        ({"high": np.inf}, ValueError, "high must be a number above 0, got inf"),
        ({"low": 1.0, "high": 0.1}, ValueError, "high must be above low"),
        ({"steps": 5}, ValueError, "steps must be an int of 20 or more, got 5"),
        (
            {"optimizer": optax.sgd(0.1)},
            TypeError,
            "must be a function from a",
        ),
        (
            {"optimizer": lambda rate: rate},
            TypeError,
            "must be a function from a",
        ),
        ({"batch_size": 0}, ValueError, "batch_size must be a positive int, got 0"),
        ({"batch_size": None}, TypeError, "batch_size is needed to train on arrays"),
        ({"key": 3}, TypeError, "key must be a random key"),
        (
            {"loss": nn.losses.cross_entropy},
            ValueError,
            "^find_learning_rate: loss .* the network ends in raw",
        ),
        ({"data": [(X, Y)]}, TypeError, "data must be arrays"),
        (
            {"data": (X, Y + 1)},
            ValueError,
            "^find_learning_rate: data targets must be a class from 0 to 2",
        ),
        ({"data": (X,)}, TypeError, "^find_learning_rate: data must be a tuple"),
        ({"net": 3}, TypeError, "find_learning_rate"),
    ],
)
def test_what_is_wrong_is_said_before_compiling(options, error, message):
    with pytest.raises(error, match=message):
        find(**options)
