# SPDX-License-Identifier: Apache-2.0
"""Many small images as one: filters and feature maps side by side."""

import math

import jax
import jax.numpy as jnp


def filters_grid(
    w: jax.Array, columns: int | None = None, gap: int = 1, background: float = 1.0
) -> jax.Array:
    """Filters `[h, w, C, F]` side by side; gray, 0.5, is a weight of 0.

    Args:
        w: the filters; each is scaled by its own largest weight.
        columns: filters in a row; None for about as many as rows.
        gap: pixels between filters.
        background: what is in the gaps.

    Returns:
        An image `[height, width, C]` with values from 0 to 1.

    >>> filters_grid(jnp.ones((3, 3, 1, 8))).shape
    (11, 11, 1)
    """
    w = jnp.asarray(w, jnp.float32)
    largest = jnp.abs(w).max((0, 1, 2), keepdims=True)
    scale = jnp.broadcast_to(jnp.where(largest == 0, 1.0, largest), w.shape)
    return grid(jnp.moveaxis(0.5 + w / scale / 2, 3, 0), columns, gap, background)


def maps_grid(
    maps: jax.Array, columns: int | None = None, gap: int = 1, background: float = 1.0
) -> jax.Array:
    """Feature maps `[h, w, K]` side by side, each scaled by its own range.

    Args:
        maps: the feature maps of one image.
        columns, gap, background: as in `filters_grid`.

    Returns:
        An image `[height, width, 1]` with values from 0 to 1.

    >>> maps_grid(jnp.ones((14, 14, 6)), 6, 2).shape
    (14, 94, 1)
    """
    maps = jnp.asarray(maps, jnp.float32)
    least = jnp.broadcast_to(maps.min((0, 1), keepdims=True), maps.shape)
    span = jnp.broadcast_to(jnp.ptp(maps, (0, 1), keepdims=True), maps.shape)
    gray = (maps - least) / jnp.where(span == 0, 1.0, span)
    return grid(jnp.moveaxis(gray, 2, 0)[..., None], columns, gap, background)


def grid(
    pictures: jax.Array, columns: int | None, gap: int, background: float
) -> jax.Array:
    """Images `[K, h, w, C]` in rows, with gaps between them."""
    count, height, width, channels = pictures.shape
    columns = min(columns or math.ceil(math.sqrt(count)), count)
    rows = -(-count // columns)
    frame = ((0, rows * columns - count), (0, gap), (0, gap), (0, 0))
    framed = jnp.pad(pictures, frame, constant_values=background)
    sheet = framed.reshape(rows, columns, height + gap, width + gap, channels)
    sheet = sheet.transpose(0, 2, 1, 3, 4).reshape(rows * (height + gap), -1, channels)
    return sheet[: sheet.shape[0] - gap, : sheet.shape[1] - gap]
