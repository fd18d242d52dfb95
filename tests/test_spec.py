"""Specs as Python keeps them: pickled, copied, equal to what they were."""

import copy
import functools
import pickle

import chex
import jax
import jax.numpy as jnp
import optax
import pytest
from catalogue import CATALOGUE

import jaxnn as nn

pytestmark = pytest.mark.quick


@jax.jit
def of_ones_own(x):
    return 2 * x


@pytest.mark.parametrize("entry", CATALOGUE, ids=lambda e: e.name)
def test_every_layer_can_be_pickled_and_copied(entry):
    hash(entry.layer)  # what is remembered of it is not pickled
    for back in (pickle.loads(pickle.dumps(entry.layer)), copy.deepcopy(entry.layer)):
        assert back == entry.layer and hash(back) == hash(entry.layer)
        assert repr(back) == repr(entry.layer)


@pytest.mark.parametrize(
    "function",
    [
        jax.nn.relu,
        jnp.tanh,
        jax.nn.gelu,
        of_ones_own,
        functools.partial(jax.nn.leaky_relu, negative_slope=0.2),
        functools.partial(jnp.clip, min=0.0),
    ],
    ids=["custom_jvp", "jitted", "plain", "custom", "partial", "jitted partial"],
)
def test_functions_come_back_as_themselves(function):
    net = nn.Sequential(nn.Dense(2), function)
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        data = pickle.dumps(net, protocol)
        assert pickle.loads(data) == net
    assert b"jax._src" not in data  # whose names change from one release to the next


def test_what_has_no_name_is_refused_by_pickle_itself():
    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dumps(nn.Sequential(nn.Dense(2), lambda x: x))


def test_a_train_state_can_be_pickled_and_copied(key):
    net = nn.Sequential(nn.Dense(3), jax.nn.relu, nn.BatchNorm())
    stop = nn.EarlyStopping(patience=2)
    state = nn.train_state(
        net, optax.adam(0.1), jnp.ones((4, 2)), key=key, early_stopping=stop
    )
    for back in (pickle.loads(pickle.dumps(state)), copy.deepcopy(state)):
        chex.assert_trees_all_equal(back, state)
    assert pickle.loads(pickle.dumps(stop)) == stop
