"""Agents: steps like any other, exact where they can be held against something."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxnn as nn
from jaxnn.rl.dqn import q_error
from jaxnn.rl.environment import Seen
from jaxnn.rl.ppo import Clipped
from jaxnn.rl.replay import Replay

KEY = jax.random.key(0)
GAME = nn.rl.TicTacToe()
ADAM = optax.adam(1e-3)
ACTOR = nn.rl.ActorCritic(nn.Dense(2), nn.Dense(1))
SMALL = {
    "dqn": lambda key: nn.rl.dqn(
        *(nn.rl.CartPole(), nn.Dense(2), ADAM), key=key, envs=2, capacity=64, warmup=16,
        batch_size=8, steps=2, updates=2,
    ),
    "ppo": lambda key: nn.rl.ppo(
        *(nn.rl.CartPole(), ACTOR, ADAM), key=key, envs=2, horizon=8, epochs=2,
        minibatches=2, normalize=True,
    ),
    "ppo_box": lambda key: nn.rl.ppo(
        nn.rl.Pendulum(), nn.rl.ActorCritic(nn.rl.Gaussian(1), nn.Dense(1)), ADAM,
        key=key, envs=2, horizon=8, minibatches=2,
    ),
    "reinforce": lambda key: nn.rl.reinforce(
        nn.rl.CartPole(), ACTOR, ADAM, key=key, envs=2, horizon=30
    ),
    "sac": lambda key: nn.rl.sac(
        *(nn.rl.Pendulum(), nn.Dense(2), ADAM), critic=nn.Dense(1), key=key, envs=2,
        capacity=64, warmup=16, batch_size=8, updates=2,
    ),
    "alphazero": lambda key: nn.rl.alphazero(
        GAME, nn.rl.ActorCritic(nn.Dense(9), nn.Dense(1), body=nn.Flatten()), ADAM,
        key=key, games=4, simulations=4, capacity=80, batch_size=8,
    ),
}  # fmt: skip
each = pytest.mark.parametrize("name", SMALL)


@each
def test_a_resumed_run_is_the_uninterrupted_one_bit_for_bit(name, tmp_path):
    step, start = SMALL[name](KEY)
    plan = {"steps_per_epoch": 4, "progress": False}
    whole, _ = nn.fit(step, None, state=start, epochs=3, **plan)
    part, history = nn.fit(step, None, state=start, epochs=1, **plan)
    nn.save(tmp_path / "run.safetensors", part)
    part = nn.load(tmp_path / "run.safetensors", like=start)
    part, _ = nn.fit(step, None, state=part, epochs=3, history=history, **plan)
    chex.assert_trees_all_equal(jax.tree.map(bits, part), jax.tree.map(bits, whole))


@each
def test_four_keys_at_once_are_four_runs(name):
    keys = jax.random.split(KEY, 4)
    step, _ = SMALL[name](KEY)

    def run(key):
        state = step.start(key) if name == "alphazero" else SMALL[name](key)[1]
        return jax.lax.scan(lambda s, _: step(s, None), state, length=4)

    together, logs = jax.jit(jax.vmap(run))(keys)
    assert logs["loss" if "loss" in logs else "critic_loss"].shape == (4, 4)
    alone = jax.jit(run)
    for i in (0, 3):
        one = jax.tree.map(lambda a, i=i: a[i], together.params)
        chex.assert_trees_all_close(one, alone(keys[i])[0].params, rtol=1e-3, atol=2e-5)


@each
def test_an_agent_is_a_spec_that_compiles_once(name, compiled):
    step, state = SMALL[name](KEY)
    again, _ = SMALL[name](jax.random.key(1))
    assert step == again and hash(step) == hash(again)
    nn.fit(step, None, state=state, steps_per_epoch=2, epochs=1, progress=False)
    compiled.clear()
    nn.fit(again, None, state=state, steps_per_epoch=2, epochs=1, progress=False)
    assert "run_steps" not in compiled


@pytest.mark.parametrize("name", [n for n in SMALL if n != "alphazero"])
def test_the_policy_gives_actions_of_the_environment(name):
    step, state = SMALL[name](KEY)
    policy, (_, first) = step.policy(state), step.env.reset(KEY)
    wanted = step.env.actions.sample(KEY)
    action = policy(first, KEY)
    assert action.shape == wanted.shape and action.dtype == wanted.dtype
    np.testing.assert_array_equal(policy(first, jax.random.key(1)), action)
    step.env.actions.check("test", action)


def bits(a):
    return jax.random.key_data(a) if jnp.issubdtype(a.dtype, jax.dtypes.prng_key) else a


def test_a_replay_gives_what_was_put_in_and_pieces_in_order():
    def at(i):
        pair = jnp.array([i, i + 100.0])
        return Seen(pair, pair, pair, pair, pair > 1e9, pair > 1e9)

    memory = Replay.empty(at(0), 5)
    for i in range(3):
        memory = memory.add(at(i))
    sample = jax.jit(Replay.sample, static_argnums=(2, 3))
    got = sample(memory, KEY, 200, 2).reward
    assert {*got[0].tolist()} == {0, 1, 100, 101}  # a piece of two begins there
    np.testing.assert_array_equal(got[1], got[0] + 1)
    for i in range(3, 12):
        memory = memory.add(at(i))
    got = sample(memory, KEY, 400, 3).reward
    assert {*got[0].tolist()} == {7, 8, 9, 107, 108, 109}  # the last five are held
    np.testing.assert_array_equal(got[2], got[0] + 2)


def test_ppos_loss_is_a_loops():
    draw = np.random.default_rng(0)
    x, old = draw.normal(size=(6, 3)), draw.normal(size=(6, 2))
    x, old = x.astype(np.float32), old.astype(np.float32)
    action = draw.integers(0, 2, 6).astype(np.int32)
    gain, aim = draw.normal(size=(2, 6)).astype(np.float32)
    net = nn.rl.ActorCritic(nn.Dense(2), nn.Dense(1))
    log_p = np.log(np.exp(old) / np.exp(old).sum(1, keepdims=True))
    log_p = log_p[np.arange(6), action]
    batch = {"x": x, "action": action, "advantage": gain, "value": aim, "log_p": log_p}
    batch = jax.tree.map(jnp.asarray, batch)
    objective = Clipped(nn.rl.Discrete(2), 0.2, 0.5, 0.01)
    step = nn.train_step(net, objective=objective, optimizer=ADAM)
    state = nn.train_state(net, ADAM, x, key=KEY)
    _, logs = step(state, batch)
    out = jax.tree.map(np.asarray, net.apply(state.params, {}, jnp.asarray(x))[0])
    total = 0.0
    for i in range(6):
        p = np.exp(out["policy"][i]) / np.exp(out["policy"][i]).sum()
        ratio = p[action[i]] / np.exp(log_p[i])
        clipped = min(max(ratio, 0.8), 1.2)
        total -= min(ratio * gain[i], clipped * gain[i])
        total += 0.5 * 0.5 * (out["value"][i] - aim[i]) ** 2
        total += 0.01 * (p * np.log(p)).sum()
    np.testing.assert_allclose(logs["loss"], total / 6, rtol=1e-5)


def test_dqns_targets_are_a_loops():
    step, state = SMALL["dqn"](KEY)
    replay, target = (
        state.state["replay"],
        jax.tree.map(lambda a: a + 0.1, state.params),
    )
    batch = step.batch(KEY, state.params, target, replay)
    seen = replay.sample(KEY, 8, 2)
    for i in range(8):
        last = 0 if seen.ended[0, i] else 1
        after = seen.after[last, i][None]
        best = int(step.net.apply(state.params, {}, after)[0][0].argmax())
        rest = float(step.net.apply(target, {}, after)[0][0, best])
        rest = 0.0 if seen.terminated[last, i] else rest * 0.99 ** (last + 1)
        total = sum(0.99**k * float(seen.reward[k, i]) for k in range(last + 1))
        np.testing.assert_allclose(batch["target"][i], total + rest, rtol=1e-5)
    assert q_error is step.learner.net.objective


def test_dqn_finds_the_values_of_a_grid_world():
    env = nn.rl.GridWorld()
    net = nn.Dense(4)
    step, state = nn.rl.dqn(
        *(env, net, optax.adam(optax.cosine_decay_schedule(0.02, 3000))), key=KEY,
        discount=0.9, envs=16, capacity=20_000, warmup=2_000, exploration=1.0,
        copy_every=20, batch_size=256, steps=1,
    )  # fmt: skip
    state, _ = nn.fit(
        step, None, state=state, steps_per_epoch=3000, epochs=1, progress=False
    )
    got = net.apply(state.params, {}, jnp.eye(12))[0]
    free = np.array([cell in ".S" for cell in "".join(env.rows)])
    expected = env.action_values(0.9)
    np.testing.assert_allclose(got[free], expected[free], atol=0.06)


def test_values_are_bootstrapped_through_a_time_limit():
    """A reward of 1 for ever is worth 1 / (1 − γ), however short the episodes are."""

    class Forever(nn.rl.Environment):
        max_steps: int = 3
        actions = nn.rl.Discrete(2)

        def start(self, key):
            return jnp.zeros(1)

        def move(self, place, action, key):
            return place, 1.0, False

        def observe(self, place):
            return place

    step, state = nn.rl.dqn(
        *(Forever(), nn.Dense(2), optax.adam(0.05)), key=KEY, discount=0.8, envs=2,
        capacity=64, warmup=32, batch_size=16, copy_every=5, exploration=1.0,
    )  # fmt: skip
    state, _ = nn.fit(
        step, None, state=state, steps_per_epoch=600, epochs=1, progress=False
    )
    np.testing.assert_allclose(state.params["b"], 5.0, atol=0.05)


def test_observations_that_turn_nan_are_named():
    class Broken(nn.rl.CartPole):
        def observe(self, place):
            return jnp.where(jnp.abs(place[:1]) > 0.1, jnp.nan, place)

    step, state = nn.rl.dqn(
        *(Broken(), nn.Dense(2), ADAM), key=KEY, envs=2, capacity=64, warmup=16,
        batch_size=8, exploration=0.0,
    )  # fmt: skip
    with pytest.raises(nn.NonFiniteError, match=r"Broken\(.*environment [01]") as error:
        nn.fit(step, None, state=state, steps_per_epoch=200, epochs=1, progress=False)
    assert error.value.state is not None


NET = nn.Dense(2)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: nn.rl.dqn(nn.rl.Arm(), NET, ADAM, key=KEY), TypeError, "Discrete"),
        (lambda: nn.rl.dqn(nn.rl.CartPole, NET, ADAM, key=KEY), TypeError, r"Pole\(\)"),
        (
            lambda: nn.rl.dqn(nn.rl.CartPole(), nn.Dense(3), ADAM, key=KEY),
            *(ValueError, r"net must give \[N, 2\], the value of each action, got"),
        ),
        (
            lambda: nn.rl.dqn(
                nn.rl.CartPole(), NET, ADAM, key=KEY, capacity=64, batch_size=128
            ),
            *(ValueError, "warmup must be at least batch_size"),
        ),
        (
            lambda: nn.rl.dqn(nn.rl.CartPole(), NET, ADAM, key=KEY, discount=1.1),
            *(ValueError, "discount must be from 0 to 1"),
        ),
        (
            lambda: nn.rl.dqn(nn.rl.CartPole(), NET, ADAM, key=KEY, exploration=2.0),
            *(ValueError, "exploration must be from 0 to 1"),
        ),
        (
            lambda: nn.rl.dqn(
                nn.rl.CartPole(), nn.Sequential(nn.BatchNorm(), NET), ADAM, key=KEY
            ),
            *(ValueError, "net must have no state"),
        ),
        (lambda: nn.rl.dqn(nn.rl.CartPole(), NET, 0.1, key=KEY), TypeError, "optim"),
        (lambda: nn.rl.dqn(nn.rl.CartPole(), NET, ADAM, key=1), TypeError, "key"),
        (
            lambda: nn.rl.ppo(nn.rl.CartPole(), NET, ADAM, key=KEY),
            *(TypeError, "ActorCritic"),
        ),
        (
            lambda: nn.rl.ppo(nn.rl.CartPole(), ACTOR, ADAM, key=KEY, horizon=0),
            *(ValueError, "horizon must be a positive int"),
        ),
        (
            lambda: nn.rl.ppo(nn.rl.CartPole(), ACTOR, ADAM, key=KEY, minibatches=7),
            *(ValueError, "minibatches must divide"),
        ),
        (
            lambda: nn.rl.ppo(
                nn.rl.Pendulum(), nn.rl.ActorCritic(nn.Dense(1), nn.Dense(1)), ADAM,
                key=KEY,
            ),
            *(ValueError, r"must give \[N, 2\], the mean and the log standard"),
        ),
        (
            lambda: nn.rl.sac(
                nn.rl.CartPole(), NET, ADAM, critic=nn.Dense(1), key=KEY
            ),
            *(TypeError, "nn.rl.Box"),
        ),
        (
            lambda: nn.rl.sac(
                nn.rl.Pendulum(), NET, ADAM, critic=nn.Dense(2), key=KEY
            ),
            *(ValueError, r"critic must give \[N, 1\]"),
        ),
        (lambda: SMALL["dqn"](KEY)[0](3), TypeError, "state must be a TrainState"),
        (
            lambda: nn.rl.alphazero(GAME, nn.Dense(9), ADAM, key=KEY),
            *(ValueError, "net must give"),
        ),
        (
            lambda: nn.rl.alphazero(nn.rl.TicTacToe, ACTOR, ADAM, key=KEY),
            *(TypeError, r"TicTacToe\(\)"),
        ),
        (
            lambda: nn.rl.alphazero(GAME, ACTOR, ADAM, key=KEY, capacity=100),
            *(ValueError, "capacity must be at least"),
        ),
    ],
)  # fmt: skip
def test_errors(call, error, words):
    with pytest.raises(error, match=words):
        call()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dqn", "ppo", "reinforce"])
def test_cart_poles_pole_is_balanced(name):
    def mlp(n):
        return nn.Sequential(
            nn.Dense(64), jnp.tanh, nn.Dense(64), jnp.tanh, nn.Dense(n)
        )

    env, both = nn.rl.CartPole(), nn.rl.ActorCritic(mlp(2), mlp(1))
    falling = optax.linear_schedule(2.5e-3, 0.0, 150 * 16)
    step, state = {
        "dqn": lambda: nn.rl.dqn(env, mlp(2), optax.adam(1e-3), key=KEY),
        "ppo": lambda: nn.rl.ppo(env, both, optax.adam(falling), key=KEY),
        "reinforce": lambda: nn.rl.reinforce(
            env, both, optax.adam(3e-3), key=KEY, horizon=500
        ),
    }[name]()
    steps = {"dqn": 20_000, "ppo": 150, "reinforce": 250}[name]
    state, _ = nn.fit(
        step, None, state=state, steps_per_epoch=steps, epochs=1, progress=False
    )
    returns = nn.rl.evaluate(env, step.policy(state), jax.random.key(1))
    assert returns.mean() > {"dqn": 150, "ppo": 400, "reinforce": 400}[name]


@pytest.mark.slow
def test_the_pendulum_is_swung_up():
    def mlp(n):
        return nn.Sequential(
            nn.Dense(64), jax.nn.relu, nn.Dense(64), jax.nn.relu, nn.Dense(n)
        )

    env = nn.rl.Pendulum()
    step, state = nn.rl.sac(env, mlp(2), ADAM, critic=mlp(1), key=KEY)
    state, _ = nn.fit(
        step, None, state=state, steps_per_epoch=3000, epochs=1, progress=False
    )
    assert nn.rl.evaluate(env, step.policy(state), jax.random.key(1)).mean() > -200
