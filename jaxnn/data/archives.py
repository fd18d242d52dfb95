# SPDX-License-Identifier: Apache-2.0
"""Reading compressed archives within size limits, with one clear error on failure."""

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np


def unreadable(error: Exception) -> ValueError:
    """What is wrong with a file, in the form that download checks report it.

    Damage shows as a `BadZipFile`, a `zlib.error`, an `EOFError`, a `struct.error` ...

    >>> unreadable(EOFError("the stream ended"))
    ValueError('cannot be read: the stream ended (EOFError)')
    """
    kind = "" if isinstance(error, ValueError) else f" ({type(error).__name__})"
    return ValueError(f"cannot be read: {str(error) or 'it is damaged'}{kind}")


def read_npz(path: Path, names: Sequence[str], largest: int) -> list[np.ndarray]:
    """Arrays of an `.npz` file; nothing in it is executed.

    Args:
        path: the file.
        names: the names of the arrays.
        largest: the most bytes that the unpacked file may have.

    Raises:
        ValueError: the file cannot be read; the error says why, without the path.

    Example:
        >>> import pathlib, tempfile
        >>> from jaxnn.data.archives import read_npz
        >>> path = pathlib.Path(tempfile.mkdtemp(), "arrays.npz")
        >>> np.savez(path, a=np.arange(3))
        >>> read_npz(path, ["a"], 1000)
        [array([0, 1, 2])]
    """
    from zipfile import ZipFile

    try:
        with ZipFile(path) as file:
            size = sum(entry.file_size for entry in file.infolist())
        if size > largest:
            raise _too_large(size, largest)
        with np.load(path, allow_pickle=False) as file:
            return [file[name] for name in names]
    except Exception as error:  # of many kinds, see `unreadable`
        raise unreadable(error) from error


def tar_files(path: Path, largest: int) -> Iterator[tuple[str, IO[bytes]]]:
    """The files of a `.tar.gz`, opened, with their names; nothing is unpacked to disk.

    Args:
        path: the archive.
        largest: the most bytes that the unpacked archive may have.

    Raises:
        Exception: of many kinds, if the archive is damaged; see `unreadable`.
    """
    import gzip
    import tarfile

    with (
        gzip.open(path) as unpacked,
        tarfile.open(fileobj=_Within(unpacked, largest), mode="r:") as archive,
    ):
        for member in archive:
            stream = archive.extractfile(member) if member.isfile() else None
            if stream:
                yield member.name, stream


class _Within(io.BufferedIOBase):
    """A file that is read only up to a given size, however much it unpacks to."""

    def __init__(self, file: Any, largest: int):
        self._file, self._largest = file, largest

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._file.tell()

    def read(self, size: int | None = -1) -> bytes:
        if size is None or size < 0:
            size = self._largest + 1
        self._check(self.tell() + size)
        return self._file.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        self._check(offset)
        return self._file.seek(offset, whence)

    def _check(self, end: int) -> None:
        if end > self._largest:
            raise _too_large(end, self._largest)


def _too_large(size: int, largest: int) -> ValueError:
    return ValueError(
        f"it unpacks to {size:,} bytes or more, and can have {largest:,} at most"
    )
