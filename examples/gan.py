# SPDX-License-Identifier: Apache-2.0
"""Two networks against each other: a generator of digits and a critic of them.

The critic learns to tell real digits from made ones, and the generator to be taken for
real. Three pairs of losses can be chosen: the classic one, the hinge, and Wasserstein's
with a gradient penalty. The critic's weights have spectral norm 1, except with the
penalty, which limits its slope as well. Generated digits are measured by the classifier
of `yardstick.py`: the Fréchet distance of what it sees in them to what it sees in real
ones, and the share of each digit. They are those of an average of the generator's
weights over the last steps.

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
from vae import save_sheet

import jaxnn as nn

CODE = 64
CRITIC = {
    "classic": nn.losses.critic_classic,
    "hinge": nn.losses.critic_hinge,
    "wasserstein": nn.losses.critic_wasserstein,
}
GENERATOR = {
    "classic": nn.losses.generator_classic,
    "hinge": nn.losses.generator_hinge,
    "wasserstein": nn.losses.generator_wasserstein,
}


def game(kind: str, args: argparse.Namespace) -> tuple[nn.Layer, Any]:
    """The two networks, and the step that trains them."""
    penalized = kind == "wasserstein"
    norms = {"spectral_norm": not penalized, "batch_norm": not penalized}
    side = 8 if args.small else 28
    net = nn.models.dcgan(side, 1, width=16 if args.small else 64, **norms)

    def made(run, key, examples):
        return run("generator", jax.random.normal(key, (examples, CODE)))

    def critic(run, real):
        z_key, u_key = jax.random.split(run.key)
        fake = made(run, z_key, len(real))
        values = CRITIC[kind](run("critic", real), run("critic", fake))
        if penalized:
            slope = nn.losses.gradient_penalty(
                lambda x: run("critic", x), real, fake, u_key
            )
            values += 10 * slope
        return values

    def generator(run, real):
        return GENERATOR[kind](run("critic", made(run, run.key, len(real))))

    adam = optax.adam(args.learning_rate, b1=0.5)
    step = nn.train.players(
        net,
        critic=nn.train.Player(critic, adam, params="critic"),
        generator=nn.train.Player(
            generator,
            nn.optimizers.ema(adam, 0.999),
            params="generator",
            every=3 if penalized else 1,
        ),
    )
    return net, step


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Train, measure, draw; returns the Fréchet distance and the shares of digits."""
    args = parse(argv)
    (images, _), (real, _) = nn.data.digits() if args.small else nn.data.mnist()
    print(f"{len(images):,} images to learn from")
    net, step = game(args.loss, args)
    z = jax.random.normal(jax.random.key(args.seed + 1), (100, CODE))
    over_time = []

    def look(epoch, state, history):
        if epoch in (1, 2, 3, 5, 8, 12, 16, 20, args.epochs):
            over_time.append(generate(net, state, z[:16]))

    state, history = nn.fit(
        step,
        2 * images - 1,
        state=step.start(z[:1], key=jax.random.key(args.seed)),
        epochs=args.epochs,
        batch_size=args.batch_size,
        callbacks=[look],
        progress=True,
    )
    history.plot(args.out / "learning_curves.png")
    save_sheet(args.out / "digits.png", generate(net, state, z), 10, "Generated digits")
    title = "The same noise over the epochs, from above"
    save_sheet(args.out / "over_time.png", np.concatenate(over_time), 16, title)
    for picture in sorted(args.out.glob("*.png")):
        print(f"wrote {picture}")
    if args.small:
        return {"critic": history["critic_loss"][-1]}
    many = jax.random.normal(jax.random.key(args.seed + 2), (10_000, CODE))
    score = yardstick.measure(generate(net, state, many), real)
    floor = yardstick.measure(images[:10_000], real)
    print(
        f"Fréchet distance {score.distance:.2f} (real training images "
        f"{floor.distance:.2f}), inception score {score.surety:.2f}, digits from "
        f"{score.shares.min():.1%} to {score.shares.max():.1%} of the samples"
    )
    return {"distance": score.distance, "least": float(score.shares.min())}


def generate(net: Any, state: Any, z: jax.Array) -> np.ndarray:
    """Images from 0 to 1 of codes, by the averaged generator."""
    params = nn.optimizers.averaged(state).params["generator"]
    made = nn.predict(net.generator, (params, state.state.get("generator", {})), z)
    return np.asarray(jnp.clip((made + 1) / 2, 0, 1))


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--small", action="store_true", help="8x8 digits in place of MNIST: seconds")
    add("--loss", choices=list(CRITIC), default="hinge", help="default: %(default)s")
    add("--epochs", type=int, default=8, help="default: %(default)s")
    add("--batch-size", type=int, default=64, help="default: %(default)s")
    add("--learning-rate", type=float, default=2e-4, help="default: %(default)s")
    add("--seed", type=int, default=0, help="default: %(default)s")
    add("--out", type=Path, default="out/gan", help="default: %(default)s")
    return parser.parse_args(argv)


if __name__ == "__main__":
    nn.cache()  # the second run finds its programs compiled
    main()
