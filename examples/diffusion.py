# SPDX-License-Identifier: Apache-2.0
"""Digits out of noise: a flow from normal numbers to MNIST, told which digit to write.

A U-Net learns the velocity at which a point on the straight line between an image and
noise moves (flow matching). Integrated from noise, the velocity leads to new digits.
It is told the digit, and in a tenth of the examples nothing, so that what the digit
says can be exaggerated when drawing (classifier-free guidance). The digits are measured
as in `gan.py`, and the picture of steps against quality says how many are needed.

The network sees each square of four pixels as one with four channels: nothing is lost,
and at half the size a step takes a fraction of the time.

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
import yardstick
from matplotlib.figure import Figure
from vae import save_sheet

import jaxnn as nn

NOTHING = 10  # the label that says nothing
STEPS = (5, 10, 20, 50)


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Train, draw, measure; returns the Fréchet distance by steps."""
    args = parse(argv)
    train, (real, _) = nn.data.digits() if args.small else nn.data.mnist()
    images, labels = squares(2 * train[0] - 1), train[1]
    shape = images.shape[1:]
    print(f"{len(images):,} images to learn from")
    width = 8 if args.small else 16
    net = nn.models.denoiser(4, classes=10, width=width, multipliers=(1, 2))
    steps = args.epochs * -(-len(images) // args.batch_size)
    warm = min(300, steps // 3)
    rate = optax.warmup_cosine_decay_schedule(0, args.learning_rate, warm, steps)
    state, history = nn.fit(
        net,
        (images, labels),
        objective=nn.diffusion.flow_objective(null=NOTHING, drop=0.1),
        optimizer=nn.optimizers.ema(optax.adam(rate), 0.999),
        epochs=args.epochs,
        batch_size=args.batch_size,
        key=jax.random.key(args.seed),
        progress=True,
    )
    nn.save(args.out / "network.safetensors", state, spec=net)
    state = nn.optimizers.averaged(state)
    history.plot(args.out / "learning_curves.png")
    draw(args, net, state, shape)
    if args.small:
        return {"loss": history["loss"][-1]}
    results = {n: score(args, net, state, shape, real, n) for n in STEPS}
    results["guided"] = score(args, net, state, shape, real, STEPS[-1], args.guidance)
    save_steps(args.out / "steps.png", {n: results[n] for n in STEPS})
    for picture in sorted(args.out.glob("*.png")):
        print(f"wrote {picture}")
    for n in STEPS:
        print(f"{n:3} steps: Fréchet distance {results[n].distance:.2f}")
    best, guided = results[STEPS[-1]], results["guided"]
    print(
        f"Fréchet distance {best.distance:.2f}, inception score {best.surety:.2f}, "
        f"digits from {best.shares.min():.1%} to {best.shares.max():.1%}; guided by "
        f"{args.guidance} {guided.distance:.2f} and {guided.surety:.2f}"
    )
    return {str(n): found.distance for n, found in results.items()}


def squares(images: Any) -> np.ndarray:
    """Images `[N, H, W, 1]` as `[N, H / 2, W / 2, 4]`."""
    return np.asarray(nn.PixelUnshuffle(2).apply({}, {}, jnp.asarray(images))[0])


def pixels(made: Any) -> np.ndarray:
    """Images from 0 to 1 `[N, H, W, 1]` of what the network draws."""
    images, _ = nn.PixelShuffle(2).apply({}, {}, jnp.asarray(made))
    return np.clip((np.asarray(images) + 1) / 2, 0, 1)


def sample(net: Any, state: Any, start: Any, labels: Any, steps: int, **more) -> Any:
    """Images from 0 to 1."""
    options = {"condition": jnp.asarray(labels), "null": NOTHING, **more}
    return pixels(nn.diffusion.heun(net, state, start, steps=steps, **options))


def score(args, net, state, shape, real, steps, guidance=None) -> yardstick.Score:
    """Measure generated digits, as many of each."""
    parts = []
    for i in range(args.samples // 1000):
        key = jax.random.key(args.seed + 10 + i)
        labels, more = jnp.arange(1000) % 10, {"key": key, "guidance": guidance}
        parts.append(sample(net, state, (1000, *shape), labels, steps, **more))
    return yardstick.measure(np.concatenate(parts), real)


def draw(args: argparse.Namespace, net: Any, state: Any, shape: tuple) -> None:
    """Draw digits on demand, and a strip from noise to digit."""
    labels, key = jnp.tile(jnp.arange(10), 8), jax.random.key(args.seed + 1)
    options = {"key": key, "guidance": args.guidance}
    made = sample(net, state, (80, *shape), labels, 20, **options)
    save_sheet(args.out / "digits.png", made, 10, "Digits on demand")
    noise = jax.random.normal(key, (10, *shape))
    strip = [noise]
    variables = state.params, state.state
    for t in jnp.linspace(1.0, 0.1, 10):
        given = strip[-1], jnp.full(10, t), jnp.arange(10)
        velocity, _ = net.apply(*variables, given)
        strip.append(strip[-1] - 0.1 * velocity)
    images = pixels(jnp.stack(strip, 1).reshape(-1, *shape))
    title = "From noise to digit, in ten steps of Euler's method"
    save_sheet(args.out / "strip.png", images, 11, title)


def save_steps(path: Path, results: dict[int, yardstick.Score]) -> None:
    """Draw the distance over the number of steps."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(list(results), [s.distance for s in results.values()], "o-")
    axes.set(xscale="log", xlabel="steps of Heun's method (two calls each)")
    axes.set(ylabel="Fréchet distance", title="Steps against quality")
    axes.set_xticks(list(results), [str(n) for n in results])
    axes.minorticks_off()
    axes.set_ylim(0, None)
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=110)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--small", action="store_true", help="8x8 digits in place of MNIST: seconds")
    add("--epochs", type=int, default=4, help="default: %(default)s")
    add("--batch-size", type=int, default=64, help="default: %(default)s")
    add("--learning-rate", type=float, default=2e-3, help="the highest: %(default)s")
    add("--guidance", type=float, default=2.0, help="default: %(default)s")
    add("--samples", type=int, default=2000, help="to measure: %(default)s")
    add("--seed", type=int, default=0, help="default: %(default)s")
    add("--out", type=Path, default="out/diffusion", help="default: %(default)s")
    return parser.parse_args(argv)


if __name__ == "__main__":
    nn.cache()  # the second run finds its programs compiled
    main()
