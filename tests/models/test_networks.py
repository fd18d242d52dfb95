# SPDX-License-Identifier: Apache-2.0
"""The named networks: published sizes, readable paths, blocks that repeat, errors."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxnn as nn
from jaxnn import trees
from jaxnn.models import stack_blocks, unstack_blocks

models = nn.models
PUBLISHED = {  # trainable parameters, 224x224x3, 1000 classes
    "alexnet": (models.alexnet(), 61_100_840),
    "alexnet_2012": (models.alexnet(original=True), 60_965_224),
    "vgg11": (models.vgg(11), 132_863_336),
    "vgg13": (models.vgg(13), 133_047_848),
    "vgg16": (models.vgg(16), 138_357_544),
    "vgg19": (models.vgg(19), 143_667_240),
    "vgg11_bn": (models.vgg(11, batch_norm=True), 132_868_840),
    "vgg13_bn": (models.vgg(13, batch_norm=True), 133_053_736),
    "vgg16_bn": (models.vgg(16, batch_norm=True), 138_365_992),
    "vgg19_bn": (models.vgg(19, batch_norm=True), 143_678_248),
    "googlenet": (models.googlenet(), 13_004_888),
    "googlenet_main": (models.googlenet(auxiliary=False), 6_624_904),
    "resnet18": (models.resnet(18), 11_689_512),
    "resnet34": (models.resnet(34), 21_797_672),
    "resnet50": (models.resnet(50), 25_557_032),
    "resnet101": (models.resnet(101), 44_549_160),
    "resnet152": (models.resnet(152), 60_192_808),
    "resnet50_repeat": (models.resnet(50, repeat=True), 25_557_032),
}
OTHERS = {  # from the papers, 0.27 to 1.7 million for the residual ones
    "lenet5": (models.lenet5(), (28, 28, 1), 61_706),
    "lenet5_valid": (models.lenet5(padding="VALID"), (32, 32, 1), 61_706),
    "cifar20": (models.cifar_resnet(20), (32, 32, 3), 269_722),
    "cifar32": (models.cifar_resnet(32), (32, 32, 3), 464_154),
    "cifar56": (models.cifar_resnet(56), (32, 32, 3), 853_018),
    "cifar110": (models.cifar_resnet(110), (32, 32, 3), 1_727_962),
    "unet": (models.unet(2), (32, 32, 1), 31_030_658),
}
SMALL = {
    "lenet5": (models.lenet5(), (28, 28, 1)),
    "alexnet": (models.alexnet(7, width=4, hidden=8), (64, 64, 3)),
    "alexnet_2012": (models.alexnet(7, original=True, width=4, hidden=8), (64, 64, 3)),
    "vgg11_bn": (models.vgg(11, 7, batch_norm=True, width=4, hidden=8), (32, 32, 3)),
    "googlenet": (models.googlenet(7, width=8), (64, 64, 3)),
    "resnet18": (models.resnet(18, 7, width=4), (32, 32, 3)),
    "resnet50": (models.resnet(50, 7, width=4, repeat=True), (32, 32, 3)),
    "preactivation18": (models.resnet(18, 7, width=4, preactivation=True), (32, 32, 3)),
    "preactivation50": (models.resnet(50, 7, width=4, preactivation=True), (32, 32, 3)),
    "cifar20": (models.cifar_resnet(20, width=4), (32, 32, 3)),
    "cifar_b": (models.cifar_resnet(8, width=4, shortcut="projection"), (32, 32, 3)),
    "unet": (models.unet(2, depth=2, width=4, batch_norm=True), (16, 24, 1)),
}


def shapes(net, shape, dtype=jnp.float32):
    """Parameters and state as shapes: nothing is computed."""
    x = jax.ShapeDtypeStruct((2, *shape), dtype)
    return jax.eval_shape(net.init, jax.random.key(0), x)


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_are_as_many_as_published(name):
    net, count = PUBLISHED[name]
    assert trees.count(shapes(net, (224, 224, 3))[0]) == count


@pytest.mark.parametrize("name", OTHERS)
def test_parameters_of_small_images(name):
    net, shape, count = OTHERS[name]
    assert trees.count(shapes(net, shape)[0]) == count


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_code_shapes_and_dtype(name):
    """`repr` builds an equal network; logits have the dtype of the images."""
    net, shape = SMALL[name]
    names = {**vars(nn), **vars(models), "jax": jax, "jaxnn": nn}
    assert eval(repr(net), names) == net
    for dtype in (jnp.float32, jnp.bfloat16):
        params, state = shapes(net, shape, dtype)
        assert {a.dtype for a in jax.tree.leaves(params)} == {jnp.dtype("float32")}
        x = jax.ShapeDtypeStruct((2, *shape), dtype)
        y, after = jax.eval_shape(net.apply, params, state, x)
        classes = {"lenet5": 10, "cifar20": 10, "cifar_b": 10}.get(name, 7)
        expected = (2, *shape[:-1], 2) if name == "unet" else (2, classes)
        assert y.shape == expected and y.dtype == dtype
        chex.assert_trees_all_equal_shapes_and_dtypes(after, state)


def test_paths_are_plain():
    params, state = shapes(models.resnet(50), (64, 64, 3))
    names = {*trees.paths(params), *trees.paths(state)}
    assert "stage2/block3/conv1/w" in names
    assert "stage1/block1/norm1/scale" in names
    assert "stage1/block1/norm1/mean" in names
    assert "stage1/block1/shortcut/conv/w" in names
    assert {name for name in names if "stage" not in name} == {
        "conv1/w",
        *(f"norm1/{leaf}" for leaf in ("scale", "offset", "mean", "var")),
        *("head/w", "head/b"),
    }


# Blocks that repeat

PAIRS = {
    "resnet18": functools.partial(models.resnet, 18, 5, width=4),
    "resnet50": functools.partial(models.resnet, 50, 5, width=4),
    "cifar20": functools.partial(models.cifar_resnet, 20, width=4),
    "preactivation": functools.partial(
        models.cifar_resnet, 14, width=4, preactivation=True
    ),
}
QUICK = ["resnet18", "preactivation"]


def random_trees(net, shape):
    """Parameters and state of random numbers, without compiling initializers."""
    rng = np.random.default_rng(0)

    def draw(leaf):
        return jnp.asarray(rng.uniform(0.1, 0.5, leaf.shape).astype(leaf.dtype))

    return jax.tree.map(draw, shapes(net, shape))


@pytest.mark.parametrize(
    "name",
    [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in PAIRS],
)
def test_repeated_blocks_are_the_same_network(name, key):
    """Trees go both ways; logits and running statistics agree."""
    apart, together = PAIRS[name](), PAIRS[name](repeat=True)
    x = jax.random.normal(key, (4, 32, 32, 3))
    params, state = random_trees(apart, (32, 32, 3))
    stacked = stack_blocks(params), stack_blocks(state)
    expected = jax.eval_shape(together.init, key, x)
    chex.assert_trees_all_equal_shapes_and_dtypes(stacked, expected)
    back = unstack_blocks(stacked[0]), unstack_blocks(stacked[1])
    chex.assert_trees_all_equal(back, (params, state))

    @functools.partial(jax.jit, static_argnums=0)
    def run(net, params, state):
        y, state = net.apply(params, state, x, key=key, train=True)
        return y, state, net.apply(params, state, x)[0]

    y, after, z = run(apart, params, state)
    y2, after2, z2 = run(together, *stacked)
    chex.assert_trees_all_close((y, z), (y2, z2), rtol=1e-4, atol=1e-5)
    chex.assert_trees_all_close(stack_blocks(after), after2, rtol=1e-4, atol=1e-5)


def test_repeated_blocks_do_not_grow_the_program():
    def size(depth, repeat):
        net = models.cifar_resnet(depth, width=4, repeat=repeat)
        params, state = shapes(net, (32, 32, 3))
        x = jax.ShapeDtypeStruct((2, 32, 32, 3), jnp.float32)
        return len(jax.jit(net.apply).lower(params, state, x).as_text().splitlines())

    assert size(56, True) == size(20, True) < size(56, False) / 2


# Blocks


@pytest.mark.parametrize("name", ["basic", "preactivation"])
def test_a_block_that_adds_nothing_leaves_its_input(name, key):
    x = jax.random.normal(key, (2, 4, 4, 3))
    block = models.resnet(18, preactivation=name == "preactivation", width=3)
    block = block.children()["stage1"].children()["block1"]
    params, state = random_trees(block, (4, 4, 3))
    last = {"basic": "norm2", "preactivation": "conv2"}[name]
    params[last] = jax.tree.map(jnp.zeros_like, params[last])
    y, _ = block.apply(params, state, x)
    expected = jax.nn.relu(x) if name == "basic" else x
    np.testing.assert_array_equal(y, expected)


def test_pad_shortcut_takes_every_second_pixel(key):
    x = np.asarray(jax.random.normal(key, (2, 5, 4, 3)))
    y, _ = models.PadShortcut(6).apply({}, {}, jnp.asarray(x))
    assert y.shape == (2, 3, 2, 6)
    np.testing.assert_array_equal(y[..., 1:4], x[:, ::2, ::2])
    assert not y[..., :1].any() and not y[..., 4:].any()
    with pytest.raises(ValueError, match="at least the 3 channels"):
        models.PadShortcut(2).apply({}, {}, jnp.asarray(x))


# Auxiliary classifiers

ENTROPY = nn.losses.softmax_cross_entropy


def test_with_auxiliary_counts_every_output(key):
    y = jax.random.normal(key, (3, 4, 5))
    labels = jnp.array([0, 4, 2, 1])
    outputs = models.Outputs(y[0], (y[1], y[2]))
    each = [ENTROPY(part, labels) for part in y]
    loss = models.with_auxiliary(ENTROPY, 0.5)
    chex.assert_trees_all_close(
        loss(outputs, labels), each[0] + 0.5 * (each[1] + each[2])
    )
    chex.assert_trees_all_close(loss(y[0], labels), each[0])
    metric = models.with_auxiliary(nn.metrics.accuracy, 0)
    expected = nn.metrics.accuracy(y[0], labels)
    chex.assert_trees_all_equal(metric(outputs, labels), expected)
    assert loss == models.with_auxiliary(ENTROPY, 0.5) != models.with_auxiliary(ENTROPY)


def test_with_auxiliary_keeps_what_fit_checks():
    loss = functools.partial(ENTROPY, ignore_label=-1)
    both = models.with_auxiliary(loss)
    assert nn.losses.contract_of(both) == nn.losses.contract_of(loss)
    kept = nn.losses.example_weights(both, jnp.array([2, -1]))
    np.testing.assert_array_equal(kept, [1, 0])
    main = models.with_auxiliary(nn.metrics.accuracy, 0)
    told = nn.metrics.beside(both, nn.metrics.Mean(main))
    assert nn.metrics.beside(both, told) == told != nn.metrics.Mean(main)


def test_with_auxiliary_refuses():
    with pytest.raises(ValueError, match="weight must be 0 or more"):
        models.with_auxiliary(ENTROPY, -1.0)
    with pytest.raises(TypeError, match="must be a function"):
        models.with_auxiliary(nn.metrics.ConfusionMatrix(3))


FEW = models.GoogLeNet(
    conv1=nn.Conv(4, 3),
    norm1=nn.BatchNorm(),
    auxiliary1=nn.Sequential(average=nn.GlobalAvgPool(), head=nn.Dense(3)),
    conv2=nn.Conv(4, 3),
    auxiliary2=nn.Sequential(flatten=nn.Flatten(), head=nn.Dense(3)),
    average=nn.GlobalAvgPool(),
    head=nn.Dense(3),
)


@pytest.mark.parametrize(
    ("net", "side"),
    [(FEW, 8), pytest.param(models.googlenet(3, width=8), 64, marks=pytest.mark.slow)],
    ids=["few", "googlenet"],
)
def test_auxiliary_classifiers_train(net, side, key):
    """`fit` moves the weights of every head; evaluation sees the main one."""
    x = np.random.default_rng(0).standard_normal((8, side, side, 3)).astype(np.float32)
    y, optimizer = np.arange(8) % 3, optax.sgd(0.1)
    params, state = random_trees(net, (side, side, 3))
    start = nn.TrainState(params, state, optimizer.init(params), jnp.int32(0), key)
    state, history = nn.fit(
        net,
        (x, y),
        loss=models.with_auxiliary(ENTROPY),
        optimizer=optimizer,
        metrics={"accuracy": models.with_auxiliary(nn.metrics.accuracy, 0)},
        epochs=1,
        batch_size=4,
        state=start,
        validation=(x, y),
    )
    assert np.isfinite(history["loss"][0]) and np.isfinite(history["val_loss"][0])
    for name in ("auxiliary1", "auxiliary2"):
        before, after = (s.params[name]["head"]["w"] for s in (start, state))
        assert not np.allclose(before, after)
    assert nn.predict(net, state, x).shape == (8, 3)


# Bad input


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: models.resnet(42), ["resnet: depth", "18, 34, 50, 101, 152", "42"]),
        (lambda: models.resnet("50"), ["resnet: depth", "'50'"]),
        (lambda: models.resnet(True), ["resnet: depth"]),
        (lambda: models.vgg(12), ["vgg: depth", "11, 13, 16, 19", "12"]),
        (lambda: models.cifar_resnet(21), ["cifar_resnet: depth", "6n + 2", "21"]),
        (lambda: models.cifar_resnet(2), ["cifar_resnet: depth", "6n + 2"]),
        (lambda: models.cifar_resnet(20, shortcut="A"), ["shortcut", "'A'"]),
        (lambda: models.googlenet(0), ["googlenet: classes", "0"]),
        (lambda: models.alexnet(width=0), ["alexnet: width"]),
        (lambda: models.lenet5(-1), ["lenet5: classes"]),
        (lambda: models.unet(2, depth=0), ["unet: depth"]),
        (lambda: models.PadShortcut(0), ["PadShortcut: features"]),
    ],
)
def test_builders_refuse(build, words):
    with pytest.raises(ValueError) as caught:
        build()
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("net", "shape", "place"),
    [
        (models.vgg(11, 5, width=4), (16, 16, 3), "stage5/pool"),
        (models.alexnet(5, width=4), (48, 48, 3), "pool5"),
        (models.lenet5(), (8, 8, 1), "conv2"),
    ],
    ids=["vgg", "alexnet", "lenet"],
)
def test_a_picture_that_shrinks_to_nothing_names_the_layer(net, shape, place):
    with pytest.raises(ValueError, match="nothing is left") as caught:
        shapes(net, shape)
    assert f"in {place}: " in " ".join(caught.value.__notes__)


@pytest.mark.parametrize("name", ["lenet5", "alexnet", "resnet18", "unet"])
def test_other_channels_than_at_init_are_refused(name):
    net, shape = SMALL[name]
    params, state = shapes(net, shape)
    x = jax.ShapeDtypeStruct((2, *shape[:-1], 4), jnp.float32)
    with pytest.raises(ValueError, match="4") as caught:
        jax.eval_shape(net.apply, params, state, x)
    assert "conv1" in " ".join(caught.value.__notes__)


def test_unet_needs_sides_that_can_be_halved():
    with pytest.raises(ValueError, match=r"divisible by 4 .*pad them to 16x24"):
        shapes(models.unet(2, depth=2, width=4), (14, 24, 1))
