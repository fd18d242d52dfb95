# SPDX-License-Identifier: Apache-2.0
"""Transfer: learn from few pictures what others prepared.

A residual network learns five classes of CIFAR-10 from all of their 25,000 pictures.
The other five classes it has never seen; of them there are 50, 500 or 5,000 pictures.
Three ways to learn these:

- from nothing: the same network, newly initialized;
- a frozen body: what it has learned stays as it is, only a new head is trained;
- rates by depth: everything is trained on, the head at the full rate, each stage below
  it at a third of the rate of the one above.

All take the same number of steps with the same random changes of the pictures, and none
of the settings was tuned. Accuracy is on the 5,000 test pictures of the new classes;
the pictures to learn from are drawn three times.

`--weights FILE` begins from torchvision's weights of ResNet-18 in place of five classes
of CIFAR-10 (a safetensors file); pictures are then enlarged to 64x64. The data are
looked for in $JAXNN_DATA, else downloaded once.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
from cifar_resnet import center, loss, metrics, stripes, varied
from matplotlib.figure import Figure

import jaxnn as nn

WAYS = ("from nothing", "frozen body", "rates by depth")
AMOUNTS = {50: 300, 500: 600, 5000: 1500}  # pictures: steps
SMALL = {20: 20, 100: 40}
BATCH = 50
RATE = 0.1  # of the head, and of everything from nothing; the highest of the cycle

Pair = tuple[np.ndarray, np.ndarray]


def network(body: nn.Layer) -> nn.Sequential:
    """Images from 0 to 1 to logits of five classes."""
    return nn.Sequential(center=center, body=body, head=nn.Dense(5))


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Learn five classes, then five others in three ways; returns their accuracies."""
    args = parse(argv)
    amounts = SMALL if args.small else AMOUNTS
    (first, _), (train, test) = load(args.small)
    if args.weights is None:
        net = network(nn.models.cifar_resnet(8, width=4 if args.small else 16)[:-1])
        print(f"{len(first[0]):,} pictures of five classes to learn from first")
        steps = args.epochs * -(-len(first[0]) // BATCH)
        state = learn(net, first, momentum(RATE, steps), args.epochs, args.seed, True)
        known = state.params["body"], state.state["body"]
    else:
        body = nn.models.resnet(18)
        known = nn.io.from_torch(args.weights, body, test[0][:1])
        known = tuple({k: v for k, v in tree.items() if k != "head"} for tree in known)
        net = network(nn.Sequential(large=nn.Upsample(2), resnet=body[:-1]))
        known = tuple({"resnet": tree} for tree in known)
    table: dict[str, list[list[float]]] = {way: [] for way in WAYS}
    for amount, steps in amounts.items():
        found = {way: [] for way in WAYS}
        for draw in range(args.draws):
            rows = few(train[1], amount, args.seed + draw)
            data = train[0][rows], train[1][rows]
            for way in WAYS:
                found[way].append(accuracy(net, way, known, data, test, steps, draw))
        for way in WAYS:
            table[way].append(found[way])
        line = (f"{w} {np.mean(v):.1%} ± {np.std(v):.1%}" for w, v in found.items())
        print(f"{amount:5,} pictures: {', '.join(line)}", flush=True)
    draw_table(args.out / "transfer.png", [*amounts], table)
    print(f"wrote {args.out / 'transfer.png'}")
    result = {
        f"{way}, {amount}": float(np.mean(values))
        for way in WAYS
        for amount, values in zip(amounts, table[way], strict=True)
    }
    least, most = min(amounts), max(amounts)
    said = (
        f"{way} {result[f'{way}, {least}']:.1%} and {result[f'{way}, {most}']:.1%}"
        for way in WAYS
    )
    print(f"accuracy with {least:,} and with {most:,} pictures: {', '.join(said)}")
    return result


# ---- training ----


def momentum(rate: float, steps: int) -> optax.GradientTransformation:
    """Momentum with decaying weights; the rate rises and falls once."""
    cycle = optax.cosine_onecycle_schedule(steps, rate)
    decay = optax.add_decayed_weights(5e-4)
    return optax.chain(decay, optax.sgd(cycle, momentum=0.9, nesterov=True))


def optimizer_of(net: nn.Sequential, way: str, steps: int) -> Any:
    """The optimizer of one way to learn."""
    if way == "from nothing":
        return momentum(RATE, steps)
    if way == "frozen body":
        return nn.freeze(momentum(RATE, steps), "body")
    stages = stages_of(net)
    groups = {
        path: momentum(RATE / 3 ** (depth + 1), steps)
        for depth, path in enumerate(reversed(stages))
    }
    lowest = momentum(RATE / 3 ** (len(stages) + 1), steps)
    return nn.partition({"head": momentum(RATE, steps), **groups}, default=lowest)


def stages_of(net: nn.Sequential) -> list[str]:
    """The paths of a body's stages, from the bottom up."""
    below = [path for path in nn.layer_paths(net) if path.startswith("body/")]
    return [path for path in below if path.rpartition("/")[2].startswith("stage")]


def learn(
    net: nn.Layer,
    data: Pair,
    optimizer: Any,
    epochs: int,
    seed: int,
    progress: bool,
    **known: Any,
) -> nn.TrainState:
    """The state after so many epochs, from known weights if there are any."""
    key = jax.random.key(seed)
    start = nn.train_state(net, optimizer, data[0][:1], key=key, **known)
    state, _ = nn.fit(
        net,
        data,
        loss=loss,
        optimizer=optimizer,
        epochs=epochs,
        batch_size=min(BATCH, len(data[0])),
        augment=varied,
        metrics=metrics,
        state=start,
        progress=progress,
    )
    return state


def accuracy(
    net: nn.Sequential,
    way: str,
    known: tuple,
    data: Pair,
    test: Pair,
    steps: int,
    seed: int,
) -> float:
    """The test accuracy of one way to learn."""
    epochs = -(-steps // -(-len(data[0]) // BATCH))
    params, state = ({"body": part} for part in known)
    given = {} if way == "from nothing" else {"params": params, "state": state}
    optimizer = optimizer_of(net, way, steps)
    found = learn(net, data, optimizer, epochs, seed, False, **given)
    return nn.evaluate(net, found, test, metrics=metrics)["accuracy"]


# ---- data ----


def load(small: bool) -> tuple[tuple[Pair, Pair], tuple[Pair, Pair]]:
    """Train and test pictures of five classes, and of the five others, from 0 to 4."""
    if small:
        print("--small: synthetic stripes, a stand-in for CIFAR-10 and much easier")
        train, test = stripes(1000, seed=1), stripes(200, seed=2)
    else:
        train, test = nn.data.cifar10()
    halves = []
    for start in (0, 5):
        parts = []
        for images, labels in (train, test):
            own = (labels >= start) & (labels < start + 5)
            parts.append((images[own], labels[own] - start))
        halves.append(tuple(parts))
    return tuple(halves)  # type: ignore[return-value]


def few(labels: np.ndarray, amount: int, seed: int) -> np.ndarray:
    """Rows of as many pictures of each class, drawn at random."""
    rng, each = np.random.default_rng(seed), amount // 5
    rows = [
        rng.choice(np.flatnonzero(labels == c), each, replace=False) for c in range(5)
    ]
    return np.concatenate(rows)


# ---- pictures ----


def draw_table(path: Path, amounts: list[int], table: dict) -> None:
    """Accuracy against the number of pictures, with the spread of the draws."""
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for way in WAYS:
        values = np.array(table[way])
        mean, spread = values.mean(1), values.std(1)
        axes.errorbar(
            amounts, 100 * mean, 100 * spread, marker="o", capsize=3, label=way
        )
    axes.set(xscale="log", xlabel="pictures of the new classes")
    axes.set(ylabel="test accuracy, %", title="Five classes never seen before")
    axes.set_xticks(amounts, [f"{amount:,}" for amount in amounts])
    axes.minorticks_off()
    axes.axhline(20, color="0.6", ls=":", lw=1)
    axes.annotate(
        "chance", (amounts[0], 20), (0, 3), textcoords="offset points", size=9
    )
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=120)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The arguments of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--epochs", type=int, help="on the first five classes, default 8")
    add("--draws", type=int, help="of the pictures to learn from, default 3")
    add("--weights", type=Path, help="torchvision's ResNet-18, a safetensors file")
    add("--seed", type=int, default=0)
    add("--out", type=Path, default=Path("out/transfer"))
    add("--small", action="store_true", help="seconds: synthetic stripes")
    args = parser.parse_args(argv)
    args.epochs = args.epochs or (3 if args.small else 8)
    args.draws = args.draws or (1 if args.small else 3)
    args.out.mkdir(parents=True, exist_ok=True)
    return args


if __name__ == "__main__":
    main()
