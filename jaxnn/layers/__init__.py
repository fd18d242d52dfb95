# SPDX-License-Identifier: Apache-2.0
"""Layers, one concept per file."""

import importlib
from typing import TYPE_CHECKING, Any

from jaxnn.layers.activations import Maxout as Maxout
from jaxnn.layers.activations import PReLU as PReLU
from jaxnn.layers.batch_norm import BatchNorm as BatchNorm
from jaxnn.layers.combine import Concat as Concat
from jaxnn.layers.combine import Remat as Remat
from jaxnn.layers.combine import Repeat as Repeat
from jaxnn.layers.combine import Residual as Residual
from jaxnn.layers.combine import Sequential as Sequential
from jaxnn.layers.combine import Sum as Sum
from jaxnn.layers.conv import Conv as Conv
from jaxnn.layers.conv import ConvTranspose as ConvTranspose
from jaxnn.layers.conv import SeparableConv as SeparableConv
from jaxnn.layers.dense import Dense as Dense
from jaxnn.layers.dropout import Dropout as Dropout
from jaxnn.layers.dropout import SpatialDropout as SpatialDropout
from jaxnn.layers.local_response_norm import LocalResponseNorm as LocalResponseNorm
from jaxnn.layers.norm import GroupNorm as GroupNorm
from jaxnn.layers.norm import InstanceNorm as InstanceNorm
from jaxnn.layers.norm import LayerNorm as LayerNorm
from jaxnn.layers.norm import RMSNorm as RMSNorm
from jaxnn.layers.pool import AdaptiveAvgPool as AdaptiveAvgPool
from jaxnn.layers.pool import AdaptiveMaxPool as AdaptiveMaxPool
from jaxnn.layers.pool import AvgPool as AvgPool
from jaxnn.layers.pool import GlobalAvgPool as GlobalAvgPool
from jaxnn.layers.pool import GlobalMaxPool as GlobalMaxPool
from jaxnn.layers.pool import MaxPool as MaxPool
from jaxnn.layers.reparametrize import SpectralNorm as SpectralNorm
from jaxnn.layers.reparametrize import WeightNorm as WeightNorm
from jaxnn.layers.resize import PixelShuffle as PixelShuffle
from jaxnn.layers.resize import PixelUnshuffle as PixelUnshuffle
from jaxnn.layers.resize import Upsample as Upsample
from jaxnn.layers.shape import Flatten as Flatten
from jaxnn.layers.shape import Identity as Identity
from jaxnn.layers.shape import Reshape as Reshape
from jaxnn.layers.squeeze_excite import SqueezeExcite as SqueezeExcite

if TYPE_CHECKING:
    from jaxnn.layers.additive_attention import AdditiveAttention as AdditiveAttention
    from jaxnn.layers.additive_attention import AttentiveRecurrent as AttentiveRecurrent
    from jaxnn.layers.attention import MultiHeadAttention as MultiHeadAttention
    from jaxnn.layers.cells import ConvLSTMCell as ConvLSTMCell
    from jaxnn.layers.cells import GRUCell as GRUCell
    from jaxnn.layers.cells import LSTMCell as LSTMCell
    from jaxnn.layers.cells import RNNCell as RNNCell
    from jaxnn.layers.embed import Embed as Embed
    from jaxnn.layers.embed import TiedOutput as TiedOutput
    from jaxnn.layers.padding import Attend as Attend
    from jaxnn.layers.positions import LearnedPositions as LearnedPositions
    from jaxnn.layers.positions import SinusoidalPositions as SinusoidalPositions
    from jaxnn.layers.recurrent import Bidirectional as Bidirectional
    from jaxnn.layers.recurrent import Recurrent as Recurrent
    from jaxnn.layers.recurrent import RecurrentStack as RecurrentStack
    from jaxnn.layers.recurrent import gru as gru
    from jaxnn.layers.recurrent import lstm as lstm
    from jaxnn.layers.recurrent import rnn as rnn
    from jaxnn.layers.sequences import Sequences as Sequences
    from jaxnn.layers.transformer import DecoderBlock as DecoderBlock
    from jaxnn.layers.transformer import EncoderBlock as EncoderBlock
    from jaxnn.layers.transformer import FeedForward as FeedForward
    from jaxnn.layers.transformer import TransformerDecoder as TransformerDecoder
    from jaxnn.layers.transformer import TransformerEncoder as TransformerEncoder

# Imported on first use, so that a network without sequences need not wait for them.
_LATER = {
    "AdditiveAttention": "additive_attention",
    "AttentiveRecurrent": "additive_attention",
    "MultiHeadAttention": "attention",
    "ConvLSTMCell": "cells",
    "GRUCell": "cells",
    "LSTMCell": "cells",
    "RNNCell": "cells",
    "Embed": "embed",
    "TiedOutput": "embed",
    "Attend": "padding",
    "LearnedPositions": "positions",
    "SinusoidalPositions": "positions",
    "Bidirectional": "recurrent",
    "gru": "recurrent",
    "lstm": "recurrent",
    "Recurrent": "recurrent",
    "RecurrentStack": "recurrent",
    "rnn": "recurrent",
    "Sequences": "sequences",
    "DecoderBlock": "transformer",
    "EncoderBlock": "transformer",
    "FeedForward": "transformer",
    "TransformerDecoder": "transformer",
    "TransformerEncoder": "transformer",
}


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(importlib.import_module(f"jaxnn.layers.{_LATER[name]}"), name)
    raise AttributeError(f"module 'jaxnn.layers' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER})
