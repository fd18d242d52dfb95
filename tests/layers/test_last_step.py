"""The last step of a sequence is the last real one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnn as nn

KEY = jax.random.key(0)


def test_it_is_the_last_real_step():
    x = jax.random.normal(KEY, (3, 4, 2))
    lengths = jnp.array([4, 1, 3])
    y, _ = nn.LastStep().apply({}, {}, (x, lengths))
    np.testing.assert_array_equal(y, np.stack([x[0, 3], x[1, 0], x[2, 2]]))
    np.testing.assert_array_equal(nn.LastStep().apply({}, {}, x)[0], x[:, -1])


def test_the_network_everyone_writes_does_not_read_padding():
    net = nn.Sequential(nn.lstm(5), nn.LastStep(), nn.Dense(2))
    x = jax.random.normal(KEY, (2, 6, 3))
    params, state = net.init(KEY, x)
    alone, _ = net.apply(params, state, x[1:, :4])
    both, _ = net.apply(params, state, (x, jnp.array([6, 4])))
    np.testing.assert_allclose(both[1], alone[0], rtol=1e-6)
    changed = x.at[1, 4:].set(jnp.nan)
    again, _ = net.apply(params, state, (changed, jnp.array([6, 4])))
    np.testing.assert_array_equal(again, both)


@pytest.mark.parametrize(
    ("x", "said"),
    [
        (jnp.ones((2, 3)), "at least 3 axes"),
        (jnp.ones((2, 0, 3)), "at least one step"),
        ((jnp.ones((2, 3, 1)), jnp.array([3, 4])), "lengths must be from 1 to 3"),
    ],
)
def test_wrong_inputs_are_refused(x, said):
    with pytest.raises(ValueError, match=said):
        nn.LastStep().apply({}, {}, x)
