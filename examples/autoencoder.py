# SPDX-License-Identifier: Apache-2.0
"""Digits in a code of 2 or 32 numbers: auto-encoders against principal components.

An encoder squeezes an image into a few numbers, and a decoder rebuilds the image from
them; nobody says what the numbers mean. The best that a linear code of the same size
can do is principal component analysis (PCA). The error is the squared error per test
image. Two more are trained: one whose decoder has the encoder's weights, transposed,
and one that gets noisy images and rebuilds the clean ones.

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

loss = nn.losses.sum_squared_error


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Train, compare with PCA, draw; returns the test errors."""
    args = parse(argv)
    (images, _), test = nn.data.digits() if args.small else nn.data.mnist()
    shape, sizes = images.shape[1:], (64,) if args.small else (512, 128)
    codes = (2, 8) if args.small else (2, 32)
    print(f"{len(images):,} images to train on, {len(test[0]):,} to test on")
    errors: dict[str, float] = {}
    states: dict[Any, Any] = {}
    for name, code, options in (
        *((f"{code} numbers", code, {}) for code in codes),
        ("tied weights", codes[1], {"tied": True}),
    ):
        print(name)
        net = nn.models.autoencoder(code, shape, sizes=sizes, **options)
        states[name] = net, train(net, images, images, args)
        errors[name] = tested(*states[name], test[0], test[0])
    for code in codes:
        errors[f"PCA {code}"] = pca_error(images, test[0], code)
    print("denoising")
    noisy = [with_noise(a, args.seed + i) for i, a in enumerate((images, test[0]))]
    states["noise"] = net, train(net, noisy[0], images, args)
    errors["denoised"] = tested(*states["noise"], noisy[1], test[0])
    errors["noisy"] = float(np.square(noisy[1] - test[0]).sum((1, 2, 3)).mean())
    draw(args.out, states, codes, test, noisy[1])
    for name, error in errors.items():
        print(f"{name:14} squared error {error:.2f} per test image")
    small, large = (errors[f"{c} numbers"] / errors[f"PCA {c}"] for c in codes)
    print(
        f"of PCA's error, {codes[0]} numbers leave {small:.0%} and {codes[1]} numbers "
        f"{large:.0%}; noise falls to {errors['denoised'] / errors['noisy']:.0%}"
    )
    return errors


def train(net: nn.Layer, inputs: np.ndarray, targets: np.ndarray, args: Any) -> Any:
    """Train a network to give the targets."""
    steps = args.epochs * -(-len(inputs) // 128)
    rate = optax.cosine_onecycle_schedule(steps, args.learning_rate)
    state, _ = nn.fit(
        net,
        (inputs, targets),
        loss=loss,
        optimizer=optax.adam(rate),
        epochs=args.epochs,
        batch_size=128,
        key=jax.random.key(args.seed),
        progress=True,
    )
    return state


def tested(net: nn.Layer, state: Any, inputs: np.ndarray, targets: np.ndarray) -> float:
    """The squared error per test image."""
    return nn.evaluate(net, state, (inputs, targets), loss=loss)["loss"]


def pca_error(images: np.ndarray, test: np.ndarray, size: int) -> float:
    """The squared error per test image of as many principal components."""
    mean = images.mean(0)
    centered = (images - mean).reshape(len(images), -1)
    _, vectors = np.linalg.eigh(centered.T @ centered)
    held, basis = (test - mean).reshape(len(test), -1), vectors[:, -size:]
    return float(np.square(held - held @ basis @ basis.T).sum(1).mean())


def with_noise(images: np.ndarray, seed: int) -> np.ndarray:
    """Images with normal noise of standard deviation 0.4 on each pixel."""
    noise = np.random.default_rng(seed).normal(0, 0.4, images.shape)
    return (images + noise).astype(np.float32)


def draw(
    folder: Path, states: dict, codes: tuple[int, int], test: tuple, noisy: np.ndarray
) -> None:
    """Draw the plane of the smallest code, and images before and after."""
    folder.mkdir(parents=True, exist_ok=True)
    net, state = states[f"{codes[0]} numbers"]
    draw_plane(folder / "plane.png", net, state, test)
    rows = {"test image": test[0]}
    for code in codes:
        rows[f"{code} numbers"] = nn.predict(*states[f"{code} numbers"], test[0][:10])
    rows |= {"noisy": noisy, "denoised": nn.predict(*states["noise"], noisy[:10])}
    draw_rows(folder / "rebuilt.png", rows)
    for picture in sorted(folder.glob("*.png")):
        print(f"wrote {picture}")


def draw_plane(path: Path, net: Any, state: Any, test: tuple) -> None:
    """Draw test images as points in the plane of the code, and what the plane holds."""
    images, labels = test[0][:5000], test[1][:5000]
    encoder = state.params["encoder"], state.state.get("encoder", {})
    code = np.asarray(nn.predict(net.encoder, encoder, images))
    low, high = np.percentile(code, [2, 98], axis=0)
    figure = Figure(figsize=(12, 6), layout="constrained")
    points, tiles = figure.subplots(1, 2)
    dots = points.scatter(*code.T, c=labels, cmap="tab10", s=4, vmin=-0.5, vmax=9.5)
    figure.colorbar(dots, ax=points, ticks=range(10), label="digit")
    points.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), title="Test images")
    across = np.linspace(low, high, 16)
    grid = np.stack(np.meshgrid(across[:, 0], across[::-1, 1]), -1).reshape(-1, 2)
    decoder = state.params["decoder"], state.state.get("decoder", {})
    made = np.asarray(nn.predict(net.decoder, decoder, grid.astype(np.float32)))
    side = made.shape[1]
    sheet = made.reshape(16, 16, side, side).swapaxes(1, 2).reshape(16 * side, -1)
    tiles.imshow(sheet, cmap="gray_r", vmin=0, vmax=1)
    tiles.set(title="What the decoder makes of each place", xticks=[], yticks=[])
    figure.savefig(path, dpi=100)


def draw_rows(path: Path, rows: dict[str, Any]) -> None:
    """Draw ten images of each kind."""
    figure = Figure(figsize=(10, 0.95 * len(rows)), layout="constrained")
    grid = figure.subplots(len(rows), 11)
    for line, (name, images) in zip(grid, rows.items(), strict=True):
        line[0].text(1, 0.5, name, ha="right", va="center")
        for axes, image in zip(line[1:], jnp.asarray(images)[:10], strict=True):
            axes.imshow(image[..., 0], cmap="gray_r", vmin=0, vmax=1)
        for axes in line:
            axes.set_axis_off()
    figure.savefig(path, dpi=110)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--small", action="store_true", help="8x8 digits in place of MNIST: seconds")
    add("--epochs", type=int, default=8, help="default: %(default)s")
    add("--learning-rate", type=float, default=2e-3, help="the highest: %(default)s")
    add("--seed", type=int, default=0, help="default: %(default)s")
    add("--out", type=Path, default="out/autoencoder", help="default: %(default)s")
    return parser.parse_args(argv)


if __name__ == "__main__":
    nn.cache()  # the second run finds its programs compiled
    main()
