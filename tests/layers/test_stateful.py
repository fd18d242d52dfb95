"""Networks that go on: in chunks, step by step, in training through truncated time."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxnn as nn

X = np.random.default_rng(0).standard_normal((3, 6, 4)).astype(np.float32)
KEY = jax.random.key(0)


def mean_square(outputs, targets):
    return jnp.square(outputs - targets).mean((1, 2))


def in_chunks(live, params, x, sizes, state=None):
    state, outputs, at = nn.zero_carry(live, x, state), [], 0
    for size in sizes:
        y, state = live.apply(params, state, x[:, at : at + size])
        outputs.append(y)
        at += size
    return jnp.concatenate(outputs, axis=1), state


@pytest.mark.parametrize(
    "net",
    [
        nn.Sequential(nn.lstm(3, layers=2), nn.Dense(2)),
        nn.Sequential(nn.Residual(nn.Recurrent(nn.GRUCell(4)))),
        nn.Repeat(nn.rnn(4), 2),
        nn.Remat(nn.Recurrent(nn.LSTMCell(2, peepholes=True))),
    ],
    ids=["stack", "residual", "repeat", "remat"],
)
def test_pieces_of_any_length_are_the_whole(net):
    params, state = net.init(KEY, X)
    whole, _ = net.apply(params, state, X)
    live = nn.stateful(net)
    assert jax.tree.structure(live.init(KEY, X)[0]) == jax.tree.structure(params)
    y, _ = in_chunks(live, params, X, (3, 1, 2))
    np.testing.assert_allclose(y, whole, rtol=1e-5, atol=1e-6)


def test_a_network_that_is_one_layer_goes_on_too():
    layer = nn.Recurrent(nn.GRUCell(3))
    params, state = layer.init(KEY, X)
    y, state_after = in_chunks(nn.stateful(layer), params, X, (1,) * 6)
    out, _ = layer.apply(params, state, nn.Sequences(X))
    np.testing.assert_allclose(y, out.x, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(state_after["carry"]["h"], out.carry["h"], rtol=1e-5)


def test_ragged_prompts_go_on_each_from_its_own_end():
    net = nn.gru(3, layers=2)
    params, _ = net.init(KEY, X)
    live = nn.stateful(net)
    prompt = X.copy()
    prompt[1, 2:] = np.nan
    _, state = live.apply(
        params, nn.zero_carry(live, X), (prompt, jnp.array([6, 2, 6]))
    )
    y, _ = live.apply(params, state, X[:, :1])
    alone = np.concatenate([X[1:2, :2], X[1:2, :1]], axis=1)
    expected, _ = net.apply(params, {}, alone)
    np.testing.assert_allclose(y[1, 0], expected[0, -1], rtol=1e-5, atol=1e-6)


def test_a_carry_that_is_given_comes_before_the_one_in_the_state():
    layer = nn.Recurrent(nn.RNNCell(2))
    params, _ = layer.init(KEY, X)
    live, carry = nn.stateful(layer), {"h": jnp.ones((3, 2))}
    given = nn.Sequences(X, carry=carry)
    out, state = live.apply(params, nn.zero_carry(live, X), given)
    expected, _ = layer.apply(params, {}, given)
    np.testing.assert_array_equal(out.x, expected.x)
    np.testing.assert_array_equal(state["carry"]["h"], expected.carry["h"])


def test_state_of_other_kinds_is_kept_beside_the_memory():
    net = nn.Sequential(nn.BatchNorm(), nn.rnn(2))
    _, state = net.init(KEY, X)
    live = nn.stateful(net)
    trained = {"batch_norm_1": {k: v + 1 for k, v in state["batch_norm_1"].items()}}
    fresh = nn.zero_carry(live, X, trained)
    np.testing.assert_array_equal(fresh["batch_norm_1"]["var"], 2)
    assert fresh["recurrent_stack_1"]["layer1"]["carry"]["h"].shape == (3, 2)
    assert jax.tree.structure(fresh) == jax.tree.structure(live.init(KEY, X)[1])
    with pytest.raises(ValueError, match="batch_norm_1/mean"):
        nn.zero_carry(live, X)


def test_fit_carries_the_state_from_batch_to_batch():
    """Truncated back-propagation through time, against a loop written by hand."""
    streams = np.random.default_rng(1).standard_normal((2, 12, 3)).astype(np.float32)
    chunks = np.concatenate(np.split(streams, 3, axis=1))  # 3 batches of 2 streams
    targets = np.cumsum(chunks, axis=1)[..., :2]
    net, optimizer = nn.lstm(2), optax.sgd(0.1)
    state, history = nn.fit(
        nn.stateful(net),
        (chunks, targets),
        loss=mean_square,
        optimizer=optimizer,
        epochs=1,
        batch_size=2,
        shuffle=False,
        key=KEY,
        progress=False,
    )

    def loss(params, carry, x, y):
        out, _ = net.apply(params, {}, nn.Sequences(x, carry=carry))
        return mean_square(out.x, y).mean(), out.carry

    step = jax.jit(jax.value_and_grad(loss, has_aux=True))
    params = nn.train_state(net, optimizer, chunks[:2], key=KEY).params
    carry = {"layer1": {name: jnp.zeros((2, 2)) for name in "ch"}}
    losses = []
    for x, y in zip(np.split(chunks, 3), np.split(targets, 3), strict=True):
        (value, carry), gradients = step(params, carry, x, y)
        params = jax.tree.map(lambda p, g: p - 0.1 * g, params, gradients)
        losses.append(value)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
        (state.params, state.state["layer1"]["carry"]),
        (params, carry["layer1"]),
    )
    assert history["loss"][0] == pytest.approx(np.mean(losses), rel=1e-5)
    # What training remembers of its last batch is for no other.
    empty = nn.zero_carry(nn.stateful(net), chunks[:5], state.state)
    assert all(a.shape == (5, 2) and not a.any() for a in jax.tree.leaves(empty))
    with pytest.raises(ValueError) as caught:
        nn.predict(nn.stateful(net), state, chunks)
    assert any(
        "the network that stateful was given" in n for n in caught.value.__notes__
    )
    assert nn.predict(net, state, chunks).shape == targets.shape


def test_a_memory_of_one_example_is_for_one():
    """Rounded batches would need the memory of more."""
    net = nn.Sequential(nn.lstm(2), nn.Dense(1))
    x = jax.random.normal(KEY, (3, 4, 2))
    params, _ = net.init(KEY, x)
    live = nn.stateful(net)
    state = params, nn.zero_carry(live, x[:1])
    expected = net.apply(params, {}, x[:1])[0]
    np.testing.assert_allclose(nn.predict(live, state, x[:1]), expected, rtol=1e-6)
    loss = nn.losses.mean_squared_error
    assert nn.evaluate(live, state, (x[:1], expected), loss=loss)["loss"] < 1e-12
    with pytest.raises(ValueError, match=r"for x float32\[2,4,2\]") as caught:
        nn.predict(live, state, x)
    assert "the network that stateful was given" in str(caught.value.__notes__)


def test_what_can_not_go_on_is_refused_with_its_path():
    with pytest.raises(ValueError, match="in reverse") as caught:
        nn.stateful(nn.Sequential(body=nn.lstm(2, bidirectional=True)))
    assert "in body/layer1/backward" in caught.value.__notes__[0]
    with pytest.raises(ValueError, match="no layer with a carry"):
        nn.stateful(nn.Dense(2))
    with pytest.raises(ValueError, match="length must be a positive int"):
        nn.stateful(nn.rnn(2), length=0)


def test_a_batch_of_another_size_than_the_memory_is_refused():
    net = nn.Sequential(memory=nn.gru(2))
    params, _ = net.init(KEY, X)
    live = nn.stateful(net)
    state = nn.zero_carry(live, X)
    with pytest.raises(ValueError, match=r"float32\[2,2\].*got .*float32\[3,2\]"):
        live.apply(params, state, X[:2])


def test_an_edited_or_tapped_network_goes_on():
    net = nn.Sequential(memory=nn.gru(2), head=nn.Dense(2))
    params, _ = net.init(KEY, X)
    live = nn.Tap(nn.stateful(net), "memory/layer1")
    state = nn.zero_carry(nn.stateful(net), X)
    (_, taps), after = live.apply(params, state, X)
    assert taps["memory/layer1"].shape == (3, 6, 2)
    assert jax.tree.structure(after) == jax.tree.structure(state)
    np.testing.assert_array_equal(
        after["memory"]["layer1"]["carry"]["h"], taps["memory/layer1"][:, -1]
    )
