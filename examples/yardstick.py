# SPDX-License-Identifier: Apache-2.0
"""A small classifier of MNIST by which generated digits are measured.

Whether generated images look like real ones is measured on what a classifier sees in
them: the Fréchet distance between the features of two sets, and how surely and how
evenly the classes are named. The classifier is trained here once and kept in
`weights/`; anybody who measures with it gets the same numbers. The distance of the real
test images to real training images is the floor.

The data are looked for in $JAXNN_DATA, else downloaded once.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxnn as nn

WEIGHTS = Path(__file__).parent / "weights" / "yardstick.safetensors"
loss = nn.losses.softmax_cross_entropy
metrics = {"accuracy": nn.metrics.accuracy}


class Yardstick(nn.Composite):
    """A classifier of 28x28 digits with 64 features before its last layer."""

    body: nn.Layer = nn.Sequential(
        *(nn.Conv(24, 3, bias=False), nn.MaxPool(2), nn.BatchNorm(), jax.nn.relu),
        *(nn.Conv(48, 3, bias=False), nn.MaxPool(2), nn.BatchNorm(), jax.nn.relu),
        *(nn.Conv(64, 3, stride=2, bias=False), nn.BatchNorm(), jax.nn.relu),
        *(nn.Flatten(), nn.Dense(64), jax.nn.relu),
    )
    head: nn.Layer = nn.Sequential(nn.Dropout(0.3), nn.Dense(10))

    def forward(self, run, x):
        features = run("body", x)
        return {"features": features, "logits": run("head", features)}


class Score(NamedTuple):
    """How generated digits compare with real ones."""

    distance: float  # Fréchet distance of features to the real test images
    surety: float  # inception score, from 1 to 10
    shares: np.ndarray  # of each digit, [10]


def measure(generated: Any, real: Any) -> Score:
    """Hold generated images `[N, 28, 28, 1]`, from 0 to 1, against real ones."""
    made, known = seen(generated), seen(real)
    distance = nn.metrics.frechet_distance(known["features"], made["features"])
    sure = jax.nn.softmax(made["logits"])
    counts = np.bincount(np.asarray(sure.argmax(-1)), minlength=10)
    return Score(distance, nn.metrics.inception_score(sure), counts / len(sure))


def seen(images: Any) -> dict[str, jax.Array]:
    """The features and logits of images."""
    return nn.predict(Yardstick(), nn.load(WEIGHTS), jnp.asarray(images, jnp.float32))


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Train and keep the classifier; returns its accuracy and the floor."""
    args = parse(argv)
    train, test = nn.data.mnist()
    if args.small:
        train = train[0][:2000], train[1][:2000]
    net, logits = Yardstick(), {"logits": loss}
    steps = args.epochs * -(-len(train[1]) // 128)
    state, _ = nn.fit(
        net,
        (train[0], {"logits": train[1]}),
        loss=logits,
        optimizer=optax.adam(optax.cosine_onecycle_schedule(steps, 0.004)),
        epochs=args.epochs,
        batch_size=128,
        key=jax.random.key(args.seed),
        augment=nn.data.augment.shift(1),
        progress=True,
    )
    nn.save(args.out, {"params": state.params, "state": state.state}, spec=net)
    right = nn.metrics.select("logits", nn.metrics.accuracy)
    held = test[0], {"logits": test[1]}
    result = nn.evaluate(net, state, held, metrics={"accuracy": right})
    floor = measure(test[0], train[0][:10_000])
    print(
        f"wrote {args.out}: test accuracy {result['accuracy']:.2%}; real test images "
        f"against real training images: Fréchet distance {floor.distance:.3f}, "
        f"inception score {floor.surety:.2f}"
    )
    return {**result, "floor": floor.distance}


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--small", action="store_true", help="2,000 images: seconds, not to measure by")
    add("--epochs", type=int, default=6, help="default: %(default)s")
    add("--seed", type=int, default=0, help="default: %(default)s")
    add("--out", type=Path, default=WEIGHTS, help="default: %(default)s")
    return parser.parse_args(argv)


if __name__ == "__main__":
    nn.cache()  # the second run finds its programs compiled
    main()
