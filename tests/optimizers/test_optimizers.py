# SPDX-License-Identifier: Apache-2.0
"""Penalties, limits and averages around Optax optimizers: formulas, groups, resume."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxnn as nn
from jaxnn.train.step import apply_updates

opt = nn.optimizers
RNG = np.random.default_rng(0)
X = RNG.standard_normal((24, 5)).astype(np.float32)
Y = (X @ RNG.standard_normal((5, 3))).argmax(1)
NET = nn.Sequential(
    body=nn.Dense(6), norm=nn.BatchNorm(), relu=jax.nn.relu, head=nn.Dense(3)
)
KEY = jax.random.key(1)
LOSS = nn.losses.softmax_cross_entropy
PARAMS = {
    "body": {"w": jnp.array([[1.0, -2.0], [0.5, 0.0]]), "b": jnp.array([3.0, -1.0])},
    "norm": {"scale": jnp.ones(2), "offset": jnp.array([0.1, 0.2])},
    "embed": {"table": jnp.array([[3.0, 4.0], [0.0, 1.0]])},
}
GRADS = jax.tree.map(lambda a: 0.1 * a + 0.3, PARAMS)


def fit(optimizer, epochs=2, net=NET, **options):
    usual = {"loss": LOSS, "batch_size": 8, "key": KEY, **options}
    state, _ = nn.fit(net, (X, Y), optimizer=optimizer, epochs=epochs, **usual)
    return state


def steps(optimizer, params, gradient, n):
    """The parameters after n steps of a plain Optax loop, and the optimizer's state."""

    def body(_, carry):
        params, state = carry
        gradients = gradient(params)
        with jax.numpy_dtype_promotion("standard"):  # Optax needs it
            updates, state = optimizer.update(gradients, state, params)
        return optax.apply_updates(params, updates), state

    return jax.lax.fori_loop(0, n, body, (params, optimizer.init(params)))


def one_step(optimizer, params=PARAMS, grads=GRADS):
    with jax.numpy_dtype_promotion("standard"):
        updates, _ = optimizer.update(grads, optimizer.init(params), params)
    return optax.apply_updates(params, updates)


def same(a, b):
    jax.tree.map(np.testing.assert_array_equal, plain(a), plain(b))


def close(a, b, rtol=1e-5):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol, 1e-6), a, b)


def plain(tree):
    """Random keys as numbers."""

    def one(a):
        is_key = jnp.issubdtype(a.dtype, jax.dtypes.prng_key)
        return jax.random.key_data(a) if is_key else a

    return jax.tree.map(one, tree)


# ---- which parameters ----


def test_masks_choose_by_name_and_by_path():
    mask = nn.trees.paths(opt.kernels(PARAMS))
    assert {p for p, asked in mask.items() if asked} == {"body/w", "embed/table"}
    mask = nn.trees.paths(opt.only("body", "*/offset")(PARAMS))
    assert {p for p, a in mask.items() if a} == {"body/w", "body/b", "norm/offset"}


def test_masks_serve_optax():
    optimizer = optax.adamw(0.1, weight_decay=0.5, mask=opt.kernels)
    bare = one_step(optax.adam(0.1))
    decayed = one_step(optimizer)
    same(decayed["body"]["b"], bare["body"]["b"])
    same(decayed["norm"], bare["norm"])
    expected = bare["body"]["w"] - 0.1 * 0.5 * PARAMS["body"]["w"]
    close(decayed["body"]["w"], expected)


@pytest.mark.parametrize("wrap", ["weight_decay", "l2", "l1", "max_norm"])
def test_default_leaves_biases_and_norms_alone(wrap):
    bare, wrapped = one_step(optax.sgd(0.1)), one_step(getattr(opt, wrap)(SGD, 0.9))
    same(wrapped["norm"], bare["norm"])
    same(wrapped["body"]["b"], bare["body"]["b"])
    assert not np.array_equal(wrapped["body"]["w"], bare["body"]["w"])
    assert not np.array_equal(wrapped["embed"]["table"], bare["embed"]["table"])
    chosen = one_step(getattr(opt, wrap)(SGD, 0.9, "body/b"))
    assert not np.array_equal(chosen["body"]["b"], bare["body"]["b"])
    same(chosen["body"]["w"], bare["body"]["w"])


def _partition(sgd, *patterns):
    return nn.partition({pattern: sgd for pattern in patterns}, default=sgd)


PATTERNED = {
    "freeze": nn.freeze,
    "partition": _partition,
    "only": lambda sgd, *patterns: optax.masked(sgd, opt.only(*patterns)),
    "weight_decay": lambda sgd, *patterns: opt.weight_decay(sgd, 0.1, *patterns),
    "max_norm": lambda sgd, *patterns: opt.max_norm(sgd, 0.1, *patterns),
}


@pytest.mark.parametrize("wrap", PATTERNED)
def test_a_pattern_of_folders_says_how_to_reach_into_them(wrap):
    params = {f"stage{i}": {"conv": {"w": jnp.ones(2)}} for i in range(1, 6)}
    with pytest.raises(ValueError) as error:
        PATTERNED[wrap](SGD, "stage?").init(params)
    assert str(error.value).endswith(
        "pattern 'stage?' matches no parameter, only stage1, stage2, stage3, ...; "
        "write 'stage?/*'"
    )
    PATTERNED[wrap](SGD, "stage?/*").init(params)


@pytest.mark.parametrize("wrap", ["weight_decay", "l2", "l1", "max_norm"])
def test_unknown_patterns_are_errors(wrap):
    optimizer = getattr(opt, wrap)(SGD, 0.1, "body", "bdoy/w")
    message = rf"{wrap}: pattern 'bdoy/w' matches no parameter \(nearest: 'body/w'\)"
    with pytest.raises(ValueError, match=message):
        optimizer.init(PARAMS)
    with pytest.raises(ValueError, match="matches no parameter"):
        fit(optimizer)
    with pytest.raises(ValueError, match="no parameter is named w or table"):
        getattr(opt, wrap)(SGD, 0.1).init({"weights": jnp.ones(2)})


SGD = optax.sgd(0.1)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: opt.only(), "only: name at least one pattern"),
        (lambda: opt.only(3), "only: patterns must be strings"),
        (lambda: opt.l1(SGD, 0.1, ["w"]), "l1: patterns must be strings"),
        (lambda: opt.l1(optax.sgd, 0.1), "l1: the first argument must be an Optax"),
        (lambda: opt.l1(SGD, -0.1), "l1: rate must be a number of 0 or more, got -0.1"),
        (lambda: opt.l2(SGD, "small"), "l2: rate must be a number of 0 or more, or a"),
        (lambda: opt.weight_decay(SGD, float("nan")), "weight_decay: rate must be"),
        (lambda: opt.max_norm(SGD, 0), "max_norm: limit must be a number above 0"),
        (lambda: opt.ema(SGD, 1.0), "ema: decay must be from 0 to less than 1"),
        (lambda: opt.swa(SGD, -1), "swa: start must be an int of 0 or more, got -1"),
        (lambda: opt.swa(SGD, 1.5), "swa: start must be an int of 0 or more"),
        (lambda: opt.swa(SGD, 5, every=0), "swa: every must be a positive int"),
        (lambda: opt.average(PARAMS, SGD.init(PARAMS)), "holds no average; train with"),
        (lambda: opt.averaged(PARAMS), "averaged: needs a TrainState"),
    ],
)
def test_what_is_wrong_is_said(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()


@pytest.mark.parametrize(
    "optimizer", [opt.l1(SGD, 0.1), opt.max_norm(SGD, 1.0), opt.ema(SGD, 0.9)]
)
def test_updates_need_the_parameters(optimizer):
    with pytest.raises(ValueError, match="needs the parameters too"):
        optimizer.update(GRADS, optimizer.init(PARAMS))


# ---- penalties ----


def loss_of(params):
    """Any smooth loss of all parameters."""
    return sum(jnp.sum((a - 0.3) ** 2 + 0.1 * a**3) for a in jax.tree.leaves(params))


@pytest.mark.quick
@pytest.mark.parametrize("inner", [optax.sgd(0.1, momentum=0.9), optax.adam(0.1)])
def test_l2_is_the_gradient_of_the_penalized_loss(inner):
    def penalized(params):
        squares = (params["body"]["w"] ** 2).sum() + (
            params["embed"]["table"] ** 2
        ).sum()
        return loss_of(params) + 0.7 / 2 * squares

    found, _ = steps(opt.l2(inner, 0.7), PARAMS, jax.grad(loss_of), 5)
    expected, _ = steps(inner, PARAMS, jax.grad(penalized), 5)
    close(found, expected)


def test_weight_decay_is_apart_from_gradient_and_rate():
    for inner in (optax.adam(0.1), optax.sgd(0.0)):
        bare, decayed = one_step(inner), one_step(opt.weight_decay(inner, 0.25))
        expected = bare["body"]["w"] - 0.25 * PARAMS["body"]["w"]
        close(decayed["body"]["w"], expected)


def test_weight_decay_may_follow_a_schedule():
    halved = nn.schedules.step_decay(0.5, 0.5, every=1)
    params, _ = steps(
        opt.weight_decay(optax.sgd(0.0), halved), PARAMS, jax.grad(loss_of), 3
    )
    close(params["body"]["w"], PARAMS["body"]["w"] * 0.5 * 0.75 * 0.875)


@pytest.mark.parametrize(
    "inner",
    [optax.sgd(0.2), optax.sgd(0.05, momentum=0.8), optax.adam(ADAM := 0.02)],
    ids=["sgd", "momentum", "adam"],
)
def test_l1_finds_the_lasso(inner):
    """Orthogonal columns: each weight is its own least-squares one, moved to zero."""
    q, _ = np.linalg.qr(RNG.standard_normal((40, 6)))
    x = jnp.asarray(q, jnp.float32)
    free = np.array([2.0, -1.5, 0.4, -0.3, 0.05, 1.0], np.float32)
    t = x @ free

    def loss(params):
        residual = x @ params["w"] - t + params["b"] * 0
        return 0.5 * (residual**2).sum() + 0.5 * (params["b"] - 0.2) ** 2

    start = {"w": jnp.full(6, 0.7), "b": jnp.zeros(())}
    params, _ = steps(opt.l1(inner, 0.5), start, jax.grad(loss), 2000)
    lasso = np.sign(free) * np.maximum(np.abs(free) - 0.5, 0)
    np.testing.assert_allclose(params["w"], lasso, atol=2e-3)
    assert np.array_equal(params["w"] == 0, lasso == 0)  # exactly
    assert abs(params["b"] - 0.2) < 1e-3  # no penalty on what was not asked


@pytest.mark.quick
def test_l1_finds_the_lasso_of_scikit_learn():
    linear_model = pytest.importorskip("sklearn.linear_model")
    x = RNG.standard_normal((60, 8)) @ (np.eye(8) + 0.3)
    t = x @ np.array([3.0, 0, 0, -2.0, 0, 0, 0.5, 0]) + 0.1 * RNG.standard_normal(60)
    theirs = linear_model.Lasso(alpha=0.2, tol=1e-10).fit(x, t)
    x, t = jnp.asarray(x, jnp.float32), jnp.asarray(t, jnp.float32)

    def loss(params):  # theirs: 1/(2n) ‖t − xw − b‖² + alpha ‖w‖₁
        return 0.5 * jnp.mean((x @ params["w"] + params["b"] - t) ** 2)

    start = {"w": jnp.zeros(8), "b": jnp.zeros(())}
    params, _ = steps(opt.l1(optax.sgd(0.05), 0.2), start, jax.grad(loss), 3000)
    np.testing.assert_allclose(params["w"], theirs.coef_, atol=1e-4)
    np.testing.assert_allclose(params["b"], theirs.intercept_, atol=1e-4)
    assert np.array_equal(params["w"] == 0, theirs.coef_ == 0)
    assert 0 < (theirs.coef_ == 0).sum() < 8


def test_l1_empties_weights_only_where_asked():
    net = nn.Sequential(body=nn.Dense(6), relu=jax.nn.relu, head=nn.Dense(3))
    sparse = opt.l1(optax.adam(nn.schedules.inverse_sqrt(0.03)), 0.1, "body/w")
    state = fit(sparse, 100, net=net, batch_size=24)
    zeros = {p: int((a == 0).sum()) for p, a in nn.trees.paths(state.params).items()}
    assert 10 <= zeros.pop("body/w") < 30
    assert set(zeros.values()) == {0}


# ---- max norm ----


def test_max_norm_limits_each_unit():
    params = {"w": RNG.standard_normal((3, 3, 4, 6)), "table": 3 * np.eye(4)}
    params = jax.tree.map(jnp.float32, params)
    found, _ = steps(opt.max_norm(SGD, 1.5), params, jax.grad(loss_of), 3)
    bare = one_step(SGD, params, jax.grad(loss_of)(params))
    lengths = np.sqrt((np.asarray(found["w"]) ** 2).sum((0, 1, 2)))
    assert lengths.max() <= 1.5 * (1 + 1e-6)
    still = jax.tree.map(jnp.zeros_like, params)
    table = one_step(opt.max_norm(SGD, 1.5, "table"), params, still)["table"]
    np.testing.assert_allclose(table, 1.5 * np.eye(4), rtol=1e-6)  # row by row
    # Those within the limit are left as they are; the others keep their direction.
    one = one_step(opt.max_norm(SGD, 4.5), params, jax.grad(loss_of)(params))
    long = np.sqrt((np.asarray(bare["w"]) ** 2).sum((0, 1, 2)))
    assert 0 < (long > 4.5).sum() < 6
    same(one["w"][..., long <= 4.5], bare["w"][..., long <= 4.5])
    cut = (np.asarray(bare["w"]) * 4.5 / long)[..., long > 4.5]
    close(one["w"][..., long > 4.5], cut)


def test_max_norm_takes_the_axis_of_stacked_weights():
    params = {"w": jnp.full((2, 4, 3), 1.0)}
    found = one_step(opt.max_norm(optax.sgd(0.0), 1.0, axis=-2), params, params)
    np.testing.assert_allclose(found["w"], 0.5, rtol=1e-6)


# ---- Optax's own, in fit ----


def test_clipping_and_accumulation_are_those_of_optax():
    """Four accumulated batches of 6 are one of 24; clipped after they are summed."""
    net = nn.Sequential(nn.Dense(6), jax.nn.relu, nn.Dense(3))
    inner = optax.chain(optax.clip_by_global_norm(0.1), optax.sgd(1.0, momentum=0.9))
    options = {"loss": LOSS, "key": KEY, "epochs": 3}
    whole, _ = nn.fit(net, (X, Y), optimizer=inner, batch_size=24, **options)
    parts = optax.MultiSteps(inner, 4)
    small, _ = nn.fit(net, (X, Y), optimizer=parts, batch_size=6, **options)
    close(whole.params, small.params)
    half, _ = nn.fit(
        net, (X, Y), optimizer=parts, batch_size=6, **(options | {"epochs": 1})
    )
    again, _ = nn.fit(net, (X, Y), optimizer=parts, batch_size=6, **options, state=half)
    same(again, small)
    moved = nn.trees.paths(jax.tree.map(jnp.subtract, half.params, start(net).params))
    length = np.sqrt(sum(float((a**2).sum()) for a in moved.values()))
    np.testing.assert_allclose(length, 0.1, rtol=1e-4)  # it was clipped


def start(net):
    return nn.train_state(net, SGD, X[:1], key=KEY)


# ---- averages ----


def moving(n):
    """A weight that walks 1, 2, ... n."""
    return {"w": jnp.zeros(2)}, lambda params: {"w": -jnp.ones(2)}, n


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.99])
def test_ema_is_the_debiased_average(decay):
    params, state = steps(opt.ema(optax.sgd(1.0), decay), *moving(7))
    weights = decay ** np.arange(6.0, -1, -1) if decay else np.eye(7)[6]
    expected = (weights * np.arange(1, 8)).sum() / weights.sum()
    np.testing.assert_allclose(opt.average(params, state)["w"], expected, rtol=1e-6)


def test_swa_is_the_mean_from_a_step_on():
    for n, mean in ((3, 3), (4, 4), (6, 4), (7, 5.5), (12, 7)):  # of 4, 7, 10
        params, state = steps(opt.swa(optax.sgd(1.0), start=4, every=3), *moving(n))
        np.testing.assert_allclose(opt.average(params, state)["w"], mean, rtol=1e-6)


def test_averages_do_not_change_training():
    inner = optax.adam(0.05)
    bare = fit(inner)
    same(fit(opt.ema(inner, 0.9)).params, bare.params)
    averaged = opt.averaged(fit(opt.swa(inner, 1)))
    assert not np.array_equal(averaged.params["head"]["w"], bare.params["head"]["w"])
    same(averaged.state, bare.state)


@pytest.mark.parametrize("wrap", [lambda o: o, lambda o: optax.chain(optax.clip(9), o)])
def test_averages_are_of_the_weights_that_a_plateau_leaves(wrap):
    seen = []
    state = fit(
        wrap(opt.ema(optax.adam(0.05), 0.5)),
        epochs=6,
        batch_size=24,
        plateau=nn.Plateau(patience=1, factor=0.1, monitor="loss", min_delta=9.0),
        callbacks=[lambda epoch, state, history: seen.append(state.params)],
    )
    shares = 0.5 ** np.arange(5.0, -1, -1)
    expected = jax.tree.map(lambda *w: np.average(w, 0, shares), *seen)
    close(opt.averaged(state).params, expected, rtol=1e-5)


@pytest.mark.parametrize("scale", [1.0, 0.3, 0.1, 1e-12])
def test_penalties_and_limits_hold_at_a_share_of_the_rate(scale):
    """That which a plateau leaves: zeros are exact, and no unit is too long."""
    params = {"w": jax.random.normal(KEY, (50, 40))}
    still, share = {"w": jnp.zeros((50, 40))}, jnp.float32(scale)

    def step(optimizer):
        with jax.numpy_dtype_promotion("standard"):
            state = optimizer.init(params)
            updates, _ = optimizer.update(still, state, params, rate_scale=share)
        return np.asarray(apply_updates(params, updates, share)["w"])

    new, old = step(opt.l1(optax.sgd(1 / scale), 0.5)), np.asarray(params["w"])
    expected = np.sign(old) * np.maximum(np.abs(old) - 0.5, 0)
    np.testing.assert_allclose(new, expected, atol=1e-6)
    np.testing.assert_array_equal(new == 0, np.abs(old) <= 0.5)
    lengths = np.linalg.norm(step(opt.max_norm(optax.sgd(1.0), 4.0)), axis=0)
    np.testing.assert_allclose(lengths, 4.0, rtol=1e-5)


def test_averages_are_found_however_deep():
    """Accumulated, frozen, chained; what is not averaged is taken from the weights."""
    deep = nn.freeze(optax.chain(optax.clip(1.0), opt.ema(SGD, 0.5)), "norm")
    params, state = steps(optax.MultiSteps(deep, 2), PARAMS, jax.grad(loss_of), 4)
    same(params["norm"], PARAMS["norm"])
    found = opt.average(params, state)
    same(found["norm"], PARAMS["norm"])
    one, _ = steps(deep, PARAMS, jax.grad(loss_of), 1)
    two, _ = steps(deep, PARAMS, jax.grad(loss_of), 2)
    expected = jax.tree.map(lambda a, b: (0.5 * a + b) / 1.5, one, two)
    close(found, expected)
    with pytest.raises(ValueError, match="keeps 2 averages of one parameter"):
        opt.average(PARAMS, opt.ema(opt.swa(SGD, 0), 0.5).init(PARAMS))


def test_averages_of_narrow_weights_are_wide():
    params = {"w": jnp.zeros(2, jnp.bfloat16)}
    optimizer = opt.ema(optax.sgd(1.0), 0.999)
    state = optimizer.init(params)
    assert state.average["w"].dtype == jnp.float32
    assert opt.average(params, state)["w"].dtype == jnp.bfloat16


@pytest.mark.parametrize(
    "average", [lambda inner: opt.ema(inner, 0.9), lambda inner: opt.swa(inner, 3, 2)]
)
def test_all_survive_a_file_and_a_resume_bit_for_bit(average, tmp_path):
    """One optimizer with everything in it: one program for all."""
    penalized = opt.l1(opt.l2(opt.weight_decay(optax.adam(0.05), 1e-3), 1e-3), 1e-3)
    everything = average(opt.max_norm(penalized, 1.0))
    whole = fit(everything, epochs=4)
    half = fit(everything, epochs=2)
    nn.save(tmp_path / "half.safetensors", half)
    loaded = nn.load(tmp_path / "half.safetensors", like=half)
    again = fit(everything, epochs=4, state=loaded)
    same(again, whole)
    same(opt.averaged(again).params, opt.averaged(whole).params)


def test_hyperparameters_may_be_traced():
    """A vmapped sweep over every rate gives what each rate gives alone."""

    def build(rate, limit, decay):
        inner = opt.weight_decay(opt.l2(optax.sgd(rate), rate), rate)
        return opt.ema(opt.max_norm(opt.l1(inner, rate), limit), decay)

    def train(rate, limit, decay):
        params, state = steps(build(rate, limit, decay), PARAMS, jax.grad(loss_of), 3)
        return params, opt.average(params, state)

    values = jnp.array([[0.1, 1.0, 0.5], [0.01, 2.0, 0.9]])
    together = jax.vmap(train)(*values.T)
    for i, (rate, limit, decay) in enumerate(values.tolist()):
        alone = train(rate, limit, decay)
        close(jax.tree.map(lambda a, i=i: a[i], together), alone)


# ---- running statistics ----


def test_statistics_are_those_of_the_average_weights():
    state = opt.averaged(fit(opt.ema(optax.adam(0.05), 0.9)))
    fresh = opt.refresh_statistics(NET, state, X, batch_size=24)
    hidden = X @ np.asarray(state.params["body"]["w"]) + np.asarray(
        state.params["body"]["b"]
    )
    close(fresh.state["norm"]["mean"], hidden.mean(0), rtol=1e-4)
    close(fresh.state["norm"]["var"], hidden.var(0, ddof=1), rtol=1e-4)
    same(fresh.params, state.params)
    # Then evaluation normalizes as training does, but for the bias of the variance.
    fresh.state["norm"]["var"] *= 23 / 24
    train, _ = NET.apply(fresh.params, fresh.state, jnp.asarray(X), train=True)
    test, _ = NET.apply(fresh.params, fresh.state, jnp.asarray(X))
    np.testing.assert_allclose(train, test, atol=1e-4)


def test_statistics_of_batches_are_averaged():
    net = nn.Sequential(nn.Dropout(0.5), nn.Repeat(nn.BatchNorm(scale=False), 2))
    x = jnp.asarray(X)
    state = nn.train_state(net, SGD, x, key=KEY)
    fresh = opt.refresh_statistics(net, state, x, batch_size=10)  # 4 are left out
    assert fresh.state["repeat_1"]["block"]["mean"].shape == (2, 5)
    assert not np.array_equal(fresh.state["repeat_1"]["block"]["mean"][0], jnp.zeros(5))
    same(opt.refresh_statistics(net, fresh, x, batch_size=10), fresh)


def test_statistics_refuse_what_is_no_state_and_spare_other_networks():
    net = nn.Dense(2)
    state = nn.train_state(net, SGD, X, key=KEY)
    same(opt.refresh_statistics(net, state, X, batch_size=8), state)
    with pytest.raises(TypeError, match="state must be a TrainState"):
        opt.refresh_statistics(net, state.params, X, batch_size=8)
    with pytest.raises(ValueError, match=r"^refresh_statistics: batch_size"):
        opt.refresh_statistics(NET, fit(SGD, epochs=1), X, batch_size=0)
    stack = jax.vmap(lambda key: nn.train_state(net, SGD, X, key=key))
    with pytest.raises(ValueError, match="must be one random key"):
        opt.refresh_statistics(net, stack(jax.random.split(KEY, 2)), X, batch_size=8)
