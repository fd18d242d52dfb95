"""Recurrence: lengths, carries, gradients, stacks, custom cells, bad input."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnn as nn
from jaxnn.ops import cells

KEY = jax.random.key(0)
LENGTHS = jnp.array([5, 2, 1])
X = np.random.default_rng(0).standard_normal((3, 5, 4)).astype(np.float32)
CELLS = {
    "rnn": nn.RNNCell(2, activation=jax.nn.softplus),
    "gru": nn.GRUCell(2),
    "lstm": nn.LSTMCell(2),
    "peepholes": nn.LSTMCell(2, peepholes=True),
    "conv": nn.ConvLSTMCell(2, (3,)),
}


class Plain(nn.Composite):
    """A cell by its single steps alone: `Recurrent` has to loop over them."""

    cell: nn.Layer

    def zero_carry(self, x):
        return self.cell.zero_carry(x)

    def forward(self, run, x):
        return run("cell", x)


class Noisy(nn.Composite):
    """A custom cell with random and ordinary layers inside."""

    dense: nn.Layer = nn.Dense(2)
    drop: nn.Layer = nn.Dropout(0.5)

    def zero_carry(self, x):
        return jnp.zeros((x.shape[0], 2))

    def forward(self, run, x):
        h, x = x
        h = jnp.tanh(run("dense", jnp.concatenate([h, run("drop", x)], axis=-1)))
        return h, 2 * h


def example(name):
    return X[:, :, :, None].repeat(2, -1) if name == "conv" else X


def numbers(tree, seed=1):
    """Random numbers in the place of a tree's."""
    random = np.random.default_rng(seed)
    return jax.tree.map(
        lambda a: jnp.asarray(random.standard_normal(a.shape), a.dtype), tree
    )


def made(layer, x):
    """Parameters without zeros, and a carry without."""
    params, state = layer.init(KEY, x)
    return numbers(params), state, numbers(layer.start(x), 2)


def gradients(layer, state):
    """Outputs, carry, and their gradients by parameters, inputs and first carry."""

    def loss(params, x, carry, lengths):
        out, _ = layer.apply(params, state, nn.Sequences(x, lengths, carry))
        last = jax.tree.leaves(out.carry)
        return (out.x**2).sum() + sum(jnp.sin(a).sum() for a in last), out

    return jax.jit(jax.grad(loss, argnums=(0, 1, 2), has_aux=True))


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("name", CELLS)
def test_padding_changes_nothing_whatever_stands_there(name, reverse):
    layer, x = nn.Recurrent(CELLS[name], reverse=reverse), example(name)
    params, state, carry = made(layer, x)
    step = gradients(layer, state)
    real = np.arange(5)[None] < np.asarray(LENGTHS)[:, None]
    real = real.reshape(real.shape + (1,) * (x.ndim - 2))
    results = [
        step(params, np.where(real, x, np.float32(pad)), carry, LENGTHS)
        for pad in (0, 7, np.nan, np.inf)
    ]
    for result in results[1:]:
        chex.assert_trees_all_equal(result, results[0])
    (_, by_x, _), out = results[0]
    assert not np.any(np.where(real, 0, np.asarray(out.x)))
    assert not np.any(np.where(real, 0, np.asarray(by_x)))

    def alone(i):
        n = int(LENGTHS[i])
        own = jax.tree.map(lambda a: a[i : i + 1], carry)
        return step(params, x[i : i + 1, :n], own, None)

    by_params = jax.tree.map(jnp.zeros_like, params)
    for i in range(3):
        (by_own, by_own_x, by_first), own = alone(i)
        by_params = jax.tree.map(jnp.add, by_params, by_own)
        n = own.x.shape[1]
        given = (out.x[i, :n], by_x[i, :n])
        chex.assert_trees_all_close(given, (own.x[0], by_own_x[0]), atol=2e-6)
        both = (out.carry, results[0][0][2])
        both = jax.tree.map(lambda a, i=i: a[i : i + 1], both)
        chex.assert_trees_all_close(both, (own.carry, by_first), atol=2e-6)
    chex.assert_trees_all_close(results[0][0][0], by_params, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("name", ["rnn", "gru", "lstm"])
def test_the_fast_loop_is_the_loop_over_single_steps(name, reverse):
    cell = CELLS[name]
    fast, slow = (nn.Recurrent(c, reverse=reverse) for c in (cell, Plain(cell)))
    params, state, carry = made(fast, X)
    (by_params, *others), out = gradients(fast, state)(params, X, carry, LENGTHS)
    there = gradients(slow, state)({"cell": params}, X, carry, LENGTHS)
    (by_params_there, *others_there), out_there = there
    chex.assert_trees_all_close(out, out_there, rtol=1e-5, atol=1e-6)
    chex.assert_trees_all_close(by_params, by_params_there["cell"], rtol=1e-4)
    chex.assert_trees_all_close(others, others_there, rtol=1e-4, atol=1e-5)


def loops(name):
    """A fast loop as a function of arrays, and the same by a plain scan."""
    parts = {"rnn": 1, "gru": 3, "lstm": 4}[name]
    shapes = {"u": (4, 3, parts * 2), "b": (parts * 2,), "w": (2, parts * 2)}
    shapes |= {"b_recurrent": (parts * 2,)} if name == "gru" else {}
    shapes |= {"h": (3, 2)} | ({"c": (3, 2)} if name == "lstm" else {})
    random = np.random.default_rng(3)
    arrays = {n: random.standard_normal(shape) for n, shape in shapes.items()}

    def fast(arrays):
        return getattr(cells, name)(**arrays)

    def plain(arrays):
        u, b, w, h = (arrays[n] for n in "ubwh")
        c, hs = arrays.get("c", h), []
        again = arrays.get("b_recurrent", jnp.zeros_like(b))
        for x in u:
            x = jnp.split(x + b[None], parts, axis=1)
            v = jnp.split(h @ w + again[None], parts, axis=1)
            if name == "rnn":
                h = jnp.tanh(x[0] + v[0])
            elif name == "gru":
                r, z = jax.nn.sigmoid(x[0] + v[0]), jax.nn.sigmoid(x[1] + v[1])
                h = (1 - z) * jnp.tanh(x[2] + r * v[2]) + z * h
            else:
                i, f, g, o = (a + b for a, b in zip(x, v, strict=True))
                c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
                h = jax.nn.sigmoid(o) * jnp.tanh(c)
            hs.append(h)
        return ((h, c) if name == "lstm" else h), jnp.stack(hs)

    return fast, plain, arrays


@pytest.mark.slow
@pytest.mark.parametrize("name", ["rnn", "gru", "lstm"])
def test_second_derivatives_and_vmap_are_those_of_the_formula(name):
    with jax.enable_x64(True):
        fast, plain, arrays = loops(name)
        arrays = jax.tree.map(jnp.asarray, arrays)
        direction = numbers(arrays)

        def curvature(f):
            def loss(arrays):
                return sum(jnp.sum(jnp.sin(a)) for a in jax.tree.leaves(f(arrays)))

            def both(arrays):
                return jax.jvp(jax.grad(loss), (arrays,), (direction,)), f(arrays)

            def reverse_over_reverse(arrays):
                def slope(arrays):
                    inner = jax.tree.map(jnp.vdot, jax.grad(loss)(arrays), direction)
                    return sum(jax.tree.leaves(inner))

                return jax.grad(slope)(arrays)

            many = jax.tree.map(lambda a: jnp.stack([a, a / 2]), arrays)
            return jax.jit(jax.vmap(lambda a: (both(a), reverse_over_reverse(a))))(many)

        chex.assert_trees_all_close(curvature(fast), curvature(plain), rtol=1e-9)


def scans(jaxpr):
    """All scans in a program, the inner ones too."""
    for eqn in jaxpr.eqns:
        if eqn.primitive.name == "scan":
            yield eqn.params["jaxpr"].jaxpr
        for inner in jax.tree.leaves(list(eqn.params.values())):
            inner = getattr(inner, "jaxpr", inner)
            yield from scans(inner) if hasattr(inner, "eqns") else ()


@pytest.mark.parametrize("name", ["rnn", "gru", "lstm"])
def test_a_step_of_the_backward_pass_is_one_product(name):
    """And no gradient of the weights goes from step to step."""
    fast, _, arrays = loops(name)
    arrays = jax.tree.map(jnp.float32, arrays)
    program = jax.make_jaxpr(jax.grad(lambda a: fast(a)[1].sum()))(arrays).jaxpr
    bodies = list(scans(program))
    assert len(bodies) == 2
    for body in bodies:
        dots = [e for e in body.eqns if e.primitive.name == "dot_general"]
        assert [d.outvars[0].aval.shape[0] for d in dots] == [3]  # N: not a weight's
        carried = {v.aval.shape for v in body.outvars}
        assert arrays["w"].shape not in carried


def test_precision_of_bfloat16_sequences():
    """Outputs in bfloat16; the carry in float32, and close to the exact one."""
    layer = nn.Recurrent(nn.LSTMCell(2))
    params, state, _ = made(layer, X)
    exact, _ = layer.apply(params, state, nn.Sequences(X, LENGTHS))
    short = jnp.asarray(X, jnp.bfloat16)
    out, _ = layer.apply(params, state, nn.Sequences(short, LENGTHS))
    assert out.x.dtype == jnp.bfloat16
    assert {a.dtype for a in out.carry.values()} == {jnp.dtype("float32")}
    chex.assert_trees_all_close(out.carry, exact.carry, atol=0.05)


def test_a_stack_gives_and_takes_its_carry():
    net = nn.lstm(2, layers=2)
    params, state = net.init(KEY, X)
    whole, _ = net.apply(params, state, nn.Sequences(X))
    first, _ = net.apply(params, state, nn.Sequences(X[:, :3]))
    last, _ = net.apply(params, state, first._replace(x=X[:, 3:]))
    y = jnp.concatenate([first.x, last.x], axis=1)
    chex.assert_trees_all_close((y, last.carry), (whole.x, whole.carry), atol=1e-6)
    assert sorted(whole.carry) == ["layer1", "layer2"]
    plain, _ = net.apply(params, state, X)
    np.testing.assert_array_equal(plain, whole.x)


def test_both_directions_are_two_layers_side_by_side():
    net = nn.Bidirectional(nn.GRUCell(2))
    params, state = net.init(KEY, X)
    y, _ = net.apply(params, state, (X, LENGTHS))
    parts = [
        nn.Recurrent(nn.GRUCell(2), reverse=way == "backward").apply(
            params[way], state, (X, LENGTHS)
        )[0]
        for way in ("forward", "backward")
    ]
    np.testing.assert_array_equal(y, jnp.concatenate(parts, axis=-1))
    assert not np.allclose(
        params["forward"]["input"]["w"], params["backward"]["input"]["w"]
    )


def test_dropout_lies_between_layers_alone():
    stack = nn.rnn(2, layers=2, dropout=1.0)
    params, state = stack.init(KEY, X)
    y, _ = stack.apply(params, state, X, key=KEY, train=True)
    second = nn.Recurrent(nn.RNNCell(2))
    alone, _ = second.apply(params["layer2"], state, jnp.zeros((3, 5, 2)))
    np.testing.assert_array_equal(y, alone)
    assert "dropout" not in nn.rnn(2, dropout=0.5).children()


def test_a_cell_of_ones_own_runs_over_time():
    layer = nn.Recurrent(Noisy())
    params, state = layer.init(KEY, X)
    assert params["dense"]["w"].shape == (6, 2)
    (y, taps), after = nn.Tap(layer, "dense").apply(params, state, (X, LENGTHS))
    assert after == {}
    assert taps["dense"].shape == (5, 3, 2)  # of all steps
    np.testing.assert_array_equal(y[0], 2 * jnp.tanh(taps["dense"][:, 0]))
    a, _ = layer.apply(params, state, jnp.ones((3, 5, 4)), key=KEY, train=True)
    again, _ = layer.apply(params, state, jnp.ones((3, 5, 4)), key=KEY, train=True)
    np.testing.assert_array_equal(a, again)


def test_a_cells_own_state_goes_from_step_to_step():
    class Normal(nn.Composite):
        norm: nn.Layer = nn.BatchNorm(momentum=0.5)

        def zero_carry(self, x):
            return jnp.zeros((x.shape[0], 1))

        def forward(self, run, x):
            carry, x = x
            return carry, run("norm", x)

    layer = nn.Recurrent(Normal())
    params, state = layer.init(KEY, X)
    _, after = layer.apply(params, state, X, train=True)
    for t in range(5):
        _, state["norm"] = nn.BatchNorm(momentum=0.5).apply(
            params["norm"], state["norm"], X[:, t], train=True
        )
    chex.assert_trees_all_close(after, state, rtol=1e-5)


def test_stacks_are_edited_tapped_and_summarized():
    net = nn.Sequential(memory=nn.lstm(2, layers=2, bidirectional=True, dropout=0.5))
    paths = ["memory/layer1/backward", "memory/layer2", "memory/dropout"]
    assert set(paths) < set(nn.layer_paths(net))
    edited = nn.edit(
        net, "memory/*/backward", nn.Recurrent(nn.GRUCell(3), reverse=True)
    )
    edited = nn.edit(edited, "memory/dropout", nn.Identity())
    assert eval(repr(edited), {name: getattr(nn, name) for name in dir(nn)}) == edited
    params, state = edited.init(KEY, X)
    assert params["memory"]["layer2"]["forward"]["input"]["w"].shape == (5, 8)
    (y, taps), _ = nn.Tap(edited, "*/layer?").apply(params, state, (X, LENGTHS))
    np.testing.assert_array_equal(y, taps["memory/layer2"])
    summary = nn.summary(edited, X)
    assert summary.parameters == nn.trees.count(params)
    assert "memory/layer2/backward" in [row.path for row in summary.rows]


def test_the_forget_gate_begins_open():
    cell = nn.LSTMCell(2, forget_bias=3.0)
    params, _ = nn.Recurrent(cell).init(KEY, X)
    expected = [0, 0, 3, 3, 0, 0, 0, 0]
    np.testing.assert_array_equal(params["input"]["b"], expected)


def refuse(match, x, layer=None, error=ValueError):
    layer = layer or nn.Recurrent(nn.GRUCell(2))
    params, state = layer.init(KEY, X)
    with pytest.raises(error, match=match):
        layer.apply(params, state, x)


@pytest.mark.parametrize(
    ("lengths", "match"),
    [
        ([5, 6, 1], "from 1 to 5.*got 6 for example 1"),
        ([5, 0, 1], "got 0 for example 1"),
        ([-1, 2, 1], "got -1 for example 0"),
        ([5, 2], r"one number for each of the 3 examples, \[3\], got int.*\[2\]"),
        ([[5, 2, 1]], "one number for each"),
    ],
)
def test_bad_lengths_are_refused(lengths, match):
    refuse(match, (X, np.array(lengths)))
    refuse(match, (X, np.array(lengths)), nn.gru(2))


def test_bad_input_is_refused():
    refuse("lengths must be integers", (X, np.array([5.0, 2, 1])), error=TypeError)
    refuse("lengths must be integers", (X, [5, 2, 1]), error=TypeError)
    refuse("at least one step", X[:, :0])
    refuse("at least 3 axes", X[0])
    refuse(r"x must be \[N, C\] at each step", X[:, :, :, None])
    refuse("must have 4 features", X[..., :3])
    refuse("must hold floating-point", X.astype(int), error=TypeError)
    refuse("must be an array", (X, LENGTHS, LENGTHS), error=TypeError)
    carry = {"h": jnp.zeros((3, 1))}
    refuse("carry must be {'h': float32.3,2.}", nn.Sequences(X, carry=carry))
    carry = {"c": jnp.zeros((3, 2)), "h": jnp.zeros((3, 2))}
    refuse("carry must be", nn.Sequences(X, carry=carry))


def test_lengths_out_of_range_in_compiled_code_count_as_the_nearest():
    layer = nn.Recurrent(nn.RNNCell(2))
    params, state = layer.init(KEY, X)
    apply = jax.jit(lambda lengths: layer.apply(params, state, (X, lengths))[0])
    y = apply(jnp.array([9, -1, 1]))
    assert np.any(y[0, 4]) and not np.any(y[1])


def test_bad_options_are_refused():
    with pytest.raises(TypeError, match="method zero_carry"):
        nn.Recurrent(nn.Dense(2))
    with pytest.raises(TypeError, match="activation must be a function"):
        nn.RNNCell(2, activation="tanh")
    for make in (nn.rnn, nn.gru, nn.lstm, nn.RNNCell, nn.GRUCell, nn.LSTMCell):
        with pytest.raises(ValueError, match="features must be a positive int"):
            make(0)
    with pytest.raises(ValueError, match="lstm: layers must be a positive int"):
        nn.lstm(2, layers=0)
    with pytest.raises(ValueError, match="dropout must be from 0 to 1"):
        nn.gru(2, dropout=2)
    with pytest.raises(ValueError, match="at least one layer"):
        nn.RecurrentStack()
    with pytest.raises(TypeError, match=r"nn.Recurrent\(cell\) runs it over time"):
        nn.LSTMCell(2).init(KEY, X)
    with pytest.raises(ValueError, match="kernel"):
        nn.ConvLSTMCell(2, 0)
