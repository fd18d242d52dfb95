"""A network is rebuilt from text that is read as data, whatever stands in it."""

import functools

import jax
import jax.numpy as jnp
import pytest
from catalogue import CATALOGUE

import jaxnn as nn
from jaxnn.rebuild import rebuilt

MODELS = [
    nn.models.lenet5(),
    nn.models.cifar_resnet(20),
    nn.models.resnet(18),
    nn.models.unet(2),
]


@pytest.mark.parametrize("net", MODELS, ids=lambda net: repr(net)[:30])
def test_models_are_rebuilt(net):
    assert rebuilt(repr(net), "f") == net


def test_layers_are_rebuilt_unless_custom():
    refused = []
    for entry in CATALOGUE:
        try:
            assert rebuilt(repr(entry.layer), "f") == entry.layer, entry.name
        except ValueError:
            refused.append(entry.name)
    assert len(refused) < len(CATALOGUE) / 4, refused


def test_partial_functions_and_initializers_are_rebuilt():
    net = nn.Sequential(
        nn.Dense(3, w_init=nn.initializers.truncated_normal(0.02)),
        functools.partial(jax.nn.leaky_relu, negative_slope=-0.1),
        jnp.sin,
        nn.step,
        head=nn.Remat(nn.Dense(2)),
    )
    assert rebuilt(repr(net), "f") == net


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('touch /tmp/never')",
        "Function(open)",
        "Function(jax.numpy.save)",
        "functools.partial(jax.numpy.save, '/tmp/never')",
        "jax.nn.__loader__",
        "jax.nn.initializers.__builtins__",
        "initializers.jax",
        "initializers.Any()",
        "Sequential(Dense(3), lambda x: x)",
        "[x for x in (1, 2)]",
        "Dense(3).apply",
        "Dense(3",
        "Custom(3)",
        "Dense(-1)",
        "Dense(3, activation='relu')",
        "(" * 5000 + ")" * 5000,
        "f'{1}'",
        "*1",
        "Sequential(*[Dense(3)])",
        "Dense(**{'features': 3})",
        "'Dense(3)'",
        "3",
        "",
    ],
)
def test_anything_else_is_refused(text):
    with pytest.raises(ValueError, match=r"^network: the network must be made of"):
        rebuilt(text, "network")


def test_a_file_without_a_network_says_so(tmp_path):
    file = tmp_path / "a.safetensors"
    nn.save(file, {"w": jnp.ones(2)})
    with pytest.raises(ValueError, match="must record a network, got none"):
        nn.io.network(file)
    nn.save(file, {"w": jnp.ones(2)}, spec="my notes")
    with pytest.raises(ValueError, match="made of layers and functions that jaxnn"):
        nn.io.network(file)
