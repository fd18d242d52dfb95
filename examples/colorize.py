# SPDX-License-Identifier: Apache-2.0
"""Give gray pictures of CIFAR-10 their color back, in two ways.

A picture is split into its gray and two numbers of color a pixel, as television does
(YCbCr). A U-Net sees the gray and answers twice. Regression gives the two numbers:
where an object could be red or blue, its mean is a brown that is never far off.
Classification gives a probability to each of some dozen colors, and rare colors count
more (Zhang et al., 2016): its answer is the mean of a sharpened distribution, meant to
be livelier. The script prints PSNR and the amount of color for both.

Colors are found for squares of four pixels and spread over them smoothly: the eye sees
detail in the gray, as JPEG knows.

Beside them stand the gray picture and a guess that knows the picture's class, which the
networks do not: the mean color of that class in the training set.

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

LUMA = np.array([0.299, 0.587, 0.114], np.float32)
BLUE, RED = 0.564, 0.713  # scales of blue and red minus gray: about -0.5 to 0.5
CELL = 0.07  # the side of a class of colors
FAINT = 1e-4  # a squared error that nobody sees
SHARP = 0.38  # the temperature of the answer by classes, as published


def split(images: Any) -> tuple[Any, Any]:
    """The gray `[N, H, W, 1]` and the color `[N, H, W, 2]` of pictures."""
    gray = (images * LUMA[(None,) * (images.ndim - 1)]).sum(-1, keepdims=True)
    red, blue = images[..., :1] - gray, images[..., 2:] - gray
    return gray, jnp.concatenate([BLUE * blue, RED * red], -1)


def join(gray: np.ndarray, color: Any) -> np.ndarray:
    """Pictures of a gray and a color, from 0 to 1."""
    blue, red = np.moveaxis(np.asarray(color), -1, 0)
    blue, red = gray[..., 0] + blue / BLUE, gray[..., 0] + red / RED
    green = (gray[..., 0] - LUMA[0] * red - LUMA[2] * blue) / LUMA[1]
    return np.clip(np.stack([red, green, blue], -1), 0, 1)


class Palette:
    """Classes of color: the cells of a grid that training pictures use.

    Attributes:
        colors: float32 `[K, 2]`, the middles of the cells.
        weights: float32 `[K]`, 1 / (half the class's share + half of an equal share),
            with a mean of 1 over the pixels.
    """

    def __init__(self, color: np.ndarray):
        cells, counts = np.unique(
            np.round(color.reshape(-1, 2) / CELL).astype(int),
            axis=0,
            return_counts=True,
        )
        common = counts > 1e-4 * counts.sum()
        share = counts[common] / counts[common].sum()
        weights = 1 / (0.5 * share + 0.5 / len(share))
        self.colors = (CELL * cells[common]).astype(np.float32)
        self.weights = (weights / (share * weights).sum()).astype(np.float32)

    def nearest(self, color: jax.Array) -> jax.Array:
        """The class of each pixel, int32 `[N, H, W]`."""
        away = color[..., None, :] - self.colors[(None,) * (color.ndim - 1)]
        return (away**2).sum(-1).argmin(-1)

    def answer(self, logits: np.ndarray) -> np.ndarray:
        """The mean color of the sharpened distribution."""
        return np.asarray(jax.nn.softmax(logits / SHARP)) @ self.colors


def coarse(color: jax.Array) -> jax.Array:
    """The mean color of each square of four pixels."""
    n, height, width, _ = color.shape
    return color.reshape(n, height // 2, 2, width // 2, 2, 2).mean((2, 4))


def fine(color: Any) -> np.ndarray:
    """Colors of squares as colors of pixels."""
    n, height, width, _ = color.shape
    shape = n, 2 * height, 2 * width, 2
    return np.asarray(jax.image.resize(jnp.asarray(color), shape, "bilinear"))


def both(palette: Palette) -> Any:
    """The objective: the squared error of one answer, and the surprise of the other.

    The error counts by its logarithm, picture by picture, as it does in PSNR; otherwise
    the few most colorful pictures decide, and the many pale ones get too much color.
    """
    weights = jnp.asarray(palette.weights)

    def objective(run, images):
        gray, color = split(images)
        out, color = run(gray), coarse(color)
        error = ((out[..., :2] - color) ** 2).sum(-1).mean((1, 2))
        right = palette.nearest(color)
        surprise = optax.losses.softmax_cross_entropy_with_integer_labels(
            out[..., 2:], right
        )
        surprise = (weights[right] * surprise).mean((1, 2))
        loss = jnp.log(error + FAINT) + surprise
        return loss, {"error": error, "surprise": surprise}

    return objective


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Train, measure, draw; returns the PSNR of each answer."""
    args = parse(argv)
    train, test = tinted() if args.small else nn.data.cifar10()
    gray, color = map(np.asarray, split(test[0]))
    palette = Palette(np.asarray(coarse(split(train[0][:5000])[1])))
    print(f"{len(train[0]):,} pictures to learn from, {len(palette.colors)} colors")
    size = {"depth": 1, "width": 8} if args.small else {"depth": 2, "width": 24}
    unet = nn.models.unet(2 + len(palette.colors), batch_norm=True, **size)
    net = nn.Sequential(nn.PixelUnshuffle(2), unet)
    steps = args.epochs * -(-len(train[0]) // args.batch_size)
    state, history = nn.fit(
        net,
        train[0],
        objective=both(palette),
        optimizer=optax.adam(optax.cosine_onecycle_schedule(steps, 3e-3)),
        epochs=args.epochs,
        batch_size=args.batch_size,
        key=jax.random.key(args.seed),
        augment=nn.data.augment.flip(),
        progress=True,
    )
    history.plot(args.out / "learning_curves.png")
    out = np.asarray(nn.predict(net, state, gray))
    answers = {
        "gray": np.zeros_like(color),
        "mean of its class": class_means(train, test[1]),
        "regression": fine(out[..., :2]),
        "classes": fine(palette.answer(out[..., 2:])),
    }
    pictures = {name: join(gray, answer) for name, answer in answers.items()}
    results = {name: psnr(found, test[0]) for name, found in pictures.items()}
    for name, answer in answers.items():
        share = np.abs(answer).mean() / np.abs(color).mean()
        print(f"{name:>18}: PSNR {results[name].mean():.2f} dB, color {share:.0%}")
    pictures["real"] = test[0]
    errors = results["regression"]
    save_rows(
        args.out / "colors.png", pictures, np.arange(12), "The first test pictures"
    )
    worst = np.argsort(errors)[:12]
    save_rows(args.out / "failures.png", pictures, worst, "Where regression fails most")
    for picture in sorted(args.out.glob("*.png")):
        print(f"wrote {picture}")
    means = {name: float(found.mean()) for name, found in results.items()}
    print(
        f"PSNR by regression {means['regression']:.2f} dB, by classes "
        f"{means['classes']:.2f}; gray {means['gray']:.2f}, mean color of the class "
        f"{means['mean of its class']:.2f}"
    )
    return means


def class_means(train: tuple, labels: np.ndarray) -> np.ndarray:
    """For each test picture the mean color of its class in training."""
    color = np.asarray(split(train[0])[1])
    means = [color[train[1] == label].mean((0, 1, 2)) for label in range(10)]
    shape = (len(labels), *color.shape[1:])
    return np.broadcast_to(np.stack(means)[labels][:, None, None], shape)


def psnr(images: np.ndarray, real: np.ndarray) -> np.ndarray:
    """Peak signal-to-noise ratio of each picture, in decibels."""
    return -10 * np.log10(((images - real) ** 2).mean((1, 2, 3)) + 1e-10)


def tinted() -> tuple[tuple, tuple]:
    """The 8x8 digits, each in the color of its class, dark to light."""
    hues = np.random.default_rng(0).uniform(0.2, 1, (10, 3)).astype(np.float32)
    parts = nn.data.digits()
    return tuple(
        (images * hues[labels][:, None, None], labels) for images, labels in parts
    )


def save_rows(path: Path, pictures: dict, chosen: np.ndarray, title: str) -> None:
    """Draw some pictures, a row a method."""
    figure = Figure(
        figsize=(len(chosen) + 1.6, len(pictures) + 0.5), layout="constrained"
    )
    figure.suptitle(title)
    grid = figure.subplots(len(pictures), len(chosen))
    for axes, (name, images) in zip(grid, pictures.items(), strict=True):
        for ax, i in zip(axes, chosen, strict=True):
            ax.imshow(images[i])
            ax.set(xticks=[], yticks=[])
        axes[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=10)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--small", action="store_true", help="tinted 8x8 digits: seconds")
    add("--epochs", type=int, default=5, help="default: %(default)s")
    add("--batch-size", type=int, default=50, help="default: %(default)s")
    add("--seed", type=int, default=0, help="default: %(default)s")
    add("--out", type=Path, default="out/colorize", help="default: %(default)s")
    return parser.parse_args(argv)


if __name__ == "__main__":
    nn.cache()  # the second run finds its programs compiled
    main()
