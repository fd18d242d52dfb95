"""Published tokenizer files, of a few tokens: GPT-2's byte pairs, BERT's pieces."""

import json

import numpy as np
import pytest

from jaxnn.data import text

tokenizers = pytest.importorskip("tokenizers")
END = "<|endoftext|>"
MERGES = ["l o", "lo w", "Ġ low", "e r"]
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "play", "##ing", "##ed", "the", "un", ","]


@pytest.fixture
def gpt2(tmp_path):
    """A vocabulary of all bytes, four merges and the end of a text."""
    letters = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    tokens = [*letters, *(pair.replace(" ", "") for pair in MERGES), END]
    ids = {token: i for i, token in enumerate(tokens)}
    (tmp_path / "vocab.json").write_text(json.dumps(ids), "utf-8")
    merges = "#version: 0.2\n" + "\n".join(MERGES) + "\n"
    (tmp_path / "merges.txt").write_text(merges, "utf-8")
    return text.gpt2(tmp_path / "vocab.json", tmp_path / "merges.txt"), ids


@pytest.fixture
def bert(tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join(PIECES) + "\n")
    return text.bert(tmp_path / "vocab.txt")


def test_byte_pairs_have_the_ids_of_the_file(gpt2):
    vocabulary, ids = gpt2
    assert len(vocabulary) == len(ids) == 261
    tokens = ["low", "er", "Ġlow", "!"]
    assert vocabulary.encode("lower low!").tolist() == [ids[t] for t in tokens]
    assert vocabulary.begin == vocabulary.end == ids[END]
    assert vocabulary.encode("low", end=True).tolist() == [ids["low"], ids[END]]


@pytest.mark.parametrize("line", ["lower low", " two  spaces\n", "naïve 🙂", ""])
def test_byte_pairs_know_every_text(gpt2, line):
    vocabulary, _ = gpt2
    assert vocabulary.decode(vocabulary.encode(line, begin=True, end=True)) == line


def test_a_special_token_in_a_text_is_text(gpt2):
    vocabulary, ids = gpt2
    found = vocabulary.encode(END)
    assert ids[END] not in found and vocabulary.decode(found) == END


def test_pieces_have_the_ids_of_the_file(bert):
    assert (bert.pad, bert.unknown, bert.begin, bert.end) == (0, 1, 2, 3)
    found = bert.encode("The unplayed, PLAYING xyz", begin=True, end=True)
    pieces = ["[CLS]", "the", "[UNK]", ",", "play", "##ing", "[UNK]", "[SEP]"]
    assert found.tolist() == [PIECES.index(piece) for piece in pieces]
    assert bert.decode(bert.encode("playing the played")) == "playing the played"


def test_case_is_kept_where_it_is_asked(tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join([*PIECES, "The"]) + "\n")
    cased = text.bert(tmp_path / "vocab.txt", lower=False)
    assert cased.encode("The the").tolist() == [len(PIECES), PIECES.index("the")]


def test_they_are_saved_and_loaded(gpt2, bert, tmp_path):
    for number, vocabulary in enumerate((gpt2[0], bert)):
        path = tmp_path / f"{number}.json"
        vocabulary.save(path)
        again = text.load(path)
        assert again == vocabulary and again.end == vocabulary.end
        line = "playing lower"
        np.testing.assert_array_equal(again.encode(line), vocabulary.encode(line))


def test_wrong_files_are_answered(tmp_path, bert):
    with pytest.raises(FileNotFoundError, match="vocab"):
        text.gpt2(tmp_path / "vocab.json", tmp_path / "merges.txt")
    (tmp_path / "vocab.json").write_text("{")
    (tmp_path / "merges.txt").write_text("")
    with pytest.raises(ValueError, match=r"text.gpt2: .* cannot be read as files of"):
        text.gpt2(tmp_path / "vocab.json", tmp_path / "merges.txt")
    (tmp_path / "vocab.json").write_text('{"a": 0}')
    with pytest.raises(ValueError, match=r"must hold the token <\|endoftext\|>, and h"):
        text.gpt2(tmp_path / "vocab.json", tmp_path / "merges.txt")
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\nthe\n")
    with pytest.raises(ValueError, match=r"must hold the token \[CLS\], and has 3"):
        text.bert(tmp_path / "vocab.txt")
