"""Geometry of boxes against loops in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnn.ops import boxes

rng = np.random.default_rng(0)


def made(n, side=20.0):
    corners = rng.uniform(0, side, (n, 2))
    return np.concatenate([corners, corners + rng.uniform(1, side / 2, (n, 2))], 1)


def plain_iou(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    area = lambda c: (c[2] - c[0]) * (c[3] - c[1])  # noqa: E731
    return shared / (area(a) + area(b) - shared)


def greedy(all_boxes, scores, classes, threshold):
    """Suppression as it is told: the best left, and away with what overlaps it."""
    left, kept = sorted(range(len(scores)), key=lambda i: -scores[i]), []
    while left:
        best = left.pop(0)
        kept.append(best)
        left = [
            i
            for i in left
            if classes[i] != classes[best]
            or plain_iou(all_boxes[i], all_boxes[best]) <= threshold
        ]
    return sorted(kept)


def test_a_table_of_overlaps():
    a, b = made(7), made(5)
    table = boxes.iou(a[:, None], b[None])
    want = [[plain_iou(x, y) for y in b] for x in a]
    assert table.shape == (7, 5)
    np.testing.assert_allclose(table, want, rtol=1e-5, atol=1e-6)


def test_boxes_that_are_equal_apart_or_empty():
    a = jnp.array([1.0, 1.0, 3.0, 4.0])
    empty, turned = jnp.array([2.0, 2.0, 2.0, 2.0]), jnp.array([3.0, 4.0, 1.0, 1.0])
    assert boxes.iou(a, a) == 1 and boxes.generalized_iou(a, a) == 1
    assert boxes.iou(a, a + 10) == 0 and -1 < boxes.generalized_iou(a, a + 10) < 0
    for none in (empty, turned):
        assert boxes.iou(a, none) == 0 and boxes.area(none) == 0
        assert boxes.iou(none, none) == 0
        slope = jax.grad(lambda b: boxes.iou(b, b) + boxes.generalized_iou(b, b))(none)
        assert jnp.isfinite(slope).all()


@pytest.mark.parametrize("threshold", [0.0, 0.3, 1.0])
def test_suppression_is_the_greedy_loop(threshold):
    suppress = jax.jit(boxes.non_maximum_suppression, static_argnames="threshold")
    for _ in range(20):
        own, scores = made(12), rng.permutation(12) + 1.0
        classes = rng.integers(2, size=12)
        kept = suppress(own, scores, classes, threshold=threshold)
        want = greedy(own, scores, classes, threshold)
        assert np.flatnonzero(kept).tolist() == want


def test_suppression_of_a_batch_and_of_nothing():
    own, scores = np.stack([made(6), made(6)]), rng.uniform(0.1, 1, (2, 6))
    both = jax.vmap(boxes.non_maximum_suppression)(own, scores)
    each = [boxes.non_maximum_suppression(*pair) for pair in zip(own, scores)]  # noqa: B905
    assert (both == jnp.stack(each)).all()
    assert not boxes.non_maximum_suppression(own[0], jnp.zeros(6)).any()
    assert boxes.non_maximum_suppression(jnp.zeros((0, 4)), jnp.zeros(0)).shape == (0,)


def test_of_equal_scores_the_first_is_kept():
    same = jnp.tile(jnp.array([0.0, 0, 1, 1]), (3, 1))
    kept = boxes.non_maximum_suppression(same, jnp.full(3, 0.5))
    assert kept.tolist() == [True, False, False]


def test_bad_input_is_answered():
    with pytest.raises(
        ValueError, match=r"iou: boxes must be \[..., 4\].*got \[2, 3\]"
    ):
        boxes.iou(jnp.ones((2, 3)), jnp.ones((2, 3)))
    with pytest.raises(ValueError, match=r"for a batch use jax.vmap"):
        boxes.non_maximum_suppression(jnp.ones((2, 3, 4)), jnp.ones((2, 3)))
    with pytest.raises(ValueError, match=r"threshold must be from 0 to 1, got 2"):
        boxes.non_maximum_suppression(jnp.ones((2, 4)), jnp.ones(2), threshold=2)
