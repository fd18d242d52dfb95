# SPDX-License-Identifier: Apache-2.0
"""Metrics against NumPy loops and scikit-learn; streamed in any split as at once."""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxnn import losses, metrics
from jaxnn.metrics import F1, R2, ConfusionMatrix, Mean, Precision, Recall, RocAuc

few = settings(max_examples=25, deadline=None)
part = functools.partial
rng = np.random.default_rng(0)
N = 24
logits = rng.normal(size=(N, 3)).astype(np.float32)
labels = rng.integers(3, size=N)
scores = rng.normal(size=N).astype(np.float32).round(1)  # rounded: with ties
binary = rng.integers(2, size=N)
numbers = (1000 + rng.normal(size=(N, 2))).astype(np.float32)
guesses = (numbers + rng.normal(size=(N, 2)) / 2).astype(np.float32)


# ---- oracles: loops over examples, each with its weight ----


def mean_of(function):
    def oracle(outputs, targets, weights):
        each = [function(*pair) for pair in zip(outputs, targets, strict=True)]
        return np.average(each, weights=weights)

    return oracle


def matrix(predict, classes):
    def oracle(outputs, targets, weights):
        counts = np.zeros((classes, classes), int)
        for y, t, w in zip(outputs, targets, weights, strict=True):
            counts[t, predict(y)] += w != 0
        return counts

    return oracle


def share(part, whole):
    return part / whole if whole else 0.0


def class_shares(of, predict, classes, average):
    def oracle(*batch):
        counts = matrix(predict, classes)(*batch)
        pairs = [
            {
                "precision": (counts[c, c], counts[:, c].sum()),
                "recall": (counts[c, c], counts[c].sum()),
                "f1": (2 * counts[c, c], counts[:, c].sum() + counts[c].sum()),
            }[of]
            for c in range(classes)
        ]
        each = [share(*pair) for pair in pairs]
        if average == "micro":
            return share(sum(a for a, _ in pairs), sum(b for _, b in pairs))
        return {"macro": np.mean(each), "binary": each[1], None: each}[average]

    return oracle


def auc(outputs, targets, weights):
    won = total = 0.0
    for a, s, v in zip(outputs, targets, weights, strict=True):
        for b, t, w in zip(outputs, targets, weights, strict=True):
            if s == 1 and t == 0:
                won += v * w * ((a > b) + (a == b) / 2)
                total += v * w
    return won / total


def r2(outputs, targets, weights):
    y, t = outputs.astype(np.float64), targets.astype(np.float64)
    w = np.asarray(weights)[:, None]
    spread = (w * (t - np.average(t, axis=0, weights=weights)) ** 2).sum(0)
    return (1 - (w * (y - t) ** 2).sum(0) / spread).mean()


def rmse(outputs, targets, weights):
    each = ((outputs.astype(np.float64) - targets) ** 2).mean(1)
    return np.sqrt(np.average(each, weights=weights))


positive = lambda y: int(y > 0)  # noqa: E731
CASES = {
    "mean": (
        Mean(metrics.accuracy),
        logits,
        labels,
        mean_of(lambda y, t: y.argmax() == t),
    ),
    "mean of a loss": (
        Mean(losses.mean_squared_error),
        guesses - numbers,
        numbers * 0,
        mean_of(lambda y, t: np.mean((y - t) ** 2)),
    ),
    "confusion": (ConfusionMatrix(3), logits, labels, matrix(np.argmax, 3)),
    "confusion, binary": (ConfusionMatrix(2), scores, binary, matrix(positive, 2)),
    "auc": (RocAuc(), scores, binary, auc),
    "rmse": (metrics.RootMeanSquaredError(), guesses, numbers, rmse),
    "r2": (R2(), guesses, numbers, r2),
} | {
    f"{kind.__name__}, {average}": (
        kind(3, average),
        logits,
        labels,
        class_shares(kind.__name__.lower(), np.argmax, 3, average),
    )
    for kind in (Precision, Recall, F1)
    for average in ("macro", "micro", None)
}
CASES |= {
    f"{kind.__name__}, binary": (
        kind(2, "binary"),
        scores,
        binary,
        class_shares(kind.__name__.lower(), positive, 2, "binary"),
    )
    for kind in (Precision, Recall, F1)
}
every_metric = pytest.mark.parametrize("name", CASES)
ONES = np.ones(N, np.float32)


def combine(metric, parts):
    """What a trainer does with the statistics of batches."""
    if metric.stack:
        return jax.tree.map(lambda *x: jnp.concatenate(x), *parts)
    return jax.tree.map(lambda *x: functools.reduce(jnp.add, x), *parts)


@every_metric
def test_agrees_with_a_loop_in_numpy(name):
    metric, outputs, targets, oracle = CASES[name]
    got, want = metric(outputs, targets), oracle(outputs, targets, ONES)
    np.testing.assert_allclose(got, want, rtol=1e-5)
    assert isinstance(metric, metrics.Metric)
    assert got.dtype == (jnp.int32 if "Confusion" in repr(metric) else jnp.float32)


update = jax.jit(lambda metric, *batch: metric.update(*batch), static_argnums=0)


@pytest.mark.parametrize(
    "name", ["mean", "mean of a loss", "confusion", "F1, macro", "auc", "rmse", "r2"]
)
@few
@given(cuts=st.sets(st.integers(1, 11), max_size=5))
def test_streamed_in_any_split_equals_at_once(name, cuts):
    metric, outputs, targets, _ = CASES[name]
    batches = [slice(*ends) for ends in itertools.pairwise([0, *sorted(cuts), 12])]
    parts = [update(metric, outputs[b], targets[b], ONES[b]) for b in batches]
    got = metric.compute(combine(metric, parts))
    want = metric.compute(update(metric, outputs[:12], targets[:12], ONES[:12]))
    if name in ("mean of a loss", "rmse"):
        np.testing.assert_allclose(got, want, rtol=1e-6)
    else:  # sums of whole numbers, or rows, are the same whatever the split
        np.testing.assert_array_equal(got, want)


@every_metric
def test_weight_0_counts_nowhere_whatever_the_values(name):
    metric, outputs, targets, oracle = CASES[name]
    weights = np.where(np.arange(N) % 3 == 0, 0, 1).astype(np.float32)
    off = (weights == 0).reshape(-1, *[1] * (outputs.ndim - 1))
    padded = np.where(off, np.nan, outputs).astype(np.float32)
    got = metric.compute(metric.update(padded, targets, weights))
    kept = weights != 0
    np.testing.assert_allclose(got, metric(outputs[kept], targets[kept]), rtol=1e-6)
    np.testing.assert_allclose(got, oracle(outputs, targets, weights), rtol=1e-5)


@pytest.mark.parametrize("name", ["mean", "mean of a loss", "auc", "rmse", "r2"])
def test_weights_are_respected(name):
    metric, outputs, targets, oracle = CASES[name]
    weights = np.random.default_rng(1).integers(4, size=N).astype(np.float32) / 2
    got = metric.compute(metric.update(outputs, targets, weights))
    np.testing.assert_allclose(got, oracle(outputs, targets, weights), rtol=1e-5)


@every_metric
def test_inside_jit_scan_and_vmap(name):
    metric, outputs, targets, _ = CASES[name]
    want = metric(outputs, targets)
    np.testing.assert_allclose(jax.jit(metric)(outputs, targets), want, rtol=1e-6)
    batch = lambda x: jnp.asarray(x).reshape(4, 6, *x.shape[1:])  # noqa: E731
    batches = jax.tree.map(batch, (outputs, targets, ONES))
    _, stats = jax.lax.scan(lambda _, b: (None, metric.update(*b)), None, batches)
    same = jax.vmap(metric.update)(*batches)
    merge = jnp.concatenate if metric.stack else sum
    for many in (stats, same):
        whole = jax.tree.map(lambda x: merge(list(x)), many)
        np.testing.assert_allclose(metric.compute(whole), want, rtol=1e-6)


@every_metric
def test_bfloat16_and_float64_outputs(name):
    metric, outputs, targets, _ = CASES[name]
    half = jnp.asarray(outputs, jnp.bfloat16)
    got = metric(half, targets)
    assert got.dtype in (jnp.float32, jnp.int32)
    want = metric(np.asarray(half.astype(jnp.float32)), targets)
    np.testing.assert_allclose(got, want, rtol=5e-3)
    with jax.enable_x64(True):
        wide = metric(outputs.astype(np.float64), targets)
    np.testing.assert_allclose(wide, metric(outputs, targets), rtol=1e-5)


@every_metric
def test_metrics_are_plain_values(name):
    metric, outputs, targets, _ = CASES[name]
    traces = []

    @functools.partial(jax.jit, static_argnums=0)
    def value(metric, outputs, targets):
        traces.append(metric)
        return metric(outputs, targets)

    twin = type(metric)(**vars(metric))
    assert twin == metric and hash(twin) == hash(metric) and twin is not metric
    value(metric, outputs, targets)
    value(twin, outputs, targets)
    assert len(traces) == 1
    if not isinstance(metric, Mean):
        assert eval(repr(metric), vars(metrics)) == metric
    with pytest.raises(AttributeError):
        metric.stack = True


@every_metric
def test_the_value_of_nothing_is_nan(name):
    metric, outputs, targets, _ = CASES[name]
    value = metric.compute(metric.update(outputs, targets, 0 * ONES))
    if isinstance(metric, ConfusionMatrix):
        np.testing.assert_array_equal(value, 0)  # counts: none
    else:
        assert np.isnan(value).all()


@every_metric
def test_an_output_that_is_nan_where_it_counts_is_not_hidden(name):
    """A class, or a side of a threshold, could be read off it all the same."""
    metric, outputs, targets, _ = CASES[name]
    broken = np.array(outputs)
    broken.reshape(N, -1)[5, 0] = np.nan
    value = metric(broken, targets)
    unknown = np.isnan(value) | (np.asarray(value) == -1)
    assert unknown.all()
    left_out = metric.update(broken, targets, np.where(np.arange(N) == 5, 0.0, 1.0))
    assert not np.isnan(metric.compute(left_out)).any()


# ---- one value per example ----


def test_accuracy_of_classes_rows_and_sequences():
    want = (logits.argmax(1) == labels).astype(np.float32)
    np.testing.assert_array_equal(metrics.accuracy(logits, labels), want)
    rows = np.eye(3)[labels]
    np.testing.assert_array_equal(metrics.accuracy(logits, rows), want)
    np.testing.assert_array_equal(metrics.accuracy(logits, rows.astype(bool)), want)
    probabilities = jax.nn.softmax(logits)
    np.testing.assert_array_equal(metrics.accuracy(probabilities, labels), want)
    sequences = metrics.accuracy(logits.reshape(6, 4, 3), labels.reshape(6, 4))
    np.testing.assert_allclose(sequences, want.reshape(6, 4).mean(1))
    np.testing.assert_array_equal(metrics.accuracy(logits, labels - 100), 0)
    assert metrics.accuracy(logits, labels).dtype == jnp.float32


def test_accuracy_ignores_a_label_as_the_loss_does():
    outputs = jnp.eye(3)[jnp.array([[0, 1], [1, 2], [2, 0]])]
    targets = jnp.array([[0, -1], [0, 2], [-1, -1]])
    accuracy = part(metrics.accuracy, ignore_label=-1)
    np.testing.assert_array_equal(accuracy(outputs, targets), [1, 0.5, 0])
    share = float(Mean(accuracy)(outputs, targets))  # of three labels, two right
    assert share == pytest.approx(2 / 3)
    with pytest.raises(ValueError, match="accuracy: ignore_label needs integer"):
        accuracy(outputs, outputs)


def test_top_k_accuracy_ignores_a_label_too():
    outputs = jnp.eye(3)[jnp.array([[0, 1], [1, 2]])]
    top = part(metrics.top_k_accuracy, k=1, ignore_label=-1)
    np.testing.assert_array_equal(top(outputs, jnp.array([[0, -1], [0, 2]])), [1, 0.5])


NAN = np.array([[0.1, 0.9], [np.nan, 0.3], [0.2, np.nan]], np.float32)


@pytest.mark.parametrize(
    ("metric", "targets"),
    [
        (metrics.accuracy, np.array([1, 1, 1])),
        (metrics.accuracy, np.eye(2)[[1, 1, 1]]),
        (part(metrics.top_k_accuracy, k=1), np.array([1, 1, 1])),
        (metrics.binary_accuracy, np.eye(2)[[1, 1, 1]]),
        (metrics.multi_label_accuracy, np.eye(2)[[1, 1, 1]]),
    ],
)
def test_examples_with_nan_outputs_have_nan(metric, targets):
    values = np.asarray(metric(NAN, targets))
    np.testing.assert_array_equal(np.isnan(values), [False, True, True])


def test_an_ignored_position_may_be_nan():
    accuracy = part(metrics.accuracy, ignore_label=-1)
    np.testing.assert_array_equal(accuracy(NAN[None], np.array([[1, -1, -1]])), [1])
    same = F1(2, None, ignore_label=-1)(NAN[None], np.array([[1, -1, -1]]))
    np.testing.assert_array_equal(same, [0, 1])


@few
@given(k=st.integers(1, 5), seed=st.integers(0, 99))
def test_top_k_accuracy(k, seed):
    draw = np.random.default_rng(seed)
    outputs = draw.integers(3, size=(8, 5)).astype(np.float32)  # many ties
    targets = draw.integers(5, size=8)
    order = np.argsort(-outputs, axis=1, kind="stable")[:, :k]  # lower class first
    want = [t in row for t, row in zip(targets, order, strict=True)]
    top = part(metrics.top_k_accuracy, k=k)
    np.testing.assert_array_equal(top(outputs, targets), want)
    np.testing.assert_array_equal(top(outputs, np.eye(5)[targets]), want)
    if k == 1:
        same = metrics.accuracy(outputs, targets)
        np.testing.assert_array_equal(top(outputs, targets), same)
    sequences = top(outputs.reshape(2, 4, 5), targets.reshape(2, 4))
    np.testing.assert_allclose(sequences, np.reshape(want, (2, 4)).mean(1))
    np.testing.assert_array_equal(top(outputs, targets * 0 - 1), 0)
    np.testing.assert_array_equal(top(outputs, targets * 0 + 5), 0)


@pytest.mark.parametrize("k", [0, 4, -1, "2", 1.5, True])
def test_top_k_out_of_range(k):
    with pytest.raises(
        ValueError, match=f"k must be from 1 to the 3 classes, got {k!r}"
    ):
        metrics.top_k_accuracy(logits, labels, k=k)


def test_binary_and_multi_label_accuracy():
    z = jnp.array([[2.0, -1.0, 0.0], [-3.0, 1.0, 2.0]])
    t = jnp.array([[1, 0, 0], [1, 1, 1]])
    for targets in (t, t.astype(jnp.float32), t > 0, 2 * t - 1):
        np.testing.assert_allclose(metrics.binary_accuracy(z, targets), [1, 2 / 3])
        np.testing.assert_array_equal(metrics.multi_label_accuracy(z, targets), [1, 0])
    p = jax.nn.sigmoid(z)
    half = part(metrics.binary_accuracy, threshold=0.5)
    np.testing.assert_allclose(half(p, t), [1, 2 / 3])
    np.testing.assert_array_equal(half(p[:, 0], t[:, 0]), [1, 0])
    exact = metrics.multi_label_accuracy(p[:, None], t[:, None], threshold=0.5)
    np.testing.assert_array_equal(exact, [1, 0])


def test_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match=r"accuracy: outputs must be.*at least 2"):
        metrics.accuracy(logits[:, :1], labels)
    with pytest.raises(TypeError, match="accuracy: labels are float"):
        metrics.accuracy(logits, labels.astype(np.float32))
    with pytest.raises(ValueError, match=r"binary_accuracy.*targets\[:, None\]"):
        metrics.binary_accuracy(scores[:, None], binary)
    with pytest.raises(ValueError, match="for one label use binary_accuracy"):
        metrics.multi_label_accuracy(scores, binary)
    with pytest.raises(ValueError, match=r"outputs must be \[N, ..., 4\], got float32"):
        ConfusionMatrix(4)(logits, labels)
    with pytest.raises(ValueError, match=r"one shape.*float32\[24\].*int32\[23\]"):
        Precision(2)(scores, binary[1:])
    with pytest.raises(ValueError, match=r"RocAuc.*float32\[24,3\]"):
        RocAuc()(logits, binary)
    with pytest.raises(ValueError, match=r"one value per example.*float32\[24,2\]"):
        Mean(lambda y, t: y - t)(guesses, numbers)
    for metric in (F1(3), RocAuc(), R2(), metrics.accuracy):
        with pytest.raises(TypeError, match=r"outputs must be one array, got \{'a': f"):
            metric({"a": logits}, labels)
    with pytest.raises(TypeError, match=r"F1: targets must be one array, got None"):
        F1(3)(logits, None)
    with pytest.raises(
        ValueError, match=r"one value per example, \[24\], got \(float32"
    ):
        Mean(lambda y, t: (y, y))(guesses, numbers)
    with pytest.raises(ValueError, match=r"R2.*targets\[:, None\]"):
        R2()(scores[:, None], binary)


# ---- over a data set ----


@pytest.mark.parametrize("outputs", [scores, scores[:, None]])
@pytest.mark.parametrize("targets", [binary, binary[:, None], binary.astype("f4")])
def test_binary_outputs_and_targets_may_be_columns(outputs, targets):
    for metric in (ConfusionMatrix(2), F1(2, "binary"), RocAuc()):
        want = metric(scores, binary)
        np.testing.assert_array_equal(metric(outputs, targets), want)
    probability = jax.nn.sigmoid(outputs)
    got = ConfusionMatrix(2, threshold=0.5)(probability, targets)
    np.testing.assert_array_equal(got, ConfusionMatrix(2)(scores, binary))


def test_two_columns_are_two_classes():
    two = np.stack([0 * scores, scores], 1)
    rows = np.eye(2)[binary]
    for metric in (ConfusionMatrix(2), Recall(2, "binary"), RocAuc()):
        want = metric(scores, binary)
        np.testing.assert_array_equal(metric(two, binary), want)
        np.testing.assert_array_equal(metric(two, rows), want)
    # Differences are what counts, up to the ties that rounding makes and breaks.
    shifted = two + np.random.default_rng(1).integers(5, size=(N, 1)).astype(np.float32)
    np.testing.assert_allclose(
        RocAuc()(shifted, binary), auc(scores, binary, ONES), atol=0.02
    )  # fmt: skip (rounding makes and breaks ties)


def test_confusion_matrix_of_pixels_leaves_out_unknown_labels():
    pixels = logits.reshape(2, 3, 4, 3)
    truth = labels.reshape(2, 3, 4).copy()
    truth[0, 0] = [-1, 255, 3, -3]
    got = ConfusionMatrix(3)(pixels, truth)
    known = (truth >= 0) & (truth < 3)
    want = matrix(np.argmax, 3)(pixels[known], truth[known], ONES[:20])
    np.testing.assert_array_equal(got, want)
    second = ConfusionMatrix(3).update(pixels, truth, np.array([0.0, 1.0], np.float32))
    want = ConfusionMatrix(3)(pixels[1:], truth[1:])
    np.testing.assert_array_equal(second["counts"], want)


def test_empty_classes_are_0():
    outputs, targets = jnp.eye(4)[jnp.array([0, 0, 1])], jnp.array([0, 1, 1])
    np.testing.assert_array_equal(Precision(4, None)(outputs, targets), [0.5, 1, 0, 0])
    np.testing.assert_array_equal(Recall(4, None)(outputs, targets), [1, 0.5, 0, 0])
    np.testing.assert_allclose(F1(4, None)(outputs, targets), [2 / 3, 2 / 3, 0, 0])
    nothing = F1(4).compute(F1(4).update(outputs, targets, jnp.zeros(3)))
    assert jnp.isnan(nothing)


@pytest.mark.parametrize("kind", [ConfusionMatrix, Precision, Recall, F1])
@pytest.mark.parametrize("classes", [1, 0, -2, 2.0, "3"])
def test_classes_out_of_range(kind, classes):
    with pytest.raises(ValueError, match=f"{kind.__name__}: classes must be an int"):
        kind(classes)


def test_many_classes_need_no_matrix():
    outputs = jnp.zeros((3, 60_000)).at[jnp.arange(3), jnp.array([7, 7, 59_999])].set(1)
    got = F1(60_000, None)(outputs, jnp.array([7, 8, 59_999]))
    assert (got[7].round(4), got[8], got[59_999]) == (np.float32(0.6667), 0, 1)
    with pytest.raises(ValueError, match=r"at most 46340, got 60000, .* 14.4 GB"):
        ConfusionMatrix(60_000)


@pytest.mark.parametrize("kind", [ConfusionMatrix, Precision, Recall, F1])
def test_classes_that_are_ignored_count_nothing(kind):
    outputs, targets = jnp.eye(4)[jnp.array([0, 0, 1, 3])], jnp.array([0, 1, 1, 0])
    got = kind(4, ignore_label=0)(outputs, targets)
    want = kind(4).update(outputs, targets, jnp.array([0.0, 1, 1, 0]))
    np.testing.assert_array_equal(got, kind(4).compute(want))
    two = kind(2, ignore_label=-1)
    seen = two(scores, np.where(np.arange(N) < 9, -1, binary))
    np.testing.assert_array_equal(seen, kind(2)(scores[9:], binary[9:]))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: F1(3, threshold="0.5"), "F1: threshold must be a number, got '0.5'"),
        (lambda: ConfusionMatrix(3, ignore_label="x"), "ignore_label must be an int"),
        (lambda: metrics.Perplexity(-1.5), "Perplexity: ignore_label must be an int"),
    ],
)
def test_options_of_the_wrong_kind(make, said):
    with pytest.raises(ValueError, match=said):
        make()


def test_averages_out_of_range():
    with pytest.raises(ValueError, match=r"Recall: average must.*'makro'.*'macro'"):
        Recall(3, "makro")
    with pytest.raises(ValueError, match="'binary' needs classes=2, got 3"):
        F1(3, "binary")


def test_auc_at_the_edges():
    zeros, ones = jnp.zeros(4, jnp.int32), jnp.ones(4, jnp.int32)
    s, t = jnp.array([0.1, 0.2, 0.3, 0.4]), jnp.array([0, 0, 1, 1])
    assert float(RocAuc()(s, t)) == 1 and float(RocAuc()(-s, t)) == 0
    assert float(RocAuc()(jnp.zeros(4), t)) == 0.5
    assert jnp.isnan(RocAuc()(s, zeros)) and jnp.isnan(RocAuc()(s, ones))
    infinite = jnp.array([-jnp.inf, 0.0, 0.0, jnp.inf])
    assert float(RocAuc()(infinite, t)) == 0.875
    assert jnp.isnan(RocAuc()(s.at[0].set(jnp.nan), t))


def test_auc_of_many_scores_is_exact():
    draw = np.random.default_rng(1)
    s = draw.normal(size=20_000).astype(np.float32).round(2)
    t = draw.normal(size=20_000) < s
    values, place, count = np.unique(s, return_inverse=True, return_counts=True)
    lost = np.bincount(place, ~t, len(values))
    below = np.cumsum(lost) - lost / 2  # negatives below each value, ties half
    want = below[place[t]].sum() / t.sum() / (~t).sum()
    np.testing.assert_allclose(RocAuc()(s, t), want, rtol=1e-6)
    assert count.max() > 1


def test_r2_in_float32_with_a_mean_far_above_the_spread():
    draw = np.random.default_rng(1)
    t = (1e6 + draw.normal(size=500)).astype(np.float32)
    y = t + draw.normal(size=500).astype(np.float32) / 4
    want = r2(y[:, None], t[:, None], np.ones(500))
    np.testing.assert_allclose(R2()(y, t), want, rtol=1e-4)


def test_r2_of_targets_that_do_not_vary():
    t = jnp.full(7, 0.1)
    assert float(R2()(t, t)) == 1
    assert float(R2()(t + 1, t)) == 0


def test_the_mean_of_nothing_is_nan():
    stats = Mean(metrics.accuracy).update(logits, labels, 0 * ONES)
    assert jnp.isnan(Mean(metrics.accuracy).compute(stats))


# ---- as_metric ----


def test_as_metric_lifts_functions_and_passes_metrics():
    assert metrics.as_metric(metrics.accuracy) == Mean(metrics.accuracy)
    top = lambda k: Mean(part(metrics.top_k_accuracy, k=k))  # noqa: E731
    assert top(2) == top(2) and hash(top(2)) == hash(top(2)) and top(2) != top(1)
    assert top(2) != Mean(metrics.top_k_accuracy) != RocAuc()
    for metric in (RocAuc(), F1(3), top(2)):
        assert metrics.as_metric(metric) is metric

    class Own:
        stack = False
        update = staticmethod(lambda outputs, targets, weights: {})
        compute = staticmethod(lambda stats: 0)
        __call__ = staticmethod(lambda outputs, targets: 0)

    own = Own()
    assert metrics.as_metric(own) is own


def test_metrics_beside_a_loss_ignore_what_it_ignores():
    loss = part(losses.softmax_cross_entropy, ignore_label=0)
    told = metrics.beside(loss, Mean(metrics.accuracy))
    assert told == Mean(part(metrics.accuracy, ignore_label=0))
    top = Mean(part(metrics.top_k_accuracy, k=2))
    assert metrics.beside(loss, top).function.keywords == {"k": 2, "ignore_label": 0}
    assert metrics.beside(loss, F1(3)) == F1(3, ignore_label=0)
    assert metrics.beside(loss, metrics.perplexity) == metrics.Perplexity(0)
    for own in (F1(3, ignore_label=2), Mean(part(metrics.accuracy, ignore_label=2))):
        assert metrics.beside(loss, own) is own  # they were told otherwise
    for plain in (RocAuc(), Mean(losses.huber), Mean(lambda y, t: y)):
        assert metrics.beside(loss, plain) is plain  # they cannot
    for loss in (None, losses.softmax_cross_entropy, part(max, ignore_label=0)):
        assert metrics.beside(loss, F1(3)) == F1(3)


@pytest.mark.parametrize("wrong", ["accuracy", None, 3, {"accuracy": 1}])
def test_as_metric_refuses_what_is_neither(wrong):
    with pytest.raises(TypeError, match="a metric must be a function"):
        metrics.as_metric(wrong)


def test_as_metric_refuses_a_class_without_its_parentheses():
    with pytest.raises(
        TypeError, match=r"as_metric: .* got RocAuc; build it, RocAuc\("
    ):
        metrics.as_metric(RocAuc)


def test_the_errors_are_the_losses_themselves():
    assert metrics.mean_absolute_error is losses.mean_absolute_error
    assert metrics.mean_squared_error is losses.mean_squared_error


# ---- scikit-learn ----


def sample():
    weights = np.random.default_rng(1).integers(1, 4, size=N).astype(np.float32)
    return weights, {"sample_weight": weights}


def test_classes_agree_with_scikit_learn():
    sk = pytest.importorskip("sklearn.metrics")
    guess, all_three = logits.argmax(1), {"labels": range(3)}
    got = ConfusionMatrix(3)(logits, labels)
    np.testing.assert_array_equal(got, sk.confusion_matrix(labels, guess))
    for kind, function in [
        (Precision, sk.precision_score),
        (Recall, sk.recall_score),
        (F1, sk.f1_score),
    ]:
        for average in ("macro", "micro", None):
            want = function(
                labels, guess, average=average, zero_division=0, **all_three
            )
            np.testing.assert_allclose(
                kind(3, average)(logits, labels), want, rtol=1e-6
            )
        want = function(binary, scores > 0, average="binary")
        np.testing.assert_allclose(kind(2, "binary")(scores, binary), want, rtol=1e-6)
    want = sk.top_k_accuracy_score(labels, logits, k=2)
    top = part(metrics.top_k_accuracy, k=2)
    np.testing.assert_allclose(Mean(top)(logits, labels), want, rtol=1e-6)


def test_auc_agrees_with_scikit_learn():
    sk = pytest.importorskip("sklearn.metrics")
    weights, keyword = sample()
    got = RocAuc().compute(RocAuc().update(scores, binary, weights))
    np.testing.assert_allclose(got, sk.roc_auc_score(binary, scores, **keyword), 1e-6)


def test_errors_agree_with_scikit_learn():
    sk = pytest.importorskip("sklearn.metrics")
    weights, keyword = sample()
    got = R2().compute(R2().update(guesses, numbers, weights))
    np.testing.assert_allclose(got, sk.r2_score(numbers, guesses, **keyword), 1e-4)
    root = metrics.RootMeanSquaredError()
    got = root.compute(root.update(guesses, numbers, weights))
    want = math.sqrt(sk.mean_squared_error(numbers, guesses, **keyword))
    np.testing.assert_allclose(got, want, rtol=1e-5)
