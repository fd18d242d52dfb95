# SPDX-License-Identifier: Apache-2.0
"""Text data sets: plays for language models, film reviews, and translation pairs."""

import numpy as np

from jaxnn.data.published import Collection, github, obtain
from jaxnn.data.text import lines, read

TINY_SHAKESPEARE = Collection(
    "Tiny Shakespeare",
    "tiny-shakespeare",
    github(
        "karpathy/char-rnn",
        "6f9487a6fe5b420b7ca9afb0d7c078e37c1d1b4e",
        "master",
        folder="data/tinyshakespeare/",
    ),
)
RT_POLARITY = Collection(
    "rt-polarity",
    "rt-polarity",
    github(
        "dennybritz/cnn-text-classification-tf",
        "18762b4",
        "master",
        folder="data/rt-polaritydata/",
    ),
)
MULTI30K = Collection(
    "Multi30k",
    "multi30k",
    github("multi30k/dataset", "a3d2e0d", "master", folder="data/task1/raw/"),
)


def tiny_shakespeare() -> str:
    """Forty thousand lines of Shakespeare's plays, for character-level language models.

    The file `input.txt` is looked up in `$JAXNN_DATA/tiny-shakespeare`, then in the
    user's cache; otherwise it is downloaded (1 MB) into the cache. It is checked by
    SHA-256.

    Returns:
        The text: 1,115,394 characters, 65 distinct ones, all ASCII. By convention, the
        last tenth is for validation.

    Raises:
        FileNotFoundError: if it is not found; the error lists every place searched and
            what to do.
        ValueError: if the file in `$JAXNN_DATA` is not what was published.

    Example:
        >>> from jaxnn.data import tiny_shakespeare
        >>> tiny_shakespeare()[:14]  # doctest: +SKIP
        'First Citizen:'

    Reference:
        Karpathy, The unreasonable effectiveness of recurrent neural networks, 2015.
    """
    return read(obtain(TINY_SHAKESPEARE.file("input.txt")))


def rt_polarity() -> tuple[list[str], np.ndarray]:
    """Sentences from film reviews, half of them positive and half negative.

    There are 5,331 of each kind, in lower case, with words and punctuation separated by
    spaces. The negative ones come first, and there is no split: make one with
    `nn.data.split(..., stratify=labels)`.  The files `rt-polarity.neg` and
    `rt-polarity.pos` (in UTF-8) are found or downloaded (1 MB) as in
    `tiny_shakespeare`, in the folder `rt-polarity`.

    Returns:
        `(texts, labels)`: 10,662 sentences; int32 [10662], 0 negative and 1 positive.

    Raises:
        FileNotFoundError: if a file is not found; the error lists every place searched
            and what to do.
        ValueError: if a file in `$JAXNN_DATA` is not what was published.

    Example:
        >>> from jaxnn.data import rt_polarity
        >>> texts, labels = rt_polarity()  # doctest: +SKIP
        >>> len(texts), labels.mean()  # doctest: +SKIP
        (10662, 0.5)

    Reference:
        Pang and Lee, Seeing stars: exploiting class relationships for sentiment
        categorization with respect to rating scales, ACL 2005.
    """
    against, favor = (
        _lines(RT_POLARITY, f"rt-polarity.{kind}") for kind in ("neg", "pos")
    )
    labels = np.repeat(np.array([0, 1], np.int32), [len(against), len(favor)])
    return against + favor, labels


def multi30k() -> dict[str, tuple[list[str], list[str]]]:
    """Descriptions of photographs in German and English, for translation.

    Six files, such as `train.de.gz`, are found or downloaded (2 MB) as in
    `tiny_shakespeare`, in the folder `multi30k`.

    Returns:
        `{"train": (german, english), "val": ..., "test": ...}`: 29,000, 1,014 and 1,000
        pairs of sentences, as originally written; the test set is that of 2016.

    Raises:
        FileNotFoundError: if a file is not found; the error lists every place searched
            and what to do.
        ValueError: if a file in `$JAXNN_DATA` is not what was published.

    Example:
        >>> from jaxnn.data import multi30k
        >>> german, english = multi30k()["train"]  # doctest: +SKIP
        >>> english[0]  # doctest: +SKIP
        'Two young, White males are outside near many bushes.'

    Reference:
        Elliott, Frank, Sima'an and Specia, Multi30K: multilingual English-German image
        descriptions, 2016.
    """
    names = {"train": "train", "val": "val", "test": "test_2016_flickr"}
    return {
        split: (_side(name, "de"), _side(name, "en")) for split, name in names.items()
    }


def _side(name: str, language: str) -> list[str]:
    return _lines(MULTI30K, f"{name}.{language}.gz")


def _lines(texts: Collection, name: str) -> list[str]:
    return lines(read(obtain(texts.file(name))))
