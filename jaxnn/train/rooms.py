# SPDX-License-Identifier: Apache-2.0
"""Pad any number of examples to a few sizes, so that few programs are compiled.

A program is compiled for the shapes of its arrays. Arrays are therefore padded to a
rounded length, the room, and the number of examples is passed at run time.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxnn.inputs.arrays import zeros
from jaxnn.layout import Layout
from jaxnn.train.batch import length
from jaxnn.train.checks import as_arrays, on_device

#: Programs that cut or pad arrays on an accelerator are dropped beyond this many.
MOST_PROGRAMS = 64


class Room(NamedTuple):
    """Examples on the device, padded to a rounded number of rows."""

    data: Any  # arrays [room, ...]; rows past the examples repeat the last one
    examples: int
    batch_size: int  # at most the room

    def over(self, layout: Layout) -> "Room":
        """The same on the devices of a layout: one batch split, several whole."""
        is_one = length(self.data) == self.batch_size
        place = layout.divide if is_one else layout.replicate
        return self._replace(data=place(self.data))


def enter(data: Any, batch_size: int, what: str) -> Room:
    """Copy a tree of arrays `[N, ...]` to the device, padded to a room for batches.

    Fewer examples than a batch become one batch of the next power of two. Otherwise the
    number of batches is rounded up to three binary digits, so that at most a fifth of
    the rows is padding, and there are four rooms for each doubling of N.
    """
    examples = jax.tree.leaves(data)[0].shape[0]
    size = min(batch_size, power_of_two(examples))
    room = size * _rounded(-(-examples // size))
    data = jax.tree.map(partial(_filled_up, room=room), as_arrays(data, what))
    return Room(on_device(data, what), examples, size)


def power_of_two(n: int) -> int:
    """The smallest power of two of at least n, for n >= 1."""
    return 1 << (n - 1).bit_length()


def _rounded(n: int) -> int:
    """n rounded up to three binary digits: 1 to 8, 10, 12, 14, 16, 20, ..."""
    unit = 1 << max(0, n.bit_length() - 3)
    return -(-n // unit) * unit


def _filled_up(a: Any, room: int) -> Any:
    examples = a.shape[0]
    if examples == room:
        return a
    if isinstance(a, jax.Array) and not _is_host(a):
        return _bounded(_filled, a, room)
    host = zeros((room, *a.shape[1:]), a.dtype)
    host[:examples] = a
    host[examples:] = host[examples - 1]
    return jax.device_put(host)  # (which uses this memory as it is)


def first_rows(a: jax.Array, n: int) -> jax.Array:
    """The first n rows of an array on a device; on a CPU no program is needed."""
    if a.shape[0] == n:
        return a
    if not _is_host(a):
        return _bounded(_cut, a, n)
    return jax.device_put(np.asarray(a)[:n], a.sharding if a.committed else None)


def _is_host(a: jax.Array) -> bool:
    """Whether an array is in the host's memory, in one piece."""
    return [device.platform for device in a.devices()] == ["cpu"]


@partial(jax.jit, static_argnames="rows")
def _filled(a, rows):
    last = jnp.broadcast_to(a[-1:], (rows - a.shape[0], *a.shape[1:]))
    return jnp.concatenate([a, last])


@partial(jax.jit, static_argnames="rows")
def _cut(a, rows):
    return a[:rows]


def _bounded(program: Any, a: jax.Array, rows: int) -> jax.Array:
    """Run a small program, compiled once per length; only a few are kept."""
    if program._cache_size() > MOST_PROGRAMS:
        program.clear_cache()
    return program(a, rows=rows)
