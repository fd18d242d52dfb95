# SPDX-License-Identifier: Apache-2.0
"""Layers, one concept a file."""

from jaxnn.layers.activations import Maxout as Maxout
from jaxnn.layers.activations import PReLU as PReLU
from jaxnn.layers.batch_norm import BatchNorm as BatchNorm
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
