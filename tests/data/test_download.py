# SPDX-License-Identifier: Apache-2.0
"""Downloads from good, bad and broken servers, all of them local."""

import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import jaxnn
from jaxnn.data.download import DownloadError, fetch

NAME = "file.bin"
CONTENT = np.random.default_rng(0).bytes(300_000)
HALF = len(CONTENT) // 2


def check(path):
    if path.read_bytes() != CONTENT:
        raise ValueError("not the content")


@pytest.fixture
def path(server, tmp_path):
    server.files[NAME] = CONTENT
    return tmp_path / "made" / "on" / "demand" / NAME


@pytest.fixture
def part(path):
    path.parent.mkdir(parents=True)
    return path.with_name(NAME + ".part")


def get(server, path, *behaviors, timeout=20.0):
    """Fetches, and leaves nothing but the file (and the lock, which is empty)."""
    fetch(path, server.urls(NAME, *behaviors), check, timeout=timeout)
    assert path.read_bytes() == CONTENT
    assert {each.name for each in path.parent.iterdir()} == {NAME, ".lock"}


def failures(server, path, *behaviors, timeout=20.0):
    with pytest.raises(DownloadError) as caught:
        fetch(path, server.urls(NAME, *behaviors), check, timeout=timeout)
    lines = caught.value.failures
    assert str(caught.value) == "\n".join(lines)
    urls = server.urls(NAME, *behaviors)
    for line, url in zip(lines, urls, strict=True):
        assert line.startswith(f"{url}: ")
    return [
        line.removeprefix(f"{url}: ") for line, url in zip(lines, urls, strict=True)
    ]


@pytest.mark.parametrize("behavior", ["good", "plain", "endless"])
def test_a_file_is_downloaded_whole(server, path, behavior):
    get(server, path, behavior)
    assert server.seen == [(behavior, NAME, None)]


def test_a_file_that_is_there_is_not_downloaded(server, path):
    get(server, path, "good")
    get(server, path, "good")
    assert len(server.seen) == 1


def test_a_file_that_does_not_pass_is_replaced(server, path, part):
    path.write_bytes(CONTENT[:-1])
    get(server, path, "good")


def test_a_file_that_does_not_pass_stays_until_there_is_a_better(server, path, part):
    path.write_bytes(b"old")
    failures(server, path, "missing")
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize("bad", ["missing", "wrong", "cut"])
def test_the_next_mirror_is_tried(server, path, bad):
    get(server, path, bad, "good")
    assert [behavior for behavior, *_ in server.seen] == [bad, "good"]


def test_every_mirror_is_named_with_its_reason(server, path):
    missing, wrong, cut = failures(server, path, "missing", "wrong", "cut")
    assert missing == "HTTP Error 404: Not Found"
    assert wrong == "not the content; the server sent a web page"
    assert cut == f"the connection closed at byte {HALF} of {len(CONTENT)}"
    assert not path.exists()


def test_a_server_that_is_not_there_is_a_reason(server, path):
    closed = f"http://127.0.0.1:{_free_port()}/{NAME}"
    with pytest.raises(DownloadError, match="efused") as caught:
        fetch(path, [closed, "odd://nowhere"], check)
    assert (
        caught.value.failures[1]
        == "odd://nowhere: <urlopen error unknown url type: odd>"
    )


def _free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def test_a_server_that_stalls_is_given_up_and_its_bytes_kept(server, path):
    (stall,) = failures(server, path, "stall", timeout=0.3)
    assert "timed out" in stall
    assert path.with_name(NAME + ".part").read_bytes() == CONTENT[:HALF]
    get(server, path, "good")
    assert server.seen[-1] == ("good", NAME, f"bytes={HALF}-")


@pytest.mark.parametrize("behavior", ["drip", "drip_headers", "silent"])
def test_a_server_that_sends_hardly_anything_is_given_up(server, path, behavior):
    """Each byte in time, and the file never."""
    (reason,) = failures(server, path, behavior, timeout=0.2)
    assert "timed out" in reason
    get(server, path, behavior, "good", timeout=0.2)


def test_a_server_without_end_is_given_up_and_its_bytes_thrown_away(server, path, part):
    with pytest.raises(DownloadError, match="does not end: more than the 1,000,000"):
        fetch(path, server.urls(NAME, "flood"), check, largest=1_000_000)
    assert not part.exists()
    with pytest.raises(DownloadError, match=r"is of 10,000,000,000,000 bytes, more"):
        fetch(path, server.urls(NAME, "huge"), check)
    assert not part.exists()


def test_a_part_that_is_too_large_is_thrown_away(server, path, part):
    part.write_bytes(bytes(2 * len(CONTENT)))
    urls = server.urls(NAME, "plain", "good")
    fetch(path, urls, check, largest=len(CONTENT))
    assert path.read_bytes() == CONTENT


def test_a_file_that_has_moved_is_followed_and_never_in_circles(server, path):
    (reason,) = failures(server, path, "circle")
    assert "infinite loop" in reason
    get(server, path, "moved")


def test_a_proxy_is_used_and_named_where_it_fails(server, path, monkeypatch):
    for name in ("no_proxy", "NO_PROXY", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", server.mirror("").removesuffix("//"))
    monkeypatch.setattr("urllib.request._opener", None)  # it keeps its proxies
    fetch(path, [f"http://far.example/good/{NAME}"], check)
    assert path.read_bytes() == CONTENT
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{_free_port()}")
    monkeypatch.setattr("urllib.request._opener", None)
    with pytest.raises(DownloadError, match=r"efused.* \(by the proxy of http_proxy\)"):
        fetch(path.with_name("b"), [f"http://far.example/good/{NAME}"], check)


# --- the disk ---


def test_a_disk_without_room_ends_it_before_a_byte_comes(server, path, monkeypatch):
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("shutil.disk_usage", lambda folder: usage)
    with pytest.raises(OSError, match=r"file\.bin\.part needs 300,000 bytes.* 1,000"):
        fetch(path, server.urls(NAME, "good", "good"), check)
    assert len(server.seen) == 1  # another mirror would not help
    usage.free = 0  # as drives say that do not know it
    get(server, path, "good")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_disk_that_fills_up_is_named(server, path, part):
    part.symlink_to("/dev/full")
    with pytest.raises(OSError, match=r"cannot write .*file\.bin\.part: No space"):
        fetch(path, server.urls(NAME, "good", "good"), check)
    assert len(server.seen) == 1


# --- resuming ---


@pytest.mark.parametrize("have", [1, HALF, len(CONTENT) - 1])
def test_what_was_left_is_continued(server, path, part, have):
    part.write_bytes(CONTENT[:have])
    get(server, path, "good")
    assert server.seen == [("good", NAME, f"bytes={have}-")]


def test_a_connection_cut_short_is_continued_by_the_next_mirror(server, path):
    get(server, path, "cut", "good")
    assert server.seen[1] == ("good", NAME, f"bytes={HALF}-")


def test_a_server_without_range_starts_over(server, path, part):
    part.write_bytes(CONTENT[:HALF])
    get(server, path, "plain")
    assert server.seen == [("plain", NAME, f"bytes={HALF}-")]


def test_a_part_that_was_whole_already_is_taken(server, path, part):
    part.write_bytes(CONTENT)
    get(server, path, "good")


@pytest.mark.parametrize("left", [b"junk" * 1000, CONTENT + b"more"])
def test_a_part_that_is_corrupt_is_discarded_and_fetched_anew(server, path, part, left):
    part.write_bytes(left)
    get(server, path, "good")
    assert [asked for *_, asked in server.seen] == [f"bytes={len(left)}-", None]


def test_wrong_bytes_are_fetched_once_and_thrown_away(server, path, part):
    failures(server, path, "wrong")
    assert len(server.seen) == 1 and not part.exists()


def test_a_corrupt_part_is_tried_from_zero_only_once(server, path, part):
    part.write_bytes(b"junk")
    failures(server, path, "wrong")
    assert len(server.seen) == 2 and not part.exists()


def test_another_range_than_asked_for_is_refused(server, path, part):
    part.write_bytes(CONTENT[:HALF])
    (reason,) = failures(server, path, "shifted")
    assert reason.startswith(
        f"asked for bytes from {HALF} on, the server sent 'bytes 1-"
    )
    get(server, path, "shifted", "good")


# --- progress ---


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_is_shown_on_a_terminal_only(
    server, path, part, capsys, monkeypatch, terminal
):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    part.write_bytes(CONTENT[:HALF])
    get(server, path, "good")
    shown = capsys.readouterr().err
    assert (NAME in shown and "300k/300k" in shown) if terminal else shown == ""


def test_a_log_has_lines_about_a_download_that_takes_long(
    server, path, capsys, monkeypatch
):
    get(server, path, "good")
    assert capsys.readouterr().err == ""
    monkeypatch.setitem(fetch.__globals__, "_QUIET", 0)
    path.unlink()
    get(server, path, "good")
    assert NAME in capsys.readouterr().err


def test_a_program_without_a_console_downloads_too(server, path, monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    get(server, path, "good")


# --- several processes ---


@pytest.fixture
def held(part):
    """The lock of the folder, as another process would hold it."""
    fcntl = pytest.importorskip("fcntl")
    with (part.parent / ".lock").open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file


def test_a_folder_that_another_process_holds_is_waited_for_aloud(
    server, path, held, capsys
):
    with pytest.raises(TimeoutError, match=r"another process holds .*\.lock and has"):
        fetch(path, server.urls(NAME, "good"), check, wait=1.2)
    said = capsys.readouterr().err
    assert said.count("waiting for another process that downloads to") == 1
    assert str(path.parent) in said and server.seen == []


def test_another_process_that_gets_on_is_waited_for(server, path, part, held):
    done = threading.Event()

    def other():
        with part.open("wb", 0) as file:
            for _ in range(20):
                file.write(b"more")
                time.sleep(0.05)
        part.unlink()
        done.set()
        held.close()

    thread = threading.Thread(target=other)
    thread.start()
    fetch(path, server.urls(NAME, "good"), check, wait=0.4)
    thread.join()
    assert done.is_set() and path.read_bytes() == CONTENT


# The module by itself: a process that imports all of jaxnn takes seconds to start.
CODE = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(Path(jaxnn.__file__).parent / "data")!r})
from download import fetch
def check(path):
    if path.stat().st_size != {len(CONTENT)}:
        raise ValueError("not the content")
print("ready", flush=True)
fetch(Path(sys.argv[1]), sys.argv[2:], check)
"""


def start(path, *urls):
    """A process that fetches, which has come as far as to begin with it."""
    command = [sys.executable, "-c", CODE, str(path), *urls]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    return process


def test_processes_that_want_the_same_file_download_it_once(server, path):
    processes = [start(path, *server.urls(NAME, "stall")) for _ in range(3)]
    time.sleep(0.3)  # in which, did they not take turns, all would ask the server
    server.let_go.set()
    for process in processes:
        process.communicate(timeout=60)
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert path.read_bytes() == CONTENT
    assert server.seen == [("stall", NAME, None)]


def test_a_process_that_is_killed_frees_its_turn_and_leaves_its_part(server, path):
    process = start(path, *server.urls(NAME, "stall"))
    part, until = path.with_name(NAME + ".part"), time.monotonic() + 60
    while not (part.is_file() and part.stat().st_size > 100_000):
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.01)
    process.kill()
    process.communicate()
    have = part.stat().st_size
    get(server, path, "good")
    assert server.seen[-1] == ("good", NAME, f"bytes={have}-")


def test_a_folder_without_locks_works(server, path, monkeypatch):
    def refuse(descriptor):
        raise OSError("no locks available")

    monkeypatch.setitem(fetch.__globals__, "_lock", refuse)
    get(server, path, "good")
