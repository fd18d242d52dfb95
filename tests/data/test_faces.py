"""The ORL faces: an archive from a server and from disk, a copy, and the real ones."""

import hashlib
import io
import zipfile

import numpy as np
import pytest

from jaxnn.data import faces, orl_faces

IMAGES = np.random.default_rng(0).integers(0, 256, (400, 112, 92), np.uint8)


def archive(images=IMAGES, header=b"P5\n92 112\n255\n"):
    """A zip of the pictures, as s1/1.pgm to s40/10.pgm, in no order."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        file.writestr("README", "Credit Olivetti Research Laboratory.")
        for i in reversed(range(len(images))):
            name = f"att_faces/s{i // 10 + 1}/{i % 10 + 1}.pgm"
            file.writestr(name, header + images[i].tobytes())
    return content.getvalue()


@pytest.fixture(autouse=True)
def made(monkeypatch):
    """The digest of the made pictures in place of that of the real ones."""
    digest = hashlib.sha256(IMAGES.tobytes()).hexdigest()
    monkeypatch.setattr(faces, "ORL_FACES", faces.ORL_FACES._replace(sha256=digest))


def check(found):
    images, people, takes = found
    np.testing.assert_allclose(images[..., 0] * 255, IMAGES, rtol=1e-6)
    assert images.shape == (400, 112, 92, 1) and images.dtype == np.float32
    assert people.tolist() == [i // 10 for i in range(400)]
    assert takes.tolist() == [i % 10 + 1 for i in range(400)]


def put(nowhere, name, content):
    folder = nowhere[0] / "orl-faces"
    folder.mkdir(parents=True)
    (folder / name).write_bytes(content)


def test_the_archive_is_downloaded_once(server, monkeypatch):
    server.files["att_faces.zip"] = archive()
    own = faces.ORL_FACES._replace(urls=server.urls("att_faces.zip", "good"))
    monkeypatch.setattr(faces, "ORL_FACES", own)
    check(orl_faces())
    server.files.clear()
    check(orl_faces())


def test_other_pictures_from_a_server_are_refused(server, monkeypatch):
    server.files["att_faces.zip"] = archive(255 - IMAGES)
    own = faces.ORL_FACES._replace(urls=server.urls("att_faces.zip", "good"))
    monkeypatch.setattr(faces, "ORL_FACES", own)
    with pytest.raises(FileNotFoundError, match="holds other pictures"):
        orl_faces()


def test_an_archive_with_comments_in_its_pictures_is_read(nowhere):
    header = b"P5\n# made by a scanner\n92 112\n255\n"
    put(nowhere, "att_faces.zip", archive(header=header))
    check(orl_faces())


def test_a_copy_as_arrays_is_read(nowhere):
    content, numbers = io.BytesIO(), np.arange(400)
    np.savez(content, images=IMAGES, labels=numbers // 10, take=numbers % 10 + 1)
    put(nowhere, "orl_faces.npz", content.getvalue())
    check(orl_faces())


@pytest.mark.parametrize(
    "content, text",
    [
        (b"no zip at all", "cannot be read"),
        (archive(IMAGES[:390]), "has 390 pictures s1/1.pgm, ..., of the 400"),
        (archive(header=b"P5\n92 113\n255\n"), "a picture is no PGM of 92x112"),
        (archive(header=b""), "a picture is no PGM of 92x112"),
        (archive(255 - IMAGES), "holds other pictures"),
    ],
)
def test_a_wrong_archive_is_refused(nowhere, content, text):
    put(nowhere, "att_faces.zip", content)
    with pytest.raises(ValueError, match=text):
        orl_faces()


def test_a_wrong_copy_is_refused(nowhere):
    content = io.BytesIO()
    np.savez(content, images=IMAGES[:3], labels=np.arange(3), take=np.arange(3))
    put(nowhere, "orl_faces.npz", content.getvalue())
    with pytest.raises(ValueError, match=r"uint8 images \[400, 112, 92\], got"):
        orl_faces()


@pytest.mark.needs("orl-faces")
def test_the_real_faces(monkeypatch):
    images, people, _ = orl_faces()
    assert images.shape == (400, 112, 92, 1) and 0.4 < images.mean() < 0.5
    assert np.bincount(people).tolist() == [10] * 40
    pixels = (images[..., 0] * 255).round().astype(np.uint8)
    known = "2e4844a9f4fa4397058f69d6208047170f2e9d399cda18b55c1e8d28f0a83431"
    assert hashlib.sha256(pixels.tobytes()).hexdigest() == known
