# SPDX-License-Identifier: Apache-2.0
"""Damaged and swollen files: one clear error, whatever the damage."""

import gzip
import io
import tarfile
import zipfile
import zlib

import numpy as np
import pytest
from packing import tar_gz, wav

from jaxnn.data import cifar10, digits, mnist, pictures, spoken_digits, text
from jaxnn.data.archives import read_npz, tar_files
from jaxnn.data.mnist import MNIST, _bytes
from jaxnn.data.spoken_digits import FSDD, PACKED

NAMES = ["a", "b"]


@pytest.fixture
def npz(tmp_path):
    path = tmp_path / "arrays.npz"
    np.savez_compressed(path, a=np.arange(500), b=np.linspace(0, 1, 300))
    return path


def spoilt(content, case):
    """A file cut somewhere, or with a few other bytes."""
    rng = np.random.default_rng(case)
    if case % 3 == 0:
        return content[: rng.integers(len(content))]
    damaged = bytearray(content)
    for at in rng.integers(0, len(content), 4):
        damaged[at] = rng.integers(256)
    return bytes(damaged)


def only_value_errors(call, *words):
    """What is damaged is refused by a ValueError with some words, or read."""
    try:
        call()
    except ValueError as error:
        for word in words:
            assert word in str(error), f"{word!r} not in {error}"
        return 1
    return 0


def test_a_damaged_npz_is_refused_whatever_the_damage(npz):
    content, refused = npz.read_bytes(), 0
    for case in range(200):
        npz.write_bytes(spoilt(content, case))
        refused += only_value_errors(
            lambda: read_npz(npz, NAMES, 1 << 20), "cannot be read: "
        )
    assert refused > 100


def test_an_npz_is_unpacked_within_bounds_only(npz):
    with zipfile.ZipFile(npz, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a.npy", bytes(50_000_000))
    assert npz.stat().st_size < 100_000
    with pytest.raises(ValueError, match=r"unpacks to 50,000,000 bytes or more, and"):
        read_npz(npz, ["a"], 1_000_000)


def test_an_npz_of_a_shape_that_no_memory_holds_is_refused(npz):
    """The header promises 8 TB, the file has 8 bytes."""
    stream = io.BytesIO()
    header = {"descr": "<f8", "fortran_order": False, "shape": (10**12,)}
    np.lib.format.write_array_header_1_0(stream, header)
    with zipfile.ZipFile(npz, "w") as file:
        file.writestr("a.npy", stream.getvalue() + bytes(8))
    with pytest.raises(ValueError, match="cannot be read: "):
        read_npz(npz, ["a"], 1_000_000)


def test_nothing_in_an_npz_is_executed(tmp_path, npz):
    class Evil:
        def __reduce__(self):
            return open, (str(tmp_path / "executed"), "w")

    np.savez(npz, a=np.array([Evil()], object))
    with pytest.raises(ValueError, match="cannot be read: Object arrays"):
        read_npz(npz, ["a"], 1_000_000)
    assert not (tmp_path / "executed").exists()


def swollen(path, size):
    """An archive whose one file, or whose header, unpacks to so many zeros."""
    with gzip.open(path, "wb", 1) as file:
        member = tarfile.TarInfo("x.wav")
        member.size = size
        file.write(member.tobuf())
        for _ in range(size // 1_000_000):
            file.write(bytes(1_000_000))
    return path


def test_a_tar_is_unpacked_within_bounds_only(tmp_path):
    path = swollen(tmp_path / "a.tar.gz", 30_000_000)
    with pytest.raises(ValueError, match=r"unpacks to .* bytes or more, and can have"):
        [stream.read() for _, stream in tar_files(path, 1_000_000)]
    member = tarfile.TarInfo("x")
    member.type, member.size = tarfile.XHDTYPE, 10**9  # a header of a gigabyte
    path.write_bytes(gzip.compress(member.tobuf() + bytes(1024)))
    with pytest.raises(ValueError, match=r"unpacks to .* bytes or more, and can have"):
        list(tar_files(path, 1_000_000))


def test_links_and_folders_in_a_tar_are_no_files(tmp_path):
    path = tmp_path / "a.tar.gz"
    with tarfile.open(path, "w:gz") as file:
        for kind in (tarfile.SYMTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE):
            member = tarfile.TarInfo("test_batch.bin")
            member.type, member.linkname = kind, "/etc/passwd"
            file.addfile(member)
    assert list(tar_files(path, 1_000_000)) == []


# --- the readers of data sets ---


RECORDING = wav(np.arange(200, dtype=np.uint8))


def test_damaged_recordings_are_named_whatever_the_damage(nowhere):
    folder = nowhere[0] / "fsdd"
    folder.mkdir(parents=True)
    path = folder / FSDD.name
    content = tar_gz({"recordings/0_theo_0.wav": RECORDING})
    for case in range(40):
        path.write_bytes(spoilt(content, case))
        words = "Free Spoken Digit", str(path), "put a good copy in its place"
        assert only_value_errors(spoken_digits, *words)
        bad = tar_gz({"recordings/0_theo_0.wav": spoilt(RECORDING[:60], case)})
        path.write_bytes(bad)
        assert only_value_errors(spoken_digits, *words)


@pytest.mark.parametrize(
    "name",
    ["theo.wav", "1_theo.wav", "one_theo_2.wav", "1_anna_2.wav", "1_theo_2_3.wav"],
)
def test_a_recording_of_another_name_is_named(name, nowhere):
    folder = nowhere[0] / "fsdd"
    folder.mkdir(parents=True)
    (folder / FSDD.name).write_bytes(tar_gz({name: RECORDING}))
    with pytest.raises(ValueError, match=f"{name} is not named digit_speaker_take"):
        spoken_digits()


@pytest.mark.parametrize(
    "change",
    [
        {"samples": np.zeros(3, complex)},
        {"samples": np.array(["a"])},
        {"offsets": np.array(5)},
        {"labels": np.zeros((2, 2), int)},
        {"takes": np.zeros(2, "M8[s]")},
        {"takes": np.zeros(2, [("a", "i4")])},
    ],
    ids=["complex", "text", "number", "table", "times", "structured"],
)
def test_packed_recordings_of_another_kind_are_named(change, nowhere):
    folder = nowhere[0] / "fsdd"
    folder.mkdir(parents=True)
    arrays = dict.fromkeys(("samples", "offsets", "labels", "speakers", "takes"))
    arrays = {name: np.zeros(2, int) for name in arrays} | change
    np.savez(folder / PACKED, **arrays)
    with pytest.raises(ValueError, match=r"fsdd\.npz cannot be read: its arrays must"):
        spoken_digits()


@pytest.mark.parametrize(
    "change",
    [
        {"labels": np.array(3)},
        {"offsets": np.array([0.0, 2.0, 4.0])},
        {"offsets": np.array([0, 9, 4])},
        {"jpeg": np.zeros((2, 2), np.uint8)},
        {"labels": np.array([1j, 2j])},
    ],
    ids=["number", "floats", "unsorted", "table", "complex"],
)
def test_a_jpeg_copy_of_another_kind_is_named(change, nowhere):
    pytest.importorskip("PIL")
    folder = nowhere[0] / "cifar10-jpeg"
    folder.mkdir(parents=True)
    arrays = {"jpeg": np.zeros(4, np.uint8), "offsets": np.array([0, 2, 4])}
    arrays = {**arrays, "labels": np.zeros(2, int), **change}
    for side in ("train", "test"):
        np.savez(folder / f"{side}.npz", **arrays)
    with pytest.raises(
        ValueError, match=r"cifar10: .*train\.npz must hold the offsets"
    ):
        cifar10()


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_damaged_pictures_are_named_whatever_the_damage(kind):
    image = pytest.importorskip("PIL.Image")
    decode, stream = pictures.decoder("mine", kind), io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    image.fromarray(noise).save(stream, kind)
    content, refused = stream.getvalue(), 0
    for case in range(150):
        source = io.BytesIO(spoilt(content, case))
        refused += only_value_errors(
            lambda source=source: decode(source, "the scan"),
            f"mine: the scan is not a readable {kind}: ",
            "put a good copy in its place",
        )
    assert refused > 40


def test_a_picture_of_few_bytes_and_many_pixels_is_refused():
    """100,000 x 100,000 pixels in 100 bytes."""
    pytest.importorskip("PIL")

    def chunk(kind, content):
        whole = kind + content
        size, crc = (
            len(content).to_bytes(4, "big"),
            zlib.crc32(whole).to_bytes(4, "big"),
        )
        return size + whole + crc

    sides = (100_000).to_bytes(4, "big") * 2
    head = chunk(b"IHDR", sides + bytes([8, 2, 0, 0, 0]))
    body = chunk(b"IDAT", zlib.compress(bytes(10))) + chunk(b"IEND", b"")
    bomb = io.BytesIO(b"\x89PNG\r\n\x1a\n" + head + body)
    with pytest.raises(ValueError, match="mine: scan is not a readable PNG: "):
        pictures.decoder("mine", "PNG")(bomb, "scan")


def test_damaged_digits_say_to_install_again(tmp_path, monkeypatch):
    (tmp_path / "digits.npz").write_bytes(b"PK junk")
    monkeypatch.setitem(digits.__globals__, "_FILE", tmp_path / "digits.npz")
    with pytest.raises(
        ValueError, match=r"digits: .*digits\.npz cannot.*reinstall jaxnn"
    ):
        digits()


def test_damaged_idx_files_are_named_whatever_the_damage(nowhere):
    folder = nowhere[0] / "mnist"
    folder.mkdir(parents=True)
    file = MNIST.files[1]
    content = gzip.compress(file.header + bytes(range(10)) * 6000)
    path = folder / f"{file.name}.gz"
    for case in range(60):
        path.write_bytes(spoilt(content, case))
        assert only_value_errors(
            lambda: _bytes(MNIST, file),
            f"MNIST: {path} ",
            "put a good copy in its place",
        )


def test_an_idx_file_that_is_far_too_long_is_not_read(nowhere):
    folder = nowhere[0] / "mnist"
    folder.mkdir(parents=True)
    path = folder / "train-images-idx3-ubyte"
    with path.open("wb") as file:
        file.truncate(10**11)  # of holes: it takes no room
    with pytest.raises(ValueError, match="is too long: 100,000,000,000 bytes"):
        mnist()


def test_damaged_texts_are_named(tmp_path):
    content = gzip.compress(b"words and more words " * 50)
    for case in range(40):
        (tmp_path / "a.gz").write_bytes(spoilt(content, case))
        only_value_errors(lambda: text.read(tmp_path / "a.gz"), "a.gz")


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 100_000,
        b"\xff",
        b"[]",
        b'{"format": "jaxnn vocabulary 1", "kind": "words", "words": 3}',
    ],
    ids=["deep", "bytes", "list", "parts"],
)
def test_damaged_vocabularies_are_named(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"text\.load: .*a\.json is not a vocabulary"):
        text.load(tmp_path / "a.json")
