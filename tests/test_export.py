"""Networks as programs that run without jaxnn."""

import subprocess
import sys

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxnn as nn

MLP = nn.Sequential(nn.Dense(8), nn.BatchNorm(), nn.Dropout(0.5), nn.Dense(2))
IDS = jnp.arange(14).reshape(2, 7)
CASES = {
    "mlp": (MLP, jnp.ones((2, 3)), "n,3"),
    "cnn": (
        nn.Sequential(nn.Conv(3, 3), nn.MaxPool(2), nn.Flatten(), nn.Dense(2)),
        jnp.ones((2, 6, 6, 1)),
        "n,6,6,1",
    ),
    "lstm": (nn.Sequential(nn.lstm(4), nn.LastStep()), jnp.ones((2, 5, 3)), "n,t,3"),
    "encoder": (
        nn.Sequential(nn.Embed(20, 4), nn.TransformerEncoder(1, 2), nn.GlobalAvgPool()),
        IDS,
        "n,t",
    ),
    "positions": (nn.Sequential(nn.Embed(20, 4), nn.LearnedPositions(9)), IDS, "n,7"),
}


@pytest.mark.parametrize("name", CASES)
def test_an_export_gives_what_the_network_gives_for_any_batch(name, key):
    net, x, shape = CASES[name]
    variables = net.init(key, x)
    program = jax.export.deserialize(nn.io.export(net, variables, x))
    assert ",".join(map(str, program.in_avals[0].shape)) == shape
    assert set(program.platforms) == {"cpu", "cuda", "tpu"}
    for more in (x[:1], jnp.concatenate([x, x, x])):
        expected, _ = net.apply(*variables, more)
        chex.assert_trees_all_close(program.call(more), expected, rtol=1e-5, atol=1e-6)


def test_sequences_may_be_of_any_length(key):
    net, x, _ = CASES["lstm"]
    variables = net.init(key, x)
    program = jax.export.deserialize(nn.io.export(net, variables, x))
    longer = jax.random.normal(key, (3, 11, 3))
    expected, _ = net.apply(*variables, longer)
    chex.assert_trees_all_close(program.call(longer), expected, rtol=1e-5, atol=1e-6)


def test_inputs_may_be_a_tree_and_lengths_count(key):
    net = nn.Sequential(nn.Embed(20, 4), nn.lstm(4), nn.LastStep())
    x = IDS, jnp.array([3, 7])
    variables = net.init(key, x)
    program = jax.export.deserialize(nn.io.export(net, variables, x))
    expected, _ = net.apply(*variables, x)
    chex.assert_trees_all_close(program.call(x), expected, rtol=1e-5, atol=1e-6)


def test_a_process_without_jaxnn_reads_the_program(key, tmp_path):
    state = nn.train_state(MLP, optax.sgd(0.1), jnp.ones((1, 3)), key=key)
    x = np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3)
    shape = jax.ShapeDtypeStruct((1, 3), jnp.float32)
    data = nn.io.export(MLP, state, shape, platforms=("cpu",))
    (tmp_path / "net.bin").write_bytes(data)
    np.save(tmp_path / "x.npy", x)
    code = (
        "import sys, numpy as np, jax; from jax import export\n"
        "program = export.deserialize(bytearray(open('net.bin', 'rb').read()))\n"
        "np.save('y.npy', program.call(np.load('x.npy')))\n"
        "assert 'jaxnn' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, timeout=120)
    expected = nn.predict(MLP, state, x)
    chex.assert_trees_all_close(np.load(tmp_path / "y.npy"), expected, rtol=1e-5)


def test_bad_input_is_answered(key, monkeypatch):
    x = jnp.ones((2, 3))
    variables = MLP.init(key, x)
    with pytest.raises(ValueError, match="platforms must be a tuple of names among"):
        nn.io.export(MLP, variables, x, platforms="cpu")
    with pytest.raises(ValueError, match="got \\('gpu',\\)"):
        nn.io.export(MLP, variables, x, platforms=("gpu",))
    with pytest.raises(ValueError, match="in dense_1"):
        nn.io.export(MLP, variables, jnp.ones((2, 4)))
    with pytest.raises(TypeError, match=r"x must hold arrays \[N, \.\.\.\]"):
        nn.io.export(nn.Identity(), ({}, {}), jnp.float32(1.0))
    with pytest.raises(TypeError, match="export: state must be a TrainState or a pair"):
        nn.io.export(MLP, 3, x)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match="export needs flatbuffers"):
        nn.io.export(MLP, variables, x)
