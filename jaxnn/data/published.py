# SPDX-License-Identifier: Apache-2.0
"""A published file by name and checksum: found on disk, or downloaded and checked."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from jaxnn.data.download import DownloadError, fetch
from jaxnn.data.places import cache_folder, own_folder

SUMS = Path(__file__).with_suffix(".sha256")


class Published(NamedTuple):
    """One file that anybody can get.

    Attributes:
        title: the data set it belongs to, in messages.
        folder: of the data set, within `$JAXNN_DATA` and within the cache.
        name: its path within the folder.
        sha256: of its content.
        urls: where it is to be had.
        largest: bytes that it never exceeds, whatever a server sends.
    """

    title: str
    folder: str
    name: str
    sha256: str
    urls: tuple[str, ...]
    largest: int = 256 << 20


class Collection(NamedTuple):
    """A data set of several files.

    Attributes:
        title: its name in messages.
        folder: its folder, within `$JAXNN_DATA` and within the cache.
        mirrors: addresses that end in `/`, to which a file's name is added.
        sums: a file with the SHA-256 of each, as `sha256sum` writes them.
    """

    title: str
    folder: str
    mirrors: tuple[str, ...]
    sums: Path = SUMS

    def digests(self) -> dict[str, str]:
        """The SHA-256 of each file of the data set, by name."""
        lines = (line.split() for line in self.sums.read_text("utf-8").splitlines())
        start = f"{self.folder}/"
        return {
            path.removeprefix(start): digest
            for digest, path in lines
            if path.startswith(start)
        }

    def file(self, name: str) -> Published:
        """One of its files."""
        urls = tuple(mirror + name for mirror in self.mirrors)
        return Published(self.title, self.folder, name, self.digests()[name], urls)


def github(repository: str, *commits: str, folder: str = "") -> tuple[str, ...]:
    """Where a folder of a GitHub repository is, as of each commit or branch.

    A branch behind the commit that was checked is a second chance, and no risk: a file
    that has changed since has another SHA-256 and is refused.

    >>> github("owner/name", "0a1b2c3", "main", folder="data/")[1]
    'https://raw.githubusercontent.com/owner/name/main/data/'
    """
    root = "https://raw.githubusercontent.com"
    return tuple(f"{root}/{repository}/{commit}/{folder}" for commit in commits)


def placed(folder: str, name: str) -> Path | None:
    """The user's own copy of a file or folder in `$JAXNN_DATA`, if there is one."""
    root = own_folder(folder)
    return root / name if root and (root / name).exists() else None


def check_digest(file: Published, path: Path) -> None:
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


def obtain(
    file: Published, check: Callable[[Published, Path], object] = check_digest
) -> Path:
    """The path of a file that is the published one.

    It is looked for in `$JAXNN_DATA`, then in the user's cache, then downloaded into
    the cache.

    Args:
        file: what is wanted.
        check: raises ValueError, saying why, unless a path holds it.

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
        return _checked(file, own, check)
    path = cache_folder(file.folder) / file.name
    with suppress(OSError, ValueError):  # a cache that is whole need not be writable
        check(file, path)
        return path
    try:
        fetch(
            path,
            file.urls,
            lambda path: check(file, path),
            largest=file.largest,
        )
    except DownloadError as error:
        raise FileNotFoundError(_advice(file, error.failures)) from None
    except OSError as error:  # such as a home that cannot be written
        raise FileNotFoundError(_advice(file, [f"the cache: {error}"])) from error
    return path


def _checked(file: Published, path: Path, check: Callable) -> Path:
    try:
        check(file, path)
    except ValueError as error:
        raise ValueError(
            f"{file.title}: {path} {error}; put a good copy in its place, or delete it "
            "to have it downloaded"
        ) from error
    return path


def _advice(file: Published, failures: list[str]) -> str:
    own = own_folder(file.folder)
    tried = ["$JAXNN_DATA: " + (f"{own / file.name} is absent" if own else "not set")]
    return (
        f"{file.title}: {file.name} is nowhere to be had. Tried:\n"
        + "".join(f"  - {line}\n" for line in tried + failures)
        + "Without a network, get it elsewhere, put it in a folder as\n"
        f"    {file.folder}/{file.name}\n"
        "and set the environment variable JAXNN_DATA to that folder's path."
    )
