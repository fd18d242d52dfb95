# SPDX-License-Identifier: Apache-2.0
"""A bad network made good, in the course's order, with what each step gains on MNIST.

Is it good on the training data? No: another loss, another activation, an adaptive
learning rate with momentum. Is it good on data it has not seen? No: early stopping,
weight decay, dropout, more data by augmentation, another structure, an ensemble of
networks. Each step changes one thing and keeps those before it, but for steps that
lost more than chance: they are left out of the next. After each the doctor
(`nn.diagnose`) says what is wrong with the run and what it would do.

A sixth of MNIST, 10,000 images, is trained on: with so few the network overfits, and
there is something for the second half to mend. All choices were made on the 10,000
validation images, and so is the table; the 10,000 test images are looked at once, for
the last recipe. Rates, dropout and patience were chosen by trying two or three of each.

A gain is "chance" if it lies within twice its standard deviation, √(b + c) / n
where b of n validation images are read rightly before the step only and c after it
only. (Another start of the same network changes as many; --seed shows that.)
"""

import argparse
import csv
import textwrap
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import jaxnn as nn

LINE = "{:22} {:>9} {:>10} {:>7}  {:9} {:>6} {:>7}"
CHANCE, WORSE = "chance", "left out"  # what is said of a gain
metrics = {"accuracy": nn.metrics.accuracy}


class Recipe(NamedTuple):
    """How a network is built and trained."""

    name: str
    loss: Callable
    activation: Callable = jax.nn.sigmoid
    optimizer: optax.GradientTransformation = optax.sgd(0.1)
    early_stopping: nn.EarlyStopping | None = None
    dropout: float = 0.0
    augment: Callable | None = None
    convolutions: bool = False
    members: int = 1

    def network(self) -> nn.Layer:
        """Three hidden layers of 300; or two convolutions and one of 128."""
        hidden = [self.activation, nn.Dropout(self.dropout)]
        layers: list[Any] = [nn.Flatten()]
        for features in (128,) if self.convolutions else (300, 300, 300):
            layers += [nn.Dense(features), *hidden]
        if self.convolutions:
            parts = [[nn.Conv(n, 3), nn.MaxPool(2), jax.nn.relu] for n in (16, 32)]
            layers = [*parts[0], *parts[1], *layers]
        layers.append(nn.Dense(10))
        if self.loss is nn.losses.mean_squared_error:
            layers.append(jax.nn.softmax)
        net = nn.Sequential(*layers)
        return net if self.members == 1 else nn.ensemble(net, self.members)


class Row(NamedTuple):
    """What came of a recipe."""

    name: str
    train: float  # accuracies
    validation: float
    gain: float  # points of validation accuracy over the best before
    chance: float  # twice the standard deviation of the gain
    verdict: str
    epochs: int
    seconds: float
    found: str  # by the doctor


class Attempt(NamedTuple):
    """A recipe and all that came of it."""

    recipe: Recipe
    net: nn.Layer
    state: nn.TrainState
    history: nn.History
    right: np.ndarray  # which validation images are read rightly
    report: Any
    row: Row


START = Recipe("sigmoid, squared error", nn.losses.mean_squared_error)


def changes(small: bool, members: int) -> list[dict[str, Any]]:
    """The course's steps: what each changes in the recipe before it."""
    adam = optax.adam(1e-3)
    patience = nn.EarlyStopping(patience=5, monitor="val_accuracy", mode="max")
    return [
        {"name": "cross-entropy", "loss": nn.losses.softmax_cross_entropy},
        {"name": "ReLU", "activation": jax.nn.relu},
        {"name": "Adam", "optimizer": adam},
        {"name": "early stopping", "early_stopping": patience},
        {"name": "weight decay", "optimizer": nn.optimizers.weight_decay(adam, 3e-4)},
        {"name": "dropout", "dropout": 0.3},
        {"name": "augmentation", "augment": more_data(small)},
        {"name": "convolutions", "convolutions": True},
        {"name": f"{members} networks", "members": members},
    ]


def more_data(small: bool) -> Callable:
    """Turned by up to 15 degrees and shifted; of 8x8 pixels one is too far."""
    augment = nn.data.augment
    return augment.chain(augment.rotate(15), augment.shift(0 if small else 2))


def main(argv: Sequence[str] | None = None) -> list[Row]:
    """Follow the recipe, print the table, draw; returns the table's rows."""
    args = parse(argv)
    train, validation, test = load_data(args)
    print(
        f"{len(train[1]):,} images to train on, {len(validation[1]):,} to choose by, "
        f"{len(test[1]):,} to test on"
    )
    titles = ("training", "validation", "gain", "", "epochs", "seconds")
    print(LINE.format("step", *titles))
    best = attempt(START, None, train, validation, args)
    tries = [best]
    for change in changes(args.small, args.members):
        tries.append(
            attempt(best.recipe._replace(**change), best, train, validation, args)
        )
        if tries[-1].row.verdict != WORSE:
            best = tries[-1]
    save(args.out, tries)
    accuracy = is_right(best.net, best.state, test).mean()
    print(
        f"validation accuracy {tries[0].row.validation:.2%} at first, "
        f"{best.row.validation:.2%} by the whole recipe; test accuracy {accuracy:.2%}"
    )
    return [each.row for each in tries]


def attempt(
    recipe: Recipe, before: Attempt | None, train: tuple, validation: tuple, args: Any
) -> Attempt:
    """Follow a recipe, hold it against the one before, and ask the doctor."""
    start = time.perf_counter()
    net, state, history = follow(recipe, train, validation, args)
    seconds = time.perf_counter() - start
    right = is_right(net, state, validation)
    gain, chance = compare(right, before and before.right)
    report = examine(recipe, net, state, history, train, validation)
    row = Row(
        recipe.name,
        nn.evaluate(net, state, train, metrics=metrics)["accuracy"],
        float(right.mean()),
        gain,
        chance,
        WORSE if gain < -chance else CHANCE if before and gain <= chance else "",
        len(history),
        seconds,
        "; ".join(report.names),
    )
    print_row(row, report)
    return Attempt(recipe, net, state, history, right, report, row)


def follow(
    recipe: Recipe, train: tuple, validation: tuple, args: argparse.Namespace
) -> tuple[nn.Layer, nn.TrainState, nn.History]:
    """Train a network by a recipe."""
    net = recipe.network()
    state, history = nn.fit(
        net,
        train,
        loss=recipe.loss,
        optimizer=recipe.optimizer,
        epochs=args.epochs,
        batch_size=args.batch_size,
        key=jax.random.key(args.seed),
        validation=validation,
        metrics=metrics,
        augment=recipe.augment,
        early_stopping=recipe.early_stopping,
        progress=False,  # the table's rows tell how far it is
    )
    return net, state, history


def examine(
    recipe: Recipe, net: nn.Layer, state: Any, history: nn.History, *data: tuple
) -> Any:
    """The doctor's report; of a bunch it sees the first member."""
    if recipe.members > 1:
        net, state = recipe._replace(members=1).network(), nn.member(state, 0)
    return nn.diagnose(net, state, history, *data)


def load_data(args: argparse.Namespace) -> tuple[Any, Any, Any]:
    """Training, validation and test sets, with one-hot labels."""
    if args.small:
        print("--small: the 8x8 digits that come with jaxnn, in place of MNIST")
    train, test = nn.data.digits() if args.small else nn.data.mnist()
    train, test = ((x, nn.data.one_hot(labels, 10)) for x, labels in (train, test))
    train, validation = nn.data.split(train, 1 / 6, seed=args.seed)
    images, labels = train
    return (images[: args.examples], labels[: args.examples]), validation, test


def is_right(net: nn.Layer, state: nn.TrainState, data: tuple) -> np.ndarray:
    """Which images are read rightly, bool `[N]`."""
    images, labels = data
    outputs = np.asarray(nn.predict(net, state, images))
    return outputs.argmax(-1) == labels.argmax(-1)


def compare(right: np.ndarray, before: np.ndarray | None) -> tuple[float, float]:
    """The gain and twice its standard deviation, in points of accuracy."""
    if before is None:
        return 0.0, 0.0
    points = 100 / len(right)
    won, lost = (right & ~before).sum(), (before & ~right).sum()
    return float(won - lost) * points, 2 * float(won + lost) ** 0.5 * points


def print_row(row: Row, report: Any) -> None:
    """Print a row and what the doctor says: the likeliest causes and their remedies."""
    gain = f"{row.gain:+.2f}" if row.chance or row.verdict else ""
    accuracies = f"{row.train:.2%}", f"{row.validation:.2%}"
    seconds = f"{row.seconds:.1f}"
    print(LINE.format(row.name, *accuracies, gain, row.verdict, row.epochs, seconds))
    causes = [f for f in report.findings if f.cause is None][:2]
    words = [f"{f.name}: {f.remedy}" for f in causes] or ["healthy"]
    for text in words:
        lines = textwrap.wrap(f"doctor: {text}", 84, subsequent_indent="        ")
        print(textwrap.indent("\n".join(lines), "    "), flush=True)


def save(folder: Path, tries: list[Attempt]) -> None:
    """Write the table, the doctor's reports and the picture."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "recipe.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(Row._fields)
        writer.writerows(each.row for each in tries)
    text = "\n\n".join(f"== {each.row.name} ==\n{each.report}" for each in tries)
    (folder / "doctor.txt").write_text(text + "\n", "utf8")
    draw(folder / "recipe.png", tries)
    for name in ("recipe.csv", "doctor.txt", "recipe.png"):
        print(f"wrote {folder / name}")


def draw(path: Path, tries: list[Attempt]) -> None:
    """Draw the errors that each step leaves, and validation errors by epoch."""
    figure = Figure(figsize=(12.5, 5.2), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.15, 1))
    rows, colors = [each.row for each in tries], [f"C{i}" for i in range(len(tries))]
    for place, (row, color) in enumerate(zip(rows, colors, strict=True)):
        train, validation = 100 * (1 - row.train), 100 * (1 - row.validation)
        shown = max(train, 0.02)  # a log scale has no zero
        left.plot([shown, validation], [place, place], color="0.8", zorder=1)
        left.scatter(shown, place, color="white", edgecolor=color, zorder=2)
        left.scatter(validation, place, color=color, zorder=2)
        left.annotate(
            f"{validation:.2f} %",
            (validation, place),
            (8, -3),
            textcoords="offset points",
            fontsize=9,
        )
    names = [f"{r.name} ({WORSE})" if r.verdict == WORSE else r.name for r in rows]
    left.set_yticks(range(len(rows)), names)
    left.invert_yaxis()
    unit = "wrong, % of images (log scale)"
    left.set(xscale="log", xlim=(0.015, 400), xlabel=f"{unit}; none at the left edge")
    left.set_title("Errors on training (open) and validation images (full)")
    for each, color in zip(tries, colors, strict=True):
        errors = [100 * (1 - a) for a in each.history["val_accuracy"]]
        right.semilogy(each.history.epochs, errors, color=color)
    name_ends(right, [each.row.name for each in tries])
    right.set(title="On validation images, by epoch", ylabel=unit)
    right.set_xlabel("epoch")
    right.xaxis.get_major_locator().set_params(integer=True)
    for axes, axis in ((left, left.xaxis), (right, right.yaxis)):
        axis.set_major_formatter("{x:g}")
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=110)


def name_ends(axes: Axes, names: list[str]) -> None:
    """Write the name of each line beside the axes, one below the other."""
    ends = [(max(line.get_ydata()[-1], 0.02), line) for line in axes.lines]
    low, high = np.log10(axes.get_ylim())
    edge, place = max(line.get_xdata()[-1] for _, line in ends), low
    rows = sorted(zip(ends, names, strict=True), key=lambda row: row[0][0])
    for (error, line), name in rows:
        place = max(np.log10(error), place + 0.04 * (high - low))
        at, color = (1.06 * edge, 10**place), line.get_color()
        epochs, errors = (line.get_xdata()[-1], at[0]), (error, at[1])
        axes.plot(epochs, errors, ":", color=color, linewidth=1, clip_on=False)
        axes.annotate(
            *(f" {name}", at), va="center", color=color, annotation_clip=False
        )
    axes.set(xlim=(0, 1.03 * edge), ylim=(10**low, 10**high))


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--small", action="store_true", help="8x8 digits: seconds, and no MNIST")
    add("--examples", type=int, default=10_000, help="to train on: %(default)s")
    add("--epochs", type=int, default=25, help="at most: %(default)s")
    add("--members", type=int, default=4, help="of the bunch: %(default)s")
    add("--seed", type=int, default=0, help="default: %(default)s")
    add("--out", type=Path, default="out/recipe", help="default: %(default)s")
    args = parser.parse_args(argv)
    args.batch_size = 21 if args.small else 100  # small: 57 steps, and nothing left
    return args


if __name__ == "__main__":
    nn.cache()  # the second run finds its programs compiled
    main()
