"""Advantages and n-step targets, against plain loops in NumPy."""

import jax.numpy as jnp
import numpy as np
import pytest

import jaxnn as nn
from jaxnn.rl.normalization import Statistics


def episodes(steps, envs, seed):
    draw = np.random.default_rng(seed)
    rewards, values, later = draw.normal(size=(3, steps, envs)).astype(np.float32)
    ended = draw.random((steps, envs)) < 0.3
    terminated = ended & (draw.random((steps, envs)) < 0.5)
    return rewards, values, later, terminated, ended


@pytest.mark.parametrize("decay", [0.0, 0.9, 1.0])
@pytest.mark.parametrize("seed", range(3))
def test_advantages_are_a_loops(decay, seed):
    every = rewards, values, later, terminated, ended = episodes(12, 3, seed)
    expected = np.zeros((12, 3))
    for env in range(3):
        for t in range(12):
            weight = 1.0
            for k in range(t, 12):
                rest = 0.0 if terminated[k, env] else 0.95 * later[k, env]
                error = rewards[k, env] + rest - values[k, env]
                expected[t, env] += weight * error
                weight *= 0.95 * decay
                if ended[k, env]:
                    break
    got = nn.rl.advantages(*map(jnp.asarray, every), discount=0.95, decay=decay)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("steps", [1, 2, 5])
@pytest.mark.parametrize("seed", range(3))
def test_n_step_targets_are_a_loops(steps, seed):
    rewards, _, later, terminated, ended = episodes(steps, 6, seed)
    total, rest = np.zeros(6), np.zeros(6)
    for env in range(6):
        for k in range(steps):
            total[env] += 0.9**k * rewards[k, env]
            if ended[k, env] or k == steps - 1:
                rest[env] = (
                    0.0 if terminated[k, env] else 0.9 ** (k + 1) * later[k, env]
                )
                break
    given = map(jnp.asarray, (rewards, later, terminated, ended))
    got = nn.rl.discounted(*given, discount=0.9)
    np.testing.assert_allclose(got, (total, rest), rtol=1e-5, atol=1e-6)


def test_statistics_are_those_of_all_that_was_seen():
    x = np.random.default_rng(0).normal(3, [1, 20], (40, 2)).astype(np.float32)
    seen = Statistics.empty(jnp.zeros(2))
    np.testing.assert_array_equal(seen.normalized(jnp.asarray(x)), x)  # nothing known
    for part in (x[:8].reshape(2, 4, 2), x[8:9], x[9:]):
        seen = seen.add(jnp.asarray(part))
    np.testing.assert_allclose(seen.mean, x.mean(0), rtol=1e-5)
    np.testing.assert_allclose(seen.squares / 40, x.var(0), rtol=1e-5)
    far = (x - x.mean(0)) / x.std(0)
    np.testing.assert_allclose(seen.normalized(jnp.asarray(x)), far, atol=1e-4)


def test_errors():
    a, flags = jnp.zeros(3), jnp.zeros(3, bool)
    with pytest.raises(ValueError, match="one shape"):
        nn.rl.advantages(a, a, a[:2], flags, flags, discount=0.9, decay=0.9)
    with pytest.raises(ValueError, match=r"discount must be from 0 to 1, got 1\.5"):
        nn.rl.advantages(a, a, a, flags, flags, discount=1.5, decay=0.9)
    with pytest.raises(ValueError, match="discount must be from 0 to 1"):
        nn.rl.discounted(a, a, flags, flags, discount=-1)
