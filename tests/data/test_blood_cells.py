"""BCCD: an archive from a server and from disk, a copy as arrays, and the real one."""

import hashlib
import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from jaxnn.data import bccd, blood_cells

NAMES = [f"BloodImage_{i:05}" for i in range(4)]
SPLIT = ["train", "val", "train", "test"]
BOXES = [[0, 1, 10, 20, 50, 60], [0, 0, 0, 0, 640, 480], [1, 2, 4, 4, 12, 14],
         [2, 0, 7, 7, 7, 7], [3, 0, 100, 100, 300, 200]]  # fmt: skip


def photograph(shade):
    content = io.BytesIO()
    Image.new("RGB", (640, 480), (shade, 0, 255)).save(content, "JPEG")
    return content.getvalue()


FILES = [photograph(shade) for shade in (0, 80, 160, 240)]


def note(i):
    """An annotation in Pascal VOC's XML, as in the archive."""
    things = "".join(
        f"\t<object>\n\t\t<name>{blood_cells.CLASSES[c]}</name>\n"
        "\t\t<pose>Unspecified</pose>\n\t\t<bndbox>\n"
        f"\t\t\t<xmin>{x0}</xmin>\n\t\t\t<ymin>{y0}</ymin>\n"
        f"\t\t\t<xmax>{x1}</xmax>\n\t\t\t<ymax>{y1}</ymax>\n"
        "\t\t</bndbox>\n\t</object>\n"
        for k, c, x0, y0, x1, y1 in BOXES
        if k == i
    )
    name = f"<filename>{NAMES[i]}.jpg</filename>"
    return f"<annotation>\n\t{name}\n{things}</annotation>\n"


def archive(files=FILES, notes=note):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        file.writestr("BCCD_Dataset-master/README.md", "Blood cells.")
        for i in reversed(range(4)):
            root = "BCCD_Dataset-master/BCCD"
            file.writestr(f"{root}/JPEGImages/{NAMES[i]}.jpg", files[i])
            file.writestr(f"{root}/Annotations/{NAMES[i]}.xml", notes(i))
        for split in ("train", "val", "test"):
            own = [n for n, s in zip(NAMES, SPLIT, strict=True) if s == split]
            file.writestr(f"{root}/ImageSets/Main/{split}.txt", "\n".join(own) + "\n")
    return content.getvalue()


@pytest.fixture(autouse=True)
def made(monkeypatch):
    """The digest of the made photographs in place of that of the real ones."""
    every = b"".join(FILES) + np.array(BOXES, "<i4").tobytes()
    digest = hashlib.sha256(every).hexdigest()
    monkeypatch.setattr(blood_cells, "BCCD", blood_cells.BCCD._replace(sha256=digest))


def check():
    images, targets = bccd("train")
    assert images.shape == (2, 240, 320, 3) and images.dtype == np.float32
    np.testing.assert_allclose(images.mean((1, 2))[:, 0], [0, 160 / 255], atol=0.02)
    assert targets["boxes"].tolist() == [[[5, 10, 25, 30], [0, 0, 320, 240]],
                                         [[0, 0, 0, 0]] * 2]  # fmt: skip
    assert targets["classes"].tolist() == [[1, 0], [-1, -1]]
    images, targets = bccd("val", shrink=1)
    assert images.shape == (1, 480, 640, 3)
    assert targets["boxes"][0, 0].tolist() == [4, 4, 12, 14]


def put(nowhere, name, content):
    folder = nowhere[0] / "bccd"
    folder.mkdir(parents=True)
    (folder / name).write_bytes(content)


def test_the_archive_is_downloaded_once(server, monkeypatch):
    server.files["BCCD_Dataset.zip"] = archive()
    own = blood_cells.BCCD._replace(urls=server.urls("BCCD_Dataset.zip", "good"))
    monkeypatch.setattr(blood_cells, "BCCD", own)
    check()
    server.files.clear()
    check()


def test_a_copy_as_arrays_is_read(nowhere):
    content, ends = io.BytesIO(), np.cumsum([0, *map(len, FILES)])
    jpeg = np.frombuffer(b"".join(FILES), np.uint8)
    np.savez(content, jpeg=jpeg, offsets=ends, boxes=np.array(BOXES), split=SPLIT)
    put(nowhere, "bccd.npz", content.getvalue())
    check()


@pytest.mark.parametrize(
    "content, text",
    [
        (b"no zip at all", "cannot be read"),
        (archive(FILES[::-1]), "holds other photographs or boxes"),
        (archive(notes=lambda i: note(i).replace("RBC", "XYZ")), "cannot be read"),
        (archive(notes=lambda i: note(i).replace(">10<", ">11<")), "holds other"),
    ],
)
def test_a_wrong_archive_is_refused(nowhere, content, text):
    put(nowhere, "BCCD_Dataset.zip", content)
    with pytest.raises(ValueError, match=text):
        bccd()


def test_wrong_arguments_are_answered():
    with pytest.raises(ValueError, match=r"split must be one of .* got 'all'"):
        bccd("all")
    with pytest.raises(ValueError, match=r"shrink must divide 480 and 640.*got 7"):
        bccd(shrink=7)


@pytest.mark.needs("bccd")
def test_the_real_photographs():
    total = 0
    for split, n in blood_cells.SPLITS.items():
        images, targets = bccd(split, shrink=4)
        assert images.shape == (n, 120, 160, 3) and targets["boxes"].shape[1:] == (
            30,
            4,
        )
        total += (targets["classes"] >= 0).sum()
    assert total == 4888 - 2
