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
import optax

import jaxnn as nn

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
    rival=sigmoid.name,
    output=nn.Identity(),  # the loss takes the softmax itself
    loss=nn.losses.softmax_cross_entropy,
)
relu = cross_entropy._replace(
    name="ReLU", rival=cross_entropy.name, activation=jax.nn.relu
)
momentum = relu._replace(
    name="momentum", rival=relu.name, optimizer=optax.sgd(0.05, momentum=0.9)
)
adagrad = relu._replace(  # in place of momentum; the sum of squares starts at 0
    name="Adagrad",
    rival=relu.name,
    optimizer=optax.adagrad(0.01, initial_accumulator_value=0.0),
)
dropout = adagrad._replace(name="dropout", rival=adagrad.name, dropout=0.3)

RECIPES = sigmoid, cross_entropy, relu, momentum, adagrad, dropout


class Row(NamedTuple):
    """A row of the table."""

    gradients: list[float]  # length of each layer's gradient before training
    train: float  # accuracies
    test: float
    fast: int | None  # the first epoch to reach the mark on the validation set
    seconds: float


def main(argv: Sequence[str] | None = None) -> dict[str, Row]:
    """Train by every recipe, print the table, draw; returns the table's rows."""
    args = parse(argv)
    train, validation, test = load_data(args)
    rows, curves = {}, {}
    for recipe in RECIPES:
        print(f"--- {recipe.name} ---")
        key = jax.random.key(args.seed)
        gradients = gradient_lengths(recipe, train, key)
        state, history = nn.fit(
            recipe.network(),
            train,
            loss=recipe.loss,
            optimizer=recipe.optimizer,
            epochs=args.epochs,
            batch_size=args.batch_size,
            key=key,
            validation=validation,
            metrics=metrics,
            progress=True,
        )
        curves[recipe.name] = history
        rows[recipe.name] = Row(
            gradients,
            accuracy(recipe, state, train),
            accuracy(recipe, state, test),
            first_epoch(history["val_accuracy"], args.mark),
            history.seconds["run"],
        )
    draw(args.out / "learning_curves.png", curves)
    print_table(rows, args.mark)
    best = max(rows, key=lambda name: rows[name].test)
    print(f"best on the test set: {best}, accuracy {rows[best].test:.4f}")
    return rows


def load_data(args: argparse.Namespace) -> tuple[Any, Any, Any]:
    """Training, validation and test sets, with one-hot labels."""
    if args.small:
        print("--small: the 8x8 digits that come with jaxnn, in place of MNIST")
    train, test = nn.data.digits() if args.small else nn.data.mnist()
    train, test = ((x, nn.data.one_hot(labels, 10)) for x, labels in (train, test))
    return *nn.data.split(train, 0.1, seed=args.seed), test


def gradient_lengths(recipe: Recipe, train: tuple, key: jax.Array) -> list[float]:
    """√Σ g² of each layer's weights before training, over 1,000 examples."""
    images, labels = train[0][:1000], train[1][:1000]
    net = recipe.network()
    params, state = net.init(key, images)

    @jax.jit
    @jax.grad
    def gradient(params):
        outputs, _ = net.apply(params, state, images)
        return recipe.loss(outputs, labels).mean()

    return [float(optax.global_norm(g["w"])) for g in gradient(params).values()]


def accuracy(recipe: Recipe, state: nn.TrainState, data: tuple) -> float:
    """The share of the images that a trained network gets right."""
    return nn.evaluate(recipe.network(), state, data, metrics=metrics)["accuracy"]


def first_epoch(accuracies: list[float], mark: float) -> int | None:
    """The number of the first epoch that reaches an accuracy of `mark`."""
    epochs = [i for i, a in enumerate(accuracies, 1) if a >= mark]
    return epochs[0] if epochs else None


def print_table(rows: dict[str, Row], mark: float) -> None:
    """Print what each step of the recipe gained, in percentage points."""
    to_mark = f"epochs to {mark:.0%}"
    print(
        f"\n{'recipe':14} {'gradient of layers 1, 2, 3':27} {'training':>9} "
        f"{'test':>8} {'gain':>8}  {'over':14} {to_mark:>13} {'seconds':>8}"
    )
    for recipe in RECIPES:
        row, rival = rows[recipe.name], rows.get(recipe.rival)
        gain = f"{100 * (row.test - rival.test):+8.2f}" if rival else " " * 8
        gradients = " ".join(f"{g:8.1e}" for g in row.gradients)
        print(
            f"{recipe.name:14} {gradients:27} {row.train:9.2%} {row.test:8.2%} "
            f"{gain}  {recipe.rival:14} {row.fast or 'never':>13} {row.seconds:8.1f}"
        )


def draw(path: Path, curves: dict[str, nn.History]) -> None:
    """Draw the error of all recipes on training and validation data by epoch."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.5), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for axes, name, title in (
        (left, "accuracy", "Training error, while the weights change"),
        (right, "val_accuracy", "Validation error, after each epoch"),
    ):
        for recipe, history in curves.items():
            error = [100 * (1 - a) for a in history[name]]
            axes.semilogy(history.epochs, error, label=recipe)
        axes.set(xlabel="epoch", title=title)
        axes.grid(alpha=0.3, which="both")
    left.set_ylabel("images classified wrongly, %")
    right.legend(loc="upper right")
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
    args.batch_size = 20 if args.small else 100  # as many steps from fewer examples
    args.mark = 0.9 if args.small else 0.97
    return args


if __name__ == "__main__":
    nn.cache()  # the second run finds its programs compiled
    main()
