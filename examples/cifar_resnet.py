# SPDX-License-Identifier: Apache-2.0
"""Classify CIFAR-10 with a residual network; go on after an interruption.

Two recipes. On an accelerator: ResNet-20 of He et al., 2015, section 4.2: 64,800 steps
with momentum, the learning rate divided by ten at a half and at three quarters. On a
CPU: ResNet-8, the same network with one block a stage, for 12 epochs in which the
learning rate rises and falls once (Smith, 2018): about five minutes on two idle cores.

Training images are shifted by up to four pixels and mirrored at random, anew each time.
The two layers that do so stand in front of the network: they run on the device within
the compiled epoch, take less than a hundredth of a step, and rest in evaluation.

After each epoch the whole state of the run is saved. Should the run be interrupted,
--resume goes on from there, and the result is the uninterrupted run's to the last bit.

The recipes were chosen by accuracy on the validation set, a tenth of the training data.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from pictures import save_predictions

import jaxnn as nn
from jaxnn.data import augment

THINGS = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)
COLORS = {
    "red": (1, 0, 0),
    "green": (0, 1, 0),
    "blue": (0, 0, 1),
    "yellow": (1, 1, 0),
    "cyan": (0, 1, 1),
}
loss = nn.losses.softmax_cross_entropy
metrics = {"accuracy": nn.metrics.accuracy}
MEAN, DEVIATION = 0.47, 0.25  # of the colors
varied = augment.chain(augment.crop(4, fill=MEAN), augment.flip())


class Recipe(NamedTuple):
    """A network and how to train it."""

    depth: int
    width: int
    epochs: int
    batch_size: int  # divides the 45,000 images, so that one program serves all batches
    learning_rate: float  # the highest
    decay: float  # of the weights
    cycle: bool  # whether the learning rate rises and falls once, or drops twice


FULL = Recipe(20, 16, 180, 125, 0.1, 1e-4, cycle=False)
CPU = Recipe(8, 16, 12, 50, 0.1, 5e-4, cycle=True)
SMALL = Recipe(8, 4, 3, 50, 0.1, 5e-4, cycle=True)


def center(images: jax.Array) -> jax.Array:
    """Colors from 0 to 1, in standard deviations from the mean: about -2 to 2."""
    return (images - MEAN) / DEVIATION


def network(recipe: Recipe) -> nn.Layer:
    """Images from 0 to 1 to ten logits."""
    resnet = nn.models.cifar_resnet(recipe.depth, 10, recipe.width)
    return nn.Sequential(center=center, resnet=resnet)


def learning_rate(recipe: Recipe, steps: int) -> optax.Schedule:
    """From the step's number to the learning rate; `steps` are those of one epoch."""
    total, highest = recipe.epochs * steps, recipe.learning_rate
    if recipe.cycle:
        return optax.cosine_onecycle_schedule(total, highest)
    drops = {total // 2: 0.1, 3 * total // 4: 0.1}
    return optax.piecewise_constant_schedule(highest, drops)


def make_optimizer(recipe: Recipe, steps: int) -> optax.GradientTransformation:
    """Momentum with decaying weights."""
    rate = learning_rate(recipe, steps)
    decay = optax.add_decayed_weights(recipe.decay)
    return optax.chain(decay, optax.sgd(rate, momentum=0.9, nesterov=recipe.cycle))


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Train or go on, test, draw; returns the test loss and accuracy."""
    args, recipe = parse(argv)
    title, classes, train, test = load_data(args.small)
    train, validation = nn.data.split(train, 0.1, seed=0, stratify=True)
    net = network(recipe)
    optimizer = make_optimizer(recipe, steps=-(-len(train[1]) // recipe.batch_size))
    state = nn.train_state(net, optimizer, train[0][:1], key=jax.random.key(args.seed))
    count = nn.trees.count(state.params)
    print(f"{title}: ResNet-{recipe.depth}, {count:,} weights, {recipe.epochs} epochs")
    checkpoint, record = args.out / "checkpoint.safetensors", args.out / "history.csv"
    state, history = resume(checkpoint, record, state) if args.resume else (state, None)
    state, history = nn.fit(
        net,
        train,
        loss=loss,
        optimizer=optimizer,
        epochs=recipe.epochs,
        batch_size=recipe.batch_size,
        validation=validation,
        metrics=metrics,
        augment=varied,
        state=state,
        history=history,
        callbacks=[
            lambda epoch, state, history: history.to_csv(record),
            nn.callbacks.checkpoint(checkpoint),
            lambda epoch, state, history: epoch == args.stop_after,
        ],
        progress=True,
    )
    result = nn.evaluate(net, state, test, loss=loss, metrics=metrics)
    draw(args.out, net, state, history, test, classes)
    print(
        f"{title}: after {history.epochs[-1]} of {recipe.epochs} epochs "
        f"test loss {result['loss']:.4f}, accuracy {result['accuracy']:.4f}"
    )
    return result


def load_data(small: bool) -> tuple[str, Sequence[str], Any, Any]:
    """The title and classes of the data, examples to train on and to test on."""
    if not small:
        return "CIFAR-10", THINGS, *nn.data.cifar10()
    print("--small: synthetic stripes, a stand-in for CIFAR-10 and much easier")
    classes = [f"{color} {way}" for color in COLORS for way in ("columns", "rows")]
    return "synthetic stripes", classes, stripes(1500, seed=1), stripes(150, seed=2)


def stripes(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Noisy images `[N, 16, 16, 3]` of colored stripes, and their classes."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 10, count, dtype=np.int32)
    place = 1.5 * np.arange(16) + rng.uniform(0, 6, (count, 1))
    wave = np.broadcast_to(np.sin(place)[:, None, :], (count, 16, 16))  # columns
    wave = np.where(labels[:, None, None] % 2, wave.swapaxes(1, 2), wave)  # odd: rows
    colors = np.array([*COLORS.values()])[labels // 2, None, None]
    images = (0.5 + 0.4 * wave[..., None]) * colors
    noise = 0.2 * rng.standard_normal(images.shape)
    return np.clip(images + noise, 0, 1).astype(np.float32), labels


def resume(
    checkpoint: Path, record: Path, like: nn.TrainState
) -> tuple[nn.TrainState, nn.History]:
    """The saved state, and the history up to it."""
    state, history = nn.load(checkpoint, like=like), nn.History.from_csv(record)
    print(f"going on from {checkpoint}: epoch {history.epochs[-1]} is done")
    return state, history


def draw(
    folder: Path,
    net: nn.Layer,
    state: nn.TrainState,
    history: nn.History,
    test: tuple,
    classes: Sequence[str],
) -> None:
    """Write the learning curves, augmented images, predictions and confusions."""
    images, labels = test
    history.plot(folder / "learning_curves.png")
    augment.show(varied, images[:6], jax.random.key(0), folder / "augmented.png")
    predicted = np.asarray(nn.predict(net, state, images).argmax(-1))
    # The pictures take the first of the last axis: here all three colors.
    colored = images[..., None]
    save_predictions(folder / "predictions.png", colored, predicted, labels, classes)
    nn.pictures.confusion_matrix(
        (net, state, test), folder / "confusion.png", names=classes
    )
    for name in ("learning_curves", "augmented", "predictions", "confusion"):
        print(f"wrote {folder / name}.png")


def parse(argv: Sequence[str] | None) -> tuple[argparse.Namespace, Recipe]:
    """Read the command line; the recipe that it asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--small", action="store_true", help="a synthetic stand-in: seconds")
    add("--recipe", choices=("cpu", "full"), help="default: by the device at hand")
    add("--epochs", type=int, help="default: the recipe's")
    add("--resume", action="store_true", help="go on from the checkpoint in --out")
    add("--stop-after", type=int, metavar="EPOCH", help="end early, to be resumed")
    add("--seed", type=int, default=0, help="default: %(default)s")
    add("--out", type=Path, default=Path("out/cifar_resnet"), help="folder to write to")
    args = parser.parse_args(argv)
    on_cpu = jax.default_backend() == "cpu"
    recipe = {"cpu": CPU, "full": FULL}[args.recipe or ("cpu" if on_cpu else "full")]
    recipe = SMALL if args.small else recipe
    args.out.mkdir(parents=True, exist_ok=True)
    return args, recipe._replace(epochs=args.epochs or recipe.epochs)


if __name__ == "__main__":
    nn.cache()  # the second run finds its programs compiled
    main()
