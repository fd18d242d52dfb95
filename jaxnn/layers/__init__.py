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
from jaxnn.messages import public

if TYPE_CHECKING:
    from jaxnn.layers.additive_attention import AdditiveAttention as AdditiveAttention
    from jaxnn.layers.additive_attention import AttentiveRecurrent as AttentiveRecurrent
    from jaxnn.layers.attention import MultiHeadAttention as MultiHeadAttention
    from jaxnn.layers.cells import ConvLSTMCell as ConvLSTMCell
    from jaxnn.layers.cells import GRUCell as GRUCell
    from jaxnn.layers.cells import LSTMCell as LSTMCell
    from jaxnn.layers.cells import RNNCell as RNNCell
    from jaxnn.layers.conditioning import FiLM as FiLM
    from jaxnn.layers.conditioning import TimeEmbedding as TimeEmbedding
    from jaxnn.layers.cosine_logits import CosineLogits as CosineLogits
    from jaxnn.layers.dropout import AlphaDropout as AlphaDropout
    from jaxnn.layers.embed import Embed as Embed
    from jaxnn.layers.embed import TiedOutput as TiedOutput
    from jaxnn.layers.frozen import Frozen as Frozen
    from jaxnn.layers.last_step import LastStep as LastStep
    from jaxnn.layers.minibatch_std import MinibatchStd as MinibatchStd
    from jaxnn.layers.mixed import Mixed as Mixed
    from jaxnn.layers.noise import GaussianNoise as GaussianNoise
    from jaxnn.layers.pad import Pad as Pad
    from jaxnn.layers.padding import Attend as Attend
    from jaxnn.layers.parameters import Bias as Bias
    from jaxnn.layers.parameters import Parameter as Parameter
    from jaxnn.layers.parameters import Scale as Scale
    from jaxnn.layers.pool import MaxPoolIndices as MaxPoolIndices
    from jaxnn.layers.pool import MaxUnpool as MaxUnpool
    from jaxnn.layers.positions import LearnedPositions as LearnedPositions
    from jaxnn.layers.positions import SinusoidalPositions as SinusoidalPositions
    from jaxnn.layers.recurrent import Bidirectional as Bidirectional
    from jaxnn.layers.recurrent import Recurrent as Recurrent
    from jaxnn.layers.recurrent import RecurrentStack as RecurrentStack
    from jaxnn.layers.recurrent import gru as gru
    from jaxnn.layers.recurrent import lstm as lstm
    from jaxnn.layers.recurrent import rnn as rnn
    from jaxnn.layers.sample import Sample as Sample
    from jaxnn.layers.sequences import Sequences as Sequences
    from jaxnn.layers.transformer import DecoderBlock as DecoderBlock
    from jaxnn.layers.transformer import EncoderBlock as EncoderBlock
    from jaxnn.layers.transformer import FeedForward as FeedForward
    from jaxnn.layers.transformer import TransformerDecoder as TransformerDecoder
    from jaxnn.layers.transformer import TransformerEncoder as TransformerEncoder

#: The layers in each other file, imported on first use: a network without sequences
#: need not wait for theirs.
_FILES = {
    "additive_attention": "AdditiveAttention AttentiveRecurrent",
    "attention": "MultiHeadAttention",
    "cells": "ConvLSTMCell GRUCell LSTMCell RNNCell",
    "conditioning": "FiLM TimeEmbedding",
    "cosine_logits": "CosineLogits",
    "dropout": "AlphaDropout",
    "embed": "Embed TiedOutput",
    "frozen": "Frozen",
    "last_step": "LastStep",
    "minibatch_std": "MinibatchStd",
    "mixed": "Mixed",
    "noise": "GaussianNoise",
    "pad": "Pad",
    "padding": "Attend",
    "parameters": "Bias Parameter Scale",
    "pool": "MaxPoolIndices MaxUnpool",
    "positions": "LearnedPositions SinusoidalPositions",
    "recurrent": "Bidirectional Recurrent RecurrentStack gru lstm rnn",
    "sample": "Sample",
    "sequences": "Sequences",
    "transformer": "DecoderBlock EncoderBlock FeedForward TransformerDecoder "
    "TransformerEncoder",
}
_LATER = {name: file for file, names in _FILES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(importlib.import_module(f"jaxnn.layers.{_LATER[name]}"), name)
    raise AttributeError(name)  # answered by what `public.show` makes of the module


public.show(__name__, _LATER)
