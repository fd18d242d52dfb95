# SPDX-License-Identifier: Apache-2.0
"""Find the membranes between nerve cells in electron microscopy with a U-Net.

The network of Ronneberger et al., 2015, which won the challenge on these images: down
to see more, up again to say where, with bridges across that keep the detail; a class a
pixel, membrane or cell. Theirs has 31 million weights and trained for ten hours on a
GPU. This one has 16 features at the top in place of 64, three levels in place of four,
batch normalization, and trains for about eight minutes on two idle cores.

Thirty images are few. So training never sees the same thing twice: each time it looks
at another place, turned by any angle, mirrored, and bent at random, as in the paper.
One map says for each pixel seen where in the image it lies; image and mask go through
the same map. This happens on the device, within the compiled epoch, in a step of our
own around the library's: a layer in front of the network could not move the mask.

The images are sections of one block of tissue, in order, and neighbors look alike. 1 to
22 are trained on, by 23 to 25 the network and the schedule were chosen, and 26 to 30
are the test: whole, by the share of wrong pixels and by the intersection over union
(IoU) of each class. Beside the network stands what a threshold on the gray value does,
the one with the fewest wrong pixels in the training images.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.scipy.ndimage import map_coordinates
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

import jaxnn as nn


class Recipe(NamedTuple):
    """A network and how to train it."""

    depth: int
    width: int
    view: int  # the side, in pixels, of what training sees of an image at a time
    looks: int  # at each image in an epoch
    epochs: int
    batch_size: int
    learning_rate: float


REAL = Recipe(3, 16, 192, 8, 25, 4, 3e-3)
SMALL = Recipe(2, 4, 48, 4, 6, 4, 1e-2)
loss = nn.losses.softmax_cross_entropy  # the mean over an image's pixels


def error(outputs: jax.Array, masks: jax.Array) -> jax.Array:
    """The share of wrong pixels, one number an image."""
    return 1 - nn.metrics.accuracy(outputs, masks)


metrics = {"error": error}


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Train, test, draw; returns error and IoU of the network and of a threshold."""
    args = parse(argv)
    recipe = SMALL if args.small else REAL
    recipe = recipe._replace(epochs=args.epochs or recipe.epochs)
    title, train, validation, test = load_data(args.small)
    net = nn.models.unet(2, depth=recipe.depth, width=recipe.width, batch_norm=True)
    print(f"{title}: {len(train[0])} images to train on, {len(test[0])} to test on")
    state, history = learn(net, recipe, train, validation, jax.random.key(args.seed))
    predicted = np.asarray(nn.predict(net, state, test[0], batch_size=1).argmax(-1))
    threshold = best_threshold(*train)
    result = {
        **scores("unet", predicted, test[1]),
        **scores("threshold", test[0][..., 0] > threshold, test[1]),
        **scores("all_cell", np.ones_like(test[1]), test[1]),
    }
    history.plot(args.out / "learning_curves.png")
    save_warped(args.out / "augmented.png", train, recipe.view)
    save_errors(args.out / "segmentation.png", test, predicted)
    for name in ("learning_curves", "augmented", "segmentation"):
        print(f"wrote {args.out / name}.png")
    print(
        f"{title}: wrong pixels {result['unet_error']:.2%}, threshold "
        f"{result['threshold_error']:.2%}; IoU of membrane "
        f"{result['unet_membrane']:.3f}, threshold {result['threshold_membrane']:.3f}"
    )
    return result


def learn(
    net: nn.Layer, recipe: Recipe, train: tuple, validation: tuple, key: jax.Array
) -> tuple[nn.TrainState, nn.History]:
    """Train on random views; whole images are validated on."""
    data = tuple(np.repeat(a, recipe.looks, axis=0) for a in train)
    steps = recipe.epochs * -(-len(data[0]) // recipe.batch_size)
    rate = optax.cosine_onecycle_schedule(steps, recipe.learning_rate)
    optimizer = optax.adam(rate)
    step = nn.train_step(net, loss, optimizer, metrics=metrics)
    seen = jax.ShapeDtypeStruct((1, recipe.view, recipe.view, 1), jnp.float32)

    def validate(state: nn.TrainState) -> dict[str, Any]:
        return nn.evaluate(
            net, state, validation, loss=loss, metrics=metrics, batch_size=1
        )

    return nn.fit(
        warped(step, recipe.view),
        data,
        epochs=recipe.epochs,
        batch_size=recipe.batch_size,
        state=nn.train_state(net, optimizer, seen, key=key),
        validation=validate,
        progress=True,
    )


# ---- augmentation ----


def warped(step: Callable[..., Any], view: int) -> Callable[..., Any]:
    """The step, on a random view of each example."""

    def warped_step(state: nn.TrainState, batch: tuple) -> tuple[nn.TrainState, dict]:
        key = jax.random.fold_in(state.key, state.step)  # so a run can be repeated
        images, masks = batch
        return step(state, warp(key, images, masks, view))

    return warped_step


def warp(key: jax.Array, images: jax.Array, masks: jax.Array, view: int) -> tuple:
    """Random views `[N, view, view, 1]` of images, and of their masks."""

    def one(key, image, mask):
        where = [*places(key, len(image), view)]
        gray = map_coordinates(image[..., 0], where, order=1, mode="mirror")
        share = map_coordinates(mask.astype(gray.dtype), where, order=1, mode="mirror")
        return gray[..., None], (share > 0.5).astype(mask.dtype)

    return jax.vmap(one)(jax.random.split(key, len(images)), images, masks)


def places(key: jax.Array, side: int, view: int) -> jax.Array:
    """Where in an image each pixel of a view lies, `[2, view, view]`, in pixels."""
    turn_key, mirror_key, middle_key, bend_key = jax.random.split(key, 4)
    line = jnp.linspace(-(view - 1) / 2, (view - 1) / 2, view)
    y, x = jnp.meshgrid(line, line, indexing="ij")
    x = x * jax.random.rademacher(mirror_key, (), x.dtype)
    angle = jax.random.uniform(turn_key, maxval=2 * jnp.pi)
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    turned = jnp.stack([y * cos - x * sin, y * sin + x * cos])
    middle = jax.random.uniform(
        middle_key, (2, 1, 1), minval=view / 2, maxval=side - view / 2
    )
    # Shifts drawn on a grid of 3x3, as in the paper, and smooth in between.
    knots = view / 40 * jax.random.normal(bend_key, (2, 3, 3))
    bend = jax.image.resize(knots, turned.shape, "cubic")
    return turned + bend + jnp.broadcast_to(middle, turned.shape)


# ---- measures ----


def best_threshold(images: np.ndarray, masks: np.ndarray) -> float:
    """The gray value above which pixels are taken for cell with the fewest mistakes."""
    grays = np.linspace(0, 1, 101)
    wrong = [np.mean((images[..., 0] > gray) != masks) for gray in grays]
    return float(grays[np.argmin(wrong)])


def scores(name: str, predicted: np.ndarray, masks: np.ndarray) -> dict[str, float]:
    """The share of wrong pixels and the IoU of either class; printed as well."""
    pairs = 2 * masks + predicted
    counts = np.bincount(pairs.ravel(), minlength=4).reshape(2, 2)
    both, either = np.diag(counts), counts.sum(0) + counts.sum(1) - np.diag(counts)
    wrong, (membrane, cell) = 1 - both.sum() / counts.sum(), both / either
    print(
        f"{name:>9}: wrong pixels {wrong:.2%}, IoU of membrane {membrane:.3f}, "
        f"of cell {cell:.3f}"
    )
    values = {"error": wrong, "membrane": membrane, "cell": cell}
    return {f"{name}_{key}": float(value) for key, value in values.items()}


# ---- data ----


def load_data(small: bool) -> tuple[str, Any, Any, Any]:
    """The title of the data; images and masks to train on, to choose by, to test on."""
    if small:
        print("--small: synthetic cells, a stand-in for the microscope's images")
        title, (images, masks), test, chosen = "synthetic cells", cells(12), 3, 1
    else:
        title, (images, masks), test, chosen = "ISBI EM", nn.data.isbi_em(), 5, 3
    cuts = [len(images) - test - chosen, len(images) - test]
    train, validation, last = zip(
        np.split(images, cuts), np.split(masks, cuts), strict=True
    )
    return title, train, validation, last


def cells(count: int, side: int = 96) -> tuple[np.ndarray, np.ndarray]:
    """Bright cells with dark membranes and dark grains; masks as in `isbi_em`."""
    rng = np.random.default_rng(0)
    pixels = np.stack([*np.mgrid[:side, :side]], -1)[None, :, :, None]
    grid = np.stack([*np.mgrid[8:side:16, 8:side:16]], -1).reshape(1, 1, 1, -1, 2)
    middles = grid + rng.uniform(-7, 7, (count, *grid.shape[1:]))
    grains = rng.uniform(0, side, (count, 1, 1, 40, 2))
    near = np.sort(np.linalg.norm(pixels - middles, axis=-1), axis=-1)
    masks = near[..., 1] - near[..., 0] > 3  # where two cells meet is a membrane
    grain = np.linalg.norm(pixels - grains, axis=-1).min(-1) < 3
    images = 0.7 - 0.3 * (~masks | grain) + 0.1 * rng.standard_normal(masks.shape)
    return images[..., None].astype(np.float32), masks.astype(np.int32)


# ---- pictures ----


def save_warped(path: Path, train: tuple, view: int) -> None:
    """Draw random views of the first images, and their masks."""
    images, masks = (a[:6] for a in train)
    images, masks = warp(jax.random.key(0), images, masks, view)
    figure = Figure(figsize=(13, 4.9), layout="constrained")
    figure.suptitle("What training sees: random views of six images, and their masks")
    for axes, image, mask in zip(figure.subplots(2, 6).T, images, masks, strict=True):
        for ax, picture in zip(axes, (image[..., 0], mask), strict=True):
            ax.imshow(picture, cmap="gray")
            ax.set_axis_off()
    figure.savefig(path, dpi=110)


def save_errors(path: Path, test: tuple, predicted: np.ndarray, rows: int = 3) -> None:
    """Draw the first test images: image, truth, prediction, and where they differ."""
    figure = Figure(figsize=(13, 3.4 * rows + 0.9), layout="constrained")
    titles = ("image", "truth: membrane is black", "prediction")
    colors = ListedColormap(["#d62728", "#f0f0f0", "#1f77b4"])
    for axes, image, mask, guess in zip(
        figure.subplots(rows, 4), *test, predicted, strict=False
    ):
        for ax, picture in zip(axes, (image[..., 0], mask, guess), strict=False):
            ax.imshow(picture, cmap="gray")
        axes[3].imshow(mask - guess, cmap=colors, vmin=-1, vmax=1)
        axes[3].set_title(f"{np.mean(mask != guess):.2%} wrong", fontsize=13)
        for ax in axes:
            ax.set_axis_off()
    for ax, title in zip(figure.axes, titles, strict=False):
        ax.set_title(title, fontsize=13)
    figure.suptitle(
        "Errors in red: membrane taken for cell; in blue: cell taken for membrane",
        fontsize=13,
    )
    figure.savefig(path, dpi=110)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--small", action="store_true", help="synthetic cells: seconds")
    add(
        "--epochs", type=int, help=f"default: {REAL.epochs}, or {SMALL.epochs} if small"
    )
    add("--seed", type=int, default=0, help="default: %(default)s")
    add(
        "--out", type=Path, default=Path("out/segment_cells"), help="folder to write to"
    )
    args = parser.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    return args


if __name__ == "__main__":
    nn.cache()  # the second run finds its programs compiled
    main()
