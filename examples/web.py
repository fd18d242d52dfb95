# SPDX-License-Identifier: Apache-2.0
"""A network for a web page that reads digits drawn with the mouse or a finger.

A small convolutional network learns MNIST and is written as an ONNX file, which
onnxruntime-web runs in the browser: no server computes anything. People draw with other
pens than the writers of MNIST, and not as upright: in training each image is turned,
slanted, scaled, shifted and bent, anew in every epoch.

The page is `web/`, with a trained network beside it. It is copied to `--out`, with the
network trained here in place of that one:

    python examples/web.py
    python -m http.server -d out/web     # then open http://localhost:8000

The network and how it is trained are customary; no others were tried. A twelfth of the
training data is held back to watch; the test images are looked at once, at the end. The
data are looked for in $JAXNN_DATA, else downloaded once.

The page takes onnxruntime-web from `web/node_modules`, where `npm install` puts it,
else from the network, 14 MB before compression.
"""

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
import optax
from pictures import save_predictions

import jaxnn as nn
from jaxnn.data import augment

PAGE = Path(__file__).parent / "web"
loss = nn.losses.softmax_cross_entropy
metrics = {"accuracy": nn.metrics.accuracy}
varied = augment.chain(
    *(augment.rotate(15), augment.shear(15), augment.scale(0.15)),
    *(augment.shift(2), augment.elastic(20, 4)),
)


def network() -> nn.Layer:
    """Four convolutions and a dense layer: 72,000 parameters."""
    return nn.Sequential(
        *(nn.Conv(24, 3, bias=False), nn.MaxPool(2), nn.BatchNorm(), jax.nn.relu),
        *(nn.Conv(48, 3, bias=False), nn.MaxPool(2), nn.BatchNorm(), jax.nn.relu),
        *(nn.Conv(56, 3, bias=False), nn.BatchNorm(), jax.nn.relu),
        *(nn.Conv(56, 3, stride=2, bias=False), nn.BatchNorm(), jax.nn.relu),
        *(nn.Flatten(), nn.Dropout(0.3), nn.Dense(10)),
    )


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Train, test, write the page; returns the test accuracy and the file's size."""
    args = parse(argv)
    train, test = enlarged_digits() if args.small else nn.data.mnist()
    train, validation = nn.data.split(train, 1 / 12, seed=args.seed, stratify=True)
    print(f"{len(train[1]):,} images to train on, {len(test[1]):,} to test on")
    net = network()
    print(nn.summary(net, train[0][: args.batch_size]))
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
        augment=varied,
        progress=True,
    )
    result = nn.evaluate(net, state, test, metrics=metrics)
    draw(args.out, net, state, history, test)
    path = write_page(args.out, net, state, test[0][:1])
    size = path.stat().st_size
    print(
        f"wrote {path}: {size / 1000:.0f} kB, test accuracy {result['accuracy']:.2%}; "
        f"to see it: python -m http.server -d {args.out}"
    )
    return {**result, "bytes": size}


def enlarged_digits() -> tuple[tuple, tuple]:
    """The bundled digits of 8x8 pixels, enlarged to MNIST's 20x20 in 28x28."""

    def enlarged(images, labels):
        wide = jax.image.resize(images, (len(images), 20, 20, 1), "linear")
        return np.pad(wide, ((0, 0), (4, 4), (4, 4), (0, 0))), labels

    train, test = nn.data.digits()
    return enlarged(*train), enlarged(*test)


def write_page(
    folder: Path, net: nn.Layer, state: nn.TrainState, x: np.ndarray
) -> Path:
    """The page, with this network beside it; returns the network's file."""
    installed = shutil.ignore_patterns("node_modules", "package-lock.json")
    if folder.resolve() != PAGE.resolve():
        shutil.copytree(PAGE, folder, ignore=installed, dirs_exist_ok=True)
    path = folder / "digits.onnx"
    nn.io.to_onnx(net, state, x, path)
    return path


def draw(
    folder: Path, net: nn.Layer, state: nn.TrainState, history: nn.History, test: tuple
) -> None:
    """Write the learning curves, augmented digits and predictions on test digits."""
    images, labels = test
    predicted = np.asarray(nn.predict(net, state, images).argmax(-1))
    history.plot(folder / "learning_curves.png")
    save_predictions(folder / "predictions.png", images, predicted, labels)
    augment.show(varied, images[:8], jax.random.key(0), folder / "augmented.png")
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
    add("--learning-rate", type=float, default=0.006, help="the highest: %(default)s")
    add("--seed", type=int, default=0, help="default: %(default)s")
    add("--out", type=Path, default="out/web", help="default: %(default)s")
    return parser.parse_args(argv)


if __name__ == "__main__":
    nn.cache()  # the second run finds its programs compiled
    main()
