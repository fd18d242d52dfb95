# SPDX-License-Identifier: Apache-2.0
"""Vocabularies: there and back, what is unknown, files; and reading text."""

import gzip
import json
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxnn.data import text

few = settings(max_examples=30, deadline=None)
SONG = ["Ein Mädchen oder Weibchen", "wünscht Papageno sich!"]
PAIRS = ["low lower lowest slow slower"] * 9


@pytest.fixture(scope="module")
def pairs():
    pytest.importorskip("tokenizers")
    return text.byte_pairs(PAIRS, 280)


@pytest.fixture(params=["characters", "words", "byte pairs"])
def vocabulary(request):
    if request.param == "byte pairs":
        return request.getfixturevalue("pairs")
    build = getattr(text, request.param)
    return build(SONG, specials=text.SPECIALS)


def test_characters_come_back():
    vocabulary = text.characters(SONG)
    assert len(vocabulary) == len(set("".join(SONG)))
    assert vocabulary.pad is vocabulary.unknown is vocabulary.end is None
    for line in SONG:
        ids = vocabulary.encode(line)
        assert ids.dtype == np.int32 and ids.shape == (len(line),)
        assert vocabulary.decode(ids) == line
    assert vocabulary.tokens == sorted(vocabulary.tokens)


def test_words_and_marks_come_apart():
    vocabulary = text.words(["The dog's bowl: half-full, 3.5 l!"], lower=False)
    ids = vocabulary.encode("The bowl, The!")
    assert vocabulary.decode(ids) == "The bowl , The !"
    assert {"dog's", "half-full", ":", "3", "."} <= set(vocabulary.tokens)
    space = text.words(["a-b c, d"], pattern=r"\S+")
    assert sorted(space.tokens) == ["a-b", "c,", "d"]


def test_words_are_ordered_by_count_and_then_by_letters():
    vocabulary = text.words("b a b c a b d")
    assert vocabulary.tokens == ["b", "a", "c", "d"]
    assert text.words("b a b c a b d", min_count=2).tokens == ["b", "a"]
    assert text.words("b a b c a b d", size=7).tokens == ["b", "a", "c"]
    assert len(text.words("b a b c a b d", size=7)) == 7


@few
@given(st.text(max_size=20))
def test_byte_pairs_know_every_text(pairs, line):
    for sample in (line, f"<pad> {line} <end>"):  # no text is a special token
        assert pairs.decode(pairs.encode(sample)) == sample


def test_byte_pairs_merge_what_is_frequent(pairs):
    assert 260 < len(pairs) <= 280
    assert len(pairs.encode("slower")) < len(pairs.encode("wolers"))


def test_special_tokens(vocabulary):
    assert (vocabulary.pad, vocabulary.unknown) == (0, 1)
    assert (vocabulary.begin, vocabulary.end) == (2, 3)
    plain = vocabulary.encode("oder")
    ids = vocabulary.encode("oder", begin=True, end=True)
    np.testing.assert_array_equal(ids, [2, *plain, 3])
    padded = np.concatenate([ids, [0, 0]])
    assert vocabulary.decode(padded) == vocabulary.decode(plain) == "oder"
    assert plain.min() >= 4


def test_unknown_parts():
    known = text.characters("abc", specials=["unknown", "pad"])
    assert known.specials == ("pad", "unknown")  # pad is 0 in whatever order
    np.testing.assert_array_equal(known.encode("axb"), [2, 1, 3])
    assert known.decode([2, 1, 3]) == "a�b"
    with pytest.raises(ValueError, match="encode: 'x' is none of the 3 characters"):
        text.characters("abc").encode("axb")
    with pytest.raises(ValueError, match="end=True needs the special token 'end'"):
        text.characters("abc").encode("a", end=True)


def test_an_empty_text_has_no_ids(vocabulary):
    assert vocabulary.encode("").shape == (0,) and vocabulary.decode([]) == ""
    assert vocabulary.encode("", end=True).tolist() == [3]


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([5, -1], r"ids must be from 0 to \d+, got -1 at place 1"),
        ([10**6], "got 1000000 at place 0"),
        ([[1, 2]], r"integers \[T\], got int64\[1, 2\]; decode a batch row by row"),
        ([0.5], "integers"),
    ],
)
def test_bad_ids_are_named(vocabulary, ids, message):
    with pytest.raises(ValueError, match=f"decode: .*{message}"):
        vocabulary.decode(ids)


def test_files_hold_the_vocabulary(vocabulary, tmp_path):
    path = tmp_path / "vocabulary.json"
    vocabulary.save(path)
    again = text.load(path)
    assert again == vocabulary and type(again) is type(vocabulary)
    line = "Mädchen oder Papageno"
    np.testing.assert_array_equal(again.encode(line), vocabulary.encode(line))
    assert json.loads(path.read_text("utf-8"))["kind"] == vocabulary.kind
    assert again != text.characters("another") and repr(again).startswith("<")


def test_a_file_stays_whole_where_it_can_not_be_written_anew(tmp_path):
    path = tmp_path / "new" / "vocabulary.json"
    text.characters("abc").save(path)
    with pytest.raises(UnicodeEncodeError):
        text.characters("ab\ud800").save(path)
    assert text.load(path) == text.characters("abc")
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_list_of_texts_is_no_text(vocabulary):
    with pytest.raises(TypeError, match="encode: text must be a str, got list"):
        vocabulary.encode(["hello", "world"])


@pytest.mark.parametrize(
    "content",
    ["junk", "[]", "{}", '{"format": "jaxnn vocabulary 1", "kind": "runes"}'],
)
def test_other_files_are_refused(content, tmp_path):
    path = tmp_path / "vocabulary.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"vocabulary\.json is not a vocabulary that"):
        text.load(path)


def test_a_vocabulary_of_nothing_is_refused():
    with pytest.raises(ValueError, match="words: no token is left of 0 in the texts"):
        text.words(["", "  "])
    with pytest.raises(ValueError, match="min_count=9"):
        text.characters("abc", min_count=9)
    with pytest.raises(ValueError, match=r"no token is left of 3 .* size=4"):
        text.words("a b c", size=4)
    with pytest.raises(ValueError, match="min_count must be a positive int, got 0"):
        text.words("a", min_count=0)
    with pytest.raises(
        ValueError, match=r"words: specials must be of .* got \['mask'\]"
    ):
        text.words("a", specials=["mask"])


def test_byte_pairs_refuse(pairs, monkeypatch):
    with pytest.raises(ValueError, match=r"size must be at least 260, .* got 256"):
        text.byte_pairs(PAIRS, 256)
    with pytest.raises(ValueError, match="texts must hold at least one word, got none"):
        text.byte_pairs([""], 300)
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(ImportError, match="tokenizers: python -m pip install"):
        text.byte_pairs(PAIRS, 300)


# --- files of text ---


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_text_is_read(pack, tmp_path):
    path = tmp_path / "song"
    path.write_bytes(pack("\ufeffein\r\nMädchen\n\n".encode()))
    assert text.read(path) == "ein\nMädchen\n\n"
    assert text.lines(text.read(path)) == ["ein", "Mädchen", ""]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"song is empty \(0 bytes\)"),
        (b" \n\n", r"song is empty \(3 bytes\)"),
        ("ein\nMädchen".encode("cp1252"), r"not UTF-8: byte 5 \(line 2\) is 0xe4"),
        (gzip.compress(b"ein")[:-9], "song is not a complete gzip file"),
    ],
    ids=["empty", "blank", "cp1252", "cut"],
)
def test_text_that_is_none_is_named(content, message, tmp_path):
    path = tmp_path / "song"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"text.read: .*{message}"):
        text.read(path)
