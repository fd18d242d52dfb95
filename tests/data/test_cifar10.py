# SPDX-License-Identifier: Apache-2.0
"""CIFAR-10 from an archive, from JPEGs, from a server; and what is refused."""

import io
from hashlib import sha256

import numpy as np
import pytest
from packing import tar_gz

from jaxnn.data import cifar10
from jaxnn.data.cifar10 import CIFAR10, load

NAMES = [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]


@pytest.fixture
def arrays():
    """Six batches of three pictures [3, 32, 32, 3] and labels."""
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (6, 3, 32, 32, 3), np.uint8)
    return pictures, rng.integers(0, 10, (6, 3), np.uint8)


def record(picture, label):
    """Written out by hand: the label, then red row by row, green, blue."""
    planes = b"".join(picture[..., c].tobytes() for c in range(3))
    return bytes([label]) + planes


def archive(batches):
    return tar_gz(batches, "cifar-10-batches-bin/")


@pytest.fixture
def content(arrays):
    batches = {
        name: b"".join(map(record, pictures, labels))
        for name, pictures, labels in zip(NAMES, *arrays, strict=True)
    }
    return archive({"readme.html": b"<html>", **dict(reversed(batches.items()))})


@pytest.fixture
def small(content, server):
    server.files[CIFAR10.name] = content
    urls = tuple(server.urls(CIFAR10.name, "good"))
    return CIFAR10._replace(sha256=sha256(content).hexdigest(), urls=urls)


def assert_loaded(loaded, arrays):
    pictures, labels = arrays
    sides = (pictures[:5], labels[:5]), (pictures[5], labels[5])
    for (images, classes), (source, marks) in zip(loaded, sides, strict=True):
        expected = source.reshape(-1, 32, 32, 3).astype(np.float32) / 255
        np.testing.assert_array_equal(images, expected, strict=True)
        np.testing.assert_array_equal(classes, np.int32(marks).ravel(), strict=True)
        assert images.flags.c_contiguous and images.flags.writeable


def test_an_archive_is_downloaded_into_the_cache_once(small, arrays, nowhere, server):
    for _ in range(2):
        assert_loaded(load(small), arrays)
    assert len(server.seen) == 1 and not nowhere[0].exists()
    assert (nowhere[1] / "cifar10" / CIFAR10.name).is_file()


@pytest.mark.parametrize("cached", [False, True])
def test_an_archive_on_disk_is_read(small, content, arrays, nowhere, server, cached):
    path = nowhere[cached] / "cifar10" / CIFAR10.name
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    assert_loaded(load(small), arrays)
    assert server.seen == []


def test_a_corrupt_archive_of_the_user_is_named_and_kept(small, nowhere, server):
    path = nowhere[0] / "cifar10" / CIFAR10.name
    path.parent.mkdir(parents=True)
    path.write_bytes(b"junk")
    with pytest.raises(
        ValueError, match=r"is not the file meant: 4 bytes with SHA-256"
    ):
        load(small)
    assert path.read_bytes() == b"junk" and server.seen == []


def test_a_cache_without_room_is_named(small, nowhere, monkeypatch):
    usage = type("Usage", (), {"free": 10})
    monkeypatch.setattr("shutil.disk_usage", lambda folder: usage)
    with pytest.raises(FileNotFoundError, match=r"the cache: .* the disk has 10"):
        load(small)


def test_a_server_that_sends_more_than_the_archive_can_have_is_named(small, server):
    endless = server.urls(CIFAR10.name, "flood")
    with pytest.raises(FileNotFoundError, match="does not end: more than the 5,000"):
        load(small._replace(urls=tuple(endless), largest=5000))


def test_a_corrupt_archive_in_the_cache_is_downloaded_again(small, arrays, nowhere):
    path = nowhere[1] / "cifar10" / CIFAR10.name
    path.parent.mkdir(parents=True)
    path.write_bytes(b"junk")
    assert_loaded(load(small), arrays)


def test_an_archive_nowhere_lists_every_place(small, nowhere, server):
    urls = server.urls(CIFAR10.name, "missing", "wrong")
    with pytest.raises(FileNotFoundError) as caught:
        load(small._replace(urls=tuple(urls)))
    lines = str(caught.value).splitlines()
    assert lines[0] == f"CIFAR-10: {CIFAR10.name} is nowhere to be had. Tried:"
    assert lines[1].startswith(f"  - $JAXNN_DATA: {nowhere[0] / 'cifar10'}")
    assert lines[2] == f"  - {urls[0]}: HTTP Error 404: Not Found"
    assert lines[3].startswith(f"  - {urls[1]}: is not the file meant: ")
    assert f"    cifar10/{CIFAR10.name}" in lines


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no archive", "is no archive"),
        (archive({NAMES[0]: b""}), "lacks data_batch_2.bin, .*test_batch.bin"),
        (archive(dict.fromkeys(NAMES, b"ab")), "of 2 bytes, which are no records of"),
    ],
    ids=["junk", "incomplete", "uneven"],
)
def test_a_wrong_archive_with_the_right_sum_is_named(content, message, small, nowhere):
    path = nowhere[0] / "cifar10" / CIFAR10.name
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"CIFAR-10: .*{message}"):
        load(small._replace(sha256=sha256(content).hexdigest()))


# --- JPEG ---


def jpegs(pictures):
    """Pictures as JPEG files, one behind the other, and where they begin and end."""
    image = pytest.importorskip("PIL.Image")
    files = []
    for picture in pictures:
        stream = io.BytesIO()
        image.fromarray(picture).save(stream, "JPEG", quality=100, subsampling=0)
        files.append(stream.getvalue())
    content = np.frombuffer(b"".join(files), np.uint8)
    return {"jpeg": content, "offsets": np.cumsum([0, *map(len, files)])}


def place_jpegs(root, **change):
    """Both sides of a JPEG copy: smooth pictures, which JPEG keeps nearly as is."""
    ramp = np.arange(32, dtype=np.uint8) * 8
    pictures = np.stack(
        [
            np.stack(
                [
                    ramp[:, None] + 0 * ramp,
                    0 * ramp[:, None] + ramp,
                    np.full((32, 32), 7 * i, np.uint8),
                ],
                -1,
            )
            for i in range(4)
        ]
    )
    folder = root / "cifar10-jpeg"
    folder.mkdir(parents=True, exist_ok=True)
    for side in ("train", "test"):
        arrays = {**jpegs(pictures), "labels": np.arange(4, dtype=np.uint8)}
        np.savez(folder / f"{side}.npz", **(arrays | change))
    return pictures


def test_a_jpeg_copy_is_read(small, nowhere, server):
    pictures = place_jpegs(nowhere[0])
    for images, labels in load(small):
        np.testing.assert_allclose(images, pictures / np.float32(255), atol=0.03)
        assert images.dtype == np.float32
        np.testing.assert_array_equal(labels, np.arange(4, dtype=np.int32), strict=True)
    assert server.seen == []


def test_the_archive_comes_before_a_jpeg_copy(small, content, arrays, nowhere):
    place_jpegs(nowhere[0])
    path = nowhere[0] / "cifar10" / CIFAR10.name
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    assert_loaded(load(small), arrays)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"offsets": np.array([0, 5])}, "must hold the offsets of 4 pictures"),
        ({"labels": np.arange(7, 11)}, "labels from 0 to 9"),
        ({"labels": np.array([{}] * 4)}, "cannot be read: Object arrays"),
        (
            {"jpeg": np.zeros(4, np.uint8), "offsets": np.arange(5)},
            "picture 0 in .*JPEG",
        ),
        (
            jpegs(np.zeros((4, 8, 8, 3), np.uint8)),
            r"must be 32x32 in color, got \(8, 8",
        ),
    ],
)
def test_a_spoilt_jpeg_copy_is_named(change, message, small, nowhere):
    place_jpegs(nowhere[0], **change)
    with pytest.raises(ValueError, match=f"cifar10: .*{message}"):
        load(small)


def test_a_file_that_is_no_npz_is_named(small, nowhere):
    place_jpegs(nowhere[0])
    (nowhere[0] / "cifar10-jpeg" / "test.npz").write_bytes(b"junk")
    with pytest.raises(ValueError, match=r"test\.npz cannot be read"):
        load(small)


@pytest.mark.slow
@pytest.mark.needs("cifar10-jpeg")
def test_the_real_jpeg_copy():
    for (images, labels), count in zip(cifar10(), (50_000, 10_000), strict=True):
        assert images.shape == (count, 32, 32, 3) and images.dtype == np.float32
        assert images.min() == 0 and images.max() == 1
        assert np.bincount(labels).tolist() == [count // 10] * 10
        # the means that are quoted for CIFAR-10 everywhere, JPEG or not
        means = images.mean((0, 1, 2), np.float64)
        np.testing.assert_allclose(means, [0.4914, 0.4822, 0.4465], atol=5e-3)
