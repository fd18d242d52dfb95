# SPDX-License-Identifier: Apache-2.0
"""The language models in Keras, each with its layers in the order of the weights."""

import keras
from keras import layers

from contenders import networks, sequences


def network(weights, shape):
    """`(net, layers)` that belong to some weights."""
    recurrent = isinstance(weights, sequences.LSTM)
    made = (lstm if recurrent else transformer)(weights)
    ids = keras.Input(shape, dtype="int32")
    return keras.Model(ids, made.pop("forward")(ids)), list(made.values())


def lstm(weights):
    """A recurrent layer."""
    made = {
        "embed": layers.Embedding(*weights.table.shape),
        "body": layers.LSTM(len(weights.u), return_sequences=True),
        "head": layers.Dense(len(weights.head[1])),
    }
    chain = keras.Sequential(list(made.values()))
    return {**made, "forward": chain}


class Positions(layers.Layer):
    """Add a learned vector for each position."""

    def __init__(self, length):
        super().__init__()
        self.length = length

    def build(self, shape):
        self.table = self.add_weight(shape=(self.length, shape[-1]))

    def call(self, x):
        return x + self.table[: x.shape[1]]


def transformer(weights):
    """Causal attention, with learned positions."""
    made = {
        "embed": layers.Embedding(*weights.table.shape),
        "positions": Positions(len(weights.positions)),
    }
    for i, part in enumerate(weights.blocks):
        made |= {f"{name}_{i}": layer for name, layer in block(part).items()}
    made |= {"norm": norm(), "head": layers.Dense(len(weights.head[1]))}

    def forward(ids):
        x = made["positions"](made["embed"](ids))
        for i in range(len(weights.blocks)):
            y = made[f"norm1_{i}"](x)
            x = x + made[f"attention_{i}"](y, y, use_causal_mask=True)
            y = made[f"up_{i}"](made[f"norm2_{i}"](x))
            x = x + made[f"down_{i}"](gelu(y))
        return made["head"](made["norm"](x))

    return {**made, "forward": forward}


def block(part):
    """The layers of one block."""
    width = len(part.query[0])
    size = width // sequences.HEADS
    return {
        "norm1": norm(),
        "attention": layers.MultiHeadAttention(sequences.HEADS, size),
        "norm2": norm(),
        "up": layers.Dense(len(part.up[1])),
        "down": layers.Dense(width),
    }


def gelu(x):
    """By its tanh formula."""
    return keras.activations.gelu(x, approximate=True)


def norm():
    """Layer norm."""
    return layers.LayerNormalization(epsilon=sequences.EPS)


def set_weights(made, weights):
    """Give every layer its weights; Keras gives heads an axis of their own."""
    left = iter(networks.leaves(weights))
    for layer in made:
        own = [next(left).reshape(v.shape) for v in layer.trainable_weights]
        layer.set_weights(own)
