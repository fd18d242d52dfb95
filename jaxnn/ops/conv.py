# SPDX-License-Identifier: Apache-2.0
"""Convolution."""

import jax
from jax import lax


def conv(x, w, *, stride, pads, dilation, groups: int = 1) -> jax.Array:
    """Slide `w` over `x`, multiply and add."""
    n = x.ndim - 2
    s = "DHW"[-n:]
    return lax.conv_general_dilated(
        x,
        w.astype(x.dtype),
        stride,
        pads,
        rhs_dilation=dilation,
        feature_group_count=groups,
        dimension_numbers=(f"N{s}C", f"{s}IO", f"N{s}C"),
    )
