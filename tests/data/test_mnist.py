# SPDX-License-Identifier: Apache-2.0
"""MNIST and its kin: where files are looked for, and what is refused."""

import gzip
import subprocess
import sys
import tracemalloc
from hashlib import md5, sha256

import numpy as np
import pytest

from jaxnn.data import fashion_mnist, mnist
from jaxnn.data.mnist import FASHION_MNIST, MNIST, IdxFile, IdxSet, load

SHAPES = (7, 28, 28), (7,), (3, 28, 28), (3,)


@pytest.fixture
def arrays():
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256 if s[1:] else 10, s, np.uint8) for s in SHAPES]


@pytest.fixture
def contents(arrays):
    """IDX files, written out by hand: 0, 0, 8, axes, big-endian lengths, bytes."""
    heads = [b"\0\0\x08\x03\0\0\0\x07\0\0\0\x1c\0\0\0\x1c", b"\0\0\x08\x01\0\0\0\x07"]
    heads += [b"\0\0\x08\x03\0\0\0\x03\0\0\0\x1c\0\0\0\x1c", b"\0\0\x08\x01\0\0\0\x03"]
    pairs = zip(MNIST.files, heads, arrays, strict=True)
    return {file.name: head + array.tobytes() for file, head, array in pairs}


@pytest.fixture
def small(contents, server):
    """A data set like MNIST but of ten examples, on a server that has it."""
    files = [
        IdxFile(name, shape, sha256(content).hexdigest())
        for (name, content), shape in zip(contents.items(), SHAPES, strict=True)
    ]
    for name, content in contents.items():
        server.files[f"{name}.gz"] = gzip.compress(content)
    return IdxSet("Small", "small", tuple(files), (server.mirror("good"),))


@pytest.fixture
def places(nowhere):
    """The folders of `small` in an empty `$JAXNN_DATA` and an empty cache."""
    data, cache = nowhere
    return data / "small", cache / "small"


def place(folder, contents, compress=True):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        if compress:
            (folder / f"{name}.gz").write_bytes(gzip.compress(content))
        else:
            (folder / name).write_bytes(content)


def assert_loaded(loaded, arrays):
    flat = [array for pair in loaded for array in pair]
    for found, source in zip(flat, arrays, strict=True):
        images = source.ndim == 3
        expected = np.float32(source[..., None]) / 255 if images else np.int32(source)
        np.testing.assert_array_equal(found, expected, strict=True)


# --- where files are found ---


@pytest.mark.parametrize("compress", [True, False])
@pytest.mark.parametrize("cached", [True, False])
def test_files_on_disk_are_read(
    small, places, contents, arrays, server, compress, cached
):
    place(places[cached], contents, compress)
    assert_loaded(load(small), arrays)
    assert server.seen == []


def test_files_nowhere_are_downloaded_into_the_cache_once(
    small, places, arrays, server
):
    for _ in range(2):
        assert_loaded(load(small), arrays)
    assert [name for _, name, _ in server.seen] == [f"{f.name}.gz" for f in small.files]
    assert not places[0].exists()


def test_the_gzip_layer_of_a_mirror_does_not_matter(small, contents, arrays, server):
    for name, content in contents.items():
        server.files[f"{name}.gz"] = gzip.compress(content, 1, mtime=3)
    assert_loaded(load(small), arrays)


def test_only_missing_files_are_downloaded(small, places, contents, arrays, server):
    *here, absent = contents
    place(places[0], {name: contents[name] for name in here})
    assert_loaded(load(small), arrays)
    assert [name for _, name, _ in server.seen] == [f"{absent}.gz"]


def test_the_users_own_files_come_before_the_cache(small, places, contents, arrays):
    place(places[0], contents)
    place(places[1], dict.fromkeys(contents, b"never read"))
    assert_loaded(load(small), arrays)


def test_the_environment_may_be_unset(small, contents, arrays, tmp_path, monkeypatch):
    for name in ("JAXNN_DATA", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    local = "AppData/Local" if sys.platform == "win32" else ".cache"
    place(tmp_path / local / "jaxnn" / "small", contents)
    assert_loaded(load(small), arrays)


def test_a_tilde_in_the_environment_is_home(
    small, contents, arrays, tmp_path, monkeypatch
):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setenv("JAXNN_DATA", "~/mine")
    place(tmp_path / "mine" / "small", contents)
    assert_loaded(load(small), arrays)


# --- what is wrong with them ---

IMAGES = MNIST.files[0].name
BAD = {
    "is cut short: 5,003 of 5,504 bytes": lambda good: good[:5003],
    "is cut short: 10 of 5,504 bytes": lambda good: good[:10],
    "begins with 00 00 08 03, this with -": lambda good: b"",
    "begins with 00 00 08 03, this with 3c 68 74 6d": lambda good: b"<html>",
    "begins with 00 00 08 03, this with 00 00 08 01": lambda good: (
        b"\0\0\x08\x01" + good[4:]
    ),
    "begins with 00 00 08 03, this with 00 00 0d 03": lambda good: (
        b"\0\0\x0d\x03" + good[4:]
    ),
    r"shape \(8, 28, 28\), not \(7, 28, 28\)": lambda good: (
        good[:7] + b"\x08" + good[8:] + bytes(28 * 28)
    ),
    "is too long: more than 5,504 bytes": lambda good: good + b"x",
    "is corrupt: SHA-256 .*, published ": lambda good: (
        good[:-1] + bytes([good[-1] ^ 1])
    ),
}


@pytest.mark.parametrize("compress", [True, False])
@pytest.mark.parametrize(("message", "spoil"), BAD.items())
def test_a_corrupt_file_of_the_user_is_named_and_kept(
    small, places, contents, server, message, spoil, compress
):
    contents[IMAGES] = spoil(contents[IMAGES])
    place(places[0], contents, compress)
    path = places[0] / (f"{IMAGES}.gz" if compress else IMAGES)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=message) as caught:
        load(small)
    assert str(caught.value).startswith(f"Small: {path} is ")
    assert path.read_bytes() == before and server.seen == []


@pytest.mark.parametrize(
    "spoil",
    [lambda good: good[:-20], lambda good: good[:50] + b"?" * 50 + good[100:]],
    ids=["cut", "overwritten"],
)
def test_a_corrupt_gzip_file_is_named(small, places, contents, spoil):
    place(places[0], contents)
    path = places[0] / f"{IMAGES}.gz"
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(ValueError, match=f"{path.name} is corrupt or cut short: "):
        load(small)


def test_little_of_a_gzip_bomb_is_unpacked(small, places, contents):
    contents[IMAGES] += bytes(50_000_000)
    place(places[0], contents)
    tracemalloc.start()
    with pytest.raises(ValueError, match="is too long"):
        load(small)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5_000_000


@pytest.mark.parametrize(("message", "spoil"), BAD.items())
def test_a_corrupt_file_in_the_cache_is_downloaded_again(
    small, places, contents, arrays, server, message, spoil
):
    place(places[1], contents | {IMAGES: spoil(contents[IMAGES])})
    for _ in range(2):
        assert_loaded(load(small), arrays)
    assert [name for _, name, _ in server.seen] == [f"{IMAGES}.gz"]


def test_a_corrupt_unpacked_file_in_the_cache_is_passed_over(
    small, places, contents, arrays
):
    place(places[1], contents | {IMAGES: b"bad"}, compress=False)
    assert_loaded(load(small), arrays)


# --- when there is no way ---


def test_the_error_lists_every_place_and_says_what_to_do(small, places, server):
    server.files.clear()
    mirrors = server.mirror("missing"), server.mirror("wrong")
    with pytest.raises(FileNotFoundError) as caught:
        load(small._replace(mirrors=mirrors))
    lines = str(caught.value).splitlines()
    name = f"{IMAGES}.gz"
    assert lines[0] == f"Small: {IMAGES} is nowhere to be had. Tried:"
    assert lines[1:5] == [
        f"  - $JAXNN_DATA: there is no folder {places[0]}",
        f"  - the cache: there is no folder {places[1]}",
        f"  - {mirrors[0]}{name}: HTTP Error 404: Not Found",
        f"  - {mirrors[1]}{name}: HTTP Error 404: Not Found",
    ]
    assert all(f"    small/{file.name}.gz" in lines for file in small.files)
    assert "environment variable JAXNN_DATA" in lines[-1]


def test_the_error_says_what_was_wrong_in_each_place(small, places, contents, server):
    place(places[0], {})
    place(places[1], {IMAGES: b"junk"})
    with pytest.raises(FileNotFoundError) as caught:
        load(small._replace(mirrors=(server.mirror("wrong"),)))
    text = str(caught.value)
    assert f"$JAXNN_DATA: neither {IMAGES} nor {IMAGES}.gz is in {places[0]}" in text
    assert f"the cache: {places[1] / IMAGES}.gz is not the file meant" in text
    assert "this with 3c 68 74 6d" in text
    assert (places[1] / f"{IMAGES}.gz").exists()


def test_a_home_that_cannot_be_written_is_a_reason(small, places, monkeypatch):
    monkeypatch.delenv("JAXNN_DATA")
    places[1].parent.parent.write_bytes(b"a file where the folder should be")
    with pytest.raises(FileNotFoundError, match="JAXNN_DATA: not set\n") as caught:
        load(small)
    assert "  - the cache: [Errno" in str(caught.value)


# --- the real ones ---


@pytest.mark.parametrize("dataset", [MNIST, FASHION_MNIST])
def test_mirrors_are_folders_on_the_web(dataset):
    assert len(dataset.mirrors) >= 2
    assert all(m.startswith("http") and m.endswith("/") for m in dataset.mirrors)


def test_the_wrong_folder_is_not_taken_for_mnist(small, places, contents):
    """Well-formed files that are not the published ones are refused."""
    place(places[0].with_name("mnist"), contents)
    with pytest.raises(ValueError, match=r"shape \(7, 28, 28\), not \(60000, 28, 28\)"):
        mnist()


def assert_published(loaded, train_counts, test_counts):
    counts = {60_000: train_counts, 10_000: test_counts}
    for (images, labels), (count, classes) in zip(loaded, counts.items(), strict=True):
        assert images.shape == (count, 28, 28, 1) and images.dtype == np.float32
        assert labels.shape == (count,) and labels.dtype == np.int32
        assert images.min() == 0 and images.max() == 1
        assert np.bincount(labels).tolist() == classes


@pytest.mark.needs("mnist")
def test_real_mnist():
    loaded = mnist()
    assert_published(
        loaded,
        [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
        [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009],
    )
    (images, labels), _ = loaded
    assert labels[:5].tolist() == [5, 0, 4, 1, 9]
    # the mean and deviation that are quoted for MNIST everywhere
    np.testing.assert_allclose(images.mean(dtype=np.float64), 0.1307, atol=5e-5)
    np.testing.assert_allclose(images.std(dtype=np.float64), 0.3081, atol=5e-5)


@pytest.mark.needs("fashion-mnist")
def test_real_fashion_mnist():
    loaded = fashion_mnist()
    assert_published(loaded, [6000] * 10, [1000] * 10)
    assert loaded[0][1][:5].tolist() == [9, 0, 0, 3, 0]


@pytest.mark.needs("mnist")
def test_the_content_has_the_canonical_md5(real_data):
    """SHA-256 sums are this library's own; the MD5 sums have been public for long."""
    canonical = [
        "6bbc9ace898e44ae57da46a324031adb",
        "a25bea736e30d166cdddb491f175f624",
        "2646ac647ad5339dbf082846283269ea",
        "27ae3e4e09519cfbb04c329615203637",
    ]
    for file, digest in zip(MNIST.files, canonical, strict=True):
        content = gzip.decompress((real_data / f"{file.name}.gz").read_bytes())
        assert md5(content).hexdigest() == digest
        assert sha256(content).hexdigest() == file.sha256


@pytest.mark.needs("fashion-mnist")
def test_the_published_fashion_files_have_the_published_md5(real_data):
    published = [
        "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "25c81989df183df01b3e8a0aad5dffbe",
        "bef4ecab320f06d8554ea6380940ec79",
        "bb300cfdad3c16e7a12a480ee83cd310",
    ]
    for file, digest in zip(FASHION_MNIST.files, published, strict=True):
        packed = (real_data / f"{file.name}.gz").read_bytes()
        assert md5(packed).hexdigest() == digest
        assert sha256(gzip.decompress(packed)).hexdigest() == file.sha256


# --- the package ---


def test_the_package_needs_neither_jax_nor_a_network_module_at_import():
    """With a stand-in for `jaxnn` itself, whose other parts do import JAX."""
    code = """
import sys, types, pathlib
package = types.ModuleType("jaxnn")
package.__path__ = [sys.argv[1]]
sys.modules["jaxnn"] = package
import numpy
before = set(sys.modules)
import jaxnn.data
loaded = set(sys.modules) - before
heavy = {"jax", "urllib.request", "http.client", "tqdm", "gzip", "ssl", "matplotlib"}
sys.exit(str(sorted(heavy & loaded)) if heavy & loaded else 0)
"""
    import jaxnn

    folder = jaxnn.__path__[0]
    done = subprocess.run([sys.executable, "-c", code, folder], capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
