"""Eight virtual devices compute what one does."""

import copy
import re
from functools import partial

import chex
import jax
import numpy as np
import optax
import pytest
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

import jaxnn as nn
from jaxnn.layout import FIRST, along, applied
from jaxnn.train.epoch import run_steps, stats_shapes, zero_totals
from jaxnn.train.predict import predict_batches
from jaxnn.train.rooms import enter
from jaxnn.train.source import HostSource, StreamSource

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


#: The last batch is one that eight devices do not divide, and one in between smaller.
BATCHES = [
    (X[i:j], Y[i:j]) for i, j in [(0, 16), (16, 32), (32, 40), (40, 56), (56, 71)]
]
#: From a kind of source to the data, and the options of `fit`.
SOURCES = {
    "stream": (BATCHES, {"batch_size": None}),
    "arrays on the host": ((X[:71], Y[:71]), {"on_device": False}),
    "arrays in files": ("files", {}),
}


@pytest.fixture(params=SOURCES)
def source(request, tmp_path):
    """Data that are sent to the devices group by group, and the options of `fit`."""
    data, options = SOURCES[request.param]
    if data == "files":
        X[:71].tofile(tmp_path / "x")
        data = np.memmap(tmp_path / "x", X.dtype, "r", shape=X[:71].shape), Y[:71]
    return data, options


@pytest.mark.parametrize("name", ["cnn", "ensemble"])
def test_streams_and_host_arrays_train_alike(name, source):
    data, options = source
    one, history = run(NETS[name], data, **options)
    many, again = run(NETS[name], data, layout=nn.Layout(mesh()), **options)
    alike(one, many, rtol=1e-5)
    np.testing.assert_allclose(again.step_losses, history.step_losses, rtol=1e-5)


def test_a_stream_over_devices_resumes_within_an_epoch_bit_for_bit(source):
    data, options = source
    options |= {"layout": nn.Layout(mesh(), params=SHARDED), "chunk_seconds": 0}
    whole, history = run(NETS["cnn"], data, **options)
    saved = []

    class Saving:
        every_steps = 2

        def __call__(self, *_):
            pass

        def at_step(self, epoch, state, history):
            saved.append((state, copy.deepcopy(history)))

    run(NETS["cnn"], data, callbacks=[Saving()], **options)
    state, so_far = saved[0]
    assert int(state.step) == 2
    rest, its_history = run(NETS["cnn"], data, state=state, history=so_far, **options)
    chex.assert_trees_all_equal(
        *(jax.device_get(s._replace(key=None)) for s in (rest, whole))
    )
    assert its_history.logs == history.logs


def test_each_device_gets_its_share_of_a_group(source):
    data, options = source
    given = nn.Layout(mesh())
    if options.get("batch_size", 16) is None:
        made = StreamSource(data, 0, 1)
        made.check = lambda batch, number: None
    else:
        made = HostSource(data, 16, False, jax.random.key(0))
    made.spread_over(given)
    *pieces, last = list(made.epoch(0))
    for piece in pieces:
        for a in piece.data:
            assert {s.data.nbytes for s in a.addressable_shards} == {a.nbytes // 8}
    whole = {s.data.nbytes for s in last.data[0].addressable_shards}
    assert pieces and whole == {last.data[0].nbytes}  # 15 and 7 examples


@pytest.mark.parametrize("name", ["mlp", "cnn", "lstm", "transformer"])
def test_no_batch_of_a_stream_is_gathered(name):
    net, optimizer, layout = NETS[name], optax.sgd(0.1), nn.Layout(mesh())
    x, y = np.concatenate([X] * 8)[:512], np.concatenate([Y] * 8)[:512]
    step = nn.train_step(net, LOSS, optimizer)
    state = layout.place(nn.train_state(net, optimizer, x, key=jax.random.key(0)))
    data = layout.send(np.stack([x] * 3)), layout.send(np.stack([y] * 3))
    totals = layout.replicate(
        zero_totals(step, stats_shapes(step, state, (x, y)), 3, 512)
    )
    chunk = partial(run_steps.function, step=step, batch_size=512, layout=layout)
    compiled = jax.jit(chunk).lower(state, totals, data, None, 0, 3).compile()
    text = compiled.as_text()
    assert " all-reduce(" in text  # that of the gradients
    assert not re.search(r" (all-gather|all-to-all|collective-permute)\(", text)
    held = compiled.memory_analysis().argument_size_in_bytes
    assert held < sum(a.nbytes for a in data) / 6


def test_the_examples_of_a_bad_step_are_named():
    bad = X.copy()
    bad[37] = 3e38
    given = {"on_device": False, "shuffle": False, "layout": nn.Layout(mesh())}
    with pytest.raises(nn.train.NonFiniteError) as caught:
        run(NETS["mlp"], (bad, Y), **given)
    assert caught.value.examples == [37] and caught.value.step == 2


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


def test_a_batch_to_evaluate_is_split_and_not_gathered():
    net, layout = NETS["mlp"], nn.Layout(mesh())
    state, _ = run(net)
    batches = [(X[:64], Y[:64]), (X[64:], Y[64:])]
    ours = nn.evaluate(net, state, batches, loss=LOSS)
    assert nn.evaluate(net, state, batches, loss=LOSS, layout=layout) == pytest.approx(
        ours, rel=1e-5
    )
    room = enter(batches[0], 256, "data").over(layout)
    x, _ = room.data
    assert {s.data.nbytes for s in x.addressable_shards} == {x.nbytes // 8}
    given = {"net": net, "batch_size": 64, "layout": layout}
    program = jax.jit(partial(predict_batches.function, **given))
    state = layout.place(state)
    text = program.lower(state.params, state.state, x, np.int32(64)).compile().as_text()
    gathered = re.findall(r"\[([\d,]+)\]\S* all-gather\(", text)
    assert gathered == ["64,4"]  # the outputs


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


CLASSIFIER = nn.Sequential(
    nn.Dense(16), nn.TransformerEncoder(2, 4), nn.GlobalAvgPool(), nn.Dense(4)
)
IDS = np.random.default_rng(1).integers(0, 64, (32, 6), np.int32)
#: Transformers, and a bound on a device's share of the parameters' bytes.
TRANSFORMERS = {
    "gpt": (nn.models.gpt2(64, length=6, features=16, layers=2, heads=4), 0.32),
    "classifier": (CLASSIFIER, 0.35),
    "repeated": (
        nn.Sequential(
            nn.Dense(16),
            nn.TransformerEncoder(2, 4, kv_heads=2, repeat=True),
            nn.GlobalAvgPool(),
            nn.Dense(4),
        ),
        0.4,  # two heads of keys and values are replicated on four devices
    ),
}


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_a_tensor_parallel_transformer_is_that_of_one_device(name):
    net, most = TRANSFORMERS[name]
    data = (IDS, np.roll(IDS, -1, 1)) if name == "gpt" else (X[:32], Y[:32])
    two = jax.make_mesh((2, 4), ("data", "model"))
    one, history = run(net, data, epochs=1)
    layout = nn.Layout(two, params=nn.tensor_parallel("model"))
    many, again = run(net, data, epochs=1, layout=layout)
    alike(one, many, rtol=1e-5)
    assert again["loss"] == pytest.approx(history["loss"], rel=1e-5)
    leaves = jax.tree.leaves(many.params)
    share = sum(a.addressable_shards[0].data.nbytes for a in leaves)
    assert share < most * sum(a.nbytes for a in leaves)
    both = (*nn.tensor_parallel("model"), ("*", nn.fsdp("data")))
    split, _ = run(net, data, epochs=1, layout=nn.Layout(two, params=both))
    alike(one, split, rtol=1e-5)
    norms = [a for a in jax.tree.leaves(split.params) if a.sharding.spec == P("data")]
    assert norms  # what tensor_parallel leaves is fsdp's


def test_a_tensor_parallel_block_adds_up_twice():
    """Megatron's scheme: one sum after each attention and one after each MLP."""
    net, _ = TRANSFORMERS["gpt"]
    two = jax.make_mesh((2, 4), ("data", "model"))
    layout = nn.Layout(two, params=nn.tensor_parallel("model"))
    params, state = layout.place(net.init(jax.random.key(0), IDS))

    def logits(params, ids):
        return applied(layout, lambda x: net.apply(params, state, x)[0], ids)

    text = jax.jit(logits).lower(params, IDS).compile().as_text()
    sums = re.findall(r"f32\[([\d,]+)\]\S* all-reduce\(", text)
    assert sums.count("16,6,16") == 2 * 2 + 1  # two a block, and the tokens' vectors
    assert not re.search(r" (all-gather|all-to-all|collective-permute)\(", text)


def test_a_tensor_parallel_run_gathers_nothing():
    """Neither in its steps nor where it looks for numbers that are not finite."""
    net, _ = TRANSFORMERS["gpt"]
    two = jax.make_mesh((2, 4), ("data", "model"))
    layout = nn.Layout(two, params=nn.tensor_parallel("model"))
    step = nn.train_step(net, LOSS, optax.adam(1e-3))
    state = nn.train_state(net, step.optimizer, IDS, key=jax.random.key(0))
    state, data = layout.place(state), layout.send(np.stack([IDS] * 3))
    room = zero_totals(step, stats_shapes(step, state, (IDS, IDS)), 3, len(IDS))
    chunk = partial(run_steps.function, step=step, batch_size=len(IDS), layout=layout)
    given = state, layout.replicate(room), (data, data), None, 0, 3
    text = jax.jit(chunk).lower(*given).compile().as_text()
    assert " all-reduce(" in text
    assert not re.search(r" (all-gather|all-to-all|collective-permute)\(", text)


def test_patterns_of_tensor_parallel_need_not_all_match():
    layout = nn.Layout(
        jax.make_mesh((2, 4), ("data", "model")), params=nn.tensor_parallel("model")
    )
    net = nn.Sequential(mlp=nn.FeedForward(16))
    params, _ = layout.place(net.init(jax.random.key(0), X))
    up = params["mlp"]["up"]
    assert up["w"].sharding.spec == P(None, "model")
    assert up["b"].sharding.spec == P("model")
    with raises(ValueError, "none of the parameters is theirs: b, w; split them"):
        layout.place(nn.Dense(4).init(jax.random.key(0), X))
    assert along("model", -2).spec((50257, 768), layout.mesh) == P()


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
    layout = nn.Layout(mesh())
    for on_device in (True, False):
        with raises(ValueError, "fit: batch_size must be a multiple of the 8 devices"):
            run(NETS["mlp"], batch_size=12, layout=layout, on_device=on_device)
    said = "fit: the size of batch 0 must be a multiple of the 8 devices that split a "
    with raises(ValueError, said + "batch, got 12"):
        run(NETS["mlp"], [(X[:12], Y[:12])], batch_size=None, layout=layout)


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
