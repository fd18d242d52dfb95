# SPDX-License-Identifier: Apache-2.0
"""Saliency, Grad-CAM and pictures of filters and maps."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnn as nn

feature_maps = nn.pictures
NET = nn.Sequential(
    nn.Conv(4, 3),
    nn.BatchNorm(),
    jax.nn.relu,
    nn.Conv(6, 3, stride=2),
    jnp.tanh,
    nn.GlobalAvgPool(),
    nn.Dropout(0.5),
    nn.Dense(5),
)
X = jax.random.normal(jax.random.key(1), (3, 8, 8, 2))


@pytest.fixture(scope="module")
def trees():
    """Parameters and a state in which batch normalization does something."""
    params, state = NET.init(jax.random.key(0), X)
    _, state = NET.apply(params, state, X, key=jax.random.key(2), train=True)
    return params, state


def scores(trees, x):
    return NET.apply(*trees, x)[0]


# ---- saliency ----


def test_saliency_is_the_gradient_of_each_images_own_score(trees):
    target = jnp.array([4, 0, 2])
    found = feature_maps.saliency(NET, trees, X, target)

    def one(x, t):
        return scores(trees, x[None])[0, t]

    chex.assert_trees_all_close(found, jax.vmap(jax.grad(one))(X, target), atol=1e-6)


def test_saliency_agrees_with_finite_differences(trees):
    smooth = nn.edit(NET, "relu_1", lambda _: jnp.tanh)
    found = feature_maps.saliency(smooth, trees, X[:1], 3)
    rng, eps = np.random.default_rng(0), 1e-2
    ways = jnp.asarray(rng.normal(size=(5, *X.shape[1:])), X.dtype)
    ahead, behind = (
        smooth.apply(*trees, jnp.broadcast_to(X[:1], ways.shape) + s * eps * ways)[0][
            :, 3
        ]
        for s in (1, -1)
    )
    slopes = jnp.einsum("hwc,khwc->k", found[0], ways)
    np.testing.assert_allclose(slopes, (ahead - behind) / (2 * eps), rtol=0.02)


def test_saliency_of_the_highest_score_by_default(trees):
    best = scores(trees, X).argmax(-1)
    assert len(set(best.tolist())) > 1  # else one class for all would do as well
    expected = feature_maps.saliency(NET, trees, X, best)
    chex.assert_trees_all_close(feature_maps.saliency(NET, trees, X), expected)


def test_saliency_takes_labels_as_data_sets_hold_them(trees):
    labels = np.array([1, 2, 3], np.uint8)
    expected = feature_maps.saliency(NET, trees, X, jnp.array([1, 2, 3]))
    found = feature_maps.saliency(NET, trees, np.asarray(X), labels)
    chex.assert_trees_all_close(found, expected)


def test_saliency_compiles(trees):
    target = jnp.array([4, 0, 2])
    fast = jax.jit(feature_maps.saliency, static_argnums=0)
    expected = feature_maps.saliency(NET, trees, X, target)
    chex.assert_trees_all_close(fast(NET, trees, X, target), expected, atol=1e-6)


# ---- Grad-CAM ----


def test_grad_cam_by_hand():
    """Two maps, one for and one against the class: all of it done on paper."""
    w = jnp.array([1.0, -1.0]).reshape(1, 1, 1, 2)
    head = jnp.array([[0.0, 8.0], [0.0, 4.0]])  # class 1: 8 times map 0 + 4 times map 1
    net = nn.Sequential(
        nn.Conv(2, 1, bias=False), nn.GlobalAvgPool(), nn.Dense(2, bias=False)
    )
    params = {"conv_1": {"w": w}, "dense_1": {"w": head}}
    x = jnp.array([[1.0, -2.0], [3.0, 0.5]]).reshape(1, 2, 2, 1)
    # Each place of map k moves the mean by 1/4: the slopes are 8/4 = 2 and 4/4 = 1.
    # Map 0 is x and map 1 is -x, so the heat is relu(2x - x) = relu(x).
    heat = feature_maps.grad_cam(net, (params, {}), x, "conv_1", 1)
    np.testing.assert_allclose(heat[0], [[1.0, 0.0], [3.0, 0.5]])
    nothing = feature_maps.grad_cam(net, (params, {}), x, "conv_1", 0)
    np.testing.assert_allclose(nothing[0], 0.0)


@pytest.mark.parametrize("path", ["relu_1", "conv_2", "tanh_1"])
def test_grad_cam_agrees_with_the_network_cut_in_two(trees, path):
    """The layers up to the path give the maps, and those behind it the slopes."""
    (params, state), target = trees, jnp.array([4, 0, 2])
    names = list(NET.children())
    cut = names.index(path) + 1
    before, behind = (
        nn.Sequential(**{name: NET.children()[name] for name in part})
        for part in (names[:cut], names[cut:])
    )
    maps, _ = before.apply(params, state, X)

    def score(maps):
        return behind.apply(params, state, maps)[0][jnp.arange(3), target].sum()

    slopes = jax.grad(score)(maps).mean((1, 2))
    expected = np.maximum(
        sum(maps[..., k] * slopes[:, k, None, None] for k in range(maps.shape[-1])), 0
    )
    found = feature_maps.grad_cam(NET, (params, state), X, path, target, enlarge=False)
    chex.assert_trees_all_close(found, expected, atol=1e-6)
    assert found.max() > 0


def test_grad_cam_is_enlarged_to_the_image(trees):
    small = feature_maps.grad_cam(NET, trees, X, "conv_2", 1, enlarge=False)
    large = feature_maps.grad_cam(NET, trees, X, "conv_2", 1)
    assert small.shape == (3, 4, 4) and large.shape == (3, 8, 8)
    chex.assert_trees_all_close(large, jax.image.resize(small, (3, 8, 8), "linear"))


def test_grad_cam_compiles(trees):
    fast = jax.jit(feature_maps.grad_cam, static_argnums=(0, 3))
    expected = feature_maps.grad_cam(NET, trees, X, "conv_2")
    chex.assert_trees_all_close(fast(NET, trees, X, "conv_2"), expected, atol=1e-6)


def test_grad_cam_looks_inside_blocks_and_wrappers(key):
    block = nn.Residual(nn.Sequential(conv=nn.Conv(4, 3), act=jnp.tanh))
    tail = [nn.GlobalAvgPool(), nn.Dense(3)]
    plain = nn.Sequential(nn.Conv(4, 3), block, *tail)
    params, state = plain.init(key, X)
    at = "residual_1/body/conv"
    expected = feature_maps.grad_cam(plain, (params, state), X, at, 2)
    assert expected.max() > 0
    saving = nn.edit(plain, "residual_1", nn.Remat(block))
    found = feature_maps.grad_cam(saving, (params, state), X, at, 2)
    chex.assert_trees_all_close(found, expected, atol=1e-6)


def test_grad_cam_agrees_with_hooks_in_pytorch(key):
    torch = pytest.importorskip("torch")
    net = nn.Sequential(
        nn.Conv(4, 3, padding=1), jax.nn.relu, nn.GlobalAvgPool(), nn.Dense(5)
    )
    params, state = net.init(key, X)
    conv, dense = torch.nn.Conv2d(2, 4, 3, padding=1), torch.nn.Linear(4, 5)
    with torch.no_grad():
        for ours, theirs, axes in [
            (params["conv_1"]["w"], conv.weight, (3, 2, 0, 1)),
            (params["conv_1"]["b"], conv.bias, (0,)),
            (params["dense_1"]["w"], dense.weight, (1, 0)),
            (params["dense_1"]["b"], dense.bias, (0,)),
        ]:
            theirs.copy_(torch.tensor(np.asarray(ours).transpose(axes).copy()))
    kept = {}

    def keep(module, inputs, maps):
        kept["maps"] = maps.detach()
        maps.register_hook(lambda slopes: kept.update(slopes=slopes))

    relu = torch.nn.ReLU()
    relu.register_forward_hook(keep)
    x = torch.tensor(np.asarray(X).transpose(0, 3, 1, 2).copy())
    dense(relu(conv(x)).mean((2, 3)))[:, 2].sum().backward()
    weights = kept["slopes"].mean((2, 3), keepdim=True)
    expected = torch.relu((weights * kept["maps"]).sum(1)).numpy()
    found = feature_maps.grad_cam(net, (params, state), X, "relu_1", 2)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)


def test_unknown_path_names_the_nearest(trees):
    with pytest.raises(KeyError, match=r"no layer at 'conv2' \(nearest: 'conv_2'\)"):
        feature_maps.grad_cam(NET, trees, X, "conv2")


def test_layer_without_maps_names_the_last_with_maps(trees):
    with pytest.raises(ValueError, match=r"'dense_1' must .*3,5\]; .* is 'tanh_1'"):
        feature_maps.grad_cam(NET, trees, X, "dense_1")


def test_layer_that_is_called_twice_is_refused(key):
    class Twice(nn.Composite):
        conv: nn.Layer

        def forward(self, run, x):
            return run("conv", run("conv", x)).mean((1, 2))

    net = Twice(nn.Conv(2, 3))
    with pytest.raises(ValueError, match="'conv' is called 2 times"):
        feature_maps.grad_cam(net, net.init(key, X), X, "conv")


both = pytest.mark.parametrize(
    "look",
    [
        feature_maps.saliency,
        lambda net, variables, x, target=None: feature_maps.grad_cam(
            net, variables, x, "conv_1", target
        ),
    ],
    ids=["saliency", "grad_cam"],
)


@both
@pytest.mark.parametrize(
    ("target", "error", "match"),
    [
        (5, ValueError, "target must be a class from 0 to 4, got 5"),
        (np.array([0, -1, 2]), ValueError, "from 0 to 4, got -1"),
        (np.array([0, 1]), ValueError, r"one for each of the 3 images, \[3\]"),
        (1.0, TypeError, "target must be a class, an int"),
        ("cat", TypeError, "target must be a class, an int"),
    ],
)
def test_impossible_targets(look, trees, target, error, match):
    with pytest.raises(error, match=match):
        look(NET, trees, X, target)


@both
def test_bytes_are_refused(look, trees):
    with pytest.raises(TypeError, match="x must hold floating-point numbers"):
        look(NET, trees, np.zeros((1, 8, 8, 2), np.uint8))


@both
def test_network_without_class_scores(look, key):
    net = nn.Sequential(nn.Conv(2, 3))
    with pytest.raises(ValueError, match=r"class scores \[N, classes\], got float32"):
        look(net, net.init(key, X), X, 0)


# ---- pictures ----


def test_filters_picture_is_gray_at_zero_and_scales_each_filter():
    w = np.zeros((1, 2, 1, 3), np.float32)
    w[0, :, 0, 0], w[0, :, 0, 1] = [2.0, -1.0], [0.0, -0.1]
    picture = feature_maps.filters_picture(w, columns=2)
    expected = [[1.0, 0.25, 1, 0.5, 0.0], [1, 1, 1, 1, 1], [0.5, 0.5, 1, 1, 1]]
    np.testing.assert_allclose(picture[..., 0], expected, atol=1e-6)


def test_filters_picture_keeps_colors(key):
    w = jax.random.normal(key, (3, 3, 3, 5))
    picture = feature_maps.filters_picture(w, gap=2)
    assert picture.shape == (8, 13, 3)  # five filters, three in a row
    tile = picture[5:8, 5:8]  # the last filter
    chex.assert_trees_all_close(tile, 0.5 + w[..., 4] / jnp.abs(w[..., 4]).max() / 2)
    assert 0 <= picture.min() and picture.max() <= 1


def test_maps_picture_runs_from_black_to_white():
    maps = np.stack([[[3.0, 5.0]], [[7.0, 7.0]]], -1)
    picture = feature_maps.maps_picture(maps, gap=0)
    np.testing.assert_allclose(picture[..., 0], [[0, 1, 0, 0]])
    empty = feature_maps.maps_picture(maps, background=jnp.nan)
    np.testing.assert_allclose(empty[..., 0], [[0, 1, np.nan, 0, 0]])
    apart = feature_maps.maps_picture(maps, columns=1)
    np.testing.assert_allclose(apart[..., 0], [[0, 1], [1, 1], [0, 0]])


def test_pictures_compile(key):
    w = jax.random.normal(key, (3, 3, 1, 4))
    fast = jax.jit(feature_maps.filters_picture)(w)
    chex.assert_trees_all_close(fast, feature_maps.filters_picture(w), atol=1e-6)
    fast = jax.jit(functools.partial(feature_maps.maps_picture, columns=2))(X[0])
    slow = feature_maps.maps_picture(X[0], columns=2)
    chex.assert_trees_all_close(fast, slow, atol=1e-6)


def test_impossible_pictures():
    with pytest.raises(ValueError, match=r"1 or 3 colors, got float32\[3,3,64,8\]"):
        feature_maps.filters_picture(np.zeros((3, 3, 64, 8), np.float32))
    with pytest.raises(ValueError, match=r"of a batch take one, maps\[0\]"):
        feature_maps.maps_picture(np.zeros((2, 4, 4, 8), np.float32))
    with pytest.raises(ValueError, match="filters_picture: columns must be a positive"):
        feature_maps.filters_picture(np.zeros((3, 3, 1, 8), np.float32), columns=0)
    with pytest.raises(ValueError, match="maps_picture: gap must be a positive int"):
        feature_maps.maps_picture(np.zeros((4, 4, 8), np.float32), gap=-1)


def test_variables_may_be_given_apart_for_one_more_version(trees):
    with pytest.warns(FutureWarning, match=r"saliency\(net, \(params, state\), "):
        old = feature_maps.saliency(NET, *trees, X, 0)
    params, state = trees
    with pytest.warns(FutureWarning, match="will be removed in version 0.3"):
        named = feature_maps.saliency(NET, params=params, state=state, x=X, target=0)
    chex.assert_trees_all_equal(old, named, feature_maps.saliency(NET, trees, X, 0))
