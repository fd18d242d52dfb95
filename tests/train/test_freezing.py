# SPDX-License-Identifier: Apache-2.0
"""Freezing and partition: what rests and what trains, statistics included."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxnn as nn
from jaxnn import trees
from jaxnn.train.freezing import frozen_patterns
from jaxnn.train.gradients import loss_gradients

X = jax.random.normal(jax.random.key(1), (8, 4)) * 2 + 3
Y = jnp.arange(8) % 2
KEY = jax.random.key(0)
LOSS = nn.losses.softmax_cross_entropy
SGD = optax.sgd(0.1)
PLAIN = nn.Sequential(body=nn.Sequential(fc=nn.Dense(5)), head=nn.Dense(2))
HEAD = nn.Sequential(norm=nn.BatchNorm(), fc=nn.Dense(2))
NET = nn.Sequential(body=nn.Sequential(fc=nn.Dense(4), norm=nn.BatchNorm()), head=HEAD)
KINDS = nn.Sequential(
    body=nn.Sequential(
        fc=nn.SpectralNorm(nn.Dense(4)),
        blocks=nn.Repeat(nn.Sequential(norm=nn.BatchNorm()), 2),
        norm=nn.Remat(nn.BatchNorm(scale=False, offset=False)),
    ),
    head=HEAD,
)


def updated(optimizer):
    params, _ = PLAIN.init(KEY, X)
    grads = jax.tree.map(jnp.ones_like, params)
    updates, _ = optimizer.update(grads, optimizer.init(params), params)
    return trees.paths(updates)


def moved(optimizer, net=NET):
    """The layers of the network whose state is another one after a step."""
    start = nn.train_state(net, optimizer, X, key=KEY)
    step = jax.jit(nn.train_step(net, LOSS, optimizer).advance)
    before, after = start.state, step(start, (X, Y))[0].state
    changed = jax.tree.map(lambda a, b: not np.array_equal(a, b), before, after)
    return {p.rpartition("/")[0] for p, c in trees.paths(changed).items() if c}


@pytest.mark.quick
def test_freeze_leaves_parameters_alone():
    updates = updated(nn.freeze(optax.sgd(0.1, momentum=0.9), "body", "head/b"))
    assert {path for path, u in updates.items() if np.any(u)} == {"head/w"}


def test_what_two_patterns_freeze_is_frozen():
    updates = updated(nn.freeze(SGD, "body", "*/b"))
    assert {path for path, u in updates.items() if np.any(u)} == {"head/w"}


def test_partition_gives_each_group_its_optimizer():
    groups = {"*/b": optax.sgd(1.0), "*/w": optax.sgd(0.5)}
    for path, u in updated(nn.partition(groups)).items():
        chex.assert_trees_all_close(
            u, jnp.full_like(u, -1.0 if path[-1] == "b" else -0.5)
        )


@pytest.mark.parametrize(
    ("optimizer", "words"),
    [
        (lambda: nn.freeze(SGD, "bdy"), "nearest"),
        (lambda: nn.partition({"head": SGD}), "body/fc"),
        (
            lambda: nn.partition({"head": SGD, "*/w": optax.sgd(1.0)}, optax.sgd(1)),
            "head/w",
        ),
    ],
)
def test_patterns_must_match_every_parameter_once(optimizer, words):
    params, _ = PLAIN.init(KEY, X)
    with pytest.raises(ValueError, match=words):
        optimizer().init(params)


def test_freeze_needs_a_pattern():
    with pytest.raises(ValueError, match="at least one pattern"):
        nn.freeze(SGD)


def test_frozen_parameters_stay_through_fit():
    optimizer = nn.freeze(SGD, "body")
    kw = {"loss": LOSS, "optimizer": optimizer, "key": KEY}
    state, _ = nn.fit(PLAIN, (X, Y), epochs=2, batch_size=1, **kw)
    start = nn.train_state(PLAIN, optimizer, X, key=KEY)
    chex.assert_trees_all_equal(state.params["body"], start.params["body"])
    assert not jnp.array_equal(state.params["head"]["w"], start.params["head"]["w"])


@pytest.mark.parametrize(
    ("optimizer", "expected"),
    [
        (SGD, {"body/fc", "body/blocks/block/norm", "body/norm", "head/norm"}),
        (nn.freeze(SGD, "body"), {"head/norm"}),
        (nn.freeze(SGD, "body/blocks"), {"body/fc", "body/norm", "head/norm"}),
    ],
    ids=["none", "body", "blocks"],
)
def test_every_kind_of_statistic_is_frozen_by_its_path(optimizer, expected):
    assert moved(optimizer, KINDS) == expected


@pytest.mark.parametrize(
    "optimizer",
    [
        nn.freeze(SGD, "body"),
        nn.freeze(SGD, "body/*"),
        nn.partition({"body": optax.set_to_zero()}, default=SGD),
        nn.partition({"head": SGD, "body": nn.freeze(SGD, "body")}),
        nn.optimizers.ema(nn.freeze(SGD, "body"), 0.9),
        nn.optimizers.weight_decay(nn.freeze(SGD, "body"), 1e-3),
        optax.MultiSteps(optax.chain(optax.clip(1.0), nn.freeze(SGD, "body")), 2),
    ],
    ids=["freeze", "glob", "zero", "inside", "ema", "decay", "chain"],
)
def test_the_statistics_of_a_frozen_body_stay(optimizer):
    assert moved(optimizer) == {"head/norm"}


def test_freezing_some_parameters_leaves_statistics_moving():
    assert moved(nn.freeze(SGD, "*/w")) == {"body/norm", "head/norm"}


def test_the_members_of_an_ensemble_keep_them_too():
    assert moved(nn.freeze(SGD, "body"), nn.ensemble(NET, 2)) == {"head/norm"}


def test_a_sweep_keeps_them():
    result = nn.sweep(
        NET,
        (X, Y),
        over={"learning_rate": [0.01, 0.1]},
        optimizer=lambda learning_rate: nn.freeze(optax.sgd(learning_rate), "body"),
        loss=LOSS,
        validation=(X, Y),
        epochs=1,
        batch_size=4,
        key=KEY,
    )
    state = result.state.state
    np.testing.assert_array_equal(state["body"]["norm"]["mean"], np.zeros(4))
    assert np.any(state["head"]["norm"]["mean"])


def test_a_frozen_body_trains_on_what_it_puts_out_in_evaluation():
    """A step on the whole network is one on the outputs of the frozen body."""
    _, state = NET.apply(*NET.init(KEY, X), X, train=True)
    optimizer = nn.freeze(SGD, "body")
    start = nn.train_state(NET, optimizer, X, key=KEY)._replace(state=state)
    whole, _ = jax.jit(nn.train_step(NET, LOSS, optimizer))(start, (X, Y))
    body, head = NET.children()["body"], NET.children()["head"]
    features, _ = body.apply(start.params["body"], state["body"], X)
    alone = nn.train_state(head, SGD, features, key=KEY)
    alone = alone._replace(params=start.params["head"], state=state["head"])
    part, _ = jax.jit(nn.train_step(head, LOSS, SGD))(alone, (features, Y))
    given = (whole.params["head"], whole.state["head"]), (part.params, part.state)
    chex.assert_trees_all_close(*given, rtol=1e-4, atol=1e-6)
    chex.assert_trees_all_equal(whole.state["body"], state["body"])


def test_the_gradient_to_look_at_is_that_of_the_step():
    optimizer = nn.freeze(SGD, "body")
    state = nn.train_state(NET, optimizer, X, key=KEY)
    gradients = loss_gradients(NET, state, (X, Y), LOSS)
    after, _ = nn.train_step(NET, LOSS, optimizer)(state, (X, Y))
    step = jax.tree.map(lambda a, b: (a - b) / 0.1, state.params, after.params)
    chex.assert_trees_all_close(gradients["head"], step["head"], rtol=1e-3, atol=1e-5)


def test_a_loop_of_ones_own_freezes_by_hand():
    params, state = NET.init(KEY, X)
    still = nn.freeze_statistics(NET, state, "body")
    _, after = still.apply(params, state, X, train=True)
    chex.assert_trees_all_equal(after["body"], state["body"])
    assert not jnp.array_equal(after["head"]["norm"]["mean"], jnp.zeros(4))
    assert nn.freeze_statistics(NET, state) is NET
    assert nn.freeze_statistics(NET, state, "head/fc") is NET
    assert still == nn.freeze_statistics(NET, state, "body")
    norm = nn.BatchNorm()
    alone = nn.freeze_statistics(norm, norm.init(KEY, X)[1], "*")
    params, state = norm.init(KEY, X)
    _, after = alone.apply(params, state, X, train=True)
    chex.assert_trees_all_equal(after, state)


def test_dropout_of_a_frozen_body_still_drops_and_a_memory_goes_on():
    net = nn.Sequential(body=nn.Sequential(nn.lstm(4), nn.Dropout(0.5)))
    live, x = nn.stateful(net), jnp.ones((2, 3, 4))
    params, _ = net.init(KEY, x)
    state = nn.zero_carry(live, x)
    still = nn.freeze_statistics(live, state, "body")
    y, after = still.apply(params, state, x, key=KEY, train=True)
    assert (y == 0).any()
    assert any(np.any(a) for a in jax.tree.leaves(after))


def test_a_run_with_a_frozen_body_resumes_exactly(tmp_path):
    optimizer = nn.optimizers.ema(nn.freeze(optax.adam(0.1), "body"), 0.9)
    kw = {"loss": LOSS, "optimizer": optimizer, "batch_size": 4, "key": KEY}
    whole, _ = nn.fit(NET, (X, Y), epochs=3, **kw)
    part, _ = nn.fit(NET, (X, Y), epochs=1, **kw)
    nn.save(tmp_path / "part", part)
    like = nn.train_state(NET, optimizer, X, key=jax.random.key(5))
    part = nn.load(tmp_path / "part", like=like)
    assert frozen_patterns(part.opt_state) == ("body",)
    again, _ = nn.fit(NET, (X, Y), epochs=3, state=part, **kw)
    chex.assert_trees_all_equal(again.params, whole.params)
    chex.assert_trees_all_equal(again.state, whole.state)


def test_refreshed_statistics_leave_frozen_ones():
    optimizer = nn.freeze(SGD, "body")
    state = nn.train_state(NET, optimizer, X, key=KEY)
    fresh = nn.optimizers.refresh_statistics(NET, state, X, batch_size=4)
    chex.assert_trees_all_equal(fresh.state["body"], state.state["body"])
    assert np.any(fresh.state["head"]["norm"]["mean"])


def test_a_last_batch_of_one_is_no_trouble_for_frozen_statistics():
    net = nn.Sequential(body=nn.BatchNorm(), head=nn.Dense(2))
    given = {"loss": LOSS, "epochs": 1, "batch_size": 7, "key": KEY}
    nn.fit(net, (X, Y), optimizer=nn.freeze(SGD, "body"), **given)
    with pytest.raises(ValueError, match="more than one value per channel"):
        nn.fit(net, (X, Y), optimizer=SGD, **given)


def test_frozen_statistics_do_not_lose_the_lengths():
    net = nn.Sequential(nn.BatchNorm(), nn.GlobalAvgPool())
    x = jnp.arange(24.0).reshape(2, 4, 3)
    padded = x, jnp.array([4, 2])
    params, state = net.init(jax.random.key(0), padded)
    frozen = nn.freeze_statistics(net, state, "batch_norm_1")
    chex.assert_trees_all_equal(
        frozen.apply(params, state, padded, train=True)[0],
        net.apply(params, state, padded)[0],
    )
