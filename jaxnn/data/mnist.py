# SPDX-License-Identifier: Apache-2.0
"""MNIST and Fashion-MNIST: found on disk or downloaded, and checked either way.

A file is looked up in `$JAXNN_DATA/mnist` (or `$JAXNN_DATA/fashion-mnist`), then in the
user's cache, then on public mirrors; downloads stay in the cache.
"""

import math
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxnn.data.download import DownloadError, fetch
from jaxnn.data.places import cache_folder, own_folder

Pair = tuple[np.ndarray, np.ndarray]


class IdxFile(NamedTuple):
    """One file of unsigned bytes in the IDX format.

    Attributes:
        name: its uncompressed name.
        shape: the shape of its array.
        sha256: the digest of its uncompressed content.
    """

    name: str
    shape: tuple[int, ...]
    sha256: str

    @property
    def header(self) -> bytes:
        """The start of the file: 8 for unsigned bytes, the axes, their lengths."""
        lengths = np.array(self.shape, ">u4").tobytes()
        return bytes([0, 0, 8, len(self.shape)]) + lengths


class IdxSet(NamedTuple):
    """A data set of four IDX files.

    Attributes:
        title: its name in messages.
        folder: its folder in `$JAXNN_DATA` and in the cache.
        files: training images and labels, test images and labels.
        mirrors: URLs that end in `/`, to which a name and `.gz` are appended.
    """

    title: str
    folder: str
    files: tuple[IdxFile, IdxFile, IdxFile, IdxFile]
    mirrors: tuple[str, ...]


def _files(*digests: str) -> tuple[IdxFile, IdxFile, IdxFile, IdxFile]:
    a, b, c, d = digests
    return (
        IdxFile("train-images-idx3-ubyte", (60_000, 28, 28), a),
        IdxFile("train-labels-idx1-ubyte", (60_000,), b),
        IdxFile("t10k-images-idx3-ubyte", (10_000, 28, 28), c),
        IdxFile("t10k-labels-idx1-ubyte", (10_000,), d),
    )


MNIST = IdxSet(
    "MNIST",
    "mnist",
    _files(
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
    (
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
    ),
)

FASHION_MNIST = IdxSet(
    "Fashion-MNIST",
    "fashion-mnist",
    _files(
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
    (
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/"
        "data/fashion/",
    ),
)


def mnist() -> tuple[Pair, Pair]:
    """MNIST's handwritten digits, as (images, labels) for training and for testing.

    The four files are looked up in `$JAXNN_DATA/mnist`, then in the user's cache;
    otherwise they are downloaded (11 MB) into the cache. Their content is checked by
    SHA-256. A bad file in `$JAXNN_DATA` is an error; one in the cache is downloaded
    again.

    Returns:
        `(images, labels), (images, labels)`: 60,000 training and 10,000 test examples;
        images float32 [N, 28, 28, 1] from 0 to 1, labels int32 [N] from 0 to 9.

    Raises:
        FileNotFoundError: if a file is not found; the error lists every place searched
            and what to do.
        ValueError: if a file in `$JAXNN_DATA` is not what was published.

    Example:
        >>> from jaxnn.data import mnist
        >>> (images, labels), test = mnist()  # doctest: +SKIP
        >>> images.shape, labels[:5].tolist()  # doctest: +SKIP
        ((60000, 28, 28, 1), [5, 0, 4, 1, 9])

    Reference:
        LeCun, Bottou, Bengio and Haffner, Gradient-based learning applied to document
        recognition, Proceedings of the IEEE, 1998.
    """
    return load(MNIST)


def fashion_mnist() -> tuple[Pair, Pair]:
    """Fashion-MNIST's images of clothing, for training and testing.

    The classes, from 0: T-shirt/top, trouser, pullover, dress, coat, sandal, shirt,
    sneaker, bag, ankle boot. The files are found or downloaded (31 MB) as in `mnist`,
    in the folder `fashion-mnist`. Arrays and errors are those of `mnist`.

    Example:
        >>> from jaxnn.data import fashion_mnist
        >>> (images, labels), test = fashion_mnist()  # doctest: +SKIP
        >>> images.shape, labels[:5].tolist()  # doctest: +SKIP
        ((60000, 28, 28, 1), [9, 0, 0, 3, 0])

    Reference:
        Xiao, Rasul and Vollgraf, Fashion-MNIST: a novel image dataset for benchmarking
        machine learning algorithms, 2017, arXiv:1708.07747.
    """
    return load(FASHION_MNIST)


def load(dataset: IdxSet) -> tuple[Pair, Pair]:
    """The arrays of a data set, wherever its files are; see `mnist`.

    Example:
        >>> from jaxnn.data.mnist import MNIST, load
        >>> at_home = MNIST._replace(mirrors=("https://mirror.example.org/mnist/",))
        >>> train, test = load(at_home)  # doctest: +SKIP
    """
    train_images, train_labels, test_images, test_labels = dataset.files
    return (
        (_images(dataset, train_images), _labels(dataset, train_labels)),
        (_images(dataset, test_images), _labels(dataset, test_labels)),
    )


def _images(dataset: IdxSet, file: IdxFile) -> np.ndarray:
    images = _bytes(dataset, file)[..., np.newaxis].astype(np.float32)
    images /= 255  # in place: the largest array takes 188 MB
    return images


def _labels(dataset: IdxSet, file: IdxFile) -> np.ndarray:
    return _bytes(dataset, file).astype(np.int32)


def _bytes(dataset: IdxSet, file: IdxFile) -> np.ndarray:
    """The uint8 array of a file: the user's own, a cached one, or a new download."""
    placed, cache = own_folder(dataset.folder), cache_folder(dataset.folder)
    for path in _present(placed, file):
        return _own(dataset, file, path)
    tried = [_missing("$JAXNN_DATA", placed, file)]
    for path in _present(cache, file):
        try:
            return _read(file, path)
        except ValueError as error:
            tried.append(f"the cache: {path} {error}")
    if len(tried) == 1:
        tried.append(_missing("the cache", cache, file))
    return _downloaded(dataset, file, cache / f"{file.name}.gz", tried)


def _own(dataset: IdxSet, file: IdxFile, path: Path) -> np.ndarray:
    """The array in the user's own copy, which is never replaced."""
    try:
        return _read(file, path)
    except ValueError as error:
        raise ValueError(
            f"{dataset.title}: {path} {error}; put a good copy in its place, or delete "
            f"it to have it downloaded"
        ) from error


def _downloaded(
    dataset: IdxSet, file: IdxFile, path: Path, tried: list[str]
) -> np.ndarray:
    """The array in a file, downloaded to `path`; `tried` is for the error message."""
    urls = [f"{mirror}{path.name}" for mirror in dataset.mirrors]
    try:
        fetch(path, urls, partial(_read, file), largest=_largest(file))
    except DownloadError as error:
        tried = tried + error.failures
    except OSError as error:  # such as a home folder that is not writable
        tried = [*tried, f"the cache: {error}"]
    else:
        return _read(file, path)
    raise FileNotFoundError(_advice(dataset, file, tried))


def _present(folder: Path | None, file: IdxFile) -> list[Path]:
    """The copies of a file in a folder, the faster one to read first."""
    if folder is None:
        return []
    paths = folder / file.name, folder / f"{file.name}.gz"
    return [path for path in paths if path.is_file()]


def _missing(place: str, folder: Path | None, file: IdxFile) -> str:
    if folder is None:
        return f"{place}: not set"
    if not folder.is_dir():
        return f"{place}: there is no folder {folder}"
    return f"{place}: neither {file.name} nor {file.name}.gz is in {folder}"


def _advice(dataset: IdxSet, file: IdxFile, tried: list[str]) -> str:
    names = "\n".join(f"    {dataset.folder}/{each.name}.gz" for each in dataset.files)
    return (
        f"{dataset.title}: {file.name} is nowhere to be had. Tried:\n"
        + "".join(f"  - {line}\n" for line in tried)
        + f"Without a network, get the four files elsewhere, put them in a folder as\n"
        f"{names}\n(or unpacked, without .gz) and set the environment variable "
        f"JAXNN_DATA to that folder's path."
    )


def _largest(file: IdxFile) -> int:
    """The most bytes a file can have: gzip adds little to what it cannot compress."""
    size = len(file.header) + math.prod(file.shape)
    return size + size // 100 + 1000


def _read(file: IdxFile, path: Path) -> np.ndarray:
    """The array in a file; ValueError, with the reason, if it is not the right one."""
    if (found := path.stat().st_size) > _largest(file):
        raise ValueError(f"is too long: {found:,} bytes")
    content = path.read_bytes()
    size = len(file.header) + math.prod(file.shape)
    if content[:2] == b"\x1f\x8b":
        content = _unzip(content, size)
    _check(file, content, size)
    offset = len(file.header)
    return np.frombuffer(content, np.uint8, offset=offset).reshape(file.shape)


def _unzip(content: bytes, size: int) -> bytes:
    """The content of a gzip file, unpacking little more than `size` bytes."""
    import gzip
    import zlib
    from io import BytesIO

    try:
        with gzip.open(BytesIO(content)) as file:
            return file.read(size + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"is corrupt or cut short: {error}") from error


def _check(file: IdxFile, content: bytes, size: int) -> None:
    """ValueError, with the reason, if the content is not the published one."""
    from hashlib import sha256

    header = file.header
    begin = content[: len(header)]
    if begin[:4] != header[:4]:
        raise ValueError(
            f"is not the file meant: an IDX file of bytes with {len(file.shape)} axes "
            f"begins with {header[:4].hex(' ')}, this with {begin[:4].hex(' ') or '-'}"
        )
    if len(begin) == len(header) and begin != header:
        shape = tuple(np.frombuffer(begin[4:], ">u4").tolist())
        raise ValueError(f"is not the file meant: shape {shape}, not {file.shape}")
    if len(content) < size:
        raise ValueError(f"is cut short: {len(content):,} of {size:,} bytes")
    if len(content) > size:
        raise ValueError(f"is too long: more than {size:,} bytes")
    if (found := sha256(content).hexdigest()) != file.sha256:
        raise ValueError(f"is corrupt: SHA-256 {found}, published {file.sha256}")
