# SPDX-License-Identifier: Apache-2.0
"""Recognize people who were never seen in training, and lock a door with it.

A convolutional network turns a face into a vector, such that pictures of one person lie
close together (ArcFace, Deng et al., 2019). It is trained on 25 of the 40 people of the
ORL faces, a threshold is chosen on 5 others, and 10 more, whom nothing has seen, are
the test. What is measured on them:

- verification: of two pictures, whether they show one person, as the equal error rate,
  where as many strangers are let in as people are kept out;
- identification: from one picture of each person, who is on another (rank 1);
- a door lock: the threshold that let in 1 % of strangers among the 5 people.

Beside it: eigenfaces (a principal component analysis of the training faces) and the
pixels themselves. Five splits of the people, mean and spread.

The data are looked for in $JAXNN_DATA, else downloaded once.
"""

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import optax
from matplotlib.figure import Figure

import jaxnn as nn
from jaxnn.data import augment

METHODS = ("network", "eigenfaces", "pixels")
COMPONENTS = 60
STRANGERS = 0.01  # the share that the door lock may let in


class Split(NamedTuple):
    """Faces and people, for training, for the threshold, and for the test."""

    train: tuple[np.ndarray, np.ndarray]
    held: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]


class Scores(NamedTuple):
    """What is measured on people never seen."""

    error: float  # the equal error rate
    first: float  # how often the nearest picture is of the right person
    let_in: float  # strangers let in by the door lock
    kept_out: float  # people kept out by it


def network(people: int, width: int) -> nn.Sequential:
    """Faces to the cosine of each person; all but the last layer embed."""
    layers: list = []
    for i in range(3):
        conv = nn.Conv(width * 2**i, 3, bias=False)
        layers += [conv, nn.BatchNorm(), jax.nn.relu, nn.MaxPool(2)]
    layers += [nn.Flatten(), nn.Dropout(0.3), nn.Dense(4 * width), nn.BatchNorm()]
    return nn.Sequential(*layers, nn.CosineLogits(people))


def main(argv: Sequence[str] | None = None) -> dict[str, Scores]:
    """Train, measure and draw; returns the mean scores of each method."""
    args = parse(argv)
    images, people = tiny_faces() if args.small else load()
    rng = np.random.default_rng(args.seed)
    found: dict[str, list[Scores]] = {method: [] for method in METHODS}
    for number in range(args.splits):
        split = divide(images, people, rng.permutation(np.unique(people)))
        embed, history = learn(split, args, number)
        for method in METHODS:
            vectors = embedding(method, split, embed)
            found[method].append(measure(split, *vectors))
        line = ", ".join(
            f"{m} {s[-1].error:.1%} / {s[-1].first:.1%}" for m, s in found.items()
        )
        print(f"split {number + 1}: equal error rate / rank 1: {line}", flush=True)
    history.plot(args.out / "learning_curves.png")
    draw(args.out / "faces.png", split, *embedding("network", split, embed)[1:])
    means = {m: Scores(*np.mean(s, 0)) for m, s in found.items()}
    spread = {m: Scores(*np.std(s, 0)) for m, s in found.items()}
    for name in METHODS:
        mean, off = means[name], spread[name]
        print(
            f"{name:>10}: equal error rate {mean.error:.1%} ± {off.error:.1%}, rank 1 "
            f"{mean.first:.1%} ± {off.first:.1%}; door lock: {mean.let_in:.1%} of "
            f"strangers let in, {mean.kept_out:.1%} of people kept out"
        )
    for picture in sorted(args.out.glob("*.png")):
        print(f"wrote {picture}")
    best, plain = means["network"], means["eigenfaces"]
    print(
        f"people never seen: equal error rate {best.error:.1%} (eigenfaces "
        f"{plain.error:.1%}), rank 1 {best.first:.1%} ({plain.first:.1%})"
    )
    return means


def load() -> tuple[np.ndarray, np.ndarray]:
    """The ORL faces in half their size, each with a mean of 0 and a spread of 1."""
    images, people, _ = nn.data.orl_faces()
    small = images.reshape(len(images), 56, 2, 46, 2, 1).mean((2, 4))
    return even(small), people


def even(images: np.ndarray) -> np.ndarray:
    """Images, each with a mean of 0 and a spread of 1."""
    images = images - images.mean((1, 2, 3), keepdims=True)
    return images / (images.std((1, 2, 3), keepdims=True) + 1e-6)


def tiny_faces() -> tuple[np.ndarray, np.ndarray]:
    """Made faces: 16 people as smooth random pictures, six noisy takes of each."""
    rng = np.random.default_rng(0)
    coarse = rng.standard_normal((16, 4, 4))
    faces = np.kron(coarse, np.ones((4, 4))).repeat(6, 0)[..., None]
    noisy = faces + 0.5 * rng.standard_normal(faces.shape)
    return even(noisy.astype(np.float32)), np.arange(16).repeat(6)


def divide(images: np.ndarray, people: np.ndarray, order: np.ndarray) -> Split:
    """A split of the people: five eighths, an eighth, and a quarter of them."""
    n = len(order)
    edges = n * 5 // 8, n * 6 // 8

    def part(chosen):
        rows = np.flatnonzero(np.isin(people, chosen))
        return images[rows], np.searchsorted(np.sort(chosen), people[rows])

    return Split(*map(part, np.split(order, edges)))


def learn(split: Split, args: argparse.Namespace, number: int):
    """A function from faces to vectors, and the history of its training."""
    faces, people = split.train
    net = network(people.max() + 1, args.width)
    steps = args.epochs * -(-len(faces) // args.batch_size)
    changes = augment.chain(
        augment.flip(),
        augment.rotate(10),
        augment.scale(0.1),
        augment.shift(3),
        augment.cutout(12 if faces.shape[1] > 32 else 3),
    )
    state, history = nn.fit(
        net,
        (faces, people.astype(np.int32)),
        loss=partial(nn.losses.arc_face, margin=args.margin, scale=16.0),
        optimizer=optax.adamw(optax.cosine_onecycle_schedule(steps, 3e-3), 0.01),
        epochs=args.epochs,
        batch_size=args.batch_size,
        key=jax.random.key(args.seed + number),
        augment=changes,
        metrics={"accuracy": nn.metrics.accuracy},
        progress=False,
    )
    body, last = net[:-1], list(net.children())[-1]
    variables = (
        {name: a for name, a in state.params.items() if name != last},
        {name: a for name, a in state.state.items() if name != last},
    )

    def embed(faces):
        both = (nn.predict(body, variables, x) for x in (faces, faces[:, :, ::-1]))
        return np.asarray(sum(both))

    return embed, history


def embedding(method: str, split: Split, embed) -> list[np.ndarray]:
    """The vectors of the three parts by one method, of length 1."""
    flat = [faces.reshape(len(faces), -1) for faces, _ in split]
    if method == "network":
        vectors = [embed(faces) for faces, _ in split]
    elif method == "eigenfaces":
        mean = flat[0].mean(0)
        _, sizes, axes = np.linalg.svd(flat[0] - mean, full_matrices=False)
        axes = axes[:COMPONENTS] / sizes[:COMPONENTS, None]  # whitened
        vectors = [(x - mean) @ axes.T for x in flat]
    else:
        vectors = flat
    return [v / np.linalg.norm(v, axis=1, keepdims=True) for v in vectors]


def measure(split: Split, _: np.ndarray, held: np.ndarray, test: np.ndarray) -> Scores:
    """The scores on the people of the test."""
    same, other = pairs(test, split.test[1])
    strangers = np.sort(pairs(held, split.held[1])[1])
    lock = strangers[-max(1, int(STRANGERS * len(strangers)))]
    return Scores(
        equal_error_rate(same, other),
        rank_one(test, split.test[1]),
        float((other > lock).mean()),
        float((same <= lock).mean()),
    )


def pairs(vectors: np.ndarray, people: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The cosines of all pairs of one person, and of all pairs of two."""
    a, b = np.triu_indices(len(people), 1)
    cosines, alike = (vectors @ vectors.T)[a, b], people[a] == people[b]
    return cosines[alike], cosines[~alike]


def equal_error_rate(same: np.ndarray, other: np.ndarray) -> float:
    """The error rate at the threshold where both kinds of error are as frequent."""
    thresholds = np.sort(np.concatenate([same, other]))
    kept_out = np.searchsorted(np.sort(same), thresholds, "right") / len(same)
    let_in = 1 - np.searchsorted(np.sort(other), thresholds, "right") / len(other)
    best = np.abs(kept_out - let_in).argmin()
    return float(kept_out[best] + let_in[best]) / 2


def rank_one(vectors: np.ndarray, people: np.ndarray) -> float:
    """How often the nearest known picture is right, with one known for each person.

    The mean over which picture of each person is the known one.
    """
    takes = np.bincount(people).min()
    rows = np.stack([np.flatnonzero(people == p)[:takes] for p in np.unique(people)])
    right = []
    for take in range(takes):
        known, asked = rows[:, take], np.delete(rows, take, 1)
        nearest = (vectors[asked] @ vectors[known].T).argmax(-1)
        right.append((nearest == np.arange(len(rows))[:, None]).mean())
    return float(np.mean(right))


def draw(path: Path, split: Split, held: np.ndarray, test: np.ndarray) -> None:
    """The scores of pairs, and the pairs that were hardest to tell."""
    del held
    faces, people = split.test
    same, other = pairs(test, people)
    figure = Figure(figsize=(12, 5.5), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1, 1.2))
    ax = left.subplots()
    bins = np.linspace(-1, 1, 60).tolist()
    for values, name, color in (
        (other, "two people", "tab:orange"),
        (same, "one person", "tab:blue"),
    ):
        ax.hist(values, bins, density=True, alpha=0.6, label=name, color=color)
    ax.set(
        title="Pairs of people never seen in training",
        xlabel="cosine of two vectors",
        ylabel="density",
    )
    ax.legend()
    a, b = np.triu_indices(len(people), 1)
    cosines, alike = (test @ test.T)[a, b], people[a] == people[b]
    rows = (
        ("one person,\nleast alike", np.where(alike, cosines, np.inf)),
        ("two people,\nmost alike", np.where(alike, np.inf, -cosines)),
    )
    grid = right.subplots(4, 5)
    for row, (name, order) in enumerate(rows):
        for column, pair in enumerate(np.argsort(order)[:5]):
            for half, index in enumerate((a[pair], b[pair])):
                cell = grid[2 * row + half][column]
                cell.imshow(faces[index, ..., 0], cmap="gray")
                cell.set(xticks=[], yticks=[])
            grid[2 * row][column].set_title(f"{cosines[pair]:.2f}", fontsize=10)
        grid[2 * row][0].set_ylabel(name, fontsize=10)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--small", action="store_true", help="made faces of 16x16: seconds")
    add("--splits", type=int, default=5, help="default: %(default)s")
    add("--epochs", type=int, default=80, help="default: %(default)s")
    add("--batch-size", type=int, default=50, help="default: %(default)s")
    add("--width", type=int, default=16, help="default: %(default)s")
    add("--margin", type=float, default=0.3, help="in radians; default: %(default)s")
    add("--seed", type=int, default=0, help="default: %(default)s")
    add("--out", type=Path, default="out/faces", help="default: %(default)s")
    args = parser.parse_args(argv)
    if args.small:
        args.splits, args.epochs, args.width = 1, 6, 4
    return args


if __name__ == "__main__":
    nn.cache()  # the second run finds its programs compiled
    main()
