# SPDX-License-Identifier: Apache-2.0
"""Text as ids and back: vocabularies of characters, words, byte pairs, or from files.

`encode(text)` gives ids, `decode(ids)` gives text, and `len` is the number of ids.
`pad`, `unknown`, `begin` and `end` are attributes with the ids of the special tokens,
or None.  Those that you request come first, so that `pad` is 0 and you can pad with 0;
`gpt2` and `bert` have the ids of their files.
"""

import json
import re
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from jaxnn.data.checks import positive
from jaxnn.data.tokenizer_files import Pretrained as Pretrained
from jaxnn.data.tokenizer_files import bert as bert
from jaxnn.data.tokenizer_files import gpt2 as gpt2
from jaxnn.data.vocabulary import (
    FORMAT,
    SPECIALS,
    checked_specials,
    tokenizers_for,
)
from jaxnn.data.vocabulary import Vocabulary as Vocabulary
from jaxnn.files.places import place

WORD = r"\w+(?:['’-]\w+)*|[^\w\s]"  # noqa: RUF001 (a typographic apostrophe)


def read(path: str | Path) -> str:
    """Reads a UTF-8 text file, decompressing it if it is a gzip file.

    Line endings become `\\n`, and a byte-order mark is dropped.

    Raises:
        ValueError: if the file is empty or not UTF-8, with the position of the first
            invalid byte.

    Example:
        >>> import pathlib, tempfile
        >>> from jaxnn.data import text
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder, "song.txt")
        ...     _ = path.write_bytes("Ein Mädchen\\r\\noder Weibchen".encode())
        ...     text.read(path)
        'Ein Mädchen\\noder Weibchen'
    """
    content = place(path, "text.read").read_bytes()
    if content[:2] == b"\x1f\x8b":
        content = _unzip(content, path)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"text.read: {path} is not UTF-8: byte {error.start} (line {line}) is "
            f"0x{content[error.start]:02x}; save it as UTF-8"
        ) from error
    if not text.strip():
        raise ValueError(f"text.read: {path} is empty ({len(content)} bytes)")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _unzip(content: bytes, path: str | Path) -> bytes:
    import gzip
    import zlib

    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(
            f"text.read: {path} is not a complete gzip file: {error}"
        ) from error


def lines(text: str) -> list[str]:
    """The lines of a text, each stripped of surrounding white space.

    Only `\\n` ends a line: `str.splitlines` also splits at characters that occur within
    sentences, such as U+0085, so that parallel texts are no longer parallel.

    >>> lines("one\\ntwo \\x85 three\\n")
    ['one', 'two \\x85 three']
    """
    return [line.strip() for line in text.removesuffix("\n").split("\n")]


class _Table(Vocabulary):
    """A vocabulary that is a list of tokens."""

    def __init__(self, tokens: Sequence[str], specials: Sequence[str]):
        super().__init__(specials)
        self.tokens = list(tokens)

    def __len__(self) -> int:
        return len(self.specials) + len(self.tokens)

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {t: i for i, t in enumerate(self.tokens, len(self.specials))}

    def _encode(self, text: str) -> list[int]:
        ids, unknown = self._ids, self.unknown
        parts = self._split(text)
        if unknown is not None:
            return [ids.get(part, unknown) for part in parts]
        try:
            return [ids[part] for part in parts]
        except KeyError as error:
            raise ValueError(
                f"encode: {error.args[0]!r} is none of the {len(self)} {self.kind}; "
                "build the vocabulary from all texts, or with the special token "
                "'unknown'"
            ) from None

    def _decode(self, ids: list[int]) -> str:
        start = len(self.specials)
        return self._join(["�" if i < start else self.tokens[i - start] for i in ids])

    def _content(self) -> dict[str, Any]:
        return {"tokens": self.tokens}

    @abstractmethod
    def _split(self, text: str) -> Sequence[str]: ...

    @abstractmethod
    def _join(self, parts: list[str]) -> str: ...


class Characters(_Table):
    """A vocabulary of characters; see `characters`."""

    kind = "characters"

    def _split(self, text: str) -> Sequence[str]:
        return text

    def _join(self, parts: list[str]) -> str:
        return "".join(parts)


class Words(_Table):
    """A vocabulary of words; see `words`."""

    kind = "words"

    def __init__(
        self, tokens: Sequence[str], specials: Sequence[str], lower: bool, pattern: str
    ):
        super().__init__(tokens, specials)
        self.lower, self.pattern = lower, pattern

    def _split(self, text: str) -> Sequence[str]:
        return _words(text, self.lower, self.pattern)

    def _join(self, parts: list[str]) -> str:
        return " ".join(parts)

    def _content(self) -> dict[str, Any]:
        options = {"lower": self.lower, "pattern": self.pattern}
        return options | super()._content()


class BytePairs(Vocabulary):
    """A vocabulary of byte pairs; see `byte_pairs`."""

    kind = "byte pairs"

    def __init__(self, model: str, specials: Sequence[str]):
        super().__init__(specials)
        # Special tokens stay out of the model, which would find "<pad>" in a text.
        library = tokenizers_for("byte_pairs")
        self.tokenizer = library.Tokenizer.from_str(model)

    def __len__(self) -> int:
        return len(self.specials) + self.tokenizer.get_vocab_size()

    def _encode(self, text: str) -> list[int]:
        start = len(self.specials)
        return [start + i for i in self.tokenizer.encode(text).ids]

    def _decode(self, ids: list[int]) -> str:
        start = len(self.specials)
        return self.tokenizer.decode([i - start for i in ids if i >= start])

    def _content(self) -> dict[str, Any]:
        return {"model": json.loads(self.tokenizer.to_str())}


def characters(
    texts: str | Iterable[str],
    *,
    min_count: int = 1,
    size: int | None = None,
    specials: Sequence[str] = (),
) -> Characters:
    """Builds a vocabulary of the characters in texts, ordered by code point.

    Args:
        texts: the texts to build it from.
        min_count: how often a character must occur to be included.
        size: the maximum number of ids, including special ones; the most frequent
            characters are kept.
        specials: any of "pad", "unknown", "begin" and "end"; by default none.

    Raises:
        ValueError: if there are no characters, or an option is out of range.

    Example:
        >>> from jaxnn.data import text
        >>> vocabulary = text.characters("hello world")
        >>> len(vocabulary), vocabulary.encode("hold")
        (8, array([3, 5, 4, 1], dtype=int32))
        >>> vocabulary.decode([3, 2, 4, 4, 5])
        'hello'
    """
    counts = Counter(character for text in _texts(texts) for character in text)
    tokens = _frequent("characters", counts, min_count, size, specials)
    return Characters(sorted(tokens), specials)


def words(
    texts: str | Iterable[str],
    *,
    min_count: int = 1,
    size: int | None = None,
    specials: Sequence[str] = SPECIALS,
    lower: bool = True,
    pattern: str = WORD,
) -> Words:
    """Builds a vocabulary of words and punctuation marks, the most frequent first.

    Args:
        texts: the texts to build it from.
        min_count: how often a word must occur to be included.
        size: the maximum number of ids, including special ones; the most frequent words
            are kept.
        specials: any of "pad", "unknown", "begin" and "end"; by default all.
        lower: whether to convert the texts to lower case.
        pattern: a regular expression for one word; r"\\S+" splits only at white space.

    Raises:
        ValueError: if there are no words, or an option is out of range.

    Example:
        >>> from jaxnn.data import text
        >>> vocabulary = text.words(["A dog runs.", "The dog sleeps."])
        >>> ids = vocabulary.encode("The cat sleeps.", end=True)
        >>> ids, vocabulary.decode(ids)
        (array([9, 1, 8, 4, 3], dtype=int32), 'the � sleeps .')
    """
    counts = Counter(w for text in _texts(texts) for w in _words(text, lower, pattern))
    tokens = _frequent("words", counts, min_count, size, specials)
    return Words(tokens, specials, lower, pattern)


def byte_pairs(
    texts: str | Iterable[str],
    size: int,
    *,
    min_count: int = 2,
    specials: Sequence[str] = SPECIALS,
) -> BytePairs:
    """Byte-pair encoding: frequent words stay whole, rare ones are split into parts.

    Bytes are merged, the most frequent pair first, until there are `size` ids. Any text
    can be encoded and is decoded exactly. Needs the package `tokenizers`.

    Args:
        texts: the texts to train on.
        size: the number of ids, including special ones; at least 256 more than those.
        min_count: how often a pair must occur to be merged.
        specials: any of "pad", "unknown", "begin" and "end"; by default all. No input
            ever maps to `unknown`.

    Raises:
        ImportError: if `tokenizers` is not installed.
        ValueError: if `size` is too small, or there is no text.

    Example:
        >>> from jaxnn.data import text
        >>> vocabulary = text.byte_pairs(["low lower lowest"] * 9, 264)
        >>> ids = vocabulary.encode("lower?")
        >>> len(ids), vocabulary.decode(ids)
        (4, 'lower?')

    Reference:
        Sennrich, Haddow and Birch, Neural machine translation of rare words with
        subword units, ACL 2016.
    """
    library = tokenizers_for("byte_pairs")
    specials = checked_specials("byte_pairs", specials)
    learned = positive("byte_pairs", "size", size) - len(specials)
    if learned < 256:
        raise ValueError(
            f"byte_pairs: size must be at least {256 + len(specials)}, one id a byte "
            f"and {len(specials)} special tokens, got {size}"
        )
    texts = list(_texts(texts))
    if not any(texts):
        raise ValueError("byte_pairs: texts must hold at least one word, got none")
    bytes_ = library.pre_tokenizers.ByteLevel
    model = library.Tokenizer(library.models.BPE())
    model.pre_tokenizer = bytes_(add_prefix_space=False)
    model.decoder = library.decoders.ByteLevel()
    trainer = library.trainers.BpeTrainer(
        vocab_size=learned,
        min_frequency=positive("byte_pairs", "min_count", min_count),
        initial_alphabet=sorted(bytes_.alphabet()),
        show_progress=False,
    )
    model.train_from_iterator(texts, trainer)
    return BytePairs(model.to_str(), specials)


def load(path: str | Path) -> Vocabulary:
    """Loads a vocabulary that `Vocabulary.save` wrote.

    Raises:
        ValueError: if the file is not such a vocabulary.

    Example:
        >>> import pathlib, tempfile
        >>> from jaxnn.data import text
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder, "letters.json")
        ...     text.characters("abc").save(path)
        ...     text.load(path)
        <3 characters, special: none>
    """
    stored = place(path, "text.load").read_bytes()
    try:
        content = json.loads(stored.decode("utf-8"))
        if content.pop("format") != FORMAT:
            raise ValueError("another format")
        kinds = {cls.kind: cls for cls in (Characters, Words, BytePairs, Pretrained)}
        kind = kinds[content.pop("kind")]
        if "model" in content:
            content["model"] = json.dumps(content["model"])
        return kind(**content)
    except Exception as error:  # also from `re` and from tokenizers
        raise ValueError(
            f"text.load: {path} is not a vocabulary that jaxnn saved: {error}"
        ) from error


def _texts(texts: str | Iterable[str]) -> Iterable[str]:
    return [texts] if isinstance(texts, str) else texts


def _words(text: str, lower: bool, pattern: str) -> list[str]:
    return re.findall(pattern, text.lower() if lower else text)


def _frequent(
    owner: str,
    counts: Counter[str],
    min_count: int,
    size: int | None,
    specials: Sequence[str],
) -> list[str]:
    """The tokens that are frequent enough, the most frequent first."""
    least = positive(owner, "min_count", min_count)
    taken = len(checked_specials(owner, specials))
    room = None if size is None else max(positive(owner, "size", size) - taken, 0)
    kept = [token for token, count in counts.items() if count >= least]
    kept = sorted(kept, key=lambda token: (-counts[token], token))[:room]
    if not kept:
        raise ValueError(
            f"{owner}: no token is left of {len(counts)} in the texts, with min_count="
            f"{min_count}, size={size} and {taken} special tokens"
        )
    return kept
