"""Environments: pure, and those of Gymnasium step for step."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnn as nn
from jaxnn.rl.environment import advance

KEY = jax.random.key(0)
EVERY = [
    *(nn.rl.CartPole(), nn.rl.MountainCar(), nn.rl.MountainCarContinuous()),
    *(nn.rl.Acrobot(), nn.rl.Pendulum(), nn.rl.Arm(), nn.rl.Track(), nn.rl.GridWorld()),
]
each = pytest.mark.parametrize("env", EVERY, ids=lambda env: type(env).__name__)


@each
@pytest.mark.quick
def test_a_reset_and_a_step_have_the_same_shapes(env):
    state, first = env.reset(KEY)
    action = env.actions.sample(KEY)
    after, seen, reward, *over = env.step(state, action, KEY)
    assert jax.tree.map(jnp.shape, after) == jax.tree.map(jnp.shape, state)
    assert jax.tree.map(lambda a: a.dtype, after) == jax.tree.map(
        lambda a: a.dtype, state
    )
    assert seen.shape == first.shape and seen.dtype == first.dtype == jnp.float32
    assert reward.shape == () and reward.dtype == jnp.float32
    assert [a.dtype for a in over] == [bool, bool] and int(after.time) == 1
    assert env == type(env)() and hash(env) == hash(type(env)())


@each
def test_mapped_episodes_are_separate_ones(env):
    keys = jax.random.split(KEY, 3)
    states, _ = jax.vmap(env.reset)(keys)
    actions = jax.vmap(env.actions.sample)(keys)
    mapped = jax.jit(jax.vmap(env.step))(states, actions, keys)
    for i in range(3):
        one = jax.tree.map(lambda a, i=i: a[i], (states, actions))
        alone = jax.jit(env.step)(*one, keys[i])
        jax.tree.map(
            lambda a, b, i=i: np.testing.assert_allclose(a[i], b, atol=1e-6),
            *(mapped, alone),
        )


def test_time_truncates_and_does_not_terminate():
    env = nn.rl.Pendulum(max_steps=2)
    state, _ = env.reset(KEY)
    for over in (False, True):
        state, *_, terminated, truncated = env.step(state, jnp.zeros(1), KEY)
        assert not terminated and bool(truncated) is over


def test_an_episode_that_ends_begins_anew_and_shows_where_it_ended():
    env = nn.rl.GridWorld(("SG",), slip=0.0)
    state, first = env.reset(KEY)
    state, observation, seen = advance(env, state, first, 1, KEY)
    assert seen.after.tolist() == [0, 1] and observation.tolist() == [1, 0]
    assert seen.terminated and seen.ended and int(state.time) == 0
    state, observation, seen = advance(env, state, first, 0, KEY)
    assert not seen.ended and int(state.time) == 1


@pytest.mark.parametrize(
    ("env", "name"),
    [
        (nn.rl.CartPole(), "CartPole-v1"),
        (nn.rl.MountainCar(), "MountainCar-v0"),
        (nn.rl.MountainCarContinuous(), "MountainCarContinuous-v0"),
        (nn.rl.Acrobot(), "Acrobot-v1"),
        (nn.rl.Pendulum(), "Pendulum-v1"),
    ],
    ids=lambda a: a if isinstance(a, str) else "",
)
def test_ten_thousand_random_steps_are_gymnasiums(env, name):
    gymnasium = pytest.importorskip("gymnasium")
    other = gymnasium.make(name)
    other.reset(seed=0)
    other.action_space.seed(0)
    rows = []
    for _ in range(10_000):
        state = np.array(other.unwrapped.state, np.float32)
        other.unwrapped.state = tuple(map(float, state))
        if name.startswith("Acrobot"):
            other.unwrapped.state = state.astype(float)
        action = other.action_space.sample()
        seen, reward, terminated, truncated, _ = other.step(action)
        rows.append((state, action, seen, reward, terminated))
        if terminated or truncated:
            other.reset()
    states, actions, seen, rewards, terminated = map(np.array, zip(*rows, strict=True))
    assert terminated.any() or not name.startswith("CartPole")
    begun = nn.rl.EnvState(jnp.asarray(states), jnp.zeros(10_000, jnp.int32))
    keys = jax.random.split(KEY, 10_000)
    got = jax.jit(jax.vmap(env.step))(begun, jnp.asarray(actions), keys)
    np.testing.assert_allclose(got.observation, seen, rtol=1e-5, atol=2e-5)
    np.testing.assert_allclose(got.reward, rewards, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(got.terminated, terminated)
    assert env.max_steps == other.spec.max_episode_steps


def test_the_arm_keeps_its_energy_without_friction_and_torque(monkeypatch, double):
    from jaxnn.rl.environments import arm

    monkeypatch.setattr(arm, "FRICTION", 0.0)
    q, w = jnp.array([0.3, 1.1]), jnp.array([0.7, -1.3])

    def energy(q, w):
        first = arm.MASS * (arm.LINK / 2) ** 2 + arm._OWN
        ends = jnp.cumsum(q)
        lean = arm.LINK * jnp.stack([-jnp.sin(ends), jnp.cos(ends)], 1)
        middle = lean[0] * w[0] + lean[1] / 2 * w.sum()
        second = arm.MASS * (middle**2).sum() + arm._OWN * w.sum() ** 2
        return 0.5 * (first * w[0] ** 2 + second)

    def slope(y):
        return jnp.concatenate([y[2:], arm._acceleration(y[:2], y[2:], jnp.zeros(2))])

    def step(y, _):  # Runge-Kutta, so that only the equations are tried
        a = slope(y)
        b, h = slope(y + 5e-4 * a), 1e-3
        c = slope(y + 5e-4 * b)
        return y + h / 6 * (a + 2 * b + 2 * c + slope(y + h * c)), energy(y[:2], y[2:])

    _, energies = jax.lax.scan(step, jnp.concatenate([q, w]), length=2000)
    np.testing.assert_allclose(energies, energies[0], rtol=1e-9)


def test_the_arms_tip_is_at_the_ends_of_its_links():
    env = nn.rl.Arm()
    state, seen = env.reset(KEY)
    joints = env.joints(state.place)
    lengths = jnp.sqrt(((joints[1:] - joints[:-1]) ** 2).sum(1))
    np.testing.assert_allclose(lengths, 0.5, rtol=1e-5)
    way = state.place.target - joints[-1]
    np.testing.assert_allclose(seen[-4:-2], way, rtol=1e-5)
    np.testing.assert_allclose(seen[-2:], jnp.tanh(20 * way), rtol=1e-5)


def test_the_expert_drives_whole_laps():
    env = nn.rl.Track()

    def lap(key):
        state, _ = env.reset(key)

        def drive(carry, _):
            state, over = carry
            after = env.step(state, env.expert(state), KEY)
            state = jax.tree.map(lambda a, b: jnp.where(over, a, b), state, after.state)
            return (state, over | after.terminated), None

        (state, _), _ = jax.lax.scan(drive, (state, False), length=env.max_steps)
        return env.finished(state.place)

    done = jax.jit(jax.vmap(lap))(jax.random.split(KEY, 32))
    assert done.all()


def test_the_picture_shows_the_road_the_car_is_on():
    env = nn.rl.Track()
    state, picture = env.reset(KEY)
    assert picture.min() == 0 and picture.max() == 1
    assert float(picture[25, 15:17].min()) == 1.0  # where the car is
    assert not picture[-1].any()  # it stands
    place = state.place
    off = place._replace(position=place.position * 1.5)
    assert not env.observe(off)[:-1].any()
    np.testing.assert_allclose(env.distance(place), 0.0, atol=1e-4)


def test_the_grid_world_of_the_book_has_its_values():
    """Russell and Norvig, figure 17.3, with γ = 1."""
    values = nn.rl.GridWorld().values(1.0)
    expected = [[0.812, 0.868, 0.918], [0.762, 0.660], [0.705, 0.655, 0.611, 0.388]]
    np.testing.assert_allclose(values[0, :3], expected[0], atol=6e-4)
    np.testing.assert_allclose(values[1, [0, 2]], expected[1], atol=6e-4)
    np.testing.assert_allclose(values[2], expected[2], atol=6e-4)


def test_a_grid_worlds_moves_slip_as_often_as_said():
    env = nn.rl.GridWorld(("...", ".S.", "..."), slip=0.3)
    state, _ = env.reset(KEY)
    keys = jax.random.split(KEY, 4000)
    reached = jax.jit(jax.vmap(lambda key: env.step(state, 0, key)[0].place))(keys)
    shares = np.bincount(np.asarray(reached), minlength=9) / 4000
    np.testing.assert_allclose(shares[[1, 3, 5]], [0.7, 0.15, 0.15], atol=0.02)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (
            lambda: nn.rl.CartPole().step(STATE, 2, KEY),
            ValueError,
            "from 0 to 1, got 2",
        ),
        (lambda: nn.rl.CartPole().step(STATE, -1, KEY), ValueError, "got -1"),
        (lambda: nn.rl.CartPole().step(STATE, 0.5, KEY), TypeError, "one int"),
        (lambda: nn.rl.CartPole().step(STATE, [0, 1], KEY), TypeError, "jax.vmap"),
        (lambda: nn.rl.CartPole().step(jnp.ones(4), 0, KEY), TypeError, "reset and st"),
        (lambda: nn.rl.Pendulum().step(STATE, 0.0, KEY), TypeError, r"\[1\], got"),
        (lambda: nn.rl.Pendulum().step(STATE, [2.5], KEY), ValueError, "-2 to 2"),
        (lambda: nn.rl.Pendulum().step(STATE, [jnp.nan], KEY), ValueError, "-2 to 2"),
        (lambda: nn.rl.CartPole(max_steps=0), ValueError, "max_steps must be a posi"),
        (lambda: nn.rl.CartPole().reset(0), TypeError, "jax.random.key"),
        (lambda: nn.rl.GridWorld(("S.", "#")), ValueError, "one length"),
        (lambda: nn.rl.GridWorld(("SX",)), ValueError, "one length of"),
        (lambda: nn.rl.GridWorld(("GT",)), ValueError, "a free cell"),
        (lambda: nn.rl.GridWorld(slip=2), ValueError, "slip must be from 0 to 1"),
        (lambda: nn.rl.Discrete(0), ValueError, "n must be a positive int"),
        (lambda: nn.rl.Box(1.0, 0.0, 2), ValueError, "low must be below high"),
    ],
)
def test_errors(call, error, words):
    with pytest.raises(error, match=words):
        call()


STATE = nn.rl.EnvState(jnp.zeros(4), jnp.zeros((), jnp.int32))
