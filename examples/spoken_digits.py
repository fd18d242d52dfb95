# SPDX-License-Identifier: Apache-2.0
"""Recognize spoken digits: sound as a picture, and a small convolutional network.

A recording is a row of some thousand numbers, the pressure of the air 8,000 times a
second. Nobody hears these; the ear hears pitches. So each piece of 32 milliseconds is
taken apart into its pitches by a Fourier transform, and these are gathered in 32 bands,
narrow for low ones and wide for high ones, as in the ear (the mel scale). The logarithm
of how loud each band is, piece after piece, is a picture with time from left to right.
Loudness is measured from the loudest point of a recording, down to 60 decibels less:
whether somebody is near the microphone does not matter.

The Free Spoken Digit Dataset has ten digits, by six people, fifty times each. Its
official test are the first five takes of each; the people are the same as in training.
That is the easier half of the question. The harder: how well does the network
understand somebody whom it has never heard? So it is trained six times more, each time
without one of the people, and tested on that one.

Training pictures are shifted at random, in time and in pitch: a voice may be higher.
Network and training were chosen with takes 5 to 9 held back, and with the other takes
of two of the six speakers held out, whose figures this favors a little.
"""

import argparse
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.figure import Figure

import jaxnn as nn

RATE = 8000  # samples a second
LENGTH = 8192  # samples, about a second: 20 of the 3,000 recordings are longer
FRAME = {"window": 0.032, "hop": 0.016}  # seconds; 256 samples are one FFT
DECIBELS = 60  # what is quieter than the loudest point by more is silence
loss = nn.losses.softmax_cross_entropy
metrics = {"accuracy": nn.metrics.accuracy}


class Recordings(NamedTuple):
    """Sounds as pictures `[N, time, pitch, 1]`; what, who and which take they are."""

    pictures: np.ndarray
    labels: np.ndarray
    speakers: np.ndarray
    takes: np.ndarray
    names: Sequence[str]

    def part(self, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The pictures and labels of some."""
        return self.pictures[chosen], self.labels[chosen]


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Train and test on both splits, draw; returns the accuracies."""
    args = parse(argv)
    title, data = load_data(args.small)
    test = data.takes < 5
    net = network(width=8 if args.small else 16)
    batch_size = 10 if args.small else 50
    print(f"{title}: {np.sum(~test):,} to train on, {np.sum(test):,} to test on")
    print(nn.summary(net, data.pictures[:50]))
    state = learn(net, data.part(~test), args.epochs, batch_size, args.seed)
    result = {"official": score(net, state, data.part(test))}
    save_pictures(args.out / "spectrograms.png", data)
    nn.pictures.confusion_matrix(
        (net, state, data.part(test)), args.out / "confusion.png"
    )
    print(f"people known from training: {result['official']:.2%} right")
    for i, name in enumerate(data.names):
        own = data.speakers == i
        state = learn(net, data.part(~own), args.epochs, batch_size, args.seed)
        result[name] = score(net, state, data.part(own))
        print(f"{name}, never heard in training: {result[name]:.2%} right")
    result["strangers"] = float(np.mean([result[name] for name in data.names]))
    save_people(args.out / "speakers.png", result, data.names)
    for name in ("spectrograms", "confusion", "speakers"):
        print(f"wrote {args.out / name}.png")
    print(
        f"{title}: accuracy {result['official']:.2%} on the test takes, "
        f"{result['strangers']:.2%} on average on people never heard in training"
    )
    return result


def network(width: int) -> nn.Layer:
    """Three convolutions; what they find at each pitch, averaged over time, decides."""
    return nn.Sequential(
        nn.Conv(width, 5, stride=2, bias=False),
        nn.BatchNorm(),
        jax.nn.relu,
        nn.MaxPool(2),
        nn.Conv(2 * width, 3, bias=False),
        nn.BatchNorm(),
        jax.nn.relu,
        nn.MaxPool(2),
        nn.Conv(4 * width, 3, bias=False),
        nn.BatchNorm(),
        jax.nn.relu,
        over_time,
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Dense(10),
    )


def over_time(maps: jax.Array) -> jax.Array:
    """The mean over time of maps `[N, time, pitch, channels]`."""
    return maps.mean(1)


def learn(
    net: nn.Layer, data: tuple, epochs: int, batch_size: int, seed: int
) -> nn.TrainState:
    """Train with a learning rate that rises and falls once."""
    steps = epochs * -(-len(data[0]) // batch_size)
    state, _ = nn.fit(
        net,
        data,
        loss=loss,
        optimizer=optax.adam(optax.cosine_onecycle_schedule(steps, 0.005)),
        epochs=epochs,
        batch_size=batch_size,
        key=jax.random.key(seed),
        metrics=metrics,
        augment=nn.data.augment.shift(2),
        progress=True,
    )
    return state


def score(net: nn.Layer, state: nn.TrainState, data: tuple) -> float:
    """The share of digits recognized."""
    return nn.evaluate(net, state, data, metrics=metrics, batch_size=100)["accuracy"]


# ---- data ----


def load_data(small: bool) -> tuple[str, Recordings]:
    """The title of the data, and the recordings as pictures."""
    if small:
        print("--small: whistles, a stand-in for spoken digits")
        clips, labels, speakers, takes = whistles()
        title, names = "whistles", ("near", "far")
    else:
        title, digits = "spoken digits", nn.data.spoken_digits()
        clips, labels, speakers, takes, names, _ = digits
    pictures = np.concatenate(
        [spectrograms(whole(clips[i : i + 100])) for i in range(0, len(clips), 100)]
    )
    return title, Recordings(pictures, labels, speakers, takes, names)


def whole(clips: Sequence[np.ndarray]) -> np.ndarray:
    """Clips of one length `[N, LENGTH]`, ends cut off or filled up with silence."""
    cut = [clip[:LENGTH] for clip in clips]
    return np.stack([np.pad(clip, (0, LENGTH - len(clip))) for clip in cut])


@jax.jit
def spectrograms(waves: jax.Array) -> jax.Array:
    """Waves `[N, T]` as pictures `[N, time, pitch, 1]`: 0 is silence, 1 the loudest."""
    loudness = nn.data.log_mel(waves, RATE, mels=32, **FRAME)
    loudest = loudness.max((1, 2), keepdims=True)
    nats = DECIBELS / 10 * jnp.log(10.0)
    return jnp.maximum(1 + (loudness - loudest) / nats, 0)[..., None]


def whistles() -> tuple[list, np.ndarray, np.ndarray, np.ndarray]:
    """Whistles that glide from one pitch to another, near by, and far with noise."""
    rng = np.random.default_rng(0)
    labels, speakers, takes = np.indices((10, 2, 15)).reshape(3, -1).astype(np.int32)
    pitches = [300, 700, 1300, 2200, 3400]
    glides = np.array(list(combinations(pitches, 2)))[labels]
    clips = []
    for (low, high), speaker in zip(glides, speakers, strict=True):
        pitch = np.linspace(low, high, rng.integers(3000, 6000))
        tone = np.sin(2 * np.pi * np.cumsum(pitch) / RATE)
        noise = rng.normal(0, 0.002 * (1 + speaker), len(pitch))
        clips.append(((0.8 - 0.6 * speaker) * tone + noise).astype(np.float32))
    return clips, labels, speakers, takes


# ---- pictures ----


def save_pictures(path: Path, data: Recordings) -> None:
    """Draw the pictures of each digit once, by two people."""
    figure = Figure(figsize=(14, 5.2), layout="constrained")
    figure.suptitle("Sounds as pictures: pale is 60 dB quieter than the loudest point")
    seconds = data.pictures.shape[1] * FRAME["hop"]
    rows = figure.subplots(2, 10, sharex=True, sharey=True)
    for person, row in enumerate(rows):
        row[0].set_ylabel(f"{data.names[person]}\nband of pitch")
        for digit, axes in enumerate(row):
            first = np.argmax((data.labels == digit) & (data.speakers == person))
            picture = data.pictures[first, ..., 0].T
            axes.imshow(
                picture,
                origin="lower",
                aspect="auto",
                cmap="magma_r",
                extent=(0, seconds, 0, len(picture)),
            )
            if person == 0:
                axes.set_title(f"“{digit}”")
    figure.supxlabel("time in seconds")
    figure.savefig(path, dpi=110)


def save_people(path: Path, result: dict[str, float], names: Sequence[str]) -> None:
    """Draw how well each person was understood by a network that had not heard them."""
    figure = Figure(figsize=(7.5, 4.2), layout="constrained")
    axes = figure.subplots()
    bars = axes.bar(list(names), [100 * result[name] for name in names])
    axes.bar_label(bars, fmt="%.1f", padding=-16, color="white")  # clear of the line
    axes.axhline(100 * result["official"], color="gray", linestyle="--")
    axes.text(
        len(names) - 0.5,
        100 * result["official"] + 1,
        f"people known from training: {result['official']:.1%}",
        ha="right",
    )
    axes.set(
        ylim=(0, 109),
        ylabel="digits understood, %",
        title="Each person, by a network that has never heard them",
    )
    figure.savefig(path, dpi=110)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--small", action="store_true", help="whistles in place of digits: seconds")
    add("--epochs", type=int, default=24, help="default: %(default)s")
    add("--seed", type=int, default=0, help="default: %(default)s")
    add(
        "--out", type=Path, default=Path("out/spoken_digits"), help="folder to write to"
    )
    args = parser.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    return args


if __name__ == "__main__":
    nn.cache()  # the second run finds its programs compiled
    main()
