"""A record beside the tree: kept whole, hidden from `load`, refused when damaged."""

import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from golden import v1, v2
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_saving import assert_same, raises

import jaxnn as nn
from jaxnn import io
from jaxnn.files import tensor_files, tree_files

GOLDEN = Path(__file__).parents[1] / "golden"
TREE = {"w": np.arange(3.0), "key": v1.train_state().key, "step": np.array(4)}

pytestmark = pytest.mark.quick


def read(path):
    with tree_files.open_file(path) as file:
        return tree_files.read(file)


def assert_same_record(found, given):
    """Equal down to types and bits; tuples come back as lists."""
    assert type(found) is (list if isinstance(given, tuple) else type(given))
    if isinstance(given, dict):
        assert found.keys() == given.keys()
        for name in given:
            assert_same_record(found[name], given[name])
    elif isinstance(given, list | tuple):
        assert len(found) == len(given)
        for a, b in zip(found, given, strict=True):
            assert_same_record(a, b)
    elif isinstance(given, float):
        assert np.float64(found).tobytes() == np.float64(given).tobytes()
    elif isinstance(given, np.ndarray):
        np.testing.assert_array_equal(found, given, strict=True)
    else:
        assert found == given


FLOATS = st.floats(allow_nan=False) | st.just(float("nan"))
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**80), 2**80)
    | FLOATS
    | st.text(max_size=4)
    | st.sampled_from([np.eye(2), np.arange(3), np.array(1 + 2j), np.zeros((0, 2))]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(FLOATS, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(VALUES.filter(lambda value: value is not None))
def test_any_record_comes_back_and_the_tree_is_as_without_it(tmp_path, record):
    tree_files.write(tmp_path / "x", TREE, record=record)
    assert_same_record(read(tmp_path / "x").record, record)
    assert_same(io.load(tmp_path / "x"), TREE)
    assert_same(io.load(tmp_path / "x", like=TREE), TREE)
    assert io.header(tmp_path / "x")["version"] == 2


def test_a_file_without_a_record_is_of_version_1(tmp_path):
    io.save(tmp_path / "x", TREE)
    assert read(tmp_path / "x").record is None
    assert io.header(tmp_path / "x")["version"] == 1


def test_arrays_of_jax_and_numbers_of_numpy_come_back_as_arrays(tmp_path):
    record = [jnp.ones(2, jnp.bfloat16), np.float32(0.1), {"a": jnp.arange(2)}]
    tree_files.write(tmp_path / "x", TREE, record=record)
    bf16, number, inner = read(tmp_path / "x").record
    assert bf16.dtype == jnp.bfloat16 and bf16.tolist() == [1, 1]
    assert number.dtype == np.float32 and number.shape == ()
    assert inner["a"].tolist() == [0, 1]


@pytest.mark.parametrize("odd", [object(), {1: 2.0}, [0.5, {"a": min}], TREE["key"]])
def test_what_no_record_holds_is_named(odd, tmp_path):
    with pytest.raises(TypeError, match=r"save: record\['note'\].* must be an array"):
        tree_files.write(tmp_path / "x", TREE, record={"note": odd})
    assert not list(tmp_path.iterdir())


def test_every_changed_byte_of_a_record_is_noticed(tmp_path):
    tree_files.write(tmp_path / "x", TREE, record={"a": [0.5, 1.5], "b": "text"})
    data = (tmp_path / "x").read_bytes()
    with (tmp_path / "x").open("rb") as file:
        place = tensor_files.read_header(file)[1]["/record/0"]
    spots = [*range(place.start, place.start + place.size), data.index(b"text")]
    for spot in spots:
        changed = bytearray(data)
        changed[spot] ^= 1
        (tmp_path / "y").write_bytes(changed)
        for load in (io.load, nn.History.load):
            raises(["damaged or changed"], load, tmp_path / "y")


@pytest.mark.parametrize(
    "packed",
    [
        {"numbers": 1},
        {"array": 7},
        {"array": 0, "numbers": 0},
        {"other": 0},
        {"dict": [1]},
        {},
        [{"array": None}],
    ],
)
def test_records_that_lie_are_refused(packed, tmp_path):
    tensors = {"w": np.ones(2), "/record/0": np.ones(2)}
    note = {"version": 2, "library": "0", "empty": {}, "keys": {}, "dtypes": {}}
    for text in (json.dumps(note | {"record": packed}), json.dumps(note)):
        metadata = {"jaxnn": text, "jaxnn_crc32": tree_files.checksum(text, tensors)}
        tensor_files.write(tmp_path / "x", tensors, metadata)
        raises(["load: the record in", "damaged"], io.load, tmp_path / "x")


def test_golden_checkpoint():
    file, tree = GOLDEN / "v2_checkpoint.safetensors", v1.train_state()
    assert_same(io.load(file, like=tree), tree)
    plain = io.load(file)
    assert list(plain) == ["key", "opt_state", "params", "state", "step"]
    assert io.header(file)["version"] == 2 and io.header(file)["step"] == 7
    found, expected = nn.History.load(file), v2.history()
    assert_same_record(found.record(), expected.record())


def test_the_library_of_the_format_reads_these_files(tmp_path):
    import safetensors
    import safetensors.numpy

    tensors = {
        "a": np.arange(6, dtype=np.float16).reshape(2, 3),
        "b/ü": np.arange(2.0),
        "rank0": np.array(3, np.uint8),
        "none": np.zeros((0, 2), np.int64),
    }
    tensor_files.write(tmp_path / "x", tensors, {"note": "é"})
    found = safetensors.numpy.load_file(tmp_path / "x")
    assert found.keys() == tensors.keys()
    for name, array in tensors.items():
        np.testing.assert_array_equal(found[name], array, strict=True)
    with safetensors.safe_open(tmp_path / "x", framework="numpy") as file:
        assert file.metadata() == {"note": "é"}
