"""The epoch as a pure function: order, vmap, what the program holds."""

from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from common import CROSS_ENTROPY, KEY, NET, SGD, X, Y, by_hand, fit
from jax.test_util import check_grads

import jaxnn as nn
from jaxnn.ops.shuffle import SORTED, permutation
from jaxnn.train.epoch import run_steps, stats_shapes, zero_totals
from jaxnn.train.state import copy

STEP = nn.train_step(NET, CROSS_ENTROPY, SGD, metrics={"accuracy": nn.metrics.accuracy})
DATA = (jnp.asarray(X), jnp.asarray(Y))


@pytest.mark.parametrize(
    ("rows", "error", "said"),
    [
        (jnp.array([0, 70]), ValueError, "^train_epoch: rows must be from 0 to 69"),
        (np.array([-1, 3]), ValueError, "got -1 to 3"),
        (np.arange(70) < 5, TypeError, "of a mask, take np.flatnonzero"),
        (np.zeros((2, 2), int), TypeError, r"^train_epoch: rows must be ints \[M\]"),
    ],
)
def test_rows_that_are_not_there(rows, error, said):
    with pytest.raises(error, match=said):
        nn.train_epoch(STEP, start(KEY), DATA, batch_size=2, rows=rows)


def start(key):
    return nn.train_state(NET, SGD, X[:16], key=key)


@pytest.mark.quick
def test_vmap_of_an_epoch_over_8_seeds_is_8_runs():
    keys = jax.random.split(KEY, 8)
    states = jax.vmap(start)(keys)

    @jax.jit
    @jax.vmap
    def run(state):
        return nn.train_epoch(STEP, state, DATA, batch_size=16)

    states, logs = run(states)
    for i, key in enumerate(keys):
        one, history = fit(key=key, epochs=1, metrics={"accuracy": nn.metrics.accuracy})
        own = jax.tree.map(lambda a, i=i: a[i], states.params)
        chex.assert_trees_all_close(own, one.params, rtol=2e-4, atol=1e-5)
        np.testing.assert_allclose(logs["loss"][i], history["loss"][0], rtol=1e-4)
        np.testing.assert_allclose(
            logs["accuracy"][i], history["accuracy"][0], rtol=1e-5
        )


def test_train_epoch_is_an_epoch_of_fit():
    state = start(KEY)
    for _ in range(2):
        state, _ = jax.jit(lambda s: nn.train_epoch(STEP, s, DATA, batch_size=16))(
            state
        )
    chex.assert_trees_all_close(
        state.params, fit(epochs=2)[0].params, rtol=1e-4, atol=1e-6
    )


def test_without_shuffling_batches_come_in_order():
    state, history = fit(shuffle=False)
    expected, losses = by_hand(3, shuffle=False)
    chex.assert_trees_all_close(state.params, expected.params, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(history["loss"], losses, rtol=1e-5)


@pytest.mark.parametrize("n", [1, 2, 5, SORTED, SORTED + 1, 60_000, 65_536, 70_001])
def test_the_order_holds_each_example_once(n):
    order = np.asarray(jax.jit(permutation, static_argnums=1)(KEY, n))
    assert order.dtype == np.int32
    assert np.array_equal(np.sort(order), np.arange(n))


def test_the_order_changes_with_epoch_and_key():
    a, b = (nn.train.epoch_order(KEY, epoch, 70) for epoch in (0, 1))
    c = nn.train.epoch_order(jax.random.key(9), 0, 70)
    assert not np.array_equal(a, b)
    assert not np.array_equal(a, c)


def test_orders_of_many_examples_are_random():
    """Chi-squared of places, and no trace of the old neighborhood, over 200 keys."""
    n, bins = SORTED + 904, 10
    draw = jax.jit(jax.vmap(lambda key: permutation(key, n)))
    orders = np.asarray(draw(jax.random.split(KEY, 200)))
    tenth = orders * bins // n
    for column in (0, 1, n // 2, n - 1):  # where the example of this place goes
        counts = np.bincount(tenth[:, column], minlength=bins)
        assert ((counts - 20) ** 2 / 20).sum() < 33.7  # 0.01 % for 9 degrees
    table = np.zeros((bins, bins))
    np.add.at(table, (tenth[:, :-1].ravel(), tenth[:, 1:].ravel()), 1)
    expected = table.sum() / bins**2
    assert ((table - expected) ** 2 / expected).sum() < 160  # 99 degrees: 0.01 %
    steps = np.abs(np.diff(orders[:, :-1], axis=1))
    assert abs(steps.mean() / (n / 3) - 1) < 0.01  # the mean distance of random numbers
    fixed = (orders == np.arange(n)).sum(1)
    assert 0.7 < fixed.mean() < 1.3  # one fixed point on average


def test_the_program_is_one_loop_with_donated_state_and_data_as_arguments():
    state = start(KEY)
    stats = stats_shapes(STEP, state, DATA)
    totals = zero_totals(STEP, stats, 4, 16)
    order = jnp.arange(70, dtype=jnp.int32)
    given = (state, totals, DATA, order, 0, 4)
    alone = partial(run_steps.function, step=STEP, batch_size=16)
    traced = jax.jit(alone, donate_argnums=run_steps.donate).trace(*given)
    assert str(traced.jaxpr).count(" while[") == 1
    lowered = traced.lower()
    text = lowered.as_text()
    donated = [info.donated for info in jax.tree.leaves(lowered.args_info)]
    own = len(jax.tree.leaves((state, totals)))
    assert donated == [True] * own + [False] * (len(donated) - own)
    constants = [line for line in text.splitlines() if "stablehlo.constant" in line]
    assert not any("70x6" in line for line in constants)


def test_every_length_is_served_by_one_program():
    events = []

    def listen(name, seconds, fun_name="", **_):
        if "backend_compile" in name and "run_steps" in fun_name:
            events.append(fun_name)

    stats = stats_shapes(STEP, start(KEY), DATA)
    order = jnp.arange(70, dtype=jnp.int32)
    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        for first, last in ((0, 4), (0, 1), (1, 3)):
            totals = zero_totals(STEP, stats, 4, 16)
            run_steps(
                copy(start(KEY)),
                totals,
                DATA,
                order,
                first,
                last,
                step=STEP,
                batch_size=16,
            )
        assert len(events) <= 1  # none if an earlier test compiled it
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


@pytest.mark.slow
def test_gradients_of_a_whole_epoch():
    """A run is differentiable: the loss after it, by the learning rate."""
    net = nn.Sequential(nn.Dense(4), jnp.tanh, nn.Dense(3))

    def final_loss(rate):
        optimizer = optax.sgd(rate)
        step = nn.train_step(net, CROSS_ENTROPY, optimizer)
        state = nn.train_state(net, optimizer, x[:20], key=KEY)
        for i in range(3):
            batch = x[20 * i : 20 * (i + 1)], y[20 * i : 20 * (i + 1)]
            state, logs = step(state, batch)
        return logs["loss"]

    with jax.enable_x64(True):
        x, y = jnp.asarray(X, jnp.float64), jnp.asarray(Y)
        check_grads(final_loss, (jnp.float64(0.3),), order=2, modes=["rev"], eps=1e-5)


def test_train_epoch_takes_numpy_data_and_checks_the_batch_size():
    _, logs = nn.train_epoch(STEP, start(KEY), (X, Y), batch_size=35)
    assert np.isfinite(logs["loss"])
    with pytest.raises(ValueError, match="batch_size"):
        nn.train_epoch(STEP, start(KEY), (X, Y), batch_size=0)


def test_logs_of_a_step_are_those_of_its_batch():
    state, logs = STEP(start(KEY), DATA)
    outputs, _ = NET.apply(
        start(KEY).params, {}, DATA[0], key=STEP.key(start(KEY)), train=True
    )
    np.testing.assert_allclose(
        logs["loss"], CROSS_ENTROPY(outputs, DATA[1]).mean(), rtol=1e-5
    )
    np.testing.assert_allclose(
        logs["accuracy"], (np.asarray(outputs).argmax(1) == Y).mean(), rtol=1e-6
    )
    assert int(state.step) == 1


def test_an_equal_step_is_equal():
    again = nn.train_step(
        NET, CROSS_ENTROPY, SGD, metrics={"accuracy": nn.metrics.accuracy}
    )
    assert again == STEP
    assert hash(again) == hash(STEP)
    assert nn.train_step(NET, CROSS_ENTROPY, SGD) != STEP
