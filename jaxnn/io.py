# SPDX-License-Identifier: Apache-2.0
"""Saving and loading trees, and converting weights from and to PyTorch."""

from typing import TYPE_CHECKING, Any

from jaxnn.files.saving import header as header
from jaxnn.files.saving import load as load
from jaxnn.files.saving import save as save

if TYPE_CHECKING:
    from jaxnn.torch_weights import from_torch as from_torch
    from jaxnn.torch_weights import to_torch as to_torch


def __getattr__(name: str) -> Any:
    if name in ("from_torch", "to_torch"):  # imported on first use
        from jaxnn import torch_weights

        return getattr(torch_weights, name)
    raise AttributeError(f"module 'jaxnn.io' has no attribute {name!r}")
