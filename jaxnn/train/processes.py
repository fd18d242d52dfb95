# SPDX-License-Identifier: Apache-2.0
"""Several processes that train together, as `jax.distributed` connects them."""

import re
import zlib
from typing import Any

import jax
import numpy as np

from jaxnn.layout import Layout

_ADDRESS = re.compile(r"0x[0-9a-f]+")


def are_shared(layout: Layout | None) -> bool:
    """Whether the devices of a layout belong to several processes."""
    return layout is not None and len(layout.processes) > 1


def times_own_rows(layout: Layout | None) -> int:
    """How many times the rows that one process brings a batch of all has."""
    if layout is None or not are_shared(layout):
        return 1
    return layout.shares // layout.own_shares


def is_first() -> bool:
    """Whether this process is the one that prints, logs and writes."""
    return jax.process_index() == 0


def numbers_of_all(numbers: list[int]) -> np.ndarray:
    """The numbers of every process, `[processes, len(numbers)]`; each waits for all."""
    from jax.experimental.multihost_utils import process_allgather  # slow to import

    return np.asarray(process_allgather(np.asarray(numbers, np.int32)))


def check_alike(owner: str, facts: dict[str, Any]) -> None:
    """Raise, in every process, unless all of them have the same facts.

    A process with other data or another program would wait for the others for ever.

    Args:
        owner: the function that was called, for the message.
        facts: what each fact is called, and its value, which prints the same where it
            is the same, apart from addresses.
    """
    said = [_ADDRESS.sub("", repr(value)) for value in facts.values()]
    own = [zlib.crc32(text.encode()) & 0x7FFFFFFF for text in said]
    every = numbers_of_all(own)
    different = [
        name for name, row in zip(facts, every.T, strict=True) if len(set(row)) > 1
    ]
    if different:
        has = ", ".join(f"{name} {facts[name]!r:.80}" for name in different)
        raise ValueError(
            f"{owner}: every process must give the same {', '.join(different)}; "
            f"process {jax.process_index()} of {jax.process_count()} has {has}"
        )
