# SPDX-License-Identifier: Apache-2.0
"""One file from the first mirror that gives it: resumed, checked, all or nothing."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

_CHUNK = 1 << 18  # bytes read at a time


class DownloadError(OSError):
    """No mirror gave the file.

    Attributes:
        failures: one line a mirror, `url: reason`.
    """

    def __init__(self, failures: Sequence[str]):
        super().__init__("\n".join(failures))
        self.failures = list(failures)


def fetch(
    path: Path,
    urls: Sequence[str],
    check: Callable[[Path], object],
    *,
    timeout: float = 20.0,
) -> None:
    """Makes sure that `path` holds a file that passes `check`, downloading if it must.

    The bytes go to `path` + `.part`, which replaces `path` in one step once it passes.
    What an interrupted download left there is continued by the next one, from any
    mirror; should the whole then not pass, it is thrown away and fetched anew, once.
    Processes that want files in one folder take turns: each file is downloaded once.

    Args:
        path: where the file shall be; its folder is made if need be.
        urls: the mirrors of the file, tried in this order.
        check: raises ValueError, saying why, if the file that it is given is not good.
        timeout: seconds without a byte after which a mirror is given up.

    Raises:
        DownloadError: if no mirror gave a file that passes.
        OSError: if the folder cannot be written.

    Example:
        >>> import pathlib, tempfile
        >>> from jaxnn.data.download import fetch
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     source, path = pathlib.Path(folder, "a"), pathlib.Path(folder, "b")
        ...     _ = source.write_bytes(b"0123")
        ...     fetch(path, [source.as_uri()], check=pathlib.Path.read_bytes)
        ...     path.read_bytes()
        b'0123'
    """
    from http.client import HTTPException

    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    failures = []
    with _turn(path.parent / ".lock"):
        if path.is_file() and _passes(path, check):  # made while this one waited
            return
        for url in urls:
            try:
                _complete(url, part, check, timeout)
            except (OSError, HTTPException, ValueError) as error:
                failures.append(f"{url}: {str(error) or repr(error)}")
            else:
                part.replace(path)
                return
    raise DownloadError(failures)


def _passes(path: Path, check: Callable[[Path], object]) -> bool:
    try:
        check(path)
    except ValueError:
        return False
    return True


def _complete(
    url: str, part: Path, check: Callable[[Path], object], timeout: float
) -> None:
    """Brings `part` to a whole file that passes; a bad one is deleted."""
    resumed = part.is_file()
    _transfer(url, part, timeout)
    try:
        check(part)
    except ValueError:
        part.unlink()
        if not resumed:
            raise
        _complete(url, part, check, timeout)  # once more, from zero


def _transfer(url: str, part: Path, timeout: float) -> None:
    """Appends to `part` what it lacks; starts over if the server sends the whole."""
    from urllib.error import HTTPError
    from urllib.request import Request, urlopen

    have = part.stat().st_size if part.is_file() else 0
    headers = {"User-Agent": "jaxnn", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    try:
        response = urlopen(Request(url, headers=headers), timeout=timeout)
    except HTTPError as error:
        error.close()
        if error.code == 416 and have:  # nothing lies beyond: `part` may be whole
            return
        raise
    with response:
        _save(response, part, have)


def _save(response, part: Path, have: int) -> None:
    """Writes the body of a response to `part`, behind the `have` bytes if it may."""
    from tqdm import tqdm

    sent = response.headers.get("Content-Range", "")
    resumed = response.status == 206 and sent.startswith(f"bytes {have}-")
    if response.status == 206 and not resumed:
        raise ValueError(f"asked for bytes from {have} on, the server sent {sent!r}")
    start = have if resumed else 0
    length = response.headers.get("Content-Length")
    total = start + int(length) if length else None
    with (
        part.open("ab" if resumed else "wb") as file,
        # `disable=None`: a bar only where standard error is a terminal
        tqdm(
            desc=part.stem,
            total=total,
            initial=start,
            unit="B",
            unit_scale=True,
            disable=None,
        ) as bar,
    ):
        # `read1` gives what has come: a pause later on loses none of it
        while file.tell() != total and (chunk := response.read1(_CHUNK)):
            file.write(chunk)
            bar.update(len(chunk))
        if total is not None and file.tell() != total:
            raise OSError(f"the connection closed at byte {file.tell()} of {total}")


@contextmanager
def _turn(path: Path) -> Iterator[None]:
    """Waits for the lock on `path` and holds it; it ends with its process."""
    with path.open("ab") as file:
        # Some network drives have no locks. Two processes may then spoil each other's
        # part, which the check finds: slower, never wrong.
        with suppress(OSError):
            _lock(file.fileno())
        yield


if sys.platform == "win32":

    def _lock(descriptor: int) -> None:
        import errno
        import msvcrt

        while True:
            try:
                return msvcrt.locking(descriptor, msvcrt.LK_LOCK, 1)
            except OSError as error:
                if error.errno != errno.EDEADLK:  # that is: ten seconds have passed
                    raise

else:

    def _lock(descriptor: int) -> None:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX)
