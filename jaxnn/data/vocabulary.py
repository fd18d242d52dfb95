# SPDX-License-Identifier: Apache-2.0
"""The base of vocabularies: text as ids and back, with special tokens."""

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from jaxnn.files.places import replacing
from jaxnn.inputs.arrays import plain

SPECIALS = ("pad", "unknown", "begin", "end")
FORMAT = "jaxnn vocabulary 1"


class Vocabulary(ABC):
    """Base class of vocabularies, which map tokens to ids.

    Attributes:
        kind: "characters", "words", "byte pairs" or "pretrained".
        specials: the names of its special tokens. Their ids are 0, 1, ..., or those of
            the files if it is pretrained.
        pad, unknown, begin, end: their ids, or None if the vocabulary lacks them.
    """

    kind: ClassVar[str]
    pad: int | None
    unknown: int | None
    begin: int | None
    end: int | None

    def __init__(self, specials: Sequence[str]):
        self.specials = checked_specials(type(self).__name__, specials)
        for name in SPECIALS:
            present = name in self.specials
            setattr(self, name, self.specials.index(name) if present else None)

    @abstractmethod
    def __len__(self) -> int:
        """The number of ids, including special ones."""

    def encode(
        self, text: str, *, begin: bool = False, end: bool = False
    ) -> np.ndarray:
        """The ids of a text.

        Args:
            text: any string.
            begin, end: whether to add that special token at the beginning or end.

        Returns:
            int32 [T].

        Raises:
            ValueError: if a part of the text is not in the vocabulary, and the
                vocabulary has no token `unknown`; the error names the part.
        """
        if not isinstance(text, str):
            raise TypeError(
                f"encode: text must be a str, got {type(text).__name__}; of several "
                "encode each"
            )
        first = [self._special("begin")] if begin else []
        last = [self._special("end")] if end else []
        return np.array([*first, *self._encode(text), *last], np.int32)

    def decode(self, ids: ArrayLike) -> str:
        """The text of ids [T]; skips `pad`, `begin` and `end`, and `unknown` gives �.

        Raises:
            ValueError: if an id is outside the vocabulary.
        """
        values = plain("decode: ids", ids)
        if values.ndim != 1 or (values.size and values.dtype.kind not in "iu"):
            raise ValueError(
                f"decode: ids must be integers [T], got {values.dtype}"
                f"{list(values.shape)}; decode a batch row by row"
            )
        bad = (values < 0) | (values >= len(self))
        if bad.any():
            raise ValueError(
                f"decode: ids must be from 0 to {len(self) - 1}, got "
                f"{values[bad][0]} at place {int(bad.argmax())}"
            )
        silent = {i for i in (self.pad, self.begin, self.end) if i is not None}
        return self._decode([i for i in values.tolist() if i not in silent])

    def save(self, path: str | Path) -> None:
        """Writes the vocabulary to a JSON file, for `nn.data.text.load`."""
        head = {"format": FORMAT, "kind": self.kind, "specials": self.specials}
        content = json.dumps(head | self._content(), ensure_ascii=False, indent=0)
        with replacing(path, "vocabulary.save") as beside:
            beside.write_bytes(content.encode())

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Vocabulary)
            and (self.kind, self.specials) == (other.kind, other.specials)
            and self._content() == other._content()
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return (
            f"<{len(self)} {self.kind}, special: {', '.join(self.specials) or 'none'}>"
        )

    def _special(self, name: str) -> int:
        if name not in self.specials:
            raise ValueError(
                f"encode: {name}=True needs the special token {name!r}, got specials="
                f"{self.specials}; build the vocabulary with it"
            )
        return getattr(self, name)

    @abstractmethod
    def _encode(self, text: str) -> list[int]: ...

    @abstractmethod
    def _decode(self, ids: list[int]) -> str: ...

    @abstractmethod
    def _content(self) -> dict[str, Any]:
        """What a file stores besides its kind and special tokens."""


def checked_specials(owner: str, specials: Sequence[str]) -> tuple[str, ...]:
    """The names of special tokens, in the order of `SPECIALS`."""
    names = tuple(specials)
    if isinstance(specials, str) or not set(names) <= set(SPECIALS):
        raise ValueError(f"{owner}: specials must be of {SPECIALS}, got {specials!r}")
    # (so that `pad` is 0 if present)
    return tuple(name for name in SPECIALS if name in names)


def tokenizers_for(owner: str) -> Any:
    """The package `tokenizers`, or an error that says who needs it."""
    try:
        import tokenizers
    except ImportError as error:
        raise ImportError(
            f"{owner} needs tokenizers: python -m pip install tokenizers"
        ) from error
    return tokenizers
