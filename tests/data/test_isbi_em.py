# SPDX-License-Identifier: Apache-2.0
"""The membranes: real files, a server, and what is refused."""

import io
import sys
from hashlib import sha256

import numpy as np
import pytest

from jaxnn.data import isbi_em
from jaxnn.data.isbi_em import MIRROR, files, load

pytest.importorskip("PIL")


@pytest.fixture
def places(nowhere):
    """The folder of the set in an empty `$JAXNN_DATA` and in an empty cache."""
    data, cache = nowhere
    return data / "isbi-em", cache / "isbi-em"


def png(pixels):
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def small(server):
    """Two sections of 4x6 and their masks: the files, and the pixels in them."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (2, 4, 6), np.uint8)
    masks = rng.integers(0, 2, (2, 4, 6), np.uint8) * np.uint8(255)
    names = [file.name for file in files()]
    names = [*names[:2], *names[30:32]]
    published = []
    for name, pixels in zip(names, [*images, *masks], strict=True):
        flat = name.replace("/", "-")  # (the test server knows no folders)
        server.files[flat] = png(pixels)
        digest = sha256(server.files[flat]).hexdigest()
        url = tuple(server.urls(flat, "good"))
        published.append(files()[0]._replace(name=name, sha256=digest, urls=url))
    return published, images, masks


def assert_loaded(loaded, images, masks):
    expected = images[..., None].astype(np.float32) / 255
    np.testing.assert_array_equal(loaded[0], expected, strict=True)
    np.testing.assert_array_equal(loaded[1], np.int32(masks == 255), strict=True)


def test_files_are_downloaded_once(small, places, server):
    for _ in range(2):
        assert_loaded(load(small[0]), *small[1:])
    assert len(server.seen) == 4
    assert (places[1] / "label" / "1.png").is_file()


def test_files_of_the_user_are_read(small, places, server):
    for file in small[0]:
        path = places[0] / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(server.files[file.name.replace("/", "-")])
    assert_loaded(load(small[0]), *small[1:])
    assert server.seen == []


def test_a_file_that_is_not_the_published_one_is_refused(small, places):
    path = places[0] / "image" / "0.png"
    path.parent.mkdir(parents=True)
    path.write_bytes(png(small[1][1]))
    with pytest.raises(ValueError, match=f"ISBI EM: {path} is not the file meant"):
        load(small[0])


def test_the_error_says_where_the_file_should_be(small, server):
    server.files.clear()
    with pytest.raises(FileNotFoundError, match=r"image/0\.png is nowhere") as caught:
        load(small[0])
    assert "    isbi-em/image/0.png" in str(caught.value).splitlines()


def test_pillow_is_asked_for_when_it_is_missing(small, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(
        ImportError, match="isbi_em needs Pillow: python -m pip install"
    ):
        load(small[0])


def test_the_published_files_are_sixty():
    published = files()
    names = [f"{kind}/{i}.png" for kind in ("image", "label") for i in range(30)]
    assert [file.name for file in published] == names
    assert all(file.urls == (MIRROR + file.name,) for file in published)
    assert len({file.sha256 for file in published}) == 60


@pytest.mark.needs("isbi-em")
def test_the_real_membranes():
    images, masks = isbi_em()
    assert images.shape == (30, 512, 512, 1) and images.dtype == np.float32
    assert masks.shape == (30, 512, 512) and masks.dtype == np.int32
    assert images.min() == 0 and images.max() == 1 and set(np.unique(masks)) == {0, 1}
    assert abs((masks == 0).mean() - 0.22) < 0.005
    # membranes are dark: the masks lie on their images
    dark = [images[i, ..., 0][masks[i] == 0].mean() for i in range(30)]
    light = [images[i, ..., 0][masks[i] == 1].mean() for i in range(30)]
    assert (np.array(dark) < np.array(light) - 0.1).all()
