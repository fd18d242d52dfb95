# SPDX-License-Identifier: Apache-2.0
"""Arrays in files (`np.memmap`): read in pieces that memory does not keep.

Pages of a file that were read stay in the process until the system wants them back: a
data set of 4 GB that is read once looks like 4 GB of memory. Those of a map that cannot
be written to are given back after use; the system's own cache keeps the file.
"""

import mmap
from collections.abc import Iterator
from typing import Any

import numpy as np

#: Rows of a file are read in pieces of about this many bytes.
PIECE_BYTES = 32 * 2**20


def mapped(a: Any) -> np.memmap | None:
    """The file's map that an array is a view of, or None for an array in memory.

    >>> import tempfile
    >>> with tempfile.TemporaryFile() as file:
    ...     a = np.memmap(file, np.uint8, "w+", shape=(3, 4))
    ...     mapped(np.asarray(a)[1:]) is a, mapped(np.zeros(3))
    (True, None)
    """
    while isinstance(a, np.ndarray):
        if isinstance(a, np.memmap) and isinstance(a.base, mmap.mmap):
            return a
        a = a.base
    return None


def pieces(a: np.ndarray) -> Iterator[np.ndarray]:
    """An array in pieces of rows, whose pages are given back; in memory, the whole."""
    if mapped(a) is None:
        yield a
        return
    rows = max(1, PIECE_BYTES // max(a[:1].nbytes, 1))
    for start in range(0, len(a), rows):
        yield a[start : start + rows]
        give_back(a)


def give_back(a: Any) -> None:
    """Let go of the pages of an array in a file that were read so far.

    (Those of a map of mode "c", a copy on write, would lose what was written to them.)
    """
    found = mapped(a)
    if found is not None and found.mode == "r" and hasattr(mmap, "MADV_DONTNEED"):
        found.base.madvise(mmap.MADV_DONTNEED)  # type: ignore[union-attr]
