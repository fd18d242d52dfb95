# SPDX-License-Identifier: Apache-2.0
"""Weights from PyTorch and back: other names, other orders of axes, the same values.

PyTorch puts channels first; this library puts them last.  Arrays differ in the order of
their axes and, where an image is flattened before a dense layer, in the order of that
layer's rows.
"""

from jaxnn.messages import public
from jaxnn.torch_weights.convert import from_torch as from_torch
from jaxnn.torch_weights.convert import to_torch as to_torch

public.show(__name__)
