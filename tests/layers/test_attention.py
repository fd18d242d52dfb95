"""Attention: against a loop, masks, padding, grouped heads, caches, additive."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnn as nn
from jaxnn.ops.attention import attention, masked_softmax
from jaxnn.ops.materialize import materialize

MHA = nn.MultiHeadAttention


def numbers(seed, *shape):
    return jax.random.normal(jax.random.key(seed), shape)


def by_loop(q, k, v, allowed):
    """Attention step by step in NumPy; `allowed(n, h, t, s)` says who may see what."""
    q, k, v = (np.asarray(a, np.float64) for a in (q, k, v))
    y, group = np.zeros(q.shape), q.shape[1] // k.shape[1]
    for n, h, t in np.ndindex(q.shape[:3]):
        seen = [s for s in range(k.shape[2]) if allowed(n, h, t, s)]
        if seen:
            fit = [q[n, h, t] @ k[n, h // group, s] / q.shape[-1] ** 0.5 for s in seen]
            weights = np.exp(fit) / np.exp(fit).sum()
            y[n, h, t] = sum(
                w * v[n, h // group, s] for w, s in zip(weights, seen, strict=True)
            )
    return y


@pytest.mark.parametrize("kv_heads", [4, 2, 1])
@pytest.mark.parametrize("causal", [False, True])
def test_attention_is_the_loop(kv_heads, causal):
    q, k = numbers(0, 2, 4, 3, 2), numbers(1, 2, kv_heads, 3, 2)
    v = numbers(2, 2, kv_heads, 3, 2)
    y = attention(q, k, v, causal=causal)
    expected = by_loop(q, k, v, lambda n, h, t, s: s <= t or not causal)
    np.testing.assert_allclose(y, expected, atol=1e-5)


@pytest.mark.parametrize("shape", [(2, 4, 3, 5), (2, 1, 3, 5), (1, 4, 1, 5)])
def test_attention_with_a_mask_is_the_loop_and_zero_where_nothing_is_allowed(shape):
    q, k, v = numbers(0, 2, 4, 3, 2), numbers(1, 2, 2, 5, 2), numbers(2, 2, 2, 5, 2)
    mask = (numbers(3, *shape) > 0).at[0, 0, 0].set(False)
    full = np.broadcast_to(mask, (2, 4, 3, 5))
    y = attention(q, k, v, mask=mask)
    np.testing.assert_allclose(y, by_loop(q, k, v, lambda *i: full[i]), atol=1e-5)
    assert (y[0, 0, 0] == 0).all()
    gradients = jax.grad(
        lambda *qkv: (attention(*qkv, mask=mask) ** 2).sum(), argnums=(0, 1, 2)
    )(q, k, v)
    assert all(jnp.isfinite(g).all() for g in gradients)
    assert (gradients[0][0, 0, 0] == 0).all()


def test_a_row_without_anything_allowed_passes_no_gradient():
    x = jnp.array([[1.0, 2.0], [3.0, 4.0]])
    mask = jnp.array([[True, True], [False, False]])
    weights = jnp.array([[1.0, 3.0], [1.0, 3.0]])
    gradient = jax.grad(lambda x: (weights * masked_softmax(x, mask)).sum())(x)
    assert (gradient[0] != 0).all() and (gradient[1] == 0).all()


def test_softmax_has_the_gradient_of_jax_and_survives_large_numbers():
    x, c = 9 * numbers(0, 3, 4), numbers(1, 3, 4)
    ours = jax.grad(lambda x: (c * masked_softmax(x)).sum())(x)
    theirs = jax.grad(lambda x: (c * jax.nn.softmax(x)).sum())(x)
    np.testing.assert_allclose(ours, theirs, atol=1e-6)
    assert masked_softmax(jnp.array([1e30, -1e30])).tolist() == [1, 0]


def test_attention_agrees_with_jax():
    q, k, v = (numbers(i, 2, 2, 5, 4) for i in range(3))
    theirs = jax.nn.dot_product_attention(
        *(a.swapaxes(1, 2) for a in (q, k, v)), is_causal=True
    )
    ours = attention(q, k, v, causal=True).swapaxes(1, 2)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_dropout_keeps_the_mean_and_only_drops_in_training(key):
    layer, x = MHA(2, dropout=0.5), numbers(0, 2, 4, 8)
    params, state = layer.init(key, x)
    plain, _ = MHA(2).apply(params, state, x)
    np.testing.assert_array_equal(layer.apply(params, state, x, key=key)[0], plain)

    def dropped(key):
        return layer.apply(params, state, x, key=key, train=True)[0]

    many = jax.vmap(dropped)(jax.random.split(key, 4000))
    assert jnp.abs(many[0] - plain).max() > 0.05
    error = jnp.abs(many.mean(0) - plain) / (many.std(0) / 4000**0.5)
    assert error.max() < 5


def net_and_params(layer, x):
    return layer.init(jax.random.key(1), x)[0]


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"causal": True, "rotary": True}])
def test_padding_changes_nothing_whatever_stands_there(options):
    """Outputs to the last bit, and gradients; NaN past the end included."""
    layer, x, lengths = MHA(2, **options), numbers(0, 2, 4, 4), jnp.array([4, 2])
    params = net_and_params(layer, x)
    dirty = x.at[1, 2:].set(jnp.nan)

    def real(params, x, lengths):
        y = layer.apply(params, {}, (x, lengths))[0]
        return jnp.where(jnp.arange(4)[None, :, None] < lengths[:, None, None], y, 0)

    alone = layer.apply(params, {}, x[1:, :2])[0]
    y = real(params, dirty, lengths)
    np.testing.assert_allclose(y[1, :2], alone[0], atol=1e-6)
    np.testing.assert_array_equal(y, real(params, x, lengths))

    def loss(params, x):
        return (real(params, x, lengths) ** 2).sum()

    by_params, by_x = jax.grad(loss, argnums=(0, 1))(params, x)
    assert (by_x[1, 2:] == 0).all() and jnp.abs(by_x[1, :2]).min() > 0
    expected = jax.grad(
        lambda p: (
            (layer.apply(p, {}, x[:1])[0] ** 2).sum()
            + (layer.apply(p, {}, x[1:, :2])[0] ** 2).sum()
        )
    )(params)
    for ours, theirs in zip(
        jax.tree.leaves(by_params), jax.tree.leaves(expected), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, atol=2e-5)


def test_a_memory_of_another_width_and_length_is_asked():
    layer, x, memory = MHA(2), numbers(0, 2, 3, 4), numbers(1, 2, 5, 6)
    lengths = jnp.array([5, 2])
    given = nn.Attend(x, memory, memory_lengths=lengths)
    params = net_and_params(layer, given)
    assert params["key"]["w"].shape == (6, 4)
    y, _ = layer.apply(params, {}, given)
    short = nn.Attend(x[1:], memory[1:, :2])
    np.testing.assert_allclose(y[1], layer.apply(params, {}, short)[0][0], atol=1e-6)
    dirty = given._replace(memory=memory.at[1, 2:].set(jnp.inf))
    np.testing.assert_array_equal(y, layer.apply(params, {}, dirty)[0])


def test_masks_of_two_three_and_four_axes_mean_the_same():
    layer, x = MHA(2), numbers(0, 2, 3, 4)
    params = net_and_params(layer, x)
    mask = jnp.tril(jnp.ones((3, 3), bool))
    causal = MHA(2, causal=True).apply(params, {}, x)[0]
    for shape in [(3, 3), (1, 3, 3), (2, 3, 3), (1, 1, 3, 3), (2, 2, 3, 3)]:
        given = nn.Attend(x, mask=jnp.broadcast_to(mask, shape))
        y, _ = layer.apply(params, {}, given)
        np.testing.assert_allclose(y, causal, atol=1e-6)
    both = nn.Attend(x, lengths=jnp.array([3, 2]), mask=~mask)
    y, _ = layer.apply(params, {}, both)
    assert jnp.isfinite(y).all()
    np.testing.assert_allclose(y[0, 2], params["out"]["b"], atol=1e-6)  # saw nothing
    np.testing.assert_allclose(y[1, 1], params["out"]["b"], atol=1e-6)


X = jax.ShapeDtypeStruct((2, 3, 4), jnp.float32)
INTS = jnp.ones((3, 3), jnp.int32)
ONES = jnp.ones((2, 3, 4))


@pytest.mark.parametrize(
    ("layer", "x", "error", "message"),
    [
        (MHA(3), X, ValueError, "heads must divide features.*heads=3 for features=4"),
        (MHA(4, rotary=True), X, ValueError, "must be even, got 4 / 4 = 1"),
        (MHA(2), X.update(shape=(2, 4)), ValueError, r"at least 3 axes.*float32\[2,4"),
        (MHA(2), nn.Attend(X, mask=INTS), TypeError, "mask must hold booleans"),
        (
            MHA(2),
            nn.Attend(X, mask=jnp.ones((3, 2), bool)),
            ValueError,
            r"mask must be \[3, 3\].*bool\[3,2\]",
        ),
        (
            MHA(2),
            nn.Attend(X, mask=jnp.ones(3, bool)),
            ValueError,
            r"mask must be .*bool\[3\]",
        ),
        (
            MHA(2),
            nn.Attend(X, mask=jnp.ones((2, 3, 3, 3), bool)),
            ValueError,
            r"\[2, 2, 3, 3\].*bool\[2,3,3,3\]",
        ),
        (MHA(2), (ONES, jnp.array([4, 1])), ValueError, "1 to 3.*got 4 for example 0"),
        (MHA(2), (X, jnp.array([[1, 1]])), ValueError, "each of the 2 examples"),
        (
            MHA(2),
            nn.Attend(X, ONES, memory_lengths=jnp.array([0, 1])),
            ValueError,
            "memory_lengths must be from 1 to 3.*got 0",
        ),
        (
            MHA(2),
            nn.Attend(X, memory_lengths=jnp.array([1, 1])),
            ValueError,
            "without a memory",
        ),
        (
            MHA(2),
            nn.Attend(X, X.update(shape=(3, 3, 4))),
            ValueError,
            "as many examples",
        ),
        (MHA(2, causal=True), nn.Attend(X, X), ValueError, "causal is for .* itself"),
        (MHA(2, rotary=True), nn.Attend(X, X), ValueError, "rotary is for .* itself"),
    ],
)
def test_what_does_not_fit_is_an_error(layer, x, error, message, key):
    with pytest.raises(error, match=message):
        layer.init(key, x)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"heads": 0}, "heads must be a positive int"),
        ({"heads": 4, "kv_heads": 3}, "kv_heads must divide heads.*kv_heads=3"),
        ({"heads": 4, "features": 6}, "heads must divide features"),
        ({"heads": 2, "features": 6, "rotary": True}, "must be even"),
        ({"heads": 2, "dropout": 1.5}, "dropout must be from 0 to 1"),
        ({"heads": 2, "rotary": -1}, "rotary must be"),
    ],
)
def test_options_are_checked_when_built(options, message):
    with pytest.raises(ValueError, match=message):
        MHA(**options)


def in_parts(layer, params, x, parts, length):
    live = nn.stateful(layer, length)
    state, outputs, start = nn.zero_carry(live, x), [], 0
    for n in parts:
        y, state = live.apply(params, state, x[:, start : start + n])
        outputs, start = [*outputs, y], start + n
    return jnp.concatenate(outputs, 1), state


@pytest.mark.parametrize("parts", [(5,), (1, 1, 1, 1, 1), (3, 2), (1, 3, 1)])
@pytest.mark.parametrize("options", [{}, {"kv_heads": 1, "rotary": True}])
def test_a_cache_changes_nothing(parts, options):
    layer, x = MHA(2, causal=True, **options), numbers(0, 2, 5, 4)
    params = net_and_params(layer, x)
    y, state = in_parts(layer, params, x, parts, 6)
    np.testing.assert_allclose(y, layer.apply(params, {}, x)[0], atol=1e-6)
    assert state["carry"]["position"].tolist() == [5, 5]
    assert state["carry"]["key"].shape == (2, options.get("kv_heads", 2), 6, 2)


def test_rows_of_other_lengths_go_on_each_at_its_own_place():
    layer, x = MHA(2, causal=True, rotary=True), numbers(0, 2, 5, 4)
    params = net_and_params(layer, x)
    live, lengths = nn.stateful(layer, 8), jnp.array([3, 1])
    state = nn.zero_carry(live, x)
    _, state = live.apply(params, state, (x[:, :3], lengths))
    new = jnp.stack([x[0, 3:5], x[1, 1:3]])
    y, _ = live.apply(params, state, new)
    whole, _ = layer.apply(params, {}, x)
    expected = jnp.stack([whole[0, 3:5], whole[1, 1:3]])
    np.testing.assert_allclose(y, expected, atol=1e-6)


def test_a_step_beyond_the_cache_is_nan_and_harms_no_other_row():
    layer, x = MHA(2, causal=True), numbers(0, 2, 4, 4)
    params = net_and_params(layer, x)
    live = nn.stateful(layer, 4)
    _, state = live.apply(params, nn.zero_carry(live, x), (x, jnp.array([4, 2])))
    y, state = live.apply(params, state, x[:, 2:3])
    assert jnp.isnan(y).any((1, 2)).tolist() == [True, False]
    np.testing.assert_allclose(y[1, 0], layer.apply(params, {}, x)[0][1, 2], atol=1e-6)
    assert all(jnp.isfinite(a).all() for a in jax.tree.leaves(state))


def test_only_causal_attention_with_a_length_has_a_cache(key):
    x = jnp.ones((2, 3, 4))
    with pytest.raises(
        ValueError, match="only go on from call to call if it is causal"
    ):
        nn.stateful(MHA(2), 8).init(key, x)
    with pytest.raises(ValueError, match="needs a length"):
        nn.stateful(MHA(2, causal=True)).init(key, x)
    masked = nn.Attend(x, mask=jnp.ones((3, 3), bool))
    with pytest.raises(ValueError, match="a mask cannot"):
        nn.stateful(MHA(2, causal=True), 8).init(key, masked)
    asked = nn.Attend(x, x)
    params, state = nn.stateful(MHA(2)).init(key, asked)
    assert state == {}
    y, _ = nn.stateful(MHA(2)).apply(params, state, asked)
    np.testing.assert_array_equal(y, MHA(2).apply(params, {}, asked)[0])


def test_additive_attention_is_its_formula():
    layer, query, memory = (
        nn.AdditiveAttention(3),
        numbers(0, 2, 4),
        numbers(1, 2, 5, 6),
    )
    lengths = jnp.array([5, 2])
    given = nn.Attend(query, memory, memory_lengths=lengths)
    params = net_and_params(layer, given)
    params["memory"]["b"] = numbers(2, 3)
    (context, weights), _ = layer.apply(params, {}, given)
    p = jax.tree.map(np.asarray, params)
    for n, length in enumerate(lengths.tolist()):
        m, q = np.asarray(memory)[n, :length], np.asarray(query)[n]
        z = np.tanh(q @ p["query"]["w"] + m @ p["memory"]["w"] + p["memory"]["b"])
        w = np.exp(z @ p["score"]["w"][:, 0])
        w = w / w.sum()
        np.testing.assert_allclose(weights[n, :length], w, atol=1e-6)
        assert (weights[n, length:] == 0).all()
        np.testing.assert_allclose(context[n], w @ m, atol=1e-5)
    several = given._replace(x=jnp.stack([query, query], 1))
    (again, _), _ = layer.apply(params, {}, several)
    np.testing.assert_allclose(again[:, 1], context, atol=1e-6)
    with pytest.raises(ValueError, match=r"takes a memory.*float32\[2,4\]"):
        layer.apply(params, {}, query)


def test_an_attentive_recurrence_is_its_loop():
    cell, attention = nn.GRUCell(3), nn.AdditiveAttention(4)
    layer = nn.AttentiveRecurrent(cell, attention)
    x, memory = numbers(0, 2, 4, 2), numbers(1, 2, 5, 6)
    given = nn.Attend(x, memory, jnp.array([4, 2]), jnp.array([3, 5]))
    params = net_and_params(layer, given)
    y, _ = layer.apply(params, {}, given)
    h, carry = jnp.zeros((2, 3)), None
    for t in range(4):
        asked = nn.Attend(h, memory, memory_lengths=given.memory_lengths)
        (context, _), _ = attention.apply(params["attention"], {}, asked)
        inputs = jnp.concatenate([x[:, t], context], -1)
        carry = cell.zero_carry(inputs) if carry is None else carry
        (carry, h), _ = cell.apply(params["cell"], {}, (carry, inputs))
        expected = jnp.concatenate([h, context], -1)
        np.testing.assert_allclose(y[0, t], expected[0], atol=1e-6)
        if t < 2:
            np.testing.assert_allclose(y[1, t], expected[1], atol=1e-6)
    assert (y[1, 2:] == 0).all()


def test_an_attentive_recurrence_goes_on_from_call_to_call():
    layer = nn.AttentiveRecurrent(nn.LSTMCell(3), nn.AdditiveAttention(4))
    given = nn.Attend(numbers(0, 2, 4, 2), numbers(1, 2, 5, 6))
    params = net_and_params(layer, given)
    whole, _ = layer.apply(params, {}, given)
    live = nn.stateful(layer)
    state = nn.zero_carry(live, given)
    first, state = live.apply(params, state, given._replace(x=given.x[:, :3]))
    last, state = live.apply(params, state, given._replace(x=given.x[:, 3:]))
    np.testing.assert_allclose(jnp.concatenate([first, last], 1), whole, atol=1e-6)


def test_what_an_attentive_recurrence_is_made_of_is_checked():
    with pytest.raises(TypeError, match="cell must be"):
        nn.AttentiveRecurrent(nn.Dense(3), nn.AdditiveAttention(4))
    with pytest.raises(TypeError, match="attention must be"):
        nn.AttentiveRecurrent(nn.GRUCell(3), nn.Dense(4))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_materialized_numbers_are_the_same_to_the_bit(dtype):
    x = numbers(0, 3, 4).astype(dtype)
    for first in (0.0, -0.0, jnp.nan, jnp.inf, 1e-30, 5.0, x[0, 0]):
        a = x.at[0, 0].set(jnp.asarray(first, dtype))
        same = jax.jit(materialize)(a)
        np.testing.assert_array_equal(same.astype("float32"), a.astype("float32"))
        g = jax.jit(jax.grad(lambda a: (materialize(a) * x).sum()))(a)
        np.testing.assert_array_equal(g, x)
    assert materialize(x[:0]).shape == (0, 4)
