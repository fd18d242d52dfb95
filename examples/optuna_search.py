# SPDX-License-Identifier: Apache-2.0
"""Search hyperparameters with Optuna, which gives up hopeless runs early.

Optuna (the extra `optuna`: `pip install ".[examples,optuna]"`) proposes depth, width,
dropout, and a learning rate from what the trials so far have given. A callback reports
the validation accuracy of each epoch to the trial; where it is below the median that
earlier trials had at that epoch, the callback returns True, which ends the run, and the
trial is pruned.

The settings are chosen by a validation set, a fifth of the training data; the test
images are looked at once, at the end, by the winner. The digits come with jaxnn, and
most of the one or two minutes goes into compiling a program for each trial. `nn.sweep`
needs no Optuna: it trains many settings side by side in one program, and drops the
worst by halving; see sweep.py. Optuna is for choices that depend on earlier ones, as
the widths here do on the depth, and for studies kept in a database.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import optax
import optuna
from matplotlib.figure import Figure

import jaxnn as nn

loss = nn.losses.softmax_cross_entropy
metrics = {"accuracy": nn.metrics.accuracy}
COLORS = {"COMPLETE": "tab:blue", "PRUNED": "0.7"}


def network(trial: optuna.Trial) -> nn.Layer:
    """One to three hidden layers, each with its own width, and dropout after each."""
    dropout = trial.suggest_float("dropout", 0.0, 0.5)
    layers: list[Any] = [nn.Flatten()]
    for number in range(trial.suggest_int("layers", 1, 3)):
        width = trial.suggest_categorical(f"width_{number + 1}", [32, 64, 128])
        layers += [nn.Dense(width), jax.nn.relu, nn.Dropout(dropout)]
    return nn.Sequential(*layers, nn.Dense(10))


def reporter(trial: optuna.Trial) -> nn.train.Callback:
    """Reports each epoch to a trial, and ends the run if it is to be pruned."""

    def report(epoch: int, state: nn.TrainState, history: nn.History) -> bool:
        trial.report(history["val_accuracy"][-1], epoch)
        return trial.should_prune()

    return report


def train(trial: optuna.Trial, data: tuple, held_out: tuple, args: argparse.Namespace):
    """One trial: its network, trained to the end or until it is pruned."""
    net = network(trial)
    rate = trial.suggest_float("learning_rate", 1e-4, 1e-1, log=True)
    state, history = nn.fit(
        net,
        data,
        loss=loss,
        optimizer=optax.adam(rate),
        epochs=args.epochs,
        batch_size=args.batch_size,
        key=jax.random.key(args.seed),
        validation=held_out,
        metrics=metrics,
        callbacks=[reporter(trial)],
        progress=False,  # the lines of the trials tell how far it is
    )
    return net, state, history


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Search, test the winner, draw; returns the test loss and accuracy."""
    args = parse(argv)
    data, test = nn.data.digits()
    data, held_out = nn.data.split(data, 0.2, seed=args.seed, stratify=True)
    print(f"{len(data[1]):,} images to train on, {len(held_out[1]):,} to choose by")
    best: dict[str, Any] = {"accuracy": -1.0}

    def objective(trial: optuna.Trial) -> float:
        net, state, history = train(trial, data, held_out, args)
        if history.stopped and not trial.should_prune():  # by Ctrl-C: search no more
            study.stop()
        if history.stopped:
            raise optuna.TrialPruned()
        accuracy = history["val_accuracy"][-1]
        if accuracy > best["accuracy"]:
            best.update(net=net, state=state, accuracy=accuracy)
        return accuracy

    optuna.logging.set_verbosity(optuna.logging.WARNING)  # print_trial says it shorter
    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=args.seed),
        pruner=optuna.pruners.MedianPruner(
            n_startup_trials=args.trials // 4, n_warmup_steps=1
        ),
    )
    study.optimize(objective, n_trials=args.trials, callbacks=[print_trial])
    args.out.mkdir(parents=True, exist_ok=True)
    save_curves(args.out / "trials.png", study)
    print(f"wrote {args.out / 'trials.png'}")
    tested = nn.evaluate(best["net"], best["state"], test, loss=loss, metrics=metrics)
    pruned = sum(trial.state.name == "PRUNED" for trial in study.trials)
    print(
        f"test loss {tested['loss']:.4f}, accuracy {tested['accuracy']:.2%}, with the "
        f"best of {len(study.trials)} trials, {pruned} of them pruned"
    )
    return tested


def print_trial(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
    """Print what a trial gave, and with what settings."""
    values = trial.intermediate_values
    accuracy = values[max(values)] if values else float("nan")
    given = [f"{name} {value:.3g}" for name, value in sorted(trial.params.items())]
    pruned = ", pruned" if trial.state.name == "PRUNED" else ""
    print(
        f"trial {trial.number:2}: accuracy {accuracy:.2%} (epochs: {len(values)}"
        f"{pruned}); {', '.join(given)}",
        flush=True,
    )


def save_curves(path: Path, study: optuna.Study) -> None:
    """Draw the validation accuracy of every trial until its end."""
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.subplots()
    for trial in study.trials:
        curve = trial.intermediate_values
        best = trial.number == study.best_trial.number
        color = "tab:red" if best else COLORS[trial.state.name]
        label = "best" if best else None
        axes.plot(
            *(list(curve), list(curve.values())),
            **{"color": color, "linewidth": 2.5 if best else 1.0, "label": label},
            **{"marker": "o", "markersize": 3, "zorder": 3 if best else 2},
        )
    for name, color in COLORS.items():
        axes.plot([], [], color=color, label=name.lower())
    axes.set(xlabel="epoch", ylabel="validation accuracy", title="trials of Optuna")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    figure.savefig(path, dpi=120)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--small", action="store_true", help="few trials and epochs")
    add("--trials", type=int, help="default: 20, or 8 with --small")
    add("--epochs", type=int, help="at most; default: 15, or 3 with --small")
    add("--batch-size", type=int, default=50, help="default: %(default)s")
    add("--seed", type=int, default=0, help="default: %(default)s")
    add("--out", type=Path, default="out/optuna_search", help="default: %(default)s")
    args = parser.parse_args(argv)
    args.trials = args.trials or (8 if args.small else 20)
    args.epochs = args.epochs or (3 if args.small else 15)
    return args


if __name__ == "__main__":
    nn.cache()  # the second run finds its programs compiled
    main()
