"""Emoji: names and a sheet from a server and from disk, a copy, and the real ones."""

import hashlib
import io
import json

import numpy as np
import pytest
from PIL import Image

from jaxnn.data import emoji, emojis

CELL = 66


def entry(name, x, y, category="Objects", **more):
    own = {"name": name, "sheet_x": x, "sheet_y": y, "category": category}
    return own | {"has_img_google": True} | more


TONES = {
    "1F3FB": entry("", 0, 1),
    "1F3FF": entry("", 1, 1),
    "1F3FB-1F3FF": entry("", 2, 1),
    "1F3FD": entry("", 0, 2) | {"has_img_google": False},
}
ENTRIES = [
    entry("RED CIRCLE", 1, 0),
    entry("Egypt Flag", 2, 0, "Flags"),
    entry("WAVING HAND SIGN", 0, 0, skin_variations=TONES),
    entry("NOT DRAWN", 2, 2) | {"has_img_google": False},
]
CAPTIONS = [
    "red circle",
    "waving hand sign",
    "waving hand sign, light skin tone",
    "waving hand sign, dark skin tone",
    "waving hand sign, light and dark skin tone",
]
PLACES = [(1, 0), (0, 0), (0, 1), (1, 1), (2, 1)]


def sheet():
    """A sheet of 3x3 places, each with a square of a color of its own."""
    picture = Image.new("RGBA", (3 * CELL, 3 * CELL))
    for x in range(3):
        for y in range(3):
            color = (80 * x, 80 * y, 200, 255)
            at = (x * CELL + 17, y * CELL + 17)
            picture.paste(Image.new("RGBA", (32, 32), color), at)
    content = io.BytesIO()
    picture.save(content, "PNG")
    return content.getvalue()


FILES = {
    "emoji.json": json.dumps(ENTRIES).encode(),
    "img/google/sheets/64.png": sheet(),
}


@pytest.fixture(autouse=True)
def made(monkeypatch, tmp_path):
    """The digests of the made files in place of those of the real ones."""
    lines = [f"{hashlib.sha256(c).hexdigest()}  emoji/{n}" for n, c in FILES.items()]
    sums = tmp_path / "sums"
    sums.write_text("\n".join(lines))
    monkeypatch.setattr(emojis, "EMOJI", emojis.EMOJI._replace(sums=sums))


def check():
    images, captions = emoji()
    assert captions == CAPTIONS and images.dtype == np.float32
    assert images.shape == (5, 48, 48, 3)
    assert (images[:, 0, 0] == 1).all()  # on white
    middle = [[80 * x / 255, 80 * y / 255, 200 / 255] for x, y in PLACES]
    np.testing.assert_allclose(images[:, 24, 24], middle, atol=1e-6)


def put(nowhere, files):
    folder = nowhere[0] / "emoji"
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def test_names_and_sheet_are_downloaded_once(server, monkeypatch):
    server.files.update(FILES)
    mirror = server.urls("", "good")[-1]
    own = emojis.EMOJI._replace(mirrors=(mirror,))
    monkeypatch.setattr(emojis, "EMOJI", own)
    check()
    server.files.clear()
    check()


def test_files_on_disk_are_read(nowhere):
    put(nowhere, FILES)
    check()


def test_other_files_are_refused(nowhere):
    put(nowhere, FILES | {"emoji.json": b"[]"})
    with pytest.raises(ValueError, match="is not the file meant"):
        emoji()


def test_a_copy_as_arrays_is_read(nowhere):
    put(nowhere, FILES)
    images, captions = emoji()
    content = io.BytesIO()
    pixels = (images * 255).round().astype(np.uint8)
    np.savez(content, images=pixels, captions=captions)
    (nowhere[0] / "emoji" / "emoji.json").unlink()
    put(nowhere, {"emoji.npz": content.getvalue()})
    check()


def test_a_wrong_copy_is_refused(nowhere):
    content = io.BytesIO()
    np.savez(content, images=np.zeros((2, 48, 48, 3)), captions=["a", "b"])
    put(nowhere, {"emoji.npz": content.getvalue()})
    with pytest.raises(ValueError, match=r"must hold uint8 images.*got float64"):
        emoji()


@pytest.mark.needs("emoji")
def test_the_real_pictures():
    images, captions = emoji()
    assert images.shape == (3511, 48, 48, 3) and len(set(captions)) == 3505
    assert sum("skin tone" in text for text in captions) == 1875
