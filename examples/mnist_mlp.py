# SPDX-License-Identifier: Apache-2.0
"""Classify MNIST's digits with a multilayer perceptron, 784-300-100-10.

The course's first real network: ReLU, softmax, integer labels, plain SGD, 30 epochs and
a validation set; then evaluate, predict, save and load. With --fashion the same network
learns pictures of clothes, for which the course quotes a test accuracy of 0.854.

The data are looked for in $JAXNN_DATA, else downloaded once. Learning rate and batch
size were chosen by the accuracy on the validation set, a twelfth of the training data.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
from pictures import save_predictions

import jaxnn as nn

DIGITS = tuple("0123456789")
CLOTHES = (
    *("T-shirt", "trouser", "pullover", "dress", "coat"),
    *("sandal", "shirt", "sneaker", "bag", "boot"),
)

net = nn.Sequential(
    nn.Flatten(),
    nn.Dense(300),
    jax.nn.relu,
    nn.Dense(100),
    jax.nn.relu,
    nn.Dense(10),
)
loss = nn.losses.softmax_cross_entropy  # takes the softmax itself: stable, and faster
metrics = {"accuracy": nn.metrics.accuracy}


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Train, test, save, load, draw; returns the test loss and accuracy."""
    args = parse(argv)
    title, classes, train, test = load_data(args)
    train, validation = nn.data.split(train, 1 / 12, seed=args.seed, stratify=True)
    print(f"{title}: {len(train[1]):,} images to train on, {len(test[1]):,} to test on")
    state, history = nn.fit(
        net,
        train,
        loss=loss,
        optimizer=optax.sgd(args.learning_rate, momentum=args.momentum or None),
        epochs=args.epochs,
        batch_size=args.batch_size,
        key=jax.random.key(args.seed),
        validation=validation,
        metrics=metrics,
        progress=True,
    )
    result = nn.evaluate(net, state, test, loss=loss, metrics=metrics)
    show_probabilities(state, test)
    check_file(args.out / "network.safetensors", state, test[0])
    draw(args.out, state, history, test, classes)
    print(f"{title}: test loss {result['loss']:.4f}, accuracy {result['accuracy']:.4f}")
    return result


def load_data(args: argparse.Namespace) -> tuple[str, Sequence[str], Any, Any]:
    """The title and classes of the data, examples to train on and to test on."""
    if args.small:
        print("--small: the 8x8 digits that come with jaxnn, in place of MNIST")
        return "8x8 digits", DIGITS, *nn.data.digits()
    if args.fashion:
        return "Fashion-MNIST", CLOTHES, *nn.data.fashion_mnist()
    return "MNIST", DIGITS, *nn.data.mnist()


def show_probabilities(state: nn.TrainState, test: tuple) -> None:
    """Print how sure the network is of three test images."""
    images, labels = test
    probabilities = jax.nn.softmax(nn.predict(net, state, images[:3]))
    with np.printoptions(suppress=True):
        for row, label in zip(np.asarray(probabilities), labels[:3], strict=True):
            print(f"class {label} predicted as {row.round(2)}")


def check_file(path: Path, state: nn.TrainState, images: np.ndarray) -> None:
    """Save the trained network and see that what is loaded predicts the same."""
    nn.save(path, state, spec=net)
    restored = nn.load(path, like=state)
    before, after = nn.predict(net, state, images), nn.predict(net, restored, images)
    if not np.array_equal(before, after):
        raise RuntimeError(f"the network in {path} predicts other numbers")
    print(f"wrote {path}; loaded again, it predicts the very same numbers")


def draw(
    folder: Path,
    state: nn.TrainState,
    history: nn.History,
    test: tuple,
    classes: Sequence[str],
) -> None:
    """Write the learning curves, some predictions and the confusion matrix."""
    images, labels = test
    history.plot(folder / "learning_curves.png")
    predicted = np.asarray(nn.predict(net, state, images).argmax(-1))
    save_predictions(folder / "predictions.png", images, predicted, labels, classes)
    nn.pictures.confusion_matrix(
        (net, state, test), folder / "confusion.png", names=[*classes]
    )
    for picture in ("learning_curves", "predictions", "confusion"):
        print(f"wrote {folder / picture}.png")


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--small", action="store_true", help="8x8 digits and 20 epochs: seconds")
    add("--fashion", action="store_true", help="Fashion-MNIST in place of MNIST")
    add("--epochs", type=int, help="default: 30, or 20 with --small")
    add("--batch-size", type=int, default=32, help="default: %(default)s")
    add("--learning-rate", type=float, default=0.1, help="default: %(default)s")
    add("--momentum", type=float, default=0.0, help="such as 0.9; default: none")
    add("--seed", type=int, default=0, help="default: %(default)s")
    add("--out", type=Path, help="default: out/mnist_mlp or out/fashion_mlp")
    args = parser.parse_args(argv)
    args.epochs = args.epochs or (20 if args.small else 30)
    args.out = args.out or Path("out", "fashion_mlp" if args.fashion else "mnist_mlp")
    return args


if __name__ == "__main__":
    nn.cache()  # the second run finds its programs compiled
    main()
