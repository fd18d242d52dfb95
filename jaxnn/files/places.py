# SPDX-License-Identifier: Apache-2.0
"""Files: resolving a path, and replacing a file atomically."""

import contextlib
import os
import stat
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import IO

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None


def place(path: str | os.PathLike[str], owner: str) -> Path:
    """The path with `~` expanded to the user's home.

    Args:
        path: the path that the user gave.
        owner: the function that was called, for the error message.

    >>> place("net", "load").name, place("~/net", "load") == Path.home() / "net"
    ('net', True)
    """
    try:
        return Path(path).expanduser()
    except TypeError:
        raise TypeError(
            f"{owner}: path must be a str or a Path, got {path!r:.60}"
        ) from None
    except RuntimeError as error:  # no such user
        raise ValueError(f"{owner}: no such home folder in path {path}") from error


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str], owner: str) -> Iterator[Path]:
    """A temporary file next to `path` to write to; it then replaces `path`.

    The file is flushed to disk and renamed, so whatever happens, `path` holds either
    all of the old content or all of the new. An existing file keeps its mode, and its
    owner where the system allows it; a symbolic link is followed. Missing folders are
    created. Leftovers of killed processes in the folder are removed.

    Args:
        path: the file to replace.
        owner: the function that was called, for the error messages.

    Raises:
        ValueError: `path` is a folder or a device, or cannot be a file.
        OSError: the file cannot be written; `path` is unchanged.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp(), "note.txt")
    >>> with replacing(file, "save") as beside:
    ...     _ = beside.write_text("done")
    >>> file.read_text()
    'done'
    """
    target = place(path, owner)
    try:
        target = _target(target, owner)
        target.parent.mkdir(parents=True, exist_ok=True)
        _sweep(target.parent)
        with _beside(target) as (file, beside):
            yield beside
            os.fsync(file.fileno())
            if fcntl is None:  # Windows: not locked, and open files cannot be renamed
                file.close()
            beside.replace(target)
    except OSError as error:
        a_file = isinstance(error, FileExistsError)  # where a folder is needed
        reason = f"{target.parent} is a file" if a_file else error.strerror or error
        message = f"{owner}: cannot write {target}: {reason}"
        raise OSError(error.errno, message) from error


def _target(path: Path, owner: str) -> Path:
    """The file that a path leads to."""
    try:
        target = path.resolve()
    except (RuntimeError, ValueError) as error:  # a loop of links, or a null byte
        raise ValueError(f"{owner}: path {path} can be no file: {error}") from error
    if target.exists() and not target.is_file():
        raise ValueError(
            f"{owner}: path must name a file, {target} is a folder or device"
        )
    return target


@contextlib.contextmanager
def _beside(target: Path) -> Iterator[tuple[IO[bytes], Path]]:
    """An empty file in the same folder, locked while it is in use."""
    file, path = _create(target.parent)
    try:
        with file:
            if target.exists():
                _make_alike(path, target.stat())
            yield file, path
    finally:
        with contextlib.suppress(OSError):
            path.unlink()


def _create(folder: Path) -> tuple[IO[bytes], Path]:
    """A new, locked file that was not swept away before it was locked."""
    while True:
        # (A new name each time: another may still be about to sweep away the old one.)
        path = folder / f".jaxnn-{uuid.uuid4().hex}.tmp"
        file = path.open("xb")
        _lock(file)
        if path.exists():
            return file, path
        file.close()


def _make_alike(path: Path, other: os.stat_result) -> None:
    """Give a file the owner and the mode of another."""
    with contextlib.suppress(OSError, AttributeError):  # (not ours, or Windows)
        os.chown(path, other.st_uid, other.st_gid)
    with contextlib.suppress(OSError):  # (file systems without modes)
        path.chmod(stat.S_IMODE(other.st_mode))


def _sweep(folder: Path) -> None:
    """Delete files that dead processes were writing: nobody holds their locks."""
    for path in folder.glob(".jaxnn-*.tmp"):
        with contextlib.suppress(OSError), path.open("rb+") as file:
            if _lock(file, wait=False):
                path.unlink()


def _lock(file: IO[bytes], wait: bool = True) -> bool:
    """Lock a file until it is closed or the process ends; True if that worked."""
    if fcntl is None:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:  # another process holds it, or the file system has no locks
        return False
    return True
