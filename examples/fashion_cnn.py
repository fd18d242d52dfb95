# SPDX-License-Identifier: Apache-2.0
"""Tell clothes apart with a convolutional network, and see which it confuses.

Fashion-MNIST has the form of MNIST and is harder: the course's multilayer perceptron
reaches 0.854 on the test images. Here four convolutions make 128 maps of 7x7 numbers;
their means go through a single dense layer, as in GoogLeNet. So each map speaks for or
against a class wherever its pattern is found, and Grad-CAM shows where that was.

The data are looked for in $JAXNN_DATA, else downloaded once. The network and how it is
trained were chosen by the accuracy on the validation set, a twelfth of the training
data; the test images are looked at once, at the end.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
import optax
from look_inside import save_evidence, save_filters, save_maps
from matplotlib.figure import Figure

import jaxnn as nn
from jaxnn.data import augment

CLOTHES = (
    *("T-shirt", "trouser", "pullover", "dress", "coat"),
    *("sandal", "shirt", "sneaker", "bag", "boot"),
)
loss = nn.losses.softmax_cross_entropy
metrics = {"accuracy": nn.metrics.accuracy}


def block(features: int, *pool: nn.Layer) -> nn.Layer:
    """A convolution, perhaps a pooling, and a norm, which brings the bias."""
    conv = nn.Conv(features, 3, bias=False)
    return nn.Sequential(conv, *pool, nn.BatchNorm(), jax.nn.relu)


def network() -> nn.Layer:
    """Four convolutions and one dense layer on the means of the maps."""
    return nn.Sequential(
        block1=block(32, nn.MaxPool(2)),
        block2=block(64),
        block3=block(64, nn.MaxPool(2)),
        block4=block(128),
        mean=nn.GlobalAvgPool(),
        dropout=nn.Dropout(0.3),
        head=nn.Dense(10),
    )


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Train, test, draw; returns the test loss and accuracy."""
    args = parse(argv)
    if args.small:
        print("--small: the 8x8 digits that come with jaxnn, in place of clothes")
    names = tuple("0123456789") if args.small else CLOTHES
    train, test = nn.data.digits() if args.small else nn.data.fashion_mnist()
    train, validation = nn.data.split(train, 1 / 12, seed=args.seed, stratify=True)
    print(f"{len(train[1]):,} images to train on, {len(test[1]):,} to test on")
    net = network()
    # A mirrored shoe is a shoe, a mirrored 2 no 2.
    clothes = augment.chain(augment.shift(2), augment.flip())
    steps = args.epochs * -(-len(train[1]) // args.batch_size)
    rate = optax.cosine_onecycle_schedule(steps, args.learning_rate)
    state, history = nn.fit(
        net,
        train,
        loss=loss,
        optimizer=optax.adam(rate),
        epochs=args.epochs,
        batch_size=args.batch_size,
        key=jax.random.key(args.seed),
        validation=validation,
        metrics=metrics,
        augment=augment.shift(1) if args.small else clothes,
        progress=True,
    )
    result = nn.evaluate(net, state, test, loss=loss, metrics=metrics)
    nn.save(args.out / "network.safetensors", state, spec=net)
    draw(args.out, net, state, history, test, names)
    print(f"test loss {result['loss']:.4f}, accuracy {result['accuracy']:.2%}")
    return result


def draw(
    folder: Path,
    net: nn.Layer,
    state: nn.TrainState,
    history: nn.History,
    test: tuple,
    names: Sequence[str],
) -> None:
    """Write the learning curves, the confusions, and pictures of the inside."""
    images, labels = test
    predicted = np.asarray(nn.predict(net, state, images).argmax(-1))
    counts = np.zeros((10, 10), int)
    np.add.at(counts, (labels, predicted), 1)
    history.plot(folder / "learning_curves.png")
    nn.pictures.confusion_matrix(counts, folder / "confusion.png", names=names)
    save_confused(folder / "confused.png", images, labels, predicted, counts, names)
    save_filters(folder / "filters.png", state.params["block1"]["conv_1"]["w"])
    layers = ("block1", "block2", "block3", "block4")
    save_maps(folder / "feature_maps.png", net, state, images[0], layers)
    one_a_class = [np.flatnonzero(labels == c)[0] for c in range(10)]
    some = images[one_a_class], labels[one_a_class]
    save_evidence(folder / "evidence.png", net, state, some, "block4", names)
    for picture in sorted(folder.glob("*.png")):
        print(f"wrote {picture}")


def save_confused(
    path: Path,
    images: np.ndarray,
    labels: np.ndarray,
    predicted: np.ndarray,
    counts: np.ndarray,
    names: Sequence[str],
) -> None:
    """Draw the five most frequent confusions, a row each, with up to ten images."""
    mistakes = counts * (1 - np.eye(10, dtype=int))
    pairs = [divmod(int(i), 10) for i in np.argsort(-mistakes, axis=None)[:5]]
    figure = Figure(figsize=(11, 6.2), layout="constrained")
    figure.suptitle(f"The most frequent of {mistakes.sum():,} mistakes")
    grid = figure.subplots(len(pairs), 11)
    for axes in grid.flat:
        axes.set_axis_off()
    for row, (true, guess) in zip(grid, pairs, strict=True):
        words = (
            f"{names[true]}\ntaken for\n{names[guess]}\n{mistakes[true, guess]} times"
        )
        row[0].text(0.5, 0.5, words, ha="center", va="center", fontsize=11)
        found = np.flatnonzero((labels == true) & (predicted == guess))
        for axes, i in zip(row[1:], found, strict=False):
            axes.imshow(images[i, ..., 0], cmap="gray_r")
    figure.savefig(path, dpi=110)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--small", action="store_true", help="8x8 digits in place of clothes: seconds")
    add("--epochs", type=int, default=15, help="default: %(default)s")
    add("--batch-size", type=int, default=128, help="default: %(default)s")
    add("--learning-rate", type=float, default=0.004, help="the highest: %(default)s")
    add("--seed", type=int, default=0, help="default: %(default)s")
    add("--out", type=Path, default="out/fashion_cnn", help="default: %(default)s")
    return parser.parse_args(argv)


if __name__ == "__main__":
    nn.cache()  # the second run finds its programs compiled
    main()
