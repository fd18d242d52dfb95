# SPDX-License-Identifier: Apache-2.0
"""Read MNIST's digits with a convolutional network: 99.4 % and more of them.

A filter slides over the image, multiplies and adds; the same few weights look
everywhere. Pooling keeps the largest of four neighbors. Three such layers, each with
batch normalization, make 128 maps of 7x7 numbers, and two dense layers a class of
these. Each training image is shifted by up to two pixels, anew in every epoch.

The data are looked for in $JAXNN_DATA, else downloaded once. The network and how it is
trained were chosen by the accuracy on the validation set, a twelfth of the training
data; the test images are looked at once, at the end. (The course quotes an error of
0.23 %, in 2012: 35 networks of this kind, voting.)
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
import optax
from look_inside import save_evidence, save_filters, save_maps
from pictures import save_predictions

import jaxnn as nn

loss = nn.losses.softmax_cross_entropy
metrics = {"accuracy": nn.metrics.accuracy}


def network() -> nn.Layer:
    """Three convolutions and two dense layers; what a norm follows needs no bias."""
    return nn.Sequential(
        nn.Conv(32, 3, bias=False),
        nn.MaxPool(2),  # before the norm, which then has a quarter of the work
        nn.BatchNorm(),
        jax.nn.relu,
        nn.Conv(64, 3, bias=False),
        nn.MaxPool(2),
        nn.BatchNorm(),
        jax.nn.relu,
        nn.Conv(128, 3, bias=False),
        nn.BatchNorm(),
        jax.nn.relu,
        nn.Flatten(),
        nn.Dense(128, bias=False),
        nn.BatchNorm(),
        jax.nn.relu,
        nn.Dropout(0.5),
        nn.Dense(10),
    )


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Train, test, draw; returns the test loss and accuracy."""
    args = parse(argv)
    train, test = nn.data.digits() if args.small else nn.data.mnist()
    train, validation = nn.data.split(train, 1 / 12, seed=args.seed, stratify=True)
    print(f"{len(train[1]):,} images to train on, {len(test[1]):,} to test on")
    net = network()
    print(nn.summary(net, train[0][: args.batch_size]))
    # The learning rate rises, then falls to almost nothing: large steps first, and at
    # the end ones so small that the noise of the mini-batches averages out.
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
        augment=nn.data.augment.shift(1 if args.small else 2),
        progress=True,
    )
    result = nn.evaluate(net, state, test, loss=loss, metrics=metrics)
    nn.save(args.out / "network.safetensors", state, spec=net)
    draw(args.out, net, state, history, test)
    wrong = round((1 - result["accuracy"]) * len(test[1]))
    print(
        f"test loss {result['loss']:.4f}, accuracy {result['accuracy']:.2%}: "
        f"{wrong} of {len(test[1]):,} digits read wrongly"
    )
    return result


def draw(
    folder: Path, net: nn.Layer, state: nn.TrainState, history: nn.History, test: tuple
) -> None:
    """Write the learning curves, the mistakes, and pictures of the network's inside."""
    images, labels = test
    predicted = np.asarray(nn.predict(net, state, images).argmax(-1))
    wrong, right = (np.flatnonzero((predicted == labels) == ok) for ok in (False, True))
    chosen = np.concatenate([wrong[:5], right])[:8]
    history.plot(folder / "learning_curves.png")
    save_predictions(folder / "predictions.png", images, predicted, labels)
    nn.pictures.confusion_matrix((net, state, test), folder / "confusion.png")
    save_filters(folder / "filters.png", state.params["conv_1"]["w"])
    layers = ("relu_1", "relu_2", "relu_3")
    save_maps(folder / "feature_maps.png", net, state, images[0], layers)
    some = images[chosen], labels[chosen]
    save_evidence(folder / "evidence.png", net, state, some, "relu_3", "0123456789")
    for picture in sorted(folder.glob("*.png")):
        print(f"wrote {picture}")


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--small", action="store_true", help="8x8 digits in place of MNIST: seconds")
    add("--epochs", type=int, default=12, help="default: %(default)s")
    add("--batch-size", type=int, default=128, help="default: %(default)s")
    add("--learning-rate", type=float, default=0.004, help="the highest: %(default)s")
    add("--seed", type=int, default=0, help="default: %(default)s")
    add("--out", type=Path, default="out/mnist_cnn", help="default: %(default)s")
    return parser.parse_args(argv)


if __name__ == "__main__":
    nn.cache()  # the second run finds its programs compiled
    main()
