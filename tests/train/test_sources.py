"""Iterables of batches train like arrays; arrays too large for the device as well."""

import subprocess
import sys

import chex
import jax
import numpy as np
import pytest
from common import KEY, X, Y, fit

import jaxnn as nn
from jaxnn.inputs import mapped
from jaxnn.train import source

BATCHES = [(X[i : i + 16], Y[i : i + 16]) for i in range(0, 70, 16)]
same = chex.assert_trees_all_equal


class Loader:
    """A loader with a length, that gives lists, as PyTorch's does."""

    def __len__(self):
        return len(BATCHES)

    def __iter__(self):
        return iter([list(batch) for batch in BATCHES])


@pytest.mark.parametrize(
    "data",
    [
        BATCHES,
        Loader(),
        lambda: (batch for batch in BATCHES),
        lambda: map(tuple, BATCHES),
    ],
    ids=["list", "loader", "function", "iterator function"],
)
def test_an_iterable_is_the_arrays_in_order(data):
    arrays, history = fit(shuffle=False)
    stream, its_history = fit(data)
    same(arrays, stream)
    np.testing.assert_allclose(its_history["loss"], history["loss"], rtol=1e-6)


def test_a_generator_serves_one_epoch():
    state, _ = fit((batch for batch in BATCHES), epochs=1)
    same(state, fit(shuffle=False, epochs=1)[0])
    with pytest.raises(
        ValueError, match="for 2 epochs, got a generator, which is used"
    ):
        fit((batch for batch in BATCHES), epochs=2)
    with pytest.raises(ValueError, match="fit: validation must give batches for 2 ep"):
        fit(epochs=2, validation=(batch for batch in BATCHES))


@pytest.mark.parametrize(
    "data", [BATCHES, lambda: iter(BATCHES)], ids=["len", "no len"]
)
def test_iterables_resume(data):
    half, _ = fit(data, epochs=1)
    rest, _ = fit(data, state=half)
    same(rest, fit(data)[0])


def test_groups_of_batches_change_nothing(monkeypatch):
    expected, _ = fit(BATCHES)
    monkeypatch.setattr(source, "GROUP_BATCHES", 2)
    same(fit(BATCHES)[0], expected)


def test_batches_of_many_shapes():
    ragged = [
        (X[a:b], Y[a:b]) for a, b in ((0, 5), (5, 10), (10, 13), (13, 18), (18, 70))
    ]
    state, history = fit(ragged)
    assert int(state.step) == 15
    assert history["loss"][-1] < history["loss"][0]


def test_one_program_for_each_shape_of_batch_however_many_come_together():
    sizes = [8] * 5 + [5] * 3 + [8] * 2 + [5]
    batches = [(X[:size], Y[:size]) for size in sizes]
    net = nn.Sequential(nn.Dense(7), jax.nn.relu, nn.Dense(3))
    state, history = fit(batches, net=net, epochs=2, batch_size=None)
    assert history.programs == 2 and int(state.step) == 2 * len(sizes)


def test_a_stream_reads_ahead_but_only_a_little():
    seen = []

    def batches():
        for i in range(10_000):
            seen.append(i)
            yield BATCHES[0]

    with pytest.raises(ZeroDivisionError):
        fit(batches, epochs=1, callbacks=[], chunk_seconds=0.0, metrics={"x": broken})
    assert len(seen) <= 1 + 2 * source.GROUP_BATCHES


def broken(outputs, targets):
    return 1 / 0


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ((X[:16], np.full(16, 3)), r"batch 3 targets.*\[0\] is 3"),
        (
            (np.full((16, 6), np.nan, np.float32), Y[:16]),
            r"batch 3 inputs.*\[0, 0\] is nan",
        ),
        ((X[:16], Y[:15]), "batch 3.*15"),
        ((X[:16], -np.ones(16, int)), "batch 3 targets.*-1"),
    ],
)
def test_a_bad_batch_is_named_and_the_run_is_kept(bad, words, monkeypatch):
    monkeypatch.setattr(source, "GROUP_BATCHES", 1)
    data = [*BATCHES[:3], bad, BATCHES[3]]
    with pytest.raises(ValueError, match=words) as caught:
        fit(data)
    assert int(caught.value.state.step) == 3


def test_a_function_that_gives_the_same_iterator_again():
    batches = iter([(X[:8], Y[:8]), (X[8:16], Y[8:16])])
    with pytest.raises(ValueError, match="got a list_iterator, which is used up"):
        fit(lambda: batches)


def test_an_epoch_without_batches():
    parts = iter([[(X[:8], Y[:8])], [(X[:8], Y[:8])], []])
    with pytest.raises(
        ValueError, match="fit: data must give a batch, got none in epoch 3"
    ) as raised:
        fit(lambda: next(parts))
    assert len(raised.value.history) == 2


def test_an_empty_iterable():
    with pytest.raises(ValueError, match="fit: data must hold batches, got an empty"):
        fit([])
    with pytest.raises(ValueError, match="brings its own"):
        fit(BATCHES, batch_size=16)


def test_a_loader_that_fails_keeps_the_run():
    def batches():
        yield from BATCHES[:2]
        raise OSError("network down")

    with pytest.raises(OSError, match="network down") as caught:
        fit(batches)
    assert caught.value.history is not None


@pytest.mark.parametrize("on_device", [True, False])
def test_the_users_rows_are_named_wherever_the_data_lie(on_device):
    x = X.copy()
    x[44] = 1e30
    net = nn.Sequential(fc1=nn.Dense(8), act=jax.numpy.square, fc2=nn.Dense(3))
    with pytest.raises(nn.NonFiniteError) as caught:
        fit((x, Y), net=net, on_device=on_device)
    assert caught.value.examples == [44]


@pytest.mark.parametrize("shuffle", [True, False])
def test_arrays_on_the_host_are_arrays_on_the_device(shuffle, monkeypatch):
    monkeypatch.setattr(source, "GROUP_BATCHES", 3)
    device, _ = fit(shuffle=shuffle)
    host, _ = fit(shuffle=shuffle, on_device=False)
    same(device, host)
    half, _ = fit(shuffle=shuffle, on_device=False, epochs=1)
    same(fit(shuffle=shuffle, on_device=False, state=half)[0], host)


def test_inputs_may_be_a_tree():
    class Both(nn.Composite):
        left: nn.Layer
        right: nn.Layer

        def forward(self, run, x):
            return run("left", x["a"]) + run("right", x["b"])

    net, data = Both(nn.Dense(3), nn.Dense(3)), ({"a": X, "b": X[:, :2]}, Y)
    state, history = fit(data, net=net, epochs=5)
    assert history["loss"][-1] < history["loss"][0]
    assert nn.predict(net, state, data[0]).shape == (70, 3)


def test_jax_arrays_and_numpy_arrays_are_alike():
    same(fit(jax.tree.map(jax.numpy.asarray, (X, Y)))[0], fit()[0])


def test_the_key_of_a_stream_draws_dropout():
    a, _ = fit(BATCHES, key=KEY)
    b, _ = fit(BATCHES, key=jax.random.key(8))
    assert not np.array_equal(a.params["dense_2"]["w"], b.params["dense_2"]["w"])


def on_disk(path, array, mode="r"):
    """An array as a file's map."""
    array.tofile(path)
    return np.memmap(path, array.dtype, mode, shape=array.shape)


@pytest.mark.parametrize("shuffle", [False, True])
def test_arrays_in_files_train_like_those_in_memory(shuffle, tmp_path):
    data = on_disk(tmp_path / "x", X), on_disk(tmp_path / "y", Y)
    given = [fit(d, shuffle=shuffle) for d in (data, (X, Y), (data[0], Y))]
    same(given[0][0], given[1][0])
    same(given[2][0], given[1][0])


def test_arrays_in_files_stay_there(tmp_path):
    data = on_disk(tmp_path / "x", X), Y
    assert not source.fits_device(data) and source.fits_device((X, Y))


def test_nan_in_a_file_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(mapped, "PIECE_BYTES", 64)
    wrong = X.copy()
    wrong[61, 0] = np.nan
    with pytest.raises(
        ValueError, match=r"inputs must be finite, but \[61, 0\] is nan"
    ):
        fit((on_disk(tmp_path / "x", wrong), Y))


def test_what_was_written_to_a_copy_of_a_file_is_kept(tmp_path):
    x = on_disk(tmp_path / "x", X, mode="c")
    x += 1
    mapped.give_back(x)
    np.testing.assert_array_equal(x, X + 1)


FLAT = """
import sys
import jax, numpy as np, optax
import jaxnn as nn


def peak():
    line = next(l for l in open("/proc/self/status") if l.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


shape = 512, 512, 1024  # 256 MB
np.memmap(sys.argv[1], np.uint8, "w+", shape=shape).flush()
data = np.memmap(sys.argv[1], np.uint8, "r", shape=shape), np.arange(512) % 2
few = lambda x: x[:, ::64, ::64].astype(np.float32)
net = nn.Sequential(few, nn.Flatten(), nn.Dense(2))
options = {"loss": nn.losses.softmax_cross_entropy, "optimizer": optax.sgd(0.1)}
options |= {"epochs": 1, "batch_size": 8, "key": jax.random.key(0), "progress": False}
first = jax.tree.map(lambda a: np.asarray(a[:16]), data)
nn.fit(net, first, on_device=False, **options)
before = peak()
nn.fit(net, data, **options)
print(peak() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_stays_flat_while_a_file_is_trained_on(tmp_path):
    command = [sys.executable, "-c", FLAT, str(tmp_path / "x")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert float(done.stdout) < 128  # groups of 32 MB, of which there are two at a time
