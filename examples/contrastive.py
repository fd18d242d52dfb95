# SPDX-License-Identifier: Apache-2.0
"""Learn to see without labels: SimCLR on Fashion-MNIST.

Each picture is changed at random in two ways, and the network has to find, among all
pictures of the batch, the two that were one (Chen et al., 2020). Nobody says what is in
them. What it has learned is measured with few labels, 1 % of them and others: on its
frozen features only a linear classifier is trained, the linear probe.

Beside it stands what the same labels are worth alone: the same network, trained from
nothing on them, with the same kind of random changes, and a linear classifier on the
pixels. All are tested on the 10,000 test pictures; the labels are drawn three times.

The data are looked for in $JAXNN_DATA, else downloaded once.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.figure import Figure

import jaxnn as nn
from jaxnn.data import augment

METHODS = ("linear probe", "network from nothing", "linear on pixels")
loss = nn.losses.softmax_cross_entropy
metrics = {"accuracy": nn.metrics.accuracy}


def encoder(width: int) -> nn.Layer:
    """Images to features; the name of each layer is its index."""
    layers: list[Any] = []
    for i in range(3):
        conv = nn.Conv(width * 2**i, 3, bias=False)
        layers += [
            conv,
            nn.BatchNorm(),
            jax.nn.relu,
            *([nn.MaxPool(2)] if i < 2 else []),
        ]
    return nn.Sequential(*layers, nn.GlobalAvgPool())


def changes(side: int) -> augment.Augmentation:
    """Strong changes: most of a picture may be cut away, enlarged, turned, mirrored."""
    return augment.chain(
        augment.shift(side // 5),
        augment.scale(0.35),
        augment.rotate(15),
        augment.flip(),
        augment.contrast(0.5),
        augment.brightness(0.3),
        augment.cutout(side // 4, rate=0.5),
        range=(0, 1),
    )


def contrast(varied: augment.Augmentation, temperature: float) -> Any:
    """The objective: find the other view of each picture among all views."""

    def objective(run, images):
        first, second = jax.random.split(run.key)
        views = jnp.concatenate([varied(first, images), varied(second, images)])
        a, b = jnp.split(run(views), 2)
        return nn.losses.nt_xent(a, b, temperature)

    return objective


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Train without labels, then with few; returns the accuracies with 1 %."""
    args = parse(argv)
    train, test = nn.data.digits() if args.small else nn.data.fashion_mnist()
    width, side = 8 if args.small else 32, train[0].shape[1]
    print(f"{len(train[0]):,} pictures without labels")
    net = nn.Sequential(
        body=encoder(width),
        head=nn.Sequential(nn.Dense(4 * width), jax.nn.relu, nn.Dense(2 * width)),
    )
    steps = args.epochs * -(-len(train[0]) // args.batch_size)
    state, history = nn.fit(
        net,
        train[0],
        objective=contrast(changes(side), args.temperature),
        optimizer=optax.adam(optax.cosine_onecycle_schedule(steps, 2e-3)),
        epochs=args.epochs,
        batch_size=args.batch_size,
        key=jax.random.key(args.seed),
        progress=True,
    )
    history.plot(args.out / "learning_curves.png")
    key = jax.random.key(args.seed)
    augment.show(changes(side), train[0][:6], key, args.out / "views.png")
    body = state.params["body"], state.state["body"]
    features = [np.asarray(nn.predict(net["body"], body, x)) for x, _ in (train, test)]
    features = nn.data.standardize(*features)
    amounts = [60, 200] if args.small else [200, 600, 3000]
    table = {method: [] for method in METHODS}
    for amount in amounts:
        for draw in range(args.draws):
            rows = few(train[1], amount, args.seed + draw)
            inputs = (
                (nn.Dense(10), features, None),
                (
                    nn.Sequential(encoder(width), nn.Dense(10)),
                    (train[0], test[0]),
                    side,
                ),
                (nn.Sequential(nn.Flatten(), nn.Dense(10)), (train[0], test[0]), None),
            )
            for method, (model, (x, held), varied) in zip(METHODS, inputs, strict=True):
                data = x[rows], train[1][rows]
                found = score(model, data, (held, test[1]), varied, args)
                table[method].append(found)
        line = (f"{name} {np.mean(table[name][-args.draws :]):.1%}" for name in METHODS)
        print(f"{amount:5} labels: {', '.join(line)}", flush=True)
    save_table(args.out / "labels.png", amounts, table)
    for picture in sorted(args.out.glob("*.png")):
        print(f"wrote {picture}")
    at = amounts.index(600) if 600 in amounts else 0
    part = slice(at * args.draws, (at + 1) * args.draws)
    results = {name: float(np.mean(found[part])) for name, found in table.items()}
    spread = {name: float(np.std(found[part])) for name, found in table.items()}
    share = amounts[at] / len(train[1])
    said = (f"{name} {results[name]:.1%} ± {spread[name]:.1%}" for name in METHODS)
    print(f"test accuracy with {share:.0%} of the labels: {', '.join(said)}")
    return results


def few(labels: np.ndarray, amount: int, seed: int) -> np.ndarray:
    """Rows of as many labels of each class, drawn at random."""
    rng = np.random.default_rng(seed)
    each = amount // 10
    return np.concatenate(
        [
            rng.choice(np.flatnonzero(labels == c), each, replace=False)
            for c in range(10)
        ]
    )


def score(
    net: nn.Layer, data: tuple, test: tuple, side: int | None, args: argparse.Namespace
) -> float:
    """The test accuracy after a few labels, with changes if a side is given.

    The changes are milder than those of contrast; weights decay.
    """
    epochs = max(20, args.examples // len(data[1]))
    steps = epochs * -(-len(data[1]) // 50)
    rate = optax.cosine_onecycle_schedule(steps, 3e-3 if side else 1e-2)
    milder = augment.chain(augment.shift(2), augment.flip()) if side else None
    state, _ = nn.fit(
        net,
        data,
        loss=loss,
        optimizer=optax.adamw(rate, weight_decay=1e-2),
        epochs=epochs,
        batch_size=50,
        key=jax.random.key(args.seed),
        augment=milder,
        progress=False,
    )
    return nn.evaluate(net, state, test, metrics=metrics)["accuracy"]


def save_table(path: Path, amounts: list[int], table: dict[str, list[float]]) -> None:
    """Draw the accuracy over the number of labels."""
    figure = Figure(figsize=(6.5, 4.2), layout="constrained")
    axes = figure.subplots()
    for name, found in table.items():
        draws = 100 * np.reshape(found, (len(amounts), -1))
        options = {"marker": "o", "capsize": 3, "label": name}
        axes.errorbar(amounts, draws.mean(1), draws.std(1), **options)
    axes.set(xscale="log", xlabel="labels", ylabel="test accuracy, %")
    axes.set_title("What labels are worth, with features learned without any")
    axes.set_xticks(amounts, [f"{amount:,}" for amount in amounts])
    axes.minorticks_off()
    axes.legend()
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=110)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--small", action="store_true", help="8x8 digits: seconds")
    add("--epochs", type=int, default=6, help="without labels; default: %(default)s")
    add("--batch-size", type=int, default=256, help="default: %(default)s")
    add("--temperature", type=float, default=0.2, help="default: %(default)s")
    add("--examples", type=int, default=60_000, help="seen with labels: %(default)s")
    add("--draws", type=int, default=3, help="of the labels: %(default)s")
    add("--seed", type=int, default=0, help="default: %(default)s")
    add("--out", type=Path, default="out/contrastive", help="default: %(default)s")
    return parser.parse_args(argv)


if __name__ == "__main__":
    nn.cache()  # the second run finds its programs compiled
    main()
