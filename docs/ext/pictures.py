# SPDX-License-Identifier: Apache-2.0
"""The pictures of the gallery: where each comes from, and what it shows."""

from typing import NamedTuple


class Picture(NamedTuple):
    """One picture in `docs/pictures`, made by `docs/gallery.py`."""

    #: The file that the example writes into its folder.
    file: str
    caption: str


PICTURES: dict[str, Picture] = {}
