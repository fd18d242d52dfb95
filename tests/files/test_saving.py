# SPDX-License-Identifier: Apache-2.0
"""Checkpoints: exact round trips, crash safety, and clear refusals of bad files."""

import difflib
import gzip
import json
import os
import pickle
import resource
import stat
import subprocess
import sys
import threading
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import safetensors.numpy
from golden import v1
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import jaxnn as nn
from jaxnn import io, trees
from jaxnn.files import tree_files
from jaxnn.messages.phrases import describe

GOLDEN = Path(__file__).parents[1] / "golden"
NAMES = f"{v1.FLOATS} {v1.RARE} {v1.INTEGERS} bool".split()
JAX_NAMES = [name for name in NAMES if jnp.asarray(np.zeros(1, name)).dtype == name]

pytestmark = pytest.mark.quick


class TrainState(NamedTuple):
    params: Any
    state: Any
    opt_state: Any
    step: Any
    key: Any


def assert_same(left, right):
    """Equal structures whose leaves have equal types, dtypes, shapes and bits."""
    assert jax.tree.structure(left) == jax.tree.structure(right)
    for a, b in zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True):
        assert type(a) is type(b)
        assert describe(a) == describe(b)
        assert bits(a) == bits(b)


def bits(leaf):
    return np.asarray(jax.random.key_data(leaf) if is_key(leaf) else leaf).tobytes()


def is_key(leaf):
    return jnp.issubdtype(getattr(leaf, "dtype", np.int32), jax.dtypes.prng_key)


def train_state(key, optimizer):
    params = {"dense_1": {"w": jax.random.normal(key, (3, 2))}, "relu_1": {}}
    state = {"batch_norm_1": {"mean": jnp.arange(3.0)}}
    return TrainState(params, state, optimizer.init(params), jnp.array(4), key)


def raises(words, call, *args, error=ValueError, **kwargs):
    with pytest.raises(error) as caught:
        call(*args, **kwargs)
    for word in words:
        assert word in str(caught.value), f"{word!r} not in {caught.value}"


# Round trips

OPTIMIZERS = {
    "adam": optax.adam(1e-3),
    "scheduled": optax.adamw(optax.cosine_decay_schedule(0.1, 10)),
    "injected": optax.inject_hyperparams(optax.sgd)(0.1, momentum=0.9),
    "clipped": optax.chain(optax.clip_by_global_norm(1.0), optax.rmsprop(0.1)),
    "masked": optax.masked(optax.adam(1e-3), {"dense_1": {"w": True}, "relu_1": {}}),
    "partitioned": optax.partition(
        {"a": optax.adam(0.1), "b": optax.sgd(0.1)},
        {"dense_1": {"w": "b"}, "relu_1": {}},
    ),
    "accumulated": optax.MultiSteps(optax.adam(1e-3), 4),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_train_states_come_back_exactly(name, tmp_path, key):
    state = train_state(key, OPTIMIZERS[name])
    io.save(tmp_path / "state", state)
    assert_same(io.load(tmp_path / "state", like=state), state)
    shapes = jax.eval_shape(lambda: state)
    assert_same(io.load(tmp_path / "state", like=shapes), state)


@pytest.mark.parametrize("name", NAMES)
def test_numpy_arrays_of_every_dtype(name, tmp_path):
    array = np.arange(6).reshape(2, 3).astype(name)
    tree = {"x": array, "scalar": array[1, 2], "rank0": array[1:, 2].reshape(())}
    tree["none"] = array[:0]
    io.save(tmp_path / "x", tree)
    assert_same(io.load(tmp_path / "x", like=tree), tree)
    plain = io.load(tmp_path / "x")
    assert_same(plain, {**tree, "scalar": np.asarray(tree["scalar"])})
    plain["x"][0] = 0  # the caller's own, writable memory


@pytest.mark.parametrize("name", JAX_NAMES)
def test_jax_arrays_of_every_dtype(name, tmp_path):
    array = jnp.asarray(np.arange(6).reshape(2, 3).astype(name))
    tree = {"x": array, "rank0": array[0, 1], "none": array[:0]}
    io.save(tmp_path / "x", tree)
    assert_same(io.load(tmp_path / "x", like=tree), tree)


def test_wide_jax_arrays(tmp_path):
    with jax.enable_x64(True):
        tree = {"x": jnp.arange(3.0), "n": jnp.arange(3), "z": jnp.ones(2, complex)}
        io.save(tmp_path / "x", tree)
        assert_same(io.load(tmp_path / "x", like=tree), tree)
        shapes = jax.eval_shape(lambda: tree)
    raises(["n is int64", "jax_enable_x64"], io.load, tmp_path / "x", like=shapes)


@pytest.mark.parametrize("impl", ["threefry2x32", "rbg", "unsafe_rbg"])
def test_keys_keep_their_generator(impl, tmp_path):
    key = jax.random.key(3, impl=impl)
    tree = {"one": key, "many": jax.random.split(key, (2, 3))}
    io.save(tmp_path / "keys", tree)
    for back in (io.load(tmp_path / "keys", like=tree), io.load(tmp_path / "keys")):
        assert_same(back, tree)
        draw = jax.random.normal(back["one"], (3,))
        np.testing.assert_array_equal(draw, jax.random.normal(key, (3,)))


def test_python_numbers(tmp_path):
    tree = {"epoch": 3, "rate": 0.1, "done": True, "z": 1 - 2j, "big": -(2**62)}
    io.save(tmp_path / "x", tree)
    assert_same(io.load(tmp_path / "x", like=tree), tree)
    assert_same(io.load(tmp_path / "x")["epoch"], np.array(3))


def test_memory_layouts(tmp_path):
    base = np.arange(12, dtype=np.float32).reshape(3, 4)
    tree = [base.T, base[::2, ::-1], np.asfortranarray(base), base.astype(">f4")]
    io.save(tmp_path / "x", tree)
    for back, array in zip(io.load(tmp_path / "x", like=tree), tree, strict=True):
        assert back.dtype == np.float32
        np.testing.assert_array_equal(back, array)


def test_empty_containers_and_bare_leaves(tmp_path):
    tree = {"a": {}, "b": [(), None, {"c": optax.EmptyState()}], "d": np.ones(2)}
    io.save(tmp_path / "x", tree)
    assert_same(io.load(tmp_path / "x", like=tree), tree)
    plain = io.load(tmp_path / "x")
    expected = {"a": {}, "b": {"0": {}, "1": None, "2": {"c": {}}}, "d": tree["d"]}
    assert_same(plain, expected)
    for bare in (np.arange(3), {}, None):
        io.save(tmp_path / "x", bare)
        assert_same(io.load(tmp_path / "x", like=bare), bare)
        assert_same(io.load(tmp_path / "x"), bare)


@pytest.mark.parametrize(
    "tree",
    [
        ({"dense_1": {"w": np.ones((2, 3))}}, {}),
        [np.ones(2), np.zeros(3)],
        (np.ones(2),),
        tuple(np.full(1, i) for i in range(11)),
        ({}, {}),
        (),
        [],
    ],
)
def test_a_tuple_or_a_list_comes_back_as_one(tree, tmp_path):
    io.save(tmp_path / "x", tree)
    back = io.load(tmp_path / "x")
    assert type(back) is type(tree)
    assert_same(back, tree)


def test_a_pair_that_was_saved_is_what_predict_takes(tmp_path, key):
    net, x = nn.Dense(3), np.ones((2, 4), np.float32)
    io.save(tmp_path / "x", net.init(key, x))
    params, state = io.load(tmp_path / "x")
    assert params["w"].shape == (4, 3) and state == {}
    assert nn.predict(net, io.load(tmp_path / "x"), x).shape == (2, 3)


@pytest.mark.parametrize("name", ["net.npz", "net.pt", "net.keras"])
def test_a_name_that_promises_another_format_is_said(name, tmp_path):
    with pytest.warns(UserWarning, match="is a safetensors file, whatever its name"):
        io.save(tmp_path / name, {"w": np.ones(3)})
    assert io.load(tmp_path / name)["w"].shape == (3,)


def test_a_pair_of_an_earlier_version_still_loads(tmp_path):
    tensors = {"0/w": np.ones(3, np.float32)}
    write_note(tmp_path / "x", {**NOTE, "empty": {"1": {}}}, tensors)
    assert_same(io.load(tmp_path / "x"), {"0": {"w": tensors["0/w"]}, "1": {}})
    for wrong in ({"sequence": "set"}, {"sequence": []}, {"sequence": "tuple"}):
        write_note(tmp_path / "x", {**NOTE, **wrong}, {"w": np.ones(3, np.float32)})
        raises(["load: the jaxnn header of"], io.load, tmp_path / "x")


def test_without_like_fields_and_indices_become_keys(tmp_path, key):
    state = train_state(key, optax.adam(1e-3))
    io.save(tmp_path / "x", state)
    back = io.load(tmp_path / "x")
    assert list(trees.paths(back)) == sorted(trees.paths(state))
    assert back["opt_state"]["1"] == {} and back["params"]["relu_1"] == {}
    np.testing.assert_array_equal(
        back["opt_state"]["0"]["mu"]["dense_1"]["w"], np.zeros((3, 2), np.float32)
    )


def test_a_resumed_step_is_not_compiled_again(tmp_path):
    tree = {"count": jnp.asarray(0), "rate": jnp.asarray(0.1), "w": jnp.ones(3)}
    assert tree["count"].weak_type and not tree["w"].weak_type
    io.save(tmp_path / "x", tree)
    traces = []
    step = jax.jit(lambda tree: traces.append(1) or tree)
    step(tree)
    step(io.load(tmp_path / "x", like=tree))
    assert len(traces) == 1


DTYPES = [d for d in NAMES if d not in ("complex64", "complex128")]
ARRAYS = st.builds(
    lambda bytes_, dtype: bytes_.astype(dtype),
    hnp.arrays(np.int8, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0)),
    st.sampled_from(DTYPES),
)
LEAVES = (
    ARRAYS
    | ARRAYS.filter(lambda x: x.dtype.name in JAX_NAMES).map(jnp.asarray)
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats()
    | st.booleans()
    | st.complex_numbers()
    | st.integers(0, 9).map(jax.random.key)
    | st.none()
)
KEYS = st.text(min_size=1, max_size=5).filter(lambda text: "/" not in text)
KEYS = KEYS.filter(lambda text: text.isprintable())
TREES = st.recursive(
    LEAVES,
    lambda inner: (
        st.dictionaries(KEYS, inner, max_size=3)
        | st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.builds(optax.ScaleByAdamState, inner, inner, inner)
    ),
    max_leaves=8,
)
SHARED_FOLDER = settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@SHARED_FOLDER
@given(TREES)
def test_any_tree_comes_back_exactly(tmp_path, tree):
    io.save(tmp_path / "x", tree)
    assert_same(io.load(tmp_path / "x", like=tree), tree)
    io.save(tmp_path / "y", io.load(tmp_path / "x"))
    plain = io.load(tmp_path / "y")
    assert_same(plain, io.load(tmp_path / "x"))
    assert {p: bits(x) for p, x in trees.paths(plain).items()} == {
        p: bits(x) for p, x in trees.paths(tree).items()
    }


def test_sharded_arrays_are_gathered_and_lie_again_as_like_does(tmp_path):
    code = """
import sys, jax, numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from jaxnn import io
jax.config.update("jax_num_cpu_devices", 4)
mesh = jax.make_mesh((4,), ("data",))
split = NamedSharding(mesh, PartitionSpec("data"))
x = jax.device_put(np.arange(8.0, dtype=np.float32), split)
key = jax.device_put(jax.random.key(5), NamedSharding(mesh, PartitionSpec()))
assert len(x.sharding.device_set) == len(key.sharding.device_set) == 4
io.save(sys.argv[1], {"x": x, "key": key})
back = io.load(sys.argv[1], like={"x": x, "key": key})
assert back["x"].sharding == x.sharding and back["key"].sharding == key.sharding
assert io.load(sys.argv[1])["x"].shape == (8,)
"""
    file = tmp_path / "x"
    subprocess.run([sys.executable, "-c", code, str(file)], check=True)
    back = io.load(file)
    np.testing.assert_array_equal(back["x"], np.arange(8.0, dtype=np.float32))
    assert bits(back["key"]) == bits(jax.random.key(5))


# Golden files


def test_golden_train_state():
    file, expected = GOLDEN / "v1_train_state.safetensors", v1.train_state()
    assert_same(io.load(file, like=expected), expected)
    assert io.header(file) == {
        "version": 1,
        "library": "0.1.0",
        "spec": "Sequential(Dense(3), BatchNorm())",
        "step": 7,
    }
    plain = io.load(file)
    assert plain["params"]["dense_1"]["w"].dtype == jnp.bfloat16
    assert plain["params"]["dense_1"]["w"][0].tolist() == [0.5, -1.25, 3.0]
    assert plain["opt_state"]["0"]["count"] == 7
    assert plain["opt_state"]["1"] == {} and plain["opt_state"]["2"] is None
    assert jax.random.key_data(plain["key"]).tolist() == [3, 2**32 - 1]


def test_golden_dtypes():
    file = GOLDEN / "v1_dtypes.safetensors"
    assert_same(io.load(file, like=v1.dtypes()), v1.dtypes())
    assert_same(io.load(file), v1.dtypes())


# Where files go, and what becomes of them when writing fails

OLD, NEW = {"w": np.zeros(3)}, {"w": np.ones(5000)}


@pytest.fixture
def file(tmp_path):
    """A file that holds `OLD`, alone in its folder."""
    io.save(tmp_path / "net", OLD)
    return tmp_path / "net"


def assert_untouched(file):
    assert [p.name for p in file.parent.iterdir()] == [file.name]
    assert_same(io.load(file), OLD)


def test_the_path_is_taken_exactly(tmp_path):
    for name in ("net", "net.v1", "net.bin"):
        io.save(str(tmp_path / "a" / "b" / name), OLD)
        assert_same(io.load(str(tmp_path / "a" / "b" / name)), OLD)
    names = sorted(path.name for path in (tmp_path / "a" / "b").iterdir())
    assert names == ["net", "net.bin", "net.v1"]


def test_a_relative_path_and_an_overwrite(file, monkeypatch):
    monkeypatch.chdir(file.parent)
    io.save("net", NEW)
    assert_same(io.load("net"), NEW)
    assert [path.name for path in file.parent.iterdir()] == ["net"]


def test_a_symbolic_link_is_followed(file):
    link = file.with_name("latest")
    link.symlink_to(file)
    io.save(link, NEW)
    assert link.is_symlink()
    assert_same(io.load(file), NEW)


def test_file_permissions_follow_the_umask(tmp_path):
    old = os.umask(0o022)
    try:
        io.save(tmp_path / "net", OLD)
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "net").stat().st_mode) == 0o644


@pytest.mark.parametrize("broken", ["os.fsync", "pathlib.Path.replace"])
@pytest.mark.parametrize(
    "failure", [OSError(28, "No space left on device"), KeyboardInterrupt()]
)
def test_a_crash_leaves_the_old_file(broken, failure, file, monkeypatch):
    def fail(*args):
        raise failure

    monkeypatch.setattr(broken, fail)
    with pytest.raises(type(failure)):
        io.save(file, NEW)
    monkeypatch.undo()
    assert_untouched(file)


def test_a_write_that_stops_halfway_leaves_the_old_file(file):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        raises(["save: cannot write", "net"], io.save, file, NEW, error=OSError)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert_untouched(file)


def test_a_killed_process_leaves_the_old_file(file):
    code = """
import os, signal, sys, numpy as np
from jaxnn import io
os.fsync = lambda descriptor: os.kill(os.getpid(), signal.SIGKILL)
io.save(sys.argv[1], {"w": np.ones(5000)})
"""
    done = subprocess.run([sys.executable, "-c", code, str(file)])
    assert done.returncode == -9
    assert_same(io.load(file), OLD)


def test_two_threads_leave_a_whole_file(file):
    values = [{"w": np.full(20_000, float(i))} for i in range(2)]
    failures = []

    def write(value):
        try:
            for _ in range(20):
                io.save(file, value)
                w = io.load(file)["w"]
                assert w.min() == w.max()
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=write, args=(value,)) for value in values]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert io.load(file)["w"].shape == (20_000,)
    assert [path.name for path in file.parent.iterdir()] == ["net"]


def test_forbidden_folders_are_named(file, monkeypatch):
    def forbid(path, *args):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", forbid)
    words = ["save: cannot write", str(file), "Permission denied"]
    raises(words, io.save, file, NEW, error=PermissionError)
    monkeypatch.undo()
    assert_untouched(file)


def test_places_where_no_file_can_be(file):
    words = ["save: cannot write"]
    raises(words, io.save, file / "below" / "net", NEW, error=OSError)
    raises(["must name a file"], io.save, file.parent, NEW)
    raises(["must name a file"], io.save, "/dev/null", NEW)
    assert_untouched(file)


# Trees that no file can hold


@pytest.mark.parametrize(
    ("leaf", "error", "words"),
    [
        ("relu", TypeError, ["'a/b'", "str", "spec="]),
        (jax.nn.relu, TypeError, ["'a/b'", "must be an array"]),
        (jax.ShapeDtypeStruct((2,), np.float32), TypeError, ["'a/b'", "float32[2]"]),
        (np.array(["x"]), ValueError, ["'a/b'", "dtype str"]),
        (np.array([None]), ValueError, ["'a/b'", "dtype object"]),
        (np.array(["2020"], "datetime64[Y]"), ValueError, ["dtype datetime64"]),
        (np.zeros(2, "f4,i4"), ValueError, ["dtype void"]),
        (np.longdouble(1), ValueError, ["dtype"]),
        (2**70, ValueError, ["'a/b'", "64 bits"]),
        ({"c/d": 1}, ValueError, ["'c/d'", "without '/'"]),
        (np.ma.masked_array([1.0], [True]), TypeError, ["'a/b'", "filled"]),
    ],
)
def test_leaves_that_cannot_be_saved(leaf, error, words, file):
    raises(words, io.save, file, {"a": {"b": leaf}}, error=error)
    assert_untouched(file)


def test_reserved_names_traced_and_donated_leaves(file):
    raises(["reserved", "rename"], io.save, file, {"__metadata__": np.ones(2)})
    gone = jnp.ones(3)
    gone.delete()
    raises(["'w'", "donated"], io.save, file, {"w": gone})
    traced = jax.jit(lambda x: io.save(file, {"w": x}))
    raises(["'w'", "outside of jit"], traced, jnp.ones(2))
    assert_untouched(file)


# Files that do not fit


def test_every_difference_is_listed(tmp_path, key):
    io.save(
        tmp_path / "x",
        {"dense_1": {"w": np.zeros((3, 2), np.float32)}, "n": np.zeros(2), "key": key},
    )
    like = {
        "dense1": {"w": np.zeros((3, 2), np.float32)},
        "n": jnp.zeros(2, jnp.float32),
        "key": np.zeros(2, np.uint32),
    }
    words = [
        "does not fit `like`",
        "missing: dense1/w (nearest: 'dense_1/w')",
        "unexpected: dense_1/w",
        "different: n: the file has float64[2], like has float32[2]",
        "different: key: the file has key<fry>[], like has uint32[2]",
    ]
    raises(words, io.load, tmp_path / "x", like=like)


@pytest.mark.parametrize(
    ("saved", "like"),
    [
        (np.zeros(3), np.zeros(4)),
        (np.zeros((1, 3)), np.zeros(3)),
        (np.float64(1), np.float32(1)),
        (1, 1.0),
        (1, True),
        (1, jnp.array(1)),
        (np.zeros(2, np.uint16), jnp.zeros(2, jnp.bfloat16)),
        (np.zeros(2), "text"),
        (np.zeros(2), {"w": np.zeros(2)}),
        ({"w": np.zeros(2)}, np.zeros(2)),
        (jax.random.key(0), jax.random.key(0, impl="rbg")),
        ({}, np.zeros(2)),
    ],
)
def test_nothing_is_cast_or_reshaped(saved, like, tmp_path):
    io.save(tmp_path / "x", saved)
    raises(["does not fit"], io.load, tmp_path / "x", like=like)


def test_long_lists_are_cut(tmp_path):
    io.save(tmp_path / "x", {f"a{i}": np.zeros(1) for i in range(35)})
    with pytest.raises(ValueError) as caught:
        io.load(tmp_path / "x", like={f"b{i}": np.zeros(1) for i in range(22)})
    lines = str(caught.value).splitlines()
    assert len(lines) == 1 + 21 + 21
    assert "  missing: and 2 more" in lines and "  unexpected: and 15 more" in lines


def test_the_nearest_name_is_not_looked_for_among_all(tmp_path, monkeypatch):
    """That took 37 seconds in a file of 100,000 tensors."""
    looked = []
    nearest = difflib.get_close_matches

    def close(name, names, n):
        looked.append(len(names))
        return nearest(name, names, n=n)

    monkeypatch.setattr(difflib, "get_close_matches", close)
    one = np.zeros(1)
    io.save(tmp_path / "x", {f"block_{i}": one for i in range(3000)})
    like = {f"block{i}": one for i in range(3000)}
    raises(["block0 (nearest: 'block_0')"], io.load, tmp_path / "x", like=like)
    assert len(looked) == 20 and max(looked) <= 1000


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["None", "jax.ShapeDtypeStruct", "np.empty"])
def test_loading_takes_the_memory_of_one_file(kind, tmp_path):
    """No whole second copy, neither of the bytes nor of the arrays."""
    code = f"""
import sys
import jax, jax.numpy as jnp, numpy as np
from jaxnn import io

def memory(entry):
    with open("/proc/self/status") as file:
        return next(int(s.split()[1]) for s in file if s.startswith(entry)) / 1024

jnp.ones(3).block_until_ready()
like = {kind} and {{f"w{{i}}": {kind}((1 << 20,), np.float32) for i in range(30)}}
before = memory("VmRSS")
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")  # forget the peak so far
back = io.load(sys.argv[1], like=like)
print(memory("VmHWM") - before)
"""
    io.save(tmp_path / "x", {f"w{i}": np.ones(1 << 20, np.float32) for i in range(30)})
    command = [sys.executable, "-c", code, str(tmp_path / "x")]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert 110 < float(run.stdout) < 180, run.stdout  # megabytes, of a file of 120


# Bad files


class Trap:
    """Creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickles_are_refused_and_never_executed(protocol, tmp_path):
    trap = tmp_path / "executed"
    (tmp_path / "x").write_bytes(pickle.dumps({"w": Trap(trap)}, protocol))
    for read in (io.load, io.header):
        raises(["pickle", "only safetensors", "executed"], read, tmp_path / "x")
    assert not trap.exists()
    pickle.loads((tmp_path / "x").read_bytes())
    assert trap.exists()  # the trap works


def test_other_formats_are_named(tmp_path):
    file = tmp_path / "x"
    array = np.zeros(3)
    np.savez(tmp_path / "x.npz", w=array)
    np.save(tmp_path / "x.npy", array)
    named = {
        "zip": (tmp_path / "x.npz").read_bytes(),
        "NumPy array": (tmp_path / "x.npy").read_bytes(),
        "gzip": gzip.compress(b"weights"),
        "HDF5": b"\x89HDF\r\n\x1a\n" + bytes(40),
        "text": b"epoch,loss\n1,0.5\n",
        "no known format": b"\xff\xfe\xfd" * 10,
        "is empty": b"",
        "3 found": b"abc",
    }
    for name, data in named.items():
        file.write_bytes(data)
        raises([str(file), name, "only", "safetensors"], io.load, file)


def test_absent_files_and_folders(file):
    words = ["no file", "(nearest: 'net')"]
    raises(words, io.load, file.with_name("nets"), error=FileNotFoundError)
    absent = file.parent / "absent" / "net"
    raises([str(absent)], io.load, absent, error=FileNotFoundError)
    raises(["must name a safetensors file"], io.load, file.parent)
    os.mkfifo(file.with_name("pipe"))
    raises(["must name a safetensors file"], io.load, file.with_name("pipe"))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A file with arrays, a key, bytes and empties: its path, bytes and tree."""
    tree = {
        "w": np.arange(3, dtype=np.float32),
        "key": jax.random.key(1),
        "z": np.array([1j]),
        "e": {},
        "step": 12,
    }
    path = tmp_path_factory.mktemp("checkpoint") / "net"
    io.save(path, tree, spec="Dense(3)")
    return path, path.read_bytes(), tree


def test_truncated_at_every_byte(checkpoint, tmp_path):
    _, data, _ = checkpoint
    for length in range(len(data)):
        (tmp_path / "x").write_bytes(data[:length])
        for read in (io.load, io.header):
            raises(["bytes expected", f"{length} found"], read, tmp_path / "x")
    (tmp_path / "x").write_bytes(data + b"\0")
    raises(["damaged"], io.load, tmp_path / "x")


@pytest.mark.parametrize("flip", [1, 2, 4, 0x10, 0x80, 0xFF])
def test_a_changed_byte_anywhere_is_noticed_or_harmless(flip, checkpoint, tmp_path):
    file, data, _ = checkpoint
    plain, harmless = io.load(file), 0
    for position in range(len(data)):
        changed = bytearray(data)
        changed[position] ^= flip
        (tmp_path / "x").write_bytes(changed)
        try:
            back = io.load(tmp_path / "x")
        except ValueError:
            continue
        assert_same(back, plain)
        harmless += 1
    assert harmless < 20  # the padding of the header


@SHARED_FOLDER
@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_are_refused(tmp_path, data, framed):
    if framed:  # past the first checks: a plausible length and an opening brace
        data = len(data).to_bytes(8, "little") + b"{" + data
    (tmp_path / "x").write_bytes(data)
    raises(["load: "], io.load, tmp_path / "x")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner)
    ),
    max_leaves=5,
)
ENTRIES = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F32", "U8", "F4", "C64", "BOOL", "?"]) | JSON,
        "shape": st.lists(st.sampled_from([0, 1, 2, 2**62, 2**63]), max_size=70) | JSON,
        "data_offsets": st.just([0, 8]) | st.just([0, 0]) | JSON,
    }
)


@SHARED_FOLDER
@given(st.dictionaries(st.text(max_size=4), ENTRIES | JSON, max_size=3), JSON)
def test_any_header_loads_or_is_refused(tmp_path, header, metadata):
    text = json.dumps({**header, "__metadata__": metadata}).encode()
    (tmp_path / "x").write_bytes(len(text).to_bytes(8, "little") + text + bytes(8))
    for read in (io.load, io.header):
        try:
            assert isinstance(read(tmp_path / "x"), (dict, np.ndarray))
        except ValueError as error:
            assert str(error).startswith("load: ")


def framed(text):
    return len(text).to_bytes(8, "little") + text


@pytest.mark.parametrize(
    "data",
    [
        (2**63).to_bytes(8, "little") + b"{}",
        framed(b'{"a":' + b"[" * 100_000),
        framed(b'{"a":' + b"9" * 10_000 + b"}"),
        framed(b'{"a":{"dtype":"F32","shape":[0,18446744073709551615],"data_offsets":[0,0]}}'),
        framed(b'{"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}}'),
        framed(b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},'
               b'"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}') + bytes(4),
        framed(b'{"__metadata__":{"jaxnn":"' + b"[" * 50_000 + b'"}}'),
        framed(b'{"__metadata__":[1]}'),
    ],
)  # fmt: skip
def test_hostile_headers_are_refused(data, tmp_path):
    (tmp_path / "x").write_bytes(data)
    raises(["load: "], io.load, tmp_path / "x")


# Headers that lie, with the right checksum

NOTE = {"version": 1, "library": "0", "empty": {}, "keys": {}, "dtypes": {}}


def write_note(path, note, tensors):
    text = note if isinstance(note, str) else json.dumps(note)
    metadata = {"jaxnn": text, "jaxnn_crc32": tree_files.checksum(text, tensors)}
    safetensors.numpy.save_file(tensors, path, metadata)


@pytest.mark.parametrize(
    "change",
    [
        {"keys": {"absent": "threefry2x32"}},
        {"keys": {"w": "threefry2x32"}},
        {"keys": {"bytes": "threefry2x32"}},
        {"keys": {"data": "no such generator"}},
        {"keys": {"data": 3}},
        {"keys": {"data": None}},
        {"keys": {"scalar": "threefry2x32"}},
        {"keys": ["data"]},
        {"dtypes": {"absent": "int4"}},
        {"dtypes": {"w": "complex128"}},
        {"dtypes": {"scalar": "complex64"}},
        {"dtypes": {"bytes": "object"}},
        {"dtypes": {"bytes": "S3"}},
        {"dtypes": {"bytes": "int4,int4"}},
        {"dtypes": {"bytes": ["int4"]}},
        {"empty": {"w": {}}},
        {"empty": {"w/below": {}}},
        {"empty": {"other": "text"}},
        {"empty": {"other": [1]}},
        {"empty": None},
        {"version": 0},
        {"version": "1"},
        {"version": None},
    ],
)
def test_lies_are_refused(change, tmp_path):
    tensors = {
        "w": np.zeros(3, np.float32),
        "data": np.zeros(2, np.uint32),
        "bytes": np.zeros((2, 3), np.uint8),
        "scalar": np.zeros((), np.uint32),
    }
    write_note(tmp_path / "x", NOTE, tensors)
    assert_same(io.load(tmp_path / "x"), tensors)
    write_note(tmp_path / "x", {**NOTE, **change}, tensors)
    raises(["load: ", str(tmp_path / "x")], io.load, tmp_path / "x")


@pytest.mark.parametrize("text", ["", "{", "3", "[1]", "null", "{}", '"jaxnn"'])
def test_malformed_notes_are_refused(text, tmp_path):
    write_note(tmp_path / "x", text, {"w": np.zeros(3)})
    for read in (io.load, io.header):
        raises(["jaxnn header", "damaged"], read, tmp_path / "x")


def test_a_changed_tensor_is_noticed(checkpoint, tmp_path):
    _, data, tree = checkpoint
    (tmp_path / "x").write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    raises(["damaged or changed"], io.load, tmp_path / "x", like=tree)


def test_the_checksum_is_crc32_over_note_titles_and_bytes(checkpoint):
    path, _, _ = checkpoint
    with safetensors.safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
    crc = zlib.crc32(metadata["jaxnn"].encode())
    for name, array in sorted(safetensors.numpy.load_file(path).items()):
        title = f'["{name}", "{array.dtype.name}", {list(array.shape)}]'
        crc = zlib.crc32(title.encode() + array.tobytes(), crc)
    assert metadata["jaxnn_crc32"] == f"{crc:08x}"


def test_newer_formats_ask_for_an_upgrade(tmp_path):
    note = {"version": 3, "library": "9.8.7", "other": "things"}
    write_note(tmp_path / "x", note, {"w": np.zeros(3)})
    for read in (io.load, io.header):
        raises(["version 3", "jaxnn 9.8.7", "upgrade"], read, tmp_path / "x")


# Files of other libraries, and what other libraries make of these


def test_foreign_files_load_by_name(tmp_path):
    tensors = {
        "features.0.weight": np.ones((2, 3), np.float32),
        "block/conv/w": np.zeros(2, np.float16),
        "block/conv/b": np.zeros((), np.int64),
    }
    safetensors.numpy.save_file(tensors, tmp_path / "x", {"format": "pt"})
    back = io.load(tmp_path / "x")
    expected = {
        "features.0.weight": tensors["features.0.weight"],
        "block": {"conv": {"w": np.zeros(2, np.float16), "b": np.array(0)}},
    }
    assert_same(back, expected)
    like = jax.tree.map(np.zeros_like, expected)
    assert_same(io.load(tmp_path / "x", like=like), expected)
    assert io.header(tmp_path / "x") == {}


def test_foreign_names_that_clash_are_refused(tmp_path):
    for names in (("a", "a/b"), ("a/b", "a/b/c/d")):
        tensors = {name: np.zeros(2) for name in names}
        safetensors.numpy.save_file(tensors, tmp_path / "x")
        raises(["as a leaf and as a folder"], io.load, tmp_path / "x")


def test_others_can_read_these_files(tmp_path):
    w = np.arange(6, dtype=np.float16).reshape(2, 3)
    io.save(tmp_path / "x", {"dense_1": {"w": w, "b": jnp.ones(2, jnp.bfloat16)}})
    with safetensors.safe_open(tmp_path / "x", framework="numpy") as file:
        np.testing.assert_array_equal(file.get_tensor("dense_1/w"), w, strict=True)
        assert file.get_slice("dense_1/b").get_dtype() == "BF16"


# The note


def test_header(tmp_path, key):
    class Net:
        def __repr__(self):
            return "Dense(10)"

    state = train_state(key, optax.sgd(0.1))
    io.save(tmp_path / "x", state, spec=Net())
    version = {"version": 1, "library": tree_files.library()}
    expected = {**version, "spec": "Dense(10)", "step": 4}
    assert io.header(tmp_path / "x") == expected
    io.save(tmp_path / "x", {"step": np.arange(2)}, spec='héllo "quoted" \n {}')
    expected = {**version, "spec": 'héllo "quoted" \n {}', "step": None}
    assert io.header(tmp_path / "x") == expected
    raises(["no file"], io.header, tmp_path / "y", error=FileNotFoundError)


def test_safetensors_is_imported_late():
    code = "import sys, jaxnn.io; sys.exit('safetensors' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
