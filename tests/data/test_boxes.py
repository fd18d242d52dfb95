"""Boxes as arrays, and augmentations that move them with their pictures."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnn.data import augment, boxes

rng = np.random.default_rng(0)


def marked(n=6, side=24):
    """Pictures in which each box is filled with a number of its own, and its boxes."""
    images, every, kinds = np.zeros((n, side, side, 1), np.float32), [], []
    for i in range(n):
        own = []
        for k, (x, y) in enumerate([(1, 2), (12, 3), (4, 13)]):
            x, y = x + rng.integers(4), y + rng.integers(4)
            width, height = rng.integers(3, 7, 2)
            own.append([x, y, x + width, y + height])
            images[i, y : y + height, x : x + width] = k + 1
        every.append(own)
        kinds.append([0, 1, 2])
    return images, boxes.pad(every, kinds, room=4)


def agree(image, corners, kinds):
    """Whether each box holds its number and nothing else."""
    given = np.asarray(image), np.asarray(corners).astype(int), np.asarray(kinds)
    image, corners, kinds = given
    for (x0, y0, x1, y1), kind in zip(corners, kinds, strict=True):
        if kind >= 0:
            assert (image[y0:y1, x0:x1] == kind + 1).all()
        else:
            assert (x0, y0, x1, y1) == (0, 0, 0, 0)


@pytest.mark.parametrize("change", [boxes.flip(), boxes.flip(vertical=True)])
def test_flips_move_pictures_and_boxes_alike(change):
    images, targets = marked()
    for seed in range(4):
        key = jax.random.key(seed)
        turned, moved = jax.jit(change)(key, images, targets)
        for i in range(len(images)):
            agree(turned[i, ..., 0], moved["boxes"][i], moved["classes"][i])
        assert moved["boxes"].shape == targets["boxes"].shape
    assert (turned != images).any()


def test_a_mosaic_keeps_what_is_left_of_a_box():
    images, targets = marked(8)
    joined, moved = boxes.mosaic(keep=0.5)(jax.random.key(0), images, targets)
    assert joined.shape == images.shape and moved["classes"].shape == (8, 16)
    for i in range(8):
        agree(joined[i, ..., 0], moved["boxes"][i], moved["classes"][i])
    # What has no box is a rest of less than half, or none at all.
    for i in range(8):
        seen = np.asarray(joined[i, ..., 0]).copy()
        for x0, y0, x1, y1 in np.asarray(moved["boxes"][i]).astype(int):
            seen[y0:y1, x0:x1] = 0
        assert np.count_nonzero(seen) < 0.5 * np.count_nonzero(joined[i])
    assert (np.asarray(moved["classes"]) >= 0).sum() > 8


def test_a_mosaic_that_never_happens_changes_nothing():
    images, targets = marked()
    same, moved = boxes.mosaic(probability=0.0)(jax.random.key(0), images, targets)
    np.testing.assert_array_equal(same, images)
    np.testing.assert_array_equal(moved["boxes"][:, :4], targets["boxes"])
    assert (moved["classes"][:, 4:] == -1).all()


def test_they_go_into_a_chain_with_others():
    images, targets = marked()
    change = augment.chain(
        boxes.flip(), augment.brightness(0.1), boxes.mosaic(), range=(0, 3)
    )
    varied, moved = change(jax.random.key(1), images, targets)
    assert varied.shape == images.shape and moved["boxes"].shape == (6, 16, 4)
    assert repr(boxes.mosaic(probability=0.5)) == "mosaic(0.4, probability=0.5)"


def test_lists_of_boxes_become_arrays():
    targets = boxes.pad([[[1, 2, 3, 4]], [], np.array([[0, 0, 1, 1], [2, 2, 5, 9]])],
                        [[3], [], np.array([0, 1])])  # fmt: skip
    assert targets["boxes"].dtype == np.float32
    assert targets["classes"].tolist() == [[3, -1], [-1, -1], [0, 1]]
    assert boxes.pad([[]], [[]])["boxes"].shape == (1, 1, 4)


ONE = [[0, 0, 4, 4]]
BAD = {
    "upside down": (
        lambda: boxes.pad([ONE, [[0, 5, 4, 1]]], [[0], [0]]),
        r"x0 < x1 and y0 < y1.*got \[0.0, 5.0, 4.0, 1.0\], box 0 of picture 1",
    ),
    "without area": (lambda: boxes.pad([[[3, 3, 3, 3]]], [[0]]), r"x0 < x1"),
    "not a number": (lambda: boxes.pad([[[0, 0, np.nan, 3]]], [[0]]), r"all finite"),
    "outside": (
        lambda: boxes.pad([[[0, 0, 4, 9]]], [[0]], size=(8, 6)),
        r"inside the picture, 6 pixels wide and 8 high, got",
    ),
    "a class too few": (
        lambda: boxes.pad([ONE], [[]]),
        r"classes of picture 0 must be 1 integers",
    ),
    "a class as a float": (lambda: boxes.pad([ONE], [[0.5]]), r"got float64\[1\]"),
    "a class below 0": (lambda: boxes.pad([ONE], [[-1]]), r"must be 0 or more, got -1"),
    "too little room": (
        lambda: boxes.pad([ONE, ONE * 3], [[0], [0] * 3], room=2),
        r"room must be at least 3.*got 2; picture 1 has 3",
    ),
    "other pictures": (lambda: boxes.pad([ONE], []), r"the same pictures, got 1 and 0"),
    "labels as targets": (
        lambda: boxes.flip()(jax.random.key(0), jnp.ones((2, 4, 4, 1)), jnp.arange(2)),
        r"targets must be a dict of boxes \[N, M, 4\]",
    ),
    "a share above 1": (lambda: boxes.mosaic(keep=2.0), r"keep must be a number from"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_input_is_answered(what):
    call, text = BAD[what]
    with pytest.raises((ValueError, TypeError), match=text):
        call()
