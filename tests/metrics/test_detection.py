"""Mean average precision against COCO's own code and by hand."""

import contextlib
import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnn as nn
from jaxnn.metrics import MeanAveragePrecision

COCO = tuple(np.linspace(0.5, 0.95, 10).tolist())


def made(seed, n=5, most=6, found=9, classes=3):
    """True boxes and detections near some of them; scores with a few ties."""
    rng = np.random.default_rng(seed)
    corners, kinds = [], []
    for _ in range(n):
        m = rng.integers(0, most + 1)
        low = rng.integers(0, 40, (m, 2))
        corners.append(np.concatenate([low, low + rng.integers(4, 24, (m, 2))], 1))
        kinds.append(rng.integers(0, classes, m))
    targets = nn.data.boxes.pad(corners, kinds, room=most)
    place = rng.integers(0, most, (n, found))
    noise = np.round(rng.normal(0, 2, (n, found, 4)))
    own = np.take_along_axis(targets["boxes"], place[..., None], 1) + noise
    own[..., 2:] = np.maximum(own[..., 2:], own[..., :2] + 1)
    right = np.take_along_axis(targets["classes"], place, 1)
    other = rng.integers(0, classes, (n, found))
    guess = np.where((rng.random((n, found)) < 0.8) & (right >= 0), right, other)
    guess = np.where(rng.random((n, found)) < 0.1, -1, guess)
    scores = np.round(rng.random((n, found)), 1 if seed % 4 == 0 else 4)
    outputs = {"boxes": own.astype(np.float32), "scores": np.float32(scores)}
    return outputs | {"classes": guess.astype(np.int32)}, targets


def by_coco(outputs, targets, classes):
    """Average precisions [T, C] by pycocotools; NaN for a class without boxes."""
    coco = pytest.importorskip("pycocotools.coco")
    evaluation = pytest.importorskip("pycocotools.cocoeval")

    def sized(box):
        return [float(v) for v in (*box[:2], *(box[2:] - box[:2]))]

    true, found = [], []
    for i in range(len(targets["classes"])):
        for box, c in zip(targets["boxes"][i], targets["classes"][i], strict=True):
            if c >= 0:
                own = {"id": len(true) + 1, "image_id": i, "category_id": int(c)}
                area = float(np.prod(box[2:] - box[:2]))
                true.append(own | {"bbox": sized(box), "area": area, "iscrowd": 0})
        for k, c in enumerate(outputs["classes"][i]):
            if c >= 0:
                box, score = outputs["boxes"][i, k], float(outputs["scores"][i, k])
                own = {"image_id": i, "category_id": int(c), "score": score}
                found.append(own | {"bbox": sized(box)})
    with contextlib.redirect_stdout(io.StringIO()):
        reference = coco.COCO()
        reference.dataset = {
            "images": [{"id": i} for i in range(len(targets["classes"]))],
            "categories": [{"id": c} for c in range(classes)],
            "annotations": true,
        }
        reference.createIndex()
        run = evaluation.COCOeval(reference, reference.loadRes(found), "bbox")
        run.evaluate()
        run.accumulate()
    precision = run.eval["precision"][:, :, :, 0, -1]  # thresholds, recalls, classes
    return np.where(precision.min(1) < 0, np.nan, precision.mean(1))


def test_it_agrees_with_coco_on_200_random_cases():
    each = {
        t: jax.jit(MeanAveragePrecision(3, threshold=t, average=None))
        for t in (0.5, 0.75, COCO)
    }
    for seed in range(200):
        outputs, targets = made(seed)
        want = by_coco(outputs, targets, 3)
        for t, rows in ((0.5, want[:1]), (0.75, want[5:6]), (COCO, want)):
            got = each[t](outputs, targets)
            np.testing.assert_allclose(got, rows.mean(0), atol=1e-6, err_msg=str(seed))


@pytest.mark.parametrize("seed", [1, 4])
def test_batches_of_any_size_give_the_same(seed):
    metric = MeanAveragePrecision(3, threshold=COCO)
    outputs, targets = made(seed, n=7)
    whole = metric(outputs, targets)

    def through(size):
        net = nn.Sequential(nn.Identity())
        data = jax.tree.map(jnp.asarray, outputs), targets
        stats = nn.evaluate(net, ({}, {}), data, metrics={"m": metric}, batch_size=size)
        return stats["m"]

    for size in (1, 3, 7, 8):
        assert through(size) == pytest.approx(float(whole), abs=1e-7)


def test_examples_without_weight_do_not_count():
    metric = MeanAveragePrecision(3)
    outputs, targets = made(3, n=6)
    first = jax.tree.map(lambda a: a[:4], (outputs, targets))
    stats = metric.update(outputs, targets, jnp.array([1.0, 1, 1, 1, 0, 0]))
    assert metric.compute(stats) == metric(*first)


def test_by_hand():
    box = np.array([0.0, 0, 10, 10], np.float32)
    true = nn.data.boxes.pad([[box], [box], []], [[0], [0], []])
    scores = np.float32([[0.9, 0.3], [0.6, 0.0], [0.8, 0.0]])
    found = {"boxes": np.tile(box, (3, 2, 1)), "scores": scores}
    found["classes"] = np.int32([[0, 0], [0, -1], [0, -1]])
    # In the order of scores: hit, false (an empty picture), hit, false (found twice):
    # a precision of 1 up to a recall of 1/2, and of 2/3 from there on.
    want = (51 * 1 + 50 * 2 / 3) / 101
    assert MeanAveragePrecision(1)(found, true) == pytest.approx(want, abs=1e-6)
    each = MeanAveragePrecision(2, average=None)(found, true)
    assert each[0] == pytest.approx(want, abs=1e-6) and jnp.isnan(each[1])
    assert MeanAveragePrecision(2)(found, true) == pytest.approx(want, abs=1e-6)


def test_without_boxes_or_detections():
    outputs, targets = made(1)
    none = targets | {"classes": np.full_like(targets["classes"], -1)}
    assert jnp.isnan(MeanAveragePrecision(3)(outputs, none))
    empty = outputs | {"classes": np.full_like(outputs["classes"], -1)}
    assert MeanAveragePrecision(3)(empty, targets) == 0


def test_bad_input_is_answered():
    for wrong, text in (
        ({"threshold": 0.0}, "threshold must be above 0"),
        ({"threshold": (0.5, 1.5)}, "threshold must be above 0"),
        ({"average": "micro"}, "average must be 'macro' or None, got 'micro'"),
    ):
        with pytest.raises(ValueError, match=text):
            MeanAveragePrecision(3, **wrong)
    with pytest.raises(ValueError, match="classes must be a positive int, got 0"):
        MeanAveragePrecision(0)
    outputs, targets = made(1)
    with pytest.raises(ValueError, match=r"outputs must be a dict.*detect=nn.models"):
        MeanAveragePrecision(3)({"logits": outputs["scores"]}, targets)
    with pytest.raises(ValueError, match="targets must be a dict of boxes, classes"):
        MeanAveragePrecision(3)(outputs, targets["boxes"])
