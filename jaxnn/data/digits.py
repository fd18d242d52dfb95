# SPDX-License-Identifier: Apache-2.0
"""1,797 real handwritten digits that ship with the library, without a download."""

from pathlib import Path

import numpy as np

from jaxnn.data.archives import read_npz

_FILE = Path(__file__).with_name("digits.npz")
_LARGEST = 1 << 20  # bytes of all its arrays, unpacked


def digits() -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Scikit-learn's 8x8 digits, as (images, labels) for training and for testing.

    The split is fixed: the file stores the indices of both sets, drawn once, with the
    ten classes in the same proportion in each. Both sets hold digits by the same 13
    writers, so the test measures generalization to new digits, not to new writers.

    Returns:
        `(images, labels), (images, labels)`: 1,437 training and 360 test examples;
        images float32 [N, 8, 8, 1] from 0 to 1, labels int32 [N] from 0 to 9. Every
        call returns new arrays.

    Example:
        >>> from jaxnn.data import digits
        >>> (images, labels), test = digits()
        >>> images.shape, labels[:5].tolist(), test[0].shape
        ((1437, 8, 8, 1), [0, 1, 4, 5, 6], (360, 8, 8, 1))

    Reference:
        Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI Machine
        Learning Repository, 1998, https://doi.org/10.24432/C50P49 (CC BY 4.0); see
        `DIGITS_ATTRIBUTION.md` next to this file.
    """
    names = ("images", "labels", "train", "test")
    try:
        images, labels, train, test = read_npz(_FILE, names, _LARGEST)
    except ValueError as error:
        raise ValueError(f"digits: {_FILE} {error}; reinstall jaxnn") from error
    images = images[..., np.newaxis].astype(np.float32) / 16
    labels = labels.astype(np.int32)
    return (images[train], labels[train]), (images[test], labels[test])
