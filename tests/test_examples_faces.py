"""The example of faces: small mode, and its measures against simple cases."""

import numpy as np
import pytest
from example import drawn, load

faces = load("faces")


@pytest.mark.slow
def test_people_never_seen_are_told_apart(offline, tmp_path, capsys):
    means = faces.main(["--small", "--out", str(tmp_path)])
    assert means["network"].error < 0.3 and means["network"].first > 0.5
    pictures = {path.stem for path in tmp_path.glob("*.png") if drawn(path)}
    assert pictures == {"faces", "learning_curves"}
    lines = capsys.readouterr().out.strip().splitlines()
    assert lines[-1].startswith("people never seen: equal error rate")


def test_the_equal_error_rate():
    same, other = np.array([0.9, 0.8, 0.7, 0.2]), np.array([0.1, 0.0, 0.3, 0.75])
    assert faces.equal_error_rate(same, other) == pytest.approx(0.25)
    assert faces.equal_error_rate(np.array([0.9, 0.8]), np.array([0.1, 0.2])) == 0
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 4000))
    assert faces.equal_error_rate(a, b) == pytest.approx(0.5, abs=0.03)
    assert faces.equal_error_rate(a + 2, b) == pytest.approx(0.1587, abs=0.02)


def test_rank_one_counts_every_choice_of_the_known_picture():
    people = np.array([0, 0, 0, 1, 1, 1])
    apart = np.eye(2)[people]
    assert faces.rank_one(apart, people) == 1
    mixed = apart.copy()
    mixed[2] = apart[3]  # one picture of the first person looks like the second
    # Known as either of the others (2 of 3), it is taken for the second person: 3 of 4
    # are right; known itself, it draws no one of its own: 2 of 4.
    assert faces.rank_one(mixed, people) == pytest.approx((0.75 + 0.75 + 0.5) / 3)


def test_no_one_is_in_two_parts_of_a_split():
    images, people = faces.tiny_faces()
    split = faces.divide(images, people, np.random.default_rng(0).permutation(16))
    assert [len(np.unique(part)) for _, part in split] == [10, 2, 4]
    every = np.concatenate([part for part, _ in split])
    assert len(np.unique(every.reshape(len(every), -1), axis=0)) == len(images)
