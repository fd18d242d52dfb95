# SPDX-License-Identifier: Apache-2.0
"""Classify CIFAR-10 with a residual network; go on after an interruption.

Two recipes. On an accelerator: ResNet-20 of He et al., 2015, section 4.2: 64,800 steps
of momentum, the learning rate divided by ten at a half and at three quarters. On a CPU:
ResNet-8, the same network with one block a stage, for 12 epochs in which the learning
rate rises and falls once (Smith, 2018): about ten minutes on two idle cores.

Training images are shifted by up to four pixels and mirrored at random, anew each time.
This is a layer in front of the network, so it runs on the device within the compiled
epoch; it costs less than one step in a hundred, and does nothing in evaluation.

After each epoch the whole state of the run is saved. Should the run be interrupted,
--resume goes on from there, and the result is the uninterrupted run's to the last bit.

The recipes were chosen by accuracy on the validation set, a tenth of the training data.
"""

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.figure import Figure
from pictures import save_confusion, save_predictions

import jaxnn as nn

CLASSES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)
MEAN, DEVIATION = 0.47, 0.25  # of CIFAR-10's numbers, which are from 0 to 1

loss = nn.losses.softmax_cross_entropy
metrics = {"accuracy": nn.metrics.accuracy}


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


class ShiftAndFlip(nn.Layer):
    """In training, shift each image by up to `pad` pixels and mirror every second one.

    What comes into sight is gray. Outside training images stay as they are.
    """

    pad: int = 4

    def apply(self, params, state, x, *, key=None, train=False):
        return (shift_and_flip(key, x, self.pad) if train else x), state


def shift_and_flip(key: Any, images: jax.Array, pad: int) -> jax.Array:
    """A window of each padded image `[N, H, W, C]`, at random read from the right."""
    count, height, width, _ = images.shape
    shift_key, flip_key = jax.random.split(key)
    top, left = jax.random.randint(shift_key, (2, count, 1), 0, 2 * pad + 1)
    flip = jax.random.bernoulli(flip_key, shape=(count, 1))
    rows = top + jnp.arange(height)[None]
    columns = jnp.arange(width)[None]
    columns = left + jnp.where(flip, width - 1 - columns, columns)
    beside = ((0, 0), (pad, pad), (pad, pad), (0, 0))
    padded = jnp.pad(images, beside, constant_values=MEAN)
    every = jnp.arange(count)[:, None, None]
    return padded[every, rows[:, :, None], columns[:, None, :]]


def center(images: jax.Array) -> jax.Array:
    """Colors in standard deviations from the mean, about -2 to 2."""
    return (images - MEAN) / DEVIATION


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Train or go on, test, draw; returns the test loss and accuracy."""
    args, recipe = parse(argv)
    title, train, test = load_data(args.small)
    train, validation = nn.data.split(train, 0.1, seed=0, stratify=True)
    resnet = nn.models.cifar_resnet(recipe.depth, len(CLASSES), recipe.width)
    net = nn.Sequential(augment=ShiftAndFlip(), center=center, resnet=resnet)
    optimizer = make_optimizer(recipe, steps=-(-len(train[1]) // recipe.batch_size))
    state = nn.train_state(net, optimizer, train[0][:1], key=jax.random.key(args.seed))
    weights = nn.trees.count(state.params)
    print(f"{title}: ResNet-{recipe.depth}, {weights:,} weights, {recipe.epochs} epochs")
    checkpoint, history = args.out / "checkpoint.safetensors", args.out / "history.csv"
    state, past = resume(checkpoint, history, state) if args.resume else (state, None)
    state, past = nn.fit(
        net,
        train,
        loss=loss,
        optimizer=optimizer,
        epochs=recipe.epochs,
        batch_size=recipe.batch_size,
        validation=validation,
        metrics=metrics,
        state=state,
        history=past,
        callbacks=[
            lambda epoch, state, history: history.to_csv(args.out / "history.csv"),
            nn.callbacks.checkpoint(checkpoint),
            lambda epoch, state, history: epoch == args.stop_after,
        ],
        progress=True,
    )
    result = nn.evaluate(net, state, test, loss=loss, metrics=metrics)
    draw(args.out, net, state, past, test)
    print(
        f"{title}: after {past.epochs[-1]} of {recipe.epochs} epochs test loss "
        f"{result['loss']:.4f}, accuracy {result['accuracy']:.4f}"
    )
    return result


def load_data(small: bool) -> tuple[str, Any, Any]:
    """The title of the data, examples to train on and to test on."""
    if small:
        print("--small: synthetic stripes, a stand-in for CIFAR-10 and nothing like it")
        return "synthetic stripes", stripes(1500, seed=1), stripes(200, seed=2)
    return "CIFAR-10", *nn.data.cifar10()


def stripes(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Noisy stripes on 16x16 images; a class is their color and their direction."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, len(CLASSES), count, dtype=np.int32)
    across = np.where(labels[:, None, None] % 2, np.arange(16)[None, :, None], 0)
    along = np.where(labels[:, None, None] % 2, 0, np.arange(16)[None, None, :])
    phase = rng.uniform(0, 6, (count, 1, 1))
    wave = 0.5 + 0.4 * np.sin(1.5 * (across + along) + phase)
    colors = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [0, 1, 1]])
    images = wave[..., None] * colors[labels // 2][:, None, None]
    images += 0.2 * rng.standard_normal(images.shape)
    return np.clip(images, 0, 1).astype(np.float32), labels


def make_optimizer(recipe: Recipe, steps: int) -> optax.GradientTransformation:
    """Momentum with decaying weights; `steps` are those of one epoch."""
    total, peak = recipe.epochs * steps, recipe.learning_rate
    if recipe.cycle:
        rate = optax.cosine_onecycle_schedule(total, peak)
    else:
        drops = {total // 2: 0.1, 3 * total // 4: 0.1}
        rate = optax.piecewise_constant_schedule(peak, drops)
    decay = optax.add_decayed_weights(recipe.decay)
    return optax.chain(decay, optax.sgd(rate, momentum=0.9, nesterov=recipe.cycle))


def resume(checkpoint: Path, record: Path, like: nn.TrainState) -> tuple[Any, Any]:
    """The saved state, and the history up to it."""
    state, history = nn.load(checkpoint, like=like), nn.History()
    with record.open(newline="") as file:
        for row in csv.DictReader(file):
            epoch = int(row.pop("epoch"))
            history.add(epoch, {name: float(value) for name, value in row.items()})
    print(f"going on from {checkpoint}: epoch {history.epochs[-1]} is done")
    return state, history


def draw(folder: Path, net: nn.Layer, state: Any, past: nn.History, test: Any) -> None:
    """Write the learning curves, augmented images, predictions and confusions."""
    images, labels = test
    past.plot(folder / "learning_curves.png")
    save_augmented(folder / "augmented.png", images[:8])
    predicted = np.asarray(nn.predict(net, state, images).argmax(-1))
    # One axis more: the pictures' images have one channel, which they leave out.
    colored = images[..., None]
    save_predictions(folder / "predictions.png", colored, predicted, labels, CLASSES)
    counts = np.zeros((len(CLASSES), len(CLASSES)), int)
    np.add.at(counts, (labels, predicted), 1)
    save_confusion(folder / "confusion.png", counts, CLASSES)
    for name in ("learning_curves", "augmented", "predictions", "confusion"):
        print(f"wrote {folder / name}.png")


def save_augmented(path: Path, images: np.ndarray) -> None:
    """Draw images, and under each what training may see of it."""
    figure = Figure(figsize=(1.3 * len(images), 5.6), layout="constrained")
    figure.suptitle("Top: images as they are. Below: shifted and mirrored at random")
    rows = [images] + [shift_and_flip(jax.random.key(i), images, 4) for i in range(3)]
    for axes, image in zip(
        figure.subplots(len(rows), len(images)).flat, np.concatenate(rows), strict=True
    ):
        axes.imshow(image)
        axes.set_axis_off()
    figure.savefig(path, dpi=110)


def parse(argv: Sequence[str] | None) -> tuple[argparse.Namespace, Recipe]:
    """Read the command line; the recipe that it asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--small", action="store_true", help="a synthetic stand-in: seconds")
    add("--recipe", choices=("cpu", "full"), help="default: by the device at hand")
    add("--epochs", type=int, help="default: the recipe's")
    add("--learning-rate", type=float, help="default: the recipe's")
    add("--resume", action="store_true", help="go on from the checkpoint in --out")
    add("--stop-after", type=int, metavar="EPOCH", help="end early, to be resumed")
    add("--seed", type=int, default=0, help="default: %(default)s")
    add("--out", type=Path, default=Path("out/cifar_resnet"), help="folder to write to")
    args = parser.parse_args(argv)
    on_cpu = jax.default_backend() == "cpu"
    recipe = {"cpu": CPU, "full": FULL}[args.recipe or ("cpu" if on_cpu else "full")]
    recipe = SMALL if args.small else recipe
    recipe = recipe._replace(
        epochs=args.epochs or recipe.epochs,
        learning_rate=args.learning_rate or recipe.learning_rate,
    )
    args.out.mkdir(parents=True, exist_ok=True)
    return args, recipe


if __name__ == "__main__":
    nn.cache()  # the second run finds its programs compiled
    main()
