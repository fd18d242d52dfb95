# SPDX-License-Identifier: Apache-2.0
"""Learn to read handwritten digits, in seconds and without a download.

A network of two hidden layers learns 1,437 real digits of 8x8 pixels. A tenth of them
is held back for validation: network and training were chosen by those. The 360 test
digits are looked at once, at the end.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import jax
import optax
from pictures import save_predictions

import jaxnn as nn

net = nn.Sequential(
    nn.Flatten(),
    nn.Dense(256),
    jax.nn.relu,
    nn.Dropout(0.4),  # so few examples would otherwise be learned by heart
    nn.Dense(128),
    jax.nn.relu,
    nn.Dropout(0.4),
    nn.Dense(10),  # one number (logit) a class; the loss takes their softmax
)
loss = nn.losses.softmax_cross_entropy
metrics = {"accuracy": nn.metrics.accuracy}


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Train, test, draw; returns the test loss and accuracy."""
    args = parse(argv)
    digits, test = nn.data.digits()
    train, validation = nn.data.split(digits, 0.1, seed=args.seed, stratify=True)
    state, history = nn.fit(
        net,
        train,
        loss=loss,
        optimizer=optax.adam(0.002),
        epochs=10 if args.small else 50,
        batch_size=32,
        key=jax.random.key(args.seed),
        validation=validation,
        metrics=metrics,
        progress=True,
    )
    result = nn.evaluate(net, state, test, loss=loss, metrics=metrics)
    draw(args.out, state, history, test)
    images = len(test[1])
    print(f"test accuracy {result['accuracy']:.2%} on {images} digits not seen before")
    return result


def draw(folder: Path, state: nn.TrainState, history: nn.History, test: tuple) -> None:
    """Write the learning curves and the predictions on test digits."""
    images, labels = test
    history.plot(folder / "learning_curves.png")
    print(f"wrote {folder / 'learning_curves.png'}")
    predicted = nn.predict(net, state, images).argmax(-1)
    path = folder / "predictions.png"
    print(f"wrote {save_predictions(path, images, jax.device_get(predicted), labels)}")


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--small", action="store_true", help="10 epochs in place of 50")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument(
        "--out", type=Path, default="out/digits", help="default: %(default)s"
    )
    return parser.parse_args(argv)


if __name__ == "__main__":
    nn.cache()  # the second run finds its programs compiled
    main()
