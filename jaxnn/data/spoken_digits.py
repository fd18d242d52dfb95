# SPDX-License-Identifier: Apache-2.0
"""The Free Spoken Digit Dataset: six people saying each of ten digits fifty times."""

from itertools import pairwise
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from jaxnn.data.archives import read_npz, tar_files, unreadable
from jaxnn.data.published import Published, obtain, placed

#: The archive of recordings; the digest is of the recordings (see `_digest`), since the
#: server sometimes repacks the archive, with different bytes.
FSDD = Published(
    "Free Spoken Digit Dataset",
    "fsdd",
    "free-spoken-digit-dataset.tar.gz",
    "9bfd4c07cfb25a7c3ecc0bbd1078d33747e4e9f5224ab8dbbc68f347e0cd843c",
    tuple(
        f"https://github.com/Jakobovski/free-spoken-digit-dataset/archive/{at}.tar.gz"
        for at in ("26eb9aa", "master")
    ),
)
PACKED = "fsdd.npz"
_LARGEST = 256 << 20  # bytes of all files, unpacked: ten times their actual size
RATE = 8000  # samples per second
SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")


class SpokenDigits(NamedTuple):
    """Recordings of spoken digits.

    Attributes:
        clips: N float32 arrays [T] of different lengths, from -1 to 1.
        labels: int32 [N], the digit.
        speakers: int32 [N], an index into `names`.
        takes: int32 [N], the number of the recording; 0 to 4 are the official test set.
        names: the speakers' names.
        rate: samples per second.
    """

    clips: list[np.ndarray]
    labels: np.ndarray
    speakers: np.ndarray
    takes: np.ndarray
    names: tuple[str, ...] = SPEAKERS
    rate: int = RATE


class _Packed(NamedTuple):
    """All clips end to end, and where each begins; sorted by label, speaker, take."""

    samples: np.ndarray
    offsets: np.ndarray
    labels: np.ndarray
    speakers: np.ndarray
    takes: np.ndarray


def spoken_digits() -> SpokenDigits:
    """Three thousand recordings of English digits: 10 digits, 6 speakers, 50 takes.

    The data are looked up in `$JAXNN_DATA/fsdd`, as `fsdd.npz` (arrays `samples`,
    `offsets`, `labels`, `speakers`, `takes`) or as the repository's archive
    `free-spoken-digit-dataset.tar.gz`, then in the user's cache; otherwise the archive
    is downloaded (about 16 MB) into the cache.  All samples are checked by SHA-256.

    Returns:
        `(clips, labels, speakers, takes, names, rate)`; see `SpokenDigits`. Clips have
        1,148 to 18,262 samples, at 8,000 per second.

    Raises:
        FileNotFoundError: if the data are not found; the error lists every place
            searched and what to do.
        ValueError: if the file in `$JAXNN_DATA` is not what was published.

    Example:
        >>> from jaxnn.data import spoken_digits
        >>> digits = spoken_digits()  # doctest: +SKIP
        >>> test = digits.takes < 5  # doctest: +SKIP
        >>> len(digits.clips), test.sum(), digits.names[0]  # doctest: +SKIP
        (3000, 300, 'george')

    Reference:
        Jackson et al., Free Spoken Digit Dataset, 2018 (CC BY-SA 4.0).
    """
    return load(FSDD)


def load(archive: Published) -> SpokenDigits:
    """The recordings in an archive, or in the packed file next to it in `$JAXNN_DATA`.

    Example:
        >>> from jaxnn.data.spoken_digits import FSDD, load
        >>> mine = FSDD._replace(urls=("https://mirror.example.org/fsdd.tar.gz",))
        >>> digits = load(mine)  # doctest: +SKIP
    """
    own = placed(archive.folder, PACKED)
    if own:
        archive = archive._replace(name=PACKED)
    packed = _read(archive, obtain(archive, _read))
    waves = packed.samples.astype(np.float32) / 2**15
    clips = [waves[start:end] for start, end in pairwise(packed.offsets)]
    labels, speakers, takes = (a.astype(np.int32) for a in packed[2:])
    return SpokenDigits(clips, labels, speakers, takes)


def _read(archive: Published, path: Path) -> _Packed:
    """The content of a file; ValueError, with the reason, if not as published."""
    packed = _read_packed(path) if archive.name == PACKED else _read_archive(path)
    if any(array.ndim != 1 or array.dtype.kind not in "iu" for array in packed):
        raise ValueError("cannot be read: its arrays must be rows of integers")
    if (found := _digest(packed)) != archive.sha256:
        raise ValueError(
            f"does not hold the recordings meant: {len(packed.labels)} of them with "
            f"SHA-256 {found}, published {archive.sha256}"
        )
    return packed


def _digest(packed: _Packed) -> str:
    """SHA-256 of the samples, offsets, labels, speakers and takes."""
    from hashlib import sha256

    kinds = ("<i2", "<i8", "u1", "u1", "u1")
    pairs = zip(packed, kinds, strict=True)
    return sha256(b"".join(a.astype(kind).tobytes() for a, kind in pairs)).hexdigest()


def _read_packed(path: Path) -> _Packed:
    return _Packed(*read_npz(path, _Packed._fields, _LARGEST))


def _read_archive(path: Path) -> _Packed:
    """The files `recordings/{digit}_{speaker}_{take}.wav` of an archive."""
    clips = {}
    try:
        for member, stream in tar_files(path, _LARGEST):
            if (name := Path(member)).suffix == ".wav":
                clips[_key(name)] = _samples(name.name, stream)
    except Exception as error:
        raise unreadable(error) from error
    return _pack(clips)


def _key(name: Path) -> tuple[int, int, int]:
    """Digit, speaker and take from a file's name."""
    digit, speaker, take, *more = [*name.stem.split("_"), "", ""]
    counted = digit.isdecimal() and take.isdecimal()
    if any(more) or speaker not in SPEAKERS or not counted:
        raise ValueError(f"{name.name} is not named digit_speaker_take.wav")
    return int(digit), SPEAKERS.index(speaker), int(take)


def _pack(clips: dict[tuple[int, int, int], np.ndarray]) -> _Packed:
    keys = sorted(clips)
    waves = [clips[key] for key in keys]
    offsets = np.cumsum([0, *map(len, waves)])
    labels, speakers, takes = np.array(keys, int).reshape(-1, 3).T
    return _Packed(
        np.concatenate([np.zeros(0, "<i2"), *waves]), offsets, labels, speakers, takes
    )


def _samples(name: str, stream: IO[bytes]) -> np.ndarray:
    """The samples of a WAV file, which must have the format of these recordings."""
    import wave

    try:
        with wave.open(stream) as file:
            kind = file.getnchannels(), file.getsampwidth(), file.getframerate()
            content = file.readframes(file.getnframes())
    except Exception as error:  # `wave.Error`, `EOFError`, `struct.error` ...
        raise ValueError(f"{name} is not a complete WAV file: {error!r}") from error
    if kind != (1, 2, RATE):
        raise ValueError(f"{name}: a WAV file has {kind} channels, bytes and rate")
    return np.frombuffer(content, "<i2")
