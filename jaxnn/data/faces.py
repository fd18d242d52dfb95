# SPDX-License-Identifier: Apache-2.0
"""The ORL faces: 40 people, ten photographs each."""

import hashlib
import re
from pathlib import Path

import numpy as np

from jaxnn.data.archives import read_npz, unreadable
from jaxnn.data.published import Published, obtain, placed

_SHAPE = (400, 112, 92)
_NAME = re.compile(r"(?:.*/)?s(\d+)/(\d+)\.pgm")
_LARGEST = 64 << 20  # bytes of all pictures unpacked

#: Its digest is that of the pixels: archives of the same pictures differ.
ORL_FACES = Published(
    "ORL faces",
    "orl-faces",
    "att_faces.zip",
    "2e4844a9f4fa4397058f69d6208047170f2e9d399cda18b55c1e8d28f0a83431",
    (
        "https://www.cl.cam.ac.uk/research/dtg/attarchive/pub/data/att_faces.zip",
        "https://www.cl.cam.ac.uk/Research/DTG/attarchive/pub/data/att_faces.zip",
    ),
    largest=16 << 20,
)


def orl_faces() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """ORL faces: 40 people, ten photographs each, to recognize people.

    The archive `att_faces.zip` is looked up in `$JAXNN_DATA/orl-faces`, then in the
    user's cache; otherwise it is downloaded (4 MB). The pixels are checked by SHA-256.
    A file `orl_faces.npz` in `$JAXNN_DATA/orl-faces`, with `images`, `labels` and
    `take`, is read in its place.

    The pictures are of real people who gave them for research; credit Olivetti Research
    Laboratory.

    Returns:
        `(images, people, takes)`: images float32 [400, 112, 92, 1] from 0 to 1; people
        int32 [400] from 0 to 39; takes int32 [400] from 1 to 10.

    Raises:
        FileNotFoundError: if the archive is not found; the error lists every place
            searched and what to do.
        ValueError: if the file in `$JAXNN_DATA` does not hold these pictures.

    Example:
        >>> from jaxnn.data import orl_faces
        >>> images, people, takes = orl_faces()  # doctest: +SKIP
        >>> images.shape, people[:3].tolist()  # doctest: +SKIP
        ((400, 112, 92, 1), [0, 0, 0])

    Reference:
        Samaria and Harter, Parameterisation of a stochastic model for human face
        identification, 1994.
    """
    own = placed(ORL_FACES.folder, "orl_faces.npz")
    if own and not placed(ORL_FACES.folder, ORL_FACES.name):
        images, people, takes = _read_arrays(own)
    else:
        images, people, takes = _read_zip(obtain(ORL_FACES, _check))
    scaled = images[..., None].astype(np.float32) / 255
    return scaled, people.astype(np.int32), takes.astype(np.int32)


def _check(file: Published, path: Path) -> None:
    """ValueError, with the reason, unless the archive holds the published pixels."""
    images, _, _ = _read_zip(path)
    found = hashlib.sha256(images.tobytes()).hexdigest()
    if found != file.sha256:
        raise ValueError(
            f"holds other pictures: their pixels have SHA-256 {found}, those published "
            f"{file.sha256}"
        )


def _read_zip(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pictures, people and takes of the archive, in that order."""
    from zipfile import ZipFile

    found = {}
    try:
        with ZipFile(path) as archive:
            entries = [(_NAME.fullmatch(e.filename), e) for e in archive.infolist()]
            entries = [(match, entry) for match, entry in entries if match]
            if sum(entry.file_size for _, entry in entries) > _LARGEST:
                raise ValueError(f"it unpacks to more than {_LARGEST:,} bytes")
            for match, entry in entries:
                person, take = int(match[1]) - 1, int(match[2])
                found[person, take] = _pixels(archive.read(entry))
    except Exception as error:  # of many kinds, see `unreadable`
        raise unreadable(error) from error
    if sorted(found) != [(p, t) for p in range(40) for t in range(1, 11)]:
        raise ValueError(
            f"has {len(found)} pictures s1/1.pgm, ..., of the 400 of 40 people"
        )
    people, takes = np.array(sorted(found)).T
    return np.stack([found[key] for key in sorted(found)]), people, takes


def _pixels(content: bytes) -> np.ndarray:
    """The pixels of a binary PGM picture of 92x112."""
    header = re.match(rb"P5\s+(?:#[^\n]*\n\s*)*(\d+)\s+(\d+)\s+255\s", content)
    size = None if header is None else (int(header[2]), int(header[1]))
    if header is None or size != _SHAPE[1:]:
        raise ValueError("a picture is no PGM of 92x112")
    return np.frombuffer(content, np.uint8, 112 * 92, header.end()).reshape(size)


def _read_arrays(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    try:
        images, people, takes = read_npz(path, ("images", "labels", "take"), _LARGEST)
    except ValueError as error:
        raise ValueError(f"orl_faces: {path} {error}") from error
    if images.shape != _SHAPE or images.dtype != np.uint8:
        raise ValueError(
            f"orl_faces: {path} must hold uint8 images {list(_SHAPE)}, got "
            f"{images.dtype}{list(images.shape)}"
        )
    return images, people, takes
