# SPDX-License-Identifier: Apache-2.0
"""Image files as arrays, read with Pillow."""

from collections.abc import Callable
from typing import Any

import numpy as np

_PIXELS = 1 << 20  # limit per image; most of those of the data sets have a quarter


def decoder(
    owner: str, kind: str, *, mode: str | None = None, pixels: int = _PIXELS
) -> Callable[[Any, str], np.ndarray]:
    """A function from an open file (or a path) and its name to its uint8 pixels.

    Args:
        owner: the function that needs it, for messages.
        kind: the only format that is accepted, "PNG" or "JPEG".
        mode: to convert to, such as "RGBA"; None for that of the file.
        pixels: the most that a picture can have.

    Raises:
        ImportError: if Pillow is not installed.

    Example:
        >>> from jaxnn.data.pictures import decoder
        >>> decoder("mine", "PNG")("scan.png", "the scan").shape  # doctest: +SKIP
        (512, 512)
    """
    try:
        from PIL import Image
    except ImportError as error:
        hint = f"{owner} needs Pillow: python -m pip install pillow"
        raise ImportError(hint) from error

    def decode(source: Any, name: str) -> np.ndarray:
        try:
            with Image.open(source, formats=[kind]) as picture:
                width, height = picture.size
                if width * height > pixels:
                    raise ValueError(
                        f"{width} x {height} are more pixels than any picture has"
                    )
                return np.asarray(picture.convert(mode) if mode else picture)
        # of many kinds: OSError, SyntaxError, zlib.error ...
        except Exception as error:
            raise ValueError(
                f"{owner}: {name} is not a readable {kind}: {error}; put a good copy "
                "in its place, or delete it"
            ) from error

    return decode
