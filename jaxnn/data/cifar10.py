# SPDX-License-Identifier: Apache-2.0
"""CIFAR-10: the published archive, or your own JPEG copy of it."""

from itertools import pairwise
from pathlib import Path

import numpy as np

from jaxnn.data.archives import read_npz, tar_files, unreadable
from jaxnn.data.mnist import Pair
from jaxnn.data.pictures import decoder
from jaxnn.data.published import Published, obtain, placed

_SIDE = 32
_RECORD = 1 + 3 * _SIDE * _SIDE  # a label, then the red, green and blue planes
_TRAIN = [f"data_batch_{i}.bin" for i in range(1, 6)]

# The binary version: the Python version is pickled, and unpickling can run any code.
CIFAR10 = Published(
    "CIFAR-10",
    "cifar10",
    "cifar-10-binary.tar.gz",
    "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    (
        "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
        "https://cave.cs.toronto.edu/kriz/cifar-10-binary.tar.gz",
    ),
)
JPEG_FOLDER = "cifar10-jpeg"
_LARGEST = 6 * 10_000 * _RECORD + (1 << 20)  # bytes of all images and a readme
_ADVICE = "put a good copy in its place, or delete it"


def cifar10() -> tuple[Pair, Pair]:
    """CIFAR-10: small color photographs in ten classes, for training and testing.

    The classes, from 0: airplane, automobile, bird, cat, deer, dog, frog, horse, ship,
    truck.  The archive `cifar-10-binary.tar.gz` is looked up in `$JAXNN_DATA/cifar10`,
    then in the user's cache; otherwise it is downloaded (170 MB) into the cache.  It is
    checked by SHA-256.

    If `$JAXNN_DATA` has no such archive but has a JPEG copy, `cifar10-jpeg/train.npz`
    and `test.npz`, that copy is read; this needs Pillow and about ten seconds.  JPEG
    loses detail: the images are not identical to those of the archive, nor in the same
    order, so do not compare accuracies on them with published ones.  Each file holds
    `jpeg`, the JPEG files one after the other as uint8; `offsets`, where each begins
    and, last, where they end; and `labels`.

    Returns:
        `(images, labels), (images, labels)`: 50,000 training and 10,000 test examples;
        images float32 [N, 32, 32, 3] from 0 to 1 (614 MB for training), labels int32
        [N] from 0 to 9.

    Raises:
        FileNotFoundError: if the archive is not found; the error lists every place
            searched and what to do.
        ImportError: if there is only the JPEG copy and Pillow is not installed.
        ValueError: if a file in `$JAXNN_DATA` is not the expected one.

    Example:
        >>> from jaxnn.data import cifar10
        >>> (images, labels), test = cifar10()  # doctest: +SKIP
        >>> images.shape, labels[:5].tolist()  # doctest: +SKIP
        ((50000, 32, 32, 3), [6, 9, 9, 4, 1])

    Reference:
        Krizhevsky, Learning multiple layers of features from tiny images, 2009.
    """
    return load(CIFAR10)


def load(archive: Published) -> tuple[Pair, Pair]:
    """The arrays of an archive like CIFAR-10's, or of the JPEG copy; see `cifar10`.

    Example:
        >>> from jaxnn.data.cifar10 import CIFAR10, load
        >>> at_home = CIFAR10._replace(urls=("https://mirror.example.org/cifar.tgz",))
        >>> train, test = load(at_home)  # doctest: +SKIP
    """
    train, test = (placed(JPEG_FOLDER, f"{side}.npz") for side in ("train", "test"))
    if train and test and not placed(archive.folder, archive.name):
        return _read_jpegs(train), _read_jpegs(test)
    batches = _members(archive, obtain(archive))
    return _records(batches, _TRAIN), _records(batches, ["test_batch.bin"])


def _members(archive: Published, path: Path) -> dict[str, bytes]:
    """The batches in the archive by name; nothing is unpacked to disk."""
    wanted = {*_TRAIN, "test_batch.bin"}
    found = {}
    try:
        for member, stream in tar_files(path, _LARGEST):
            if (name := Path(member).name) in wanted:
                found[name] = stream.read()
    except Exception as error:
        message = f"{archive.title}: {path} is no archive: {unreadable(error)}"
        raise ValueError(f"{message}; {_ADVICE}") from error
    if missing := sorted(wanted - set(found)):
        raise ValueError(
            f"{archive.title}: {path} lacks {', '.join(missing)}; {_ADVICE}"
        )
    if uneven := [name for name, content in found.items() if len(content) % _RECORD]:
        raise ValueError(
            f"{archive.title}: {path} has {uneven[0]} of {len(found[uneven[0]]):,} "
            f"bytes, which are no records of {_RECORD}; {_ADVICE}"
        )
    return found


def _records(batches: dict[str, bytes], names: list[str]) -> Pair:
    """Images and labels from batches of records: a label, then the color planes."""
    content = b"".join(batches[name] for name in names)
    records = np.frombuffer(content, np.uint8).reshape(-1, _RECORD)
    planes = records[:, 1:].reshape(-1, 3, _SIDE, _SIDE)
    return _unit(planes.transpose(0, 2, 3, 1)), records[:, 0].astype(np.int32)


def _read_jpegs(path: Path) -> Pair:
    from io import BytesIO

    decode = decoder("cifar10", "JPEG")
    content, offsets, labels = _jpeg_arrays(path)
    images = np.empty((len(labels), _SIDE, _SIDE, 3), np.uint8)
    for i, (start, end) in enumerate(pairwise(offsets)):
        name = f"picture {i} in {path}"
        picture = decode(BytesIO(content[start:end]), name)
        if picture.shape != images.shape[1:]:
            raise ValueError(
                f"cifar10: {name} must be 32x32 in color, got {picture.shape}"
            )
        images[i] = picture
    return _unit(images), labels.astype(np.int32)


def _jpeg_arrays(path: Path) -> tuple[bytes, list[int], np.ndarray]:
    """The bytes, offsets and labels in a JPEG copy, if they are consistent."""
    try:
        arrays = read_npz(path, ("jpeg", "offsets", "labels"), _LARGEST)
    except ValueError as error:
        raise ValueError(f"cifar10: {path} {error}; {_ADVICE}") from error
    content, offsets, labels = arrays
    if any(a.ndim != 1 or a.dtype.kind not in "iu" for a in arrays) or (
        len(offsets) != len(labels) + 1
        or [offsets[0], offsets[-1]] != [0, len(content)]
        or (offsets[:-1] > offsets[1:]).any()
        or not np.isin(labels, range(10)).all()
    ):
        raise ValueError(
            f"cifar10: {path} must hold the offsets of {labels.size} pictures from 0 "
            f"to {content.size}, and labels from 0 to 9; {_ADVICE}"
        )
    return content.astype(np.uint8).tobytes(), offsets.tolist(), labels


def _unit(pixels: np.ndarray) -> np.ndarray:
    """Pixels from 0 to 255 as float32 from 0 to 1, without an intermediate copy."""
    return np.divide(pixels, np.float32(255), order="C")
