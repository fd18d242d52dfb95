# SPDX-License-Identifier: Apache-2.0
"""What augmentation adds to a step of training.

The small CNN 32c3-pool-64c3-pool-128-10 on 28x28 pictures in batches of 128, by SGD,
trained by `fit` without augmentation, with rotation, shift and scale as one map, and
with elastic distortion as well. They take turns, round by round; the table shows each
one's median time of a step and the median over the rounds of its ratio to that without.
"""

import argparse
import statistics
import time
from typing import Any

import jax
import numpy as np
import optax

import jaxnn as nn
from jaxnn.data import augment

affine = augment.chain(augment.rotate(15), augment.shift(2), augment.scale(0.1))
CHOICES = {
    "none": None,
    "rotate, shift, scale": affine,
    "and elastic": augment.chain(affine, augment.elastic()),
}
loss, optimizer = nn.losses.softmax_cross_entropy, optax.sgd(0.01)
net = nn.Sequential(
    nn.Conv(32, 3),
    jax.nn.relu,
    nn.MaxPool(2),
    nn.Conv(64, 3),
    jax.nn.relu,
    nn.MaxPool(2),
    nn.Flatten(),
    nn.Dense(128),
    jax.nn.relu,
    nn.Dense(10),
)


def main(argv: list[str] | None = None) -> dict[str, float]:
    """Measure and print; gives each choice's ratio to training without."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=60, help="a turn, %(default)s")
    parser.add_argument("--rounds", type=int, default=7, help="turns, %(default)s")
    args = parser.parse_args(argv)
    rng, count = np.random.default_rng(0), 128 * args.steps
    images = rng.uniform(0, 1, (count, 28, 28, 1)).astype(np.float32)
    data = images, rng.integers(0, 10, count)
    states: dict[str, Any] = {name: turn(data, CHOICES[name], 1) for name in CHOICES}
    taken: dict[str, list[float]] = {name: [] for name in CHOICES}
    for number in range(args.rounds):
        for name, chosen in CHOICES.items():
            start = time.perf_counter()
            states[name] = turn(data, chosen, number + 2, states[name])
            taken[name].append((time.perf_counter() - start) / args.steps)
    ratios = {}
    for name, times in taken.items():
        pairs = zip(times, taken["none"], strict=True)
        ratios[name] = statistics.median(own / bare for own, bare in pairs)
        step = 1000 * statistics.median(times)
        print(f"{name:22} {step:7.2f} ms a step   x {ratios[name]:.3f}")
    return ratios


def turn(data: tuple, chosen: Any, epochs: int, state: Any = None) -> Any:
    """One more epoch; gives the state after it."""
    key = jax.random.key(0) if state is None else None
    return nn.fit(
        net,
        data,
        loss=loss,
        optimizer=optimizer,
        epochs=epochs,
        batch_size=128,
        key=key,
        state=state,
        augment=chosen,
        progress=False,
    )[0]


if __name__ == "__main__":
    main()
