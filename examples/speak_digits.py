# SPDX-License-Identifier: Apache-2.0
"""Speak digits in the voices of six people: from a digit and a speaker to sound.

A conditional variational auto-encoder learns pictures of sound: how loud each band of
pitch is, from moment to moment (log-mel). Told a digit and a speaker, its decoder turns
random numbers into a new picture. A picture says nothing of phases, so Griffin and
Lim's method looks for a wave that has it, in JAX.

What it says are means of many recordings, blurred, and little more than half of it is
understood. That is decided by the recognizer of `spoken_digits.py`, which learns from
the same training recordings and hears 500 spoken digits, the real test recordings, and
those test recordings after a way through picture and wave: what that way alone costs.

`--say 2026 --speaker jackson` also writes these digits, one after the other, as a .wav.
"""

import argparse
import wave
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import spoken_digits as heard
from matplotlib.figure import Figure

import jaxnn as nn

FINE = {"window": 0.032, "hop": 0.008}  # seconds; frames overlap by three quarters
MELS = 40


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Train speaker and listener, speak, test, draw; returns the shares understood."""
    args = parse(argv)
    clips, labels, speakers, takes, names = recordings(args.small)
    waves, test = heard.whole(clips), takes < 5
    pictures = np.concatenate([paint(part) for part in np.split(waves, 10)])
    voices = (len(names) * labels + speakers).astype(
        np.int32
    )  # one class for each pair
    print(f"{np.sum(~test):,} recordings to learn from, {len(names)} speakers")
    sizes, code = ((128,), 8) if args.small else ((512, 512), 32)
    net = nn.models.vae(
        *(code, pictures.shape[1:]),
        sizes=sizes,
        activation=jax.nn.gelu,
        classes=10 * len(names),
    )
    steps = args.epochs * -(-int(np.sum(~test)) // 50)
    state, history = nn.fit(
        net,
        (pictures[~test], voices[~test]),
        objective=nn.models.NegativeElbo(net),
        optimizer=optax.adam(optax.cosine_onecycle_schedule(steps, args.learning_rate)),
        epochs=args.epochs,
        batch_size=50,
        key=jax.random.key(args.seed),
        progress=True,
    )
    history.plot(args.out / "learning_curves.png")

    def speak(voices: np.ndarray, key: jax.Array) -> np.ndarray:
        """Pictures of these pairs of digit and speaker, each spoken anew."""
        z = jax.random.normal(key, (len(voices), code))
        told = jnp.concatenate([z, jax.nn.one_hot(voices, 10 * len(names))], -1)
        decoder = state.params["decoder"], state.state.get("decoder", {})
        return np.asarray(jax.nn.sigmoid(nn.predict(net.decoder, decoder, told)))

    key = jax.random.key(args.seed + 1)
    wanted = np.arange(args.spoken) % (10 * len(names))
    spoken = speak(wanted, key)
    print("the recognizer learns from the same recordings")
    listener = heard.network(width=8 if args.small else 16)
    real = np.asarray(look(waves))
    ears = heard.learn(
        listener, (real[~test], labels[~test]), args.listener_epochs, 50, args.seed
    )

    def understood(sounds: np.ndarray, digits: np.ndarray) -> float:
        """The share of waves that the recognizer takes for their digits."""
        return heard.score(listener, ears, (np.asarray(look(sounds)), digits))

    digits = (wanted // len(names)).astype(np.int32)
    results = {
        "real": understood(waves[test], labels[test]),
        "through": understood(sound(pictures[test], key), labels[test]),
        "spoken": understood(sound(spoken, key), digits),
    }
    save_pictures(args.out / "spoken.png", pictures[test], voices[test], speak, names)
    chosen = list(names).index(args.speaker) if args.speaker else 0
    text = [int(digit) for digit in args.say]
    said = speak(np.array(text) * len(names) + chosen, jax.random.fold_in(key, 1))
    write(args.out / f"{args.say}.wav", sound(said, key))
    for path in sorted([*args.out.glob("*.png"), *args.out.glob("*.wav")]):
        print(f"wrote {path}")
    print(
        f"understood: {results['spoken']:.1%} of {args.spoken} spoken digits, "
        f"{results['real']:.1%} of real test recordings, {results['through']:.1%} of "
        "them through picture and wave"
    )
    return results


# ---- sound and pictures ----


@jax.jit
def paint(waves: jax.Array) -> jax.Array:
    """Waves `[N, T]` as pictures `[N, time, pitch]`: 0 is silence, 1 the loudest."""
    loudness = nn.data.log_mel(waves, heard.RATE, mels=MELS, **FINE)
    loudest = loudness.max((1, 2), keepdims=True)
    return jnp.maximum(1 + (loudness - loudest) / nats(), 0)


def nats() -> float:
    """The range of a picture, as a natural logarithm of power."""
    return heard.DECIBELS / 10 * float(np.log(10))


def sound(pictures: Any, key: jax.Array) -> np.ndarray:
    """Waves `[N, T]` that look like these pictures, each as loud as it may be."""
    parts = []
    for i in range(0, len(pictures), 50):
        part = jnp.asarray(pictures[i : i + 50])
        quiet = jnp.where(part > 0.02, nats() * part, -30.0)  # silence stays silent
        parts.append(nn.data.griffin_lim(quiet, heard.RATE, key=key, **FINE))
    waves = np.concatenate(parts)[:, : heard.LENGTH]
    return waves / np.abs(waves).max(1, keepdims=True)


def look(waves: np.ndarray) -> np.ndarray:
    """What the recognizer sees of waves."""
    parts = [heard.spectrograms(waves[i : i + 100]) for i in range(0, len(waves), 100)]
    return np.concatenate(parts)


def write(path: Path, waves: np.ndarray) -> None:
    """Write waves one after the other as a .wav, without the silence behind each."""
    kept = [w[: np.flatnonzero(np.abs(w) > 0.02)[-1] + 400] for w in waves]
    samples = np.concatenate([np.pad(w, (0, 800)) for w in kept])
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(heard.RATE)
        file.writeframes((0.8 * 32767 * samples).astype("<i2").tobytes())


def recordings(small: bool) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, Any]:
    """Clips, digits, speakers, takes, and the speakers' names."""
    if small:
        print("--small: whistles, a stand-in for spoken digits")
        return *heard.whistles(), ("near", "far")
    return nn.data.spoken_digits()[:5]


def save_pictures(
    path: Path, real: np.ndarray, voices: np.ndarray, speak: Any, names: Sequence[str]
) -> None:
    """Draw each digit twice as a person said it, and twice as it is spoken here."""
    figure = Figure(figsize=(14, 7.5), layout="constrained")
    figure.suptitle("Sounds as pictures: real test recordings above, spoken ones below")
    grid = figure.subplots(4, 10, sharex=True, sharey=True)
    extent = (0, real.shape[1] * FINE["hop"], 0, MELS)
    for person in range(2):
        wanted = np.arange(10) * len(names) + person
        made = speak(wanted, jax.random.key(person))
        for digit, voice in enumerate(wanted):
            own = real[np.argmax(voices == voice)]
            for row, picture in ((person, own), (2 + person, made[digit])):
                axes = grid[row, digit]
                options = {"cmap": "magma_r", "vmin": 0, "vmax": 1}
                axes.imshow(
                    picture.T, origin="lower", aspect="auto", extent=extent, **options
                )
        grid[person, 0].set_ylabel(f"{names[person]}\nreal")
        grid[2 + person, 0].set_ylabel(f"{names[person]}\nspoken here")
    for digit in range(10):
        grid[0, digit].set_title(f"“{digit}”")
    figure.supxlabel("time in seconds")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--small", action="store_true", help="whistles in place of digits: seconds")
    add("--epochs", type=int, default=60, help="default: %(default)s")
    add("--listener-epochs", type=int, default=24, help="default: %(default)s")
    add("--learning-rate", type=float, default=1e-3, help="the highest: %(default)s")
    add("--spoken", type=int, default=500, help="digits to test: %(default)s")
    add("--say", default="2026", help="digits for the .wav: %(default)s")
    add("--speaker", help="whose voice; default: the first")
    add("--seed", type=int, default=0, help="default: %(default)s")
    add("--out", type=Path, default="out/speak_digits", help="default: %(default)s")
    args = parser.parse_args(argv)
    if not args.say.isdecimal():
        parser.error(f"--say must be digits, got {args.say!r}")
    return args


if __name__ == "__main__":
    nn.cache()  # the second run finds its programs compiled
    main()
