"""FLOPs as PyTorch counts them."""

import jax
import jax.numpy as jnp
import pytest

import jaxnn as nn

torch = pytest.importorskip("torch")


def theirs(net, *shape):
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        net(torch.zeros(shape))
    return counter.get_total_flops()


def ours(net, *shape):
    return nn.summary(net, jax.ShapeDtypeStruct(shape, jnp.float32)).flops


@pytest.mark.parametrize(
    "options",
    [{}, {"stride": 2}, {"padding": 1}, {"dilation": 2}, {"groups": 2}, {"groups": 6}],
)
def test_convolutions(options):
    layer = nn.Conv(12, 3, **{"padding": 0, **options})
    same = torch.nn.Conv2d(6, 12, 3, **options)
    assert ours(layer, 2, 9, 7, 6) == theirs(same, 2, 6, 9, 7)


@pytest.mark.parametrize("stride", [1, 2])
def test_transposed_convolutions(stride):
    layer = nn.ConvTranspose(4, 3, stride=stride, padding="VALID")
    same = torch.nn.ConvTranspose2d(6, 4, 3, stride=stride)
    assert ours(layer, 2, 9, 7, 6) == theirs(same, 2, 6, 9, 7)


def test_a_convolutional_network():
    parts = [
        torch.nn.Conv2d(3, 8, 3, padding="same"),
        torch.nn.BatchNorm2d(8),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(2),
        torch.nn.Conv2d(8, 16, 3),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(16, 5),
    ]
    net = nn.Sequential(
        nn.Conv(8, 3),
        nn.BatchNorm(),
        jax.nn.relu,
        nn.MaxPool(2),
        nn.Conv(16, 3, padding="VALID"),
        nn.GlobalAvgPool(),
        nn.Dense(5),
    )
    assert ours(net, 2, 12, 12, 3) == theirs(torch.nn.Sequential(*parts), 2, 3, 12, 12)


def test_a_transformer_encoder():
    block = torch.nn.TransformerEncoderLayer(16, 4, 40, 0.0, batch_first=True)
    net = nn.TransformerEncoder(2, 4, hidden=40, pre_norm=False)
    same = torch.nn.TransformerEncoder(block, 2)
    assert ours(net, 3, 10, 16) == theirs(same, 3, 10, 16)
