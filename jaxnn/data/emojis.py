# SPDX-License-Identifier: Apache-2.0
"""Emoji: 3,511 small pictures with the names that people gave them."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from jaxnn.data.archives import read_npz
from jaxnn.data.pictures import decoder
from jaxnn.data.published import Collection, obtain, placed

#: Noto Emoji with the names of the Unicode data, as a package of the npm registry.
EMOJI = Collection(
    "Emoji",
    "emoji",
    (
        "https://cdn.jsdelivr.net/npm/emoji-datasource-google@16.0.0/",
        "https://unpkg.com/emoji-datasource-google@16.0.0/",
    ),
)
NAMES, SHEET = "emoji.json", "img/google/sheets/64.png"
SIDE = 48

_TONES = {
    "1F3FB": "light",
    "1F3FC": "medium-light",
    "1F3FD": "medium",
    "1F3FE": "medium-dark",
    "1F3FF": "dark",
}
_CELL, _DRAWN = 66, 64  # pixels of a place in the sheet, and of the picture in it
_PIXELS, _LARGEST = 1 << 25, 128 << 20  # of the sheet; bytes of a copy unpacked


def emoji() -> tuple[np.ndarray, list[str]]:
    """Emoji: 3,511 pictures and their names, to caption or to find by words.

    The names are systematic, as in "woman astronaut, dark skin tone": combinations of
    words that are seen apart can be tested together. Flags are left out.

    The files `emoji.json` and `img/google/sheets/64.png` are looked up in
    `$JAXNN_DATA/emoji`, then in the user's cache; otherwise they are downloaded (15
    MB). They are checked by SHA-256. A file `emoji.npz` in `$JAXNN_DATA/emoji`, with
    `images` and `captions`, is read in their place.

    Returns:
        `(images, captions)`: images float32 [3511, 48, 48, 3] from 0 to 1, on white;
        captions a list of 3,511 texts of 3,505 kinds, in lower case.

    Raises:
        FileNotFoundError: if a file is not found; the error lists every place searched
            and what to do.
        ImportError: Pillow, which reads the pictures, is not installed.
        ValueError: if a file in `$JAXNN_DATA` is not what was published.

    Example:
        >>> from jaxnn.data import emoji
        >>> images, captions = emoji()  # doctest: +SKIP
        >>> images.shape, captions[960]  # doctest: +SKIP
        ((3511, 48, 48, 3), 'woman in motorized wheelchair, light skin tone')

    Reference:
        Noto Emoji, Apache License 2.0; the package emoji-datasource-google, MIT
        License.
    """
    own = placed(EMOJI.folder, "emoji.npz")
    if own and not placed(EMOJI.folder, NAMES):
        images, captions = _read_arrays(own)
    else:
        images, captions = _read_sheet(*(obtain(EMOJI.file(n)) for n in (NAMES, SHEET)))
    return np.divide(images, np.float32(255)), captions


def _read_sheet(names: Path, sheet: Path) -> tuple[np.ndarray, list[str]]:
    """The pictures of the sheet with their names, reduced and put on white."""
    pixels = decoder("emoji", "PNG", mode="RGBA", pixels=_PIXELS)(sheet, sheet.name)
    places, captions = zip(*_entries(names), strict=True)
    images = [_picture(pixels, *place) for place in places]
    return np.stack(images), list(captions)


def _entries(path: Path) -> Iterator[tuple[tuple[int, int], str]]:
    """The place in the sheet and the name of each picture, with its skin tones."""
    for entry in json.loads(path.read_text("utf-8")):
        if entry["category"] in ("Flags", "Component") or not entry["has_img_google"]:
            continue
        name = entry["name"].lower()
        yield (entry["sheet_x"], entry["sheet_y"]), name
        for codes, other in entry.get("skin_variations", {}).items():
            if other["has_img_google"]:
                tones = " and ".join(_TONES[code] for code in codes.split("-"))
                place = other["sheet_x"], other["sheet_y"]
                yield place, f"{name}, {tones} skin tone"


def _picture(sheet: np.ndarray, column: int, row: int) -> np.ndarray:
    """One picture of the sheet, uint8 [48, 48, 3]."""
    from PIL import Image

    y, x = row * _CELL + 1, column * _CELL + 1
    drawn = Image.fromarray(sheet[y : y + _DRAWN, x : x + _DRAWN])
    ground = Image.new("RGBA", (SIDE, SIDE), "white")
    small = drawn.resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    ground.alpha_composite(small)
    return np.asarray(ground.convert("RGB"))


def _read_arrays(path: Path) -> tuple[np.ndarray, list[str]]:
    try:
        images, captions = read_npz(path, ("images", "captions"), _LARGEST)
        if images.shape != (len(captions), SIDE, SIDE, 3) or images.dtype != np.uint8:
            raise ValueError(
                f"must hold uint8 images [N, {SIDE}, {SIDE}, 3] and captions [N], got "
                f"{images.dtype}{list(images.shape)} and {list(captions.shape)}"
            )
    except ValueError as error:
        raise ValueError(f"emoji: {path} {error}") from error
    return images, [str(text) for text in captions]
