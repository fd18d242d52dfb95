"""The published transformers: their sizes, and what they refuse."""

import jax
import jax.numpy as jnp
import optax
import pytest

import jaxnn as nn

IMAGE = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)
IDS = jax.ShapeDtypeStruct((1, 8), jnp.int32)
LARGE = {"features": 1024, "layers": 24, "heads": 16}


@pytest.mark.parametrize(
    "net, x, parameters",
    [
        (nn.models.vit(), IMAGE, 86_567_656),
        (nn.models.vit(**LARGE), IMAGE, 304_326_632),
        (nn.models.gpt2(), IDS, 124_439_808),
        (nn.models.gpt2(**LARGE), IDS, 354_823_168),
        (nn.models.bert(), IDS, 109_482_240),
        (nn.models.bert(**LARGE), IDS, 335_141_888),
    ],
)
def test_parameters_are_as_many_as_published(net, x, parameters):
    params, _ = jax.eval_shape(lambda key: net.init(key, x), jax.random.key(0))
    assert nn.trees.count(params) == parameters


def test_vit_refuses_images_of_another_size(key):
    net = nn.models.vit(3, size=16, patch=4, features=8, layers=1, heads=2)
    params, state = net.init(key, jnp.ones((1, 16, 16, 3)))
    with pytest.raises(ValueError, match=r"ViT: images must have 16 patches, .* 5x4"):
        net.apply(params, state, jnp.ones((1, 20, 16, 3)))
    with pytest.raises(ValueError, match="vit: size must be a multiple of patch"):
        nn.models.vit(size=30, patch=16)
    with pytest.raises(ValueError, match="vit: patch must be a positive int"):
        nn.models.vit(patch=0)


def test_vit_learns(key):
    images = jnp.zeros((16, 8, 8, 1)).at[::2, :4].set(1.0)
    labels = jnp.arange(16) % 2
    net = nn.models.vit(2, size=8, patch=4, features=16, layers=1, heads=2)
    _, history = nn.fit(
        net,
        (images, labels),
        loss=nn.losses.softmax_cross_entropy,
        optimizer=optax.adam(1e-2),
        epochs=10,
        batch_size=16,
        key=key,
    )
    assert history["loss"][-1] < 0.1
