# SPDX-License-Identifier: Apache-2.0
"""A published file by name and checksum: found on disk, or downloaded and checked."""

from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from jaxnn.data.download import DownloadError, fetch
from jaxnn.data.mnist import _cache, _placed


class Published(NamedTuple):
    """One file that anybody can get.

    Attributes:
        title: the data set it belongs to, in messages.
        folder: of the data set, within `$JAXNN_DATA` and within the cache.
        name: its path within the folder.
        sha256: of its content.
        urls: where it is to be had.
    """

    title: str
    folder: str
    name: str
    sha256: str
    urls: tuple[str, ...]


def placed(folder: str, name: str) -> Path | None:
    """The user's own copy of a file or folder in `$JAXNN_DATA`, if there is one."""
    root = _placed(folder)
    return root / name if root and (root / name).exists() else None


def obtain(file: Published) -> Path:
    """The path of a file that is the published one.

    It is looked for in `$JAXNN_DATA`, then in the user's cache, then downloaded into
    the cache.

    Raises:
        FileNotFoundError: if it is nowhere; it lists every place and what to do.
        ValueError: if the one in `$JAXNN_DATA` is not what was published.

    Example:
        >>> from jaxnn.data.cifar10 import CIFAR10
        >>> obtain(CIFAR10).name  # doctest: +SKIP
        'cifar-10-binary.tar.gz'
    """
    own = placed(file.folder, file.name)
    if own:
        return _checked(file, own)
    path = _cache(file.folder) / file.name
    with suppress(OSError, ValueError):  # a cache that is whole need not be writable
        _check(file, path)
        return path
    try:
        fetch(path, file.urls, lambda path: _check(file, path))
    except DownloadError as error:
        raise FileNotFoundError(_advice(file, error.failures)) from None
    except OSError as error:  # such as a home that cannot be written
        raise FileNotFoundError(_advice(file, [f"the cache: {error}"])) from error
    return path


def _checked(file: Published, path: Path) -> Path:
    try:
        _check(file, path)
    except ValueError as error:
        raise ValueError(
            f"{file.title}: {path} {error}; put a good copy in its place, or delete it "
            "to have it downloaded"
        ) from error
    return path


def _check(file: Published, path: Path) -> None:
    """ValueError, which says why, if the content is not the published one."""
    import hashlib

    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != file.sha256:
        size = path.stat().st_size
        raise ValueError(
            f"is not the file meant: {size:,} bytes with SHA-256 {found}, published "
            f"{file.sha256}"
        )


def _advice(file: Published, failures: list[str]) -> str:
    own = _placed(file.folder)
    tried = ["$JAXNN_DATA: " + (f"{own / file.name} is absent" if own else "not set")]
    return (
        f"{file.title}: {file.name} is nowhere to be had. Tried:\n"
        + "".join(f"  - {line}\n" for line in tried + failures)
        + "Without a network, get it elsewhere, put it in a folder as\n"
        f"    {file.folder}/{file.name}\n"
        "and set the environment variable JAXNN_DATA to that folder's path."
    )
