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
    """A publicly available file.

    Attributes:
        title: the data set it belongs to, for messages.
        folder: the data set's folder in `$JAXNN_DATA` and in the cache.
        name: its path within the folder.
        sha256: the digest of its content.
        urls: where to download it.
        largest: the most bytes to accept, whatever a server sends.
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
        folder: its folder in `$JAXNN_DATA` and in the cache.
        mirrors: URLs that end in `/`, to which a file's name is appended.
        sums: a file with the SHA-256 of each, in the format of `sha256sum`.
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
        """One file of the data set."""
        urls = tuple(mirror + name for mirror in self.mirrors)
        return Published(self.title, self.folder, name, self.digests()[name], urls)


def github(repository: str, *commits: str, folder: str = "") -> tuple[str, ...]:
    """The URL of a folder in a GitHub repository, at each commit or branch.

    A branch after the checked commit is a fallback, and no risk: a file that has
    changed since has a different SHA-256 and is rejected.

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
    """ValueError, with the reason, if the content is not the published one."""
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
    """The path of a published file, downloaded if necessary.

    It is looked up in `$JAXNN_DATA`, then in the user's cache; otherwise it is
    downloaded into the cache.

    Args:
        file: the file to obtain.
        check: a function that raises ValueError, with the reason, unless a path holds
            the file.

    Raises:
        FileNotFoundError: if it is not found; the error lists every place searched and
            what to do.
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
    with suppress(OSError, ValueError):  # a complete cache need not be writable
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
    except OSError as error:  # such as a home folder that is not writable
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
