"""Paths as they are meant, and files that are replaced in one piece."""

import contextlib
import errno
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import jaxnn as nn
from jaxnn.files import places

pytestmark = pytest.mark.quick


def write(path, text="new"):
    with places.replacing(path, "save") as beside:
        beside.write_text(text)


@pytest.fixture
def file(tmp_path):
    """A file, alone in its folder."""
    (tmp_path / "net").write_text("old")
    return tmp_path / "net"


def names(file):
    return sorted(path.name for path in file.parent.iterdir())


# Where a path leads


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_tilde_is_home_for_whatever_takes_a_path(home):
    history = nn.History()
    history.add(1, {"loss": 0.5})
    nn.save("~/a/net", {"w": np.ones(2)})
    history.to_csv("~/a/history.csv")
    history.plot("~/a/curve.png")
    nn.data.text.characters("abc").save("~/a/letters.json")
    nn.callbacks.checkpoint("~/a/run")(1, {"w": np.ones(2)}, history)
    assert names(home / "a" / "net") == [
        *("curve.png", "history.csv", "letters.json", "net", "run")
    ]
    assert nn.load("~/a/net")["w"].tolist() == [1, 1]
    assert nn.io.header("~/a/net")["version"] == 1
    assert nn.History.from_csv("~/a/history.csv")["loss"] == [0.5]
    assert nn.History.load("~/a/run")["loss"] == [0.5]
    assert len(nn.data.text.load("~/a/letters.json")) == 3
    (home / "song.txt").write_text("la")
    assert nn.data.text.read("~/song.txt") == "la"
    assert not (home / "~").exists()


@pytest.mark.parametrize("call", [nn.load, nn.io.header, nn.History.load])
def test_no_path_and_nobodys_home_are_said(call):
    with pytest.raises(TypeError, match="load: path must be a str or a Path, got None"):
        call(None)
    with pytest.raises(ValueError, match="load: no such home folder in path ~nobody"):
        call("~nobody-of-that-name/net")


# What becomes of the file that was there


def test_a_file_keeps_its_mode(file):
    for mode in (0o600, 0o640, 0o755):
        file.chmod(mode)
        write(file)
        assert stat.S_IMODE(file.stat().st_mode) == mode


def test_a_secret_is_never_readable_for_others(file):
    file.chmod(0o600)
    with places.replacing(file, "save") as beside:
        assert stat.S_IMODE(beside.stat().st_mode) == 0o600
        beside.write_text("secret")


def test_a_new_file_follows_the_umask(tmp_path):
    old = os.umask(0o027)
    try:
        write(tmp_path / "net")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "net").stat().st_mode) == 0o640


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives files away")
def test_a_file_keeps_its_owner(file):
    os.chown(file, 1234, 1235)
    write(file)
    assert (file.stat().st_uid, file.stat().st_gid) == (1234, 1235)


@pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, "full"), SystemExit(3)])
def test_a_failure_leaves_the_old_file_alone(failure, file):
    with pytest.raises(type(failure)), places.replacing(file, "save") as beside:
        beside.write_text("half")
        raise failure
    assert file.read_text() == "old" and names(file) == ["net"]


def test_errors_name_the_function_the_file_and_the_reason(file):
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with (
        pytest.raises(OSError, match=r"save: cannot write .*net: No space left") as got,
        places.replacing(file, "save"),
    ):
        raise full
    assert got.value.errno == errno.ENOSPC
    for path in (file.parent, "/dev/null"):
        with pytest.raises(ValueError, match="path must name a file"):
            write(path)
    with pytest.raises(OSError, match=r"cannot write .*below: .*net is a file"):
        write(file / "below")
    with pytest.raises(OSError, match=r"cannot write x*: File name too long"):
        write("x" * 5000)
    with pytest.raises(ValueError, match=r"save: path .* can be no file"):
        write("a\0b")


def test_links_in_a_ring_are_no_file(tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises((ValueError, OSError), match="save: "):
        write(tmp_path / "a" / "net")


@contextlib.contextmanager
def as_nobody():
    """As a user whom modes keep out, which they do not root."""
    if os.getuid() == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(os.getuid())


@pytest.mark.parametrize("mode", [0o555, 0o000])
def test_a_folder_that_is_closed_is_said(mode, file):
    for folder in file.parents[1:3]:
        folder.chmod(0o755)
    file.parent.chmod(mode)
    denied = pytest.raises(PermissionError, match=r"save: cannot write .*denied")
    with as_nobody(), denied:
        write(file)
    file.parent.chmod(0o755)


# What killed processes leave


KILLED = """
import os, signal, sys
from jaxnn.files import places
with places.replacing(sys.argv[1], "save") as beside:
    beside.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_left_goes_with_the_next_save(file):
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", KILLED, str(file)])
        assert done.returncode == -9
    assert file.read_text() == "old" and len(names(file)) > 1
    write(file)
    assert file.read_text() == "new" and names(file) == ["net"]


def test_what_another_one_is_writing_stays(file):
    with places.replacing(file, "save") as beside:
        write(file.with_name("other"))
        write(file, "from the side")
        beside.write_text("last")
    assert file.read_text() == "last" and names(file) == ["net", "other"]


def test_a_file_swept_before_it_was_locked_is_made_again(file, monkeypatch):
    lock, swept = places._lock, []

    def late(opened, wait=True):
        if wait and not swept:  # another save comes between
            swept.append(opened.name)
            Path(opened.name).unlink()
        return lock(opened, wait)

    monkeypatch.setattr(places, "_lock", late)
    write(file)
    assert swept and file.read_text() == "new" and names(file) == ["net"]


def test_many_writers_leave_a_whole_file_and_nothing_else(file):
    failures = []

    def work(letter):
        try:
            for _ in range(50):
                write(file, letter * 5000)
                assert len(set(file.read_text())) == 1
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=work, args=(letter,)) for letter in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures and names(file) == ["net"]


def test_a_name_that_was_swept_away_is_not_used_again(file, monkeypatch):
    """Another writer may hold the old file open, and delete its name once more."""
    used, lock = [], places._lock

    def swept(opened, wait=True):
        used.append(opened.name)
        if len(used) == 1:
            Path(opened.name).unlink()
        return lock(opened, wait)

    monkeypatch.setattr(places, "_lock", swept)
    write(file)
    assert len(used) == 2 and used[0] != used[1]
    assert names(file) == ["net"] and file.read_text() == "new"


def test_without_locks_nothing_is_swept(file, monkeypatch):
    monkeypatch.setattr(places, "fcntl", None)
    left = file.with_name(".jaxnn-0123.tmp")
    left.touch()
    write(file)
    assert file.read_text() == "new" and left.exists()
