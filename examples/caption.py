# SPDX-License-Identifier: Apache-2.0
"""Say what is in a picture: captions for emoji.

A convolutional network turns a picture into a grid of 6x6 vectors. A GRU writes the
words one after the other and before each looks at the grid (Xu et al., Show, Attend and
Tell, 2015; the attention of Bahdanau et al., 2014); a picture shows where. The pictures
are 3,511 emoji with the names of the Unicode data.

Does it learn words, or whole names by heart? The names are systematic, and so the test
is on combinations that it has never seen: of each name that comes in five skin tones,
such as "woman astronaut, dark skin tone", one tone is left out for the test and one for
the validation. It has seen the woman astronaut, and other people in that tone, never
the two together. Beside it stands a random split, in which a quarter of the names left
out have a word that no picture of the training part has.

What is measured: how many captions are right to the last word, and BLEU. The baseline
is the caption of the training picture with the nearest pixels. Network and schedule
were not searched.

The data are looked for in $JAXNN_DATA, else downloaded once. `--small` is for made
pictures: shapes in colors.
"""

import argparse
import textwrap
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.figure import Figure

import jaxnn as nn
from jaxnn.data import augment
from jaxnn.data.text import Words

LONGEST = 16  # words of a caption, with its end


class Recipe(NamedTuple):
    """A network and how to train it."""

    width: int
    batch_size: int
    epochs: int
    learning_rate: float


REAL = Recipe(24, 64, 40, 2e-3)
SMALL = Recipe(8, 16, 25, 1e-2)


class Split(NamedTuple):
    """Which pictures are trained on, chosen by and tested on."""

    train: np.ndarray
    held: np.ndarray
    test: np.ndarray


class Writer(nn.Composite):
    """From `(ids [N, T], memory [N, S, M])` to logits of each next id `[N, T, V]`."""

    embed: nn.Embed
    attend: nn.Layer
    down: nn.Layer

    def forward(self, run, x):
        ids, memory = x
        y = run("attend", nn.Attend(run("embed", ids), memory))
        return self.embed.attend(run.params["embed"], run("down", y))


class Captioner(nn.Composite):
    """From `(images, ids)` to logits of each next id."""

    see: nn.Layer  # from images to a grid of vectors [N, S, M]
    write: Writer

    def forward(self, run, x):
        images, ids = x
        return run("write", (ids, run("see", images)))


def seer(width: int) -> nn.Sequential:
    """Images to a grid of vectors, one eighth as many places along each side."""
    layers: dict[str, Any] = {}
    for i in range(4):
        for j in range(1 if i == 0 else 2):
            layers[f"conv{i}{j}"] = nn.Conv(width * 2**i, 3, bias=False)
            layers[f"norm{i}{j}"] = nn.BatchNorm()
            layers[f"relu{i}{j}"] = jax.nn.relu
        if i < 3:
            layers[f"pool{i}"] = nn.MaxPool(2)
    return nn.Sequential(**layers)


def grid(y: jax.Array) -> jax.Array:
    """The places of a grid in a row, `[N, S, M]`."""
    return y.reshape(len(y), -1, y.shape[-1])


def network(words: int, width: int) -> Captioner:
    """A captioner for a vocabulary of so many words."""
    features = 8 * width
    attend = nn.AttentiveRecurrent(nn.GRUCell(features), nn.AdditiveAttention(features))
    down = nn.Sequential(nn.Dropout(0.3), nn.Dense(features))
    see = nn.Sequential(body=seer(width), grid=grid, drop=nn.Dropout(0.2))
    return Captioner(see, Writer(nn.Embed(words, features), attend, down))


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Train on both splits, write, draw; returns exact matches and BLEU."""
    args = parse(argv)
    recipe = SMALL if args.small else REAL
    recipe = recipe._replace(epochs=args.epochs or recipe.epochs)
    images, captions = load(args.small)
    vocabulary = nn.data.text.words(captions)
    ids = encoded(vocabulary, captions)
    plain = [vocabulary.decode(vocabulary.encode(text)) for text in captions]
    print(f"{len(images):,} pictures, {len(vocabulary):,} words")
    result: dict[str, float] = {}
    for name, split in (
        ("unseen combinations", combinations(captions, args.seed)),
        ("random", at_random(len(images), args.seed)),
    ):
        if args.only not in (None, name.split()[-1]):
            continue
        print(f"{name}: {len(split.train):,} pictures to train on")
        net = network(len(vocabulary), recipe.width)
        state, history = learn(net, (images, ids), split, recipe, args.seed)
        for part in ("held", "test"):
            rows = getattr(split, part)
            written = write(net, state, images[rows], vocabulary)
            near = [plain[i] for i in nearest(images, split.train, rows)]
            for way, texts in (("network", written), ("nearest", near)):
                score = measure(texts, [plain[i] for i in rows])
                result |= {f"{name}, {part}, {way}, {k}": v for k, v in score.items()}
                print(
                    f"{name}, {part}: {way} {score['exact']:.1%} right to the last "
                    f"word, BLEU {score['BLEU']:.1f}"
                )
        short = name.split()[-1]
        history.plot(args.out / f"{short}_curves.png")
        draw(args.out / f"{short}.png", net, state, images[rows], vocabulary)
        with (args.out / f"{short}.txt").open("w", encoding="utf-8") as file:
            for i, text in zip(rows, written, strict=True):
                file.write(f"{plain[i]} | {text}\n")
        for end in ("_curves.png", ".png", ".txt"):
            print(f"wrote {args.out / (short + end)}")
    said = ", ".join(
        f"{name.split(',')[0]} {value:.1%}"
        f" (nearest {result[name.replace('network', 'nearest')]:.1%})"
        for name, value in result.items()
        if name.endswith("test, network, exact")
    )
    print(f"captions right to the last word: {said}")
    return result


# ---- training ----


def changed(key: jax.Array, inputs: tuple) -> tuple:
    """Inputs with their pictures shifted, turned and scaled a little, on white."""
    images, ids = inputs
    changes = augment.chain(
        augment.shift(3), augment.rotate(8), augment.scale(0.1), range=(0, 1)
    )
    return 1 - changes(key, 1 - images), ids


def learn(
    net: nn.Layer, data: tuple, split: Split, recipe: Recipe, seed: int
) -> tuple[nn.TrainState, nn.History]:
    """Train to say each next word of the captions."""
    images, ids = data

    def part(rows):
        return (images[rows], ids[rows, :-1]), ids[rows, 1:]

    steps = recipe.epochs * -(-len(split.train) // recipe.batch_size)
    rate = optax.cosine_onecycle_schedule(steps, recipe.learning_rate, 0.15)
    adamw = optax.adamw(rate, weight_decay=1e-2)
    return nn.fit(
        net,
        part(split.train),
        loss=partial(nn.losses.softmax_cross_entropy, ignore_label=0),
        optimizer=optax.chain(optax.clip_by_global_norm(1.0), adamw),
        epochs=recipe.epochs,
        batch_size=recipe.batch_size,
        augment=changed,
        validation=part(split.held),
        key=jax.random.key(seed),
        progress=True,
    )


# ---- writing ----


def write(
    net: Captioner, state: nn.TrainState, images: np.ndarray, vocabulary: Words
) -> list[str]:
    """A caption for each picture, by greedy search."""
    memory = nn.predict(net.see, part_of(state, "see"), images)
    begin = np.full((len(images), 1), vocabulary.begin, np.int32)
    found = nn.decode.greedy(
        net.write,
        part_of(state, "write"),
        begin,
        LONGEST,
        end=vocabulary.end,
        context=memory,
    )
    texts = []
    for row in np.asarray(found):
        end = np.flatnonzero(row == vocabulary.end)
        texts.append(vocabulary.decode(row[: end[0]] if end.size else row))
    return texts


def part_of(state: nn.TrainState, name: str) -> tuple:
    """The parameters and state of one child."""
    return state.params[name], state.state.get(name, {})


def nearest(images: np.ndarray, train: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """For each row the training picture whose pixels are nearest."""
    a, b = (images[i].reshape(len(i), -1) for i in (rows, train))
    away = np.square(b).sum(1) - 2 * a @ b.T
    return train[away.argmin(1)]


def measure(written: Sequence[str], true: Sequence[str]) -> dict[str, float]:
    """The share of captions that are right to the last word, and BLEU from 0 to 100."""
    try:
        import sacrebleu
    except ImportError as error:
        raise ImportError(
            "caption needs sacrebleu: python -m pip install sacrebleu"
        ) from error
    exact = np.mean([a == b for a, b in zip(written, true, strict=True)])
    bleu = sacrebleu.corpus_bleu(written, [true], tokenize="none", force=True)
    return {"exact": float(exact), "BLEU": bleu.score}


# ---- data ----


def load(small: bool) -> tuple[np.ndarray, list[str]]:
    """Pictures and their captions."""
    if not small:
        return nn.data.emoji()
    print("--small: made pictures of shapes in colors, a stand-in for emoji")
    return shapes()


def shapes(side: int = 24) -> tuple[np.ndarray, list[str]]:
    """Pictures of a large or small shape in one of five colors, at several places."""
    y, x = np.mgrid[:side, :side] + 0.5
    inside = {
        "square": lambda r, v, u: np.maximum(abs(v), abs(u)) < r,
        "disk": lambda r, v, u: v**2 + u**2 < r**2,
        "cross": lambda r, v, u: (
            (np.minimum(abs(v), abs(u)) < r / 3) & (np.maximum(abs(v), abs(u)) < r)
        ),
    }
    colors = {
        "light": (0.95, 0.85, 0.7),
        "medium-light": (0.85, 0.7, 0.5),
        "medium": (0.7, 0.5, 0.35),
        "medium-dark": (0.5, 0.33, 0.2),
        "dark": (0.3, 0.2, 0.12),
    }
    images, captions = [], []
    for name, shape in inside.items():
        for size, radius in (("large", side / 3), ("small", side / 6)):
            for tone, color in colors.items():
                for at in (0.42, 0.5, 0.58):
                    mask = shape(radius, y - at * side, x - side / 2)[..., None]
                    images.append(np.where(mask, np.float32(color), np.float32(1)))
                    captions.append(f"{size} {name}, {tone} skin tone")
    return np.stack(images), captions


def encoded(vocabulary: Words, captions: Sequence[str]) -> np.ndarray:
    """Captions as ids `[N, LONGEST + 1]`: begin, words, end, then padding."""
    ids = [vocabulary.encode(text, begin=True, end=True) for text in captions]
    return nn.data.pad(ids, LONGEST + 1).values


def combinations(captions: Sequence[str], seed: int) -> Split:
    """Of each name in five skin tones one tone is held out, and one for the test."""
    rng = np.random.default_rng(seed)
    tones: dict[str, dict[str, list[int]]] = {}
    for i, text in enumerate(captions):
        name, comma, tone = text.rpartition(", ")
        if comma and tone.endswith(" skin tone") and " and " not in tone:
            tones.setdefault(name, {}).setdefault(tone, []).append(i)
    held, test = [], []
    for own in tones.values():
        if len(own) == 5:
            first, second = rng.choice(sorted(own), 2, replace=False)
            held += own[first]
            test += own[second]
    train = np.setdiff1d(np.arange(len(captions)), held + test)
    return Split(train, np.array(held), np.array(test))


def at_random(n: int, seed: int) -> Split:
    """A tenth held out and a tenth for the test."""
    order = np.random.default_rng(seed).permutation(n)
    held, test, train = np.split(order, [n // 10, 2 * (n // 10)])
    return Split(np.sort(train), np.sort(held), np.sort(test))


# ---- pictures ----


def gazes(
    net: Captioner, state: nn.TrainState, images: np.ndarray, ids: np.ndarray
) -> np.ndarray:
    """Where the network looked before it wrote each word, `[N, T, rows, columns]`."""
    memory = nn.predict(net.see, part_of(state, "see"), images)
    params, writer = state.params["write"], net.write
    vectors, _ = writer.embed.apply(params["embed"], {}, ids)
    outputs, _ = writer.attend.apply(
        params["attend"], {}, nn.Attend(vectors, jnp.asarray(memory))
    )
    width = outputs.shape[-1] - memory.shape[-1]  # behind it stands what was seen
    queries = jnp.pad(outputs[:, :-1, :width], ((0, 0), (1, 0), (0, 0)))
    asked = nn.Attend(queries, jnp.asarray(memory))
    own = params["attend"]["attention"]
    (_, weights), _ = writer.attend.attention.apply(own, {}, asked)
    side = round(weights.shape[-1] ** 0.5)
    return np.asarray(weights).reshape(*weights.shape[:2], side, side)


def draw(
    path: Path,
    net: Captioner,
    state: nn.TrainState,
    images: np.ndarray,
    vocabulary: Words,
) -> None:
    """Test pictures, and where the network looked for each word that it wrote."""
    chosen = images[np.linspace(0, len(images) - 1, 6).astype(int)]
    texts = write(net, state, chosen, vocabulary)
    words = [
        [vocabulary.decode([i]) for i in vocabulary.encode(text)][:8] for text in texts
    ]
    looks = gazes(net, state, chosen, encoded(vocabulary, texts)[:, :-1])
    columns = 1 + max(map(len, words))
    figure = Figure(figsize=(1.5 * columns, 10), layout="constrained")
    rows = figure.subplots(len(chosen), columns, squeeze=False)
    for axes in rows.flat:
        axes.axis("off")
    for row, image, own, look, text in zip(
        rows, chosen, words, looks, texts, strict=True
    ):
        row[0].imshow(image)
        row[0].set_title("\n".join(textwrap.wrap(text, 24)), fontsize=8)
        for axes, word, weights in zip(row[1:], own, look, strict=False):
            side = len(image) - 0.5
            axes.imshow(1 - 0.4 * (1 - image))
            axes.imshow(
                weights / weights.max(),
                cmap="Reds",
                alpha=0.6,
                vmin=0,
                extent=(-0.5, side, side, -0.5),
                interpolation="bilinear",
            )
            axes.set_title(word, fontsize=10)
    figure.savefig(path, dpi=80)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The arguments of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--epochs", type=int, help=f"default {REAL.epochs}")
    add("--only", choices=("combinations", "random"), help="one of the two splits")
    add("--seed", type=int, default=0)
    add("--out", type=Path, default=Path("out/caption"))
    add("--small", action="store_true", help="seconds: made pictures of shapes")
    args = parser.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    return args


if __name__ == "__main__":
    main()
