"""The example of detection: small mode, its scenes and its counting."""

import numpy as np
import pytest
from example import drawn, load

detect = load("detect")


@pytest.mark.slow
def test_digits_in_scenes_are_found(offline, tmp_path, capsys):
    result = detect.main(["--small", "--out", str(tmp_path)])
    assert result["mean"] > 0.3
    pictures = {path.stem for path in tmp_path.glob("*.png") if drawn(path)}
    assert pictures == {"detections", "learning_curves"}
    lines = capsys.readouterr().out.strip().splitlines()
    assert lines[-1].startswith("mean average precision at 0.5 on test pictures")


def test_a_scene_shows_a_digit_in_each_box():
    images, targets = detect.scenes(12, 0)
    assert images.shape == (12, 64, 64, 1) and images.max() <= 1
    again, _ = detect.scenes(12, 0)
    np.testing.assert_array_equal(images, again)
    for i in range(12):
        own = targets["classes"][i] >= 0
        assert own.sum() >= 1
        for x0, y0, x1, y1 in targets["boxes"][i][own].astype(int):
            assert images[i, y0:y1, x0:x1].max() > 0.8


def test_the_limit_of_a_count_is_that_of_the_least_error():
    found = {
        "classes": np.array([[0, 0, 1]] * 3),
        "scores": np.array([[0.8, 0.4, 0.9]] * 3),
    }
    one = {"classes": np.array([[0, -1]] * 3)}
    two = {"classes": np.array([[0, 0]] * 3)}
    assert 0.4 < detect.count_from(found, one, 0) <= 0.8
    assert detect.count_from(found, two, 0) <= 0.4
    assert detect.counts(found, 0, 0.5).tolist() == [1, 1, 1]
    assert detect.counts(one, 0).tolist() == [1, 1, 1]
