"""Several players: whose parameters move, when, and from where."""

import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxnn as nn
from jaxnn.train import Player, players

same = chex.assert_trees_all_equal
X = np.random.default_rng(0).normal(2.0, 0.5, (96, 3)).astype(np.float32)
KEY, ADAM = jax.random.key(0), optax.adam(1e-2)


class Game(nn.Composite):
    generator: nn.Layer = nn.Sequential(nn.Dense(4), nn.BatchNorm(), nn.Dense(3))
    critic: nn.Layer = nn.Sequential(nn.Dense(4), jnp.tanh, nn.Dense(1))

    def forward(self, run, z):
        return run("critic", run("generator", z))


def fakes(run, x):
    return run("generator", jax.random.normal(run.key, (len(x), 2)))


def critic(run, x):
    gap = run("critic", fakes(run, x)) - run("critic", x)
    return jax.nn.softplus(gap)[:, 0], {"gap": gap[:, 0]}


def generator(run, x):
    return jax.nn.softplus(-run("critic", fakes(run, x)))[:, 0]


def step_of(every=2, optimizer=ADAM, **options):
    return players(
        Game(),
        critic=Player(critic, ADAM, params="critic/*"),
        generator=Player(generator, optimizer, params="generator", every=every),
        **options,
    )


def start(step):
    return step.start(X[:1, :2], key=KEY)


def test_each_moves_its_own_parameters_when_it_is_its_turn():
    step = step_of(every=3)
    states = [start(step)]
    for _ in range(6):
        states.append(jax.jit(step)(states[-1], X)[0])
    for i, (old, new) in enumerate(itertools.pairwise(states)):
        moved = {
            name: not np.array_equal(
                *(s.params[name]["dense_1"]["w"] for s in (old, new))
            )
            for name in ("critic", "generator")
        }
        assert moved == {"critic": True, "generator": i % 3 == 2}
        assert int(new.step) == i + 1


def test_a_step_is_what_one_would_write():
    """In turn, each from where the one before has moved its parameters."""
    step, net = step_of(every=1, optimizer=optax.sgd(0.1)), Game()
    step = players(
        net,
        critic=Player(critic, optax.sgd(0.1), params="critic"),
        generator=Player(generator, optax.sgd(0.1), params="generator"),
    )
    state = start(step)
    after, logs = jax.jit(step)(state, X)

    def loss(own, name, others, net_state):
        from jaxnn.core import fold_in

        one = nn.train_step(net, objective=globals()[name], optimizer=ADAM)
        key = one.key(state._replace(key=fold_in(state.key, name)))
        outcome, net_state = one.net.apply(
            {**others, name: own}, net_state, nn.train.objective.Example(X),
            key=key, train=True,
        )  # fmt: skip
        return outcome.values.mean(), net_state

    params, net_state = state.params, state.state
    for name in ("critic", "generator"):
        found, grads = jax.value_and_grad(loss, has_aux=True)(
            params[name], name, params, net_state
        )
        value, net_state = found
        moved = jax.tree.map(lambda w, g: w - 0.1 * g, params[name], grads)
        params = {**params, name: moved}
        assert float(logs[f"{name}_loss"]) == pytest.approx(float(value), rel=1e-5)
    chex.assert_trees_all_close(after.params, params, rtol=1e-5, atol=1e-6)
    chex.assert_trees_all_close(after.state, net_state, rtol=1e-5)


def test_fit_resumes_in_mid_cycle_bit_for_bit(tmp_path):
    step = step_of(every=4)  # three steps an epoch
    state, options = start(step), {"batch_size": 32}
    full, history = nn.fit(step, X, state=state, epochs=4, **options)
    half, _ = nn.fit(step, X, state=state, epochs=1, **options)
    nn.save(tmp_path / "half", half)
    half = nn.load(tmp_path / "half", like=half)
    rest, logs = nn.fit(step, X, state=half, epochs=4, **options)
    same(rest, full)
    for name in logs:
        np.testing.assert_array_equal(logs[name], history[name][1:])


def test_the_history_has_each_players_losses_and_logs():
    step = step_of()
    _, history = nn.fit(step, X, state=start(step), epochs=2, batch_size=32)
    assert list(history) == ["critic_loss", "critic_gap", "generator_loss"]
    assert np.isfinite([history[name] for name in history]).all()


def test_a_generators_average_is_kept():
    step = step_of(every=1, optimizer=nn.optimizers.ema(ADAM, 0.9))
    state, _ = nn.fit(step, X, state=start(step), epochs=2, batch_size=32)
    average = nn.optimizers.averaged(state).params
    same(average["critic"], state.params["critic"])
    assert not np.array_equal(
        average["generator"]["dense_1"]["w"], state.params["generator"]["dense_1"]["w"]
    )


def test_what_no_player_trains_is_frozen_and_said_so():
    step = players(Game(), critic=Player(critic, ADAM, params="critic"))
    with pytest.warns(UserWarning, match="no player trains generator/.*: frozen"):
        state = start(step)
    after, _ = nn.fit(step, X, state=state, epochs=1, batch_size=32)
    same(after.params["generator"], state.params["generator"])
    same(after.state, state.state)  # the statistics too


def test_a_value_that_is_not_finite_names_the_player_and_the_layer():
    def bad(run, x):
        return jnp.log(-1.0 - run("generator", x[:, :2]) ** 2)[:, 0]

    step = players(
        Game(),
        critic=Player(critic, ADAM, params="critic"),
        generator=Player(bad, ADAM, params="generator"),
    )
    with pytest.raises(nn.NonFiniteError, match="player generator, the loss"):
        nn.fit(step, X, state=start(step), epochs=1, batch_size=32)


def test_epochs_and_runs_are_pure_functions():
    step = step_of(every=1)
    state = start(step)
    full, history = nn.fit(step, X, state=state, epochs=2, batch_size=32)
    found, logs = nn.train.run(step, state, X, epochs=2, batch_size=32)
    chex.assert_trees_all_close(found.params, full.params, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(logs["critic_loss"], history["critic_loss"], rtol=1e-5)


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        (("critic", "critics"), "generator: pattern 'critics' matches no parameter"),
        (("critic", "*"), "must have no parameter in common, but have critic/"),
        (("*", "*"), "must have no parameter in common"),
    ],
)
def test_shares_that_do_not_work(shares, message):
    step = players(
        Game(),
        critic=Player(critic, ADAM, params=shares[0]),
        generator=Player(generator, ADAM, params=shares[1]),
    )
    with pytest.raises(ValueError, match=message):
        start(step)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Player(critic, ADAM, every=0), "every must be a positive int"),
        (lambda: Player(critic, ADAM, params=()), "params must be a pattern"),
        (lambda: Player("critic", ADAM), "objective must be a function"),
        (lambda: Player(critic, None), "optimizer must be an Optax optimizer"),
        (lambda: players(Game()), "give at least one"),
        (lambda: players(Game(), critic=critic), "must be a nn.train.Player"),
        (
            lambda: players(nn.ensemble(Game(), 2), critic=Player(critic, ADAM)),
            "a single network, got an ensemble",
        ),
        (lambda: nn.fit(step_of(), X, epochs=1, batch_size=8, key=KEY), "step.start"),
        (
            lambda: nn.fit(
                step_of(), X, epochs=1, batch_size=8,
                state=nn.train_state(Game(), ADAM, X[:1, :2], key=KEY),
            ),
            "state must be that of these players",
        ),
    ],
)  # fmt: skip
def test_arguments_that_do_not_work(make, message):
    with pytest.raises((TypeError, ValueError), match=message):
        make()
