# SPDX-License-Identifier: Apache-2.0
"""ISBI 2012: neurons in electron microscopy, with membranes outlined by hand."""

from pathlib import Path

import numpy as np

from jaxnn.data.mnist import Pair
from jaxnn.data.pictures import decoder
from jaxnn.data.published import Published, obtain

_SUMS = Path(__file__).with_name("isbi_em.sha256")  # as `sha256sum` writes them
MIRROR = (
    "https://raw.githubusercontent.com/zhixuhao/unet/"
    "b45af4d458437d8281cc218a07fd4380818ece4a/data/membrane/train/"
)


def isbi_em() -> Pair:
    """The ISBI 2012 challenge: sections of a fly's nerve cord, with membrane masks.

    One pair, not two: the challenge's test labels are not public, so hold out some of
    the thirty sections (neighbors in depth look alike, so hold out the last ones).
    The sixty files `image/0.png` to `label/29.png` are looked up in
    `$JAXNN_DATA/isbi-em`, then in the user's cache; otherwise they are downloaded
    (6 MB) into the cache.  They are checked by SHA-256.  Needs Pillow.

    Returns:
        `(images, masks)`: images float32 [30, 512, 512, 1] from 0 to 1; masks int32
        [30, 512, 512], 0 for membrane (22 % of the pixels) and 1 for cell.

    Raises:
        FileNotFoundError: if a file is not found; the error lists every place searched
            and what to do.
        ImportError: if Pillow is not installed.
        ValueError: if a file in `$JAXNN_DATA` is not what was published.

    Example:
        >>> from jaxnn.data import isbi_em
        >>> images, masks = isbi_em()  # doctest: +SKIP
        >>> images.shape, masks.shape  # doctest: +SKIP
        ((30, 512, 512, 1), (30, 512, 512))

    References:
        Cardona et al., An integrated micro- and macroarchitectural analysis of the
        Drosophila brain by computer-assisted serial section electron microscopy, PLoS
        Biology, 2010. Arganda-Carreras et al., Crowdsourcing the creation of image
        segmentation algorithms for connectomics, Frontiers in Neuroanatomy, 2015.
    """
    return load(files())


def files(mirror: str = MIRROR) -> list[Published]:
    """The published files, images first, as they are on a mirror.

    >>> [file.name for file in files()][:2]
    ['image/0.png', 'image/1.png']
    """
    lines = map(str.split, _SUMS.read_text().splitlines())
    return [
        Published("ISBI EM", "isbi-em", name, digest, (f"{mirror}{name}",))
        for digest, name in lines
    ]


def load(pictures: list[Published]) -> Pair:
    """The arrays of these files: the first half are images, the second half masks.

    Example:
        >>> from jaxnn.data.isbi_em import files, load
        >>> images, masks = load(files("https://example.org/em/"))  # doctest: +SKIP
    """
    decode = decoder("isbi_em", "PNG")
    pixels = np.stack([decode(obtain(file), file.name) for file in pictures])
    images, masks = np.split(pixels, 2)
    return np.divide(images[..., None], np.float32(255)), (masks > 127).astype(np.int32)
