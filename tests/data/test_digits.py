# SPDX-License-Identifier: Apache-2.0
"""The digits that ship with the library."""

import re
from hashlib import sha256
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from jaxnn.data import digits

FOLDER = Path(str(resources.files("jaxnn.data")))


def test_shapes_types_and_range():
    for (images, labels), count in zip(digits(), (1437, 360), strict=True):
        assert images.shape == (count, 8, 8, 1) and images.dtype == np.float32
        assert labels.shape == (count,) and labels.dtype == np.int32
        assert images.min() == 0 and images.max() == 1
        assert set(labels.tolist()) == set(range(10))


def test_classes_have_the_same_share_on_both_sides():
    (_, train), (_, test) = digits()
    sizes = np.bincount(np.concatenate([train, test]))
    assert np.abs(np.bincount(test) - sizes * 360 / 1797).max() < 1


def test_the_split_never_changes():
    found = sha256()
    for images, labels in digits():
        found.update((images * 16).astype(np.uint8).tobytes())
        found.update(labels.astype(np.uint8).tobytes())
    assert found.hexdigest() == GOLDEN


# Of the pixels and labels of either side, in order: were it to change, so would scores.
GOLDEN = "256c260b763365ed57c1c8449e3fa4e3cd9cba6861bb7bb610cca7ca7a1206b6"


def test_the_file_is_small_and_holds_no_objects():
    path = FOLDER / "digits.npz"
    assert path.stat().st_size < 60_000
    with np.load(path, allow_pickle=False) as file:
        everyone = np.sort(np.concatenate([file["train"], file["test"]]))
        assert {file[name].dtype.kind for name in file} == {"u"}
    np.testing.assert_array_equal(everyone, np.arange(1797))


def test_calls_share_no_memory():
    (images, _), _ = digits()
    images[:] = 7
    assert digits()[0][0].max() == 1


def test_a_nearest_neighbor_reads_them():
    """They are digits indeed: the nearest training picture has the right label."""
    (train, known), (test, asked) = digits()
    train, test = train.reshape(-1, 64), test.reshape(-1, 64)
    distances = (train**2).sum(1)[None] - 2 * test @ train.T
    assert (known[distances.argmin(1)] == asked).mean() > 0.97


def test_the_attribution_names_what_the_license_asks_for():
    text = (FOLDER / "DIGITS_ATTRIBUTION.md").read_text(encoding="utf-8")
    for word in ("Alpaydin", "Kaynak", "UCI", "CC BY 4.0", "scikit-learn", "BSD"):
        assert word in text


def test_the_attribution_says_truly_how_the_file_was_made(tmp_path, monkeypatch):
    pytest.importorskip("sklearn", reason="the source of the digits")
    text = (FOLDER / "DIGITS_ATTRIBUTION.md").read_text(encoding="utf-8")
    (recipe,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(recipe, {})
    with np.load("digits.npz") as made, np.load(FOLDER / "digits.npz") as shipped:
        assert sorted(made) == sorted(shipped)
        for name in shipped:
            np.testing.assert_array_equal(made[name], shipped[name], strict=True)
