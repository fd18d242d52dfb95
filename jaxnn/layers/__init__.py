# SPDX-License-Identifier: Apache-2.0
"""Layers, one concept a file."""

from jaxnn.layers.activations import Maxout as Maxout
from jaxnn.layers.activations import PReLU as PReLU
from jaxnn.layers.conv import Conv as Conv
from jaxnn.layers.dense import Dense as Dense
from jaxnn.layers.dropout import Dropout as Dropout
from jaxnn.layers.shape import Flatten as Flatten
from jaxnn.layers.shape import Identity as Identity
from jaxnn.layers.shape import Reshape as Reshape
