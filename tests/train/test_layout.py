"""Eight virtual devices compute what one does."""

import re

import chex
import jax
import numpy as np
import optax
import pytest
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

import jaxnn as nn
from jaxnn.layout import FIRST

needs_eight = pytest.mark.skipif(
    len(jax.devices()) < 8, reason="needs eight devices, see conftest.py"
)
pytestmark = [
    needs_eight,
    pytest.mark.skipif(jax.version.__version_info__ < FIRST, reason="needs jax 0.10"),
]
LOSS = nn.losses.softmax_cross_entropy
SHARDED = (("*", nn.fsdp("data")),)
X = np.random.default_rng(0).standard_normal((72, 6, 4)).astype(np.float32)
Y = X[:, 0].argmax(1)

CNN = nn.Sequential(
    nn.Conv(8, 3),
    nn.BatchNorm(),
    jax.nn.relu,
    nn.MaxPool(2),
    nn.Dropout(0.3),
    nn.Flatten(),
    nn.Dense(4),
)
NETS = {
    "mlp": nn.Sequential(nn.Flatten(), nn.Dense(16), jax.nn.relu, nn.Dense(4)),
    "cnn": nn.Sequential(nn.Reshape((6, 4, 1)), CNN),
    "lstm": nn.Sequential(nn.lstm(8), nn.LastStep(), nn.Dense(4)),
    "gru": nn.Sequential(nn.gru(8), nn.LastStep(), nn.Dense(4)),
    "transformer": nn.Sequential(
        nn.Dense(8), nn.TransformerEncoder(1, 2), nn.GlobalAvgPool(), nn.Dense(4)
    ),
    "ensemble": nn.ensemble(nn.Sequential(nn.Flatten(), nn.Dense(8), nn.Dense(4)), 8),
}


def mesh(n=8):
    return jax.make_mesh((n,), ("data",), devices=jax.devices()[:n])


def run(net, data=(X, Y), **more):
    about = dict(loss=LOSS, optimizer=optax.sgd(0.1, momentum=0.9), epochs=2)
    about |= dict(batch_size=16, key=jax.random.key(0), progress=False)
    return nn.fit(net, data, **about | more)


def alike(ours, theirs, **tolerance):
    """Whether two states hold the same numbers, wherever they lie."""
    ours, theirs = (jax.device_get(s._replace(key=None)) for s in (ours, theirs))
    chex.assert_trees_all_close(
        ours, theirs, **{"rtol": 1e-4, "atol": 1e-5} | tolerance
    )


@pytest.mark.parametrize("name", NETS)
def test_eight_devices_give_the_numbers_of_one(name):
    net = NETS[name]
    more = {
        "metrics": {"accuracy": nn.metrics.accuracy},
        "validation": (X[:20], Y[:20]),
    }
    one, history = run(net, **more)
    many, again = run(net, layout=nn.Layout(mesh(), params=SHARDED), **more)
    alike(one, many)
    for log in history:
        assert again[log] == pytest.approx(history[log], rel=1e-3), log


def test_augmentation_and_metrics_that_stack_do_not_depend_on_the_devices():
    data, augment = (X[..., None], Y), nn.data.augment.noise(0.3)
    more = {"augment": augment, "metrics": {"matrix": nn.metrics.ConfusionMatrix(4)}}
    one, history = run(CNN, data, **more)
    many, again = run(CNN, data, layout=nn.Layout(mesh()), **more)
    alike(one, many)
    assert np.array_equal(history["matrix"][-1], again["matrix"][-1])


def test_streams_and_host_arrays_train_alike():
    batches = [(X[i : i + 8], Y[i : i + 8]) for i in range(0, 64, 8)]
    given = {"batch_size": None, "layout": nn.Layout(mesh())}
    alike(
        run(NETS["mlp"], batches, batch_size=None)[0],
        run(NETS["mlp"], batches, **given)[0],
    )
    given = {"on_device": False, "layout": nn.Layout(mesh())}
    alike(run(NETS["mlp"], on_device=False)[0], run(NETS["mlp"], **given)[0])


def test_players_and_functions_as_steps_train_alike():
    net, optimizer = NETS["mlp"], optax.sgd(0.1)

    def objective(run, batch):
        return LOSS(run(batch[0]), batch[1])

    players = nn.train.players(net, one=nn.train.Player(objective, optimizer))
    state = players.start(X, key=jax.random.key(0))
    given = {"state": state, "epochs": 2, "batch_size": 16, "key": jax.random.key(0)}
    for step in (players, lambda state, batch: players(state, batch)):
        one, _ = nn.fit(step, (X, Y), **given)
        many, _ = nn.fit(step, (X, Y), layout=nn.Layout(mesh()), **given)
        alike(one, many)


def test_a_step_and_a_run_as_pure_functions_take_a_layout():
    net, optimizer, layout = NETS["lstm"], optax.adam(1e-2), nn.Layout(mesh())
    state = nn.train_state(net, optimizer, X, key=jax.random.key(0))
    one = jax.jit(nn.train_step(net, LOSS, optimizer))(state, (X, Y))
    step = nn.train_step(net, LOSS, optimizer, layout=layout)
    many = jax.jit(step)(layout.place(state), (X, Y))
    alike(one[0], many[0], atol=1e-4)
    assert float(one[1]["loss"]) == pytest.approx(float(many[1]["loss"]), rel=1e-5)
    plain = nn.train_step(net, LOSS, optimizer)

    def train(state, **more):
        given = {"epochs": 2, "batch_size": 24, "validation": (X, Y)} | more
        return nn.train.run(plain, state, (X, Y), **given)

    alone, logs = jax.jit(train)(state)
    spread, again = jax.jit(lambda s: train(s, layout=layout))(layout.place(state))
    alike(alone, spread, atol=1e-4)
    chex.assert_trees_all_close(logs, jax.device_get(again), rtol=1e-3)


def test_evaluate_and_predict_take_a_layout():
    net, layout = NETS["cnn"], nn.Layout(mesh())
    state, _ = run(net)
    given = {"loss": LOSS, "metrics": {"accuracy": nn.metrics.accuracy}}
    ours = nn.evaluate(net, state, (X[:71], Y[:71]), **given)
    theirs = nn.evaluate(net, state, (X[:71], Y[:71]), layout=layout, **given)
    assert theirs == pytest.approx(ours, rel=1e-5)
    chex.assert_trees_all_close(
        nn.predict(net, state, X[:71]),
        jax.device_get(nn.predict(net, state, X[:71], layout=layout)),
        rtol=1e-5,
        atol=1e-6,
    )


def test_sharded_parameters_stay_so_and_moments_lie_beside_them():
    layout = nn.Layout(mesh(), params=SHARDED)
    state, _ = run(NETS["mlp"], optimizer=optax.adam(1e-3), layout=layout)
    moments = state.opt_state[0].mu["dense_1"]["w"]
    for a in (state.params["dense_1"]["w"], moments):
        assert a.shape == (24, 16) and a.sharding.spec == P("data")
        assert a.addressable_shards[0].data.shape == (3, 16)
    assert state.params["dense_2"]["b"].sharding.spec == P()  # 4 numbers on 8 devices
    sizes = [
        sum(a.addressable_shards[0].data.nbytes for a in jax.tree.leaves(tree))
        / sum(a.nbytes for a in jax.tree.leaves(tree))
        for tree in (state.params, state.opt_state[0].mu)
    ]
    assert max(sizes) < 0.15


def test_a_run_compiles_its_loop_once(compiled):
    layout = nn.Layout(mesh(), params=SHARDED)
    run(NETS["mlp"], layout=layout, chunk_seconds=0, epochs=3)
    assert compiled.count("run_steps") <= 2  # full batches, and the smaller last one


@pytest.mark.parametrize("name", ["mlp", "cnn", "lstm", "gru", "transformer"])
def test_each_device_computes_an_eighth_and_no_batch_is_gathered(name):
    net, optimizer, layout = NETS[name], optax.sgd(0.1), nn.Layout(mesh())
    x, y = np.concatenate([X] * 8)[:512], np.concatenate([Y] * 8)[:512]
    step = nn.train_step(net, LOSS, optimizer)
    state = nn.train_state(net, optimizer, x, key=jax.random.key(0))

    def epoch(state, x, y, layout=None):
        given = {"batch_size": 512, "layout": layout}
        return nn.train_epoch(step, state, (x, y), **given)

    one = jax.jit(epoch).lower(state, x, y).compile()
    given = layout.place(state), *layout.replicate((x, y))
    many = jax.jit(lambda *a: epoch(*a, layout)).lower(*given).compile()
    assert many.cost_analysis()["flops"] < 0.16 * one.cost_analysis()["flops"]
    gathered = re.findall(r"\[([\d,]+)\]\S* all-gather\(", many.as_text())
    assert not any("512" in shape.split(",") for shape in gathered)


def compiled_step(net, x, y, layout):
    """The text of a training step on the devices of a layout."""
    optimizer = optax.sgd(0.1)
    step = nn.train_step(net, LOSS, optimizer, layout=layout)
    state = nn.train_state(net, optimizer, x[:1], key=jax.random.key(0))
    given = layout.place(state), layout.replicate((x, y))
    return jax.jit(step).lower(*given).compile().as_text()


def test_a_convolution_of_more_images_than_a_piece_gathers_none():
    """On a CPU alone it takes 38 of these images at a time."""
    net = nn.Sequential(nn.Conv(32, 3), jax.nn.relu, nn.GlobalAvgPool(), nn.Dense(4))
    x, y = np.ones((80, 16, 16, 16), np.float32), np.zeros(80, int)
    assert "all-gather(" not in compiled_step(net, x, y, nn.Layout(mesh()))


def test_a_split_recurrent_weight_is_gathered_once_and_no_carry_is():
    x, y = np.ones((296, 6, 4), np.float32), np.zeros(296, int)
    layout = nn.Layout(mesh(), params=SHARDED)
    text = compiled_step(NETS["lstm"], x, y, layout)
    gathered = re.findall(r"\[([\d,]+)\]\S* all-gather\(", text)
    assert gathered and not any("296" in shape.split(",") for shape in gathered)
    assert "all-to-all(" not in text


def test_a_mesh_of_explicit_axes_is_taken():
    explicit = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Explicit,))
    many, _ = run(NETS["cnn"], layout=nn.Layout(explicit))
    alike(run(NETS["cnn"])[0], many)


def test_a_run_goes_on_with_fewer_devices(tmp_path):
    """On eight devices, then four, then one: the uninterrupted run."""
    whole, _ = run(NETS["cnn"], epochs=3)
    path, optimizer = tmp_path / "state", optax.sgd(0.1, momentum=0.9)
    state = None
    for epochs, devices in enumerate((8, 4, 1), 1):
        layout = nn.Layout(mesh(devices), params=SHARDED)
        if epochs > 1:
            start = nn.train_state(NETS["cnn"], optimizer, X, key=jax.random.key(0))
            state = nn.load(path, like=layout.shapes(start))
            w = jax.tree.leaves(state.params)[-1]
            assert len(w.sharding.device_set) == devices
        state, _ = run(NETS["cnn"], epochs=epochs, layout=layout, state=state)
        nn.save(path, state)
    alike(whole, state)


def test_two_axes_split_batch_and_weights():
    two = jax.make_mesh((4, 2), ("data", "model"))
    patterns = (("dense_1/w", P(None, "model")), ("dense_2/w", P("model")))
    layout = nn.Layout(two, params=patterns)
    many, _ = run(NETS["mlp"], layout=layout)
    alike(run(NETS["mlp"])[0], many)
    assert many.params["dense_1"]["w"].addressable_shards[0].data.shape == (24, 8)


def test_the_table_names_paths_specs_and_bytes():
    net = NETS["mlp"]
    state = nn.train_state(net, optax.sgd(0.1), X, key=jax.random.key(0))
    table = nn.Layout(mesh(), params=SHARDED).table(state.params)
    assert "dense_1/w  24x16  P('data')           192 B" in table


def test_fsdp_splits_the_largest_axis_that_fits():
    spec = nn.fsdp("data").spec
    assert spec((3, 16, 64), mesh()) == P(None, None, "data")
    assert spec((16, 10), mesh()) == P("data")
    assert spec((7, 9), mesh()) == spec((), mesh()) == P()


def raises(kind, text):
    return pytest.raises(kind, match=re.escape(text))


def test_a_layout_is_checked_where_it_is_made():
    with raises(TypeError, "Layout: mesh must be a mesh"):
        nn.Layout(jax.devices())
    with raises(ValueError, "batch must name axes of the mesh, 'data', got 'dat'"):
        nn.Layout(mesh(), batch="dat")
    with raises(ValueError, "got 'model'"):
        nn.Layout(mesh(), params=(("*", P("model")),))
    with raises(ValueError, "got 'model'"):
        nn.Layout(mesh(), params=(("*", nn.fsdp("model")),))
    with raises(TypeError, "PartitionSpec or nn.fsdp(axis), got 'data'"):
        nn.Layout(mesh(), params=(("*", "data"),))
    with raises(TypeError, "params must be pairs"):
        nn.Layout(mesh(), params=("*", nn.fsdp("data")))


def test_a_layout_of_another_network_is_refused():
    with raises(ValueError, "pattern 'encoder/*' matches no parameter"):
        run(NETS["mlp"], layout=nn.Layout(mesh(), params=(("encoder/*", P("data")),)))
    with raises(ValueError, "axis 0 of 4 must be a multiple of the 8 devices"):
        run(NETS["mlp"], layout=nn.Layout(mesh(), params=(("dense_2/b", P("data")),)))
    with raises(ValueError, "which has 1 axes [16]"):
        spec = P(None, "data")
        run(NETS["mlp"], layout=nn.Layout(mesh(), params=(("dense_1/b", spec),)))


def test_a_batch_that_the_devices_do_not_divide_is_refused():
    with raises(ValueError, "fit: batch_size must be a multiple of the 8 devices"):
        run(NETS["mlp"], batch_size=12, layout=nn.Layout(mesh()))


@pytest.mark.parametrize("function", [run, nn.predict, nn.evaluate, nn.train_step])
def test_something_else_in_place_of_a_layout_is_refused(function):
    state = nn.train_state(NETS["mlp"], optax.sgd(1), X, key=jax.random.key(0))
    given = {
        run: (NETS["mlp"],),
        nn.predict: (NETS["mlp"], state, X),
        nn.evaluate: (NETS["mlp"], state, (X, Y)),
        nn.train_step: (NETS["mlp"], LOSS, optax.sgd(0.1)),
    }[function]
    more = {"loss": LOSS} if function is nn.evaluate else {}
    with raises(TypeError, "layout must be a nn.Layout(mesh), got"):
        function(*given, layout=mesh(), **more)
