# SPDX-License-Identifier: Apache-2.0
"""What a program for several devices needs beside the operations themselves."""

from typing import Any

import jax
from jax.sharding import AxisType, PartitionSpec


def on_several_devices() -> bool:
    """Whether the program being traced is for a mesh, as in `Layout.inside`."""
    mesh = jax.sharding.get_abstract_mesh()
    return not mesh.empty and mesh.size > 1


def gathered(weights: Any) -> Any:
    """Weights that a loop multiplies by in every step, whole on every device.

    Where they are split, XLA leaves them so inside a loop: an LSTM of 64 under
    `nn.fsdp` then gathered the carries of all examples in each of its steps, 13 times
    the bytes that its weights take.
    """
    if not on_several_devices():
        return weights
    mesh = jax.sharding.get_abstract_mesh()
    if any(kind != AxisType.Auto for kind in mesh.axis_types):
        return weights  # XLA is not the one who decides
    return jax.lax.with_sharding_constraint(weights, PartitionSpec())
