"""Networks as ONNX files, and the operations that converters understand."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from catalogue import CATALOGUE, example

import jaxnn as nn
from jaxnn.ops.portable import portable

SPATIAL = [
    entry
    for entry in CATALOGUE
    if any(word in entry.name for word in ("conv", "pool", "separable", "squeeze"))
]


@pytest.mark.parametrize("entry", SPATIAL, ids=lambda entry: entry.name)
def test_portable_operations_give_the_same_numbers(entry, key):
    x = example(entry)
    variables = entry.layer.init(key, x)
    usual, _ = entry.layer.apply(*variables, x)
    with portable():
        program = jax.make_jaxpr(lambda x: entry.layer.apply(*variables, x)[0])(x)
    again = jax.jit(jax.extend.core.jaxpr_as_fun(program))(x)
    chex.assert_trees_all_close(again[0], usual, rtol=1e-5, atol=1e-5)
    assert "platform_index" not in str(program)
    assert not any(f" {name}[" in str(program) for name in ("conv", "conv_input"))


MODELS = {
    "lenet": (nn.models.lenet5(), (2, 28, 28, 1)),
    "resnet": (nn.models.cifar_resnet(8), (2, 16, 16, 3)),
    "unet": (nn.models.unet(2, depth=2, width=4), (2, 16, 16, 1)),
    "lstm": (nn.Sequential(nn.lstm(8), nn.LastStep(), nn.Dense(3)), (2, 7, 3)),
    "encoder": (
        nn.Sequential(nn.Dense(8), nn.TransformerEncoder(1, 2), nn.GlobalAvgPool()),
        (2, 6, 4),
    ),
}
LARGE = {
    "resnet18": (nn.models.resnet(18, classes=10), (2, 64, 64, 3)),
    "vgg11": (nn.models.vgg(11, classes=10), (2, 64, 64, 3)),
}


def agrees(net, shape, path):
    """Whether onnxruntime gives the network's outputs, for more examples too."""
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("jax2onnx")
    x = np.asarray(jax.random.normal(jax.random.key(0), shape))
    variables = net.init(jax.random.key(1), x)
    nn.io.to_onnx(net, variables, x, path)
    session = runtime.InferenceSession(path)
    more = np.concatenate([x, x[:1]])
    (y,) = session.run(None, {session.get_inputs()[0].name: more})
    expected, _ = net.apply(*variables, more)
    off = np.abs(y - np.asarray(expected)).max()
    assert off <= 1e-5 * max(1, np.abs(expected).max())


@pytest.mark.parametrize("name", MODELS)
def test_onnxruntime_agrees(name, tmp_path):
    agrees(*MODELS[name], tmp_path / "net.onnx")


def test_functions_of_jax_stay_as_they_were(key, tmp_path):
    """The converter swaps some for its own, and forgets one."""
    pytest.importorskip("jax2onnx")
    modules = (jnp, jax.lax, jax.nn)
    before = [dict(vars(module)) for module in modules]
    net, x = nn.Dense(2), jnp.ones((2, 3))
    nn.io.to_onnx(net, net.init(key, x), x, tmp_path / "net.onnx")
    for module, own in zip(modules, before, strict=True):
        assert [n for n, value in own.items() if vars(module)[n] is not value] == []
    assert jnp.cumsum(jnp.ones(3), 0)[-1] == 3


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGE)
def test_onnxruntime_agrees_on_the_large_models(name, tmp_path):
    agrees(*LARGE[name], tmp_path / "net.onnx")


def test_bad_input_is_answered(key, tmp_path, monkeypatch):
    net, x, path = nn.Dense(2), jnp.ones((2, 3)), tmp_path / "net.onnx"
    variables = net.init(key, x)
    monkeypatch.setitem(__import__("sys").modules, "jax2onnx", None)
    with pytest.raises(ImportError, match="to_onnx needs jax2onnx"):
        nn.io.to_onnx(net, variables, x, path)
    monkeypatch.setattr("jaxnn.export._needs_jax2onnx", lambda: None)
    with pytest.raises(TypeError, match=r"to_onnx: x must be one array \[N, \.\.\.\]"):
        nn.io.to_onnx(net, variables, (x, x), path)
    with pytest.raises(ValueError, match="Dense: x must"):
        nn.io.to_onnx(net, variables, jnp.ones((2, 4)), path)
    assert not path.exists()
