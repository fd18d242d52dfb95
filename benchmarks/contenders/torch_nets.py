# SPDX-License-Identifier: Apache-2.0
"""The networks in PyTorch."""

import torch
from torch import nn

from contenders import networks


def network(weights):
    """The network that belongs to some weights."""
    if isinstance(weights, networks.Residual):
        return residual(weights)
    return plain(networks.of_chw(weights))


def plain(weights):
    """Convolutions with ReLU and pooling, then dense layers."""
    layers, pictures = [], weights[0][0].ndim == 4
    for w, b in weights:
        if w.ndim == 4:
            layers += [conv(w, b=b), nn.ReLU(), nn.MaxPool2d(2)]
            continue
        if pictures:
            layers, pictures = [*layers, nn.Flatten()], False
        layers += [dense(w, b), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def residual(weights):
    """A ResNet with projections where the width grows."""
    w, b = weights.head
    return nn.Sequential(
        *unit(weights.stem),
        nn.ReLU(),
        *[Block(block) for block in weights.blocks],
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        dense(w.T, b),
    )


class Block(nn.Module):
    """Two units around which the input goes."""

    def __init__(self, block):
        super().__init__()
        stride = networks.stride(block)
        around = unit(block.shortcut, stride) if block.shortcut else [nn.Identity()]
        first, second = unit(block.first, stride), unit(block.second)
        self.body = nn.Sequential(*first, nn.ReLU(), *second)
        self.around = nn.Sequential(*around)

    def forward(self, x):
        return torch.relu(self.body(x) + self.around(x))


def unit(part, stride=1):
    """A convolution and its batch norm."""
    keep = 1 - networks.MOMENTUM  # PyTorch's momentum is the share of the new
    norm = nn.BatchNorm2d(len(part.scale), eps=networks.EPS, momentum=keep)
    return [
        conv(networks.oihw(part.w), stride),
        with_weights(norm, part.scale, part.offset),
    ]


def conv(w, stride=1, b=None):
    """A convolution."""
    f, c, kernel, _ = w.shape
    pad, bias = (kernel - 1) // 2, b is not None
    return with_weights(nn.Conv2d(c, f, kernel, stride, pad, bias=bias), w, b)


def dense(w, b):
    """A dense layer."""
    f, c = w.shape
    return with_weights(nn.Linear(c, f), w, b)


def with_weights(layer, w, b):
    """The layer, once it has these weights."""
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(w))
        if b is not None:
            layer.bias.copy_(torch.tensor(b))
    return layer
