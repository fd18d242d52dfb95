"""The detector: shapes, what its points learn, its loss and its detections."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxnn as nn
from jaxnn.losses.boxes import assign

NET = nn.models.detector(2, width=4, blocks=1, tower=1)


@pytest.mark.parametrize("height, width", [(64, 96), (50, 70)])
def test_every_point_of_three_grids_gives_a_box(key, height, width):
    x = jax.ShapeDtypeStruct((2, height, width, 3), jnp.float32)
    params, state = jax.eval_shape(NET.init, key, x)
    outputs, _ = jax.eval_shape(NET.apply, params, state, x)
    places = sum(-(-height // s) * -(-width // s) for s in (8, 16, 32))
    chex.assert_shape(outputs["logits"], (2, places, 2))
    chex.assert_shape(outputs["boxes"], (2, places, 4))
    chex.assert_shape(outputs["points"], (2, places, 3))


def test_points_lie_in_the_middle_of_their_cells_and_in_their_boxes(key):
    x = jnp.zeros((1, 64, 96, 3))
    outputs, _ = NET.apply(*NET.init(key, x), x)
    points, boxes = outputs["points"][0], outputs["boxes"][0]
    assert points[0].tolist() == [4, 4, 8] and points[-1].tolist() == [80, 48, 32]
    assert (boxes[:, :2] < points[:, :2]).all()
    assert (boxes[:, 2:] > points[:, :2]).all()


def grid(stride, side=64):
    steps = np.arange(stride / 2, side, stride)
    x, y = np.meshgrid(steps, steps)
    return np.stack([x.ravel(), y.ravel(), np.full(x.size, stride)], 1)


POINTS = jnp.array(np.concatenate([grid(s) for s in (8, 16, 32)]), jnp.float32)


def test_a_box_is_learned_by_the_points_near_its_center_on_one_grid():
    boxes = jnp.array([[4.0, 4, 44, 44], [50, 50, 58, 60], [0, 0, 0, 0]])
    index, learns = assign(POINTS, boxes, jnp.array([1, 0, -1]))
    chosen = np.asarray(POINTS)[np.asarray(learns)]
    assert set(chosen[:, 2]) == {8}  # both span at most 8 strides of the finest
    for i, center in ((0, (24, 24)), (1, (54, 55))):
        own = np.asarray(POINTS)[np.asarray(learns & (index == i))]
        assert len(own) and (np.abs(own[:, :2] - center) <= 12).all()
    large = jnp.array([[0.0, 0, 96, 90]])
    _, learns = assign(POINTS, large, jnp.array([0]))
    assert set(np.asarray(POINTS)[np.asarray(learns)][:, 2]) == {16}


def test_of_two_boxes_a_point_learns_the_smaller():
    boxes = jnp.array([[0.0, 0, 60, 60], [20, 20, 44, 44]])
    index, learns = assign(POINTS, boxes, jnp.array([0, 0]))
    middle = (np.abs(POINTS[:, :2] - 32) <= 8).all(1) & (POINTS[:, 2] == 8)
    assert (index[middle] == 1).all() and learns[middle].all()


def perfect(targets, confident=20.0):
    """Outputs that say exactly what the targets are."""
    n = len(targets["classes"])
    index, learns = jax.vmap(assign, (None, 0, 0))(
        POINTS, targets["boxes"], targets["classes"]
    )
    boxes = jnp.take_along_axis(targets["boxes"], index[..., None], 1)
    kind = jnp.take_along_axis(targets["classes"], index, 1)
    hot = jnp.where(learns[..., None], jax.nn.one_hot(kind, 2), 0)
    points = jnp.broadcast_to(POINTS, (n, *POINTS.shape))
    return {
        "logits": (2 * hot - 1) * confident,
        "boxes": jnp.where(learns[..., None], boxes, 1.0),
        "points": points,
    }


TARGETS = nn.data.boxes.pad(
    [[[4, 4, 30, 40], [40, 30, 60, 62]], [], [[10, 10, 20, 22]]], [[0, 1], [], [1]]
)
TARGETS = jax.tree.map(jnp.asarray, TARGETS)


def test_what_is_right_costs_nothing_and_is_found():
    outputs = perfect(TARGETS)
    assert (nn.losses.detection(outputs, TARGETS) < 1e-20).all()
    found = jax.jit(nn.models.detections)(outputs)
    metric = nn.metrics.MeanAveragePrecision(2, threshold=1.0)
    assert metric(found, TARGETS) == pytest.approx(1, abs=1e-6)
    assert (found["classes"] >= 0).sum(1).tolist() == [2, 0, 1]
    direct = nn.metrics.MeanAveragePrecision(2, detect=nn.models.detections)
    assert direct(outputs, TARGETS) == pytest.approx(1, abs=1e-6)


def test_the_loss_is_that_of_a_loop(key):
    outputs = perfect(TARGETS)
    keys = jax.random.split(key)
    logits = jax.random.normal(keys[0], outputs["logits"].shape)
    boxes = outputs["boxes"] + jax.random.uniform(keys[1], outputs["boxes"].shape)
    outputs |= {"logits": logits, "boxes": boxes}
    got = nn.losses.detection(outputs, TARGETS)
    p = np.asarray(jax.nn.sigmoid(logits), np.float64)
    for i in range(3):
        index, learns = assign(POINTS, TARGETS["boxes"][i], TARGETS["classes"][i])
        total, count = 0.0, 0
        for at in range(len(POINTS)):
            wanted = np.zeros(2)
            if learns[at]:
                box = TARGETS["boxes"][i, index[at]]
                share = float(nn.data.boxes.iou(boxes[i, at], box))
                wanted[TARGETS["classes"][i, index[at]]] = share
                total += 2 * (1 - nn.data.boxes.generalized_iou(boxes[i, at], box))
                count += 1
            cross = wanted * np.log(p[i, at]) + (1 - wanted) * np.log(1 - p[i, at])
            total -= ((wanted - p[i, at]) ** 2 * cross).sum()
        assert got[i] == pytest.approx(float(total) / max(count, 1), rel=1e-4)


def test_gradients_are_finite_with_and_without_boxes(key):
    x = jax.random.normal(key, (2, 32, 32, 1))
    params, state = NET.init(key, x)
    targets = nn.data.boxes.pad([[[2, 2, 20, 20]], []], [[0], []])

    @jax.jit
    @jax.grad
    def slope(params):
        outputs, _ = NET.apply(params, state, x, train=True)
        return nn.losses.detection(outputs, targets).sum()

    grads = slope(params)
    assert all(jnp.isfinite(g).all() for g in jax.tree.leaves(grads))
    assert all((g != 0).any() for g in jax.tree.leaves(grads["distances"]))


def test_a_class_beyond_the_outputs_is_refused(key):
    outputs = perfect(TARGETS)
    classes = TARGETS["classes"].at[1, 0].set(2)
    targets = TARGETS | {"classes": classes}
    message = r"2 classes, so .* from 0 to 1, or -1 .*, but \[1, 0\] is 2"
    with pytest.raises(ValueError, match=message):
        nn.losses.detection(outputs, targets)
    values = jax.jit(nn.losses.detection)(outputs, targets)
    np.testing.assert_array_equal(jnp.isnan(values), [False, True, False])
    data = jnp.zeros((3, 64, 64, 1)), targets
    with pytest.raises(ValueError, match=message):
        options = {"loss": nn.losses.detection, "optimizer": optax.sgd(0.1)}
        nn.fit(NET, data, **options, epochs=1, batch_size=3, key=key)


def test_wrong_sizes_are_refused():
    with pytest.raises(ValueError, match="classes must be a positive int, got 0"):
        nn.models.detector(0)
    with pytest.raises(ValueError, match="width must be a multiple of 4, got 6"):
        nn.models.detector(2, width=6)
