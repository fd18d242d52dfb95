# SPDX-License-Identifier: Apache-2.0
"""Deep learning in plain JAX: pure functions over plain trees of arrays.

Errors show your own code alone; with `JAX_TRACEBACK_FILTERING=off` in the environment
they show the frames of the library and of JAX too.
"""

import importlib
from typing import TYPE_CHECKING, Any

from jaxnn import initializers as initializers
from jaxnn import io as io
from jaxnn import layers as layers
from jaxnn import moved
from jaxnn import trees as trees
from jaxnn.core import Composite as Composite
from jaxnn.core import Function as Function
from jaxnn.core import Layer as Layer
from jaxnn.core import Run as Run
from jaxnn.io import load as load
from jaxnn.io import save as save
from jaxnn.layers import AdaptiveAvgPool as AdaptiveAvgPool
from jaxnn.layers import AdaptiveMaxPool as AdaptiveMaxPool
from jaxnn.layers import AvgPool as AvgPool
from jaxnn.layers import BatchNorm as BatchNorm
from jaxnn.layers import Concat as Concat
from jaxnn.layers import Conv as Conv
from jaxnn.layers import ConvTranspose as ConvTranspose
from jaxnn.layers import Dense as Dense
from jaxnn.layers import Dropout as Dropout
from jaxnn.layers import Flatten as Flatten
from jaxnn.layers import GlobalAvgPool as GlobalAvgPool
from jaxnn.layers import GlobalMaxPool as GlobalMaxPool
from jaxnn.layers import GroupNorm as GroupNorm
from jaxnn.layers import Identity as Identity
from jaxnn.layers import InstanceNorm as InstanceNorm
from jaxnn.layers import LayerNorm as LayerNorm
from jaxnn.layers import LocalResponseNorm as LocalResponseNorm
from jaxnn.layers import Maxout as Maxout
from jaxnn.layers import MaxPool as MaxPool
from jaxnn.layers import PixelShuffle as PixelShuffle
from jaxnn.layers import PixelUnshuffle as PixelUnshuffle
from jaxnn.layers import PReLU as PReLU
from jaxnn.layers import Remat as Remat
from jaxnn.layers import Repeat as Repeat
from jaxnn.layers import Reshape as Reshape
from jaxnn.layers import Residual as Residual
from jaxnn.layers import RMSNorm as RMSNorm
from jaxnn.layers import SeparableConv as SeparableConv
from jaxnn.layers import Sequential as Sequential
from jaxnn.layers import SpatialDropout as SpatialDropout
from jaxnn.layers import SpectralNorm as SpectralNorm
from jaxnn.layers import SqueezeExcite as SqueezeExcite
from jaxnn.layers import Sum as Sum
from jaxnn.layers import Upsample as Upsample
from jaxnn.layers import WeightNorm as WeightNorm
from jaxnn.messages import public
from jaxnn.summary import summary as summary
from jaxnn.surgery import Tap as Tap
from jaxnn.surgery import edit as edit
from jaxnn.surgery import layer_paths as layer_paths
from jaxnn.xla import guard
from jaxnn.xla.compile_cache import cache as cache
from jaxnn.xla.memory import keep_memory as keep_memory

if TYPE_CHECKING:
    from jaxnn import data as data
    from jaxnn import decode as decode
    from jaxnn import diffusion as diffusion
    from jaxnn import doctor as doctor
    from jaxnn import losses as losses
    from jaxnn import metrics as metrics
    from jaxnn import models as models
    from jaxnn import optimizers as optimizers
    from jaxnn import pictures as pictures
    from jaxnn import rl as rl
    from jaxnn import schedules as schedules
    from jaxnn import search as search
    from jaxnn import sklearn as sklearn
    from jaxnn import train as train
    from jaxnn.doctor import diagnose as diagnose
    from jaxnn.layers import AdditiveAttention as AdditiveAttention
    from jaxnn.layers import AlphaDropout as AlphaDropout
    from jaxnn.layers import Attend as Attend
    from jaxnn.layers import AttentiveRecurrent as AttentiveRecurrent
    from jaxnn.layers import Bias as Bias
    from jaxnn.layers import Bidirectional as Bidirectional
    from jaxnn.layers import ConvLSTMCell as ConvLSTMCell
    from jaxnn.layers import CosineLogits as CosineLogits
    from jaxnn.layers import DecoderBlock as DecoderBlock
    from jaxnn.layers import Embed as Embed
    from jaxnn.layers import EncoderBlock as EncoderBlock
    from jaxnn.layers import FeedForward as FeedForward
    from jaxnn.layers import FiLM as FiLM
    from jaxnn.layers import Frozen as Frozen
    from jaxnn.layers import GaussianNoise as GaussianNoise
    from jaxnn.layers import GRUCell as GRUCell
    from jaxnn.layers import LastStep as LastStep
    from jaxnn.layers import LearnedPositions as LearnedPositions
    from jaxnn.layers import LSTMCell as LSTMCell
    from jaxnn.layers import MaxPoolIndices as MaxPoolIndices
    from jaxnn.layers import MaxUnpool as MaxUnpool
    from jaxnn.layers import MinibatchStd as MinibatchStd
    from jaxnn.layers import Mixed as Mixed
    from jaxnn.layers import MultiHeadAttention as MultiHeadAttention
    from jaxnn.layers import Pad as Pad
    from jaxnn.layers import Parameter as Parameter
    from jaxnn.layers import Recurrent as Recurrent
    from jaxnn.layers import RecurrentStack as RecurrentStack
    from jaxnn.layers import RNNCell as RNNCell
    from jaxnn.layers import Sample as Sample
    from jaxnn.layers import Scale as Scale
    from jaxnn.layers import Sequences as Sequences
    from jaxnn.layers import SinusoidalPositions as SinusoidalPositions
    from jaxnn.layers import TiedOutput as TiedOutput
    from jaxnn.layers import TimeEmbedding as TimeEmbedding
    from jaxnn.layers import TransformerDecoder as TransformerDecoder
    from jaxnn.layers import TransformerEncoder as TransformerEncoder
    from jaxnn.layers import gru as gru
    from jaxnn.layers import lstm as lstm
    from jaxnn.layers import rnn as rnn
    from jaxnn.layers.stateful import stateful as stateful
    from jaxnn.layers.stateful import zero_carry as zero_carry
    from jaxnn.layout import Layout as Layout
    from jaxnn.layout import fsdp as fsdp
    from jaxnn.layout import tensor_parallel as tensor_parallel
    from jaxnn.ops.activations import step as step
    from jaxnn.optimizers import freeze as freeze
    from jaxnn.optimizers import partition as partition
    from jaxnn.search import cross_validate as cross_validate
    from jaxnn.search import sweep as sweep
    from jaxnn.train import EarlyStopping as EarlyStopping
    from jaxnn.train import Ensemble as Ensemble
    from jaxnn.train import History as History
    from jaxnn.train import NonFiniteError as NonFiniteError
    from jaxnn.train import Plateau as Plateau
    from jaxnn.train import TrainState as TrainState
    from jaxnn.train import TrainStep as TrainStep
    from jaxnn.train import callbacks as callbacks
    from jaxnn.train import ensemble as ensemble
    from jaxnn.train import evaluate as evaluate
    from jaxnn.train import fit as fit
    from jaxnn.train import freeze_statistics as freeze_statistics
    from jaxnn.train import member as member
    from jaxnn.train import predict as predict
    from jaxnn.train import train_epoch as train_epoch
    from jaxnn.train import train_state as train_state
    from jaxnn.train import train_step as train_step
    from jaxnn.train.range_test import RangeTest as RangeTest
    from jaxnn.train.range_test import find_learning_rate as find_learning_rate

__version__ = "0.3.0.dev0"

guard.protect()  # before anything creates an array

# Imported on first use: they would take two thirds of the time of `import jaxnn`.
_MODULES = (
    *("data", "decode", "diffusion", "doctor", "losses", "metrics", "models"),
    *("optimizers", "pictures", "rl", "schedules", "search", "sklearn", "train"),
)
#: Maps a flat name to the module it is in.
_LATER = {
    "EarlyStopping": "train",
    "Layout": "layout",
    "fsdp": "layout",
    "tensor_parallel": "layout",
    "Ensemble": "train",
    "History": "train",
    "NonFiniteError": "train",
    "Plateau": "train",
    "TrainState": "train",
    "TrainStep": "train",
    "callbacks": "train",
    "ensemble": "train",
    "evaluate": "train",
    "fit": "train",
    "freeze": "optimizers",
    "freeze_statistics": "train",
    "member": "train",
    "partition": "optimizers",
    "predict": "train",
    "train_epoch": "train",
    "train_state": "train",
    "train_step": "train",
    "RangeTest": "train.range_test",
    "diagnose": "doctor",
    "find_learning_rate": "train.range_test",
    "stateful": "layers.stateful",
    "zero_carry": "layers.stateful",
    "step": "ops.activations",
    "cross_validate": "search",
    "sweep": "search",
}
_LAYERS = tuple(name for name in dir(layers) if name not in vars(layers))


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"jaxnn.{name}")
    if name in _LATER:
        return getattr(importlib.import_module(f"jaxnn.{_LATER[name]}"), name)
    if name in _LAYERS:
        return getattr(layers, name)
    if f"jaxnn.{name}" in moved.MOVED:
        return importlib.import_module(f"jaxnn.{name}")
    raise AttributeError(name)  # answered by what `public.show` makes of the module


public.show("jaxnn.trees")
public.show(
    __name__,
    [
        *("initializers", "io", "layers", "trees"),
        *(*_MODULES, *_LATER, *_LAYERS),
    ],
)
