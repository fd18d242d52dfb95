# SPDX-License-Identifier: Apache-2.0
"""Confusion matrices and ROC curves: their numbers, and what is written into them."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from matplotlib.colors import to_rgb

import jaxnn as nn
from jaxnn.pictures.roc import LINES, SHADES

pictures = nn.pictures
RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 4)).astype(np.float32)
WAYS = RNG.normal(size=(4, 3))
LABELS = (X @ WAYS + RNG.normal(size=(60, 3))).argmax(1)
LINEAR = nn.Dense(3, bias=False)
STATE = {"w": jnp.asarray(WAYS, jnp.float32)}, {}


def written(path):
    return path.read_bytes()[1:4] == b"PNG"


def luminance(color):
    return to_rgb(color) @ np.array([0.3, 0.59, 0.11])


# ---- confusion matrix ----


def test_counts_are_written_where_they_belong(tmp_path):
    counts = np.array([[40, 3, 0], [1, 50, 2], [0, 0, 7]])
    figure = pictures.confusion_matrix(
        counts, tmp_path / "deep" / "c.png", names=["cat", "dog", "cow"]
    )
    assert written(tmp_path / "deep" / "c.png")
    axes = figure.axes[0]
    found = {tuple(map(int, t.get_position())): t.get_text() for t in axes.texts}
    assert found == {(g, t): str(n) for (t, g), n in np.ndenumerate(counts)}
    assert axes.get_title() == "94.17 % of 103 right"
    assert [t.get_text() for t in axes.get_xticklabels()] == ["cat", "dog", "cow"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted class", "true class")
    np.testing.assert_allclose(axes.images[0].get_array()[2], [0, 0, 1])


@pytest.mark.parametrize("classes", [2, 3, 10, 26])
def test_counts_fit_their_cells_and_stand_out(classes):
    counts = RNG.integers(0, 30, (classes, classes)) + 900 * np.eye(classes, dtype=int)
    figure = pictures.confusion_matrix(counts)
    figure.draw_without_rendering()
    axes, (image,) = figure.axes[0], figure.axes[0].images
    (bar,) = axes.child_axes
    labels = axes.title, axes.xaxis.label, axes.yaxis.label, bar.yaxis.label
    assert bar.get_ylabel() == "share of the true class (square-root scale)"
    assert [t.get_text() for t in bar.get_yticklabels()][-2:] == ["50 %", "100 %"]
    assert inside(figure, *labels)
    cell = axes.transData.transform([[0, 0], [1, 1]])
    side = abs(np.diff(cell[:, 0])[0])
    for text in axes.texts:
        assert text.get_window_extent().width < side
        guess, true = map(int, text.get_position())
        shade = image.cmap(image.norm(image.get_array()[true, guess]))[:3]
        if text.get_text() != "0":
            assert abs(luminance(shade) - luminance(text.get_color())) > 0.35


def test_many_classes_have_no_numbers_and_few_names():
    figure = pictures.confusion_matrix(np.eye(100, dtype=int))
    assert not figure.axes[0].texts and len(figure.axes[0].get_xticks()) <= 20


@pytest.mark.parametrize("weighted", [False, True])
def test_a_network_is_counted_as_its_metric_counts(weighted):
    weights = np.arange(60, dtype=np.float32) % 2
    data = (X, LABELS, weights) if weighted else (X, LABELS)
    figure = pictures.confusion_matrix((LINEAR, STATE, data))
    guess = (X @ WAYS).argmax(1)
    kept = weights > 0 if weighted else np.ones(60, bool)
    expected = np.zeros((3, 3), int)
    np.add.at(expected, (LABELS[kept], guess[kept]), 1)
    drawn = [int(text.get_text()) for text in figure.axes[0].texts]
    np.testing.assert_array_equal(np.reshape(drawn, (3, 3)), expected)


@pytest.mark.parametrize("end", [None, jax.nn.sigmoid])
def test_two_classes_of_one_output_are_divided_at_a_half(end):
    column = {"w": STATE[0]["w"][:, :1]}
    net = nn.Dense(1, bias=False)
    net, params = (
        (net, column)
        if end is None
        else (nn.Sequential(fc=net, end=end), {"fc": column})
    )
    targets = (LABELS > 0).astype(np.float32)[:, None]
    figure = pictures.confusion_matrix((net, (params, {}), (X, targets)))
    guess = (X @ WAYS[:, 0]) > 0
    right = int((guess == targets[:, 0]).sum())
    assert figure.axes[0].get_title() == f"{100 * right / 60:.2f} % of 60 right"


def test_a_trained_state_is_taken():
    state, _ = nn.fit(
        *(nn.Dense(3), (X, LABELS)),
        loss=nn.losses.softmax_cross_entropy,
        optimizer=optax.sgd(0.5),
        epochs=1,
        batch_size=20,
        key=jax.random.key(0),
    )
    assert pictures.confusion_matrix((nn.Dense(3), state, (X, LABELS)))
    assert pictures.roc_curve((nn.Dense(3), state, (X, LABELS)))


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (np.ones((2, 3), int), r"matrix must be counts \[K, K\].* got int64\[2,3\]"),
        (np.ones((1, 1), int), r"matrix must be counts \[K, K\]"),
        ("abc", r"matrix must be counts \[K, K\], or \(net, state, data\)"),
        (
            np.full((2, 2), -1),
            "counts must be 0 or more, got -1; where outputs are NaN",
        ),
        (np.full((2, 2), np.nan), "counts must be 0 or more, got nan"),
        (np.full((2, 2), 0.25), "must hold counts, which are whole numbers, got 0.25"),
        (
            (lambda x: x[:, :, None], ({}, {}), (X, LABELS)),
            r"scores of classes, \[N, K",
        ),
    ],
)
def test_what_is_no_matrix_is_refused(matrix, message):
    with pytest.raises(ValueError, match=f"confusion_matrix: .*{message}"):
        pictures.confusion_matrix(matrix)


@pytest.mark.parametrize("draw", [pictures.confusion_matrix, pictures.roc_curve])
def test_names_are_those_of_the_classes(draw):
    for names in (["cat", "dog"], "cat", 3):
        with pytest.raises(ValueError, match=r"names must be 3 names, one for each"):
            draw((LINEAR, STATE, (X, LABELS)), names=names)


# ---- ROC curves ----


def areas(figure):
    """The numbers of the legend's labels, without that of chance."""
    labels = [line.get_label() for line in figure.axes[0].lines[1:]]
    return [float(label.rpartition(" ")[2]) for label in labels]


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_points_and_areas_are_those_of_scikit_learn(classes):
    sklearn = pytest.importorskip("sklearn.metrics")
    targets = RNG.integers(0, classes, 200)
    scores = RNG.normal(size=(200, classes)).round(1)  # with ties
    scores[np.arange(200), targets] += 1
    scores = scores.astype(np.float32)
    found = pictures.roc_points((scores, targets))
    if classes == 2:
        assert list(found) == [1]
        scores = np.stack([-scores[:, 1], scores[:, 1] - scores[:, 0]], 1)
    for k, roc in found.items():
        area = sklearn.roc_auc_score(targets == k, scores[:, k])
        assert roc.area == pytest.approx(area, abs=1e-6)
        x, y, _ = sklearn.roc_curve(targets == k, scores[:, k], drop_intermediate=False)
        np.testing.assert_allclose(roc.false_positives, x, atol=1e-6)
        np.testing.assert_allclose(roc.true_positives, y, atol=1e-6)


@pytest.mark.parametrize("form", ["column", "row", "pair"])
def test_the_legend_has_the_metrics_area(form, tmp_path):
    score = (X @ WAYS[:, 0]).astype(np.float32)
    scores = {
        "column": score[:, None],
        "row": score,
        "pair": np.stack([-score, score], 1),
    }
    targets = (LABELS == 0).astype(int)
    figure = pictures.roc_curve((scores[form], targets), tmp_path / "roc.png")
    assert written(tmp_path / "roc.png")
    expected = nn.metrics.RocAuc()(scores[form], targets)
    assert areas(figure) == [pytest.approx(float(expected), abs=5e-5)]
    assert figure.axes[0].get_title() == "class 1 or not"


def test_weights_count_as_in_the_metric():
    score, positive = X[:, 0], (LABELS == 0).astype(int)
    weights = RNG.integers(0, 4, 60).astype(np.float32)
    roc = pictures.roc_points((score, positive, weights))[1]
    repeated = np.repeat(np.arange(60), weights.astype(int))
    plain = pictures.roc_points((score[repeated], positive[repeated]))[1]
    assert roc.area == pytest.approx(plain.area, rel=1e-5)
    trapezoids = np.trapezoid(roc.true_positives, roc.false_positives)
    assert trapezoids == pytest.approx(roc.area, rel=1e-5)


@pytest.mark.parametrize("end", [None, jax.nn.softmax])
def test_a_networks_classes_are_compared_by_their_probabilities(end):
    net = LINEAR if end is None else nn.Sequential(fc=LINEAR, end=end)
    state = STATE if end is None else ({"fc": STATE[0]}, {})
    shares = np.asarray(jax.nn.softmax(jnp.asarray(X @ WAYS, jnp.float32)))
    figure = pictures.roc_curve((net, state, (X, LABELS)), names=["a", "b", "c"])
    for k, area in enumerate(areas(figure)):
        expected = nn.metrics.RocAuc()(shares[:, k], (LABELS == k).astype(int))
        assert area == pytest.approx(float(expected), abs=6e-5)
    assert figure.axes[0].lines[2].get_label().startswith("b, AUC 0.")


def test_sure_networks_do_not_tie():
    """Softmax rounds such probabilities to 1; their log odds still differ."""
    logits = np.zeros((4, 3), np.float32)
    logits[:, 0] = [60, 70, 80, 90]
    roc = pictures.roc_points(
        (nn.Identity(), ({}, {}), (logits, np.array([1, 1, 0, 0])))
    )
    assert roc[0].area == 1.0 and roc[1].area == 1.0


def test_a_class_that_does_not_occur_is_said():
    scores = np.eye(3, dtype=np.float32)[[0, 1, 0, 1]]
    figure = pictures.roc_curve((scores, np.array([0, 1, 0, 1])))
    assert (
        figure.axes[0].lines[3].get_label() == "class 2, no AUC: none or all are of it"
    )


def test_letters_have_lines_of_their_own():
    assert len(set(SHADES)) * len(set(LINES)) >= 26


def inside(figure, *parts):
    """Whether all of these parts of a picture are within its edges."""
    boxes = [part.get_window_extent() for part in parts]
    low, high = figure.bbox.min, figure.bbox.max
    return all(
        (box.min >= low - 1).all() and (box.max <= high + 1).all() for box in boxes
    )


@pytest.mark.parametrize("classes", [2, 3, 10, 26])
def test_legends_do_not_cover_the_curves_or_each_other(classes):
    targets = np.arange(260) % classes
    scores = np.eye(classes)[targets] + RNG.normal(size=(260, classes))
    figure = pictures.roc_curve((scores, targets))
    figure.draw_without_rendering()
    axes = figure.axes[0]
    assert inside(figure, axes.title, axes.xaxis.label, axes.yaxis.label)
    legend = axes.get_legend()
    assert inside(figure, legend)
    if classes > 5:
        assert legend.get_window_extent().x0 >= axes.get_window_extent().x1


@pytest.mark.parametrize(
    ("scored", "kind", "message"),
    [
        (X, TypeError, "must be a tuple"),
        ((X[:, :3], LABELS + 1), ValueError, "targets must be classes from 0 to 2"),
        ((X[:, :, None], LABELS), ValueError, r"scores must be \[N, K\]"),
        ((np.full(60, np.nan), LABELS), ValueError, "must be finite"),
        (
            (nn.Identity(), ({}, {}), (X[:, :, None], LABELS)),
            ValueError,
            r"scores of classes, \[N, K\]",
        ),
        (
            (lambda x: x[:, :3] / 0, ({}, {}), (X, LABELS)),
            ValueError,
            "outputs of the network must be finite",
        ),
    ],
    ids=lambda v: None,
)
def test_what_has_no_curve_is_refused(scored, kind, message):
    with pytest.raises(kind, match=f"roc_curve.*{message}"):
        pictures.roc_curve(scored)


def test_labels_in_place_of_counts_are_answered_with_how_to_count():
    labels = np.array([0, 1, 1])
    with pytest.raises(ValueError, match=r"got int64\[3\]; count with nn.metrics.Conf"):
        nn.pictures.confusion_matrix(labels, labels)
