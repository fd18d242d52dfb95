# SPDX-License-Identifier: Apache-2.0
"""What memory costs: page faults of steps called by hand, and bytes of training.

The first table: a `train_step` called from Python against the loop inside `fit`'s
program, without and with `nn.keep_memory()`, each in a process of its own: the median
time of a step, and the page faults a step (Linux counts one for each 4 KB that a
program gets anew). The two ways take turns, round by round.

The second: the bytes of XLA's plan for a step of a deep network (`history.memory`),
whole, in micro-batches, and with `Remat`.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxnn as nn

WORKS = ("LSTM", "CNN", "ResNet-20")


def main(argv: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="turns, %(default)s")
    parser.add_argument("--steps", type=int, default=20, help="a turn, %(default)s")
    parser.add_argument("--only", nargs="+", choices=WORKS, default=WORKS)
    parser.add_argument("--one", choices=("kept", "usual"), help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.one:
        if args.one == "kept":
            nn.keep_memory()
        print(*turns(args.only[0], args.rounds, args.steps))
        return
    print("network    memory   by hand ms  faults   in fit ms  faults   ratio")
    for name in args.only:
        for kind in ("usual", "kept"):
            own = ["--rounds", str(args.rounds), "--steps", str(args.steps)]
            command = [sys.executable, __file__, "--one", kind, "--only", name, *own]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            hand, faults, loop, fewer = map(float, done.stdout.split())
            print(
                f"{name:10} {kind:6} {hand:12.1f} {faults:7,.0f} {loop:11.1f} "
                f"{fewer:7,.0f} {hand / loop:7.2f}",
                flush=True,
            )
    for name, size in sizes().items():
        print(f"{name:24} {size / 1e6:8.1f} MB")


def turns(name: str, rounds: int, steps: int) -> list[float]:
    """Milliseconds and page faults of a step by hand, and of one in the loop."""
    net, batch_size, (x, y) = work(name, steps)
    optimizer = optax.sgd(0.01, momentum=0.9)
    step = nn.train_step(net, nn.losses.softmax_cross_entropy, optimizer)
    state = nn.train_state(net, optimizer, x[:1], key=jax.random.key(0))
    by_hand = jax.jit(step, donate_argnums=0)
    batches = [(a, b) for a, b in zip(*map(cut(steps), (x, y)), strict=True)]

    def called(state: Any) -> Any:
        for batch in batches:
            state, _ = by_hand(state, batch)
        return state

    @jax.jit
    def looped(state: Any) -> Any:
        return nn.train_epoch(step, state, (x, y), batch_size=batch_size)[0]

    ways: tuple[Callable[[Any], Any], ...] = called, looped
    times: list[list[float]] = [[], []]
    faults: list[list[float]] = [[], []]
    for number in range(rounds + 2):
        for way, own, missed in zip(ways, times, faults, strict=True):
            start, before = time.perf_counter(), page_faults()
            state = jax.block_until_ready(way(state))
            if number > 1:  # the first turns compile and fill what is kept
                own.append(1000 * (time.perf_counter() - start) / steps)
                missed.append((page_faults() - before) / steps)
    medians = [map(statistics.median, both) for both in (times, faults)]
    return [number for pair in zip(*medians, strict=True) for number in pair]


def page_faults() -> int:
    """Those of this process so far that took no disk."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def cut(steps: int) -> Callable[[jax.Array], list[jax.Array]]:
    """A function that splits rows into batches."""
    return lambda a: list(a.reshape(steps, -1, *a.shape[1:]))


def work(name: str, steps: int) -> tuple[nn.Layer, int, tuple[jax.Array, jax.Array]]:
    """A network, its batch size, and data for some steps."""
    rng = np.random.default_rng(0)
    if name == "LSTM":
        net = nn.Sequential(nn.Embed(80, 64), nn.lstm(256), nn.Dense(80))
        text = rng.integers(0, 80, (64 * steps, 65), np.int32)
        return net, 64, (jnp.asarray(text[:, :-1]), jnp.asarray(text[:, 1:]))
    if name == "CNN":
        body = (nn.Conv(32, 3), jax.nn.relu, nn.MaxPool(2))
        body += (nn.Conv(64, 3), jax.nn.relu, nn.MaxPool(2), nn.Flatten())
        net = nn.Sequential(*body, nn.Dense(128), jax.nn.relu, nn.Dense(10))
        batch_size, shape = 128, (28, 28, 1)
    else:
        net, batch_size, shape = nn.models.cifar_resnet(20), 64, (32, 32, 3)
    x = rng.uniform(0, 1, (batch_size * steps, *shape)).astype(np.float32)
    labels = rng.integers(0, 10, batch_size * steps, np.int32)
    return net, batch_size, (jnp.asarray(x), jnp.asarray(labels))


def sizes() -> dict[str, int]:
    """Bytes that a step of a deep network takes, in several ways."""
    block = nn.Sequential(nn.Dense(256), jnp.tanh, nn.Dense(256), jnp.tanh)
    x = jnp.ones((2048, 256))
    plain = nn.Repeat(block, 16)
    ways = {
        "16 blocks": (plain, 1),
        "in 4 micro-batches": (plain, 4),
        "with Remat": (nn.Repeat(nn.Remat(block), 16), 1),
    }
    return {name: size(net, x, pieces) for name, (net, pieces) in ways.items()}


def size(net: nn.Layer, x: jax.Array, microbatches: int) -> int:
    """What `fit` says of one step."""
    about = nn.losses.mean_squared_error, optax.sgd(0.01)
    step = nn.train_step(net, *about, microbatches=microbatches)
    state = nn.train_state(net, about[1], x[:1], key=jax.random.key(0))
    usual: dict[str, Any] = {"epochs": 1, "batch_size": len(x), "progress": False}
    _, history = nn.fit(step, (x, x), state=state, donate=True, **usual)
    return history.memory


if __name__ == "__main__":
    main()
