# SPDX-License-Identifier: Apache-2.0
"""An ensemble beats one network: sixteen small ones read MNIST together.

Sixteen networks of one hidden layer differ in nothing but their start and the order in
which they see the images. Each makes mistakes of its own; the mean of their
probabilities makes fewer than the best of them. `nn.ensemble` trains all in one
program, and each is what `nn.fit` alone would have given.

The data are looked for in $JAXNN_DATA, else downloaded once. Nothing is chosen here:
the learning rate is Adam's usual one. `mnist_record.py` does the same with
convolutional networks and augmented images.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
import optax

import jaxnn as nn

loss = nn.losses.softmax_cross_entropy
metrics = {"accuracy": nn.metrics.accuracy}


def network(features: int) -> nn.Layer:
    """Images to ten logits, by one hidden layer."""
    return nn.Sequential(nn.Flatten(), nn.Dense(features), jax.nn.relu, nn.Dense(10))


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Train all, evaluate each and all, draw; returns the test errors."""
    args = parse(argv)
    train, test = nn.data.digits() if args.small else nn.data.mnist()
    net = network(args.features)
    bunch = nn.ensemble(net, args.members, average="softmax")
    print(f"{args.members} networks, {len(train[1]):,} images to train on")
    state, history = nn.fit(
        bunch,
        train,
        loss=loss,
        optimizer=optax.adam(1e-3),
        epochs=args.epochs,
        batch_size=args.batch_size,
        key=jax.random.key(args.seed),
        metrics=metrics,
        progress=True,
    )
    together = 1 - nn.evaluate(bunch, state, test, metrics=metrics)["accuracy"]
    images, labels = test
    said = np.stack(
        [
            jax.nn.softmax(nn.predict(net, nn.member(state, i), images))
            for i in range(args.members)
        ]
    )
    alone = (said.argmax(-1) != labels).mean(1)
    history.plot(args.out / "learning_curves.png")
    draw(args.out / "error_by_members.png", said, labels, args.seed)
    for picture in sorted(args.out.glob("*.png")):
        print(f"wrote {picture}")
    print(
        f"alone {alone.mean():.2%} of {len(labels):,} test images are read wrongly "
        f"(the best network {alone.min():.2%}), together {together:.2%}"
    )
    return {
        "together": together,
        "alone": float(alone.mean()),
        "best": float(alone.min()),
    }


def draw(path: Path, said: np.ndarray, labels: np.ndarray, seed: int) -> None:
    """The error against the number of members: the mean and the range of 30 draws.

    Args:
        path: the picture.
        said: the members' probabilities, `[members, N, 10]`.
        labels: the true classes, `[N]`.
        seed: of the draws.
    """
    from matplotlib.figure import Figure

    rng, members = np.random.default_rng(seed), len(said)
    orders = [rng.permutation(members) for _ in range(30)]
    errors = 100 * np.array([errors_of(said[order], labels) for order in orders])
    counts = np.arange(1, members + 1)
    figure = Figure((5.5, 3.5), layout="constrained")
    axes = figure.subplots()
    label = "least and most of 30 random choices"
    axes.fill_between(counts, errors.min(0), errors.max(0), alpha=0.25, label=label)
    axes.plot(counts, errors.mean(0), "o-", label="mean")
    axes.set(xlabel="networks in the ensemble", ylabel="test error in %")
    axes.set(xticks=counts[:: -(-members // 16)], title="An ensemble beats one network")
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def errors_of(said: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The error of the first member, of the first two together, and so on."""
    return (np.cumsum(said, 0).argmax(-1) != labels).mean(1)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--small", action="store_true", help="8x8 digits in place of MNIST: seconds")
    add("--members", type=int, default=16, help="default: %(default)s")
    add("--features", type=int, default=128, help="hidden units, %(default)s")
    add("--epochs", type=int, default=8, help="default: %(default)s")
    add("--batch-size", type=int, default=128, help="default: %(default)s")
    add("--seed", type=int, default=0, help="default: %(default)s")
    add("--out", type=Path, default="out/ensemble", help="default: %(default)s")
    return parser.parse_args(argv)


if __name__ == "__main__":
    nn.cache()  # the second run finds its programs compiled
    main()
