"""What a state shows: how large its parts are, and never its arrays."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxnn as nn

NET = nn.Sequential(nn.Dense(300), jax.nn.relu, nn.BatchNorm(), nn.Dense(10))
X = jnp.ones((4, 64))


@pytest.fixture(scope="module")
def state():
    return nn.train_state(NET, optax.adam(0.1), X, key=jax.random.key(0))


def test_a_state_is_a_few_lines(state):
    assert repr(state).splitlines() == [
        "TrainState after 0 steps",
        "  params     23,110 numbers in 6 arrays, 92.4 kB: batch_norm_1/offset, "
        "batch_norm_1/scale, dense_1/b, dense_1/w, ...",
        "  state      600 numbers in 2 arrays, 2.4 kB",
        "  opt_state  46,221 numbers in 13 arrays, 184.9 kB",
        "  key        key<fry>[]",
    ]
    assert str(state) == repr(state)


def test_a_state_counts_its_steps(state):
    later = state._replace(step=jnp.int32(1200))
    assert repr(later).startswith("TrainState after 1,200 steps\n")
    many = later._replace(step=jnp.full(8, 1200))
    assert repr(many).startswith("TrainState of 8 networks after 1,200 steps\n")


def test_a_state_is_a_table_in_a_notebook(state):
    odd = state._replace(params={"<b>": jnp.ones(3), "w": jnp.ones(3)})
    shown = odd._repr_html_()
    assert shown.count("<tr>") == 5 and "600 numbers in 2 arrays" in shown
    assert "&lt;b&gt;, w" in shown and "<b>, w" not in shown


def test_a_state_shows_itself_while_it_is_traced(state):
    texts = []

    @jax.jit
    def look(state):
        texts.extend([repr(state), state._repr_html_()])
        return state.step

    look(state)
    jax.vmap(look)(jax.tree.map(lambda a: jnp.stack([a, a]), state))
    jax.eval_shape(look, state)
    jax.grad(lambda p: look(state._replace(params=p)).astype(float))(state.params)
    assert texts[0].startswith("TrainState, step int32[]\n  params     23,110 numbers")
    assert repr(jax.eval_shape(lambda: state)) == texts[0]


@pytest.mark.parametrize(
    "leaf", [None, object(), "w", 3.0, True, np.float32(2), jax.P("data")]
)
def test_a_state_of_anything_shows_itself(state, leaf):
    odd = jax.tree.map(lambda _: leaf, state)
    assert repr(odd).startswith("TrainState") and "TrainState" in odd._repr_html_()
    assert len(repr(odd)) < 600


def test_a_deleted_state_shows_itself(state):
    gone = jax.tree.map(jnp.copy, state)
    for leaf in jax.tree.leaves(gone):
        leaf.delete()
    assert repr(gone).startswith("TrainState, step int32[]\n  params     23,110")


def test_a_state_is_still_a_named_tuple(state):
    assert isinstance(state, tuple) and state._replace(step=1).step == 1
    leaves, structure = jax.tree.flatten(state)
    assert type(jax.tree.unflatten(structure, leaves)) is nn.TrainState
    small = nn.TrainState({"w": np.ones(3)}, {}, (), np.int32(3), np.uint32(0))
    again = pickle.loads(pickle.dumps(small))
    assert type(again) is nn.TrainState and again.step == 3
