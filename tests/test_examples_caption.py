"""The examples of captions and retrieval: small mode, their splits and measures."""

import numpy as np
import pytest
from example import drawn, load

caption, retrieve = load("caption"), load("retrieve")


@pytest.mark.slow
def test_pictures_are_described(offline, tmp_path, capsys):
    result = caption.main(["--small", "--out", str(tmp_path)])
    name = "random, test, {}, BLEU"
    assert result[name.format("network")] > result[name.format("nearest")]
    pictures = {path.stem for path in tmp_path.glob("*.png") if drawn(path)}
    assert pictures == {"combinations", "random"} | {
        "combinations_curves",
        "random_curves",
    }
    lines = capsys.readouterr().out.strip().splitlines()
    assert lines[-1].startswith("captions right to the last word: unseen combinations")


@pytest.mark.slow
def test_pictures_are_found(offline, tmp_path, capsys):
    result = retrieve.main(["--small", "--out", str(tmp_path)])
    assert result["test, 10"] > 0.4  # by chance a third
    pictures = {path.stem for path in tmp_path.glob("*.png") if drawn(path)}
    assert pictures == {"found", "learning_curves"}
    lines = capsys.readouterr().out.strip().splitlines()
    assert lines[-1].startswith("unseen combinations found by their names")


TONES = ("light", "medium-light", "medium", "medium-dark", "dark")
NAMES = ("chef", "singer", "mage", "judge", "pilot", "farmer", "cook", "person")
CAPTIONS = [
    "grape",
    *(f"{name}, {tone} skin tone" for name in NAMES for tone in TONES),
    "kiss, light and dark skin tone",
    "elf, dark skin tone",
]


def test_a_combination_is_in_one_part_only_and_its_words_are_in_training():
    split = caption.combinations(CAPTIONS, 0)
    assert sorted(np.concatenate(split)) == list(range(len(CAPTIONS)))
    assert len(split.held) == len(split.test) == len(NAMES)
    words = {word for i in split.train for word in CAPTIONS[i].split()}
    for i in (*split.held, *split.test):
        assert CAPTIONS[i].endswith("skin tone") and " and " not in CAPTIONS[i]
        assert set(CAPTIONS[i].split()) <= words
        assert CAPTIONS[i] not in [CAPTIONS[k] for k in split.train]


def test_the_random_split_is_a_partition():
    split = caption.at_random(50, 3)
    assert sorted(np.concatenate(split)) == list(range(50))
    assert [len(part) for part in split] == [40, 5, 5]


def test_exact_matches_and_bleu():
    pytest.importorskip("sacrebleu")
    true = ["a large red disk", "a small blue square", "one two three four"]
    assert caption.measure(true, true) == {"exact": 1.0, "BLEU": pytest.approx(100)}
    near = caption.measure(["a large red square", true[1], true[2]], true)
    assert near["exact"] == pytest.approx(2 / 3) and 60 < near["BLEU"] < 100


def test_the_nearest_picture_is_that_of_the_pixels():
    images = np.random.default_rng(0).random((6, 4, 4, 3), np.float32)
    images[5] = images[2] + 0.01
    found = caption.nearest(images, np.array([0, 2, 3]), np.array([5, 3]))
    assert found.tolist() == [2, 3]


def test_ranks_count_what_comes_before_the_first_of_that_name():
    pictures = np.eye(4)
    texts = np.array([[0.9, 0.5, 0.1, 0.0], [0.2, 0.1, 0.3, 0.4]])
    names = ["a", "b", "a", "c"]
    ranks = retrieve.rank(texts, pictures, names, np.array([0, 1]))
    assert ranks.tolist() == [0, 3]
