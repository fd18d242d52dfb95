# SPDX-License-Identifier: Apache-2.0
"""One network with two inputs and two outputs: a class and a number, two losses.

Each example is a picture of a digit, turned by an angle that the network does not know,
and a row of a table, which says how bright the picture is and, in two numbers, to which
third of the digits it belongs (0 to 3, 4 to 6, 7 to 9). The network names the digit and
the angle. Both heads share one body; the history holds both losses.

The table helps where pictures leave a doubt: a 6 turned over is a 9, but the two are in
different thirds. The script trains the same network without the table beside it.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.figure import Figure
from scipy import ndimage

import jaxnn as nn

LARGEST = 90  # degrees to either side
losses = {
    "digit": nn.losses.softmax_cross_entropy,
    "angle": (0.5, nn.losses.huber),
}
metrics = {
    "accuracy": nn.metrics.select("digit", nn.metrics.accuracy),
    "angle_error": nn.metrics.select("angle", nn.metrics.mean_absolute_error),
}


class Both(nn.Composite):
    """A picture and a row of a table in, a class and a number out."""

    body: nn.Layer = nn.Sequential(
        *(nn.Conv(16, 3), jax.nn.relu, nn.MaxPool(2)),
        *(nn.Conv(32, 3), jax.nn.relu, nn.Flatten(), nn.Dense(64)),
    )
    table: nn.Layer = nn.Dense(64)
    digit: nn.Layer = nn.Sequential(jax.nn.relu, nn.Dropout(0.3), nn.Dense(10))
    angle: nn.Layer = nn.Sequential(jax.nn.relu, nn.Dense(1))

    def forward(self, run, x):
        h = run("body", x["picture"]) + run("table", x["row"])
        return {"digit": run("digit", h), "angle": run("angle", h)}


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Train with and without the table, test, draw; returns the test numbers."""
    args = parse(argv)
    train, test = (made(*pair, seed) for seed, pair in enumerate(nn.data.digits()))
    print(f"{len(train[0]['row']):,} examples to train on")
    net, results = Both(), {}
    for name, data in (("pictures alone", blind(train)), ("with the table", train)):
        print(name)
        state, history = nn.fit(
            net,
            data,
            loss=losses,
            optimizer=optax.adam(1e-3),
            epochs=args.epochs // 4 if args.small else args.epochs,
            batch_size=64,
            key=jax.random.key(args.seed),
            metrics=metrics,
        )
        held = blind(test) if name == "pictures alone" else test
        results[name] = nn.evaluate(net, state, held, loss=losses, metrics=metrics)
    history.plot(args.out / "learning_curves.png")
    draw(args.out / "predictions.png", nn.predict(net, state, test[0]), test)
    for picture in sorted(args.out.glob("*.png")):
        print(f"wrote {picture}")
    alone, both = results.values()
    print(
        f"test accuracy {both['accuracy']:.1%} and angle to {degrees(both):.1f} "
        f"degrees; without the table {alone['accuracy']:.1%}, {degrees(alone):.1f}"
    )
    return {**both, "accuracy_alone": alone["accuracy"]}


def made(images: np.ndarray, labels: np.ndarray, seed: int) -> tuple[dict, dict]:
    """Inputs and targets: each picture turned at random, and its row."""
    rng = np.random.default_rng(seed)
    angles = rng.uniform(-LARGEST, LARGEST, len(images))
    turned = [
        ndimage.rotate(image, angle, (1, 0), reshape=False, order=1)
        for image, angle in zip(images[..., 0], angles, strict=True)
    ]
    thirds = np.stack([labels >= 4, labels >= 7], axis=1)
    rows = np.column_stack([images.mean((1, 2, 3)), thirds]).astype(np.float32)
    pictures = np.stack(turned)[..., None].astype(np.float32)
    share = (angles / LARGEST)[:, None].astype(np.float32)
    return {"picture": pictures, "row": rows}, {"digit": labels, "angle": share}


def blind(data: tuple[dict, dict]) -> tuple[dict, dict]:
    """The same data with a table that says nothing."""
    inputs, targets = data
    return {**inputs, "row": np.zeros_like(inputs["row"])}, targets


def degrees(result: dict[str, float]) -> float:
    """The mean error of the angle."""
    return LARGEST * result["angle_error"]


def draw(path: Path, outputs: dict, data: tuple[dict, dict], count: int = 14) -> None:
    """Draw test pictures as they came, and turned back by the predicted angle."""
    inputs, targets = data
    figure = Figure(figsize=(count * 0.9, 2.9), layout="constrained")
    figure.suptitle("As it came; turned back by the predicted angle; digit read")
    grid = figure.subplots(2, count)
    said = np.asarray(jnp.argmax(outputs["digit"], -1))
    for i, (above, below) in enumerate(grid.T):
        picture = inputs["picture"][i, ..., 0]
        angle = LARGEST * float(outputs["angle"][i, 0])
        back = ndimage.rotate(picture, -angle, (1, 0), reshape=False, order=1)
        above.imshow(picture, cmap="gray_r")
        below.imshow(back, cmap="gray_r")
        right = said[i] == targets["digit"][i]
        below.set_xlabel(str(said[i]), color="black" if right else "red", fontsize=13)
        for axes in (above, below):
            axes.set(xticks=[], yticks=[])
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--small", action="store_true", help="a quarter of the epochs")
    add("--epochs", type=int, default=60, help="default: %(default)s")
    add("--seed", type=int, default=0, help="default: %(default)s")
    add("--out", type=Path, default="out/two_outputs", help="default: %(default)s")
    return parser.parse_args(argv)


if __name__ == "__main__":
    nn.cache()  # the second run finds its programs compiled
    main()
