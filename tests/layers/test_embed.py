"""Embeddings and positions: rows, bad ids, tied outputs, lengths."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnn as nn
from jaxnn.ops.attention import rotary, sinusoids
from jaxnn.ops.embed import embed

TABLE = jnp.arange(12.0).reshape(4, 3)
LAYER = nn.Embed(4, 3)
PARAMS = {"table": TABLE}


@pytest.mark.parametrize("dtype", [jnp.int32, jnp.uint8, jnp.int8, jnp.uint32])
def test_embed_gives_rows_for_ids_of_any_integer_dtype_and_shape(dtype):
    ids = jnp.array([[[3, 0], [1, 1]]], dtype)
    y, _ = LAYER.apply(PARAMS, {}, ids)
    np.testing.assert_array_equal(y, np.asarray(TABLE)[np.asarray(ids, int)])
    np.testing.assert_array_equal(y, jax.jit(embed)(TABLE, ids))


def test_a_vocabulary_larger_than_the_dtype_of_the_ids():
    y = embed(jnp.arange(300.0)[:, None], jnp.array([255, 7], jnp.uint8))
    assert y[:, 0].tolist() == [255, 7]


@pytest.mark.parametrize("bad", [4, -1, -4, 2**31 - 1, -(2**31)])
def test_a_bad_id_is_an_error_that_names_it_where_values_are_known(bad):
    ids = jnp.array([[0, 1], [2, bad]])
    with pytest.raises(IndexError, match=rf"0 to 3.*got {bad} at \[1, 1\]"):
        LAYER.apply(PARAMS, {}, ids)


@pytest.mark.parametrize("bad", [4, -1, -4, 2**31 - 1, -(2**31)])
def test_a_bad_id_in_compiled_code_gives_nan_and_spoils_no_other_row(bad):
    ids = jnp.array([0, bad, 2])

    def loss(table):
        rows = embed(table, ids)
        return jnp.nansum(rows**2), rows

    (_, rows), gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))(TABLE)
    assert jnp.isnan(rows).all(1).tolist() == [False, True, False]
    np.testing.assert_array_equal(gradient[jnp.array([0, 2])], 2 * TABLE[::2])
    assert (gradient[jnp.array([1, 3])] == 0).all()


def test_bad_ids_past_the_end_do_not_matter():
    ids, lengths = jnp.array([[1, -1, 9], [1, 2, 3]]), jnp.array([1, 3])
    for apply in (LAYER.apply, jax.jit(LAYER.apply)):
        (y, same), _ = apply(PARAMS, {}, (ids, lengths))
        assert same is lengths or (same == lengths).all()
        np.testing.assert_array_equal(y[0, 1:], np.zeros((2, 3)))
        np.testing.assert_array_equal(y[1], TABLE[1:4])
    with pytest.raises(IndexError, match=r"got -1 at \[0, 1\]"):
        LAYER.apply(PARAMS, {}, (ids, jnp.array([2, 3])))


def test_ids_must_be_integers_and_lengths_must_fit(key):
    with pytest.raises(TypeError, match=r"ids must be integers.*float32\[1,2\]"):
        LAYER.init(key, jnp.ones((1, 2)))
    ids = jnp.zeros((2, 3), jnp.int32)
    for lengths, message in [
        (jnp.array([0, 3]), "1 to 3.* got 0 for example 0"),
        (jnp.array([3, 4]), "1 to 3.* got 4 for example 1"),
        (jnp.array([3]), r"each of the 2 examples.*int32\[1\]"),
    ]:
        with pytest.raises(ValueError, match=message):
            LAYER.apply(PARAMS, {}, (ids, lengths))
    with pytest.raises(TypeError, match="lengths must be integers"):
        LAYER.apply(PARAMS, {}, (ids, jnp.array([1.0, 2.0])))


@pytest.mark.parametrize("sizes", [(0, 3), (4, -1), (4, 2.0), (True, 3)])
def test_sizes_of_a_table_are_checked(sizes):
    with pytest.raises(ValueError, match="positive int"):
        nn.Embed(*sizes)


def test_the_gradient_counts_every_use_of_a_row():
    ids = jnp.array([[1, 1, 3]])
    gradient = jax.grad(lambda t: LAYER.apply({"table": t}, {}, ids)[0].sum())(TABLE)
    assert gradient[:, 0].tolist() == [0, 2, 0, 1]


def test_a_tied_output_is_the_product_with_the_table(key):
    net = nn.TiedOutput(nn.Embed(5, 3), nn.Dense(3))
    ids = jnp.array([[0, 4]])
    params, state = net.init(key, ids)
    assert set(params) == {"embed", "body"}
    table = params["embed"]["table"]
    body = table[ids] @ params["body"]["w"] + params["body"]["b"].reshape(1, 1, 3)
    y, _ = net.apply(params, state, ids)
    np.testing.assert_allclose(y, body @ table.T, rtol=1e-5)
    np.testing.assert_array_equal(nn.Embed(5, 3).attend(params["embed"], body), y)
    with pytest.raises(ValueError, match="must have 3 features"):
        nn.Embed(5, 3).attend(params["embed"], jnp.ones((1, 4)))


def test_sinusoids_are_those_of_the_paper():
    s = sinusoids(jnp.arange(6)[None], 5)[0]
    for t in range(6):
        for c in range(5):
            angle = t / 10000 ** (2 * (c // 2) / 5)
            expected = np.cos(angle) if c % 2 else np.sin(angle)
            assert abs(s[t, c] - expected) < 1e-6


@pytest.mark.parametrize("layer", [nn.SinusoidalPositions(), nn.LearnedPositions(5)])
def test_positions_are_added_and_lengths_passed_on(layer, key):
    x, lengths = jax.random.normal(key, (2, 4, 6)), jnp.array([4, 2])
    params, state = layer.init(key, x)
    y, _ = layer.apply(params, state, x)
    added = np.asarray(y - x)
    np.testing.assert_allclose(added[0], added[1], atol=1e-6)
    assert np.abs(added[0, 1] - added[0, 2]).max() > 1e-3
    (again, same), _ = layer.apply(params, state, (x, lengths))
    np.testing.assert_array_equal(again, y)
    assert same is lengths
    if params:
        np.testing.assert_allclose(added[0], params["table"][:4], atol=1e-6)


def test_more_steps_than_learned_positions_are_an_error(key):
    with pytest.raises(ValueError, match=r"at most 3 steps.*got 4: float32\[2,4,6\]"):
        nn.LearnedPositions(3).init(key, jnp.ones((2, 4, 6)))


def test_positions_go_on_where_they_ended_each_row_at_its_own(key):
    x, lengths = jax.random.normal(key, (2, 5, 4)), jnp.array([3, 2])
    for layer in (nn.SinusoidalPositions(), nn.LearnedPositions(5)):
        params, state = layer.init(key, x)
        whole, _ = layer.apply(params, state, x)
        live = nn.stateful(layer)
        state = nn.zero_carry(live, x)
        (first, _), state = live.apply(params, state, (x[:, :3], lengths))
        np.testing.assert_array_equal(first, whole[:, :3])
        assert state["carry"]["position"].tolist() == [3, 2]
        rest = jnp.stack([x[0, 3:5], x[1, 2:4]])
        last, state = live.apply(params, state, rest)
        expected = np.stack([whole[0, 3:5], whole[1, 2:4]])
        np.testing.assert_allclose(last, expected, atol=1e-6)


def test_a_step_beyond_the_learned_positions_is_nan_in_generation(key):
    x = jnp.ones((2, 3, 2))
    params, _ = nn.LearnedPositions(3).init(key, x)
    live = nn.stateful(nn.LearnedPositions(3))
    lengths = jnp.array([3, 2])
    _, state = live.apply(params, nn.zero_carry(live, x), (x, lengths))
    y, _ = live.apply(params, state, x[:, :1])
    assert jnp.isnan(y).any((1, 2)).tolist() == [True, False]


def test_rotary_products_depend_on_the_distance_only(key):
    q, k = jax.random.normal(key, (2, 1, 1, 1, 6))

    def product(i, j):
        turned = rotary(q, jnp.array([[i]])), rotary(k, jnp.array([[j]]))
        return (turned[0] * turned[1]).sum()

    for i, j in [(0, 0), (2, 0), (5, 1)]:
        np.testing.assert_allclose(product(i, j), product(i + 9, j + 9), atol=1e-5)
    assert abs(product(2, 0) - product(0, 2)) > 1e-3


def test_rotary_turns_pairs_as_complex_numbers(key):
    x, t = jax.random.normal(key, (1, 2, 4, 6)), np.arange(4)
    pairs = np.asarray(x)[..., :3] + 1j * np.asarray(x)[..., 3:]
    turned = pairs * np.exp(1j * t[:, None] * 50.0 ** (-np.arange(3) / 3))
    expected = np.concatenate([turned.real, turned.imag], -1)
    y = rotary(x, jnp.arange(4)[None], 50.0)
    np.testing.assert_allclose(y, expected, atol=1e-5)
