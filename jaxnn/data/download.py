# SPDX-License-Identifier: Apache-2.0
"""Downloading one file from the first working mirror: resumed, checked and atomic."""

import errno
import sys
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

_CHUNK = 1 << 18  # bytes read at a time
_SLOWEST = 1000  # bytes per second, below which a mirror is given up
_QUIET = 30  # seconds before, and between, the lines about a download in a log
_ANSWER = 3  # timeouts until the first byte: DNS, other addresses, redirects


class DownloadError(OSError):
    """No mirror provided the file.

    Attributes:
        failures: one line per mirror, `url: reason`.
    """

    def __init__(self, failures: Sequence[str]):
        super().__init__("\n".join(failures))
        self.failures = list(failures)


class _DiskError(OSError):
    """The file cannot be written to disk: no other mirror will help."""


def fetch(
    path: Path,
    urls: Sequence[str],
    check: Callable[[Path], object],
    *,
    timeout: float = 20.0,
    largest: int = 1 << 30,
    wait: float = 300.0,
) -> None:
    """Makes sure that `path` holds a file that passes `check`, downloading if needed.

    The bytes go to `path` + `.part`, which replaces `path` in one step once it passes.
    An interrupted download is continued by the next one, from any mirror; if the
    complete file then does not pass, it is deleted and downloaded again, once.
    Processes that need files in the same folder take turns, so that each file is
    downloaded once.

    Args:
        path: where to put the file; its folder is created if needed.
        urls: the mirrors of the file, tried in this order.
        check: a function that raises ValueError, with the reason, if a file is not the
            right one.
        timeout: seconds after which a mirror is given up, if it sends nothing or less
            than 1 kB per second.
        largest: the most bytes that the file may have; a larger one is given up.
        wait: seconds that another process may hold the folder without receiving data.

    Raises:
        DownloadError: if no mirror provided a file that passes.
        OSError: if the folder cannot be written, or the disk is full.
        TimeoutError: if another process holds the folder without receiving data.

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
    with _turn(path.parent / ".lock", wait):
        if path.is_file() and _passes(path, check):  # downloaded while this one waited
            return
        for url in urls:
            try:
                _complete(url, part, check, timeout, largest)
            except _DiskError:
                raise
            except (OSError, HTTPException, ValueError) as error:
                reason = str(error) or repr(error)
                failures.append(f"{url}: {reason}{_by_proxy(url)}")
            else:
                part.replace(path)
                return
    raise DownloadError(failures)


def _by_proxy(url: str) -> str:
    """The end of a message: the variable that sent the request through a proxy."""
    from urllib.parse import urlsplit
    from urllib.request import getproxies, proxy_bypass

    where = urlsplit(url)
    proxied = where.scheme in getproxies() and not proxy_bypass(where.hostname or "")
    return f" (by the proxy of {where.scheme}_proxy)" if proxied else ""


def _passes(path: Path, check: Callable[[Path], object]) -> bool:
    try:
        check(path)
    except ValueError:
        return False
    return True


def _complete(
    url: str,
    part: Path,
    check: Callable[[Path], object],
    timeout: float,
    largest: int,
) -> None:
    """Completes `part` to a file that passes; a bad one is deleted."""
    resumed = part.is_file()
    _transfer(url, part, timeout, largest)
    try:
        check(part)
    except ValueError as error:
        page = _is_page(part)
        part.unlink()
        if resumed:
            return _complete(url, part, check, timeout, largest)  # again, from zero
        if page:
            raise ValueError(f"{error}; the server sent a web page") from error
        raise


def _is_page(path: Path) -> bool:
    with path.open("rb") as file:
        begin = file.read(200).lstrip().lower()
    return begin.startswith((b"<!doctype", b"<html", b"<head"))


def _transfer(url: str, part: Path, timeout: float, largest: int) -> None:
    """Appends what is missing to `part`; starts over if the server sends it all."""
    from urllib.error import HTTPError
    from urllib.request import Request

    have = part.stat().st_size if part.is_file() else 0
    headers = {"User-Agent": "jaxnn", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    with closing(_arriving(Request(url, headers=headers), timeout)) as arriving:
        try:
            response = next(arriving)
        except HTTPError as error:
            error.close()
            if error.code == 416 and have:  # nothing is left: `part` may be complete
                return
            raise
        _save(response, arriving, part, have, largest)


def _arriving(request: Any, timeout: float) -> Generator[Any]:
    """A response, then its body in chunks; TimeoutError if they do not arrive.

    A thread reads it: a socket's own timeout restarts with each byte, so a server that
    sends one now and then, even in its headers, would otherwise never time out.
    """
    from queue import Empty, Queue
    from threading import Event, Thread
    from urllib.request import urlopen

    came, over = Queue(8), Event()

    def read() -> None:
        try:
            with urlopen(request, timeout=timeout) as response:
                came.put(response)
                # `read1` returns what has arrived: a later pause loses none of it
                while not over.is_set() and (chunk := response.read1(_CHUNK)):
                    came.put(chunk)
            came.put(None)
        except Exception as error:
            came.put(error)

    Thread(target=read, daemon=True, name="jaxnn-download").start()

    def take(seconds: float) -> Any:
        try:
            item = came.get(timeout=seconds)
        except Empty:
            raise TimeoutError(f"timed out: no byte for {seconds:g} s") from None
        if isinstance(item, Exception):
            raise item
        return item

    try:
        yield take(_ANSWER * timeout)
        begun, count = time.monotonic(), 0
        while (chunk := take(timeout)) is not None:
            yield chunk
            count, passed = count + len(chunk), time.monotonic() - begun
            if passed > timeout:
                if count < _SLOWEST * timeout:
                    raise TimeoutError(f"timed out: {count:,} bytes in {passed:.3g} s")
                begun, count = time.monotonic(), 0
    finally:
        over.set()
        with suppress(Empty):  # so that a full queue does not block the thread
            while True:
                came.get_nowait()


def _save(
    response: Any, arriving: Iterator[bytes], part: Path, have: int, largest: int
) -> None:
    """Writes the body of a response to `part`, after the `have` bytes if possible."""
    from tqdm import tqdm

    sent = response.headers.get("Content-Range", "")
    resumed = response.status == 206 and sent.startswith(f"bytes {have}-")
    if response.status == 206 and not resumed:
        raise ValueError(f"asked for bytes from {have} on, the server sent {sent!r}")
    start = have if resumed else 0
    length = response.headers.get("Content-Length", "")
    total = start + int(length) if length.isdecimal() else None
    _check_room(part, start, total, largest)
    watched = bool(sys.stderr) and sys.stderr.isatty()
    with (
        _open(part, "ab" if resumed else "wb") as file,
        tqdm(
            desc=part.stem,
            total=total,
            initial=start,
            unit="B",
            unit_scale=True,
            disable=not sys.stderr,  # None if a program has no console
            delay=0 if watched else _QUIET,  # in a log, only for slow downloads
            mininterval=0.1 if watched else _QUIET,
        ) as bar,
    ):
        count = start
        for chunk in arriving if count != total else ():
            count += len(chunk)
            if count > largest:
                break
            _write(file, chunk)
            bar.update(len(chunk))
            if count == total:
                break
    if count > largest:
        part.unlink()
        raise ValueError(f"does not end: more than the {largest:,} bytes it can have")
    if total is not None and count != total:
        raise OSError(f"the connection closed at byte {count} of {total}")


def _open(part: Path, mode: str) -> Any:
    try:
        return part.open(mode, buffering=0)
    except OSError as error:
        what = f"cannot write {part}: {error.strerror}"
        raise _DiskError(error.errno, what) from error


def _write(file: Any, chunk: bytes) -> None:
    rest = memoryview(chunk)
    try:
        while rest:
            rest = rest[file.write(rest) :]
    except OSError as error:
        what = f"cannot write {file.name}: {error.strerror}"
        raise _DiskError(error.errno, what) from error


def _check_room(part: Path, start: int, total: int | None, largest: int) -> None:
    """Raise if the size is larger than expected, or the disk has no room for it."""
    from shutil import disk_usage

    if start > largest:
        part.unlink()
    if (size := max(start, total or 0)) > largest:
        raise ValueError(f"is of {size:,} bytes, more than the {largest:,} it can have")
    free = disk_usage(part.parent).free
    if total is not None and 0 < free < total - start:  # some drives report 0
        raise _DiskError(
            errno.ENOSPC, f"{part} needs {total - start:,} bytes, the disk has {free:,}"
        )


@contextmanager
def _turn(path: Path, wait: float) -> Iterator[None]:
    """Waits for the lock on `path` and holds it; the lock ends with the process."""
    with path.open("ab") as file:
        _wait(path.parent, file.fileno(), wait)
        yield


def _wait(folder: Path, descriptor: int, wait: float) -> None:
    """Waits for a lock; TimeoutError if its holder receives no data for `wait` s."""
    begun = seen = time.monotonic()
    sizes, told = {}, False
    while not _taken(descriptor):
        now, found = time.monotonic(), _sizes(folder)
        if found != sizes:
            sizes, seen = found, now
        if now - seen > wait:
            raise TimeoutError(
                errno.ETIMEDOUT,
                f"another process holds {folder / '.lock'} and has got nothing for "
                f"{wait:g} s; end it, or wait for it and try again",
            )
        if now - begun > 1 and not told:
            told = True
            if sys.stderr:
                text = f"jaxnn: waiting for another process that downloads to {folder}"
                print(text, file=sys.stderr, flush=True)
        time.sleep(0.05)


def _taken(descriptor: int) -> bool:
    try:
        return _lock(descriptor)
    except OSError:
        # Some network drives have no locks. Two processes may then corrupt each other's
        # part, which the check detects: slower, but never wrong.
        return True


def _sizes(folder: Path) -> dict[str, int]:
    """The sizes of the files that are being downloaded to a folder."""
    with suppress(OSError):  # one was completed in the meantime
        return {part.name: part.stat().st_size for part in folder.glob("*.part")}
    return {}


if sys.platform == "win32":

    def _lock(descriptor: int) -> bool:
        """Take a lock, if no other process holds it."""
        import msvcrt

        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EDEADLK):
                raise
            return False
        return True

else:

    def _lock(descriptor: int) -> bool:
        """Take a lock, if no other process holds it; it ends with the process."""
        import fcntl

        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
