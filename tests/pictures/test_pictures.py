# SPDX-License-Identifier: Apache-2.0
"""Pictures: the numbers they show are right, and each can be drawn and written."""

import sys

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxnn as nn

pictures = nn.pictures
SQUARED = nn.losses.mean_squared_error
ENTROPY = nn.losses.softmax_cross_entropy
RNG = np.random.default_rng(0)
X = RNG.normal(size=(12, 2)).astype(np.float32)
LABELS = np.arange(12, dtype=np.int32) % 3
NET = nn.Sequential(nn.Dense(4), jax.nn.relu, nn.Dense(3))
IMAGES = RNG.normal(size=(4, 6, 6, 1)).astype(np.float32)
BLOCK = nn.Residual(nn.Sequential(nn.Conv(3, 3), nn.BatchNorm(), jax.nn.relu))
DEEP = nn.Sequential(
    nn.Conv(3, 3), stack=nn.Repeat(BLOCK, 2), pool=nn.GlobalAvgPool(), fc=nn.Dense(3)
)


@pytest.fixture(scope="module")
def plain():
    return NET.init(jax.random.key(0), X)


@pytest.fixture(scope="module")
def deep():
    return DEEP.init(jax.random.key(0), IMAGES)


def written(path):
    return path.read_bytes()[1:4] == b"PNG"


# ---- activations ----


def test_statistics_are_those_of_the_layers_outputs(plain):
    found = pictures.activation_statistics(NET, plain, X)
    assert list(found) == ["dense_1", "relu_1", "dense_2"]
    dense = jax.device_get(plain[0]["dense_1"])
    hidden = np.maximum(X @ dense["w"] + dense["b"], 0)
    relu = found["relu_1"]
    np.testing.assert_allclose(relu.mean, hidden.mean(), rtol=1e-5)
    np.testing.assert_allclose(relu.spread, hidden.std(), rtol=1e-5)
    assert relu.zeros == (hidden == 0).mean() > 0
    assert relu.counts.sum() == (hidden > 0).sum()
    np.testing.assert_allclose(relu.edges[-1], hidden.max(), rtol=1e-5)


def test_dead_units_are_those_that_never_fire():
    """Of three units one never fires and one fires now and then."""
    x = jnp.array([[-1.0, -1.0, 2.0], [-2.0, 1.0, 3.0]])
    found = pictures.activation_statistics(jax.nn.relu, ({}, {}), x)
    assert list(found) == ["jax.nn.relu"]  # a network of one layer has its code
    assert found["jax.nn.relu"].zeros == 0.5
    assert found["jax.nn.relu"].dead == pytest.approx(1 / 3)


def test_statistics_of_blocks_tell_repetitions_apart(deep):
    found = pictures.activation_statistics(DEEP, deep, IMAGES)
    conv = ["stack/block[0]/body/conv_1", "stack/block[1]/body/conv_1"]
    inner = [
        f"stack/block[{i}]/body/{name}"
        for i in range(2)
        for name in ("conv_1", "batch_norm_1", "relu_1")
    ]
    assert list(found) == ["conv_1", *inner, "pool", "fc"]
    (_, taps), _ = nn.Tap(DEEP, "stack/block/body/conv_1").apply(*deep, IMAGES)
    for name, y in zip(conv, taps["stack/block/body/conv_1"], strict=True):
        assert found[name].mean == pytest.approx(float(y.mean()), rel=1e-4)


def test_calls_of_a_shared_layer_are_told_apart(key):
    class Twice(nn.Composite):
        fc: nn.Layer

        def forward(self, run, x):
            return run("fc", run("fc", x))

    net = Twice(nn.Dense(2))
    trees = net.init(key, X)
    found = pictures.activation_statistics(net, trees, X)
    assert list(found) == ["fc", "fc#2"]
    y, _ = net.apply(*trees, X)
    assert found["fc#2"].mean == pytest.approx(float(y.mean()), rel=1e-4)


def test_training_statistics_are_the_batchs_own(deep):
    name = "stack/block[0]/body/batch_norm_1"
    kept = pictures.activation_statistics(DEEP, deep, IMAGES)[name]
    own = pictures.activation_statistics(DEEP, deep, IMAGES, train=True)[name]
    assert own.spread == pytest.approx(1, abs=0.01) and abs(own.mean) < 1e-5
    assert kept.spread != pytest.approx(1, abs=0.05)


def test_activations_are_drawn(deep, tmp_path):
    figure = pictures.activations(DEEP, deep, IMAGES, tmp_path / "deep" / "a.png")
    assert written(tmp_path / "deep" / "a.png")
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    found = pictures.activation_statistics(DEEP, deep, IMAGES)
    assert names == list(found)
    spread = figure.axes[1].lines[0].get_xdata()
    np.testing.assert_allclose(spread, [a.spread for a in found.values()])
    zeros = [bar.get_width() for bar in figure.axes[2].containers[0]]
    np.testing.assert_allclose(zeros, [100 * a.zeros for a in found.values()])


def test_silent_network_is_drawn():
    trees = {"dense_1": {"w": jnp.zeros((2, 3)), "b": jnp.zeros(3)}}, {}
    net = nn.Sequential(nn.Dense(3), jax.nn.relu)
    figure = pictures.activations(net, trees, X)
    assert [bar.get_width() for bar in figure.axes[2].containers[1]] == [100, 100]


def test_network_without_floats():
    with pytest.raises(ValueError, match=r"activations: no layer .* floating-point"):
        pictures.activations(lambda x: x.argmax(-1), ({}, {}), X)


# ---- gradients ----


def test_gradient_norms_are_those_of_each_layers_parameters(plain):
    found = pictures.gradient_norms(NET, plain, (X, LABELS), ENTROPY)
    assert list(found) == ["dense_1", "dense_2"]

    def total(params):
        return ENTROPY(NET.apply(params, {}, X)[0], LABELS).mean()

    slopes = jax.grad(total)(plain[0])
    for name, norm in found.items():
        assert norm == pytest.approx(float(optax.tree.norm(slopes[name])), rel=1e-5)


def test_gradient_norms_of_blocks_come_in_the_order_they_compute(deep):
    found = pictures.gradient_norms(DEEP, deep, (IMAGES, LABELS[:4]), ENTROPY)
    inner = [
        f"stack/block[{i}]/body/{name}"
        for i in range(2)
        for name in ("conv_1", "batch_norm_1")
    ]
    assert list(found) == ["conv_1", *inner, "fc"]
    assert all(norm > 0 for norm in found.values())


def test_gradients_count_what_the_loss_counts(plain):
    weights = np.r_[np.ones(3), np.zeros(9)].astype(np.float32)
    part = pictures.gradient_norms(NET, plain, (X[:3], LABELS[:3]), ENTROPY)
    weighted = pictures.gradient_norms(NET, plain, (X, LABELS, weights), ENTROPY)
    assert weighted == pytest.approx(part, rel=1e-5)


def test_gradients_of_a_deep_sigmoid_network_vanish(key, tmp_path):
    """The first of ten layers: with sigmoids a millionth of the last, with ReLU not."""
    norms = {}
    for act in (jax.nn.sigmoid, jax.nn.relu):
        layers = [layer for _ in range(9) for layer in (nn.Dense(16), act)]
        net = nn.Sequential(*layers, nn.Dense(3))
        batch = (X, LABELS)
        norms[act.__name__] = pictures.gradient_norms(
            net, net.init(key, X), batch, ENTROPY
        )
    ratios = {n: v["dense_1"] / v["dense_10"] for n, v in norms.items()}
    assert ratios["sigmoid"] < 1e-4 < 0.03 < ratios["relu"] < 30
    figure = pictures.compare_gradients(norms, tmp_path / "vanish.png")
    (axes,) = figure.axes
    np.testing.assert_allclose(axes.lines[0].get_ydata(), [*norms["sigmoid"].values()])
    assert axes.get_yscale() == "log"
    assert written(tmp_path / "vanish.png")


def test_gradients_of_a_network_with_dropout_need_a_key(key):
    net = nn.Sequential(nn.Dense(4), nn.Dropout(0.5), nn.Dense(3))
    start = nn.train_state(net, optax.sgd(0.1), X, key=key)
    batch = (X, LABELS)
    with pytest.raises(TypeError, match="training needs a random key"):
        pictures.gradients(net, (start.params, start.state), batch, ENTROPY)
    own = pictures.gradient_norms(net, start, batch, ENTROPY)
    step = nn.train_step(net, ENTROPY, optax.sgd(0.1))
    pair = start.params, start.state
    same = pictures.gradient_norms(net, pair, batch, ENTROPY, key=step.key(start))
    assert own == pytest.approx(same)  # the key of the step that comes next


def test_gradient_of_zero_is_marked(plain):
    figure = pictures.compare_gradients({"": {"a": 0.0, "b": 0.1}, "two": {"c": 1.0}})
    line, positive, zero = figure.axes[0].lines[:3]
    assert list(zero.get_xdata()) == [1] and list(positive.get_xdata()) == [2]
    assert line.get_ydata()[0] == pytest.approx(0.01)  # below the least, not at -inf


def test_gradients_refuse_what_training_refuses(plain):
    with pytest.raises(ValueError, match=r"^gradients: batch targets must be a class"):
        pictures.gradients(NET, plain, (X, LABELS + 1), ENTROPY)
    with pytest.raises(TypeError, match=r"^gradients: batch must be a tuple"):
        pictures.gradients(NET, plain, X, ENTROPY)
    with pytest.raises(ValueError, match="the network has no parameters"):
        pictures.gradients(nn.Identity(), ({}, {}), (X, X), SQUARED)
    with pytest.raises(ValueError, match="compare_gradients: norms must hold"):
        pictures.compare_gradients({"sigmoid": {}})


# ---- decision boundary ----

HALF = nn.Dense(1, bias=False)
ACROSS = {"w": jnp.array([[20.0], [0.0]])}, {}  # class 1 where the first feature is > 0


@pytest.mark.parametrize("end", [None, jax.nn.sigmoid], ids=["logits", "sigmoid"])
def test_probabilities_of_two_classes_from_one_output(end):
    net = HALF if end is None else nn.Sequential(dense=HALF, end=end)
    trees = ACROSS if end is None else ({"dense": ACROSS[0]}, {})
    grid = pictures.decision_grid(net, trees, (X, LABELS % 2), points=21)
    assert grid.probabilities.shape == (21, 21, 2)
    expected = 1 / (1 + np.exp(-20.0 * grid.x))
    np.testing.assert_allclose(grid.probabilities[3, :, 1], expected, atol=1e-5)
    np.testing.assert_allclose(grid.probabilities.sum(-1), 1)
    ends = [grid.x[0], grid.x[-1], grid.y[0], grid.y[-1]]
    (low, down), (high, up) = X.min(0), X.max(0)
    wide, tall = 0.1 * (high - low), 0.1 * (up - down)
    np.testing.assert_allclose(
        ends, [low - wide, high + wide, down - tall, up + tall], rtol=1e-5
    )


def test_probabilities_of_several_classes(plain):
    logits = pictures.decision_grid(NET, plain, (X, LABELS), points=5)
    place = np.array([[logits.x[1], logits.y[3]]])
    expected = jax.nn.softmax(NET.apply(*plain, place)[0])[0]
    np.testing.assert_allclose(logits.probabilities[3, 1], expected, rtol=1e-5)
    ended = nn.Sequential(**NET.children(), end=jax.nn.softmax)
    shares = pictures.decision_grid(ended, plain, (X, LABELS), points=5)
    chex.assert_trees_all_close(shares, logits, atol=1e-6)


@pytest.mark.parametrize("form", ["labels", "column", "one-hot"])
def test_boundary_is_drawn_with_the_data_on_top(plain, tmp_path, form):
    targets = {
        "labels": LABELS,
        "column": LABELS[:, None],
        "one-hot": np.eye(3, dtype=np.float32)[LABELS],
    }[form]
    figure = pictures.decision_boundary(
        NET, plain, (X, targets), tmp_path / "b.png", points=20,
        names={"classes": ["cat", "dog", "cow"]},
    )  # fmt: skip
    axes = figure.axes[0]
    assert [line.get_label() for line in axes.lines] == ["cat", "dog", "cow"]
    np.testing.assert_array_equal(axes.lines[1].get_xydata(), X[LABELS == 1])
    assert written(tmp_path / "b.png")


@pytest.mark.parametrize(
    "names, error, message",
    [
        (["cat", "dog", "cow"], TypeError, r"names must be a dict .* got \['cat'"),
        ({"class": ["cat", "dog", "cow"]}, TypeError, "names must be a dict"),
        (
            {"classes": ["cat", "dog"]},
            ValueError,
            r"names\['classes'\] must be 3 names",
        ),
        ({"features": "xy"}, ValueError, r"names\['features'\] must be 2 names"),
        ({"features": 2}, ValueError, r"names\['features'\] must be 2 names"),
    ],
)
def test_boundary_refuses_names_of_something_else(plain, names, error, message):
    with pytest.raises(error, match=f"decision_boundary: {message}"):
        pictures.decision_boundary(NET, plain, (X, LABELS), points=5, names=names)


def test_boundary_shades_follow_the_certainty():
    figure = pictures.decision_boundary(HALF, ACROSS, (X, LABELS % 2), points=21)
    image = figure.axes[0].images[0].get_array()
    grid = pictures.decision_grid(HALF, ACROSS, (X, LABELS % 2), points=21)
    near, far = np.abs(grid.x).argmin(), 0
    assert image[0, near].min() > image[0, far].min() + 0.1  # paler where unsure
    blue, orange = image[0, 0], image[0, -1]
    assert blue[2] > blue[0] and orange[0] > orange[2]


def test_impossible_boundaries(plain):
    wide = np.zeros((4, 3), np.float32)
    with pytest.raises(ValueError, match=r"two features, \[N, 2\], got float32\[4,3\]"):
        pictures.decision_boundary(nn.Dense(3), plain, (wide, LABELS[:4]))
    with pytest.raises(ValueError, match=r"classes from 0 to 2, .* from 0 to 5"):
        pictures.decision_boundary(NET, plain, (X, LABELS + 3 * (LABELS == 2)))
    with pytest.raises(ValueError, match=r"scores of classes, \[N, K\]"):
        pictures.decision_boundary(lambda x: x[:, :, None], ({}, {}), (X, LABELS))
    with pytest.raises(ValueError, match="points must be a positive int, got 0"):
        pictures.decision_boundary(NET, plain, (X, LABELS), points=0)
    with pytest.raises(TypeError, match=r"^decision_boundary: data must be a tuple"):
        pictures.decision_boundary(NET, plain, X)


def test_members_of_an_ensemble_are_looked_at_one_by_one(plain, key):
    bunch = nn.ensemble(NET, 2)
    trees = bunch.init(key, X)
    for look in (
        lambda net, state: pictures.activation_statistics(net, state, X),
        lambda net, state: pictures.gradient_norms(net, state, (X, LABELS), ENTROPY),
    ):
        with pytest.raises(TypeError, match=r"one member .* nn\.member\(state, 0\)"):
            look(bunch, trees)
        assert look(bunch.net, nn.member(trees, 1))
    grid = pictures.decision_grid(bunch, trees, (X, LABELS), points=3)
    place = np.array([[grid.x[1], grid.y[1]]])
    expected = jax.nn.softmax(bunch.apply(*trees, place)[0])[0]
    np.testing.assert_allclose(grid.probabilities[1, 1], expected, rtol=1e-5)


# ---- loss surface ----


def test_surface_of_a_linear_network_is_that_on_paper(key):
    """One example x = 1, target 0: the loss is w², the direction as long as w."""
    net, trees = nn.Dense(1, bias=False), ({"w": jnp.array([[3.0]])}, {})
    data = np.ones((1, 1), np.float32), np.zeros((1, 1), np.float32)
    found = pictures.loss_grid(net, trees, data, SQUARED, key=key, points=5, radius=2)
    first, second = (
        float(pictures.filter_normalized(net, trees[0], k)["w"][0, 0])
        for k in jax.random.split(key)
    )
    assert [abs(first), abs(second)] == pytest.approx([3.0, 3.0])
    across, up = np.meshgrid([-2.0, -1, 0, 1, 2], [-2.0, -1, 0, 1, 2])
    expected = (3 + first * across + second * up) ** 2
    np.testing.assert_allclose(found.losses, expected, atol=1e-4)
    assert found.first[2] == 0.0 and found.losses[2, 2] == 9.0


def test_directions_are_as_long_as_each_filter(deep):
    way = pictures.filter_normalized(DEEP, deep[0], jax.random.key(1))
    chex.assert_trees_all_equal_shapes(way, deep[0])

    def lengths(tree, axes):
        w = tree["stack"]["block"]["body"]["conv_1"]["w"]
        return jnp.sqrt(jnp.square(w).sum(axes))

    own = lengths(deep[0], (1, 2, 3))  # of each block and each filter
    assert own.shape == (2, 3)
    chex.assert_trees_all_close(lengths(way, (1, 2, 3)), own, rtol=1e-5)
    assert not jnp.any(way["fc"]["b"]) and jnp.any(way["fc"]["w"])
    assert not jnp.any(way["stack"]["block"]["body"]["batch_norm_1"]["scale"])


def test_surface_is_the_loss_of_moved_parameters(deep):
    data, key = (IMAGES, LABELS[:4]), jax.random.key(3)
    found = pictures.loss_grid(DEEP, deep, data, ENTROPY, key=key, points=3)
    ways = [pictures.filter_normalized(DEEP, deep[0], k) for k in jax.random.split(key)]
    moved = jax.tree.map(lambda p, a, b: p - a + b, deep[0], *ways)
    expected = nn.evaluate(DEEP, (moved, deep[1]), data, loss=ENTROPY)["loss"]
    assert found.losses[2, 0] == pytest.approx(expected, rel=1e-4)
    here = nn.evaluate(DEEP, deep, data, loss=ENTROPY)["loss"]
    assert found.losses[1, 1] == pytest.approx(here, rel=1e-5)


def test_surface_does_not_depend_on_the_chunk(plain):
    data, options = (X, LABELS), {"key": jax.random.key(1), "points": 4}
    one, three = (
        pictures.loss_grid(NET, plain, data, ENTROPY, chunk=c, **options)
        for c in (1, 3)
    )
    chex.assert_trees_all_close(one, three, rtol=1e-5)


def test_surface_is_drawn(plain, tmp_path):
    figure = pictures.loss_surface(
        NET, plain, (X, LABELS), ENTROPY, tmp_path / "s.png",
        key=jax.random.key(1), points=4,
    )  # fmt: skip
    assert written(tmp_path / "s.png")
    assert figure.axes[1].get_ylabel().startswith("loss")


def test_flat_and_broken_surfaces_are_drawn():
    steps = np.linspace(-1, 1, 3)
    from jaxnn.files.figures import new_figure
    from jaxnn.pictures.surface import _draw_surface

    holes = np.ones((3, 3))
    holes[0, 0], holes[1, 2] = np.nan, 2000.0
    for losses in (np.ones((3, 3)), holes):
        figure = new_figure("test", 4, 3)
        _draw_surface(figure, pictures.Surface(steps, steps, losses))
        figure.draw_without_rendering()


def test_line_between_two_states(key, tmp_path):
    """The loss of w is (w - 1)²; from 0 to 4 its least value is at a quarter."""
    net = nn.Dense(1, bias=False)
    data = np.ones((5, 1), np.float32), np.ones((5, 1), np.float32)
    start, end = (({"w": jnp.array([[w]])}, {}) for w in (0.0, 4.0))
    t, losses = pictures.losses_between(
        net, start, end, data, SQUARED, points=9, beyond=0.5
    )
    np.testing.assert_allclose(t, np.linspace(-0.5, 1.5, 9))
    np.testing.assert_allclose(losses, (4 * t - 1) ** 2, atol=1e-5)
    figure = pictures.loss_line(
        net, start, end, {"training": data, "test": data}, SQUARED,
        tmp_path / "l.png", points=9, beyond=0.5,
    )  # fmt: skip
    curve = figure.axes[0].lines[1]
    assert curve.get_label() == "test" and written(tmp_path / "l.png")
    np.testing.assert_allclose(curve.get_ydata(), losses)


def test_line_takes_running_statistics_along(deep):
    params, state = deep
    other = jax.tree.map(lambda a: a + 1, state)
    data = (IMAGES, LABELS[:4])
    _, losses = pictures.losses_between(
        DEEP, deep, (params, other), data, ENTROPY, points=3, beyond=0
    )
    half = jax.tree.map(lambda a: a + 0.5, state)
    expected = nn.evaluate(DEEP, (params, half), data, loss=ENTROPY)["loss"]
    assert losses[1] == pytest.approx(expected, rel=1e-4)


def test_impossible_surfaces(plain, key):
    data = (X, LABELS)
    with pytest.raises(TypeError, match="loss_surface: key must be a random key"):
        pictures.loss_surface(NET, plain, data, ENTROPY, key=0)
    with pytest.raises(ValueError, match="points must be an int of 2 or more, got 1"):
        pictures.loss_surface(NET, plain, data, ENTROPY, key=key, points=1)
    with pytest.raises(ValueError, match="radius must be above 0, got -1"):
        pictures.loss_surface(NET, plain, data, ENTROPY, key=key, radius=-1)
    with pytest.raises(ValueError, match="radius must be above 0, got 0"):
        pictures.loss_surface(NET, plain, data, ENTROPY, key=key, radius=0)
    with pytest.raises(ValueError, match="chunk must be a positive int"):
        pictures.loss_surface(NET, plain, data, ENTROPY, key=key, chunk=0)
    with pytest.raises(ValueError, match="must be a class from 0 to 2"):
        pictures.loss_surface(NET, plain, (X, LABELS + 1), ENTROPY, key=key)
    wider = nn.edit(NET, "dense_1", nn.Dense(5)).init(key, X)
    with pytest.raises(ValueError, match=r"dense_1/b is float32\[4\] in the first and"):
        pictures.loss_line(NET, plain, wider, data, ENTROPY)


@pytest.mark.parametrize(
    "draw",
    [
        lambda s: pictures.activations(NET, s, X),
        lambda s: pictures.gradients(NET, s, (X, LABELS), ENTROPY),
        lambda s: pictures.decision_boundary(NET, s, (X, LABELS)),
        lambda s: pictures.loss_line(NET, s, s, (X, LABELS), ENTROPY),
    ],
    ids=["activations", "gradients", "boundary", "line"],
)
def test_pictures_without_matplotlib_say_what_to_install(plain, monkeypatch, draw):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"pictures\.\w+ needs matplotlib: .*install"):
        draw(plain)
