# SPDX-License-Identifier: Apache-2.0
"""The facts of a first course in deep learning, as jaxnn reproduces them."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree
from jax.test_util import check_grads

import jaxnn as nn

close = np.testing.assert_allclose
rng = np.random.default_rng(0)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def slopes(f, x):
    """The derivative of a function of one number at each of `x`."""
    return jax.vmap(jax.grad(f))(x)


# ---- neurons and networks ----

WORKED = {
    "dense_1": {"w": jnp.array([[1.0, -1], [-2, 1]]), "b": jnp.array([1.0, 0])},
    "dense_2": {"w": jnp.array([[2.0, -2], [-1, -1]]), "b": jnp.array([0.0, 0])},
    "dense_3": {"w": jnp.array([[3.0, -1], [-1, 4]]), "b": jnp.array([-2.0, 2])},
}
worked = nn.Sequential(
    nn.Dense(2),
    jax.nn.sigmoid,
    nn.Dense(2),
    jax.nn.sigmoid,
    nn.Dense(2),
    jax.nn.sigmoid,
)


def test_layer_is_xw_plus_b():
    x, w, b = rng.normal(size=(4, 3)), rng.normal(size=(3, 2)), rng.normal(size=2)
    params = {"w": jnp.float32(w), "b": jnp.float32(b)}
    y, _ = nn.Dense(2).apply(params, {}, jnp.float32(x))
    close(y, x @ w + b[None], rtol=1e-5)
    close(y[0], w.T @ x[0] + b, rtol=1e-5)  # the same for a column


@pytest.mark.parametrize(
    "x, y", [([1.0, -1.0], [0.62, 0.83]), ([0.0, 0.0], [0.51, 0.85])]
)
def test_worked_forward_pass(x, y):
    outputs, _ = worked.apply(WORKED, {}, jnp.array([x]))
    close(outputs[0], y, atol=0.005)


@pytest.mark.parametrize(
    "path, values",
    [
        ("dense_1", [4, -2]),
        ("sigmoid_1", [0.98, 0.12]),
        ("dense_2", [1.84, -2.08]),
        ("sigmoid_2", [0.86, 0.11]),
        ("sigmoid_3", [0.62, 0.83]),
    ],
)
def test_worked_forward_pass_inside(path, values):
    (_, inside), _ = nn.Tap(worked, path).apply(WORKED, {}, jnp.array([[1.0, -1.0]]))
    close(inside[path][0], values, atol=0.005)


BITS = jnp.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
AND, OR, XOR = [0, 0, 0, 1], [0, 1, 1, 1], [0, 1, 1, 0]
perceptron = nn.Sequential(nn.Dense(1), nn.step)


def perceptron_step(params, batch):
    x, t = batch
    mistake = t - perceptron.apply(params, {}, x)[0]
    w, b = params["dense_1"]["w"], params["dense_1"]["b"]
    new = {"w": w + 0.5 * x.T @ mistake, "b": b + 0.5 * mistake.sum(0)}
    return {"dense_1": new}, {"errors": jnp.abs(mistake).mean()}


def perceptron_errors(targets, epochs):
    """The share of mistakes in each epoch of the perceptron rule."""
    data = BITS, jnp.float32(targets)[:, None]
    start = {"dense_1": {"w": jnp.zeros((2, 1)), "b": jnp.zeros(1)}}
    _, history = nn.fit(
        perceptron_step,
        data,
        state=start,
        epochs=epochs,
        batch_size=1,
        key=jax.random.key(0),
    )
    return np.array(history["errors"])


@pytest.mark.parametrize("targets", [AND, OR])
def test_perceptron_learns_what_a_line_separates(targets):
    errors = perceptron_errors(targets, 30)
    assert errors[0] > 0
    assert (errors[-10:] == 0).all()


def test_perceptron_can_not_learn_xor():
    assert perceptron_errors(XOR, 200).min() > 0


def test_fixed_two_layer_net_computes_xor():
    net = nn.Sequential(nn.Dense(2), jax.nn.sigmoid, nn.Dense(1), jax.nn.sigmoid)
    hidden = {"w": jnp.array([[20.0, -20], [20, -20]]), "b": jnp.array([-10.0, 30])}
    out = {"w": jnp.array([[20.0], [20]]), "b": jnp.array([-30.0])}
    y, _ = net.apply({"dense_1": hidden, "dense_2": out}, {}, BITS)
    close(y[:, 0], XOR, atol=1e-4)


def test_training_finds_a_net_for_xor():
    net = nn.Sequential(nn.Dense(8), jnp.tanh, nn.Dense(1))
    data = BITS, jnp.float32(XOR)[:, None]
    state, history = nn.fit(
        net,
        data,
        loss=nn.losses.sigmoid_cross_entropy,
        optimizer=optax.adam(0.1),
        epochs=150,
        batch_size=4,
        key=jax.random.key(0),
    )
    close(jax.nn.sigmoid(nn.predict(net, state, BITS))[:, 0], XOR, atol=0.05)
    assert history["loss"][-1] < 0.1 * history["loss"][0]


# ---- activations and output layers ----

X = jnp.linspace(-3, 3, 24)  # without 0, where some have no derivative


def test_step_is_the_threshold_unit():
    assert nn.step(jnp.array([-2.0, 0.0, 1e-6, 3.0])).tolist() == [0, 0, 1, 1]
    close(slopes(nn.step, X), 0)


def test_sigmoid_derivative():
    y = jax.nn.sigmoid(X)
    close(slopes(jax.nn.sigmoid, X), y * (1 - y), rtol=1e-5)
    assert float(slopes(jax.nn.sigmoid, jnp.zeros(1))[0]) == 0.25  # its largest


@pytest.mark.parametrize("slope", [0.1, 0.01])
def test_leaky_relu_slope_by_partial(slope):
    leaky = partial(jax.nn.leaky_relu, negative_slope=slope)
    y, _ = nn.Sequential(leaky).apply({}, {}, X[:, None])
    close(y[:, 0], np.where(X > 0, X, slope * X), rtol=1e-6)
    close(slopes(leaky, X), np.where(X > 0, 1, slope), rtol=1e-6)


ALPHA, SCALE = 1.6732632423543772, 1.0507009873554805  # of SELU, from its paper


@pytest.mark.parametrize(
    "function, value, slope",
    [
        (lambda x: x, lambda x: x, np.ones_like),
        (jnp.tanh, np.tanh, lambda x: 1 - np.tanh(x) ** 2),
        (jax.nn.relu, lambda x: np.maximum(x, 0), lambda x: 1.0 * (x > 0)),
        (
            jax.nn.elu,
            lambda x: np.where(x > 0, x, np.exp(x) - 1),
            lambda x: np.where(x > 0, 1, np.exp(x)),
        ),
        (
            jax.nn.selu,
            lambda x: SCALE * np.where(x > 0, x, ALPHA * (np.exp(x) - 1)),
            lambda x: SCALE * np.where(x > 0, 1, ALPHA * np.exp(x)),
        ),
        (jax.nn.softplus, lambda x: np.log(1 + np.exp(x)), sigmoid),
    ],
    ids=["identity", "tanh", "relu", "elu", "selu", "softplus"],
)
def test_activations_and_derivatives(function, value, slope):
    x = np.float64(X)
    y, _ = nn.Sequential(function).apply({}, {}, X[:, None])
    close(y[:, 0], value(x), rtol=1e-5, atol=1e-6)
    close(slopes(function, X), slope(x), rtol=1e-5, atol=1e-6)


def test_prelu_learns_its_slope():
    x = X[:, None]
    state, _ = nn.fit(
        nn.PReLU(),
        (x, jnp.where(x > 0, x, -0.7 * x)),
        loss=nn.losses.mean_squared_error,
        optimizer=optax.sgd(0.2),
        epochs=60,
        batch_size=len(x),
        key=jax.random.key(0),
    )
    close(state.params["scale"], -0.7, atol=1e-3)


def test_maxout_is_the_largest_of_its_affine_maps():
    x, w, b = (
        rng.normal(size=(5, 3)),
        rng.normal(size=(2, 3, 4)),
        rng.normal(size=(2, 4)),
    )
    params = {"w": jnp.float32(w), "b": jnp.float32(b)}
    y, _ = nn.Maxout(4, pieces=2).apply(params, {}, jnp.float32(x))
    close(y, np.maximum(x @ w[0] + b[:1], x @ w[1] + b[1:]), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "scores, shares",
    [
        ([2.0, 1.0, 0.1], [0.659, 0.242, 0.099]),
        (
            [1.2, 0.9, 0.4],
            [0.456, 0.338, 0.205],
        ),  # cut off, not rounded, after 3 digits
    ],
)
def test_softmax(scores, shares):
    y, _ = nn.Sequential(jax.nn.softmax).apply({}, {}, jnp.array([scores]))
    close(y[0], shares, atol=1e-3)
    close(y.sum(), 1, rtol=1e-6)


@pytest.mark.parametrize(
    "function, low, high",
    [
        (jax.nn.relu, 0, np.inf),
        (jax.nn.softplus, 0, np.inf),
        (jax.nn.sigmoid, 0, 1),
        (jnp.tanh, -1, 1),
    ],
)
def test_output_layer_keeps_its_bounds(function, low, high):
    net, x = (
        nn.Sequential(nn.Dense(3), function),
        5 * jnp.float32(rng.normal(size=(50, 4))),
    )
    y = nn.predict(net, net.init(jax.random.key(0), x), x)
    assert (y >= low).all() and (y <= high).all()
    middle = (low + min(high, 1)) / 2
    assert (y > middle).any() and (y < middle).any()


def test_one_hot_and_back():
    labels = np.array([2, 0, 1, 2])
    rows = nn.data.one_hot(labels, 3)
    assert rows.tolist() == [[0, 0, 1], [1, 0, 0], [0, 1, 0], [0, 0, 1]]
    assert nn.data.from_one_hot(rows).tolist() == labels.tolist()


def test_initial_values_normal_0_01():
    net = nn.Dense(400, w_init=nn.initializers.normal(0.1))
    params, _ = net.init(jax.random.key(0), jnp.ones((1, 250)))
    w = np.float64(params["w"])
    n = w.size
    assert abs(w.mean()) < 4 * 0.1 / np.sqrt(n)
    assert abs(w.std() - 0.1) < 4 * 0.1 / np.sqrt(2 * n)
    close(np.mean((w / 0.1) ** 4), 3, atol=4 * np.sqrt(96 / n))  # that of a normal
    assert nn.initializers.normal() == nn.initializers.normal(0.1)


# ---- gradients ----

small = nn.Sequential(nn.Dense(3), jax.nn.sigmoid, nn.Dense(2))
loss = nn.losses.mean_squared_error


def small_data():
    return rng.normal(size=(6, 2)), rng.normal(size=(6, 2))


def small_loss(params, x, t):
    return loss(small.apply(params, {}, x)[0], t).mean()


def numpy_gradient(params, x, t):
    """Back-propagation by hand: the chain rule, from the loss to the first layer."""
    w1, b1 = params["dense_1"]["w"], params["dense_1"]["b"]
    w2, b2 = params["dense_2"]["w"], params["dense_2"]["b"]
    a = sigmoid(x @ w1 + b1[None])
    y = a @ w2 + b2[None]
    dy = 2 * (y - t) / y.size
    dz = (dy @ w2.T) * a * (1 - a)  # σ' = σ(1 − σ)
    return {
        "dense_1": {"w": x.T @ dz, "b": dz.sum(0)},
        "dense_2": {"w": a.T @ dy, "b": dy.sum(0)},
    }


def start(x, seed=0):
    params, _ = small.init(jax.random.key(seed), jnp.asarray(x))
    return params


def all_close(a, b, **tolerance):
    jax.tree.map(partial(close, **tolerance), a, b)


def test_grad_is_back_propagation(double):
    x, t = small_data()
    params = start(x)
    by_hand = numpy_gradient(jax.tree.map(np.asarray, params), x, t)
    all_close(jax.grad(small_loss)(params, x, t), by_hand, rtol=1e-10)


def test_grad_agrees_with_finite_differences(double):
    x, t = small_data()
    params = start(x)
    assert params["dense_1"]["w"].dtype == jnp.float64
    check_grads(lambda p: small_loss(p, x, t), (params,), order=2, eps=1e-5)
    gradient, step = jax.grad(small_loss)(params, x, t), 1e-6
    for i, j in np.ndindex(2, 3):
        up, down = (
            small_loss(moved(params, i, j, sign * step), x, t) for sign in (1, -1)
        )
        close(gradient["dense_1"]["w"][i, j], (up - down) / (2 * step), rtol=1e-6)


def moved(params, i, j, by):
    """The parameters with one weight of the first layer moved."""
    first = params["dense_1"]
    return {**params, "dense_1": {**first, "w": first["w"].at[i, j].add(by)}}


def test_hessian_agrees_with_finite_differences(double):
    x, t = small_data()
    flat, tree = ravel_pytree(start(x))

    def f(flat):
        return small_loss(tree(flat), x, t)

    step = 1e-5 * jnp.eye(len(flat))
    gradients = jax.vmap(jax.grad(f))
    differences = gradients(flat[None] + step) - gradients(flat[None] - step)
    hessian = jax.hessian(f)(flat)
    close(hessian, differences / 2e-5, rtol=1e-6, atol=1e-8)
    close(hessian, hessian.T, atol=1e-12)


def test_squared_error_after_a_sigmoid_hardly_learns_where_it_is_wrong():
    z, t = jnp.array([-8.0]), jnp.array([1.0])  # sure, and wrong
    y = jax.nn.sigmoid(z)

    def squared(z):
        return nn.losses.mean_squared_error(jax.nn.sigmoid(z), t).sum()

    def crossed(z):
        return nn.losses.sigmoid_cross_entropy(z, t).sum()

    close(jax.grad(squared)(z), 2 * (y - t) * y * (1 - y), rtol=1e-4)
    close(jax.grad(crossed)(z), y - t, rtol=1e-5)
    assert abs(jax.grad(squared)(z)[0]) < 1e-3 * abs(jax.grad(crossed)(z)[0])


# ---- training ----


@pytest.mark.parametrize("batch_size", [1, 4, 10], ids=["stochastic", "mini", "full"])
def test_gradient_descent_equals_a_numpy_loop(double, batch_size):
    x, t = rng.normal(size=(10, 2)), rng.normal(size=(10, 2))
    key, optimizer, epochs = jax.random.key(3), optax.sgd(0.1), 4
    begin = nn.train_state(small, optimizer, x, key=key)
    state, _ = nn.fit(
        small,
        (x, t),
        loss=loss,
        optimizer=optimizer,
        epochs=epochs,
        batch_size=batch_size,
        state=begin,
    )
    params = jax.tree.map(np.asarray, begin.params)
    for epoch in range(epochs):
        order = np.asarray(nn.train.epoch_order(key, epoch, 10))
        for i in range(0, 10, batch_size):
            rows = order[i : i + batch_size]
            gradient = numpy_gradient(params, x[rows], t[rows])
            params = jax.tree.map(lambda p, g: p - 0.1 * g, params, gradient)
    all_close(state.params, params, rtol=1e-9)


def test_momentum_is_a_heavy_ball(double):
    x, t = small_data()
    optimizer = optax.sgd(0.1, momentum=0.9)
    state = nn.train_state(small, optimizer, x, key=jax.random.key(0))
    step = jax.jit(nn.train_step(small, loss, optimizer))
    params = jax.tree.map(np.asarray, state.params)
    velocity = jax.tree.map(np.zeros_like, params)
    for _ in range(8):
        state, _ = step(state, (x, t))
        gradient = numpy_gradient(params, x, t)
        velocity = jax.tree.map(lambda v, g: 0.9 * v + g, velocity, gradient)
        params = jax.tree.map(lambda p, v: p - 0.1 * v, params, velocity)
    all_close(state.params, params, rtol=1e-9)


def test_each_epoch_has_an_order_of_its_own():
    key = jax.random.key(0)
    orders = [nn.train.epoch_order(key, epoch, 50).tolist() for epoch in range(5)]
    assert all(sorted(order) == list(range(50)) for order in orders)
    assert len({tuple(order) for order in orders}) == 5
    assert orders[3] == nn.train.epoch_order(key, 3, 50).tolist()
    assert orders[0] != nn.train.epoch_order(jax.random.key(1), 0, 50).tolist()


def note_rows(state, batch):
    """A step that learns nothing and writes down the rows that it was given."""
    rows, at = batch["row"], state["at"]
    seen = jax.lax.dynamic_update_slice_in_dim(state["seen"], rows, at, 0)
    return {"seen": seen, "at": at + len(rows)}, {"rows": jnp.float32(len(rows))}


def test_an_epoch_is_all_mini_batches_once():
    state = {"seen": jnp.zeros(3 * 22, jnp.int32), "at": jnp.int32(0)}
    state, history = nn.fit(
        note_rows,
        {"row": jnp.arange(22)},
        state=state,
        epochs=3,
        batch_size=8,  # two full batches and one of 6
        key=jax.random.key(0),
    )
    seen = np.asarray(state["seen"]).reshape(3, 22)
    assert [sorted(epoch) for epoch in seen.tolist()] == [list(range(22))] * 3
    assert len({tuple(epoch) for epoch in seen.tolist()}) == 3
    close(history["rows"], (8 * 8 + 8 * 8 + 6 * 6) / 22)


def rates(schedule, epochs):
    """The learning rates of a run, from a weight whose gradient is always 1."""
    net = nn.Dense(1, bias=False, w_init=nn.initializers.zeros())
    weights = [0.0]
    nn.fit(
        net,
        (jnp.ones((3, 1)), jnp.full((3, 1), -100.0)),
        loss=nn.losses.mean_absolute_error,
        optimizer=optax.sgd(schedule),
        epochs=epochs,
        batch_size=1,
        key=jax.random.key(0),
        callbacks=[
            lambda epoch, state, _: weights.append(float(state.params["w"][0, 0]))
        ],
    )
    return -np.diff(weights)  # the sum of the rates of each epoch's three steps


def test_schedule_by_the_root_of_the_step():
    def schedule(t):
        return 0.5 / jnp.sqrt(t + 1)

    steps = 0.5 / np.sqrt(np.arange(12) + 1)
    close(rates(schedule, 4), steps.reshape(4, 3).sum(1), rtol=1e-5)


def test_step_decay_every_few_epochs():
    def schedule(t):
        return jnp.float32(0.5) ** (t // 6)  # halved every two epochs of three steps

    close(rates(schedule, 6), [3, 3, 1.5, 1.5, 0.75, 0.75], rtol=1e-6)


@pytest.mark.parametrize(
    "gradients, roots", [((0.1, 0.2), (0.1, 0.22)), ((20.0, 10.0), (20, 22))]
)
def test_adagrad_divides_by_the_root_of_past_squares(gradients, roots):
    optimizer = optax.adagrad(0.5, initial_accumulator_value=0.0, eps=0.0)
    params = jnp.zeros(())
    state, steps = optimizer.init(params), []
    for g, root in zip(gradients, roots, strict=True):
        update, state = optimizer.update(jnp.float32(g), state, params)
        steps.append(-np.asarray(update) / g)  # α_θ
        close(steps[-1], 0.5 / root, rtol=0.02)  # as printed, to two digits
    close(steps, [0.5 / gradients[0], 0.5 / np.hypot(*gradients)], rtol=1e-6)


def test_adagrad_trains_as_written(double):
    x, t = small_data()
    optimizer = optax.adagrad(0.3, initial_accumulator_value=0.0, eps=0.0)
    state = nn.train_state(small, optimizer, x, key=jax.random.key(0))
    step = jax.jit(nn.train_step(small, loss, optimizer))
    params = jax.tree.map(np.asarray, state.params)
    squares = jax.tree.map(np.zeros_like, params)
    for _ in range(5):
        state, _ = step(state, (x, t))
        gradient = numpy_gradient(params, x, t)
        squares = jax.tree.map(lambda s, g: s + g**2, squares, gradient)
        params = jax.tree.map(
            lambda p, g, s: p - 0.3 / np.sqrt(s) * g, params, gradient, squares
        )
    all_close(state.params, params, rtol=1e-9)


SCORES = np.array(
    [[73, 80, 75], [93, 88, 93], [89, 91, 90], [96, 98, 100], [73, 66, 70]], np.float64
)
FINAL = np.array([[152.0], [185], [180], [196], [142]])


@pytest.mark.parametrize("outputs", [1, 2])
def test_linear_regression(double, outputs):
    targets = np.concatenate([FINAL, 2 * FINAL - 10], axis=1)[:, :outputs]
    net, optimizer = nn.Dense(outputs), optax.sgd(1e-6)
    begin = nn.train_state(net, optimizer, SCORES, key=jax.random.key(0))
    step = nn.train_step(net, loss, optimizer)
    state, logs = jax.jit(
        lambda state: jax.lax.scan(
            lambda state, _: step(state, (SCORES, targets)), state, None, length=2000
        )
    )(begin)
    w, b = (np.array(begin.params[name]) for name in ("w", "b"))
    for _ in range(2000):
        slope = 2 * (SCORES @ w + b[None] - targets) / targets.size
        w, b = w - 1e-6 * SCORES.T @ slope, b - 1e-6 * slope.sum(0)
    assert w.shape == (3, outputs)
    all_close(state.params, {"w": w, "b": b}, rtol=1e-8)

    losses = np.asarray(logs["loss"])
    with_one = np.concatenate([SCORES, np.ones((5, 1))], axis=1)
    _, residual, *_ = np.linalg.lstsq(with_one, targets, rcond=None)
    best = residual.sum() / targets.size
    assert (np.diff(losses) < 0).all()
    assert losses[-1] > best and losses[-1] - best < 0.01 * (losses[0] - best)


# ---- convolutional networks ----

PICTURE = np.array(
    [
        [1, 1, 1, 0, 0],
        [0, 1, 1, 1, 0],
        [0, 0, 1, 1, 1],
        [0, 0, 1, 1, 0],
        [0, 1, 1, 0, 0],
    ]
)
KERNEL = np.array([[1, 0, 1], [0, 1, 0], [1, 0, 1]])


def convolve(picture, kernel, bias=0.0, **options):
    """One picture, [H, W] or [H, W, C], through a convolution of one feature."""
    x = jnp.float32(picture).reshape(1, *picture.shape[:2], -1)
    w = jnp.float32(kernel).reshape(*kernel.shape[:2], -1, 1)
    layer = nn.Conv(1, kernel.shape[:2], **options)
    y, _ = layer.apply({"w": w, "b": jnp.full(1, bias)}, {}, x)
    return y[0, ..., 0]


def test_convolution_is_slide_multiply_add():
    slid = convolve(PICTURE, KERNEL, padding="VALID")
    close(slid, [[4, 3, 4], [2, 4, 3], [2, 3, 4]])
    by_hand = [
        [(PICTURE[i : i + 3, j : j + 3] * KERNEL).sum() for j in range(3)]
        for i in range(3)
    ]
    close(slid, by_hand)


def test_three_channels_add_up_to_one_number():
    corner = np.stack(
        [
            [[0, 0, 0], [0, 156, 155], [0, 153, 154]],
            [[0, 0, 0], [0, 167, 166], [0, 164, 165]],
            [[0, 0, 0], [0, 163, 162], [0, 160, 161]],
        ],
        axis=-1,
    )
    kernels = np.stack(
        [
            [[-1, -1, 1], [0, 1, -1], [0, 1, 1]],
            [[1, 0, 0], [1, -1, -1], [1, 0, -1]],
            [[0, 1, 1], [0, 1, 0], [1, -1, 1]],
        ],
        axis=-1,
    )
    channels = [
        convolve(corner[..., c], kernels[..., c], padding="VALID") for c in range(3)
    ]
    close(np.ravel(channels), [308, -498, 164])
    close(convolve(corner, kernels, bias=1.0, padding="VALID"), [[-25]])


def test_zero_padding_keeps_the_size():
    framed = np.pad(PICTURE, 1)
    assert framed.shape == (7, 7)
    same = convolve(PICTURE, KERNEL, padding="SAME")
    assert same.shape == (5, 5)
    close(same, convolve(framed, KERNEL, padding="VALID"))
    close(same[1:-1, 1:-1], [[4, 3, 4], [2, 4, 3], [2, 3, 4]])


@pytest.mark.parametrize("padding, size", [("VALID", 2), ("SAME", 3)])
def test_stride_skips_places(padding, size):
    every = convolve(PICTURE, KERNEL, padding=padding)
    strided = convolve(PICTURE, KERNEL, padding=padding, stride=2)
    assert strided.shape == (size, size)
    close(strided, every[::2, ::2])


def test_max_pooling_keeps_the_largest():
    x = jnp.array([[1.0, 3, 2, 1], [4, 6, 5, 0], [0, 2, 9, 7], [1, 1, 8, 3]])
    y, _ = nn.MaxPool(2).apply({}, {}, x[None, ..., None])
    close(y[0, ..., 0], [[6, 5], [2, 9]])


def test_convolution_pooling_and_a_classifier_learn():
    """Vertical bars from horizontal ones, wherever they are."""
    x = np.zeros((12, 6, 6, 1), np.float32)
    for i in range(6):
        x[i, :, i], x[6 + i, i, :] = 1, 1
    labels = np.repeat([0, 1], 6)
    net = nn.Sequential(
        nn.Conv(4, 3), jax.nn.relu, nn.MaxPool(2), nn.Flatten(), nn.Dense(2)
    )
    _, history = nn.fit(
        net,
        (x, labels),
        loss=nn.losses.softmax_cross_entropy,
        optimizer=optax.adam(0.05),
        epochs=40,
        batch_size=12,
        key=jax.random.key(0),
        metrics={"accuracy": nn.metrics.accuracy},
    )
    assert history["loss"][0] > 0.5 > 0.05 > history["loss"][-1]
    assert history["accuracy"][-1] == 1


def layers(net, kind):
    """The paths of a network's layers of a kind."""
    return [p for p, layer in nn.layer_paths(net).items() if isinstance(layer, kind)]


def test_alexnet_normalizes_local_responses():
    original = nn.models.alexnet(original=True)
    assert len(layers(original, nn.LocalResponseNorm)) == 2
    assert len(layers(original, nn.Conv)) == 5
    assert len(layers(original, nn.Dense)) == 3


def test_vgg_16_has_sixteen_layers_of_weights():
    net = nn.models.vgg(16)
    assert len(layers(net, nn.Conv)) == 13
    assert {nn.layer_paths(net)[p].kernel for p in layers(net, nn.Conv)} == {3}
    assert len(layers(net, nn.Dense)) == 3


def test_googlenet_has_nine_inceptions_and_one_fully_connected_layer():
    net = nn.models.googlenet(auxiliary=False)
    assert len(layers(net, nn.Concat)) == 9
    assert len(layers(net, nn.BatchNorm)) == len(layers(net, nn.Conv)) == 57
    assert layers(net, nn.Dense) == ["head"]


def test_resnet_goes_around_its_blocks():
    """With all of a block's weights at zero, its input comes out as it went in."""
    net = nn.models.resnet(18, classes=10, width=8)
    block = nn.layer_paths(net)["stage1/block2"]
    x = jnp.abs(jax.random.normal(jax.random.key(0), (2, 8, 8, 8)))
    shapes = jax.eval_shape(block.init, jax.random.key(1), x)
    params, state = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), shapes)
    y, _ = jax.jit(block.apply)(params, state, x)
    close(y, x)
