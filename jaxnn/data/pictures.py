# SPDX-License-Identifier: Apache-2.0
"""Pictures in common formats as arrays, through Pillow."""

from collections.abc import Callable
from typing import Any

import numpy as np


def decoder(owner: str, kind: str) -> Callable[[Any, str], np.ndarray]:
    """A function from an open file (or a path) and its name to its uint8 pixels.

    Args:
        owner: who needs it, in messages.
        kind: the only format that is taken, "PNG" or "JPEG".

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
                return np.asarray(picture)
        except (OSError, SyntaxError) as error:
            raise ValueError(f"{owner}: {name} is no good {kind}: {error}") from error

    return decode
