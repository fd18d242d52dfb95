# SPDX-License-Identifier: Apache-2.0
"""Find every cell in photographs of blood, and count them.

A detector without anchors (`nn.models.detector`: FCOS, Tian et al., 2019) learns from
205 photographs of BCCD in which every cell is boxed: red cells, which lie on top of one
another, white cells, and small platelets. In training the photographs are mirrored,
joined from quarters of four (mosaic) and varied in brightness and contrast.

On the 72 photographs of the official test part it is measured by average precision at
an IoU of 0.5, for each class and on average, as COCO does. Counting is a by-product:
from which score on a box is a cell is chosen on the validation part, for each class.
Network, augmentation and schedule were not searched.

The data are looked for in $JAXNN_DATA, else downloaded once. `--small` trains on made
scenes: handwritten digits pasted anywhere, three classes of them.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import optax
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import jaxnn as nn
from jaxnn.data import augment, boxes

Data = tuple[np.ndarray, dict[str, np.ndarray]]
COLORS = ("tab:red", "tab:blue", "tab:orange")
FOUND = 0.5  # the IoU from which on a cell is found


class Recipe(NamedTuple):
    """A network and how to train it."""

    width: int
    blocks: int
    epochs: int
    batch_size: int
    learning_rate: float


REAL = Recipe(24, 1, 40, 8, 2e-3)
SMALL = Recipe(8, 1, 30, 8, 4e-3)


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Train, measure, draw; returns the average precisions and counting errors."""
    args = parse(argv)
    recipe = SMALL if args.small else REAL
    recipe = recipe._replace(epochs=args.epochs or recipe.epochs)
    names, (train, held, test) = load(args.small)
    net = nn.models.detector(len(names), width=recipe.width, blocks=recipe.blocks)
    state, history = learn(net, recipe, train, held, jax.random.key(args.seed))
    found_held, found = (find(net, state, data[0]) for data in (held, test))
    limits = [count_from(found_held, held[1], c) for c in range(len(names))]
    precision = nn.metrics.MeanAveragePrecision(len(names), average=None)
    print(f"pictures held out: mean {np.mean(precision(found_held, held[1])):.3f}")
    values = np.asarray(precision(found, test[1]))
    result = {"mean": float(values.mean())}
    for c, name in enumerate(names):
        off = np.abs(counts(found, c, limits[c]) - counts(test[1], c)).mean()
        real = counts(test[1], c)
        result |= {name: float(values[c]), f"{name} off": float(off)}
        print(
            f"{name:>11}: average precision {values[c]:.3f}; {real.mean():.1f} a "
            f"picture, counted with an error of {off:.2f} (the mean as a guess: "
            f"{np.abs(real - counts(train[1], c).mean()).mean():.2f})"
        )
    history.plot(args.out / "learning_curves.png")
    draw(args.out / "detections.png", test, found, limits, names)
    for name in ("learning_curves", "detections"):
        print(f"wrote {args.out / name}.png")
    each = ", ".join(f"{name} {result[name]:.3f}" for name in names)
    print(
        f"mean average precision at 0.5 on test pictures {result['mean']:.3f}: {each}"
    )
    return result


def learn(
    net: nn.Layer, recipe: Recipe, train: Data, held: Data, key: jax.Array
) -> tuple[nn.TrainState, nn.History]:
    """Train; after each epoch the loss is taken on the pictures held out."""
    steps = recipe.epochs * -(-len(train[0]) // recipe.batch_size)
    rate = optax.warmup_cosine_decay_schedule(
        0.0, recipe.learning_rate, steps // 20, steps
    )
    adamw = optax.adamw(rate, weight_decay=1e-2)
    changes = augment.chain(
        boxes.flip(vertical=True),
        boxes.mosaic(probability=0.5),
        augment.brightness(0.1),
        augment.contrast(0.2),
        range=(0, 1),
    )
    return nn.fit(
        net,
        train,
        loss=nn.losses.detection,
        optimizer=optax.chain(optax.clip_by_global_norm(10.0), adamw),
        epochs=recipe.epochs,
        batch_size=recipe.batch_size,
        augment=changes,
        validation=held,
        key=key,
        progress=True,
    )


def find(net: nn.Layer, state: nn.TrainState, images: np.ndarray) -> dict:
    """The detections in pictures, as arrays on the host."""
    find_in = jax.jit(lambda outputs: nn.models.detections(outputs))
    outputs = nn.predict(net, state, images, batch_size=8)
    return jax.tree.map(np.asarray, find_in(outputs))


# ---- counting ----


def counts(targets: dict, c: int, limit: float = 0.0) -> np.ndarray:
    """How many boxes of a class each picture has, with scores from a limit on."""
    own = targets["classes"] == c
    return (own & (targets["scores"] >= limit) if "scores" in targets else own).sum(1)


def count_from(found: dict, targets: dict, c: int) -> float:
    """The score from which on boxes of a class are counted with the least error."""
    real, limits = counts(targets, c), np.linspace(0.05, 0.9, 86)
    errors = [np.abs(counts(found, c, limit) - real).mean() for limit in limits]
    return float(limits[np.argmin(errors)])


# ---- data ----


def load(small: bool) -> tuple[Sequence[str], tuple[Data, Data, Data]]:
    """Names of the classes; pictures to train on, to choose by and to test on."""
    if small:
        print("--small: made scenes of handwritten digits, a stand-in for photographs")
        return ("0", "1", "2"), (scenes(96, 0), scenes(24, 1), scenes(24, 2))
    parts = [nn.data.bccd(split) for split in ("train", "val", "test")]
    total = [int((targets["classes"] >= 0).sum()) for _, targets in parts]
    print(f"BCCD: {total} boxed cells in {[len(x) for x, _ in parts]} photographs")
    return ("red cell", "white cell", "platelet"), tuple(parts)  # type: ignore


def scenes(n: int, seed: int, side: int = 64, most: int = 4) -> Data:
    """Digits 0, 1 and 2 pasted anywhere in noise, where they hide none before them."""
    (train, labels), _ = nn.data.digits()
    rng = np.random.default_rng(seed)
    chosen = np.flatnonzero(labels < 3)
    images = rng.uniform(0, 0.3, (n, side, side, 1)).astype(np.float32)
    all_boxes, all_classes = [], []
    for image in images:
        own: list[list[int]] = []
        kinds: list[int] = []
        for i in rng.choice(chosen, rng.integers(1, most + 1)):
            digit = np.kron(train[i].reshape(8, 8), np.ones((2, 2)))
            x, y = rng.integers(0, side - 16, 2)
            rows, columns = (np.flatnonzero(digit.any(axis)) for axis in (1, 0))
            box = [x + columns[0], y + rows[0], x + columns[-1] + 1, y + rows[-1] + 1]
            taken = [boxes.iou(np.float32(box), np.float32(other)) for other in own]
            if any(share > 0.05 for share in taken):
                continue
            part = image[y : y + 16, x : x + 16, 0]
            np.maximum(part, digit, out=part)
            own.append(box)
            kinds.append(int(labels[i]))
        all_boxes.append(own)
        all_classes.append(kinds)
    return images, boxes.pad(all_boxes, all_classes, room=most, size=(side, side))


# ---- pictures ----


def draw(
    path: Path, test: Data, found: dict, limits: list, names: Sequence[str]
) -> None:
    """Test pictures with what was found: right solid, wrong dashed, missed dotted."""
    images, targets = test
    figure = Figure(figsize=(12, 9.6), layout="constrained")
    rows = figure.subplots(3, 3)
    shown = np.linspace(0, len(images) - 1, 9).astype(int)
    for axes, i in zip(rows.flat, shown, strict=True):
        axes.imshow(images[i], cmap="gray", vmin=0, vmax=1)
        axes.autoscale(False)
        axes.axis("off")
        _draw_boxes(axes, *(_of(d, i) for d in (found, targets)), limits)
    lines = [
        axes.plot([], [], color=color, label=name)[0]
        for color, name in zip(COLORS, names, strict=True)
    ]
    for style, word in (("-", "right"), ("--", "wrong"), (":", "missed")):
        lines += axes.plot([], [], "k", ls=style, label=word)
    figure.legend(handles=lines, loc="outside lower center", ncols=6, frameon=False)
    figure.savefig(path, dpi=100)


def _of(targets: dict, i: int) -> dict:
    """The boxes of one picture."""
    own = targets["classes"][i] >= 0
    return {name: values[i][own] for name, values in targets.items()}


def _draw_boxes(axes: Axes, found: dict, true: dict, limits: list) -> None:
    limit = np.array(limits)[found["classes"]]
    found = {name: values[found["scores"] >= limit] for name, values in found.items()}
    free = np.ones(len(true["boxes"]), bool)
    for box, kind in zip(found["boxes"], found["classes"], strict=True):
        share = np.asarray(boxes.iou(box[None], true["boxes"]))
        share = np.where(free & (true["classes"] == kind), share, 0)
        hit = share.size > 0 and share.max() >= FOUND
        if hit:
            free[share.argmax()] = False
        _outline(axes, box, kind, "-" if hit else "--")
    for box, kind in zip(true["boxes"][free], true["classes"][free], strict=True):
        _outline(axes, box, kind, ":")


def _outline(axes: Axes, box: np.ndarray, kind: int, style: str) -> None:
    x0, y0, x1, y1 = box
    across, down = [x0, x1, x1, x0, x0], [y0, y0, y1, y1, y0]
    axes.plot(across, down, color=COLORS[kind], ls=style, lw=1.8)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, help=f"default {REAL.epochs}")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("out/detect"))
    parser.add_argument("--small", action="store_true", help="seconds: made scenes")
    args = parser.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    return args


if __name__ == "__main__":
    main()
