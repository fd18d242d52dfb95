# SPDX-License-Identifier: Apache-2.0
"""Make the pictures of the gallery small: `python docs/gallery.py FOLDER`.

`FOLDER` holds a folder for each example, as the examples leave them in `out/`. Which
picture is taken, and what it shows, is in `docs/ext/pictures.py`.
"""

import argparse
import sys
from pathlib import Path

from PIL import Image

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE)]

from ext.pictures import PICTURES  # noqa: E402

WIDEST = 800  # pixels
MOST = 60_000  # bytes


def shrink(source: Path, target: Path) -> int:
    """Write a picture with fewer pixels, and as well as its size allows."""
    image = Image.open(source).convert("RGB")
    width = min(WIDEST, image.width)
    size = width, round(image.height * width / image.width)
    smaller = image.resize(size, Image.Resampling.LANCZOS)
    for quality in range(85, 0, -5):
        smaller.save(target, quality=quality, method=6)
        if target.stat().st_size <= MOST:
            break
    return target.stat().st_size


def main() -> None:
    """Take the pictures that are in the folder; the others stay as they are."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    (HERE / "pictures").mkdir(exist_ok=True)
    for name, picture in PICTURES.items():
        source = folder / name / picture.file
        if source.exists():
            size = shrink(source, HERE / "pictures" / f"{name}.webp")
            print(f"{name:20} {size / 1000:5.1f} KB")


if __name__ == "__main__":
    main()
