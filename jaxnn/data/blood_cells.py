# SPDX-License-Identifier: Apache-2.0
"""BCCD: photographs of blood under a microscope, every cell boxed."""

import hashlib
import io
import re
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxnn.data.archives import read_npz, unreadable
from jaxnn.data.box_lists import Targets, pad
from jaxnn.data.pictures import decoder
from jaxnn.data.published import Published, obtain, placed

CLASSES = ("RBC", "WBC", "Platelets")
SPLITS = {"train": 205, "val": 87, "test": 72}
HEIGHT, WIDTH = 480, 640

_LARGEST = 64 << 20  # bytes of all files unpacked
_FILE = re.compile(r"(?:.*/)?BCCD/(?:JPEGImages|Annotations)/(\w+)\.(jpg|xml)")
_SET = re.compile(r"(?:.*/)?BCCD/ImageSets/Main/(train|val|test)\.txt")
_OBJECT = re.compile(r"<object>.*?</object>", re.DOTALL)

#: Its digest is that of all photographs and boxes: archives of the same files differ.
BCCD = Published(
    "BCCD",
    "bccd",
    "BCCD_Dataset.zip",
    "93710710e664ab1c4ba18c536de219dbd5eaf1cde9e896221726c4ebc655f9f2",
    (
        "https://github.com/Shenggan/BCCD_Dataset/archive/refs/heads/master.zip",
        "https://codeload.github.com/Shenggan/BCCD_Dataset/zip/refs/heads/master",
    ),
    largest=64 << 20,
)


class _Photographs(NamedTuple):
    """What the archive holds, in the order of the names.

    Attributes:
        files: the JPEG files.
        boxes: integers `[B, 6]`: photograph, class, x0, y0, x1, y1.
        splits: the name of each photograph's split.
    """

    files: list[bytes]
    boxes: np.ndarray
    splits: list[str]


def bccd(split: str = "train", *, shrink: int = 2) -> tuple[np.ndarray, Targets]:
    """BCCD: 364 photographs of blood, in which to find cells of three classes.

    The archive `BCCD_Dataset.zip` is looked up in `$JAXNN_DATA/bccd`, then in the
    user's cache; otherwise it is downloaded. Photographs (8 MB) and boxes are checked
    by SHA-256. A file `bccd.npz` in `$JAXNN_DATA/bccd`, with `jpeg`, `offsets`,
    `boxes` and `split`, is read in its place.

    Of the 4,888 boxes two, one each in "train" and "val", have no area; they are left
    out.

    Args:
        split: "train" (205 photographs), "val" (87) or "test" (72), as published.
        shrink: averages squares of shrink x shrink pixels: the photographs, 480 pixels
            high and 640 wide, become that many times smaller, and so do their boxes.

    Returns:
        `(images, targets)`: images float32 [n, 480 / shrink, 640 / shrink, 3] from 0 to
        1; targets `{"boxes": float32 [n, 30, 4], "classes": int32 [n, 30]}` as of
        `nn.data.boxes`, with the classes 0, a red cell, 1, a white cell, 2, a platelet.

    Raises:
        FileNotFoundError: if the archive is not found; the error lists every place
            searched and what to do.
        ImportError: Pillow, which reads the photographs, is not installed.
        ValueError: if the file in `$JAXNN_DATA` does not hold these photographs.

    Example:
        >>> from jaxnn.data import bccd
        >>> images, targets = bccd("test")  # doctest: +SKIP
        >>> images.shape, targets["boxes"].shape  # doctest: +SKIP
        ((72, 240, 320, 3), (72, 30, 4))
    """
    if split not in SPLITS:
        raise ValueError(f"bccd: split must be one of {list(SPLITS)}, got {split!r}")
    if shrink not in (1, 2, 4, 5, 8, 10, 16, 20):
        raise ValueError(
            f"bccd: shrink must divide {HEIGHT} and {WIDTH}, such as 1, 2 or 4, got "
            f"{shrink!r}"
        )
    decode = decoder("bccd", "JPEG")
    own = placed(BCCD.folder, "bccd.npz")
    if own and not placed(BCCD.folder, BCCD.name):
        found = _read_arrays(own)
    else:
        found = _read_zip(obtain(BCCD, _check))
    chosen = [i for i, name in enumerate(found.splits) if name == split]
    sources = [(io.BytesIO(found.files[i]), f"photograph {i}") for i in chosen]
    images = np.stack([_shrunk(decode(*source), shrink) for source in sources])
    owners, kinds, corners = np.split(found.boxes, [1, 2], axis=1)
    some = (corners[:, 0] < corners[:, 2]) & (corners[:, 1] < corners[:, 3])
    own_boxes = [some & (owners[:, 0] == i) for i in chosen]
    boxes = [corners[own] / shrink for own in own_boxes]
    room = np.bincount(owners[:, 0]).max()
    return images, pad(boxes, [kinds[own, 0] for own in own_boxes], room=int(room))


def _shrunk(pixels: np.ndarray, shrink: int) -> np.ndarray:
    """The means of squares of pixels, from 0 to 1."""
    if pixels.shape != (HEIGHT, WIDTH, 3):
        raise ValueError(f"bccd: a photograph has the shape {list(pixels.shape)}")
    squares = pixels.reshape(HEIGHT // shrink, shrink, WIDTH // shrink, shrink, 3)
    return squares.mean((1, 3), dtype=np.float32) / np.float32(255)


def _check(file: Published, path: Path) -> None:
    """ValueError, with the reason, unless the archive holds what was published."""
    found = _read_zip(path)
    digest = hashlib.sha256(b"".join(found.files))
    digest.update(found.boxes.astype("<i4").tobytes())
    if digest.hexdigest() != file.sha256:
        raise ValueError(
            f"holds other photographs or boxes: their SHA-256 is {digest.hexdigest()}, "
            f"that of those published {file.sha256}"
        )


def _read_zip(path: Path) -> _Photographs:
    """The photographs of the archive, with their boxes and splits."""
    from zipfile import ZipFile

    files: dict[str, bytes] = {}
    notes: dict[str, str] = {}
    splits: dict[str, str] = {}
    try:
        with ZipFile(path) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > _LARGEST:
                raise ValueError(f"it unpacks to more than {_LARGEST:,} bytes")
            for name in archive.namelist():
                if match := _FILE.fullmatch(name):
                    content = archive.read(name)
                    if match[2] == "jpg":
                        files[match[1]] = content
                    else:
                        notes[match[1]] = content.decode()
                elif match := _SET.fullmatch(name):
                    words = archive.read(name).decode().split()
                    splits |= dict.fromkeys(words, match[1])
        names = sorted(files)
        rows = [[i, *row] for i, name in enumerate(names) for row in _rows(notes[name])]
        return _Photographs(
            [files[name] for name in names],
            np.array(rows, np.int32).reshape(-1, 6),
            [splits[name] for name in names],
        )
    except Exception as error:  # of many kinds, see `unreadable`
        raise unreadable(error) from error


def _rows(note: str) -> list[list[int]]:
    """Class and corners of each object of an annotation in Pascal VOC's XML."""
    rows = []
    for thing in _OBJECT.findall(note):
        values = dict(re.findall(r"<(name|[xy]m\w\w)>\s*(\w+)\s*</", thing))
        corners = [int(values[k]) for k in ("xmin", "ymin", "xmax", "ymax")]
        rows.append([CLASSES.index(values["name"]), *corners])
    return rows


def _read_arrays(path: Path) -> _Photographs:
    try:
        names = ("jpeg", "offsets", "boxes", "split")
        jpeg, offsets, boxes, splits = read_npz(path, names, _LARGEST)
    except ValueError as error:
        raise ValueError(f"bccd: {path} {error}") from error
    if boxes.shape[1:] != (6,) or len(offsets) != len(splits) + 1:
        raise ValueError(
            f"bccd: {path} must hold boxes [B, 6] and one offset more than splits, got "
            f"boxes {list(boxes.shape)}, {len(offsets)} offsets, {len(splits)} splits"
        )
    files = [jpeg[a:b].tobytes() for a, b in pairwise(offsets)]
    return _Photographs(files, boxes, [str(name) for name in splits])
