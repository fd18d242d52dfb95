# SPDX-License-Identifier: Apache-2.0
"""A variational auto-encoder of MNIST's digits: likelihood, samples, and a line of 3s.

The encoder gives a normal distribution over codes instead of one code; the decoder
gives the probability of every pixel. Both descend a bound on the negative logarithm of
the probability of the images, the negative ELBO, in nats: what it costs to describe an
image. Pixels are drawn as black or white, with their gray as the probability, anew in
each step, as is usual for this number (Burda et al., 2016). The bound with 500 draws of
the code is closer to the true value.

A second one is told the digit, and writes any digit on demand in many hands.

The data are looked for in $JAXNN_DATA, else downloaded once. The sizes were chosen by
the bound on a validation set, a twelfth of the training data.
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


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Train, measure, draw; returns the test bounds in nats."""
    args = parse(argv)
    train, test = nn.data.digits() if args.small else nn.data.mnist()
    train, held = nn.data.split(train, 1 / 12, seed=args.seed, stratify=True)
    sizes, code = ((64,), 8) if args.small else ((512, 384), 40)
    shape = train[0].shape[1:]
    print(f"{len(train[1]):,} images to train on, {len(test[1]):,} to test on")
    net = nn.models.vae(code, shape, sizes=sizes, activation=jax.nn.gelu)
    state, history = fit(net, train[0], held[0], args, args.epochs)
    several = nn.models.vae(code, shape, sizes=sizes, classes=10)
    print("told the digit")
    told, _ = fit(several, train, held, args, -(-args.epochs // 3))
    results = {
        "elbo": bound(nn.models.NegativeElbo(net, binarize=True), state, test[0]),
        "importance": bound(
            nn.models.ImportanceBound(net, args.draws, binarize=True), state, test[0]
        ),
        "conditional": bound(
            nn.models.NegativeElbo(several, binarize=True), told, test
        ),
    }
    history.plot(args.out / "learning_curves.png")
    draw(args.out, net, state, several, told, test, args.seed)
    print(
        f"test negative ELBO {results['elbo']:.2f} nats; with {args.draws} draws "
        f"{results['importance']:.2f}; told the digit {results['conditional']:.2f}"
    )
    return results


def fit(net: Any, train: Any, held: Any, args: argparse.Namespace, epochs: int) -> Any:
    """Train with a rate that falls to zero."""
    examples = len(jax.tree.leaves(train)[0])
    steps = epochs * -(-examples // args.batch_size)
    rate = optax.cosine_onecycle_schedule(steps, args.learning_rate)
    return nn.fit(
        net,
        train,
        objective=nn.models.NegativeElbo(net, binarize=True),
        optimizer=optax.adam(rate),
        epochs=epochs,
        batch_size=args.batch_size,
        key=jax.random.key(args.seed),
        validation=held,
        progress=True,
    )


def bound(objective: Any, state: Any, data: Any) -> float:
    """An objective's mean over test data."""
    return nn.evaluate(objective.net, state, data, objective=objective)["loss"]


def draw(
    folder: Path, net: Any, state: Any, several: Any, told: Any, test: tuple, seed: int
) -> None:
    """Draw samples, reconstructions, lines between digits, and digits on demand."""
    key = jax.random.key(seed)
    size = state.params["decoder"]["dense1"]["w"].shape[0]
    z = jax.random.normal(key, (100, size))
    save_sheet(folder / "samples.png", decode(net, state, z), 10, "Samples")
    some = test[0][:20]
    rebuilt = jax.nn.sigmoid(nn.predict(net, state, some))
    pairs = np.concatenate([some[:10], rebuilt[:10], some[10:], rebuilt[10:]])
    save_sheet(folder / "rebuilt.png", pairs, 10, "Test images and, below, rebuilt")
    encoder = state.params["encoder"], state.state.get("encoder", {})
    flat = jnp.asarray(test[0][:16]).reshape(16, -1)
    ends = nn.predict(net.encoder, encoder, flat)[:, :size].reshape(8, 2, size)
    share = jnp.linspace(0, 1, 10)[None, :, None]
    line = (1 - share) * ends[:, :1] + share * ends[:, 1:]
    images = decode(net, state, line.reshape(-1, size))
    save_sheet(folder / "lines.png", images, 10, "From one test image to another")
    hands = jnp.repeat(z[:8], 10, axis=0)
    labels = jax.nn.one_hot(jnp.tile(jnp.arange(10), 8), 10)
    images = decode(several, told, jnp.concatenate([hands, labels], -1))
    title = "Told the digit: in each row one code, one hand"
    save_sheet(folder / "on_demand.png", images, 10, title)
    for picture in sorted(folder.glob("*.png")):
        print(f"wrote {picture}")


def decode(net: Any, state: Any, z: jax.Array) -> np.ndarray:
    """The probabilities of the pixels for codes."""
    decoder = state.params["decoder"], state.state.get("decoder", {})
    return np.asarray(jax.nn.sigmoid(nn.predict(net.decoder, decoder, z)))


def save_sheet(path: Path, images: Any, columns: int, title: str) -> None:
    """Draw images `[N, H, W, 1]` side by side, a pixel of white between them."""
    padded = np.pad(np.asarray(images)[..., 0], ((0, 0), (0, 1), (0, 1)))
    rows, (_, high, wide) = len(padded) // columns, padded.shape
    sheet = padded.reshape(rows, columns, high, wide).swapaxes(1, 2)
    figure = Figure(figsize=(columns * 0.8, rows * 0.8 + 0.4), layout="constrained")
    axes = figure.subplots()
    axes.imshow(sheet.reshape(rows * high, -1), cmap="gray_r", vmin=0, vmax=1)
    axes.set(title=title, xticks=[], yticks=[])
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--small", action="store_true", help="8x8 digits in place of MNIST: seconds")
    add("--epochs", type=int, default=90, help="default: %(default)s")
    add("--batch-size", type=int, default=256, help="default: %(default)s")
    add("--learning-rate", type=float, default=3e-3, help="the highest: %(default)s")
    add("--draws", type=int, default=500, help="of the code: %(default)s")
    add("--seed", type=int, default=0, help="default: %(default)s")
    add("--out", type=Path, default="out/vae", help="default: %(default)s")
    return parser.parse_args(argv)


if __name__ == "__main__":
    nn.cache()  # the second run finds its programs compiled
    main()
