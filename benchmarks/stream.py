# SPDX-License-Identifier: Apache-2.0
"""What it costs that batches come from the host or a disk, and not from the device.

The small CNN 32c3-pool-64c3-pool-128-10 on 28x28 pictures in batches of 128, by SGD,
trained by `fit` on arrays on the device; on the same arrays left on the host, and in
files (`np.memmap`); on a function that makes batches; on Grain and on PyTorch's
DataLoader where they are installed. They take turns, round by round; the table shows
each one's median time of a step, compiling and starting left out, and the median over
the rounds of its ratio to arrays on the device.
"""

import argparse
import importlib.util
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
from augmentation import loss, net

import jaxnn as nn

BATCH = 128


def main(argv: list[str] | None = None) -> dict[str, float]:
    """Measure and print; gives each source's ratio to arrays on the device."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=60, help="a turn, %(default)s")
    parser.add_argument("--rounds", type=int, default=7, help="turns, %(default)s")
    args = parser.parse_args(argv)
    rng, count = np.random.default_rng(0), BATCH * args.steps
    images = rng.uniform(0, 1, (count, 28, 28, 1)).astype(np.float32)
    arrays = images, rng.integers(0, 10, count, np.int32)
    with tempfile.TemporaryDirectory() as folder:
        found = sources(arrays, Path(folder))
        states: dict[str, Any] = {name: turn(found[name], 1)[0] for name in found}
        taken: dict[str, list[float]] = {name: [] for name in found}
        for number in range(args.rounds):
            for name, source in found.items():
                states[name], seconds = turn(source, number + 2, states[name])
                taken[name].append(seconds / args.steps)
    ratios = {}
    for name, times in taken.items():
        pairs = zip(times, taken["arrays"], strict=True)
        ratios[name] = statistics.median(own / bare for own, bare in pairs)
        step = 1000 * statistics.median(times)
        print(f"{name:24} {step:7.2f} ms a step   x {ratios[name]:.3f}")
    return ratios


def sources(arrays: tuple, folder: Path) -> dict[str, tuple[Any, dict[str, Any]]]:
    """From each source's name to the data, and the options of `fit`."""
    images, labels = arrays
    images.tofile(folder / "images")
    files = np.memmap(folder / "images", images.dtype, "r", shape=images.shape)

    def batches() -> Iterator[tuple]:
        order = np.random.default_rng().permutation(len(labels))
        for rows in order.reshape(-1, BATCH):
            yield images[rows], labels[rows]

    sized = {"batch_size": BATCH}
    found = {
        "arrays": (arrays, sized),
        "arrays on the host": (arrays, sized | {"on_device": False}),
        "arrays in files": ((files, labels), sized),
        "a function": (batches, {}),
    }
    rows = Rows(arrays)
    if importlib.util.find_spec("grain"):
        import grain

        source = grain.MapDataset.source(rows)
        made = nn.data.from_grain(
            lambda epoch: source.shuffle(seed=epoch).batch(BATCH), threads=2
        )
        found["Grain"] = made, {}
    if importlib.util.find_spec("torch"):
        from torch.utils.data import DataLoader

        found["PyTorch's DataLoader"] = DataLoader(rows, BATCH, shuffle=True), {}
    return found


class Rows:
    """Arrays as a sequence of examples, as loaders take it."""

    def __init__(self, arrays: tuple):
        self.arrays = arrays

    def __len__(self) -> int:
        return len(self.arrays[1])

    def __getitem__(self, i: int) -> tuple:
        return tuple(a[i] for a in self.arrays)


def turn(source: tuple, epochs: int, state: Any = None) -> tuple[Any, float]:
    """One more epoch; gives the state after it and the seconds of its run."""
    data, options = source
    start = time.perf_counter()
    state, history = nn.fit(
        net,
        data,
        loss=loss,
        optimizer=optax.sgd(0.01),
        epochs=epochs,
        key=jax.random.key(0) if state is None else None,
        state=state,
        progress=False,
        **options,
    )
    compiling = history.seconds["trace"] + history.seconds["compile"]
    return state, time.perf_counter() - start - compiling


if __name__ == "__main__":
    main()
