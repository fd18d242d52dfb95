# SPDX-License-Identifier: Apache-2.0
"""Restore damaged pictures of CIFAR-10: take away noise, and fill in holes.

A network of residual blocks sees a damaged picture and which pixels to restore, and
gives the difference to the real picture (Lim et al., EDSR, 2017; Zhang et al., DnCNN,
2017). Four pixels become one with four times the channels, so that it works at half
the size (FFDNet, 2018). The damage is drawn anew in each step, within the compiled
program: an objective gets a fresh key each time, and no picture is seen twice with the
same damage. One network learns holes of all sizes.

The results are held against methods that learn nothing. Noise: a median filter, a
Gaussian filter, and non-local means, each with the setting that is best on training
pictures. Holes: the nearest known pixel, and biharmonic inpainting. PSNR is taken over
the pixels to restore, SSIM over the whole picture; both are means over test pictures.

The data are looked for in $JAXNN_DATA, else downloaded once.
"""

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.figure import Figure
from scipy import ndimage
from skimage.metrics import structural_similarity
from skimage.restoration import denoise_nl_means, inpaint_biharmonic

import jaxnn as nn

NOISE = 0.1  # its standard deviation; colors go from 0 to 1
GRAY = 0.5  # what a hole shows
SIZES = 4, 8, 16  # a hole's side is the picture's divided by one of these
SHARE = 0.16  # of the pixels are in holes, less where they overlap


def noisy(key: jax.Array, images: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Images with noise, and 1 at all pixels `[N, H, W, 1]`: all are to be restored."""
    noise = NOISE * jax.random.normal(key, images.shape, images.dtype)
    return images + noise, jnp.ones_like(images[..., :1])


def holed(
    key: jax.Array, images: jax.Array, sizes: Sequence[int] = SIZES
) -> tuple[jax.Array, jax.Array]:
    """Images with square holes of a size each, and 1 at the pixels that are lost."""
    which, *keys = jax.random.split(key, 1 + len(sizes))
    n, side, _, _ = images.shape
    masks = jnp.stack(
        [squares(*pair, n, side) for pair in zip(keys, sizes, strict=True)]
    )
    lost = masks[jax.random.randint(which, (n,), 0, len(sizes)), jnp.arange(n)]
    return jnp.where(lost, GRAY, images), lost.astype(images.dtype)


def squares(key: jax.Array, divisor: int, n: int, side: int) -> jax.Array:
    """Where there is a hole: bool `[N, H, W, 1]`."""
    size = max(1, side // divisor)
    count = round(SHARE * (side / size) ** 2)
    corners = jax.random.randint(key, (n, count, 2, 1), 0, side - size + 1)
    away = jnp.arange(side).reshape(1, 1, 1, side) - corners
    rows, columns = jnp.moveaxis((away >= 0) & (away < size), 2, 0)
    return (rows[..., :, None] & columns[..., None, :]).any(1)[..., None]


def smoothed(seen: Any, lost: Any, rounds: int = 24) -> Any:
    """Images whose holes are filled from their rims, as heat spreads.

    Images that are lost everywhere, as by noise, stay as they were seen.
    """
    holes = (lost > 0) & (lost.mean((1, 2), keepdims=True) < 1)

    def spread(_, x):
        padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), "edge")
        beside = padded[:, :-2, 1:-1] + padded[:, 2:, 1:-1]
        beside += padded[:, 1:-1, :-2] + padded[:, 1:-1, 2:]
        return jnp.where(holes, beside / 4, x)

    return jax.lax.fori_loop(0, rounds, spread, jnp.asarray(seen))


def restored(net: Callable[[Any], Any], seen: Any, lost: Any) -> Any:
    """What was seen, smoothed, and what the network adds to it at the lost pixels.

    Colors from 0 to 1 become -2 to 2 for it, and its 1 is a fifth of their range: with
    plain colors it took hundreds of steps before it learned anything of the noise.
    """
    seen = jax.lax.stop_gradient(smoothed(seen, lost))
    return seen + 0.2 * lost * net(jnp.concatenate([4 * (seen - 0.5), lost], -1))


def squared_error(damage: Callable[..., Any]) -> Callable[..., jax.Array]:
    """The objective: the squared error at lost pixels, one number a picture.

    It counts by its logarithm, as it does in PSNR.
    """

    def objective(run, images):
        seen, lost = damage(run.key, images)
        errors = lost * (restored(run, seen, lost) - images) ** 2
        error = errors.mean((1, 2, 3)) / lost.mean((1, 2, 3))
        return jnp.log(error + 1e-4), {"error": error}

    return objective


class Test(NamedTuple):
    """Real pictures, what is seen of them, and which pixels are lost."""

    real: np.ndarray
    seen: np.ndarray
    lost: np.ndarray

    def psnr(self, images: np.ndarray) -> float:
        """Peak signal-to-noise ratio at the lost pixels, in decibels."""
        errors = self.lost * (np.clip(images, 0, 1) - self.real) ** 2
        errors = errors.mean((1, 2, 3)) / self.lost.mean((1, 2, 3))
        return float(np.mean(-10 * np.log10(errors + 1e-10)))

    def ssim(self, images: np.ndarray) -> float:
        """Structural similarity of whole pictures."""
        pairs = zip(np.clip(images, 0, 1), self.real, strict=True)
        options = {"channel_axis": -1, "data_range": 1.0}
        return float(np.mean([structural_similarity(*p, **options) for p in pairs]))


def made(damage: Callable[..., Any], images: np.ndarray, seed: int) -> Test:
    """Damaged pictures."""
    seen, lost = damage(jax.random.key(seed), jnp.asarray(images))
    return Test(images, np.asarray(seen), np.asarray(lost))


class Task(NamedTuple):
    """A damage that a network learns to repair, and what it is tested on."""

    damage: Callable[..., Any]
    kinds: dict[str, Callable[..., Any]]
    others: Callable[[Test, Test], dict[str, np.ndarray]]


def tasks(side: int) -> dict[str, Task]:
    """Noise, and holes of each size."""
    holes = {}
    for divisor in SIZES:
        size = max(1, side // divisor)
        holes[f"holes of {size}x{size}"] = partial(holed, sizes=(divisor,))
    return {
        "noise": Task(noisy, {"noise": noisy}, without_noise),
        "holes": Task(holed, holes, without_holes),
    }


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Train for either damage, measure, draw; returns gains over rivals and damage."""
    args = parse(argv)
    (images, _), (real, _) = nn.data.digits() if args.small else nn.data.cifar10()
    real = real[: args.pictures]
    print(f"{len(images):,} pictures to learn from, {len(real):,} to test on")
    gains = {}
    for name, task in tasks(images.shape[1]).items():
        print(name)
        net, state, history = learn(task.damage, images, args)
        history.plot(args.out / f"learning_curves_{name}.png")
        for kind, damage in task.kinds.items():
            test = made(damage, real, args.seed + 1)
            others = task.others(test, made(damage, images[:100], 0))
            results = {
                "damaged": test.seen,
                **others,
                "network": answer(net, state, test),
            }
            scores = show(kind, test, results)
            gains[kind] = scores.pop("network") - max(scores.values())
            save_rows(args.out / f"{kind.replace(' ', '_')}.png", test, results)
    for picture in sorted(args.out.glob("*.png")):
        print(f"wrote {picture}")
    said = ", ".join(f"{gain:.1f} dB for {kind}" for kind, gain in gains.items())
    print(f"above the best of the others: {said}")
    return gains


def show(kind: str, test: Test, results: dict[str, np.ndarray]) -> dict[str, float]:
    """Print how well each method does; returns each PSNR."""
    print(kind)
    scores = {title: test.psnr(pictures) for title, pictures in results.items()}
    for title, pictures in results.items():
        ssim = test.ssim(pictures)
        print(f"{title:>20}: PSNR {scores[title]:5.2f} dB, SSIM {ssim:.3f}")
    return scores


def network(channels: int, width: int, blocks: int) -> nn.Layer:
    """Residual blocks at half the size; before training it gives zeros."""
    small = jax.nn.initializers.variance_scaling(0.1, "fan_in", "normal")

    def block():
        inner = nn.Conv(width, 3), jax.nn.relu, nn.Conv(width, 3, w_init=small)
        return nn.Residual(nn.Sequential(*inner))

    return nn.Sequential(
        nn.PixelUnshuffle(2),
        nn.Conv(width, 3),
        *[block() for _ in range(blocks)],
        nn.Conv(4 * channels, 3, w_init=jax.nn.initializers.zeros),
        nn.PixelShuffle(2),
    )


def learn(
    damage: Callable[..., Any], images: np.ndarray, args: argparse.Namespace
) -> tuple[nn.Layer, nn.TrainState, nn.History]:
    """Train a network to restore pictures from one damage."""
    width, blocks = (8, 2) if args.small else (args.width, args.blocks)
    net = network(images.shape[-1], width, blocks)
    steps = args.epochs * -(-len(images) // args.batch_size)
    rate = optax.cosine_onecycle_schedule(steps, args.learning_rate)
    state, history = nn.fit(
        net,
        images,
        objective=squared_error(damage),
        optimizer=optax.adam(rate),
        epochs=args.epochs,
        batch_size=args.batch_size,
        key=jax.random.key(args.seed),
        augment=nn.data.augment.flip(),
        progress=True,
    )
    return net, state, history


def answer(net: nn.Layer, state: nn.TrainState, test: Test) -> np.ndarray:
    """What the network makes of damaged pictures: a mean of it and its mirror image."""

    def trained(x):
        return np.asarray(nn.predict(net, state, x))

    mirrored = restored(trained, test.seen[:, :, ::-1], test.lost[:, :, ::-1])
    return (restored(trained, test.seen, test.lost) + mirrored[:, :, ::-1]) / 2


# ---- the others ----


def without_noise(test: Test, train: Test) -> dict[str, np.ndarray]:
    """Filters, each with the setting that is best on training pictures."""

    def median(images, size):
        return ndimage.median_filter(images, (1, size, size, 1))

    def gaussian(images, sigma):
        return ndimage.gaussian_filter(images, (0, sigma, sigma, 0))

    def non_local(images, strength):
        options = {"h": strength * NOISE, "sigma": NOISE, "channel_axis": -1}
        options |= {"patch_size": 3, "patch_distance": 5, "fast_mode": True}
        found = [denoise_nl_means(image, **options) for image in images]
        return np.reshape(found, images.shape)  # a single channel is dropped

    results = {}
    for name, method, settings in (
        ("median filter", median, (2, 3, 5)),
        ("Gaussian filter", gaussian, (0.4, 0.5, 0.6, 0.8)),
        ("non-local means", non_local, (0.4, 0.6, 0.8, 1.0)),
    ):
        scores = [train.psnr(method(train.seen, setting)) for setting in settings]
        results[name] = method(test.seen, settings[int(np.argmax(scores))])
    return results


def without_holes(test: Test, _: Test) -> dict[str, np.ndarray]:
    """Holes filled from what is around them."""
    nearest, smooth = [], []
    for image, lost in zip(test.seen, test.lost[..., 0], strict=True):
        rows, columns = ndimage.distance_transform_edt(
            lost, return_distances=False, return_indices=True
        )
        nearest.append(image[rows, columns])
        smooth.append(inpaint_biharmonic(image, lost > 0, channel_axis=-1))
    return {
        "nearest pixel": np.stack(nearest),
        "biharmonic": np.reshape(smooth, test.seen.shape),
    }


# ---- the picture ----


def save_rows(path: Path, test: Test, results: dict[str, np.ndarray]) -> None:
    """Draw test pictures, a row a method."""
    rows = {**results, "real": test.real}
    count = 10
    figure = Figure(figsize=(count * 1.1 + 1.2, len(rows) * 1.13), layout="constrained")
    grid = figure.subplots(len(rows), count)
    for axes, (title, pictures) in zip(grid, rows.items(), strict=True):
        for ax, picture in zip(axes, pictures, strict=False):
            ax.imshow(np.clip(picture, 0, 1).squeeze(), cmap="gray", vmin=0, vmax=1)
            ax.set(xticks=[], yticks=[])
        label = f"{title}\n{test.psnr(pictures):.1f} dB" if title != "real" else title
        axes[0].set_ylabel(label, rotation=0, ha="right", va="center", fontsize=10)
    figure.savefig(path, dpi=110)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--small", action="store_true", help="8x8 digits in place of CIFAR: seconds")
    add("--epochs", type=int, default=8, help="default: %(default)s")
    add("--width", type=int, default=32, help="features: %(default)s")
    add("--blocks", type=int, default=8, help="residual blocks: %(default)s")
    add("--batch-size", type=int, default=20, help="default: %(default)s")
    add("--learning-rate", type=float, default=2e-3, help="the highest: %(default)s")
    add("--pictures", type=int, default=1000, help="to test on: %(default)s")
    add("--seed", type=int, default=0, help="default: %(default)s")
    add("--out", type=Path, default="out/restore", help="default: %(default)s")
    return parser.parse_args(argv)


if __name__ == "__main__":
    nn.cache()  # the second run finds its programs compiled
    main()
