# SPDX-License-Identifier: Apache-2.0
"""Published tokenizer files: those of GPT-2 and of BERT."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jaxnn.data.vocabulary import Vocabulary, tokenizers_for
from jaxnn.files.places import place
from jaxnn.messages.arguments import answered


class Pretrained(Vocabulary):
    """A vocabulary of a published network, with its ids; see `gpt2` and `bert`."""

    kind = "pretrained"

    def __init__(self, model: str, specials: Mapping[str, int]):
        super().__init__(tuple(specials))
        for name, number in specials.items():
            setattr(self, name, number)
        self.tokenizer = tokenizers_for("Pretrained").Tokenizer.from_str(model)

    def __len__(self) -> int:
        return self.tokenizer.get_vocab_size()

    def _encode(self, text: str) -> list[int]:
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def _decode(self, ids: list[int]) -> str:
        return self.tokenizer.decode(ids, skip_special_tokens=False)

    def _content(self) -> dict[str, Any]:
        numbers = {name: getattr(self, name) for name in self.specials}
        model = json.loads(self.tokenizer.to_str())
        return {"model": model, "specials": numbers}


@answered
def gpt2(vocabulary: str | Path, merges: str | Path) -> Pretrained:
    """The byte pairs of GPT-2, from its files `vocab.json` and `merges.txt`.

    Any text can be encoded and is decoded exactly. `begin` and `end` are both its
    token <|endoftext|>. Needs the package `tokenizers`.

    Args:
        vocabulary: the file `vocab.json`, from each token to its id.
        merges: the file `merges.txt`, a pair of tokens a line, in the order in which
            they are merged.

    Raises:
        ImportError: `tokenizers` is not installed.
        FileNotFoundError: a file is not there.
        ValueError: a file is not such a file; the error says which and why.

    Example:
        >>> from jaxnn.data import text
        >>> tokens = text.gpt2("vocab.json", "merges.txt")  # doctest: +SKIP
        >>> tokens.encode("Hello world")  # doctest: +SKIP
        array([15496,   995], dtype=int32)

    Reference:
        Radford et al., Language Models are Unsupervised Multitask Learners, 2019.
    """
    library = tokenizers_for("text.gpt2")
    files = [_file("text.gpt2", path) for path in (vocabulary, merges)]
    bytes_ = library.pre_tokenizers.ByteLevel
    model = _read("text.gpt2", files, lambda: library.models.BPE.from_file(*files))
    made = library.Tokenizer(model)
    made.pre_tokenizer = bytes_(add_prefix_space=False)
    made.decoder = library.decoders.ByteLevel()
    marks = {"begin": "<|endoftext|>", "end": "<|endoftext|>"}
    return _with_specials("text.gpt2", made, files[0], marks)


@answered
def bert(vocabulary: str | Path, *, lower: bool = True) -> Pretrained:
    """The word pieces of BERT, from its file `vocab.txt`.

    `pad`, `unknown`, `begin` and `end` are its tokens [PAD], [UNK], [CLS] and [SEP].
    Needs the package `tokenizers`.

    Args:
        vocabulary: the file `vocab.txt`, a token a line.
        lower: whether texts are converted to lower case and accents removed, as for
            the uncased networks.

    Raises:
        ImportError: `tokenizers` is not installed.
        FileNotFoundError: the file is not there.
        ValueError: it is not such a file; the error says why.

    Example:
        >>> from jaxnn.data import text
        >>> pieces = text.bert("vocab.txt")  # doctest: +SKIP
        >>> pieces.encode("Hello world", begin=True, end=True)  # doctest: +SKIP
        array([ 101, 7592, 2088,  102], dtype=int32)

    Reference:
        Devlin et al., BERT: Pre-training of Deep Bidirectional Transformers, 2018; Wu
        et al., Google's Neural Machine Translation System, 2016, for the word pieces.
    """
    library, file = tokenizers_for("text.bert"), _file("text.bert", vocabulary)
    pieces = library.models.WordPiece
    model = _read(
        "text.bert", [file], lambda: pieces.from_file(file, unk_token="[UNK]")
    )
    made = library.Tokenizer(model)
    made.normalizer = library.normalizers.BertNormalizer(lowercase=lower)
    made.pre_tokenizer = library.pre_tokenizers.BertPreTokenizer()
    made.decoder = library.decoders.WordPiece()
    marks = {"pad": "[PAD]", "unknown": "[UNK]", "begin": "[CLS]", "end": "[SEP]"}
    return _with_specials("text.bert", made, file, marks)


def _file(owner: str, path: str | Path) -> str:
    found = place(path, owner)
    if not found.is_file():
        raise FileNotFoundError(f"{owner}: {found} is not a file")
    return str(found)


def _read(owner: str, files: list[str], make: Callable[[], Any]) -> Any:
    try:
        return make()
    except Exception as error:  # of the package's own kind
        raise ValueError(
            f"{owner}: {' and '.join(files)} cannot be read as files of this "
            f"tokenizer: {error}"
        ) from error


def _with_specials(owner: str, made: Any, file: str, marks: dict) -> Pretrained:
    """The vocabulary, if it has all special tokens."""
    numbers = {name: made.token_to_id(mark) for name, mark in marks.items()}
    missing = [marks[name] for name, number in numbers.items() if number is None]
    if missing:
        raise ValueError(
            f"{owner}: {file} must hold the token {missing[0]}, and has "
            f"{made.get_vocab_size():,} others; it is of another network"
        )
    return Pretrained(made.to_str(), numbers)
