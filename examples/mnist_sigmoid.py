# SPDX-License-Identifier: Apache-2.0
"""From bad results to good ones on MNIST: the course's recipe, a row of a table a step.

The start is a network 784-500-500-10 of sigmoids with a softmax at its end, trained on
the mean squared error by SGD (learning rate 0.1, batches of 100). It hardly learns:
the loss reaches a weight only through a product of slopes, the softmax's and σ(1 - σ)
<= 1/4 a layer. The table shows that as the length of the gradient, layer by layer,
before training. Then one thing at a time is changed: the loss, the activation, the
optimizer, dropout.

The course trains for 200 epochs (--epochs 200). Learning rates and the dropout rate
were chosen on the validation set, a tenth of the training data; the test set is only
reported.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from matplotlib.figure import Figure

import jaxnn as nn

LINE = "{:26} {:>9} {:>7} {:>7} {:14} {:>13} {:>8}"  # a row without its name
metrics = {"accuracy": nn.metrics.accuracy}


class Recipe(NamedTuple):
    """How to build and train the network, and which recipe it is an attempt to beat."""

    name: str
    rival: str
    activation: Callable
    output: Callable | nn.Layer
    loss: Callable
    optimizer: optax.GradientTransformation
    dropout: float = 0.0

    def network(self) -> nn.Sequential:
        """784-500-500-10."""
        hidden = [self.activation, nn.Dropout(self.dropout)]
        layers = [nn.Dense(500), *hidden, nn.Dense(500), *hidden, nn.Dense(10)]
        return nn.Sequential(nn.Flatten(), *layers, self.output)


sigmoid = Recipe(
    name="sigmoid, MSE",
    rival="",
    activation=jax.nn.sigmoid,
    output=jax.nn.softmax,
    loss=nn.losses.mean_squared_error,
    optimizer=optax.sgd(0.1),
)
cross_entropy = sigmoid._replace(
    name="cross-entropy",
    rival="sigmoid, MSE",
    output=nn.Identity(),  # the loss takes the softmax itself
    loss=nn.losses.softmax_cross_entropy,
)
relu = cross_entropy._replace(
    name="ReLU", rival="cross-entropy", activation=jax.nn.relu
)
momentum = relu._replace(
    name="momentum", rival="ReLU", optimizer=optax.sgd(0.05, momentum=0.9)
)
adagrad = relu._replace(  # in place of momentum; the sum of squares starts at 0
    name="Adagrad",
    rival="ReLU",
    optimizer=optax.adagrad(0.01, initial_accumulator_value=0.0),
)
dropout = adagrad._replace(name="dropout", rival="Adagrad", dropout=0.3)


class Row(NamedTuple):
    """What came of a recipe."""

    gradients: list[float]  # length of each layer's gradient before training
    train: float  # accuracies
    test: float
    quick: int | None  # the first epoch to reach the mark on the validation set
    seconds: float


def main(argv: Sequence[str] | None = None) -> dict[str, Row]:
    """Train by every recipe, print the table, draw; returns the table's rows."""
    args = parse(argv)
    data = load_data(args)
    titles = ["gradient of layers 1, 2, 3", "training", "test", "gain", "over"]
    titles += [f"epochs to {args.mark:.0%}", "seconds"]
    print(f"{'recipe':14}", LINE.format(*titles))
    rows, curves = {}, {}
    for recipe in (sigmoid, cross_entropy, relu, momentum, adagrad, dropout):
        name = recipe.name
        print(f"{name:14} ", end="", flush=True)  # so that one sees what runs
        rows[name], curves[name] = follow(recipe, *data, args)
        print_rest(rows[name], recipe.rival, rows)
    draw(args.out / "learning_curves.png", curves)
    print_gains([row.test for row in rows.values()], len(data[-1][1]))
    return rows


def follow(
    recipe: Recipe, train: Any, validation: Any, test: Any, args: argparse.Namespace
) -> tuple[Row, nn.History]:
    """Train a network by a recipe and measure it."""
    net, key = recipe.network(), jax.random.key(args.seed)
    state, history = nn.fit(
        net,
        train,
        loss=recipe.loss,
        optimizer=recipe.optimizer,
        epochs=args.epochs,
        batch_size=args.batch_size,
        key=key,
        validation=validation,
        metrics=metrics,
        progress=False,  # the table's rows tell how far it is
    )
    good = [e for e, a in enumerate(history["val_accuracy"], 1) if a >= args.mark]
    row = Row(
        gradient_lengths(recipe, train, key),
        nn.evaluate(net, state, train, metrics=metrics)["accuracy"],
        nn.evaluate(net, state, test, metrics=metrics)["accuracy"],
        good[0] if good else None,
        history.seconds["run"],
    )
    return row, history


def load_data(args: argparse.Namespace) -> tuple[Any, Any, Any]:
    """Training, validation and test sets, with one-hot labels."""
    if args.small:
        print("--small: the 8x8 digits that come with jaxnn, in place of MNIST")
    train, test = nn.data.digits() if args.small else nn.data.mnist()
    train, test = ((x, nn.data.one_hot(labels, 10)) for x, labels in (train, test))
    share = 0.2 if args.small else 0.1  # a tenth of few would be too few
    return *nn.data.split(train, share, seed=args.seed), test


def gradient_lengths(recipe: Recipe, train: tuple, key: jax.Array) -> list[float]:
    """√Σ g² of each layer's weights before training, over 1,000 examples."""
    images, labels = train[0][:1000], train[1][:1000]
    net = recipe.network()
    start = nn.train_state(net, recipe.optimizer, images, key=key)  # as in nn.fit

    @jax.jit
    @jax.grad
    def gradient(params):
        outputs, _ = net.apply(params, start.state, images)
        return recipe.loss(outputs, labels).mean()

    return [float(jnp.linalg.norm(g["w"])) for g in gradient(start.params).values()]


def print_rest(row: Row, rival: str, rows: dict[str, Row]) -> None:
    """Print a row after its name; gains are percentage points of test accuracy."""
    gain = f"{100 * (row.test - rows[rival].test):+.2f}" if rival else ""
    gradients = " ".join(f"{g:8.1e}" for g in row.gradients)
    accuracies = f"{row.train:.2%}", f"{row.test:.2%}"
    quick, seconds = row.quick or "never", f"{row.seconds:.1f}"
    print(LINE.format(gradients, *accuracies, gain, rival, quick, seconds))


def print_gains(test: list[float], images: int) -> None:
    """Say what the whole recipe gained, and which gains mean little."""
    chance = 100 * (test[-1] * (1 - test[-1]) / images) ** 0.5  # standard deviation
    print(f"{images:,} test images: gains below {2 * chance:.2f} points may be chance")
    print(f"test accuracy {test[0]:.2%} at first, {test[-1]:.2%} by the whole recipe")


def draw(path: Path, curves: dict[str, nn.History]) -> None:
    """Draw the error of all recipes on training and validation data by epoch."""
    figure = Figure(figsize=(11, 4.8), layout="constrained")
    titles = {"accuracy": "Training error", "val_accuracy": "Validation error"}
    for axes, (name, title) in zip(figure.subplots(1, 2), titles.items(), strict=True):
        for recipe, history in curves.items():
            error = [100 * (1 - a) for a in history[name]]
            axes.semilogy(history.epochs, error, label=recipe)
        low = 0.1 if name == "accuracy" else 1  # less is a handful of images
        axes.set(title=title, xlabel="epoch", ylabel="wrong, % of images (log scale)")
        axes.set_ylim(low, 100)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.yaxis.set_major_formatter("{x:g}")
        axes.grid(alpha=0.3, which="both")
    handles, _ = figure.axes[0].get_legend_handles_labels()
    place = "outside lower center"
    figure.legend(handles=handles, loc=place, ncols=6)  # pyright: ignore
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    print(f"wrote {path}")


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--small", action="store_true", help="8x8 digits: seconds, and no MNIST")
    add("--epochs", type=int, default=20, help="default: %(default)s")
    add("--seed", type=int, default=0, help="default: %(default)s")
    add("--out", type=Path, default="out/mnist_sigmoid", help="default: %(default)s")
    args = parser.parse_args(argv)
    args.batch_size = 25 if args.small else 100  # as many steps from fewer examples
    args.mark = 0.9 if args.small else 0.97
    return args


if __name__ == "__main__":
    nn.cache()  # the second run finds its programs compiled
    main()
