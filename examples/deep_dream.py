# SPDX-License-Identifier: Apache-2.0
"""Let a convolutional network dream: change the image, not the weights.

Training goes downhill on the loss, by the weights. Here the weights of a trained
network stay as they are, and the image goes uphill on what a layer puts out: whatever
the layer sees a little of, it is given more of, until everyone sees it (Mordvintsev,
Olah and Tyka, Inceptionism, 2015). Early layers dream of edges, later ones of textures
and parts. From noise the same shows what a class looks like to the network.

Two tricks make pictures of it. Octaves: the dream begins small and goes on in larger
and larger sizes, so that its patterns have many sizes. Jitter: each step sees the image
shifted at random, so that no pixel is a favorite.

The network is a small one, trained first, on CIFAR-10: its dreams are of color and
texture more than of dogs. CIFAR-10 is looked for in $JAXNN_DATA, else downloaded once.
"""

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.figure import Figure

import jaxnn as nn
from jaxnn.data import augment

CLASSES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)
LAYERS = ("block1", "block2", "block3")
loss = nn.losses.softmax_cross_entropy
metrics = {"accuracy": nn.metrics.accuracy}


def center(images: jax.Array) -> jax.Array:
    """Colors in standard deviations from the mean, about -2 to 2."""
    return (images - 0.47) / 0.25


def block(features: int, *pool: nn.Layer) -> nn.Layer:
    """A convolution, perhaps a pooling, and a norm, which brings the bias."""
    conv = nn.Conv(features, 3, bias=False)
    return nn.Sequential(conv, *pool, nn.BatchNorm(), jax.nn.relu)


net = nn.Sequential(
    center=center,
    block1=block(32, nn.AvgPool(2)),  # means, not maxima: slopes without holes
    block2=block(64, nn.AvgPool(2)),
    block3=block(128),
    mean=nn.GlobalAvgPool(),  # hence images of any size
    head=nn.Dense(10),
)

# ---- dreaming ----

Score = Callable[[Any, jax.Array], jax.Array]  # of the network's trees and images


def liveliness(trees: Any, images: jax.Array, layer: str) -> jax.Array:
    """How strongly a layer answers to each image: the mean of its squares, [N]."""
    (_, taps), _ = nn.Tap(net, layer).apply(*trees, images)
    return jnp.square(taps[layer]).mean((1, 2, 3))


def own_class(trees: Any, images: jax.Array) -> jax.Array:
    """How far image i is on the side of class i: its score less the others' mean."""
    scores, _ = net.apply(*trees, images)
    return jnp.diagonal(scores) - scores.mean(1)


def climb(
    trees: Any, images: jax.Array, key: jax.Array, score: Score, steps: int
) -> jax.Array:
    """Take steps uphill on a score, each for a view shifted by up to a 16th."""
    reach = images.shape[1] // 16

    def step(images, key):
        shift = jax.random.randint(key, (2,), -reach, reach + 1)
        view = jnp.roll(images, shift, (1, 2))
        slope = jax.grad(lambda view: score(trees, view).sum())(view)
        size = jnp.abs(slope).mean((1, 2, 3), keepdims=True) + 1e-12
        slope = slope / jnp.broadcast_to(size, slope.shape)  # in each image alike
        moved = (view + 0.01 * slope).clip(0, 1)
        return jnp.roll(moved, -shift, (1, 2)), None

    return jax.lax.scan(step, images, jax.random.split(key, steps))[0]


@partial(jax.jit, static_argnames=("score", "sizes", "steps"))
def dream(
    trees: Any, images: jax.Array, *, score: Score, sizes: tuple[int, ...], steps: int
) -> tuple[jax.Array, jax.Array]:
    """Climb in one size after the other, keeping what was dreamt in the last.

    Returns the dreams, and how much higher they score than the enlarged images.
    """
    count, channels = images.shape[0], images.shape[-1]
    dreamt = jnp.zeros((count, 1, 1, channels))
    for octave, size in enumerate(sizes):
        shape = (count, size, size, channels)
        base = jax.image.resize(images, shape, "cubic").clip(0, 1)
        start = (base + jax.image.resize(dreamt, shape, "linear")).clip(0, 1)
        end = climb(trees, start, jax.random.key(octave), score, steps)
        dreamt = end - base
    return end, score(trees, end).mean() / score(trees, base).mean()


# ---- the script ----


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Train, dream, draw; returns accuracy and how much livelier each layer became."""
    args = parse(argv)
    train, test = nn.data.digits() if args.small else nn.data.cifar10()
    args.out.mkdir(parents=True, exist_ok=True)
    state = learn(train, args)
    result = nn.evaluate(net, state, test, metrics=metrics)
    trees, start = (state.params, state.state), jnp.asarray(test[0][args.images])
    sizes, steps = ((8, 12), 10) if args.small else ((48, 68, 96, 136), 15)
    dreams = {}
    for layer in LAYERS:
        score = partial(liveliness, layer=layer)
        dreams[layer], gain = dream(trees, start, score=score, sizes=sizes, steps=steps)
        result[layer] = float(gain)
        print(f"{layer} answers {gain:.1f} times as strongly to its dream")
    save_dreams(args.out / "dreams.png", start, dreams)
    names = tuple("0123456789") if args.small else CLASSES
    noise = 0.1 * jax.random.normal(jax.random.key(args.seed), (10, *start.shape[1:]))
    seen, _ = dream(
        trees, 0.47 + noise, score=own_class, sizes=sizes[:-1], steps=3 * steps
    )
    chances = jax.nn.softmax(nn.predict(net, state, seen))
    result["recognized"] = float((chances.argmax(1) == jnp.arange(10)).mean())
    save_classes(args.out / "classes.png", seen, jnp.diagonal(chances), names)
    print(
        f"test accuracy {result['accuracy']:.2%}; {LAYERS[-1]} answers "
        f"{result[LAYERS[-1]]:.1f} times as strongly to its dreams; of 10 classes "
        f"dreamt from noise {10 * result['recognized']:.0f} are recognized"
    )
    return result


def learn(train: tuple, args: argparse.Namespace) -> nn.TrainState:
    """Train the network."""
    steps = args.epochs * -(-len(train[1]) // 100)
    state, _ = nn.fit(
        net,
        train,
        loss=loss,
        optimizer=optax.adam(optax.cosine_onecycle_schedule(steps, 0.005)),
        epochs=args.epochs,
        batch_size=100,
        key=jax.random.key(args.seed),
        metrics=metrics,
        augment=augment.chain(augment.shift(2), augment.flip()),
        progress=True,
    )
    nn.save(args.out / "network.safetensors", state, spec=net)
    return state


def save_dreams(path: Path, start: jax.Array, dreams: dict[str, jax.Array]) -> None:
    """Draw images in the top row and under each what every layer makes of it."""
    rows = {"image": start, **{f"dream of\n{k}": v for k, v in dreams.items()}}
    figure = Figure(figsize=(2.4 * len(start), 2.4 * len(rows)), layout="constrained")
    grid = figure.subplots(len(rows), len(start), squeeze=False)
    for row, (name, images) in zip(grid, rows.items(), strict=True):
        for axes, image in zip(row, images, strict=True):
            show(axes, image)
        row[0].set_ylabel(name, fontsize=13)
    figure.savefig(path, dpi=110)
    print(f"wrote {path}")


def save_classes(
    path: Path, images: jax.Array, chances: jax.Array, names: Sequence[str]
) -> None:
    """Draw what each class looks like to the network."""
    figure = Figure(figsize=(12, 5.6), layout="constrained")
    figure.suptitle("Noise, changed until the network sees a class in it")
    for axes, image, chance, name in zip(
        figure.subplots(2, 5).flat, images, chances, names, strict=True
    ):
        show(axes, image)
        axes.set_title(f"{name}: {chance:.0%} sure")
    figure.savefig(path, dpi=110)
    print(f"wrote {path}")


def show(axes: Any, image: jax.Array) -> None:
    """Draw one image, in gray or color."""
    picture = np.asarray(image)
    axes.imshow(picture[..., 0] if picture.shape[-1] == 1 else picture, cmap="gray")
    axes.set(xticks=[], yticks=[])


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--small", action="store_true", help="8x8 digits in place of photos: seconds")
    add("--epochs", type=int, help="default: 8, or 20 with --small")
    add("--images", type=int, nargs="+", default=[0, 1, 2, 3], help="of the test data")
    add("--seed", type=int, default=0, help="default: %(default)s")
    add("--out", type=Path, default="out/deep_dream", help="default: %(default)s")
    args = parser.parse_args(argv)
    args.epochs = args.epochs or (20 if args.small else 8)
    return args


if __name__ == "__main__":
    nn.cache()  # the second run finds its programs compiled
    main()
