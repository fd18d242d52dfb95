"""Episodes of a policy, and what they return."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxnn as nn

KEY = jax.random.key(0)


def follow(observation):
    return (observation[2] + observation[3] > 0).astype(jnp.int32)


def test_a_return_is_the_sum_of_an_episodes_rewards():
    env = nn.rl.CartPole(max_steps=60)
    _, seen = nn.rl.rollout(env, follow, KEY, 2000)
    ends = np.flatnonzero(np.asarray(seen.ended))
    lengths = np.diff(np.concatenate([[-1], ends]))
    assert len(ends) > 20 and lengths.max() == 60
    returns = nn.rl.evaluate(env, follow, KEY, 200)
    assert returns.shape == (200,) and returns.max() <= 60
    assert abs(returns.mean() - lengths.mean()) < 5
    better = nn.rl.evaluate(env, lambda o, key: jax.random.randint(key, (), 0, 2), KEY)
    assert better.shape == (100,) and better.mean() < returns.mean()


def test_steps_follow_one_another_until_an_episode_ends():
    env = nn.rl.CartPole()
    states, seen = nn.rl.rollout(env, lambda o: 1, KEY, 40)
    ended = np.asarray(seen.ended)
    assert ended.any() and not ended.all()
    later, after = np.asarray(seen.observation[1:]), np.asarray(seen.after[:-1])
    np.testing.assert_array_equal(later[~ended[:-1]], after[~ended[:-1]])
    assert (abs(later[ended[:-1]]) <= 0.05).all()  # a fresh episode
    np.testing.assert_array_equal(states.place, seen.observation)


def test_a_policy_with_other_parameters_compiles_once(compiled):
    env, net = nn.rl.CartPole(max_steps=10), nn.Dense(2)
    step, state = nn.rl.dqn(env, net, optax.sgd(0.1), key=KEY)
    nn.rl.evaluate(env, step.policy(state), KEY, 2)
    compiled.clear()
    other = jax.tree.map(lambda a: a + 1, state.params)
    nn.rl.evaluate(env, step.policy(state._replace(params=other)), KEY, 2)
    assert "_returns" not in " ".join(compiled)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (
            lambda: nn.rl.evaluate(nn.rl.CartPole, follow, KEY),
            TypeError,
            r"CartPole\(\)",
        ),
        (
            lambda: nn.rl.evaluate(nn.rl.CartPole(), 3, KEY),
            TypeError,
            "policy must be a",
        ),
        (
            lambda: nn.rl.evaluate(nn.rl.CartPole(), lambda o: o, KEY),
            *(TypeError, "must give an action of Discrete"),
        ),
        (
            lambda: nn.rl.evaluate(nn.rl.Pendulum(), lambda o: o[0], KEY),
            *(TypeError, "must give an action of Box"),
        ),
        (lambda: nn.rl.evaluate(nn.rl.CartPole(), follow, 1), TypeError, "random key"),
        (
            lambda: nn.rl.evaluate(nn.rl.CartPole(), follow, KEY, 0),
            *(ValueError, "episodes must be a positive int"),
        ),
        (
            lambda: nn.rl.rollout(nn.rl.CartPole(), follow, KEY, 0),
            *(ValueError, "steps must be a positive int"),
        ),
    ],
)
def test_errors(call, error, words):
    with pytest.raises(error, match=words):
        call()
