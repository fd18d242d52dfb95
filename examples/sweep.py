# SPDX-License-Identifier: Apache-2.0
"""Find good hyperparameters for MNIST: 81 settings at random, the best third goes on.

Learning rate, weight decay, dropout rate and width are drawn at random: a grid would
try few values of each and many combinations of the ones that do not matter. All
settings train for one epoch, the best third of them up to three, a third of those up
to nine, and the last three to the end. Settings of one width train side by side, as one
compiled program: their learning rates are numbers that go into it, like weights.

The settings are chosen by their accuracy on a validation set, a twelfth of the training
data; the test images are looked at once, at the end, by the winner. The data are looked
for in $JAXNN_DATA, else downloaded once. It takes three minutes on two cores.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
import optax
from matplotlib.figure import Figure

import jaxnn as nn

loss = nn.losses.softmax_cross_entropy
metrics = {"accuracy": nn.metrics.accuracy}


def network(width: int, dropout: float) -> nn.Layer:
    """Two hidden layers, and dropout before the last."""
    return nn.Sequential(
        nn.Flatten(),
        nn.Dense(width),
        jax.nn.relu,
        nn.Dense(width),
        jax.nn.relu,
        nn.Dropout(dropout),
        nn.Dense(10),
    )


def optimizer(
    learning_rate: float, weight_decay: float
) -> optax.GradientTransformation:
    """Adam, with weight decay apart from the gradient."""
    return optax.adamw(learning_rate, weight_decay=weight_decay)


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Search, test the winner, draw; returns the test loss and accuracy."""
    args = parse(argv)
    train, test = nn.data.digits() if args.small else nn.data.mnist()
    train, validation = nn.data.split(train, 1 / 12, seed=args.seed, stratify=True)
    print(f"{len(train[1]):,} images to train on, {len(validation[1]):,} to choose by")
    result = nn.sweep(
        network,
        train,
        over={
            "learning_rate": nn.search.log_uniform(1e-4, 1e-1),
            "weight_decay": nn.search.log_uniform(1e-4, 1.0),
            "dropout": nn.search.uniform(0.0, 0.6),
            "width": [16, 32] if args.small else [64, 128, 256],
        },
        samples=args.samples,
        halving=3,
        loss=loss,
        optimizer=optimizer,
        epochs=args.epochs,
        batch_size=args.batch_size,
        key=jax.random.key(args.seed),
        validation=validation,
        metrics=metrics,
        monitor="val_accuracy",
        mode="max",
        progress=True,
    )
    print(f"\n{result}\n")
    best = result.best
    tested = nn.evaluate(best.net, result.state, test, loss=loss, metrics=metrics)
    nn.save(args.out / "network.safetensors", result.state, spec=best.net)
    (args.out / "table.txt").write_text(f"{result.summary()}\n\n{result.table(None)}\n")
    result.plot(args.out / "settings.png")
    save_curves(args.out / "halving.png", result)
    for picture in sorted(args.out.glob("*.png")):
        print(f"wrote {picture}")
    wrong = round((1 - tested["accuracy"]) * len(test[1]))
    print(
        f"test loss {tested['loss']:.4f}, accuracy {tested['accuracy']:.2%}: "
        f"{wrong} of {len(test[1]):,} digits read wrongly, with the best of "
        f"{len(result.rows)} settings"
    )
    return tested


def save_curves(path: Path, result: nn.search.SweepResult) -> None:
    """Draw how the validation error of every setting went until it was given up."""
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.subplots()
    errors = np.maximum(1 - result.logs[result.monitor], 1e-3)  # 0 has no logarithm
    epochs = np.arange(1, errors.shape[1] + 1)
    for trial, error in zip(result.trials, errors, strict=True):
        best = trial is result.best.trial
        color, width = ("tab:red", 2.5) if best else ("tab:blue", 1.0)
        marker = "o" if trial.epochs == 1 else ""
        label = "best" if best else None
        axes.plot(
            *(epochs, error, marker),
            **{"markersize": 3, "alpha": 1 if best else 0.5, "label": label},
            **{"color": color, "linewidth": width, "zorder": 3 if best else 2},
        )
    axes.set(xscale="log", yscale="log", xlabel="epoch", ylabel="validation error")
    marks = [rung.epochs for rung in result.rungs]
    axes.set_xticks(marks, [str(mark) for mark in marks])
    axes.set_xticks([], minor=True)
    said = ", ".join(f"{n} to epoch {epochs}" for n, epochs in result.rungs)
    axes.set_title(f"settings: {said}", fontsize="medium")
    axes.grid(alpha=0.3, which="both")
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--small", action="store_true", help="8x8 digits in place of MNIST: seconds")
    add("--samples", type=int, help="settings to try; default: 81, or 9 with --small")
    add("--epochs", type=int, help="of the last ones; default: 27, or 3 with --small")
    add("--batch-size", type=int, default=100, help="default: %(default)s")
    add("--seed", type=int, default=0, help="default: %(default)s")
    add("--out", type=Path, default="out/sweep", help="default: %(default)s")
    args = parser.parse_args(argv)
    args.samples = args.samples or (9 if args.small else 81)
    args.epochs = args.epochs or (3 if args.small else 27)
    return args


if __name__ == "__main__":
    nn.cache()  # the second run finds its programs compiled
    main()
